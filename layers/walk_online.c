/* The online walk of the evaluators, and the fixed-point walk, which is the same code with all masks zero. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gate_check.h"
#include "layers/gate_table.h"
#include "layers/gates.h"
#include "layers/opening.h"
#include "layers/wide_array.h"
#include "ring/parameters.h"
#include "ring/pool.h"
#include "ring/prime.h"

/* u_i of a range check, this party's and the peer's. */
struct check_sum {
    uint64_t own, theirs;
};

/* What one walk carries besides the evaluator. */
struct online {
    struct evaluator *e;
    const struct ring_wide *input; /* by GATE_INPUT */
    uint32_t inputs;
    uint32_t *output;
    uint16_t **received_index; /* by gate of this round: the peer's summand of the index */
    struct check_sum *sum;     /* by check */
};

/* ---- warming: material, masks and table keys, before any input ---- */

/* g_i or u_i: kept in the store, but for what P1 makes from its stream. */
static enum status warm_product(struct evaluator *e, uint32_t number)
{
    const struct gate *g = &e->schedule->gate[number];
    const struct gate_walks *walks = gate_walks(g->kind);
    const size_t n = tensor_size(&e->schedule->tensor[g->out]);
    if (!walks->product)
        return STATUS_OK;
    e->product[number] = pool_take(n * RING_PRODUCT_BYTES);
    if (!e->product[number])
        return status_fail(STATUS_MEMORY, "out of memory for a bundle");
    if (e->party == 2 || walks->fixed)
        return e->load(e->context, number, PART_PRODUCT, e->product[number], n * RING_PRODUCT_BYTES);
    evaluator_stream_product(e, number, e->product[number], n);
    return STATUS_OK;
}

/* l of the output: drawn for an opening, mapped for a local gate. */
static enum status warm_mask(struct evaluator *e, uint32_t number)
{
    const struct schedule *s = e->schedule;
    const struct gate *g = &s->gate[number];
    const struct gate_walks *walks = gate_walks(g->kind);
    const size_t n = tensor_size(&s->tensor[g->out]);
    if (!g->emits && !walks->local)
        return STATUS_OK;
    int64_t *l = e->tensor[g->out].l = pool_take(n * sizeof *l);
    if (!l)
        return status_fail(STATUS_MEMORY, "out of memory for the masks of a bundle");
    if (walks->local)
        return walks->local(s, g, l, e->tensor[g->x].l);
    struct ring_seed key;
    ring_stream_key(&key, &e->seed, e->label.data, e->label.bytes, g->out, RING_PURPOSE_MASK);
    ring_stream_masks(l, n, &key, 0);
    sodium_memzero(&key, sizeof key);
    return STATUS_OK;
}

/* Seeds from a stream, keys from the store: they are used as they are (dpf_lookup). */
static enum status warm_lookup(struct evaluator *e, uint32_t number)
{
    const uint32_t index = e->schedule->gate[number].index;
    if (index == SCHEDULE_NONE)
        return STATUS_OK;
    const struct lookup *l = &e->schedule->lookup[index];
    const size_t seeds = table_seed_bytes(l), keys = table_key_bytes(l);
    unsigned char *at = e->key[index] = pool_take(seeds + keys);
    if (!at)
        return status_fail(STATUS_MEMORY, "out of memory for the table keys of a bundle");
    label_stream(at, seeds, &e->seed, &e->label, index, RING_PURPOSE_ROOT);
    return e->load(e->context, number, PART_KEYS, at + seeds, keys);
}

/* Whether the mask of the opening joins what was dealt, ahead of any input: unless a table index is taken of z. */
static bool masked_ahead(const struct gate *g)
{
    return gate_walks(g->kind)->product && g->emits && g->index == SCHEDULE_NONE;
}

static void join_mask(const struct evaluator *e, const struct gate *g, void *product)
{
    const size_t n = tensor_size(&e->schedule->tensor[g->out]);
    opening_mask(wide_view(product, n), e->tensor[g->out].l, schedule_shift(g), n);
}

enum status walk_warm(struct evaluator *e)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < e->schedule->gates; i++) {
        const struct gate *g = &e->schedule->gate[i];
        status = warm_product(e, i);
        if (status == STATUS_OK)
            status = warm_mask(e, i);
        if (status == STATUS_OK && masked_ahead(g))
            join_mask(e, g, e->product[i]);
        if (status == STATUS_OK)
            status = warm_lookup(e, i);
        if (status == STATUS_OK && g->kind == GATE_CHECK)
            status = check_warm(e, i);
    }
    e->warm = status == STATUS_OK;
    return status;
}

