/* Products of two secret matrices, one for each sequence and head: scores q k^T + c, context a v; and a mu.
 *
 * Of the matrices the evaluators form shares of 2 x y, and open them shifted by one bit more (schedule_shift):
 *
 *   z_i = (m_x - 2 l_xi) (m_y - 2 l_yi) + g_i + 2 c_i,    g_1 + g_2 = -2 (l_x1 - l_x2) (l_y1 - l_y2) dealt
 *
 * With d = l_1 - l_2 of each operand, m - 2 l_1 = x - d and m - 2 l_2 = x + d over the integers, so that
 *   (x - d_x) (y - d_y) + (x + d_x) (y + d_y) = 2 x y + 2 d_x d_y.
 * That is one ring GEMM where m_x (delta_i m_y - l_yi) - l_xi m_y would be two, online; as many as before at the dealer. z_i is
 * uniform to the other evaluator as before, by g_i. Operands are opened values, perhaps shifted down, none of them centred (attention_fits):
 * |l_i| <= 2^61 then, so that |2 d| < 2^63 and everything fits 64 bits.
 *
 * a mu is z_i = m_a (delta_i m_mu - l_mui) - l_ai m_mu + g_i, with g_1 + g_2 = l_a l_mu.
 *
 * source  the sum is the polarisation identity for the two sharings x - d, x + d of 2 x; DESIGN section 3, row "X Y"; section 4
 * cost    one opening of the output; one product an output element and inner step at each evaluator (a mu: two)
 * opens   nothing here */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>
#include <sodium.h>

#include "layers/gates.h"
#include "ring/clones.h"

/* One head's product: left [rows][inner], right as the inner dimension by cols; strides in elements. */
struct block {
    size_t left, left_stride;   /* offset of the left operand, and its row stride */
    size_t right, right_stride; /* the same of the right operand, as it lies in memory */
    size_t out, out_stride;
    size_t rows, inner, cols;
    bool transposed; /* the right operand lies [cols][inner] */
};

static struct block scores_block(const struct heads *h, size_t sequence, size_t head)
{
    const size_t hidden = (size_t)h->heads * h->width;
    return (struct block){.left = sequence * h->queries * hidden + head * h->width,
                          .left_stride = hidden,
                          .right = sequence * h->keys * hidden + head * h->width,
                          .right_stride = hidden,
                          .out = (sequence * h->heads + head) * h->queries * h->keys,
                          .out_stride = h->keys,
                          .rows = h->queries,
                          .inner = h->width,
                          .cols = h->keys,
                          .transposed = true};
}

static struct block context_block(const struct heads *h, size_t sequence, size_t head)
{
    const size_t hidden = (size_t)h->heads * h->width;
    return (struct block){.left = (sequence * h->heads + head) * h->queries * h->keys,
                          .left_stride = h->keys,
                          .right = sequence * h->keys * hidden + head * h->width,
                          .right_stride = hidden,
                          .out = sequence * h->queries * hidden + head * h->width,
                          .out_stride = hidden,
                          .rows = h->queries,
                          .inner = h->keys,
                          .cols = h->width,
                          .transposed = false};
}

typedef struct block (*block_of)(const struct heads *, size_t sequence, size_t head);

static block_of blocks(const struct gate *g)
{
    return g->kind == GATE_SCORES ? scores_block : context_block;
}

/* ---- clear ---- */

static enum status attention_clear(struct clear_walk *w, const struct gate *g)
{
    const struct heads *h = &g->heads;
    const float *x = w->value[g->x], *y = w->value[g->y];
    float *out = w->value[g->out];
    for (size_t s = 0; s < h->sequences; s++)
        for (size_t a = 0; a < h->heads; a++) {
            const struct block b = blocks(g)(h, s, a);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans, (int)b.rows,
                        (int)b.cols, (int)b.inner, 1.0f, x + b.left, (int)b.left_stride, y + b.right,
                        (int)b.right_stride, 0.0f, out + b.out, (int)b.out_stride);
        }
    if (g->kind == GATE_SCORES) {
        const int bits_in = w->schedule->tensor[g->x].frac + w->schedule->tensor[g->y].frac;
        const size_t each = (size_t)h->queries * h->keys, n = tensor_size(&w->schedule->tensor[g->out]);
        for (size_t i = 0; i < n; i++)
            out[i] += g->bias == SCHEDULE_NONE ? (float)ldexp((double)g->constant, -bits_in)
                                               : w->weights->weight[g->bias][i / each % h->heads];
    }
    return STATUS_OK;
}

/* ---- shares ---- */

/* Both operands of a product, dense: left [rows][inner], right as it lies in memory. */
struct operands {
    int64_t *left, *right;
};

