/* What makes a list of gates a schedule: their order, the checks of every bound, the last uses, the hash. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gate_check.h"
#include "layers/gates.h"
#include "layers/walk.h"
#include "preprocessing/dpf.h"
#include "ring/parameters.h"

/* Stable: gates of one round keep the order in which they were emitted, local ones before what reads them. */
static enum status sort_by_round(struct schedule *s)
{
    struct gate *sorted = malloc((s->gates ? s->gates : 1) * sizeof *sorted);
    if (!sorted)
        return status_fail(STATUS_MEMORY, "out of memory while compiling a schedule");
    uint32_t last = 0, n = 0;
    for (uint32_t i = 0; i < s->gates; i++)
        if (s->gate[i].round > last)
            last = s->gate[i].round;
    s->rounds = 0;
    for (uint32_t r = 0; r <= last; r++)
        for (uint32_t i = 0; i < s->gates; i++)
            if (s->gate[i].round == r) {
                sorted[n++] = s->gate[i];
                if (schedule_sends(&s->gate[i]))
                    s->rounds = r + 1;
            }
    if (n)
        memcpy(s->gate, sorted, n * sizeof *sorted);
    free(sorted);
    return STATUS_OK;
}

static void find_last_reads(struct schedule *s)
{
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        const uint32_t touched[4] = {g->x, g->y, g->add, g->out};
        for (int t = 0; t < 4; t++)
            if (touched[t] != SCHEDULE_NONE)
                s->tensor[touched[t]].last_gate = i;
    }
}

/* ---- bounds: a description comes from a peer, and what it compiles to must be safe to walk ---- */

static bool tensor_is(const struct schedule *s, uint32_t tensor, uint64_t rows, uint64_t cols)
{
    return tensor < s->tensors && s->tensor[tensor].rows == rows && s->tensor[tensor].cols == cols;
}

static bool weight_is(const struct schedule *s, uint32_t weight, uint64_t rows, uint64_t cols)
{
    return weight < s->weights && s->weight[weight].rows == rows && s->weight[weight].cols == cols;
}

/* Whether its masks may be larger than those of an opened value: twice the difference of two such need not fit 64 bits, and a deep
 * product of them is not what ring_gemm_pack_masked is for. */
static bool is_centred(const struct schedule *s, uint32_t tensor)
{
    for (uint32_t i = s->gates; i-- > 0;)
        if (s->gate[i].out == tensor && gate_walks(s->gate[i].kind)->local) {
            if (s->gate[i].kind == GATE_CENTRE)
                return true;
            tensor = s->gate[i].x;
        }
    return false;
}

static bool linear_fits(const struct schedule *s, const struct gate *g)
{
    const struct tensor *x = &s->tensor[g->x], *out = &s->tensor[g->out];
    if (g->add != SCHEDULE_NONE &&
        !(tensor_is(s, g->add, out->rows, out->cols) && weight_is(s, g->diagonal, 1, out->cols)))
        return false;
    if (x->cols > RING_GEMM_MASKED_DEEP && is_centred(s, g->x))
        return false;
    return out->rows == x->rows && weight_is(s, g->weight, x->cols, out->cols) &&
           weight_is(s, g->bias, 1, out->cols);
}

static bool attention_fits(const struct schedule *s, const struct gate *g)
{
    const struct heads *h = &g->heads;
    const uint64_t each = (uint64_t)h->sequences * h->heads * h->queries,
                   hidden = (uint64_t)h->heads * h->width;
    const uint64_t queries = (uint64_t)h->sequences * h->queries, keys = (uint64_t)h->sequences * h->keys;
    if (schedule_doubled(g->kind) && (is_centred(s, g->x) || is_centred(s, g->y)))
        return false;
    if (g->kind == GATE_SCORES)
        return tensor_is(s, g->x, queries, hidden) && tensor_is(s, g->y, keys, hidden) &&
               tensor_is(s, g->out, each, h->keys) &&
               (g->bias == SCHEDULE_NONE || weight_is(s, g->bias, 1, h->heads));
    if (g->kind == GATE_CONTEXT)
        return tensor_is(s, g->x, each, h->keys) && tensor_is(s, g->y, keys, hidden) &&
               tensor_is(s, g->out, queries, hidden);
    return tensor_is(s, g->x, each, h->keys) && tensor_is(s, g->y, keys, 1) && tensor_is(s, g->out, each, 1);
}

