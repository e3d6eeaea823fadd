/* In which order a training set is walked: batches of sequences of similar length, in random order.
 *
 * Examples are shuffled, pools of an eighth of the batches (1 to 32 batches) are sorted by length, equal ones at
 * random, and cut into batches, and the batches are shuffled. Without padding, length costs nothing by itself; but attention over alike lengths spreads evenly
 * over the threads, and a batch's tokens, so its memory and its weight in the mean, vary less. */
#ifndef TREFOIL_DISTILL_ORDER_H
#define TREFOIL_DISTILL_ORDER_H

#include "distill/batch.h"

/* order[set->sequences]: example numbers; batch i is order[i * size ..]. Only the last batch may be smaller.
 */
void distill_order_make(uint32_t *order, const struct distill_batch *set, size_t size, uint64_t key);
/* By length alone: for evaluation. */
void distill_order_sorted(uint32_t *order, const struct distill_batch *set);
/* Empties out and copies these examples into it. */
STATUS_MUST_USE enum status distill_order_pick(struct distill_batch *out, const struct distill_batch *set,
                                               const uint32_t *order, size_t n);

#endif
