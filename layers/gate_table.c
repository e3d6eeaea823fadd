/* A table entry at a secret index, by an expanded distributed point function; and the client's input.
 *
 *   share_i = sum_j hot_i[j] T[(d - j) mod 2^n]  modulo 2^64;  share_1 + share_2 = T[d - rho]
 *
 * d is public to the evaluators, so the sum reads hot and T in an order that depends on nothing secret. Cell i answers for
 * v in ((i-1) 2^s, (i+1) 2^s).
 *
 * source  DESIGN section 3, "Lookup"; preprocessing/dpf.h
 * cost    2^n multiplications an element and table; one opening an element if the entry is a tensor of its own
 * opens   nothing here */
#include <math.h>
#include <stdlib.h>

#include <sodium.h>

#include "layers/gate_table.h"
#include "layers/gates.h"
#include "ring/clones.h"

RING_CLONES static uint64_t dot(const uint64_t *restrict a, const uint64_t *restrict b, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

enum status table_share(const struct evaluator *e, uint32_t lookup, uint32_t table, uint64_t *share)
{
    const struct lookup *l = &e->schedule->lookup[lookup];
    const size_t cells = (size_t)1 << l->bits, last = cells - 1;
    const uint16_t *d = e->index[lookup];
    if (e->clear) {
        for (size_t i = 0; i < l->count; i++)
            share[i] = (uint64_t)l->table[table][d[i]];
        return STATUS_OK;
    }
    /* Turned and laid twice in a row, the table is read forwards from any d: turned[last - d + j] = T[(d - j) mod 2^n]. */
    uint64_t *turned = malloc(2 * cells * sizeof *turned);
    if (!turned)
        return status_fail(STATUS_MEMORY, "out of memory for a table");
    for (size_t j = 0; j < 2 * cells; j++)
        turned[j] = (uint64_t)l->table[table][(last - j) & last];
    for (size_t i = 0; i < l->count; i++)
        share[i] = dot(e->hot[lookup] + (i << l->bits), turned + (last - d[i]), cells);
    free(turned);
    return STATUS_OK;
}

/* The real function instead of its table: what follows then corrects nothing. */
static enum status table_clear(struct clear_walk *w, const struct gate *g)
{
    const struct lookup *l = &w->schedule->lookup[g->lookup];
    const size_t n = tensor_size(&w->schedule->tensor[g->out]);
    const float *v = w->value[g->x];
    float *out = w->value[g->out];
    for (size_t i = 0; i < n; i++) {
        if (l->function == FUNCTION_TANH)
            out[i] = 0.0f;
        else if (l->function == FUNCTION_INVERSE || g->table == 1)
            out[i] = 1.0f / v[i];
        else
            out[i] = sqrtf((float)l->parameter / v[i]);
    }
    return STATUS_OK;
}

static enum status table_evaluate(struct evaluator *e, const struct gate *g, struct ring_wide z)
{
    (void)e, (void)g, (void)z;
    return STATUS_OK; /* The entry joins after the shift: table_share. */
}

static uint64_t table_products(const struct schedule *s, const struct gate *g)
{
    (void)s, (void)g;
    return 0; /* modulo 2^64, not ring products of 80 bits */
}

static enum status input_clear(struct clear_walk *w, const struct gate *g)
{
    (void)w, (void)g;
    return STATUS_OK; /* filled before the walk */
}

const struct gate_walks gate_walks_table = {
    .name = "table", .clear = table_clear, .evaluate = table_evaluate, .products = table_products};
const struct gate_walks gate_walks_input = {
    .name = "input", .clear = input_clear, .evaluate = table_evaluate, .products = table_products};

const struct gate_walks *gate_walks(enum gate_kind kind)
{
    static const struct gate_walks *const table[GATE_KINDS] = {
        [GATE_INPUT] = &gate_walks_input,       [GATE_LINEAR] = &gate_walks_linear,
        [GATE_SCORES] = &gate_walks_scores,     [GATE_CONTEXT] = &gate_walks_context,
        [GATE_ROW_DOT] = &gate_walks_row_dot,   [GATE_SQUARE] = &gate_walks_square,
        [GATE_SQUARE_SUM] = &gate_walks_square_sum, [GATE_MULTIPLY] = &gate_walks_multiply,
        [GATE_TABLE] = &gate_walks_table,       [GATE_CENTRE] = &gate_walks_centre,
        [GATE_SHIFT] = &gate_walks_shift,       [GATE_SELECT] = &gate_walks_select,
        [GATE_OUTPUT] = &gate_walks_output,
    };
    return table[kind];
}