static bool multiply_fits(const struct schedule *s, const struct gate *g)
{
    const struct tensor *x = &s->tensor[g->x];
    const struct heads *h = &g->heads;
    if (!tensor_is(s, g->out, x->rows, x->cols) ||
        (g->add != SCHEDULE_NONE && !tensor_is(s, g->add, x->rows, x->cols)))
        return false;
    if (g->spread == GATE_EACH)
        return tensor_is(s, g->y, x->rows, x->cols);
    if (g->spread == GATE_ROW)
        return tensor_is(s, g->y, x->rows, 1);
    return tensor_is(s, g->x, (uint64_t)h->sequences * h->queries, (uint64_t)h->heads * h->width) &&
           tensor_is(s, g->y, (uint64_t)h->sequences * h->heads * h->queries, 1);
}

/* Whether every element of x is judged by itself, exactly, and no later than g. */
static bool elements_checked(const struct schedule *s, const struct gate *g)
{
    bool found = false;
    for (uint32_t i = 0; i < s->gates; i++)
        found |= s->gate[i].kind == GATE_CHECK && s->gate[i].x == g->x && s->gate[i].round <= g->round &&
                 s->gate[i].check < s->checks && s->check[s->gate[i].check].together == 1 &&
                 s->check[s->gate[i].check].shift == 0;
    return found;
}

/* Masks of opened values: their sum fits 62 bits and sign, and with m in [-2^62, 2^62) no element that passes is off by a multiple of p.
 * Sums could be, but for elements that pass. */
static bool check_fits(const struct schedule *s, const struct gate *g)
{
    if (g->check >= s->checks || g->x >= s->tensors || s->tensor[g->x].local || !tensor_is(s, g->out, 1, 1))
        return false;
    const struct check *c = &s->check[g->check];
    return (uint64_t)c->count * c->together == tensor_size(&s->tensor[g->x]) && c->roots > 0 && c->roots <= CHECK_ROOTS_MAX &&
           c->shift >= 0 && c->shift <= RING_MASK_BITS && (c->together == 1 || elements_checked(s, g));
}

static bool shapes_fit(const struct schedule *s, const struct gate *g)
{
    const struct tensor *out = &s->tensor[g->out], *x = g->x == SCHEDULE_NONE ? out : &s->tensor[g->x];
    switch (g->kind) {
    case GATE_LINEAR:
    case GATE_OUTPUT:
        return linear_fits(s, g);
    case GATE_SCORES:
    case GATE_CONTEXT:
    case GATE_ROW_DOT:
        return attention_fits(s, g);
    case GATE_MULTIPLY:
        return multiply_fits(s, g);
    case GATE_SQUARE_SUM:
        return tensor_is(s, g->out, x->rows, 1);
    case GATE_SELECT:
        return out->cols == x->cols && out->rows && x->rows % out->rows == 0;
    case GATE_TABLE:
        return g->lookup < s->lookups;
    case GATE_CHECK:
        return check_fits(s, g);
    default:
        return out->rows == x->rows && out->cols == x->cols;
    }
}

/* A table entry joins element by element, at an index opened earlier. */
static bool lookups_fit(const struct schedule *s, const struct gate *g)
{
    const size_t n = tensor_size(&s->tensor[g->out]);
    if (g->index != SCHEDULE_NONE &&
        (g->index >= s->lookups || s->lookup[g->index].count != n || !gate_walks(g->kind)->evaluate))
        return false;
    if (g->lookup == SCHEDULE_NONE)
        return true;
    return g->lookup < s->lookups && s->lookup[g->lookup].count == n &&
           g->table < s->lookup[g->lookup].tables;
}

static bool is_known(const struct schedule *s, const struct gate *g, uint32_t tensor)
{
    return tensor == SCHEDULE_NONE || (tensor < s->tensors && s->tensor[tensor].ready <= g->round);
}

