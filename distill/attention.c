#include "distill/attention.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include "distill/gemm.h"

static int thread_number(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* u = e^(s - max) and its sum. */
DISTILL_CLONES static real softmax_row(real *u, const real *s, int n)
{
    real max = s[0], sum = 0;
    for (int i = 1; i < n; i++)
        max = s[i] > max ? s[i] : max;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        u[i] = real_exp(s[i] - max);
        sum += u[i];
    }
    return sum;
}

DISTILL_CLONES static real quad_row(real *u, const real *s, real c, int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        u[i] = (s[i] + c) * (s[i] + c);
        sum += u[i];
    }
    return sum;
}

DISTILL_CLONES static real relu_row(real *u, const real *s, int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        u[i] = s[i] > 0 ? s[i] : 0;
        sum += u[i];
    }
    return sum;
}

static real weigh_row(real *u, const real *s, enum model_attention kind, real c, int n)
{
    if (kind == MODEL_SOFTMAX)
        return softmax_row(u, s, n);
    return kind == MODEL_2QUAD ? quad_row(u, s, c, n) : relu_row(u, s, n);
}

DISTILL_CLONES static void scale_row(real *p, real factor, int n)
{
    for (int i = 0; i < n; i++)
        p[i] *= factor;
}

DISTILL_CLONES static void drop_all(real *out, const real *p, uint64_t key, uint32_t threshold, real scale,
                                    uint32_t first, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = distill_random_bits(key, first + (uint32_t)i) >= threshold ? p[i] * scale : 0;
}

/* p after dropout: p itself where there is none, else in `room`. */
static const real *dropped(real *room, const real *p, const struct distill_dropout *drop, size_t first, int n)
{
    if (drop->rate <= 0)
        return p;
    drop_all(room, p, drop->key, distill_dropout_threshold(drop), (real)(1 / (1 - drop->rate)),
             (uint32_t)first, n);
    return room;
}

void distill_attention_forward(real *context, real *scores, real *weights, real *scratch, const real *qkv,
                               const struct distill_attention_shape *shape, const struct distill_batch *batch)
{
    int heads = shape->heads, width = shape->hidden / heads, stride = 3 * shape->hidden;
    real root = 1 / (real)sqrt((double)width);
    size_t jobs = batch->sequences * (size_t)heads;
#pragma omp parallel for schedule(dynamic, 4) \
    num_threads(distill_threads()) if (batch->pairs * (size_t)shape->hidden >= DISTILL_PARALLEL_FROM)
    for (size_t job = 0; job < jobs; job++) {
        size_t sequence = job / (size_t)heads, head = job % (size_t)heads;
        size_t first = batch->start[sequence], pairs = head * batch->pairs + batch->pair_start[sequence];
        int n = (int)(batch->start[sequence + 1] - first);
        const real *q = qkv + first * (size_t)stride + head * (size_t)width;
        struct distill_matrix query = {q, stride, false}, key = {q + shape->hidden, stride, true};
        struct distill_matrix value = {q + 2 * shape->hidden, stride, false};
        real *s = scores + pairs, *p = weights + pairs;
        real c = shape->c != NULL ? shape->c[head] : shape->fixed_c;
        distill_gemm_single(s, n, n, n, width, query, key, root, 0);
        for (int row = 0; row < n; row++) {
            real sum = weigh_row(p + row * n, s + row * n, shape->kind, c, n);
            scale_row(p + row * n,
                      1 / (sum > (real)DISTILL_ATTENTION_FLOOR ? sum : (real)DISTILL_ATTENTION_FLOOR), n);
        }
        real *room = scratch + (size_t)thread_number() * batch->longest * batch->longest;
        struct distill_matrix weight = {dropped(room, p, &shape->drop, pairs, n * n), n, false};
        distill_gemm_single(context + first * (size_t)shape->hidden + head * (size_t)width, shape->hidden, n,
                            width, n, weight, value, 1, 0);
    }
}

