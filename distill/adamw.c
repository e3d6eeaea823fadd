#include "distill/adamw.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 8192  /* elements of one job */
#define CHUNKS 4096 /* partial sums of the norm, at most: larger chunks for a larger model */

struct step {
    float beta1, beta2, eps, decay; /* decay: times rate */
    float rate;                     /* over the first moment's correction */
    float root;                     /* 1 / sqrt of the second moment's correction */
    float scale;                    /* of the gradients: clipping */
};

enum status distill_adamw_init(struct distill_adamw *adamw, const struct distill_weights *weights)
{
    *adamw = (struct distill_adamw){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01, .clip = 1};
    adamw->count = weights->count;
    adamw->vocabulary = weights->config.vocabulary;
    adamw->m = calloc(adamw->count, sizeof(float));
    adamw->v = calloc(adamw->count, sizeof(float));
    adamw->used = calloc(adamw->vocabulary, 1);
    adamw->listed = calloc(adamw->vocabulary, 1);
    adamw->row = calloc(adamw->vocabulary, sizeof *adamw->row);
    if (adamw->m == NULL || adamw->v == NULL || adamw->used == NULL || adamw->listed == NULL ||
        adamw->row == NULL) {
        distill_adamw_clear(adamw);
        return status_fail(STATUS_MEMORY, "no memory for the optimiser's moments of %zu weights",
                           weights->count);
    }
    return STATUS_OK;
}

void distill_adamw_clear(struct distill_adamw *adamw)
{
    free(adamw->m);
    free(adamw->v);
    free(adamw->used);
    free(adamw->listed);
    free(adamw->row);
    *adamw = (struct distill_adamw){0};
}

void distill_adamw_reset(struct distill_adamw *adamw)
{
    memset(adamw->m, 0, adamw->count * sizeof(float));
    memset(adamw->v, 0, adamw->count * sizeof(float));
    memset(adamw->used, 0, adamw->vocabulary);
    memset(adamw->listed, 0, adamw->vocabulary);
    adamw->rows = 0;
    adamw->steps = 0;
}

void distill_adamw_note(struct distill_adamw *adamw, const struct distill_batch *batch)
{
    for (size_t i = 0; i < batch->tokens; i++) {
        uint32_t id = batch->id[i];
        if (!adamw->listed[id])
            adamw->row[adamw->rows++] = id;
        adamw->listed[id] = adamw->used[id] = 1;
    }
}

/* In double: the square of a gradient of 1e20 is no float. */
DISTILL_CLONES static double squares(const float *g, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (double)g[i] * (double)g[i];
    return sum;
}

/* The gradient's norm, summed in chunks whose bounds do not depend on the threads. */
static double norm_of(const struct distill_adamw *adamw, const struct distill_weights *gradients)
{
    size_t hidden = gradients->config.hidden, dense = adamw->vocabulary * hidden;
    size_t left = adamw->count - dense, chunk = left / CHUNKS + 1;
    chunk = chunk < CHUNK ? CHUNK : chunk;
    size_t jobs = (left + chunk - 1) / chunk;
    double part[CHUNKS + 1] = {0}, sum = 0;
#pragma omp parallel for schedule(static) if (left >= DISTILL_PARALLEL_FROM)
    for (size_t i = 0; i < jobs; i++)
        part[i] = squares(gradients->value + dense + i * chunk,
                          left - i * chunk < chunk ? left - i * chunk : chunk);
    for (size_t i = 0; i < jobs; i++)
        sum += part[i];
    for (size_t i = 0; i < adamw->rows; i++)
        sum += squares(gradients->word + adamw->row[i] * hidden, hidden);
    return sqrt(sum);
}

DISTILL_CLONES static void update(float *w, float *m, float *v, float *g, size_t n, const struct step *step)
{
    struct step s = *step;
    for (size_t i = 0; i < n; i++) {
        float gradient = g[i] * s.scale;
        float first = s.beta1 * m[i] + (1 - s.beta1) * gradient;
        float second = s.beta2 * v[i] + (1 - s.beta2) * gradient * gradient;
        m[i] = first;
        v[i] = second;
        g[i] = 0;
        w[i] -= s.rate * first / (sqrtf(second) * s.root + s.eps) + s.decay * w[i];
    }
}

static void update_dense(struct distill_adamw *adamw, struct distill_weights *weights,
                         struct distill_weights *gradients, const struct distill_tensor *tensor,
                         struct step step)
{
    size_t n = tensor->rows * tensor->columns;
    step.rate *= (float)tensor->rate;
    step.decay *= tensor->decay ? (float)tensor->rate : 0;
#pragma omp parallel for schedule(static) if (n >= DISTILL_PARALLEL_FROM)
    for (size_t first = 0; first < n; first += CHUNK) {
        size_t at = tensor->offset + first;
        update(weights->value + at, adamw->m + at, adamw->v + at, gradients->value + at,
               n - first < CHUNK ? n - first : CHUNK, &step);
    }
}

static void update_rows(struct distill_adamw *adamw, struct distill_weights *weights,
                        struct distill_weights *gradients, struct step step)
{
    size_t hidden = weights->config.hidden;
    step.decay = 0;
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < adamw->vocabulary; row++)
        if (adamw->used[row]) {
            size_t at = row * hidden;
            update(weights->value + at, adamw->m + at, adamw->v + at, gradients->value + at, hidden, &step);
        }
    for (size_t i = 0; i < adamw->rows; i++)
        adamw->listed[adamw->row[i]] = 0;
    adamw->rows = 0;
}

static void drop_gradients(struct distill_adamw *adamw, struct distill_weights *gradients)
{
    memset(gradients->value, 0, gradients->count * sizeof(float));
    memset(adamw->listed, 0, adamw->vocabulary);
    adamw->rows = 0;
}

static void keep_squares_apart(struct distill_weights *weights)
{
    for (unsigned n = 0; n < weights->config.layers && weights->config.learned_quad; n++) {
        float *a = weights->layer[n].quad;
        for (size_t i = 0; i < weights->config.ffn; i++)
            if (fabsf(a[i]) < DISTILL_QUAD_LEAST)
                a[i] = a[i] < 0 ? -DISTILL_QUAD_LEAST : DISTILL_QUAD_LEAST;
    }
}

double distill_adamw_step(struct distill_adamw *adamw, struct distill_weights *weights,
                          struct distill_weights *gradients, double rate)
{
    double norm = norm_of(adamw, gradients);
    if (!isfinite(norm)) {
        drop_gradients(adamw, gradients);
        return norm;
    }
    adamw->steps++;
    struct step step = {
        .beta1 = (float)adamw->beta1,
        .beta2 = (float)adamw->beta2,
        .eps = (float)adamw->eps,
        .decay = (float)(rate * adamw->decay),
        .rate = (float)(rate / (1 - pow(adamw->beta1, (double)adamw->steps))),
        .root = (float)(1 / sqrt(1 - pow(adamw->beta2, (double)adamw->steps))),
        .scale = adamw->clip > 0 && norm > adamw->clip ? (float)(adamw->clip / norm) : 1,
    };
    for (size_t t = 0; t < weights->tensors; t++)
        if (weights->tensor[t].sparse)
            update_rows(adamw, weights, gradients, step);
        else
            update_dense(adamw, weights, gradients, &weights->tensor[t], step);
    keep_squares_apart(weights);
    return norm;
}
