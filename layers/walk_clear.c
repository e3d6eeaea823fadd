#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gates.h"

void folded_clear(struct folded *f)
{
    for (uint32_t i = 0; i < f->count; i++) {
        sodium_memzero(f->weight[i], f->length[i] * sizeof *f->weight[i]);
        free(f->weight[i]);
    }
    free(f->weight);
    free(f->length);
    memset(f, 0, sizeof *f);
}

float *folded_next(struct folded *f, size_t n)
{
    if (f->count == f->capacity) {
        const uint32_t capacity = f->capacity ? 2 * f->capacity : 64;
        float **larger = realloc(f->weight, capacity * sizeof *larger);
        if (larger)
            f->weight = larger;
        size_t *lengths = realloc(f->length, capacity * sizeof *lengths);
        if (lengths)
            f->length = lengths;
        if (!larger || !lengths)
            return NULL;
        f->capacity = capacity;
    }
    float *w = calloc(n ? n : 1, sizeof *w);
    if (w) {
        f->length[f->count] = n;
        f->weight[f->count++] = w;
    }
    return w;
}

double *folded_largest(const struct folded *f, const struct schedule *s)
{
    double *largest = calloc(f->count ? f->count : 1, sizeof *largest);
    if (!largest)
        return NULL;
    for (uint32_t i = 0; i < f->count && i < s->weights; i++)
        for (size_t j = 0; j < weight_size(&s->weight[i]); j++) {
            const double x = fabs((double)f->weight[i][j]);
            largest[i] = x > largest[i] ? x : largest[i]; /* gcc 12 for arm64 fails on fmax here */
        }
    return largest;
}

static void merge_range(struct range *seen, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fabs((double)v[i]) > seen->largest)
            seen->largest = fabs((double)v[i]);
        if (v[i] < seen->smallest)
            seen->smallest = v[i];
    }
}

/* A tensor's number among the ranged ones: gates were sorted, ranges are kept as emitted. */
static void see(const struct schedule *s, float *const *value, uint32_t tensor, struct range *seen)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < tensor; i++)
        number += s->tensor[i].ranged;
    merge_range(&seen[number], value[tensor], tensor_size(&s->tensor[tensor]));
}

static enum status clear_gate(struct clear_walk *w, uint32_t number, const float *const *input, uint32_t *inputs,
                              float *output)
{
    const struct schedule *s = w->schedule;
    const struct gate *g = &s->gate[number];
    const size_t n = tensor_size(&s->tensor[g->out]);
    float *out = calloc(n, sizeof *out);
    if (!out)
        return status_fail(STATUS_MEMORY, "out of memory in %s", s->tensor[g->out].name);
    w->value[g->out] = out;
    if (g->kind == GATE_INPUT)
        memcpy(out, input[(*inputs)++], n * sizeof *out);
    const enum status status = gate_walks(g->kind)->clear(w, g);
    if (g->kind == GATE_OUTPUT)
        memcpy(output, out, n * sizeof *out);
    return status;
}

enum status walk_clear(const struct schedule *s, const struct folded *weights, const float *const *input,
                       float *output, struct range *seen)
{
    struct clear_walk w = {s, weights, calloc(s->tensors, sizeof *w.value)};
    enum status status =
        w.value ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for %u tensors", s->tensors);
    uint32_t inputs = 0;
    for (uint32_t i = 0; status == STATUS_OK && i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        status = clear_gate(&w, i, input, &inputs, output);
        if (status == STATUS_OK && seen && s->tensor[g->out].ranged)
            see(s, w.value, g->out, seen);
        const uint32_t touched[4] = {g->x, g->y, g->add, g->out};
        for (int t = 0; t < 4; t++)
            if (touched[t] != SCHEDULE_NONE && s->tensor[touched[t]].last_gate <= i) {
                free(w.value[touched[t]]);
                w.value[touched[t]] = NULL;
            }
    }
    for (uint32_t i = 0; w.value && i < s->tensors; i++)
        free(w.value[i]);
    free(w.value);
    return status;
}