static void free_operands(struct operands *o, size_t left, size_t right)
{
    if (o->left)
        sodium_memzero(o->left, left * sizeof *o->left);
    if (o->right)
        sodium_memzero(o->right, right * sizeof *o->right);
    free(o->left);
    free(o->right);
}

/* Rows of the right operand, as it lies in memory. */
static inline size_t right_rows(const struct block *b)
{
    return b->transposed ? b->cols : b->inner;
}

static inline size_t right_length(const struct block *b)
{
    return b->transposed ? b->inner : b->cols;
}

/* end: NULL, or what becomes of this block of z. */
static enum status multiply_block(struct ring_wide z, const struct block *b, const struct operands *o,
                                  const struct ring_narrow *end)
{
    struct ring_gemm_matrix *packed = NULL;
    const struct ring_wide out = ring_wide_at(z, b->out);
    const size_t stride = b->transposed ? b->inner : b->cols;
    /* Operands are x - d, y - d or, at the dealer, d, -2 d: as ring_gemm_pack_masked wants them, unless there are many keys. */
    enum status status =
        b->inner <= RING_GEMM_MASKED_DEEP
            ? ring_gemm_pack_masked(&packed, RING_GEMM_AUTO, b->inner, b->cols, o->right, stride, b->transposed, false)
            : ring_gemm_pack(&packed, RING_GEMM_AUTO, b->inner, b->cols, o->right, stride, b->transposed);
    if (status == STATUS_OK && end)
        status = ring_gemm_narrow(end, b->out_stride, out, b->out_stride, b->rows, o->left, b->inner, packed, NULL);
    else if (status == STATUS_OK)
        status = ring_gemm(out, b->out_stride, b->rows, o->left, b->inner, packed, RING_GEMM_ADD);
    ring_gemm_close(&packed);
    return status;
}

/* factor (l1 - l2). */
RING_CLONES static void copy_difference(int64_t *restrict out, const int64_t *restrict l1, const int64_t *restrict l2,
                                        int64_t factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (int64_t)((uint64_t)factor * ((uint64_t)l1[i] - (uint64_t)l2[i]));
}

static enum status attention_deal(struct dealer *d, const struct gate *g, struct ring_wide out)
{
    const struct heads *h = &g->heads;
    const struct block first = blocks(g)(h, 0, 0);
    const size_t left = first.rows * first.inner, right = first.inner * first.cols;
    struct operands o = {malloc(left * sizeof(int64_t)), malloc(right * sizeof(int64_t))};
    enum status status = STATUS_OK;
    if (!o.left || !o.right)
        status = status_fail(STATUS_MEMORY, "out of memory while dealing %s", d->schedule->tensor[g->out].name);
    for (size_t s = 0; status == STATUS_OK && s < h->sequences; s++)
        for (size_t a = 0; status == STATUS_OK && a < h->heads; a++) {
            const struct block b = blocks(g)(h, s, a);
            const struct masks *x = &d->tensor[g->x], *y = &d->tensor[g->y];
            const size_t length = right_length(&b);
            for (size_t r = 0; r < b.rows; r++)
                copy_difference(o.left + r * b.inner, x->l1 + b.left + r * b.left_stride, x->l2 + b.left + r * b.left_stride, 1,
                                b.inner);
            for (size_t r = 0; r < right_rows(&b); r++)
                copy_difference(o.right + r * length, y->l1 + b.right + r * b.right_stride,
                                y->l2 + b.right + r * b.right_stride, -2, length);
            status = multiply_block(out, &b, &o, NULL);
        }
    free_operands(&o, left, right);
    return status;
}

/* 2^up m - 2 l. */
RING_CLONES static void copy_own(int64_t *restrict out, const int64_t *restrict m, const int64_t *restrict l, int up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (int64_t)(((uint64_t)m[i] << up) - 2 * (uint64_t)l[i]);
}

/* In the fixed-point walk there are no masks and no P2: the right operand alone is doubled. */
static void fill_evaluator(const struct evaluator *e, const struct gate *g, const struct block *b, struct operands *o)
{
    const struct share *x = &e->tensor[g->x], *y = &e->tensor[g->y];
    const size_t length = right_length(b);
    for (size_t r = 0; r < b->rows; r++) {
        const size_t at = b->left + r * b->left_stride;
        copy_own(o->left + r * b->inner, x->m + at, x->l + at, 0, b->inner);
    }
    for (size_t r = 0; r < right_rows(b); r++) {
        const size_t at = b->right + r * b->right_stride;
        copy_own(o->right + r * length, y->m + at, y->l + at, e->clear, length);
    }
}

