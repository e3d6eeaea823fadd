#include "tests/layers/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/gates.h"
#include "preprocessing/dpf_lookup.h"
#include "ring/parameters.h"

/* One walk's values, by tensor; the output's are its logits. */
struct values {
    const struct schedule *s;
    const int64_t *const *weight;
    int64_t **value;
    bool fixed;
    uint16_t *const *index; /* by lookup: the opened d; NULL in fixed point, where cells are read as they are */
    bool **cells; /* by lookup, [count][2]: whether the lower and the upper cell explain all that was read */
};

/* The product before it is opened, and the sum of the magnitudes of its terms. */
struct product {
    ring_i128 z;
    double size;
};

static void add(struct product *p, ring_i128 term, int up)
{
    ck_must(up >= 0, "a term has more fraction bits than its product");
    const ring_i128 scaled = (ring_i128)((ring_u128)term << up);
    p->z += scaled;
    p->size += fabs((double)scaled);
}

static int frac(const struct values *v, uint32_t tensor)
{
    return v->s->tensor[tensor].frac;
}

/* ---- z of each kind ---- */

static int bits_in(const struct values *v, const struct gate *g)
{
    switch (g->kind) {
    case GATE_LINEAR:
    case GATE_OUTPUT:
        return frac(v, g->x) + v->s->weight[g->weight].frac;
    case GATE_SQUARE:
    case GATE_SQUARE_SUM:
        return 2 * frac(v, g->x) + g->halvings;
    case GATE_INPUT:
    case GATE_TABLE:
        return frac(v, g->out);
    case GATE_CENTRE:
    case GATE_SHIFT:
    case GATE_SELECT:
        return frac(v, g->x);
    default:
        return frac(v, g->x) + frac(v, g->y) + g->halvings;
    }
}

static struct product linear(const struct values *v, const struct gate *g, size_t row, size_t col)
{
    struct product p = {0, 0};
    const size_t in = v->s->tensor[g->x].cols, cols = v->s->tensor[g->out].cols;
    const int bits = bits_in(v, g);
    for (size_t k = 0; k < in; k++)
        add(&p, (ring_i128)v->value[g->x][row * in + k] * v->weight[g->weight][col * in + k], 0);
    if (g->add != SCHEDULE_NONE)
        add(&p, (ring_i128)v->value[g->add][row * cols + col] * v->weight[g->diagonal][col],
            bits - frac(v, g->add) - v->s->weight[g->diagonal].frac);
    add(&p, v->weight[g->bias][col], bits - v->s->weight[g->bias].frac);
    return p;
}

static struct product scores(const struct values *v, const struct gate *g, size_t row, size_t key)
{
    struct product p = {0, 0};
    const struct heads *h = &g->heads;
    const size_t query = row % h->queries, head = row / h->queries % h->heads;
    const size_t sequence = row / h->queries / h->heads, hidden = (size_t)h->heads * h->width;
    for (size_t k = 0; k < h->width; k++)
        add(&p,
            (ring_i128)v->value[g->x][(sequence * h->queries + query) * hidden + head * h->width + k] *
                v->value[g->y][(sequence * h->keys + key) * hidden + head * h->width + k],
            0);
    if (g->bias == SCHEDULE_NONE)
        add(&p, g->constant, 0);
    else
        add(&p, v->weight[g->bias][head], bits_in(v, g) - v->s->weight[g->bias].frac);
    return p;
}

static struct product context(const struct values *v, const struct gate *g, size_t row, size_t col)
{
    struct product p = {0, 0};
    const struct heads *h = &g->heads;
    const size_t sequence = row / h->queries, query = row % h->queries, head = col / h->width;
    const size_t from = ((sequence * h->heads + head) * h->queries + query) * h->keys;
    for (size_t k = 0; k < h->keys; k++)
        add(&p,
            (ring_i128)v->value[g->x][from + k] *
                v->value[g->y][(sequence * h->keys + k) * h->heads * h->width + col],
            0);
    return p;
}

static struct product row_dot(const struct values *v, const struct gate *g, size_t row)
{
    struct product p = {0, 0};
    const struct heads *h = &g->heads;
    const size_t sequence = row / h->queries / h->heads;
    for (size_t k = 0; k < h->keys; k++)
        add(&p, (ring_i128)v->value[g->x][row * h->keys + k] * v->value[g->y][sequence * h->keys + k], 0);
    return p;
}