static bool lift_fits(int up)
{
    return up >= 0 && up < RING_PRODUCT_BITS;
}

static enum status check_gate(const struct schedule *s, const struct gate *g)
{
    const char *name = s->tensor[g->out].name;
    const int most = gate_walks(g->kind)->local ? 62 : schedule_shift_most(g->kind);
    if (!is_known(s, g, g->x) || !is_known(s, g, g->y) || !is_known(s, g, g->add) || !shapes_fit(s, g))
        return status_fail(STATUS_RANGE, "%s does not fit what it reads", name);
    if (!schedule_calibrated(s))
        return STATUS_OK;
    if (!lookups_fit(s, g))
        return status_fail(STATUS_RANGE, "%s does not fit its table", name);
    if (g->shift < 0 || g->shift > most || !lift_fits(g->diagonal_up) || !lift_fits(g->bias_up) ||
        !lift_fits(g->add_up))
        return status_fail(STATUS_RANGE,
                           "%s would need shifts that are not possible: the values of this model do not fit",
                           name);
    return STATUS_OK;
}

static enum status check_gates(const struct schedule *s)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < s->gates; i++)
        status = check_gate(s, &s->gate[i]);
    return status;
}

static enum status check_lookups(const struct schedule *s)
{
    for (uint32_t i = 0; i < s->lookups; i++) {
        const struct lookup *l = &s->lookup[i];
        if (l->bits < DPF_BITS_MIN || l->bits > DPF_BITS_MAX || l->shift < 0 || l->shift + l->bits > 60)
            return status_fail(
                STATUS_RANGE,
                "lookup %u would need a table of 2^%d cells (%d to %d are possible): the values that "
                "are inverted spread over too wide a range",
                i, l->bits, DPF_BITS_MIN, DPF_BITS_MAX);
        if ((uint64_t)l->count << l->bits > SCHEDULE_CELLS_MAX)
            return status_fail(
                STATUS_RANGE, "lookup %u would expand %u tables of 2^%d cells: use a smaller bucket or batch",
                i, l->count, l->bits);
    }
    return STATUS_OK;
}

static enum status too_large(const struct schedule *s, const char *name, uint64_t bytes)
{
    return status_fail(STATUS_RANGE,
                       "%s takes %.1f MiB in a batch of %u sequences of %u tokens, %.1f are possible: use a "
                       "smaller bucket or batch",
                       name, (double)bytes / (1 << 20), s->batch, s->bucket,
                       (double)SCHEDULE_PIECE_MAX / (1 << 20));
}

/* Without a fast link all that is opened in a round is one message. Gates stand in the order of their rounds. */
static enum status check_rounds(const struct schedule *s)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        struct cost cost = {0};
        walk_count_gate(s, g, &cost);
        if (i > 0 && g->round != s->gate[i - 1].round)
            bytes = 0;
        bytes += cost.online_bytes;
        if (bytes > SCHEDULE_PIECE_MAX)
            return too_large(s, "what is opened in a round", bytes);
    }
    return STATUS_OK;
}

/* A message that cannot be sent would be noticed in the middle of a bundle otherwise. */
static enum status check_pieces(const struct schedule *s)
{
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        const struct tensor *out = &s->tensor[g->out];
        const uint64_t bytes = (uint64_t)tensor_size(out) * RING_PRODUCT_BYTES;
        if ((g->kind == GATE_INPUT || gate_walks(g->kind)->product) && bytes > SCHEDULE_PIECE_MAX)
            return too_large(s, out->name, bytes);
        if (g->kind == GATE_CHECK && check_dealt_bytes(&s->check[g->check]) > SCHEDULE_PIECE_MAX)
            return too_large(s, out->name, check_dealt_bytes(&s->check[g->check]));
        if (g->index == SCHEDULE_NONE)
            continue;
        const struct lookup *l = &s->lookup[g->index];
        const uint64_t keys = (uint64_t)l->count * dpf_key_bytes(l->bits);
        if (keys > SCHEDULE_PIECE_MAX)
            return too_large(s, out->name, keys);
    }
    for (uint32_t i = 0; i < s->weights; i++)
        if ((uint64_t)weight_size(&s->weight[i]) * sizeof(int64_t) > SCHEDULE_PIECE_MAX)
            return status_fail(STATUS_RANGE, "%s has %u x %u elements: masked, it is more than %.0f MiB",
                               s->weight[i].name, s->weight[i].rows, s->weight[i].cols,
                               (double)SCHEDULE_PIECE_MAX / (1 << 20));
    return STATUS_OK;
}

