/* Static linear gates: x W + diag(D) r + b, and the output that goes to the client as shares.
 *
 *   z_i = m_x (delta_i m_W - l_Wi) + 2^a m_r (delta_i m_D - l_Di) + u_i
 *   u_i = g_i - l_xi m_W - 2^a l_ri m_D + 2^b (delta_i m_b - l_bi)       offline
 *   g_1 + g_2 = l_x l_W + 2^a l_r l_D                                    dealt
 *
 * source  DESIGN section 3, row "X W, W static", with bias and residual path joined to the same opening
 * cost    one opening of rows x cols elements; one ring GEMM online, one offline, at each evaluator
 * opens   nothing here; layers/opening.h opens z under a fresh mask */
#include <stdlib.h>
#include <string.h>

#include <cblas.h>
#include <sodium.h>

#include "layers/gates.h"

static enum status linear_clear(struct clear_walk *w, const struct gate *g)
{
    const struct tensor *x = &w->schedule->tensor[g->x], *out = &w->schedule->tensor[g->out];
    const float *bias = w->weights->weight[g->bias];
    float *y = w->value[g->out];
    for (size_t r = 0; r < out->rows; r++)
        memcpy(y + r * out->cols, bias, out->cols * sizeof *y);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)x->rows, (int)out->cols, (int)x->cols, 1.0f,
                w->value[g->x], (int)x->cols, w->weights->weight[g->weight], (int)x->cols, 1.0f, y, (int)out->cols);
    if (g->add != SCHEDULE_NONE) {
        const float *residual = w->value[g->add], *diagonal = w->weights->weight[g->diagonal];
        for (size_t r = 0; r < out->rows; r++)
            for (size_t c = 0; c < out->cols; c++)
                y[r * out->cols + c] += residual[r * out->cols + c] * diagonal[c];
    }
    return STATUS_OK;
}

static enum status linear_deal(struct dealer *d, const struct gate *g, struct ring_wide out)
{
    const struct tensor *x = &d->schedule->tensor[g->x], *y = &d->schedule->tensor[g->out];
    const size_t n = tensor_size(x);
    int64_t *sum = malloc(n * sizeof *sum);
    if (!sum)
        return status_fail(STATUS_MEMORY, "out of memory while dealing %s", y->name);
    for (size_t i = 0; i < n; i++)
        sum[i] = masks_sum(&d->tensor[g->x], i);
    enum status status = ring_gemm(out, y->cols, x->rows, sum, x->cols, d->weight[g->weight].matrix, RING_GEMM_ADD);
    sodium_memzero(sum, n * sizeof *sum);
    free(sum);
    if (g->add != SCHEDULE_NONE) {
        const int64_t *diagonal = d->weight[g->diagonal].vector;
        for (size_t r = 0; r < y->rows; r++)
            for (size_t c = 0; c < y->cols; c++) {
                const size_t i = r * y->cols + c;
                ring_wide_add(out, i,
                              (ring_u128)((ring_i128)masks_sum(&d->tensor[g->add], i) * diagonal[c])
                                  << g->diagonal_up);
            }
    }
    return status;
}

/* u += 2^b (delta m_b - l_b), the same for every row. */
static void add_bias(const struct evaluator *e, const struct gate *g, struct ring_wide u)
{
    const struct tensor *y = &e->schedule->tensor[g->out];
    const struct static_share *b = &e->weight[g->bias];
    for (size_t c = 0; c < y->cols; c++) {
        const ring_u128 share = (ring_u128)((ring_i128)evaluator_delta(e) * b->m[c] - b->l[c]) << g->bias_up;
        for (size_t r = 0; r < y->rows; r++)
            ring_wide_add(u, r * y->cols + c, share);
    }
}

