/* Products of arrays, element by element, and what becomes of them when they are opened.
 *
 * An evaluator's share of a product starts from what was dealt, gains products of masked values, and is opened (DESIGN section
 * 3). What lies between the operands and the message is done here in one pass, so that no sum modulo 2^80 goes through memory:
 *
 *     z += m (delta m - 2 l)                        ring_square
 *     z += +-( x_m (delta y_m - y_l) - x_l y_m )    ring_multiply
 *     z += 2^up x (delta y_m - y_l)                 ring_scale
 *     z += 2^up x                                   ring_join
 *     t  = (z + add) >> shift                       ring_narrow, and at the end of each of the first two
 *
 * z is Z_2^80; operands are any 64-bit integers, and may be secret: nothing branches on them. delta y_m - y_l is formed modulo
 * 2^64, everything else exactly. Processors with AVX-512 IFMA take a path of their own, equal bit for bit
 * (TREFOIL_ELEMENTWISE=portable in the environment keeps them from it). */
#ifndef TREFOIL_RING_ELEMENTWISE_H
#define TREFOIL_RING_ELEMENTWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/wide.h"

/* t [n] = (z + add) >> shift modulo 2^64: the low 64 bits of the shifted 80. shift in 0..16. t may be the low plane of z itself, and
 * overlaps nothing else. */
struct ring_narrow {
    uint64_t *t;
    ring_u128
        add; /* the same for every element: what makes the shift round, and public constants; modulo 2^80 */
    int shift;
};

/* What belongs to the elements from `at` on. */
static inline struct ring_narrow ring_narrow_at(struct ring_narrow end, size_t at)
{
    end.t += at;
    return end;
}

void ring_narrow(const struct ring_narrow *end, struct ring_wide z, size_t n);

/* z [n] += 2^up x. up in 0..16. */
void ring_join(struct ring_wide z, const int64_t *x, int up, size_t n);

/* values [n] += came [n], 8 bytes each at any address. Returns how wide the sums are: bit b is set if bits b and b - 1 of one of them
 * differ. Read as signed integers all of them fit w bits if nothing is set from bit w on. */
uint64_t ring_add_words(uint64_t *restrict values, const void *restrict came, size_t n);

/* The right operand of a product: masked values m and an evaluator's mask l, delta 1 or 0. */
struct ring_factor {
    const int64_t *m, *l;
    int64_t delta;
    bool each; /* [n]; otherwise one for all */
};

/* In the following, end is NULL, and z [n] is changed; or end is given, z is only read, and end->t [n] is written
 * (which may be z.lo). */

void ring_square(struct ring_wide z, const int64_t *m, const int64_t *l, int64_t delta, size_t n,
                 const struct ring_narrow *end);
/* negate: the product is taken off z. */
void ring_multiply(struct ring_wide z, const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y,
                   bool negate, size_t n, const struct ring_narrow *end);
/* up in 0..79. */
void ring_scale(struct ring_wide z, const int64_t *x, const struct ring_factor *y, int up, size_t n);

/* Sums over n elements, modulo 2^128 or, with bits above that mean nothing, 2^80. y.each is assumed. */
ring_u128 ring_square_sum(const int64_t *m, const int64_t *l, int64_t delta, size_t n);
ring_u128 ring_dot(const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y, size_t n);

/* The paths, for tests that compare them: NULL where the processor has none. */
struct ring_elementwise {
    const char *name;
    void (*narrow)(const struct ring_narrow *, struct ring_wide, size_t);
    void (*square)(struct ring_wide, const int64_t *, const int64_t *, int64_t, size_t,
                   const struct ring_narrow *);
    void (*multiply)(struct ring_wide, const int64_t *, const int64_t *, const struct ring_factor *, bool,
                     size_t, const struct ring_narrow *);
    void (*scale)(struct ring_wide, const int64_t *, const struct ring_factor *, int, size_t);
    ring_u128 (*square_sum)(const int64_t *, const int64_t *, int64_t, size_t);
    ring_u128 (*dot)(const int64_t *, const int64_t *, const struct ring_factor *, size_t);
};
extern const struct ring_elementwise ring_elementwise_portable;
const struct ring_elementwise *ring_elementwise_ifma(void);

#endif
