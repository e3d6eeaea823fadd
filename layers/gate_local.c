/* Public linear maps of masked values: no message, no mask, no round (DESIGN section 2).
 *
 * x = m - l1 - l2 holds over the integers, so a map applied to m, l1 and l2 alike gives a sharing of the mapped x. Each
 * component is rounded by itself, alike by everyone who holds it; the mapped x is off by at most 1.5 units. Combinations
 * are formed in 128 bits and narrowed to 64 with a check.
 *
 * The check can fail only for masks that occur with probability below 2^-60; a failure ends the inference, and says
 * nothing but that. */
#include <math.h>
#include <string.h>

#include "layers/gates.h"

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

static enum status centre_local(const struct schedule *s, const struct gate *g, int64_t *out, const int64_t *in)
{
    const struct tensor *x = &s->tensor[g->x];
    const ring_i128 reciprocal = (ring_i128)llround(ldexp(1.0, RECIPROCAL_BITS) / x->cols);
    bool fits = true;
    for (size_t r = 0; r < x->rows; r++) {
        ring_i128 sum = 0;
        for (size_t c = 0; c < x->cols; c++)
            sum += in[r * x->cols + c];
        const ring_i128 mean = shift_round(sum * reciprocal, RECIPROCAL_BITS);
        for (size_t c = 0; c < x->cols; c++) {
            const ring_i128 v = in[r * x->cols + c] - mean;
            fits &= fits_int64(v);
            out[r * x->cols + c] = (int64_t)v;
        }
    }
    return fits ? STATUS_OK : status_fail(STATUS_RANGE, "%s: a mask does not fit 64 bits", s->tensor[g->out].name);
}

static enum status shift_local(const struct schedule *s, const struct gate *g, int64_t *out, const int64_t *in)
{
    const size_t n = tensor_size(&s->tensor[g->x]);
    for (size_t i = 0; i < n; i++)
        out[i] = (int64_t)shift_round(in[i], g->shift);
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
