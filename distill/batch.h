/* A batch of token sequences, packed: the sequences stand one after the other and there is no padding at all.
 *
 * tokens = sum of lengths; pairs = sum of lengths squared, the size of one head's attention scores. Padded
 * tokens would weigh nothing in attention and in the losses, so leaving them out gives the same result for
 * less work. */
#ifndef TREFOIL_DISTILL_BATCH_H
#define TREFOIL_DISTILL_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

struct distill_batch {
    size_t sequences, tokens, pairs, longest;
    size_t *start;      /* [sequences + 1]  first token of each sequence */
    size_t *pair_start; /* [sequences + 1]  sum of squared lengths before each sequence */
    uint32_t *id;       /* [tokens] */
    uint32_t *type;     /* [tokens]  0 or 1 */
    double *label;      /* [sequences]  class number, or the score of a regression; NAN: none is known */
    size_t sequence_capacity, token_capacity;
};

/* Room for this many; grows on demand in distill_batch_add. */
void distill_batch_init(struct distill_batch *batch);
void distill_batch_clear(struct distill_batch *batch);
/* Empties it, keeping the memory. */
void distill_batch_reset(struct distill_batch *batch);
/* Appends one sequence; type may be NULL (all 0). */
STATUS_MUST_USE enum status distill_batch_add(struct distill_batch *batch, const uint32_t *id,
                                              const uint32_t *type, size_t length, double label);
/* The first n sequences, in the memory of the whole: nothing to clear, nothing to add to. */
struct distill_batch distill_batch_first(const struct distill_batch *batch, size_t n);

#endif
