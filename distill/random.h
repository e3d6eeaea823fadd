/* Random numbers that need no state: a number is a function of (key, index).
 *
 * Dropout asks for the number of an element again in the backward pass instead of storing a mask, any number
 * of threads sees the same numbers, and a run resumed at step n goes on as if it had not stopped. Not for
 * secrets. */
#ifndef TREFOIL_DISTILL_RANDOM_H
#define TREFOIL_DISTILL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Mixes two words into a new key (the finaliser of SplitMix64). */
static inline uint64_t distill_random_key(uint64_t key, uint64_t word)
{
    uint64_t x = key + 0x9e3779b97f4a7c15u * (word + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 32 uniform bits of an element; vectorises. */
static inline uint32_t distill_random_bits(uint64_t key, uint32_t index)
{
    uint32_t x = index + (uint32_t)key;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x ^= (uint32_t)(key >> 32);
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* Uniform in [0, 1). */
static inline double distill_random_uniform(uint64_t key, uint32_t index)
{
    return (double)(distill_random_key(key, index) >> 11) * 0x1p-53;
}

/* Normal with mean 0 and deviation 1. */
double distill_random_normal(uint64_t key, uint32_t index);

/* Shuffles order[0..n). */
void distill_random_shuffle(uint32_t *order, size_t n, uint64_t key);

/* One place of the network where values are dropped. rate 0: nothing is. A kept value is scaled by 1/(1 -
 * rate). */
struct distill_dropout {
    uint64_t key;
    double rate;
};

/* An element is kept if its bits are at least this. */
static inline uint32_t distill_dropout_threshold(const struct distill_dropout *drop)
{
    return (uint32_t)(drop->rate * 4294967296.0);
}

#endif