/* ---- one gate: shares, then the opening's message ---- */

/* z starts from what was dealt, the client's shares, or nothing. */
static enum status start_product(struct online *o, uint32_t number, size_t n, void **data)
{
    struct evaluator *e = o->e;
    const struct gate *g = &e->schedule->gate[number];
    *data = e->product[number];
    if (*data)
        return STATUS_OK;
    *data = pool_take_zero(n * RING_PRODUCT_BYTES);
    if (!*data)
        return status_fail(STATUS_MEMORY, "out of memory");
    if (g->kind == GATE_INPUT) {
        const struct ring_wide in = o->input[o->inputs++];
        memcpy(wide_view(*data, n).lo, in.lo, n * sizeof *in.lo);
        memcpy(wide_view(*data, n).hi, in.hi, n * sizeof *in.hi);
    } else if (e->clear && gate_walks(g->kind)->fixed) {
        return gate_walks(g->kind)->prepare(e, g, wide_view(*data, n));
    }
    return STATUS_OK;
}

/* Room for m, where z was if that was dealt; the mask is there already, or zero in the fixed-point walk. */
static enum status make_output(struct evaluator *e, const struct gate *g, size_t n)
{
    struct share *out = &e->tensor[g->out];
    void *product = e->product[g - e->schedule->gate];
    out->dealt = product != NULL;
    out->m = product ? product : pool_take(n * sizeof *out->m);
    if (e->clear)
        out->l = pool_take_zero(n * sizeof *out->l);
    return out->m && out->l ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory");
}

/* The table entry that joins after the shift: the whole value of GATE_TABLE, the intercept of a line. */
static enum status after_shift(struct online *o, const struct gate *g, uint64_t **after, size_t n)
{
    *after = NULL;
    if (g->lookup == SCHEDULE_NONE)
        return STATUS_OK;
    *after = pool_take(n * sizeof **after);
    if (!*after)
        return status_fail(STATUS_MEMORY, "out of memory");
    return table_share(o->e, g->lookup, g->table, *after);
}

/* Queues this party's summand of the table index; in the fixed-point walk it is the index. */
static enum status queue_index(struct online *o, uint32_t number, struct ring_wide z)
{
    struct evaluator *e = o->e;
    const uint32_t index = e->schedule->gate[number].index;
    if (index == SCHEDULE_NONE)
        return STATUS_OK;
    const struct lookup *l = &e->schedule->lookup[index];
    uint16_t *d = e->index[index] = calloc(l->count, sizeof *d);
    uint16_t *peer = o->received_index[number] = calloc(l->count, sizeof *peer);
    if (!d || !peer)
        return status_fail(STATUS_MEMORY, "out of memory");
    if (!e->clear)
        label_stream(d, l->count * sizeof *d, &e->seed, &e->label, index, RING_PURPOSE_INDEX);
    opening_index(d, z, l, e->party);
    return e->clear ? STATUS_OK : e->queue(e->context, d, peer, l->count * sizeof *d);
}

enum status evaluator_send(struct evaluator *e, const struct gate *g, size_t at, size_t rows, size_t columns,
                           size_t stride)
{
    if (e->clear)
        return STATUS_OK;
    walk_profile_compute(e->profile, (uint32_t)(g - e->schedule->gate));
    const enum status status =
        e->queue_sum(e->context, (uint64_t *)e->tensor[g->out].m + at, rows, columns, stride);
    walk_profile_wait(e->profile, g->round); /* what was queued may be sealed and sent at once */
    return status;
}

/* One after the other: z, what is made of it, its mask, t, what joins it, and all of it is queued. */
static enum status open_in_steps(struct online *o, uint32_t number, struct ring_wide z, size_t n,
                                 const struct ring_narrow *end)
{
    struct evaluator *e = o->e;
    const struct gate *g = &e->schedule->gate[number];
    uint64_t *after = NULL;
    enum status status = gate_walks(g->kind)->evaluate(e, g, z);
    if (status == STATUS_OK)
        status = queue_index(o, number, z);
    if (status == STATUS_OK && !masked_ahead(g) && !e->clear)
        join_mask(e, g, z.lo);
    if (status == STATUS_OK)
        status = after_shift(o, g, &after, n);
    if (status == STATUS_OK)
        ring_narrow(end, z, n);
    for (size_t i = 0; status == STATUS_OK && after && i < n; i++)
        end->t[i] += after[i];
    pool_give(after, n * sizeof *after);
    return status == STATUS_OK ? evaluator_send(e, g, 0, 1, n, n) : status;
}