/* ---- the hash ---- */

static void hash_fields(crypto_generichash_state *state, const int64_t *field, size_t fields)
{
    crypto_generichash_update(state, (const unsigned char *)field, fields * sizeof *field);
}

/* Hashes every field by value: struct padding and pointers never reach the hash. */
static void hash_schedule(struct schedule *s)
{
    static const char label[] = "trefoil schedule 3";
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof s->hash);
    crypto_generichash_update(&state, (const unsigned char *)label, sizeof label);
    const int64_t head[] = {RING_PRODUCT_BITS, RING_MASK_BITS, RING_RANGE_BITS, s->bucket,
                            s->batch,          s->tensors,     s->gates,        s->weights,
                            s->lookups,        s->checks,      s->rounds};
    hash_fields(&state, head, sizeof head / sizeof *head);
    for (uint32_t i = 0; i < s->tensors; i++) {
        const struct tensor *t = &s->tensor[i];
        const int64_t f[] = {t->rows, t->cols, t->frac, t->local, t->ready};
        hash_fields(&state, f, sizeof f / sizeof *f);
    }
    for (uint32_t i = 0; i < s->weights; i++) {
        const struct weight *w = &s->weight[i];
        const int64_t f[] = {w->kind, w->rows, w->cols, w->frac};
        hash_fields(&state, f, sizeof f / sizeof *f);
    }
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        const int64_t f[] = {g->kind,       g->round,       g->x,
                             g->y,          g->add,         g->out,
                             g->weight,     g->bias,        g->diagonal,
                             g->shift,      g->halvings,    g->diagonal_up,
                             g->bias_up,    g->add_up,      g->negate,
                             g->constant,   g->spread,      g->index,
                             g->lookup,     g->table,       g->check,
                             g->emits,      g->heads.heads, g->heads.queries,
                             g->heads.keys, g->heads.width, g->heads.sequences};
        hash_fields(&state, f, sizeof f / sizeof *f);
    }
    for (uint32_t i = 0; i < s->lookups; i++) {
        const struct lookup *l = &s->lookup[i];
        const int64_t f[] = {l->count, l->bits,   l->shift,         l->offset,
                             l->reach, l->tables, l->table_frac[0], l->table_frac[1]};
        hash_fields(&state, f, sizeof f / sizeof *f);
        for (uint32_t t = 0; t < l->tables; t++)
            hash_fields(&state, l->table[t], (size_t)1 << l->bits);
    }
    for (uint32_t i = 0; i < s->checks; i++) {
        const struct check *c = &s->check[i];
        const int64_t f[] = {c->count, c->together, c->roots, c->shift};
        hash_fields(&state, f, sizeof f / sizeof *f);
        hash_fields(&state, c->root, c->roots);
    }
    crypto_generichash_final(&state, s->hash, sizeof s->hash);
}

enum status schedule_finish(struct schedule *s)
{
    if (s->failed != STATUS_OK)
        return s->failed;
    if (schedule_calibrated(s) && s->ranged != s->ranges)
        return status_fail(STATUS_FOREIGN,
                           "the model's description has %u ranges, the schedule has %u openings: share "
                           "the model again with this version",
                           s->ranges, s->ranged);
    enum status status = sort_by_round(s);
    if (status == STATUS_OK && schedule_calibrated(s))
        status = check_lookups(s);
    if (status == STATUS_OK)
        status = check_gates(s);
    if (status == STATUS_OK && schedule_calibrated(s))
        status = check_pieces(s);
    if (status == STATUS_OK && schedule_calibrated(s))
        status = check_rounds(s);
    if (status != STATUS_OK)
        return status;
    find_last_reads(s);
    hash_schedule(s);
    return STATUS_OK;
}