DISTILL_CLONES static real dot(const real *a, const real *b, int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

DISTILL_CLONES static real sum_of(const real *a, int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += a[i];
    return sum;
}

/* dp becomes ds for softmax: ds = p (dp - mean), where mean = sum p dp. */
DISTILL_CLONES static void softmax_back(real *dp, const real *p, real mean, int n)
{
    for (int i = 0; i < n; i++)
        dp[i] = p[i] * (dp[i] - mean);
}

/* For 2quad: ds = 2 (s + c) (dp - mean) / sum. */
DISTILL_CLONES static void quad_back(real *dp, const real *s, real mean, real c, real inverse, int n)
{
    for (int i = 0; i < n; i++)
        dp[i] = 2 * (s[i] + c) * (dp[i] - mean) * inverse;
}

DISTILL_CLONES static void relu_back(real *dp, const real *s, real mean, real inverse, int n)
{
    for (int i = 0; i < n; i++)
        dp[i] = s[i] > 0 ? (dp[i] - mean) * inverse : 0;
}

/* dp[n] becomes ds[n]; returns what it says of c. The row sum is formed again: cheaper than keeping it. */
static real weigh_row_back(real *dp, real *room, const real *p, const real *s, enum model_attention kind,
                           real c, int n)
{
    real mean = dot(p, dp, n);
    if (kind == MODEL_SOFTMAX) {
        softmax_back(dp, p, mean, n);
        return 0;
    }
    real sum = weigh_row(room, s, kind, c, n);
    if (sum <= (real)DISTILL_ATTENTION_FLOOR) { /* the divisor was the constant floor */
        sum = (real)DISTILL_ATTENTION_FLOOR;
        mean = 0;
    }
    if (kind == MODEL_2RELU) {
        relu_back(dp, s, mean, 1 / sum, n);
        return 0;
    }
    quad_back(dp, s, mean, c, 1 / sum, n);
    return sum_of(dp, n);
}

DISTILL_CLONES static void add_to(real *a, const real *b, int n)
{
    for (int i = 0; i < n; i++)
        a[i] += b[i];
}

/* One head of one sequence; the pointers are those of this head. Returns the gradient of c. */
static real head_back(real *dq, real *room, const real *dcontext, const real *dscores, const real *q,
                      const real *s, const real *p, const struct distill_attention_shape *shape, size_t pairs,
                      int n, real c)
{
    int hidden = shape->hidden, width = hidden / shape->heads, stride = 3 * hidden;
    real *dp = room, *spare = room + (size_t)n * (size_t)n, dc = 0;
    real root = 1 / (real)sqrt((double)width);
    struct distill_matrix outer = {dcontext, hidden, false}, value = {q + 2 * hidden, stride, true};
    struct distill_matrix weight = {dropped(spare, p, &shape->drop, pairs, n * n), n, true};
    distill_gemm_single(dq + 2 * hidden, stride, n, width, n, weight, outer, 1, 0);
    distill_gemm_single(dp, n, n, n, width, outer, value, 1, 0);
    if (shape->drop.rate > 0)
        dropped(dp, dp, &shape->drop, pairs, n * n);
    for (int row = 0; row < n; row++)
        dc += weigh_row_back(dp + row * n, spare, p + row * n, s + row * n, shape->kind, c, n);
    if (dscores != NULL)
        add_to(dp, dscores, n * n);
    struct distill_matrix ds = {dp, n, false}, turned = {dp, n, true};
    struct distill_matrix query = {q, stride, false}, key = {q + hidden, stride, false};
    distill_gemm_single(dq, stride, n, width, n, ds, key, root, 0);
    distill_gemm_single(dq + hidden, stride, n, width, n, turned, query, root, 0);
    return dc;
}

void distill_attention_backward(real *dqkv, real *dc, real *c_part, real *scratch, const real *dcontext,
                                const real *dscores, const real *qkv, const real *scores, const real *weights,
                                const struct distill_attention_shape *shape,
                                const struct distill_batch *batch)
{
    size_t heads = (size_t)shape->heads, width = (size_t)shape->hidden / heads,
           stride = 3 * (size_t)shape->hidden;
    size_t jobs = batch->sequences * heads;
#pragma omp parallel for schedule(dynamic, 4) \
    num_threads(distill_threads()) if (batch->pairs * (size_t)shape->hidden >= DISTILL_PARALLEL_FROM)
    for (size_t job = 0; job < jobs; job++) {
        size_t sequence = job / heads, head = job % heads;
        size_t first = batch->start[sequence], pairs = head * batch->pairs + batch->pair_start[sequence];
        size_t at = first * stride + head * width;
        real *room = scratch + 2 * (size_t)thread_number() * batch->longest * batch->longest;
        c_part[job] = head_back(dqkv + at, room, dcontext + first * (size_t)shape->hidden + head * width,
                                dscores != NULL ? dscores + pairs : NULL, qkv + at, scores + pairs,
                                weights + pairs, shape, pairs, (int)(batch->start[sequence + 1] - first),
                                shape->c != NULL ? shape->c[head] : shape->fixed_c);
    }
    if (dc != NULL)
        for (size_t job = 0; job < jobs; job++)
            dc[job % heads] += c_part[job];
}