static enum status open_product(struct online *o, uint32_t number, struct ring_wide z, size_t n)
{
    struct evaluator *e = o->e;
    const struct gate *g = &e->schedule->gate[number];
    const struct gate_walks *walks = gate_walks(g->kind);
    const struct share *out = &e->tensor[g->out];
    const enum status status = make_output(e, g, n);
    const struct ring_narrow end = opening_end((uint64_t *)out->m, schedule_shift(g), e->party);
    if (status != STATUS_OK)
        return status;
    if (walks->open && masked_ahead(g) && g->lookup == SCHEDULE_NONE)
        return walks->open(e, g, z, &end);
    return open_in_steps(o, number, z, n, &end);
}

static enum status give_output(struct online *o, const struct gate *g, struct ring_wide z, size_t n)
{
    const enum status status = gate_walks(g->kind)->evaluate(o->e, g, z);
    if (status == STATUS_OK)
        opening_output(o->output, z, n, g->shift, o->e->party);
    return status;
}

static enum status open_gate(struct online *o, uint32_t number)
{
    struct evaluator *e = o->e;
    const struct gate *g = &e->schedule->gate[number];
    const size_t n = tensor_size(&e->schedule->tensor[g->out]);
    void *data = NULL;
    enum status status = start_product(o, number, n, &data);
    if (status == STATUS_OK)
        status = g->emits ? open_product(o, number, wide_view(data, n), n)
                          : give_output(o, g, wide_view(data, n), n);
    /* What was dealt waits for evaluator_clear, so that nobody waits for its wiping. */
    if (data != e->product[number])
        pool_give(data, n * RING_PRODUCT_BYTES);
    return status;
}

static enum status local_gate(struct online *o, const struct gate *g)
{
    struct evaluator *e = o->e;
    const struct schedule *s = e->schedule;
    const size_t n = tensor_size(&s->tensor[g->out]);
    const enum status status = make_output(e, g, n);
    return status == STATUS_OK ? gate_walks(g->kind)->local(s, g, e->tensor[g->out].m, e->tensor[g->x].m)
                               : status;
}

/* Queues this party's summand of what tells whether x is in range. The fixed-point walk, for tests, takes what comes. */
static enum status queue_check(struct online *o, const struct gate *g)
{
    struct evaluator *e = o->e;
    struct check_sum *sum = &o->sum[g->check];
    if (e->clear)
        return STATUS_OK;
    sum->own = check_share(e, g);
    return e->queue(e->context, &sum->own, &sum->theirs, sizeof sum->own);
}

/* ---- rounds ---- */

/* d = d_1 + d_2, once the peer's summand is here; m = t_1 + t_2 was added up as it came. */
static void finish_index(struct online *o, uint32_t number)
{
    struct evaluator *e = o->e;
    const uint32_t index = e->schedule->gate[number].index;
    if (!o->received_index[number])
        return;
    const struct lookup *l = &e->schedule->lookup[index];
    for (uint32_t i = 0; i < l->count; i++)
        e->index[index][i] =
            (uint16_t)((e->index[index][i] + o->received_index[number][i]) & ((1u << l->bits) - 1));
    free(o->received_index[number]);
    o->received_index[number] = NULL;
}

static enum status finish_gate(struct online *o, uint32_t number)
{
    const struct gate *g = &o->e->schedule->gate[number];
    finish_index(o, number);
    if (g->kind == GATE_CHECK && !o->e->clear && !check_passes(o->sum[g->check].own, o->sum[g->check].theirs))
        return opening_out_of_range();
    return STATUS_OK;
}

static enum status run_gate(struct online *o, uint32_t number)
{
    const struct gate *g = &o->e->schedule->gate[number];
    const enum status status = g->kind == GATE_CHECK        ? queue_check(o, g)
                               : gate_walks(g->kind)->local ? local_gate(o, g)
                                                            : open_gate(o, number);
    if (status == STATUS_OK || status == STATUS_RANGE)
        return status; /* nothing is added to what opening_out_of_range says */
    return status_prefix(status, "%s: ", o->e->schedule->tensor[g->out].name);
}

/* Public to both evaluators: whether something was opened that no value in range makes. What does not fit says how large the value is, and
 * would be worked on with; so neither goes on. The peer may have noticed first. */
