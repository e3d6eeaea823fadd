/* What memory there is, before much of it is taken. */
#ifndef TREFOIL_PARTIES_MEMORY_H
#define TREFOIL_PARTIES_MEMORY_H

#include <stdint.h>

#include "layers/schedule.h"
#include "parties/config.h"

/* Bytes of the machine; bytes that could be had now without swapping. UINT64_MAX if the system does not tell. */
uint64_t memory_total(void);
uint64_t memory_available(void);

/* STATUS_MEMORY if a bundle of this schedule needs more than the party's setting "memory", or more than the machine has. */
STATUS_MUST_USE enum status memory_check(const struct config *config, const struct schedule *schedule);

#endif
