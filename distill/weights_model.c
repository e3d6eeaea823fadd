/* Between the flat array and struct model. Float only. */
#include <stdio.h>
#include <string.h>

#include "distill/random.h"
#include "distill/weights.h"

#define DEVIATION 0.02 /* of new weights, as BERT's */

/* The places of one tensor on both sides; model: NULL if the model lacks it. */
struct pair {
    float *flat, *model;
    size_t n;
};

#define PAIRS_LAYER 18

static int layer_pairs(struct pair *pair, const struct distill_weights *w, const struct distill_layer *ours,
                       const struct model_layer *theirs)
{
    size_t h = w->config.hidden, f = w->config.ffn;
    const struct pair all[PAIRS_LAYER] = {
        {ours->qkv_w, theirs->query_w, h * h},
        {ours->qkv_w + h * h, theirs->key_w, h * h},
        {ours->qkv_w + 2 * h * h, theirs->value_w, h * h},
        {ours->qkv_b, theirs->query_b, h},
        {ours->qkv_b + h, theirs->key_b, h},
        {ours->qkv_b + 2 * h, theirs->value_b, h},
        {ours->output_w, theirs->output_w, h * h},
        {ours->output_b, theirs->output_b, h},
        {ours->norm1_g, theirs->norm1_g, h},
        {ours->norm1_b, theirs->norm1_b, h},
        {ours->ffn1_w, theirs->ffn1_w, h * f},
        {ours->ffn1_b, theirs->ffn1_b, f},
        {ours->ffn2_w, theirs->ffn2_w, h * f},
        {ours->ffn2_b, theirs->ffn2_b, h},
        {ours->norm2_g, theirs->norm2_g, h},
        {ours->norm2_b, theirs->norm2_b, h},
        {ours->quad_c, theirs->quad_c, w->config.heads},
        {ours->quad, theirs->quad, 3 * f},
    };
    memcpy(pair, all, sizeof all);
    return PAIRS_LAYER;
}

#define PAIRS_TOP 9

static int top_pairs(struct pair *pair, const struct distill_weights *w, const struct model *model)
{
    size_t h = w->config.hidden;
    const struct pair all[PAIRS_TOP] = {
        {w->word, model->word, w->config.vocabulary * h},
        {w->position, model->position, w->config.positions * h},
        {w->type, model->type, w->config.types * h},
        {w->norm_g, model->norm_g, h},
        {w->norm_b, model->norm_b, h},
        {w->pooler_w, model->pooler_w, h * h},
        {w->pooler_b, model->pooler_b, h},
        {w->head_w, model->head_w, w->config.labels * h},
        {w->head_b, model->head_b, w->config.labels},
    };
    memcpy(pair, all, sizeof all);
    return PAIRS_TOP;
}

static void copy_in(const struct pair *pair, int pairs)
{
    for (int i = 0; i < pairs; i++)
        if (pair[i].flat != NULL && pair[i].model != NULL)
            memcpy(pair[i].flat, pair[i].model, pair[i].n * sizeof(float));
}

static void copy_out(const struct pair *pair, int pairs)
{
    for (int i = 0; i < pairs; i++)
        if (pair[i].flat != NULL && pair[i].model != NULL)
            memcpy(pair[i].model, pair[i].flat, pair[i].n * sizeof(float));
}

static void fill(float *out, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        out[i] = value;
}

static void start_coefficients(struct distill_weights *w)
{
    size_t ffn = w->config.ffn;
    for (unsigned n = 0; n < w->config.layers; n++) {
        struct distill_layer *layer = &w->layer[n];
        if (layer->quad_c != NULL)
            fill(layer->quad_c, w->config.heads, w->config.softmax_c);
        if (layer->quad != NULL) {
            fill(layer->quad, ffn, 0.125f);
            fill(layer->quad + ffn, ffn, 0.25f);
            fill(layer->quad + 2 * ffn, ffn, 0.5f);
        }
    }
}

void distill_weights_random(struct distill_weights *weights, uint64_t seed)
{
    for (size_t t = 0; t < weights->tensors; t++) {
        const struct distill_tensor *tensor = &weights->tensor[t];
        float *value = weights->value + tensor->offset;
        size_t n = tensor->rows * tensor->columns;
        uint64_t key = distill_random_key(seed, t);
        if (strstr(tensor->name, "LayerNorm.weight") != NULL)
            fill(value, n, 1);
        else if (strstr(tensor->name, ".bias") != NULL)
            fill(value, n, 0);
        else
            for (size_t i = 0; i < n; i++)
                value[i] = (float)(DEVIATION * distill_random_normal(key, (uint32_t)i));
    }
    start_coefficients(weights);
}

static enum status check_shapes(const struct model_config *have, const struct model_config *want)
{
    if (have->hidden != want->hidden || have->layers != want->layers || have->heads != want->heads ||
        have->ffn != want->ffn || have->vocabulary != want->vocabulary ||
        have->positions != want->positions || have->types != want->types)
        return status_fail(
            STATUS_INPUT,
            "the model has hidden %u, layers %u, heads %u, feed-forward %u, vocabulary %u; wanted are "
            "hidden %u, layers %u, heads %u, feed-forward %u, vocabulary %u",
            have->hidden, have->layers, have->heads, have->ffn, have->vocabulary, want->hidden, want->layers,
            want->heads, want->ffn, want->vocabulary);
    return STATUS_OK;
}

enum status distill_weights_from_model(struct distill_weights *out, const struct model *model,
                                       const struct model_config *config, uint64_t seed)
{
    struct pair pair[PAIRS_LAYER];
    enum status status = check_shapes(&model->config, config);
    if (status != STATUS_OK)
        return status;
    status = distill_weights_allocate(out, config);
    if (status != STATUS_OK)
        return status;
    distill_weights_random(out, seed);
    int top = top_pairs(pair, out, model);
    if (model->config.labels != config->labels) /* a classifier of another task is left out */
        top -= 2;
    copy_in(pair, top);
    for (unsigned n = 0; n < config->layers; n++)
        copy_in(pair, layer_pairs(pair, out, &out->layer[n], &model->layer[n]));
    return STATUS_OK;
}

enum status distill_weights_to_model(struct model *out, const struct distill_weights *weights)
{
    struct pair pair[PAIRS_LAYER];
    enum status status = model_allocate(out, &weights->config, true);
    if (status != STATUS_OK)
        return status;
    copy_out(pair, top_pairs(pair, weights, out));
    for (unsigned n = 0; n < weights->config.layers; n++)
        copy_out(pair, layer_pairs(pair, weights, &weights->layer[n], &out->layer[n]));
    return STATUS_OK;
}
