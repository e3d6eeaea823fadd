/* Forward passes over a whole set, without dropout and in float, in batches of alike lengths that depend on the set alone. */
#ifndef TREFOIL_DISTILL_VISIT_H
#define TREFOIL_DISTILL_VISIT_H

#include "distill/batch.h"
#include "distill/state.h"
#include "distill/weights.h"

/* What is done with a batch after its pass; example[i] is the place in the set of the batch's i-th sequence. */
typedef void distill_visitor(void *context, const struct distill_state *state,
                             const struct distill_batch *batch, const uint32_t *example);

/* head: pooler and classifier, too. */
STATUS_MUST_USE enum status distill_visit(const struct distill_weights *weights,
                                          const struct distill_batch *set, bool head,
                                          distill_visitor *visitor, void *context);

#endif
