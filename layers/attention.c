#include "layers/attention.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "layers/embedding.h"
#include "layers/layernorm.h"
#include "layers/scale.h"

/* Ranged openings, in the order emitted. */
enum { QUERY, KEY, VALUE, SCORES, WEIGHTED, SQUARE, CONTEXT, DENOMINATOR };

struct scales {
    int query, key, value, scores, weighted, square, context;
    struct inverse inverse;
};

/* A range that calibration kept per token, for a whole bucket. With mu = 2^k, bucket / 2 < 2^k length <= bucket. */
static struct range whole_bucket(struct range each, uint32_t bucket)
{
    return (struct range){each.largest * bucket, each.smallest * bucket / 2};
}

/* The sum over keys starts from square + weighted bits and may lose 15: what is to be had is shared out so that rounding a
 * (of size den / length) and rounding mu v weigh the same in the quotient. */
static void choose_scales(struct scales *f, struct schedule *s, const struct shape *shape)
{
    const struct range context = whole_bucket(schedule_range(s, CONTEXT), shape->bucket);
    const struct range each = schedule_range(s, DENOMINATOR);
    const double mu = ldexp(1.0, embedding_mask_power(shape->bucket, 2));
    f->query = scale_fit(schedule_range(s, QUERY).largest, SCALE_USUAL);
    f->key = scale_fit(schedule_range(s, KEY).largest, SCALE_USUAL);
    f->value = scale_fit(schedule_range(s, VALUE).largest, SCALE_USUAL);
    f->context = scale_fit(context.largest, SCALE_USUAL);
    const int total = schedule_shift_most(GATE_CONTEXT) + f->context;
    const int balanced = (int)lround((total + log2(fmax(each.largest, 1e-6))) / 2);
    f->weighted = scale_least(scale_fit(schedule_range(s, WEIGHTED).largest * mu, f->value), balanced);
    f->square = scale_least(scale_fit(schedule_range(s, SQUARE).largest, SCALE_USUAL), total - f->weighted);
    f->scores = scale_least(scale_fit(schedule_range(s, SCORES).largest, SCALE_USUAL), (RING_SHIFT_MAX + f->square) / 2);
    f->inverse = (struct inverse){.function = FUNCTION_INVERSE, .v = whole_bucket(each, shape->bucket),
                                  .tune = shape->tune};
    inverse_plan(&f->inverse, f->square, 40);
}

/* x W + b without a residual. */
static uint32_t project(struct schedule *s, uint32_t x, uint32_t cols, int frac, const char *layer, const char *what)
{
    char text[SCHEDULE_NAME];
    snprintf(text, sizeof text, "%s %s", layer, what);
    const struct linear linear = {.x = x, .residual = SCHEDULE_NONE, .cols = cols, .frac = frac};
    return gate_linear(s, &linear, text);
}

/* o / den: a row of o meets one inverse a head. o keeps only the bits that the product can carry. */
static uint32_t divide(struct schedule *s, const struct heads *h, uint32_t o, uint32_t inverse, const char *layer)
{
    char text[SCHEDULE_NAME];
    const int frac = scale_fit(schedule_range(s, 0).largest, SCALE_USUAL);
    snprintf(text, sizeof text, "%s context scaled", layer);
    o = gate_shift(s, o, scale_least(s->tensor[o].frac, RING_SHIFT_MAX + frac - s->tensor[inverse].frac), text);
    const struct multiply m = {.x = o, .y = inverse, .spread = GATE_HEAD, .heads = *h, .add = SCHEDULE_NONE,
                               .lookup = SCHEDULE_NONE, .frac = frac};
    snprintf(text, sizeof text, "%s attention", layer);
    return gate_multiply(s, &m, text);
}

