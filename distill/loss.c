#include "distill/loss.h"

#include <stdlib.h>

#define CHUNK 4096
#define CHUNKS 64 /* summed in one go */

DISTILL_CLONES static double difference(real *gradient, real keep, real scale, const real *a, const real *b,
                                        int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    if (gradient != NULL && keep == 0)
        for (int i = 0; i < n; i++)
            gradient[i] = scale * (a[i] - b[i]);
    else if (gradient != NULL)
        for (int i = 0; i < n; i++)
            gradient[i] = keep * gradient[i] + scale * (a[i] - b[i]);
    return (double)sum;
}

double distill_loss_difference(real *gradient, real keep, real scale, const real *a, const real *b, size_t n)
{
    double sum = 0;
    for (size_t base = 0; base < n; base += (size_t)CHUNK * CHUNKS) {
        double part[CHUNKS] = {0};
#pragma omp parallel for schedule(static) if (n >= DISTILL_PARALLEL_FROM)
        for (size_t i = 0; i < CHUNKS; i++) {
            size_t first = base + i * CHUNK;
            if (first < n)
                part[i] = difference(gradient != NULL ? gradient + first : NULL, keep, scale, a + first,
                                     b + first, n - first < CHUNK ? (int)(n - first) : CHUNK);
        }
        for (size_t i = 0; i < CHUNKS; i++)
            sum += part[i];
    }
    return sum;
}

double distill_loss_match(struct distill_match *match, const struct distill_state *student,
                          const struct distill_batch *batch)
{
    const struct distill_state *teacher = match->teacher;
    size_t wide = batch->tokens * student->config.hidden, scores = batch->pairs * student->config.heads;
    match->hidden_loss = match->score_loss = 0;
    match->embedding_loss =
        distill_loss_difference(NULL, 0, 0, student->embedded, teacher->embedded, wide) / (double)wide;
    for (unsigned n = 0; n < student->config.layers; n++) {
        match->hidden_loss +=
            distill_loss_difference(NULL, 0, 0, student->layer[n].out, teacher->layer[n].out, wide) /
            (double)wide;
        match->score_loss +=
            distill_loss_difference(NULL, 0, 0, student->layer[n].scores, teacher->layer[n].scores, scores) /
            (double)scores;
    }
    return match->embedding * match->embedding_loss + match->hidden * match->hidden_loss +
           match->score * match->score_loss;
}

static double spread_of(const real *inverse, size_t rows, double limit)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        const double u = 1 / ((double)inverse[i] * (double)inverse[i]);
        if (u > limit)
            sum += log(u / limit) * log(u / limit);
    }
    return sum;
}

double distill_loss_spread(const struct distill_state *state, const struct distill_batch *batch,
                           const struct distill_spread *spread)
{
    double sum = 0;
    for (unsigned n = 0; n < state->config.layers; n++)
        sum += spread_of(state->layer[n].inverse1, batch->tokens, spread->limit) +
               spread_of(state->layer[n].inverse2, batch->tokens, spread->limit);
    return spread->weight * sum;
}

/* log of the sum of exponentials of a row. */
static double log_sum(const real *row, int labels)
{
    double max = (double)row[0], sum = 0;
    for (int i = 1; i < labels; i++)
        max = (double)row[i] > max ? (double)row[i] : max;
    for (int i = 0; i < labels; i++)
        sum += exp((double)row[i] - max);
    return max + log(sum);
}

double distill_loss_cross_entropy(real *dlogits, const real *logits, const struct distill_batch *batch,
                                  int labels, double scale)
{
    double loss = 0, share = scale / (double)batch->sequences;
    for (size_t row = 0; row < batch->sequences; row++) {
        const real *z = logits + row * (size_t)labels;
        if (isnan(batch->label[row])) {
            memset(dlogits + row * (size_t)labels, 0, (size_t)labels * sizeof *dlogits);
            continue;
        }
        int gold = (int)batch->label[row];
        double base = log_sum(z, labels);
        loss += base - (double)z[gold];
        for (int i = 0; i < labels; i++)
            dlogits[row * (size_t)labels + (size_t)i] =
                (real)((exp((double)z[i] - base) - (i == gold)) * share);
    }
    return loss * share;
}

double distill_loss_soft(real *dlogits, const real *logits, const real *teacher, size_t sequences, int labels,
                         double scale)
{
    double loss = 0, share = scale / (double)sequences;
    for (size_t row = 0; row < sequences; row++) {
        const real *z = logits + row * (size_t)labels, *t = teacher + row * (size_t)labels;
        double base = log_sum(z, labels), base_t = log_sum(t, labels);
        for (int i = 0; i < labels; i++) {
            double wanted = exp((double)t[i] - base_t);
            loss += wanted * (base - (double)z[i]);
            dlogits[row * (size_t)labels + (size_t)i] = (real)((exp((double)z[i] - base) - wanted) * share);
        }
    }
    return loss * share;
}

double distill_loss_squared(real *dlogits, const real *logits, const real *teacher, double mix,
                            const struct distill_batch *batch, double scale)
{
    double loss = 0, share = scale / (double)batch->sequences;
    for (size_t row = 0; row < batch->sequences; row++) {
        double wanted = batch->label[row];
        if (teacher != NULL)
            wanted = isnan(wanted) ? (double)teacher[row] : mix * (double)teacher[row] + (1 - mix) * wanted;
        double off = (double)logits[row] - wanted;
        loss += off * off;
        dlogits[row] = (real)(2 * off * share);
    }
    return loss * share;
}
