/* What every gate must give, in plain integers: written from the manual in layers/schedule.h, not from the
 * walks.
 *
 * The operands are taken as the walk under test revealed them, so each gate is judged by itself:
 *     opened    |out 2^shift - z| < 2^shift, and equal where 2^shift divides z;  z exact in 128 bits
 *     table     an entry of a cell i with v in ((i-1) 2^s, (i+1) 2^s), the same cell for all that read one
 * index; far from the start of a table the entry that stands for its block (preprocessing/dpf_lookup.h) local     off by at most 1.5 units on shares, half a unit in fixed point fixed     floor((z +
 * 2^(shift-1)) / 2^shift), exactly clear     the gate in real numbers on the same operands: within a unit and
 * what float loses Every shift and scale is worked out again from the fraction bits of the tensors. */
#ifndef TREFOIL_TESTS_LAYERS_REFERENCE_H
#define TREFOIL_TESTS_LAYERS_REFERENCE_H

#include "tests/layers/three.h"

enum reference_walk { REFERENCE_PRIVATE, REFERENCE_FIXED };

/* Judges every gate of the last online (or fixed-point) walk. logits: what it gave, at the output's scale. */
void reference_check(const struct three *three, enum reference_walk walk, const int64_t *const *input,
                     const int64_t *logits);
/* Judges the walk in real numbers gate by gate, on the values of the last online walk. Gates that read tables
 * are left out: there the real function stands for its table. */
void reference_check_clear(const struct three *three);

#endif
