/* Arrays of the product ring Z_2^80, kept as two planes: the low 64 bits and the high 16 bits.
 *
 * An array of n elements is lo[0..n) and hi[0..n); element i is lo[i] + 2^64 hi[i] modulo 2^80. Two planes
 * take ten bytes an element, are what travels and is stored, and vectorise. */
#ifndef TREFOIL_RING_WIDE_H
#define TREFOIL_RING_WIDE_H

#include <stddef.h>
#include <stdint.h>

typedef unsigned __int128 ring_u128;
typedef __int128 ring_i128;

/* A borrowed view: whoever allocated the planes frees them. */
struct ring_wide {
    uint64_t *lo;
    uint16_t *hi;
};

static inline ring_u128 ring_wide_get(struct ring_wide a, size_t i)
{
    return (ring_u128)a.hi[i] << 64 | a.lo[i];
}

/* Stores v modulo 2^80. */
static inline void ring_wide_set(struct ring_wide a, size_t i, ring_u128 v)
{
    a.lo[i] = (uint64_t)v;
    a.hi[i] = (uint16_t)(v >> 64);
}

/* a[i] += v modulo 2^80; v may be any 128-bit integer, negative ones in two's complement. */
static inline void ring_wide_add(struct ring_wide a, size_t i, ring_u128 v)
{
    ring_wide_set(a, i, ring_wide_get(a, i) + v);
}

static inline struct ring_wide ring_wide_at(struct ring_wide a, size_t i)
{
    return (struct ring_wide){a.lo + i, a.hi + i};
}

#endif
