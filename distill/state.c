#include "distill/state.h"

#include <stdlib.h>

#include "distill/gemm.h"

/* Hands out n elements of the arena, at a multiple of 64 bytes; without memory it only counts. */
static real *take(real *memory, size_t *used, size_t n)
{
    size_t step = 64 / sizeof(real);
    real *part = memory != NULL ? memory + *used : NULL;
    *used += (n + step - 1) / step * step;
    return part;
}

static void take_layer(struct distill_layer_state *layer, const struct distill_state *s, real *memory,
                       size_t *used)
{
    size_t wide = s->tokens * s->config.hidden, scores = s->pairs * s->config.heads;
    layer->qkv = take(memory, used, 3 * wide);
    layer->scores = take(memory, used, scores);
    layer->weights = take(memory, used, scores);
    layer->context = take(memory, used, wide);
    layer->hat1 = take(memory, used, wide);
    layer->inverse1 = take(memory, used, s->tokens);
    layer->mid = take(memory, used, wide);
    layer->pre = take(memory, used, s->tokens * s->config.ffn);
    layer->act = take(memory, used, s->tokens * s->config.ffn);
    layer->hat2 = take(memory, used, wide);
    layer->inverse2 = take(memory, used, s->tokens);
    layer->out = take(memory, used, wide);
}

/* Lays the arena out; returns its size in elements. Called once to count, once to point. */
static size_t lay_out(struct distill_state *s, real *memory)
{
    size_t used = 0, wide = s->tokens * s->config.hidden, top = s->sequences * s->config.hidden;
    s->hat = take(memory, &used, wide);
    s->inverse = take(memory, &used, s->tokens);
    s->embedded = take(memory, &used, wide);
    for (unsigned n = 0; n < s->config.layers; n++)
        take_layer(&s->layer[n], s, memory, &used);
    s->first = take(memory, &used, top);
    s->pooled = take(memory, &used, top);
    s->dropped = take(memory, &used, top);
    s->logits = take(memory, &used, s->sequences * s->config.labels);
    s->scratch = take(memory, &used, 2 * s->longest * s->longest * (size_t)distill_threads());
    if (!s->backward)
        return used;
    s->dhidden = take(memory, &used, wide);
    s->dbranch = take(memory, &used, wide);
    s->dcontext = take(memory, &used, wide);
    s->dwide = take(memory, &used, s->tokens * s->config.ffn);
    s->dqkv = take(memory, &used, 3 * wide);
    s->dscores = take(memory, &used, s->pairs * s->config.heads);
    s->dc = take(memory, &used, s->sequences * s->config.heads);
    s->dpooled = take(memory, &used, top);
    s->dlogits = take(memory, &used, s->sequences * s->config.labels);
    return used;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

enum status distill_state_reserve(struct distill_state *state, const struct model_config *config,
                                  const struct distill_batch *batch, bool backward)
{
    if (state->memory != NULL && state->tokens >= batch->tokens && state->pairs >= batch->pairs &&
        state->longest >= batch->longest && state->sequences >= batch->sequences &&
        (state->backward || !backward))
        return STATUS_OK;
    struct distill_state grown = {.config = *config};
    grown.tokens = larger(state->tokens, batch->tokens);
    grown.pairs = larger(state->pairs, batch->pairs);
    grown.longest = larger(state->longest, batch->longest);
    grown.sequences = larger(state->sequences, batch->sequences);
    grown.backward = backward || state->backward;
    distill_state_clear(state);
    grown.layer = calloc(config->layers, sizeof *grown.layer);
    if (grown.layer == NULL)
        return status_fail(STATUS_MEMORY, "no memory for %u layers", config->layers);
    size_t size = lay_out(&grown, NULL);
    grown.memory = aligned_alloc(64, (size * sizeof(real) + 63) / 64 * 64);
    if (grown.memory == NULL) {
        free(grown.layer);
        return status_fail(STATUS_MEMORY,
                           "no memory for a batch of %zu tokens (%zu MB): use a smaller --batch or --length",
                           batch->tokens, size * sizeof(real) >> 20);
    }
    lay_out(&grown, grown.memory);
    *state = grown;
    return STATUS_OK;
}

void distill_state_clear(struct distill_state *state)
{
    free(state->memory);
    free(state->layer);
    *state = (struct distill_state){0};
}