uint32_t layer_attention(struct schedule *s, const struct shape *shape, uint32_t x, uint32_t mu, bool first_only,
                         const char *name)
{
    char text[SCHEDULE_NAME];
    struct scales f;
    choose_scales(&f, s, shape);
    const uint32_t hidden = shape->hidden, rows = shape->batch * (first_only ? 1 : shape->bucket);
    const struct heads h = {shape->batch, shape->heads, rows / shape->batch, shape->bucket, hidden / shape->heads};
    snprintf(text, sizeof text, "%s first token", name);
    const uint32_t from = first_only ? gate_select(s, x, shape->batch, text) : x;
    const uint32_t q = project(s, from, hidden, f.query, name, "query");
    uint32_t k = project(s, x, hidden, f.key, name, "key");
    const uint32_t v = project(s, x, hidden, f.value, name, "value");
    /* After its opening: the scales of weights must not depend on the bucket, and the scores' does. */
    snprintf(text, sizeof text, "%s key scaled", name);
    k = gate_shift(s, k, scale_least(s->tensor[k].frac, schedule_shift_most(GATE_SCORES) + f.scores - s->tensor[q].frac), text);
    snprintf(text, sizeof text, "%s scores", name);
    const uint32_t scores = gate_scores(s, q, k, h, shape->c, shape->learned_c, f.scores, text);
    const struct multiply weigh = {.x = v, .y = mu, .spread = GATE_ROW, .add = SCHEDULE_NONE,
                                   .lookup = SCHEDULE_NONE, .frac = f.weighted};
    snprintf(text, sizeof text, "%s value weighted", name);
    const uint32_t weighted = gate_multiply(s, &weigh, text);
    snprintf(text, sizeof text, "%s square", name);
    const uint32_t a = gate_square(s, scores, 0, f.square, text);
    snprintf(text, sizeof text, "%s context", name);
    const uint32_t o = gate_context(s, a, weighted, h, f.context, text);
    snprintf(text, sizeof text, "%s denominator", name);
    const uint32_t den = gate_row_dot(s, a, mu, h, f.inverse.v_frac, text);
    snprintf(text, sizeof text, "%s inverse", name);
    const uint32_t inverse = layer_inverse(s, &f.inverse, den, text);
    /* A sum of squares with weights that is in range has no summand out of range: so o is opened after it is known. */
    gate_wait(s, o);
    const uint32_t attended = divide(s, &h, o, inverse, name);
    snprintf(text, sizeof text, "%s attention output", name);
    const struct linear output = {.x = attended, .residual = from, .cols = hidden,
                                  .frac = scale_fit(schedule_range(s, 0).largest, SCALE_USUAL)};
    const uint32_t y = gate_linear(s, &output, text);
    snprintf(text, sizeof text, "%s attention norm", name);
    return layer_norm(s, y, shape->epsilon, text);
}

/* In the order the gates declare their weights. */
enum status attention_fold(struct folded *out, const struct shape *shape, const struct attention_weights *w)
{
    const uint32_t hidden = shape->hidden;
    const struct dense dense[4] = {{w->query_w, w->query_b, hidden, hidden},
                                   {w->key_w, w->key_b, hidden, hidden},
                                   {w->value_w, w->value_b, hidden, hidden},
                                   {w->output_w, w->output_b, hidden, hidden}};
    float *root = malloc(hidden * sizeof *root);
    if (!root)
        return status_fail(STATUS_MEMORY, "out of memory for the folded weights");
    for (uint32_t i = 0; i < hidden; i++)
        root[i] = 1.0f / sqrtf((float)hidden / (float)shape->heads);
    enum status status = fold_dense(out, &dense[0], &w->input, NULL, root);
    free(root);
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = fold_dense(out, &dense[i], &w->input, NULL, NULL);
    if (status == STATUS_OK && shape->learned_c)
        status = fold_vector(out, w->c, shape->heads);
    if (status == STATUS_OK)
        status = fold_dense(out, &dense[3], NULL, NULL, NULL);
    if (status != STATUS_OK)
        return status;
    fold_add(out, 0, w->input.beta, hidden);
    return fold_vector(out, w->input.gamma, hidden);
}