/* The element of the right operand that meets element (row, col) of the left one. */
static size_t partner(const struct gate *g, size_t row, size_t col, size_t cols)
{
    if (g->spread == GATE_EACH)
        return row * cols + col;
    if (g->spread == GATE_ROW)
        return row;
    const size_t sequence = row / g->heads.queries, query = row % g->heads.queries,
                 head = col / g->heads.width;
    return (sequence * g->heads.heads + head) * g->heads.queries + query;
}

static struct product multiply(const struct values *v, const struct gate *g, size_t row, size_t col)
{
    struct product p = {0, 0};
    const size_t cols = v->s->tensor[g->out].cols, i = row * cols + col;
    const ring_i128 xy = (ring_i128)v->value[g->x][i] * v->value[g->y][partner(g, row, col, cols)];
    add(&p, g->negate ? -xy : xy, 0);
    add(&p, g->constant, 0);
    if (g->add != SCHEDULE_NONE)
        add(&p, v->value[g->add][i], bits_in(v, g) - frac(v, g->add));
    return p;
}

static struct product squares(const struct values *v, const struct gate *g, size_t row, size_t col)
{
    struct product p = {0, 0};
    const size_t cols = v->s->tensor[g->x].cols;
    if (g->kind == GATE_SQUARE) {
        const int64_t x = v->value[g->x][row * cols + col];
        add(&p, (ring_i128)x * x, 0);
        return p;
    }
    for (size_t c = 0; c < cols; c++)
        add(&p, (ring_i128)v->value[g->x][row * cols + c] * v->value[g->x][row * cols + c], 0);
    add(&p, g->constant, 0);
    return p;
}

static struct product product_of(const struct values *v, const struct gate *g, size_t row, size_t col)
{
    switch (g->kind) {
    case GATE_LINEAR:
    case GATE_OUTPUT:
        return linear(v, g, row, col);
    case GATE_SCORES:
        return scores(v, g, row, col);
    case GATE_CONTEXT:
        return context(v, g, row, col);
    case GATE_ROW_DOT:
        return row_dot(v, g, row);
    case GATE_SQUARE:
    case GATE_SQUARE_SUM:
        return squares(v, g, row, col);
    case GATE_MULTIPLY:
        return multiply(v, g, row, col);
    default:
        return (struct product){0, 0};
    }
}

/* ---- judging ---- */

static const char *name_of(const struct values *v, const struct gate *g)
{
    return v->s->tensor[g->out].name;
}

/* Whether out is what an opening may make of z. */
static bool opened(const struct values *v, ring_i128 z, int shift, int64_t out)
{
    const ring_i128 unit = (ring_i128)1 << shift, error = (ring_i128)out * unit - z;
    if (v->fixed)
        return out == (int64_t)((z + (shift ? unit / 2 : 0)) >> shift);
    return error > -unit && error < unit && (z & (unit - 1) ? true : error == 0);
}

/* v = z + offset lies in cell v / 2^s or, unless it is a multiple of 2^s, in the one above it. */
static void judge_table(struct values *v, const struct gate *g, ring_i128 z, int shift, size_t i, int64_t out)
{
    const struct lookup *l = &v->s->lookup[g->lookup];
    const struct gate *source = NULL;
    for (uint32_t k = 0; k < v->s->gates; k++)
        if (v->s->gate[k].index == g->lookup)
            source = &v->s->gate[k];
    ck_assert_ptr_nonnull(source);
    const size_t cols = v->s->tensor[source->out].cols;
    const ring_i128 at = product_of(v, source, i / cols, i % cols).z + l->offset;
    ck_must(at >= 0 && at < (ring_i128)1 << (l->bits + l->shift), "%s: out of its table", name_of(v, g));
    const size_t cell = (size_t)(at >> l->shift), last = ((size_t)1 << l->bits) - 1;
    const struct dpf_table table = {.bits = l->bits, .reach = v->index ? l->reach : 0};
    for (size_t above = 0; above < 2; above++) {
        const bool in_cell = !above || (at & (((ring_i128)1 << l->shift) - 1)) != 0;
        const unsigned d = v->index ? v->index[g->lookup][i] : 0;
        const unsigned read = dpf_lookup_cell(&table, d, (unsigned)(cell + above) & (unsigned)last);
        bool *explains = &v->cells[g->lookup][2 * i + above];
        *explains &= in_cell && opened(v, z, shift, out - l->table[g->table][read]);
    }
    ck_must(v->cells[g->lookup][2 * i] || v->cells[g->lookup][2 * i + 1],
            "%s[%zu]: %lld is not in cell %zu or the one above it", name_of(v, g), i, (long long)out, cell);
}

