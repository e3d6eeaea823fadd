/* The offline walks: P0 deals (needs no input), P1 and P2 turn what is dealt into what they will spend. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gate_check.h"
#include "layers/gates.h"
#include "layers/wide_array.h"
#include "preprocessing/dpf.h"
#include "ring/clones.h"
#include "ring/parameters.h"
#include "ring/pool.h"

/* Every mask a tensor needs, from its stream. */
static int64_t *stream_masks(const struct ring_seed *seed, const struct bundle_label *label, uint32_t tensor,
                             size_t n)
{
    int64_t *l = pool_take(n * sizeof *l);
    struct ring_seed key;
    if (!l)
        return NULL;
    ring_stream_key(&key, seed, label->data, label->bytes, tensor, RING_PURPOSE_MASK);
    ring_stream_masks(l, n, &key, 0);
    sodium_memzero(&key, sizeof key);
    return l;
}

static void wipe(void *data, size_t bytes)
{
    if (data)
        sodium_memzero(data, bytes);
    free(data);
}

/* ---- which masks the offline walk of an evaluator reads: those of static gates' inputs ---- */

static bool *masks_needed(const struct schedule *s)
{
    bool *needed = calloc(s->tensors, sizeof *needed);
    for (uint32_t i = s->gates; needed && i-- > 0;) {
        const struct gate *g = &s->gate[i];
        const struct gate_walks *walks = gate_walks(g->kind);
        if (walks->fixed || (walks->local && needed[g->out]))
            needed[g->x] = true;
        if (walks->fixed && g->add != SCHEDULE_NONE)
            needed[g->add] = true;
    }
    return needed;
}

/* ---- P0 ---- */

static void release_masks(struct dealer *d, uint32_t tensor)
{
    const size_t bytes = tensor_size(&d->schedule->tensor[tensor]) * sizeof(int64_t);
    pool_give(d->tensor[tensor].l1, bytes);
    pool_give(d->tensor[tensor].l2, bytes);
    d->tensor[tensor] = (struct masks){NULL, NULL};
}

/* Masks of the output: drawn for an opening, mapped for a local gate. */
static enum status make_masks(struct dealer *d, const struct gate *g)
{
    const struct schedule *s = d->schedule;
    const size_t n = tensor_size(&s->tensor[g->out]);
    struct masks *out = &d->tensor[g->out];
    if (g->emits) {
        out->l1 = stream_masks(&d->seed1, &d->label, g->out, n);
        out->l2 = stream_masks(&d->seed2, &d->label, g->out, n);
        if (out->l1 && out->l2)
            return STATUS_OK;
        return status_fail(STATUS_MEMORY, "out of memory while dealing %s", s->tensor[g->out].name);
    }
    if (!gate_walks(g->kind)->local)
        return STATUS_OK;
    out->l1 = pool_take(n * sizeof *out->l1);
    out->l2 = pool_take(n * sizeof *out->l2);
    if (!out->l1 || !out->l2)
        return status_fail(STATUS_MEMORY, "out of memory while dealing %s", s->tensor[g->out].name);
    const enum status status = gate_walks(g->kind)->local(s, g, out->l1, d->tensor[g->x].l1);
    return status == STATUS_OK ? gate_walks(g->kind)->local(s, g, out->l2, d->tensor[g->x].l2) : status;
}

/* a = -a, modulo 2^80. */
RING_CLONES static void negate(uint64_t *restrict lo, uint16_t *restrict hi, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hi[i] = (uint16_t)(-hi[i] - (lo[i] != 0));
        lo[i] = -lo[i];
    }
}

/* g_2 = what the gate deals (l_x l_y, of most) - g_1, where g_1 is the stream that P0 and P1 make alike. */
static enum status deal_product(struct dealer *d, uint32_t number)
{
    const struct gate *g = &d->schedule->gate[number];
    const size_t n = tensor_size(&d->schedule->tensor[g->out]), bytes = n * RING_PRODUCT_BYTES;
    void *data = pool_take(bytes);
    struct ring_seed key;
    if (!data)
        return status_fail(STATUS_MEMORY, "out of memory while dealing");
    ring_stream_key(&key, &d->seed1, d->label.data, d->label.bytes, number, RING_PURPOSE_PRODUCT);
    ring_stream_wide(wide_view(data, n), n, &key);
    sodium_memzero(&key, sizeof key);
    negate(wide_view(data, n).lo, wide_view(data, n).hi, n);
    const enum status status = gate_walks(g->kind)->deal(d, g, wide_view(data, n));
    if (status == STATUS_OK)
        return d->emit(d->context, 2, number, PART_PRODUCT, data, bytes);
    pool_give(data, bytes);
    return status;
}

static enum status deal_keys(struct dealer *d, uint32_t number)
{
    const uint32_t index = d->schedule->gate[number].index;
    const struct lookup *l = &d->schedule->lookup[index];
    const size_t seeds = (size_t)l->count * DPF_SEED_BYTES, keys = l->count * dpf_key_bytes(l->bits);
    uint16_t *rho1 = malloc(l->count * sizeof *rho1), *rho2 = malloc(l->count * sizeof *rho2);
    unsigned char *root1 = malloc(seeds), *root2 = malloc(seeds), *out = pool_take(keys),
                  *copy = pool_take(keys);
    enum status status = STATUS_OK;
    if (!rho1 || !rho2 || !root1 || !root2 || !out || !copy)
        status = status_fail(STATUS_MEMORY, "out of memory while dealing table keys");
    if (status == STATUS_OK) {
        label_stream(rho1, l->count * sizeof *rho1, &d->seed1, &d->label, index, RING_PURPOSE_INDEX);
        label_stream(rho2, l->count * sizeof *rho2, &d->seed2, &d->label, index, RING_PURPOSE_INDEX);
        label_stream(root1, seeds, &d->seed1, &d->label, index, RING_PURPOSE_ROOT);
        label_stream(root2, seeds, &d->seed2, &d->label, index, RING_PURPOSE_ROOT);
        for (uint32_t i = 0; i < l->count; i++)
            rho1[i] = (uint16_t)((rho1[i] + rho2[i]) & ((1u << l->bits) - 1));
        status = dpf_deal(out, l->bits, l->count, rho1, root1, root2);
    }
    if (status == STATUS_OK) {
        memcpy(copy, out, keys);
        status = d->emit(d->context, 1, number, PART_KEYS, out, keys);
        out = NULL;
        if (status == STATUS_OK) {
            status = d->emit(d->context, 2, number, PART_KEYS, copy, keys);
            copy = NULL;
        }
    }
    wipe(rho1, l->count * sizeof *rho1);
    wipe(rho2, l->count * sizeof *rho2);
    wipe(root1, seeds);
    wipe(root2, seeds);
    pool_give(out, keys);
    pool_give(copy, keys);
    return status;
}

