/* Putting the layers together: from a model's public description to its schedule, and its weights folded for it. */
#include <stdio.h>
#include <string.h>

#include "layers/attention.h"
#include "layers/embedding.h"
#include "layers/feedforward.h"
#include "layers/pooler.h"
#include "model/description.h"

#define OWNER_BUCKET 128

enum status model_is_private(const struct model_config *c)
{
    if (c->activation != MODEL_QUAD)
        return status_fail(STATUS_INPUT, "config.json: hidden_act must be \"quad\" to run privately: distil a student first "
                                         "(trefoil distill)");
    if (c->attention != MODEL_2QUAD)
        return status_fail(STATUS_INPUT, "config.json: attention_softmax must be \"2quad\" to run privately: distil a "
                                         "student first (trefoil distill)");
    return STATUS_OK;
}

static struct shape shape_of(const struct model_config *c, uint32_t bucket, uint32_t batch, enum tune tune)
{
    return (struct shape){.hidden = c->hidden,
                          .heads = c->heads,
                          .ffn = c->ffn,
                          .layers = c->layers,
                          .labels = c->labels,
                          .bucket = bucket,
                          .batch = batch,
                          .epsilon = (double)c->layer_norm_eps,
                          .c = (double)c->softmax_c,
                          .learned_c = c->learned_c,
                          .tune = tune};
}

static enum status compile(struct schedule *s, const struct shape *shape)
{
    char name[SCHEDULE_NAME];
    const struct embedding embedding = layer_embedding(s, shape);
    uint32_t x = embedding.n;
    for (uint32_t i = 0; i < shape->layers && s->failed == STATUS_OK; i++) {
        snprintf(name, sizeof name, "layer %u", i + 1);
        x = layer_attention(s, shape, x, embedding.mu, i + 1 == shape->layers, name);
        x = layer_feedforward(s, shape, x, name);
    }
    if (s->failed == STATUS_OK)
        layer_pooler(s, shape, x);
    return schedule_finish(s);
}

static enum status check_shape(const struct model_config *c, uint32_t bucket, uint32_t batch)
{
    if (bucket < 2 || bucket > c->positions)
        return status_fail(STATUS_INPUT, "a bucket of %u tokens: this model takes 2 to %u", bucket, c->positions);
    if (batch < 1 || batch > 1024)
        return status_fail(STATUS_INPUT, "a batch of %u sequences: 1 to 1024 are possible", batch);
    return model_is_private(c);
}

enum status description_compile(const struct description *d, uint32_t bucket, uint32_t batch, enum tune tune,
                                struct schedule *out)
{
    schedule_init(out, bucket, batch);
    enum status status = check_shape(&d->config, bucket, batch);
    if (status != STATUS_OK)
        return status;
    const struct shape shape = shape_of(&d->config, bucket, batch, tune);
    out->range = d->range;
    out->ranges = d->ranges;
    out->weight_frac = d->weight_frac;
    out->weight_count = d->weights;
    status = compile(out, &shape);
    if (status == STATUS_OK && out->weights != d->weights)
        status = status_fail(STATUS_FOREIGN, "the model's description has %u weights, the schedule %u: share the model again "
                                             "with this version", d->weights, out->weights);
    if (status != STATUS_OK)
        schedule_clear(out);
    return status;
}

enum status description_compile_owner(const struct description *d, const double *largest, struct schedule *out)
{
    /* The scales of weights do not depend on the bucket (layers/attention.c chooses them from what is per token). */
    const uint32_t bucket = d->config.positions < OWNER_BUCKET ? d->config.positions : OWNER_BUCKET;
    schedule_init(out, bucket, 1);
    enum status status = check_shape(&d->config, bucket, 1);
    if (status != STATUS_OK)
        return status;
    const struct shape shape = shape_of(&d->config, bucket, 1, TUNE_LAN);
    out->range = d->range;
    out->ranges = d->ranges;
    out->weight_largest = largest;
    out->weight_count = d->weights;
    status = compile(out, &shape);
    if (status != STATUS_OK)
        schedule_clear(out);
    return status;
}

enum status model_compile_clear(const struct model_config *config, uint32_t bucket, uint32_t batch,
                                struct schedule *out)
{
    schedule_init(out, bucket, batch);
    enum status status = check_shape(config, bucket, batch);
    if (status != STATUS_OK)
        return status;
    const struct shape shape = shape_of(config, bucket, batch, TUNE_WAN);
    status = compile(out, &shape);
    if (status != STATUS_OK)
        schedule_clear(out);
    return status;
}

/* ---- folding ---- */

static enum status fold_layer(const struct model *m, const struct shape *shape, uint32_t i, struct affine input,
                              struct folded *out)
{
    const struct model_layer *l = &m->layer[i];
    const struct attention_weights attention = {.input = input,
                                                .query_w = l->query_w,
                                                .query_b = l->query_b,
                                                .key_w = l->key_w,
                                                .key_b = l->key_b,
                                                .value_w = l->value_w,
                                                .value_b = l->value_b,
                                                .output_w = l->output_w,
                                                .output_b = l->output_b,
                                                .c = l->quad_c};
    const struct feedforward_weights feedforward = {.input = {l->norm1_g, l->norm1_b},
                                                    .in_w = l->ffn1_w,
                                                    .in_b = l->ffn1_b,
                                                    .out_w = l->ffn2_w,
                                                    .out_b = l->ffn2_b,
                                                    .quad = l->quad};
    const enum status status = attention_fold(out, shape, &attention);
    return status == STATUS_OK ? feedforward_fold(out, shape, &feedforward) : status;
}

enum status model_fold(const struct model *m, struct folded *out)
{
    memset(out, 0, sizeof *out);
    if (!m->pooler_w || !m->head_w)
        return status_fail(STATUS_INPUT, "model.safetensors has no pooler or no classifier: only a classifier can be shared");
    const struct shape shape = shape_of(&m->config, 0, 1, TUNE_WAN);
    struct affine input = {m->norm_g, m->norm_b};
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < shape.layers; i++) {
        status = fold_layer(m, &shape, i, input, out);
        input = (struct affine){m->layer[i].norm2_g, m->layer[i].norm2_b};
        if (status != STATUS_OK)
            status = status_prefix(status, "layer %u: ", i + 1);
    }
    const struct pooler_weights pooler = {.input = input,
                                          .pooler_w = m->pooler_w,
                                          .pooler_b = m->pooler_b,
                                          .head_w = m->head_w,
                                          .head_b = m->head_b};
    if (status == STATUS_OK)
        status = pooler_fold(out, &shape, &pooler);
    if (status != STATUS_OK)
        folded_clear(out);
    return status;
}
