#include "layers/feedforward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "layers/layernorm.h"
#include "layers/scale.h"

/* The square is divided by 2^3 in its opening. */
#define HALVINGS 3
#define LEAST_A 1e-4

uint32_t layer_feedforward(struct schedule *s, const struct shape *shape, uint32_t x, const char *name)
{
    char text[SCHEDULE_NAME];
    const int square_frac = scale_fit(schedule_range(s, 1).largest, SCALE_USUAL);
    const int h_frac = scale_least(scale_fit(schedule_range(s, 0).largest, SCALE_USUAL),
                                   (RING_SHIFT_MAX + square_frac - HALVINGS) / 2);
    const struct linear in = {.x = x, .residual = SCHEDULE_NONE, .cols = shape->ffn, .frac = h_frac};
    snprintf(text, sizeof text, "%s feed-forward", name);
    const uint32_t h = gate_linear(s, &in, text);
    snprintf(text, sizeof text, "%s quad", name);
    const uint32_t square = gate_square(s, h, HALVINGS, square_frac, text);
    const struct linear out = {.x = square, .residual = x, .cols = shape->hidden,
                               .frac = scale_fit(schedule_range(s, 0).largest, SCALE_USUAL)};
    snprintf(text, sizeof text, "%s feed-forward output", name);
    const uint32_t y = gate_linear(s, &out, text);
    snprintf(text, sizeof text, "%s norm", name);
    return layer_norm(s, y, shape->epsilon, text);
}

/* Per neuron: scale s and offset s b / 2a of the first layer, sign and constant of the second. */
struct completed {
    float *scale, *offset, *sign, *constant;
};

static enum status complete_square(struct completed *c, const float *quad, uint32_t ffn)
{
    for (uint32_t i = 0; i < ffn; i++) {
        const double a = quad ? (double)quad[i] : 0.125, b = quad ? (double)quad[ffn + i] : 0.25;
        const double g = quad ? (double)quad[2 * ffn + i] : 0.5;
        if (!(fabs(a) >= LEAST_A))
            return status_fail(STATUS_INPUT, "neuron %u: the coefficient a of its quadratic is %g, too near to zero "
                                             "(at least %g is needed)", i, a, LEAST_A);
        const double s = sqrt(ldexp(fabs(a), HALVINGS));
        c->scale[i] = (float)s;
        c->offset[i] = (float)(s * b / (2 * a));
        c->sign[i] = a < 0 ? -1.0f : 1.0f;
        c->constant[i] = (float)(g - b * b / (4 * a));
    }
    return STATUS_OK;
}

static enum status fold_completed(struct folded *out, const struct shape *shape, const struct feedforward_weights *w,
                                  const struct completed *c)
{
    const struct dense in = {w->in_w, w->in_b, shape->hidden, shape->ffn};
    const struct dense second = {w->out_w, w->out_b, shape->ffn, shape->hidden};
    enum status status = fold_dense(out, &in, &w->input, NULL, c->scale);
    if (status != STATUS_OK)
        return status;
    fold_add(out, 0, c->offset, shape->ffn);
    status = fold_dense(out, &second, NULL, c->sign, NULL);
    if (status != STATUS_OK)
        return status;
    float *bias = out->weight[out->count - 1];
    for (size_t o = 0; o < shape->hidden; o++) {
        double sum = 0;
        for (size_t i = 0; i < shape->ffn; i++)
            sum += (double)w->out_w[o * shape->ffn + i] * (double)c->constant[i];
        bias[o] += (float)(sum + (double)w->input.beta[o]);
    }
    return fold_vector(out, w->input.gamma, shape->hidden);
}

enum status feedforward_fold(struct folded *out, const struct shape *shape, const struct feedforward_weights *w)
{
    float *all = malloc(4 * (size_t)shape->ffn * sizeof *all);
    if (!all)
        return status_fail(STATUS_MEMORY, "out of memory for the folded weights");
    const struct completed c = {all, all + shape->ffn, all + 2 * (size_t)shape->ffn, all + 3 * (size_t)shape->ffn};
    enum status status = complete_square((struct completed *)&c, w->quad, shape->ffn);
    if (status == STATUS_OK)
        status = fold_completed(out, shape, w, &c);
    sodium_memzero(all, 4 * (size_t)shape->ffn * sizeof *all);
    free(all);
    return status;
}