static void judge_opening(struct values *v, const struct gate *g)
{
    const struct tensor *t = &v->s->tensor[g->out];
    const int shift = bits_in(v, g) - t->frac;
    ck_assert_int_eq(shift, g->shift);
    ck_assert(shift >= 0 && shift <= schedule_shift_most(g->kind));
    for (size_t i = 0; i < tensor_size(t); i++) {
        const ring_i128 z = product_of(v, g, i / t->cols, i % t->cols).z;
        const int64_t out = v->value[g->out][i];
        if (g->kind != GATE_OUTPUT)
            ck_must(llabs(out) < RING_RANGE, "%s[%zu] = %lld is out of range", t->name, i, (long long)out);
        if (g->lookup != SCHEDULE_NONE)
            judge_table(v, g, z, shift, i, out);
        else
            ck_must(opened(v, z, shift, out), "%s[%zu]: %lld, not %.6f", t->name, i, (long long)out,
                    ldexp((double)z, -shift));
    }
}

static void judge_centre(const struct values *v, const struct gate *g)
{
    const struct tensor *t = &v->s->tensor[g->out];
    const double most = v->fixed ? 0.5 : 1.5;
    for (size_t r = 0; r < t->rows; r++) {
        double sum = 0;
        for (size_t c = 0; c < t->cols; c++)
            sum += (double)v->value[g->x][r * t->cols + c];
        for (size_t c = 0; c < t->cols; c++) {
            const double exact = (double)v->value[g->x][r * t->cols + c] - sum / t->cols;
            ck_must(fabs((double)v->value[g->out][r * t->cols + c] - exact) <= most + 0.01,
                    "%s: row %zu, column %zu", t->name, r, c);
        }
    }
}

static void judge_local(const struct values *v, const struct gate *g)
{
    const struct tensor *t = &v->s->tensor[g->out], *x = &v->s->tensor[g->x];
    const double most = v->fixed ? 0.5 : 1.5;
    if (g->kind == GATE_CENTRE) {
        judge_centre(v, g);
        return;
    }
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->cols; c++) {
            const int64_t out = v->value[g->out][r * t->cols + c];
            const size_t row = g->kind == GATE_SELECT ? r * (x->rows / t->rows) : r;
            const int64_t in = v->value[g->x][row * t->cols + c];
            if (g->kind == GATE_SELECT)
                ck_must(out == in, "%s: row %zu", t->name, r);
            else
                ck_must(fabs((double)out - ldexp((double)in, t->frac - x->frac)) <= most, "%s: row %zu",
                        t->name, r);
        }
}

/* Both walks went on, so everything lies where it may; what does not end a walk is for tests of checks. */
static void judge_check(const struct values *v, const struct gate *g)
{
    const struct check *c = &v->s->check[g->check];
    for (size_t i = 0; i < c->count; i++) {
        int64_t cell = 0;
        bool passes = false;
        for (size_t k = 0; k < c->together; k++)
            cell += v->value[g->x][i * c->together + k];
        cell >>= c->shift;
        for (uint32_t r = 0; r < c->roots; r++)
            passes |= c->root[r] == cell || (c->shift > 0 && c->root[r] == cell + 1);
        ck_must(passes, "%s[%zu] is out of range", name_of(v, g), i);
    }
}

/* ---- whole walks ---- */