/* The constant c of a head's scores: public ones by P1 alone, learned ones from the shares of a static weight. */
static ring_u128 score_constant(const struct evaluator *e, const struct gate *g, size_t head)
{
    if (g->kind != GATE_SCORES)
        return 0;
    if (g->bias == SCHEDULE_NONE)
        return (ring_u128)(ring_i128)(evaluator_delta(e) * g->constant);
    const struct static_share *b = &e->weight[g->bias];
    return (ring_u128)((ring_i128)evaluator_delta(e) * b->m[head] - b->l[head]) << g->bias_up;
}

static enum status attention_open(struct evaluator *e, const struct gate *g, struct ring_wide z, const struct ring_narrow *end)
{
    const struct heads *h = &g->heads;
    const struct block first = blocks(g)(h, 0, 0);
    const size_t left = first.rows * first.inner, right = first.inner * first.cols;
    struct operands o = {malloc(left * sizeof(int64_t)), malloc(right * sizeof(int64_t))};
    enum status status = STATUS_OK;
    if (!o.left || !o.right)
        status = status_fail(STATUS_MEMORY, "out of memory in %s", e->schedule->tensor[g->out].name);
    for (size_t s = 0; status == STATUS_OK && s < h->sequences; s++)
        for (size_t a = 0; status == STATUS_OK && a < h->heads; a++) {
            const struct block b = blocks(g)(h, s, a);
            struct ring_narrow at = ring_narrow_at(*end, b.out);
            at.add += 2 * score_constant(e, g, a);
            fill_evaluator(e, g, &b, &o);
            status = multiply_block(z, &b, &o, &at);
            if (status == STATUS_OK)
                status = evaluator_send(e, g, b.out, b.rows, b.cols, b.out_stride);
        }
    free_operands(&o, left, right);
    return status;
}

static size_t attention_part(const struct schedule *s, const struct gate *g)
{
    return tensor_size(&s->tensor[g->out]) / ((size_t)g->heads.sequences * g->heads.heads);
}

static uint64_t attention_products(const struct schedule *s, const struct gate *g)
{
    const struct heads *h = &g->heads;
    (void)s;
    return (uint64_t)h->sequences * h->heads * h->queries * h->keys * h->width;
}

const struct gate_walks gate_walks_scores = {.name = "scores",
                                             .product = true,
                                             .clear = attention_clear,
                                             .deal = attention_deal,
                                             .open = attention_open,
                                             .part = attention_part,
                                             .products = attention_products};
const struct gate_walks gate_walks_context = {.name = "context",
                                              .product = true,
                                              .clear = attention_clear,
                                              .deal = attention_deal,
                                              .open = attention_open,
                                              .part = attention_part,
                                              .products = attention_products};

/* ---- a mu: one dot product for each sequence, head and query ---- */

/* mu is one row of keys for each sequence. */
static size_t mu_at(const struct gate *g, size_t row)
{
    return row / ((size_t)g->heads.heads * g->heads.queries) * g->heads.keys;
}

static enum status row_dot_clear(struct clear_walk *w, const struct gate *g)
{
    const struct tensor *a = &w->schedule->tensor[g->x];
    for (size_t r = 0; r < a->rows; r++)
        w->value[g->out][r] =
            cblas_sdot((int)a->cols, w->value[g->x] + r * a->cols, 1, w->value[g->y] + mu_at(g, r), 1);
    return STATUS_OK;
}

static enum status row_dot_deal(struct dealer *d, const struct gate *g, struct ring_wide out)
{
    const struct tensor *a = &d->schedule->tensor[g->x];
    for (size_t r = 0; r < a->rows; r++) {
        ring_u128 sum = 0;
        for (size_t k = 0; k < a->cols; k++)
            sum += (ring_u128)((ring_i128)masks_sum(&d->tensor[g->x], r * a->cols + k) *
                               masks_sum(&d->tensor[g->y], mu_at(g, r) + k));
        ring_wide_add(out, r, sum);
    }
    return STATUS_OK;
}

static enum status row_dot_evaluate(struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const struct tensor *a = &e->schedule->tensor[g->x];
    const struct share *x = &e->tensor[g->x], *y = &e->tensor[g->y];
    for (size_t r = 0; r < a->rows; r++) {
        const struct ring_factor mu = evaluator_factor(e, y->m, y->l, mu_at(g, r), true);
        ring_wide_add(z, r, ring_dot(x->m + r * a->cols, x->l + r * a->cols, &mu, a->cols));
    }
    return STATUS_OK;
}

static uint64_t row_dot_products(const struct schedule *s, const struct gate *g)
{
    return 2 * tensor_size(&s->tensor[g->x]);
}

const struct gate_walks gate_walks_row_dot = {.name = "row dot",
                                              .product = true,
                                              .clear = row_dot_clear,
                                              .deal = row_dot_deal,
                                              .evaluate = row_dot_evaluate,
                                              .products = row_dot_products};