enum status walk_deal(struct dealer *d)
{
    const struct schedule *s = d->schedule;
    enum status status = STATUS_OK;
    d->tensor = calloc(s->tensors, sizeof *d->tensor);
    if (!d->tensor)
        return status_fail(STATUS_MEMORY, "out of memory while dealing");
    for (uint32_t i = 0; status == STATUS_OK && i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        status = make_masks(d, g);
        if (status == STATUS_OK && gate_walks(g->kind)->product)
            status = deal_product(d, i);
        if (status == STATUS_OK && g->index != SCHEDULE_NONE)
            status = deal_keys(d, i);
        if (status == STATUS_OK && g->kind == GATE_CHECK)
            status = check_deal(d, i);
        const uint32_t touched[4] = {g->x, g->y, g->add, g->out};
        for (int t = 0; t < 4; t++)
            if (touched[t] != SCHEDULE_NONE && s->tensor[touched[t]].last_gate <= i)
                release_masks(d, touched[t]);
        if (status != STATUS_OK)
            status = status_prefix(status, "dealing %s: ", s->tensor[g->out].name);
    }
    for (uint32_t i = 0; i < s->tensors; i++)
        release_masks(d, i);
    free(d->tensor);
    d->tensor = NULL;
    return status;
}

/* ---- P1 and P2 ---- */

static enum status prepare_masks(struct evaluator *e, const struct gate *g)
{
    const struct schedule *s = e->schedule;
    const size_t n = tensor_size(&s->tensor[g->out]);
    int64_t **l = &e->tensor[g->out].l;
    if (g->emits) {
        *l = stream_masks(&e->seed, &e->label, g->out, n);
        return *l ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory");
    }
    if (!gate_walks(g->kind)->local)
        return STATUS_OK;
    *l = pool_take(n * sizeof **l);
    if (!*l)
        return status_fail(STATUS_MEMORY, "out of memory");
    return gate_walks(g->kind)->local(s, g, *l, e->tensor[g->x].l);
}

/* This party's dealt share g_i: P1 makes it, P2 receives it. */
static enum status dealt_share(struct evaluator *e, uint32_t number, void *data, size_t n)
{
    if (e->party == 2)
        return e->receive(e->context, number, PART_PRODUCT, data, n * RING_PRODUCT_BYTES);
    evaluator_stream_product(e, number, data, n);
    return STATUS_OK;
}

static enum status prepare_product(struct evaluator *e, uint32_t number)
{
    const struct gate *g = &e->schedule->gate[number];
    const struct gate_walks *walks = gate_walks(g->kind);
    const size_t n = tensor_size(&e->schedule->tensor[g->out]);
    if (e->party == 1 && !walks->fixed)
        return STATUS_OK; /* made again online, from the stream */
    void *data = pool_take(n * RING_PRODUCT_BYTES);
    if (!data)
        return status_fail(STATUS_MEMORY, "out of memory");
    enum status status = dealt_share(e, number, data, n);
    if (status == STATUS_OK && walks->fixed)
        status = walks->prepare(e, g, wide_view(data, n));
    if (status == STATUS_OK)
        return e->keep(e->context, number, PART_PRODUCT, data, n * RING_PRODUCT_BYTES);
    pool_give(data, n * RING_PRODUCT_BYTES);
    return status;
}

static enum status prepare_keys(struct evaluator *e, uint32_t number)
{
    const struct lookup *l = &e->schedule->lookup[e->schedule->gate[number].index];
    const size_t bytes = l->count * dpf_key_bytes(l->bits);
    void *keys = pool_take(bytes);
    if (!keys)
        return status_fail(STATUS_MEMORY, "out of memory");
    const enum status status = e->receive(e->context, number, PART_KEYS, keys, bytes);
    if (status == STATUS_OK)
        return e->keep(e->context, number, PART_KEYS, keys, bytes);
    pool_give(keys, bytes);
    return status;
}

enum status walk_prepare(struct evaluator *e)
{
    const struct schedule *s = e->schedule;
    bool *needed = masks_needed(s);
    enum status status = needed ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory");
    for (uint32_t i = 0; status == STATUS_OK && i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        if (needed[g->out])
            status = prepare_masks(e, g);
        if (status == STATUS_OK && gate_walks(g->kind)->product)
            status = prepare_product(e, i);
        if (status == STATUS_OK && g->index != SCHEDULE_NONE)
            status = prepare_keys(e, i);
        if (status == STATUS_OK && g->kind == GATE_CHECK)
            status = check_prepare(e, i);
        evaluator_release(e, i);
        if (status != STATUS_OK)
            status = status_prefix(status, "preparing %s: ", s->tensor[g->out].name);
    }
    free(needed);
    return status;
}
