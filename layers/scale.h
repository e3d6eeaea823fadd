/* Choosing fraction bits from calibrated ranges. */
#ifndef TREFOIL_LAYERS_SCALE_H
#define TREFOIL_LAYERS_SCALE_H

#include <math.h>

#include "ring/parameters.h"

/* Opened values keep a fourfold margin above what calibration saw. */
#define SCALE_MARGIN 4.0
/* Fraction bits of ordinary activations: more would not be more exact, the weights have no more. */
#define SCALE_USUAL 13

/* The least e with value <= 2^e. */
static inline int scale_exponent(double value)
{
    int exponent;
    const double mantissa = frexp(value, &exponent);
    return mantissa == 0.5 ? exponent - 1 : exponent;
}

/* The least b so that integers of frac fraction bits are below 2^b in magnitude for values up to largest, and the margin, however rounded. */
static inline int scale_bits(double largest, int frac)
{
    int exponent;
    frexp(ldexp(largest * SCALE_MARGIN, frac) + 1, &exponent);
    return exponent;
}

/* The fraction bits with which values up to largest, and the margin, stay below the range; at most most. */
static inline int scale_fit(double largest, int most)
{
    if (!(largest > 0))
        return most;
    const int fit = RING_RANGE_BITS - scale_exponent(largest * SCALE_MARGIN);
    return fit < most ? fit : most;
}

static inline int scale_least(int a, int b)
{
    return a < b ? a : b;
}

static inline int scale_most(int a, int b)
{
    return a > b ? a : b;
}

#endif