static enum status exchange(struct evaluator *e, uint32_t round, const char *name)
{
    uint64_t spread = 0;
    const enum status status = e->exchange(e->context, round, &spread);
    if (status == STATUS_RANGE || (status == STATUS_OK && spread >> OPENING_BITS))
        return opening_out_of_range();
    return status == STATUS_OK ? STATUS_OK : status_prefix(status, "%s: ", name);
}

static enum status run_rounds(struct online *o)
{
    struct evaluator *e = o->e;
    const struct schedule *s = e->schedule;
    for (uint32_t first = 0, end; first < s->gates; first = end) {
        const uint32_t round = s->gate[first].round;
        bool opens = false;
        for (end = first; end < s->gates && s->gate[end].round == round; end++) {
            const enum status status = run_gate(o, end);
            if (status != STATUS_OK)
                return status;
            walk_profile_compute(e->profile, end);
            opens |= schedule_sends(&s->gate[end]);
        }
        if (opens && !e->clear) {
            const enum status status = exchange(e, round, s->tensor[s->gate[end - 1].out].name);
            if (status != STATUS_OK)
                return status;
            walk_profile_wait(e->profile, round);
        }
        for (uint32_t i = first; i < end; i++) {
            const enum status status = finish_gate(o, i);
            if (status != STATUS_OK)
                return status;
            walk_profile_compute(e->profile, i);
        }
        for (uint32_t i = first; i < end; i++)
            evaluator_release_masked(e, i);
        walk_profile_compute(e->profile, end - 1);
    }
    return STATUS_OK;
}

enum status walk_online(struct evaluator *e, const struct ring_wide *input, uint32_t *output)
{
    struct online o = {.e = e, .input = input, .output = output};
    /* Without the masks that warming joins, or with those of a walk before, an opening would tell what it opens. */
    if (!e->clear && !e->warm)
        return status_fail(STATUS_STATE, "a bundle can be spent once, and only after it was warmed");
    e->warm = false;
    if (!e->clear && e->schedule->checks && !ring_prime_word(e->point))
        return status_fail(STATUS_STATE, "the evaluators have not agreed where to evaluate range checks");
    o.received_index = calloc(e->schedule->gates + 1, sizeof *o.received_index);
    o.sum = calloc(e->schedule->checks + 1, sizeof *o.sum);
    enum status status = o.received_index && o.sum ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory");
    walk_profile_start(e->profile);
    if (status == STATUS_OK)
        status = run_rounds(&o);
    walk_profile_stop(e->profile);
    for (uint32_t i = 0; o.received_index && i < e->schedule->gates; i++)
        free(o.received_index[i]);
    free(o.received_index);
    free(o.sum);
    return status;
}

/* ---- fixed point ---- */

enum status walk_fixed(const struct schedule *s, const struct static_share *weights,
                       const int64_t *const *input, int64_t *output)
{
    struct evaluator e = {.schedule = s, .party = 1, .clear = true, .weight = weights};
    struct ring_wide *wide = calloc(s->gates, sizeof *wide);
    uint32_t inputs = 0, labels = 0;
    enum status status = wide ? evaluator_init(&e) : status_fail(STATUS_MEMORY, "out of memory");
    for (uint32_t i = 0; status == STATUS_OK && i < s->gates; i++) {
        const size_t n = tensor_size(&s->tensor[s->gate[i].out]);
        if (s->gate[i].kind == GATE_OUTPUT)
            labels = (uint32_t)n;
        if (s->gate[i].kind != GATE_INPUT)
            continue;
        void *data = pool_take(n * RING_PRODUCT_BYTES);
        if (!data) {
            status = status_fail(STATUS_MEMORY, "out of memory");
            break;
        }
        wide[inputs] = wide_view(data, n);
        for (size_t j = 0; j < n; j++)
            ring_wide_set(wide[inputs], j, (ring_u128)(ring_i128)input[inputs][j]);
        inputs++;
    }
    uint32_t *shares = calloc(labels ? labels : 1, sizeof *shares);
    if (status == STATUS_OK && !shares)
        status = status_fail(STATUS_MEMORY, "out of memory");
    if (status == STATUS_OK)
        status = walk_online(&e, wide, shares);
    for (uint32_t i = 0; status == STATUS_OK && i < labels; i++)
        output[i] = (int32_t)shares[i];
    for (uint32_t i = 0, number = 0; i < s->gates && number < inputs; i++)
        if (s->gate[i].kind == GATE_INPUT)
            pool_give(wide[number++].lo, tensor_size(&s->tensor[s->gate[i].out]) * RING_PRODUCT_BYTES);
    free(wide);
    free(shares);
    evaluator_clear(&e);
    return status;
}
