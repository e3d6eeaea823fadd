#include "tests/layers/naive.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *numbers(size_t n)
{
    double *out = calloc(n, sizeof *out);
    ck_assert_ptr_nonnull(out);
    return out;
}

void naive_norm(double *out, const double *x, uint32_t rows, uint32_t hidden, const float *gamma,
                const float *beta, double epsilon)
{
    for (uint32_t r = 0; r < rows; r++) {
        const double *in = x + (size_t)r * hidden;
        double mean = 0, variance = 0;
        for (uint32_t i = 0; i < hidden; i++)
            mean += in[i] / hidden;
        for (uint32_t i = 0; i < hidden; i++)
            variance += (in[i] - mean) * (in[i] - mean) / hidden;
        for (uint32_t i = 0; i < hidden; i++)
            out[(size_t)r * hidden + i] =
                (in[i] - mean) / sqrt(variance + epsilon) * (gamma ? (double)gamma[i] : 1) +
                (beta ? (double)beta[i] : 0);
    }
}

/* y [rows][out] = x [rows][in] W^T + b, W [out][in]. */
static double *dense(const double *x, uint32_t rows, uint32_t in, uint32_t out, const float *w,
                     const float *b)
{
    double *y = numbers((size_t)rows * out);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t o = 0; o < out; o++) {
            double sum = (double)b[o];
            for (uint32_t i = 0; i < in; i++)
                sum += x[(size_t)r * in + i] * (double)w[(size_t)o * in + i];
            y[(size_t)r * out + o] = sum;
        }
    return y;
}

/* The attention of one head and query, added to out [width]. */
static void attend(const struct model *m, const struct model_layer *l, uint32_t head, uint32_t length,
                   const double *q, const double *k, const double *v, double *out)
{
    const uint32_t hidden = m->config.hidden, width = hidden / m->config.heads, first = head * width;
    const double c = l->quad_c ? (double)l->quad_c[head] : (double)m->config.softmax_c;
    double total = 0;
    for (uint32_t t = 0; t < length; t++) {
        double score = 0;
        for (uint32_t i = 0; i < width; i++)
            score += q[first + i] * k[(size_t)t * hidden + first + i] / sqrt(width);
        const double a = (score + c) * (score + c);
        total += a;
        for (uint32_t i = 0; i < width; i++)
            out[first + i] += a * v[(size_t)t * hidden + first + i];
    }
    for (uint32_t i = 0; i < width; i++)
        out[first + i] /= total;
}

static void add_attention(const struct model *m, const struct model_layer *l, double *x, uint32_t length)
{
    const uint32_t hidden = m->config.hidden;
    double *q = dense(x, length, hidden, hidden, l->query_w, l->query_b);
    double *k = dense(x, length, hidden, hidden, l->key_w, l->key_b);
    double *v = dense(x, length, hidden, hidden, l->value_w, l->value_b);
    double *o = numbers((size_t)length * hidden);
    for (uint32_t t = 0; t < length; t++)
        for (uint32_t head = 0; head < m->config.heads; head++)
            attend(m, l, head, length, q + (size_t)t * hidden, k, v, o + (size_t)t * hidden);
    double *y = dense(o, length, hidden, hidden, l->output_w, l->output_b);
    for (size_t i = 0; i < (size_t)length * hidden; i++)
        x[i] += y[i];
    naive_norm(x, x, length, hidden, l->norm1_g, l->norm1_b, (double)m->config.layer_norm_eps);
    free(q);
    free(k);
    free(v);
    free(o);
    free(y);
}

static void add_feedforward(const struct model *m, const struct model_layer *l, double *x, uint32_t length)
{
    const uint32_t hidden = m->config.hidden, ffn = m->config.ffn;
    double *h = dense(x, length, hidden, ffn, l->ffn1_w, l->ffn1_b);
    for (size_t i = 0; i < (size_t)length * ffn; i++) {
        const size_t n = i % ffn;
        const double a = l->quad ? (double)l->quad[n] : 0.125, b = l->quad ? (double)l->quad[ffn + n] : 0.25;
        const double g = l->quad ? (double)l->quad[2 * ffn + n] : 0.5;
        h[i] = a * h[i] * h[i] + b * h[i] + g;
    }
    double *y = dense(h, length, ffn, hidden, l->ffn2_w, l->ffn2_b);
    for (size_t i = 0; i < (size_t)length * hidden; i++)
        x[i] += y[i];
    naive_norm(x, x, length, hidden, l->norm2_g, l->norm2_b, (double)m->config.layer_norm_eps);
    free(h);
    free(y);
}

void naive_logits(const struct model *m, const uint32_t *id, uint32_t length, double *logits)
{
    const uint32_t hidden = m->config.hidden;
    double *x = numbers((size_t)length * hidden);
    for (uint32_t t = 0; t < length; t++)
        for (uint32_t i = 0; i < hidden; i++)
            x[(size_t)t * hidden + i] = (double)m->word[(size_t)id[t] * hidden + i] +
                                        (double)m->position[(size_t)t * hidden + i] + (double)m->type[i];
    naive_norm(x, x, length, hidden, m->norm_g, m->norm_b, (double)m->config.layer_norm_eps);
    for (uint32_t l = 0; l < m->config.layers; l++) {
        add_attention(m, &m->layer[l], x, length);
        add_feedforward(m, &m->layer[l], x, length);
    }
    double *pooled = dense(x, 1, hidden, hidden, m->pooler_w, m->pooler_b);
    for (uint32_t i = 0; i < hidden; i++)
        pooled[i] = tanh(pooled[i]);
    double *out = dense(pooled, 1, hidden, m->config.labels, m->head_w, m->head_b);
    memcpy(logits, out, m->config.labels * sizeof *logits);
    free(x);
    free(pooled);
    free(out);
}
