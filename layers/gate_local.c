/* Public linear maps of masked values: no message, no mask, no round (DESIGN section 2).
 *
 * x = m - l1 - l2 holds over the integers, so a map applied to m, l1 and l2 alike gives a sharing of the mapped x. Each
 * component is rounded by itself, alike by everyone who holds it; the mapped x is off by at most 1.5 units. Combinations
 * are formed in 128 bits and narrowed to 64 with a check.
 *
 * Masks, and what passed as an opening (OPENING_BITS), always fit. */
#include <math.h>
#include <string.h>

#include "layers/gates.h"
#include "layers/opening.h"
#include "ring/clones.h"

/* v / 2^bits rounded to nearest; v of any sign. */
static inline ring_i128 shift_round(ring_i128 v, int bits)
{
    return bits ? (v + ((ring_i128)1 << (bits - 1))) >> bits : v;
}

static inline bool fits_int64(ring_i128 v)
{
    return (ring_i128)(int64_t)v == v;
}

/* x - mean(row): the mean is sum * round(2^40 / cols) / 2^40. |sum| < 2^62 * cols, so the product stays below 2^103. */
#define RECIPROCAL_BITS 40

/* Exact: the halves are added up apart, for at most 2^30 columns. */
RING_CLONES static ring_i128 row_sum(const int64_t *in, size_t n)
{
    int64_t high = 0;
    uint64_t low = 0;
    for (size_t i = 0; i < n; i++) {
        high += in[i] >> 32;
        low += (uint32_t)in[i];
    }
    return (ring_i128)high * ((ring_i128)1 << 32) + low;
}

/* out = in - mean; the sign bit of what is returned is set if one of them does not fit 64 bits. */
RING_CLONES static int64_t row_less(int64_t *restrict out, const int64_t *restrict in, int64_t mean, size_t n)
{
    int64_t overflow = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t v = (int64_t)((uint64_t)in[i] - (uint64_t)mean);
        overflow |= (in[i] ^ mean) & (in[i] ^ v);
        out[i] = v;
    }
    return overflow;
}

static enum status centre_local(const struct schedule *s, const struct gate *g, int64_t *out, const int64_t *in)
{
    const struct tensor *x = &s->tensor[g->x];
    const ring_i128 reciprocal = (ring_i128)llround(ldexp(1.0, RECIPROCAL_BITS) / x->cols);
    bool fits = true;
    for (size_t r = 0; r < x->rows; r++) {
        const ring_i128 mean = shift_round(row_sum(in + r * x->cols, x->cols) * reciprocal, RECIPROCAL_BITS);
        fits &= fits_int64(mean) & (row_less(out + r * x->cols, in + r * x->cols, (int64_t)mean, x->cols) >= 0);
    }
    return fits ? STATUS_OK : opening_out_of_range();
}

/* in / 2^bits rounded to nearest, as shift_round does, without a sum that could leave 64 bits. */
RING_CLONES static void shift_all(int64_t *restrict out, const int64_t *restrict in, int bits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (in[i] >> bits) + (in[i] >> (bits - 1) & 1);
}

static enum status shift_local(const struct schedule *s, const struct gate *g, int64_t *out, const int64_t *in)
{
    const size_t n = tensor_size(&s->tensor[g->x]);
    if (g->shift)
        shift_all(out, in, g->shift, n);
    else
        memcpy(out, in, n * sizeof *out);
    return STATUS_OK;
}

static enum status select_local(const struct schedule *s, const struct gate *g, int64_t *out, const int64_t *in)
{
    const struct tensor *x = &s->tensor[g->x], *y = &s->tensor[g->out];
    const size_t step = (size_t)x->rows / y->rows * x->cols;
    for (size_t r = 0; r < y->rows; r++)
        memcpy(out + r * y->cols, in + r * step, y->cols * sizeof *out);
    return STATUS_OK;
}

static enum status centre_clear(struct clear_walk *w, const struct gate *g)
{
    const struct tensor *x = &w->schedule->tensor[g->x];
    for (size_t r = 0; r < x->rows; r++) {
        const float *in = w->value[g->x] + r * x->cols;
        float *out = w->value[g->out] + r * x->cols;
        double sum = 0;
        for (size_t c = 0; c < x->cols; c++)
            sum += in[c];
        const float mean = (float)(sum / x->cols);
        for (size_t c = 0; c < x->cols; c++)
            out[c] = in[c] - mean;
    }
    return STATUS_OK;
}

static enum status shift_clear(struct clear_walk *w, const struct gate *g)
{
    memcpy(w->value[g->out], w->value[g->x], tensor_size(&w->schedule->tensor[g->x]) * sizeof(float));
    return STATUS_OK;
}

static enum status select_clear(struct clear_walk *w, const struct gate *g)
{
    const struct tensor *x = &w->schedule->tensor[g->x], *y = &w->schedule->tensor[g->out];
    const size_t step = (size_t)x->rows / y->rows * x->cols;
    for (size_t r = 0; r < y->rows; r++)
        memcpy(w->value[g->out] + r * y->cols, w->value[g->x] + r * step, y->cols * sizeof(float));
    return STATUS_OK;
}

const struct gate_walks gate_walks_centre = {.name = "centre", .clear = centre_clear, .local = centre_local};
const struct gate_walks gate_walks_shift = {.name = "shift", .clear = shift_clear, .local = shift_local};
const struct gate_walks gate_walks_select = {.name = "select", .clear = select_clear, .local = select_local};
