/* Elementwise products of secrets: squares, sums of squares, and products with a spread right operand.
 *
 *   x y     z_i = +-( m_x (delta_i m_y - l_yi) - l_xi m_y + g_i ) + terms,   g_1 + g_2 = l_x l_y dealt
 *   x x     z_i = delta_i m^2 - 2 m l_i + g_i,                               g_1 + g_2 = l^2 dealt
 *
 * source  DESIGN section 3, rows "X Y" and "x * x"
 * cost    one opening of the output; two products an element
 * opens   nothing here */
#include <math.h>

#include "layers/gates.h"

/* ---- square, and the sum of a row of squares ---- */

static enum status square_clear(struct clear_walk *w, const struct gate *g)
{
    const size_t n = tensor_size(&w->schedule->tensor[g->out]);
    const float *x = w->value[g->x], scale = ldexpf(1.0f, -g->halvings);
    float *out = w->value[g->out];
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * x[i] * scale;
    return STATUS_OK;
}

static enum status square_deal(struct dealer *d, const struct gate *g, struct ring_wide out)
{
    const size_t n = tensor_size(&d->schedule->tensor[g->x]);
    for (size_t i = 0; i < n; i++) {
        const ring_i128 l = masks_sum(&d->tensor[g->x], i);
        ring_wide_add(out, i, (ring_u128)(l * l));
    }
    return STATUS_OK;
}

static enum status square_evaluate(struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const struct share *x = &e->tensor[g->x];
    ring_square(z, x->m, x->l, evaluator_delta(e), tensor_size(&e->schedule->tensor[g->x]), NULL);
    return STATUS_OK;
}

static enum status square_open(struct evaluator *e, const struct gate *g, struct ring_wide z, const struct ring_narrow *end)
{
    const struct share *x = &e->tensor[g->x];
    const size_t n = tensor_size(&e->schedule->tensor[g->x]);
    enum status status = STATUS_OK;
    for (size_t at = 0, now; status == STATUS_OK && at < n; at += now) {
        const struct ring_narrow rest = ring_narrow_at(*end, at);
        now = gate_least(n - at, SEND_ELEMENTS);
        ring_square(ring_wide_at(z, at), x->m + at, x->l + at, evaluator_delta(e), now, &rest);
        status = evaluator_send(e, g, at, 1, now, now);
    }
    return status;
}

static size_t square_part(const struct schedule *s, const struct gate *g)
{
    return gate_least(tensor_size(&s->tensor[g->out]), SEND_ELEMENTS);
}

static enum status square_sum_clear(struct clear_walk *w, const struct gate *g)
{
    const struct tensor *x = &w->schedule->tensor[g->x];
    const double constant = ldexp((double)g->constant, -2 * x->frac);
    for (size_t r = 0; r < x->rows; r++) {
        double sum = constant;
        for (size_t c = 0; c < x->cols; c++) {
            const double v = w->value[g->x][r * x->cols + c];
            sum += v * v;
        }
        w->value[g->out][r] = (float)sum;
    }
    return STATUS_OK;
}

static enum status square_sum_deal(struct dealer *d, const struct gate *g, struct ring_wide out)
{
    const struct tensor *x = &d->schedule->tensor[g->x];
    for (size_t r = 0; r < x->rows; r++) {
        ring_u128 sum = 0;
        for (size_t c = 0; c < x->cols; c++) {
            const ring_i128 l = masks_sum(&d->tensor[g->x], r * x->cols + c);
            sum += (ring_u128)(l * l);
        }
        ring_wide_add(out, r, sum);
    }
    return STATUS_OK;
}

static enum status square_sum_evaluate(struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const struct tensor *x = &e->schedule->tensor[g->x];
    const struct share *s = &e->tensor[g->x];
    const int64_t delta = evaluator_delta(e);
    for (size_t r = 0; r < x->rows; r++) {
        const ring_u128 sum = ring_square_sum(s->m + r * x->cols, s->l + r * x->cols, delta, x->cols);
        ring_wide_add(z, r, sum + (ring_u128)(ring_i128)(delta * g->constant));
    }
    return STATUS_OK;
}

static uint64_t two_an_element(const struct schedule *s, const struct gate *g)
{
    return 2 * tensor_size(&s->tensor[g->x]);
}

const struct gate_walks gate_walks_square = {.name = "square",
                                             .product = true,
                                             .clear = square_clear,
                                             .deal = square_deal,
                                             .evaluate = square_evaluate,
                                             .open = square_open,
                                             .part = square_part,
                                             .products = two_an_element};
const struct gate_walks gate_walks_square_sum = {.name = "square sum",
                                                 .product = true,
                                                 .clear = square_sum_clear,
                                                 .deal = square_sum_deal,
                                                 .evaluate = square_sum_evaluate,
                                                 .products = two_an_element};

/* ---- product ---- */

/* Walks the rows of the left operand in segments that meet one element of the right operand each (or, GATE_EACH, as
 * many as there are). */
struct segments {
    size_t count, length; /* segments in all, elements of one */
};

static struct segments segments_of(const struct schedule *s, const struct gate *g)
{
    const struct tensor *x = &s->tensor[g->x];
    if (g->spread == GATE_HEAD)
        return (struct segments){(size_t)x->rows * g->heads.heads, g->heads.width};
    return (struct segments){x->rows, x->cols};
}

/* Where segment t's element of the right operand lies; GATE_EACH: its first one. */
static size_t right_of(const struct schedule *s, const struct gate *g, size_t t)
{
    if (g->spread == GATE_EACH)
        return t * s->tensor[g->x].cols;
    if (g->spread == GATE_ROW)
        return t;
    const size_t heads = g->heads.heads, queries = g->heads.queries;
    const size_t row = t / heads, head = t % heads;
    return (row / queries * heads + head) * queries + row % queries;
}