static enum status linear_prepare(struct evaluator *e, const struct gate *g, struct ring_wide u)
{
    const struct tensor *x = &e->schedule->tensor[g->x], *y = &e->schedule->tensor[g->out];
    add_bias(e, g, u);
    if (e->clear)
        return STATUS_OK;
    if (g->add != SCHEDULE_NONE) {
        const int64_t *l = e->tensor[g->add].l, *m = e->weight[g->diagonal].m;
        for (size_t r = 0; r < y->rows; r++)
            for (size_t c = 0; c < y->cols; c++) {
                const size_t i = r * y->cols + c;
                ring_wide_add(u, i, -((ring_u128)((ring_i128)l[i] * m[c]) << g->diagonal_up));
            }
    }
    return ring_gemm(u, y->cols, x->rows, e->tensor[g->x].l, x->cols, e->weight[g->weight].offline, RING_GEMM_ADD);
}

static void add_residual(const struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const struct tensor *y = &e->schedule->tensor[g->out];
    if (g->add != SCHEDULE_NONE) {
        const int64_t *m = e->tensor[g->add].m;
        const struct static_share *diagonal = &e->weight[g->diagonal];
        const struct ring_factor factor = evaluator_factor(e, diagonal->m, diagonal->l, 0, true);
        for (size_t at = 0; at < tensor_size(y); at += y->cols)
            ring_scale(ring_wide_at(z, at), m + at, &factor, g->diagonal_up, y->cols);
    }
}

/* Sends parts of the product as they are finished. */
struct sender {
    struct evaluator *evaluator;
    const struct gate *gate;
    size_t stride;
    enum status status; /* of the first one that failed */
};

static void send_part(void *context, size_t row, size_t rows, size_t column, size_t columns)
{
    struct sender *s = context;
    if (s->status == STATUS_OK)
        s->status = evaluator_send(s->evaluator, s->gate, row * s->stride + column, rows, columns, s->stride);
}

static enum status linear_open(struct evaluator *e, const struct gate *g, struct ring_wide z, const struct ring_narrow *end)
{
    const struct tensor *x = &e->schedule->tensor[g->x], *y = &e->schedule->tensor[g->out];
    struct sender sender = {.evaluator = e, .gate = g, .stride = y->cols};
    const struct ring_gemm_parts parts = {.columns = SEND_COLUMNS, .ready = send_part, .context = &sender};
    add_residual(e, g, z);
    const enum status status = ring_gemm_narrow(end, y->cols, z, y->cols, x->rows, e->tensor[g->x].m, x->cols,
                                                e->weight[g->weight].online, &parts);
    return status == STATUS_OK ? sender.status : status;
}

static size_t linear_part(const struct schedule *s, const struct gate *g)
{
    const struct tensor *y = &s->tensor[g->out];
    return gate_least(y->rows, RING_GEMM_BAND) * gate_least(y->cols, SEND_COLUMNS);
}

static enum status linear_evaluate(struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const struct tensor *x = &e->schedule->tensor[g->x], *y = &e->schedule->tensor[g->out];
    add_residual(e, g, z);
    return ring_gemm(z, y->cols, x->rows, e->tensor[g->x].m, x->cols, e->weight[g->weight].online, RING_GEMM_ADD);
}

static uint64_t linear_products(const struct schedule *s, const struct gate *g)
{
    return tensor_size(&s->tensor[g->x]) * s->tensor[g->out].cols +
           (g->add == SCHEDULE_NONE ? 0 : tensor_size(&s->tensor[g->out]));
}

const struct gate_walks gate_walks_linear = {.name = "linear",
                                             .product = true,
                                             .fixed = true,
                                             .clear = linear_clear,
                                             .deal = linear_deal,
                                             .prepare = linear_prepare,
                                             .evaluate = linear_evaluate,
                                             .open = linear_open,
                                             .part = linear_part,
                                             .products = linear_products};
const struct gate_walks gate_walks_output = {.name = "output",
                                             .product = true,
                                             .fixed = true,
                                             .clear = linear_clear,
                                             .deal = linear_deal,
                                             .prepare = linear_prepare,
                                             .evaluate = linear_evaluate,
                                             .products = linear_products};
