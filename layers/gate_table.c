/* A table entry at a secret index, by distributed point functions; and the client's input.
 *
 *   share_1 + share_2 = T[d - rho] modulo 2^64, or an entry near it where the table is flat enough (lookup.reach)
 *
 * d is public to the evaluators, and what is read depends on it alone. Cell i answers for v in ((i-1) 2^s, (i+1) 2^s).
 *
 * source  DESIGN section 3, "Lookup"; preprocessing/dpf_lookup.h
 * cost    some hundred AES blocks an element, for all tables of a lookup together; one opening an element if the entry is a
 *         tensor of its own
 * opens   nothing here */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gate_table.h"
#include "layers/gates.h"
#include "preprocessing/dpf_lookup.h"
#include "ring/pool.h"

size_t table_seed_bytes(const struct lookup *l)
{
    return (size_t)l->count * DPF_SEED_BYTES;
}

size_t table_key_bytes(const struct lookup *l)
{
    return (size_t)l->count * dpf_key_bytes(l->bits);
}

/* All tables at once: several gates of a round read one lookup. */
static enum status make_entries(struct evaluator *e, uint32_t lookup)
{
    const struct lookup *l = &e->schedule->lookup[lookup];
    struct dpf_table table = {.bits = l->bits, .reach = l->reach, .tables = l->tables};
    uint64_t *share[DPF_TABLES] = {NULL};
    uint64_t *all = e->entry[lookup] = pool_take((size_t)l->tables * l->count * sizeof *all);
    if (!all)
        return status_fail(STATUS_MEMORY, "out of memory for a table");
    for (uint32_t t = 0; t < l->tables; t++) {
        table.entry[t] = l->table[t];
        share[t] = all + (size_t)t * l->count;
    }
    const unsigned char *seed = e->key[lookup];
    return dpf_lookup(share, &table, l->count, e->party, e->index[lookup], seed, seed + table_seed_bytes(l));
}

enum status table_share(struct evaluator *e, uint32_t lookup, uint32_t table, uint64_t *share)
{
    const struct lookup *l = &e->schedule->lookup[lookup];
    if (e->clear) {
        for (size_t i = 0; i < l->count; i++)
            share[i] = (uint64_t)l->table[table][e->index[lookup][i]];
        return STATUS_OK;
    }
    const enum status status = e->entry[lookup] ? STATUS_OK : make_entries(e, lookup);
    if (status == STATUS_OK)
        memcpy(share, e->entry[lookup] + (size_t)table * l->count, l->count * sizeof *share);
    return status;
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
        [GATE_TABLE] = &gate_walks_table,       [GATE_CHECK] = &gate_walks_check,
        [GATE_CENTRE] = &gate_walks_centre,     [GATE_SHIFT] = &gate_walks_shift,
        [GATE_SELECT] = &gate_walks_select,     [GATE_OUTPUT] = &gate_walks_output,
    };
    return table[kind];
}
