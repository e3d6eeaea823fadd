/* Several inferences at a time: behind a slow line the bytes of one travel while others are computed, and rounds wait for their
 * delay together. */
#ifndef TREFOIL_PARTIES_IN_FLIGHT_H
#define TREFOIL_PARTIES_IN_FLIGHT_H

#include <stddef.h>

#include "ring/status.h"

#define IN_FLIGHT_MAX 64

/* Calls one(context, 0), one(context, 1), ... one(context, count - 1), begun in this order, up to `most` (1 to IN_FLIGHT_MAX) at a time, each
 * by the calling thread or one of as many more as it takes. After the first failure, which is returned with its message, none is
 * begun; all that were have ended when this returns. */
STATUS_MUST_USE enum status in_flight_run(unsigned most, size_t count,
                                          enum status (*one)(void *context, size_t index), void *context);

#endif
