#include "distill/batch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void distill_batch_init(struct distill_batch *batch)
{
    *batch = (struct distill_batch){0};
}

void distill_batch_clear(struct distill_batch *batch)
{
    free(batch->start);
    free(batch->pair_start);
    free(batch->id);
    free(batch->type);
    free(batch->label);
    *batch = (struct distill_batch){0};
}

void distill_batch_reset(struct distill_batch *batch)
{
    batch->sequences = batch->tokens = batch->pairs = batch->longest = 0;
}

/* The array with room for n elements; without memory the old one, and *ok becomes false. */
static void *grown(void *array, size_t n, size_t size, bool *ok)
{
    void *larger = reallocarray(array, n, size);
    *ok = *ok && larger != NULL;
    return larger != NULL ? larger : array;
}

static enum status reserve(struct distill_batch *batch, size_t sequences, size_t tokens)
{
    bool ok = true;
    if (sequences > batch->sequence_capacity) {
        size_t room = sequences * 2;
        batch->start = grown(batch->start, room + 1, sizeof *batch->start, &ok);
        batch->pair_start = grown(batch->pair_start, room + 1, sizeof *batch->pair_start, &ok);
        batch->label = grown(batch->label, room, sizeof *batch->label, &ok);
        if (ok)
            batch->sequence_capacity = room;
    }
    if (tokens > batch->token_capacity) {
        size_t room = tokens * 2;
        batch->id = grown(batch->id, room, sizeof *batch->id, &ok);
        batch->type = grown(batch->type, room, sizeof *batch->type, &ok);
        if (ok)
            batch->token_capacity = room;
    }
    if (!ok)
        return status_fail(STATUS_MEMORY, "no memory for a batch of %zu sequences and %zu tokens", sequences,
                           tokens);
    return STATUS_OK;
}

enum status distill_batch_add(struct distill_batch *batch, const uint32_t *id, const uint32_t *type,
                              size_t length, double label)
{
    enum status status = reserve(batch, batch->sequences + 1, batch->tokens + length);
    if (status != STATUS_OK)
        return status;
    batch->start[batch->sequences] = batch->tokens;
    batch->pair_start[batch->sequences] = batch->pairs;
    batch->label[batch->sequences] = label;
    memcpy(batch->id + batch->tokens, id, length * sizeof *id);
    if (type != NULL)
        memcpy(batch->type + batch->tokens, type, length * sizeof *type);
    else
        memset(batch->type + batch->tokens, 0, length * sizeof *batch->type);
    batch->sequences++;
    batch->tokens += length;
    batch->pairs += length * length;
    batch->start[batch->sequences] = batch->tokens;
    batch->pair_start[batch->sequences] = batch->pairs;
    if (length > batch->longest)
        batch->longest = length;
    return STATUS_OK;
}

struct distill_batch distill_batch_first(const struct distill_batch *batch, size_t n)
{
    struct distill_batch first = *batch;
    first.sequences = n;
    first.tokens = batch->start[n];
    first.pairs = batch->pair_start[n];
    first.sequence_capacity = first.token_capacity = 0;
    return first;
}
