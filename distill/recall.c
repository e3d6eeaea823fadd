#include "distill/recall.h"

#include <stdlib.h>
#include <string.h>

#include "distill/visit.h"

size_t distill_recall_bytes(const struct model_config *config, const struct distill_batch *set)
{
    return sizeof(float) * (set->tokens * (config->layers + 1) * config->hidden +
                            set->pairs * config->layers * config->heads);
}

/* One sequence between a state, where it has place i of a batch, and what is kept of an example. */
struct transfer {
    const struct distill_recall *recall;
    const struct distill_state *state;
    const struct distill_batch *batch;
    size_t i, example;
    bool keep; /* from the state; otherwise to it */
};

static void copy(const struct transfer *t, float *state, float *kept, size_t n)
{
    if (t->keep)
        memcpy(kept, state, n * sizeof *kept);
    else
        memcpy(state, kept, n * sizeof *kept);
}

static void transfer_sequence(const struct transfer *t)
{
    const struct distill_recall *r = t->recall;
    size_t hidden = r->config.hidden, layers = r->config.layers, heads = r->config.heads;
    size_t first = t->batch->start[t->i], n = t->batch->start[t->i + 1] - first, pairs = n * n;
    size_t from = first * hidden, wide = n * hidden;
    float *tokens = r->tokens + r->set->start[t->example] * (layers + 1) * hidden;
    float *scores = r->scores + r->set->pair_start[t->example] * layers * heads;
    copy(t, t->state->embedded + from, tokens, wide);
    for (size_t layer = 0; layer < layers; layer++) {
        const struct distill_layer_state *of = &t->state->layer[layer];
        copy(t, of->out + from, tokens + (layer + 1) * wide, wide);
        for (size_t head = 0; head < heads; head++)
            copy(t, of->scores + head * t->batch->pairs + t->batch->pair_start[t->i],
                 scores + (layer * heads + head) * pairs, pairs);
    }
}

static void keep_batch(void *context, const struct distill_state *state, const struct distill_batch *batch,
                       const uint32_t *example)
{
    for (size_t i = 0; i < batch->sequences; i++)
        transfer_sequence(&(struct transfer){context, state, batch, i, example[i], true});
}

enum status distill_recall_make(struct distill_recall *recall, const struct distill_weights *teacher,
                                const struct distill_batch *set)
{
    const struct model_config *config = &teacher->config;
    *recall = (struct distill_recall){.set = set, .config = *config};
    recall->tokens = malloc(set->tokens * (config->layers + 1) * config->hidden * sizeof *recall->tokens);
    recall->scores = malloc(set->pairs * config->layers * config->heads * sizeof *recall->scores);
    if (recall->tokens == NULL || recall->scores == NULL) {
        distill_recall_clear(recall);
        return status_fail(STATUS_MEMORY,
                           "no memory to keep the teacher's layers (%zu MB): lower --teacher-memory",
                           distill_recall_bytes(config, set) >> 20);
    }
    enum status status = distill_visit(teacher, set, false, keep_batch, recall);
    if (status != STATUS_OK)
        distill_recall_clear(recall);
    return status;
}

void distill_recall_clear(struct distill_recall *recall)
{
    free(recall->tokens);
    free(recall->scores);
    *recall = (struct distill_recall){0};
}

void distill_recall_batch(struct distill_state *state, const struct distill_recall *recall,
                          const struct distill_batch *batch, const uint32_t *example)
{
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < batch->sequences; i++)
        transfer_sequence(&(struct transfer){recall, state, batch, i, example[i], false});
}
