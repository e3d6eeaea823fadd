/* The field of p = 2^64 - 59, the largest prime below 2^64: for checks that have to tell zero from everything else, which a ring with
 * zero divisors cannot.
 *
 * Elements are words in [0, p); sums and products take any words. Nothing branches on them. An integer of 63 bits and sign is zero here only if it is zero. */
#ifndef TREFOIL_RING_PRIME_H
#define TREFOIL_RING_PRIME_H

#include <stddef.h>
#include <stdint.h>

#include "ring/wide.h"

#define RING_PRIME_GAP 59
#define RING_PRIME (-(uint64_t)RING_PRIME_GAP)

/* Any word, modulo p. A uniform word becomes uniform to 2^-58. */
static inline uint64_t ring_prime_word(uint64_t word)
{
    return word - (RING_PRIME & -(uint64_t)(word >= RING_PRIME));
}

static inline uint64_t ring_prime_integer(int64_t x)
{
    return (uint64_t)x - (RING_PRIME_GAP & -(uint64_t)(x < 0));
}

/* 2^64 is 59. */
static inline uint64_t ring_prime_fold(ring_u128 x)
{
    x = (uint64_t)x + (ring_u128)RING_PRIME_GAP * (uint64_t)(x >> 64); /* below 60 2^64 */
    x = (uint64_t)x + (ring_u128)RING_PRIME_GAP * (uint64_t)(x >> 64); /* below 2^64 + 59^2 */
    return ring_prime_word((uint64_t)x + RING_PRIME_GAP * (uint64_t)(x >> 64));
}

/* |x| < 2^94 - 2^36 */
static inline uint64_t ring_prime_wide(ring_i128 x)
{
    return ring_prime_fold((ring_u128)(x + ((ring_i128)RING_PRIME << 30)));
}

static inline uint64_t ring_prime_add(uint64_t a, uint64_t b)
{
    return ring_prime_fold((ring_u128)a + b);
}

static inline uint64_t ring_prime_subtract(uint64_t a, uint64_t b)
{
    return ring_prime_fold((ring_u128)a + (RING_PRIME - b));
}

/* a b + c */
static inline uint64_t ring_prime_multiply_add(uint64_t a, uint64_t b, uint64_t c)
{
    return ring_prime_fold((ring_u128)a * b + c);
}

static inline void ring_prime_words(uint64_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        words[i] = ring_prime_word(words[i]);
}

#endif
