#include "layers/pooler.h"

#include <math.h>
#include <stdlib.h>

#include "layers/scale.h"

#define TABLE_BITS 12
#define SLOPE_FRAC 16

/* The line through tanh at both ends of what a cell answers for; x = i cell - reach is its middle. */
static void fill_lines(int64_t *slope, int64_t *intercept, double cell, double reach, int frac)
{
    for (int i = 0; i < 1 << TABLE_BITS; i++) {
        const double x = i * cell - reach, low = tanh(x - cell), high = tanh(x + cell);
        const double a = (high - low) / (2 * cell);
        slope[i] = llround(ldexp(a, SLOPE_FRAC));
        intercept[i] = llround(ldexp((high + low) / 2 - ldexp((double)slope[i], -SLOPE_FRAC) * x, frac));
    }
}

/* The index of p in [-reach, reach), four times what calibration saw. */
static uint32_t tanh_index(struct schedule *s, uint32_t p, double largest, int frac)
{
    const int bits_in = gate_bits_in(s, p);
    const int reach = scale_most(2, scale_exponent(largest * SCALE_MARGIN));
    const int shift = reach + 1 + bits_in - TABLE_BITS;
    const uint32_t lookup = gate_index(s, p, TABLE_BITS, shift, ldexp(1.0, reach), FUNCTION_TANH, 0.0);
    if (!schedule_calibrated(s))
        return lookup;
    const size_t bytes = ((size_t)1 << TABLE_BITS) * sizeof(int64_t);
    int64_t *slope = malloc(bytes), *intercept = malloc(bytes);
    if (slope && intercept)
        fill_lines(slope, intercept, ldexp(1.0, shift - bits_in), ldexp(1.0, reach), frac);
    lookup_table(s, lookup, SLOPE_FRAC, slope);
    lookup_table(s, lookup, frac, intercept);
    return lookup;
}

uint32_t layer_pooler(struct schedule *s, const struct shape *shape, uint32_t x)
{
    const double largest = schedule_range(s, 0).largest;
    const struct linear pooled = {.x = x, .residual = SCHEDULE_NONE, .cols = shape->hidden,
                                  .frac = scale_fit(largest, SCALE_USUAL)};
    const uint32_t p = gate_linear(s, &pooled, "pooler");
    const int frac = scale_most(SCALE_USUAL, s->tensor[p].frac);
    const uint32_t lookup = tanh_index(s, p, largest, frac);
    const uint32_t slope = gate_table(s, lookup, 0, shape->batch, shape->hidden, "pooler slope");
    const struct multiply line = {.x = slope, .y = p, .add = SCHEDULE_NONE, .lookup = lookup, .table = 1,
                                  .frac = frac};
    const uint32_t t = gate_multiply(s, &line, "pooler tanh");
    return gate_output(s, t, shape->labels, POOLER_LOGIT_FRAC, "logits");
}

enum status pooler_fold(struct folded *out, const struct shape *shape, const struct pooler_weights *w)
{
    const struct dense pooler = {w->pooler_w, w->pooler_b, shape->hidden, shape->hidden};
    const struct dense head = {w->head_w, w->head_b, shape->hidden, shape->labels};
    const enum status status = fold_dense(out, &pooler, &w->input, NULL, NULL);
    return status == STATUS_OK ? fold_dense(out, &head, NULL, NULL, NULL) : status;
}
