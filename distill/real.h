/* The number type of the numeric core: float in the program, double in the gradient tests.
 *
 * Every numeric file of this folder is written once in terms of `real` and compiled twice: into the library
 * as float, and into tests/distill/test_gradients with -DDISTILL_DOUBLE, where central differences are sharp
 * enough to prove a backward pass. Names of the double build carry the suffix _double, so that both can be
 * linked. */
#ifndef TREFOIL_DISTILL_REAL_H
#define TREFOIL_DISTILL_REAL_H

#include "config.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef DISTILL_DOUBLE
typedef double real;
#define DISTILL_REAL(name) name##_double
#else
typedef float real;
#define DISTILL_REAL(name) name
#endif

/* Elements of a loop from which on threads bring more than waking them costs. */
#define DISTILL_PARALLEL_FROM 32768

/* Row kernels are compiled for several processors and chosen when the program is loaded. The sanitizers' own
 * start-up comes after that choice, so they get the plain version. */
#if defined(TREFOIL_SANITIZER) || !defined(__x86_64__)
#define DISTILL_CLONES
#else
#define DISTILL_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#endif

/* e^x. The float version is a Taylor series of degree 6 on [-ln 2 / 2, ln 2 / 2] (error below 1.2e-7
 * relative), without branches so that loops over it become vector code; arguments beyond +-87 saturate. */
static inline __attribute__((always_inline)) real real_exp(real x)
{
#ifdef DISTILL_DOUBLE
    return exp(x);
#else
    x = x > 87.0f ? 87.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum is rounded to a whole number */
    float power = shifted - 12582912.0f;
    float r = x - power * 0.693359375f;
    r += power * 2.12194440e-4f;
    float sum = 1.0f / 720 * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits); /* the whole number stands in the lowest bits */
    bits = (bits + 127) << 23;
    float two;
    memcpy(&two, &bits, sizeof two);
    return sum * two;
#endif
}

/* The normal distribution's Phi(x), given e = e^(-x^2/2). The float version is Abramowitz and Stegun 7.1.26,
 * off by 1e-7 at most. */
static inline __attribute__((always_inline)) real real_normal(real x, real e)
{
#ifdef DISTILL_DOUBLE
    (void)e;
    return 0.5 * erfc(-x * 0.70710678118654752440);
#else
    float magnitude = fabsf(x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * magnitude);
    float sum = 1.061405429f * t - 1.453152027f;
    sum = sum * t + 1.421413741f;
    sum = sum * t - 0.284496736f;
    sum = sum * t + 0.254829592f;
    float tail = 0.5f * sum * t * e;
    return x < 0 ? tail : 1.0f - tail;
#endif
}

#endif
