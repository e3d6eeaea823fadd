#include "distill/weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS_FIXED 9      /* embeddings, pooler, classifier */
#define TENSORS_PER_LAYER 18 /* at most */

/* Whether weight decay acts on it: the matrices of the encoder and the head, whatever their number of rows. */
static bool decays(const char *name)
{
    size_t length = strlen(name), end = strlen(".weight");
    return length > end && strcmp(name + length - end, ".weight") == 0 && strstr(name, "LayerNorm") == NULL &&
           strncmp(name, "embeddings.", 11) != 0;
}

/* Enters a tensor into the table; its place is settled when the whole size is known. */
static void enter(struct distill_weights *w, size_t rows, size_t columns, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void enter(struct distill_weights *w, size_t rows, size_t columns, const char *format, ...)
{
    struct distill_tensor *tensor = &w->tensor[w->tensors++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tensor->name, sizeof tensor->name, format, arguments);
    va_end(arguments);
    tensor->offset = w->count;
    tensor->rows = rows;
    tensor->columns = columns;
    tensor->rate = 1;
    tensor->sparse = strncmp(tensor->name, "embeddings.word", 15) == 0;
    tensor->decay = decays(tensor->name);
    w->count += rows * columns;
}

static void enter_layer(struct distill_weights *w, unsigned n)
{
    static const char *const part[3] = {"query", "key", "value"};
    size_t hidden = w->config.hidden, ffn = w->config.ffn;
    for (int i = 0; i < 3; i++)
        enter(w, hidden, hidden, "encoder.layer.%u.attention.self.%s.weight", n, part[i]);
    for (int i = 0; i < 3; i++)
        enter(w, 1, hidden, "encoder.layer.%u.attention.self.%s.bias", n, part[i]);
    enter(w, hidden, hidden, "encoder.layer.%u.attention.output.dense.weight", n);
    enter(w, 1, hidden, "encoder.layer.%u.attention.output.dense.bias", n);
    enter(w, 1, hidden, "encoder.layer.%u.attention.output.LayerNorm.weight", n);
    enter(w, 1, hidden, "encoder.layer.%u.attention.output.LayerNorm.bias", n);
    enter(w, ffn, hidden, "encoder.layer.%u.intermediate.dense.weight", n);
    enter(w, 1, ffn, "encoder.layer.%u.intermediate.dense.bias", n);
    enter(w, hidden, ffn, "encoder.layer.%u.output.dense.weight", n);
    enter(w, 1, hidden, "encoder.layer.%u.output.dense.bias", n);
    enter(w, 1, hidden, "encoder.layer.%u.output.LayerNorm.weight", n);
    enter(w, 1, hidden, "encoder.layer.%u.output.LayerNorm.bias", n);
    if (w->config.learned_c)
        enter(w, 1, w->config.heads, "encoder.layer.%u.attention.self.quad_c", n);
    if (w->config.learned_quad)
        enter(w, 3, ffn, "encoder.layer.%u.intermediate.quad", n);
}

static void enter_all(struct distill_weights *w)
{
    const struct model_config *config = &w->config;
    enter(w, config->vocabulary, config->hidden, "embeddings.word_embeddings.weight");
    enter(w, config->positions, config->hidden, "embeddings.position_embeddings.weight");
    enter(w, config->types, config->hidden, "embeddings.token_type_embeddings.weight");
    enter(w, 1, config->hidden, "embeddings.LayerNorm.weight");
    enter(w, 1, config->hidden, "embeddings.LayerNorm.bias");
    for (unsigned n = 0; n < config->layers; n++)
        enter_layer(w, n);
    enter(w, config->hidden, config->hidden, "pooler.dense.weight");
    enter(w, 1, config->hidden, "pooler.dense.bias");
    enter(w, config->labels, config->hidden, "classifier.weight");
    enter(w, 1, config->labels, "classifier.bias");
}

static real *place(const struct distill_weights *w, size_t *next)
{
    return w->value + w->tensor[(*next)++].offset;
}

/* Points the struct into the array, in the order in which enter_layer went. */
static void point_layer(struct distill_layer *layer, const struct distill_weights *w, size_t *next)
{
    layer->qkv_w = place(w, next);
    *next += 2;
    layer->qkv_b = place(w, next);
    *next += 2;
    layer->output_w = place(w, next);
    layer->output_b = place(w, next);
    layer->norm1_g = place(w, next);
    layer->norm1_b = place(w, next);
    layer->ffn1_w = place(w, next);
    layer->ffn1_b = place(w, next);
    layer->ffn2_w = place(w, next);
    layer->ffn2_b = place(w, next);
    layer->norm2_g = place(w, next);
    layer->norm2_b = place(w, next);
    layer->quad_c = w->config.learned_c ? place(w, next) : NULL;
    layer->quad = w->config.learned_quad ? place(w, next) : NULL;
}

static void point_all(struct distill_weights *w)
{
    size_t next = 0;
    w->word = place(w, &next);
    w->position = place(w, &next);
    w->type = place(w, &next);
    w->norm_g = place(w, &next);
    w->norm_b = place(w, &next);
    for (unsigned n = 0; n < w->config.layers; n++)
        point_layer(&w->layer[n], w, &next);
    w->pooler_w = place(w, &next);
    w->pooler_b = place(w, &next);
    w->head_w = place(w, &next);
    w->head_b = place(w, &next);
}

enum status distill_weights_allocate(struct distill_weights *out, const struct model_config *config)
{
    *out = (struct distill_weights){.config = *config};
    out->tensor = calloc(TENSORS_FIXED + (size_t)config->layers * TENSORS_PER_LAYER, sizeof *out->tensor);
    out->layer = calloc(config->layers, sizeof *out->layer);
    if (out->tensor != NULL && out->layer != NULL) {
        enter_all(out);
        out->value = aligned_alloc(64, (out->count * sizeof(real) + 63) / 64 * 64);
    }
    if (out->value == NULL) {
        size_t count = out->count;
        distill_weights_clear(out);
        return status_fail(STATUS_MEMORY, "no memory for %zu weights", count);
    }
    memset(out->value, 0, out->count * sizeof(real));
    point_all(out);
    return STATUS_OK;
}

void distill_weights_clear(struct distill_weights *weights)
{
    free(weights->value);
    free(weights->tensor);
    free(weights->layer);
    *weights = (struct distill_weights){0};
}
