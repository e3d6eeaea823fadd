#include "model/calibrate.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum status model_embed(const struct model *m, const struct sample *sample, uint32_t bucket, float *x)
{
    const size_t hidden = m->config.hidden;
    if (sample->length > bucket || sample->length > m->config.positions)
        return status_fail(STATUS_INPUT, "a text of %u tokens is longer than the %u that fit", sample->length,
                           bucket < m->config.positions ? bucket : m->config.positions);
    if (sample->length < 1)
        return status_fail(STATUS_INPUT, "a text without tokens");
    for (uint32_t t = 0; t < sample->length; t++) {
        const uint32_t id = sample->id[t], type = sample->type ? sample->type[t] : 0;
        if (id >= m->config.vocabulary || type >= m->config.types)
            return status_fail(STATUS_INPUT, "token %u of the text is not in the model's vocabulary: do vocab.txt and "
                                             "config.json belong together?", t);
        const float *word = m->word + id * hidden, *position = m->position + t * hidden;
        const float *kind = m->type + type * hidden;
        for (size_t i = 0; i < hidden; i++)
            x[t * hidden + i] = word[i] + position[i] + kind[i];
    }
    for (uint32_t t = sample->length; t < bucket; t++)
        memcpy(x + t * hidden, x, hidden * sizeof *x);
    return STATUS_OK;
}

/* One sample at a bucket of its own length; ranges per token where the tensor grows with the length. */
static enum status run_sample(const struct model *m, const struct folded *folded, const struct sample *sample,
                              struct range *seen)
{
    struct schedule s;
    enum status status = model_compile_clear(&m->config, sample->length, 1, &s);
    if (status != STATUS_OK)
        return status;
    struct range *own = calloc(s.ranged ? s.ranged : 1, sizeof *own);
    float *x = malloc((size_t)sample->length * m->config.hidden * sizeof *x);
    float *mu = malloc(sample->length * sizeof *mu), *logits = calloc(m->config.labels, sizeof *logits);
    if (!own || !x || !mu || !logits)
        status = status_fail(STATUS_MEMORY, "out of memory while calibrating");
    for (uint32_t i = 0; status == STATUS_OK && i < s.ranged; i++)
        own[i] = (struct range){0, DBL_MAX};
    for (uint32_t i = 0; status == STATUS_OK && i < sample->length; i++)
        mu[i] = 1.0f;
    if (status == STATUS_OK)
        status = model_embed(m, sample, sample->length, x);
    const float *const input[2] = {x, mu};
    if (status == STATUS_OK)
        status = walk_clear(&s, folded, input, logits, own);
    uint32_t number = 0;
    for (uint32_t i = 0; status == STATUS_OK && i < s.tensors; i++) {
        if (!s.tensor[i].ranged)
            continue;
        const double scale = s.tensor[i].each_token ? 1.0 / sample->length : 1.0;
        seen[number].largest = fmax(seen[number].largest, own[number].largest * scale);
        seen[number].smallest = fmin(seen[number].smallest, own[number].smallest * scale);
        number++;
    }
    free(own);
    free(x);
    free(mu);
    free(logits);
    schedule_clear(&s);
    return status;
}

/* What is inverted must stay away from zero, and every value must be a number. */
static enum status check_ranges(const struct schedule *s, const struct range *range)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < s->tensors; i++) {
        if (!s->tensor[i].ranged)
            continue;
        if (!isfinite(range[number].largest) || range[number].largest > 1e6)
            return status_fail(STATUS_RANGE, "%s reaches %g on the calibration texts: this model's values do not fit the "
                                             "fixed-point range", s->tensor[i].name, range[number].largest);
        number++;
    }
    return STATUS_OK;
}

/* v rounded away from, or towards, zero to four significant bits. */
static double coarse(double v, bool away)
{
    int exponent;
    const double mantissa = ldexp(frexp(v, &exponent), 4);
    return ldexp(away ? ceil(mantissa) : floor(mantissa), exponent - 4);
}

/* A description is public: its ranges say no more about the weights and the texts than the scales need. */
static void round_ranges(struct range *range, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        range[i].largest = coarse(range[i].largest, true);
        range[i].smallest = range[i].smallest > 0 ? coarse(range[i].smallest, false) : 0;
    }
}

static enum status choose_weight_scales(const struct model *m, const struct folded *folded, struct description *out)
{
    struct schedule s;
    enum status status = model_compile_clear(&m->config, m->config.positions, 1, &s);
    if (status != STATUS_OK)
        return status;
    double *largest = folded_largest(folded, &s);
    schedule_clear(&s);
    if (!largest)
        return status_fail(STATUS_MEMORY, "out of memory while calibrating");
    out->weights = folded->count;
    out->weight_frac = calloc(folded->count, sizeof *out->weight_frac);
    status = out->weight_frac ? description_compile_owner(out, largest, &s)
                              : status_fail(STATUS_MEMORY, "out of memory while calibrating");
    if (status == STATUS_OK) {
        for (uint32_t i = 0; i < s.weights; i++)
            out->weight_frac[i] = s.weight[i].frac;
        schedule_clear(&s);
    }
    free(largest);
    return status;
}

enum status model_calibrate(const struct model *m, const struct folded *folded, const struct sample *samples,
                            size_t count, void (*progress)(void *context, size_t done, size_t count), void *context,
                            struct description *out)
{
    struct schedule s;
    size_t used = 0;
    memset(out, 0, sizeof *out);
    if (!count)
        return status_fail(STATUS_INPUT, "there is no text to calibrate on");
    enum status status = model_compile_clear(&m->config, 2, 1, &s);
    if (status != STATUS_OK)
        return status;
    out->config = m->config;
    randombytes_buf(out->nonce, sizeof out->nonce);
    out->ranges = s.ranged;
    out->range = calloc(s.ranged, sizeof *out->range);
    if (!out->range)
        status = status_fail(STATUS_MEMORY, "out of memory while calibrating");
    for (uint32_t i = 0; status == STATUS_OK && i < s.ranged; i++)
        out->range[i] = (struct range){0, DBL_MAX};
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        struct sample cut = samples[i];
        if (cut.length > m->config.positions)
            cut.length = m->config.positions;
        if (cut.length >= 2) {
            status = run_sample(m, folded, &cut, out->range);
            used++;
        }
        if (progress)
            progress(context, i + 1, count);
    }
    if (status == STATUS_OK && !used)
        status = status_fail(STATUS_INPUT, "no text to calibrate on has two tokens or more");
    if (status == STATUS_OK)
        status = check_ranges(&s, out->range);
    if (status == STATUS_OK)
        round_ranges(out->range, out->ranges);
    if (status == STATUS_OK)
        status = choose_weight_scales(m, folded, out);
    schedule_clear(&s);
    if (status != STATUS_OK)
        description_clear(out);
    return status;
}