static struct values gather(const struct three *t, bool fixed, const int64_t *logits)
{
    const struct schedule *s = &t->schedule;
    struct values v = {.s = s, .weight = t->weight, .fixed = fixed};
    v.index = fixed ? NULL : t->party[1].evaluator.index;
    v.value = calloc(s->tensors, sizeof *v.value);
    v.cells = calloc(s->lookups + 1, sizeof *v.cells);
    for (uint32_t i = 0; i < s->gates; i++) {
        const uint32_t tensor = s->gate[i].out;
        const size_t n = tensor_size(&s->tensor[tensor]);
        v.value[tensor] = malloc(n * sizeof(int64_t));
        for (size_t j = 0; j < n; j++)
            v.value[tensor][j] = s->gate[i].kind == GATE_OUTPUT ? (logits ? logits[j] : 0)
                                 : s->gate[i].kind == GATE_CHECK ? 0
                                 : fixed                        ? three_fixed_value(t, tensor, j)
                                                                : three_value(t, tensor, j);
    }
    for (uint32_t i = 0; i < s->lookups; i++) {
        v.cells[i] = malloc(2 * (size_t)s->lookup[i].count * sizeof(bool));
        memset(v.cells[i], 1, 2 * (size_t)s->lookup[i].count * sizeof(bool));
    }
    return v;
}

static void release(struct values *v)
{
    for (uint32_t i = 0; i < v->s->tensors; i++)
        free(v->value[i]);
    for (uint32_t i = 0; i < v->s->lookups; i++)
        free(v->cells[i]);
    free(v->value);
    free(v->cells);
}

void reference_check(const struct three *t, enum reference_walk walk, const int64_t *const *input,
                     const int64_t *logits)
{
    struct values v = gather(t, walk == REFERENCE_FIXED, logits);
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < v.s->gates; i++) {
        const struct gate *g = &v.s->gate[i];
        const size_t n = tensor_size(&v.s->tensor[g->out]);
        if (g->kind == GATE_INPUT) {
            for (size_t j = 0; j < n; j++)
                ck_must(v.value[g->out][j] == input[inputs][j], "input %u[%zu]", inputs, j);
            inputs++;
        } else if (gate_walks(g->kind)->local) {
            judge_local(&v, g);
        } else if (g->kind == GATE_CHECK) {
            judge_check(&v, g);
        } else {
            judge_opening(&v, g);
        }
    }
    release(&v);
}

static void real_values(float *out, const int64_t *value, size_t n, int bits)
{
    ck_assert_ptr_nonnull(out);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)ldexp((double)value[i], -bits);
}

static void judge_clear(const struct values *v, const struct gate *g, struct clear_walk *walk)
{
    const struct tensor *t = &v->s->tensor[g->out];
    const uint32_t reads[3] = {g->x, g->y, g->add};
    for (int i = 0; i < 3; i++) {
        if (reads[i] == SCHEDULE_NONE || walk->value[reads[i]])
            continue;
        const size_t n = tensor_size(&v->s->tensor[reads[i]]);
        walk->value[reads[i]] = malloc(n * sizeof(float));
        real_values(walk->value[reads[i]], v->value[reads[i]], n, frac(v, reads[i]));
    }
    walk->value[g->out] = calloc(tensor_size(t), sizeof(float));
    ck_ok(gate_walks(g->kind)->clear(walk, g));
    for (size_t i = 0; i < tensor_size(t); i++) {
        const struct product p = product_of(v, g, i / t->cols, i % t->cols);
        const double tolerance = ldexp(2.0, -t->frac) + ldexp(p.size, -bits_in(v, g)) * 0x1p-20 +
                                 ldexp(1.0, -t->frac) * fabs((double)v->value[g->out][i]) * 0x1p-20;
        const double out = ldexp((double)v->value[g->out][i], -t->frac);
        ck_must(fabs((double)walk->value[g->out][i] - out) <= tolerance, "%s[%zu]: clear %g, private %g",
                t->name, i, (double)walk->value[g->out][i], out);
    }
}

void reference_check_clear(const struct three *t)
{
    struct values v = gather(t, false, NULL);
    struct folded folded = {0};
    for (uint32_t i = 0; i < v.s->weights; i++) {
        const struct weight *w = &v.s->weight[i];
        real_values(folded_next(&folded, weight_size(w)), t->weight[i], weight_size(w), w->frac);
    }
    for (uint32_t i = 0; i < v.s->gates; i++) {
        const struct gate *g = &v.s->gate[i];
        struct clear_walk walk = {v.s, &folded, calloc(v.s->tensors, sizeof(float *))};
        if (g->kind != GATE_INPUT && g->kind != GATE_OUTPUT && g->kind != GATE_CHECK && g->lookup == SCHEDULE_NONE)
            judge_clear(&v, g, &walk);
        for (uint32_t k = 0; k < v.s->tensors; k++)
            free(walk.value[k]);
        free(walk.value);
    }
    release(&v);
    folded_clear(&folded);
}