static enum status multiply_clear(struct clear_walk *w, const struct gate *g)
{
    const struct segments seg = segments_of(w->schedule, g);
    const size_t step = g->spread == GATE_EACH;
    const int bits_in = w->schedule->tensor[g->x].frac + w->schedule->tensor[g->y].frac + g->halvings;
    const float constant = (float)ldexp((double)g->constant, -bits_in);
    const float scale = ldexpf(g->negate ? -1.0f : 1.0f, -g->halvings);
    const float *x = w->value[g->x], *y = w->value[g->y];
    float *out = w->value[g->out];
    for (size_t t = 0; t < seg.count; t++) {
        const size_t first = right_of(w->schedule, g, t);
        for (size_t c = 0; c < seg.length; c++) {
            const size_t i = t * seg.length + c;
            out[i] = x[i] * y[first + c * step] * scale + constant +
                     (g->add == SCHEDULE_NONE ? 0.0f : w->value[g->add][i]);
            /* The line of a cell, slope x + intercept, stands for tanh itself; the slope was left zero. */
            if (g->lookup != SCHEDULE_NONE)
                out[i] += tanhf(y[first + c * step]);
        }
    }
    return STATUS_OK;
}

static enum status multiply_deal(struct dealer *d, const struct gate *g, struct ring_wide out)
{
    const struct segments seg = segments_of(d->schedule, g);
    const size_t step = g->spread == GATE_EACH;
    for (size_t t = 0; t < seg.count; t++) {
        const size_t first = right_of(d->schedule, g, t);
        for (size_t c = 0; c < seg.length; c++) {
            const size_t i = t * seg.length + c;
            const ring_u128 g_xy = (ring_u128)((ring_i128)masks_sum(&d->tensor[g->x], i) *
                                               masks_sum(&d->tensor[g->y], first + c * step));
            ring_wide_add(out, i, g->negate ? -g_xy : g_xy);
        }
    }
    return STATUS_OK;
}

/* The public constant, and a masked tensor brought to the product's scale. */
static void add_terms(const struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const size_t n = tensor_size(&e->schedule->tensor[g->out]);
    const int64_t delta = evaluator_delta(e);
    if (g->constant)
        for (size_t i = 0; i < n; i++)
            ring_wide_add(z, i, (ring_u128)(ring_i128)(delta * g->constant));
    if (g->add != SCHEDULE_NONE) {
        const struct share *a = &e->tensor[g->add];
        for (size_t i = 0; i < n; i++)
            ring_wide_add(z, i, (ring_u128)(ring_i128)evaluator_own(e, a->m[i], a->l[i]) << g->add_up);
    }
}

/* Segments t..t + count, without the terms. */
static void multiply_segments(const struct evaluator *e, const struct gate *g, const struct segments *seg, size_t t,
                              size_t count, struct ring_wide z, const struct ring_narrow *end)
{
    const struct share *x = &e->tensor[g->x], *y = &e->tensor[g->y];
    for (const size_t stop = t + count; t < stop; t++) {
        const size_t at = t * seg->length;
        const struct ring_factor factor =
            evaluator_factor(e, y->m, y->l, right_of(e->schedule, g, t), g->spread == GATE_EACH);
        const struct ring_narrow rest = end ? ring_narrow_at(*end, at) : (struct ring_narrow){0};
        ring_multiply(ring_wide_at(z, at), x->m + at, x->l + at, &factor, g->negate, seg->length, end ? &rest : NULL);
    }
}

static enum status multiply_evaluate(struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    const struct segments seg = segments_of(e->schedule, g);
    multiply_segments(e, g, &seg, 0, seg.count, z, NULL);
    add_terms(e, g, z);
    return STATUS_OK;
}

/* Whole segments; small gates, those that add something, in one part. */
static size_t segments_together(const struct segments *seg, const struct gate *g)
{
    const size_t most = seg->length < SEND_ELEMENTS ? SEND_ELEMENTS / seg->length : 1;
    return g->add == SCHEDULE_NONE ? gate_least(seg->count, most) : seg->count;
}

static size_t multiply_part(const struct schedule *s, const struct gate *g)
{
    const struct segments seg = segments_of(s, g);
    return segments_together(&seg, g) * seg.length;
}

static enum status multiply_open(struct evaluator *e, const struct gate *g, struct ring_wide z, const struct ring_narrow *end)
{
    const struct segments seg = segments_of(e->schedule, g);
    const size_t n = seg.count * seg.length;
    struct ring_narrow with_constant = *end;
    enum status status = STATUS_OK;
    if (g->add != SCHEDULE_NONE) { /* the steps of an inverse */
        status = multiply_evaluate(e, g, z);
        ring_narrow(end, z, n);
        return status == STATUS_OK ? evaluator_send(e, g, 0, 1, n, n) : status;
    }
    with_constant.add += (ring_u128)(ring_i128)(evaluator_delta(e) * g->constant);
    for (size_t t = 0, now; status == STATUS_OK && t < seg.count; t += now) {
        now = gate_least(seg.count - t, segments_together(&seg, g));
        multiply_segments(e, g, &seg, t, now, z, &with_constant);
        status = evaluator_send(e, g, t * seg.length, 1, now * seg.length, now * seg.length);
    }
    return status;
}

const struct gate_walks gate_walks_multiply = {.name = "multiply",
                                               .product = true,
                                               .clear = multiply_clear,
                                               .deal = multiply_deal,
                                               .evaluate = multiply_evaluate,
                                               .open = multiply_open,
                                               .part = multiply_part,
                                               .products = two_an_element};
