/* The life of an evaluator's walk state. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gate_check.h"
#include "layers/gate_table.h"
#include "layers/gates.h"
#include "layers/wide_array.h"
#include "ring/parameters.h"
#include "ring/pool.h"

enum status evaluator_init(struct evaluator *e)
{
    const struct schedule *s = e->schedule;
    e->tensor = calloc(s->tensors + 1, sizeof *e->tensor);
    e->product = calloc(s->gates + 1, sizeof *e->product);
    e->key = calloc(s->lookups + 1, sizeof *e->key);
    e->entry = calloc(s->lookups + 1, sizeof *e->entry);
    e->index = calloc(s->lookups + 1, sizeof *e->index);
    e->check = calloc(s->checks + 1, sizeof *e->check);
    if (e->tensor && e->product && e->key && e->entry && e->index && e->check)
        return STATUS_OK;
    return status_fail(STATUS_MEMORY, "out of memory for a schedule of %u gates", s->gates);
}

/* m is masked by l_1 and l_2, of which no party has both; without them it tells nothing. */
static void release_masked(struct evaluator *e, uint32_t tensor)
{
    struct share *share = &e->tensor[tensor];
    if (!share->dealt)
        pool_give_public(share->m, tensor_size(&e->schedule->tensor[tensor]) * sizeof(int64_t));
    share->m = NULL;
}

static void release_tensor(struct evaluator *e, uint32_t tensor)
{
    release_masked(e, tensor);
    pool_give(e->tensor[tensor].l, tensor_size(&e->schedule->tensor[tensor]) * sizeof(int64_t));
    e->tensor[tensor].l = NULL;
}

static void release_last_read(struct evaluator *e, uint32_t gate,
                              void (*release)(struct evaluator *, uint32_t tensor))
{
    const struct gate *g = &e->schedule->gate[gate];
    const uint32_t touched[4] = {g->x, g->y, g->add, g->out};
    for (int t = 0; t < 4; t++)
        if (touched[t] != SCHEDULE_NONE && e->schedule->tensor[touched[t]].last_gate <= gate)
            release(e, touched[t]);
}

void evaluator_release(struct evaluator *e, uint32_t gate)
{
    release_last_read(e, gate, release_tensor);
}

void evaluator_release_masked(struct evaluator *e, uint32_t gate)
{
    release_last_read(e, gate, release_masked);
}

void evaluator_clear(struct evaluator *e)
{
    const struct schedule *s = e->schedule;
    for (uint32_t i = 0; e->tensor && i < s->tensors; i++)
        release_tensor(e, i);
    for (uint32_t i = 0; e->product && i < s->gates; i++)
        pool_give(e->product[i], tensor_size(&s->tensor[s->gate[i].out]) * RING_PRODUCT_BYTES);
    for (uint32_t i = 0; i < s->lookups; i++) {
        const struct lookup *l = &s->lookup[i];
        if (e->key)
            pool_give(e->key[i], table_seed_bytes(l) + table_key_bytes(l));
        if (e->entry)
            pool_give(e->entry[i], (size_t)l->tables * l->count * sizeof(uint64_t));
        if (e->index)
            free(e->index[i]);
    }
    for (uint32_t i = 0; e->check && i < s->checks; i++)
        pool_give(e->check[i], check_share_bytes(&s->check[i]));
    free(e->tensor);
    free(e->product);
    free(e->key);
    free(e->entry);
    free(e->index);
    free(e->check);
    sodium_memzero(&e->seed, sizeof e->seed);
    sodium_memzero(&e->point, sizeof e->point);
    e->tensor = NULL;
    e->product = NULL;
    e->key = NULL;
    e->entry = NULL;
    e->index = NULL;
    e->check = NULL;
}

void label_stream(void *out, size_t bytes, const struct ring_seed *secret, const struct bundle_label *label, uint32_t object,
                  enum ring_purpose purpose)
{
    struct ring_seed key;
    ring_stream_key(&key, secret, label->data, label->bytes, object, purpose);
    ring_stream_bytes(out, bytes, &key, 0);
    sodium_memzero(&key, sizeof key);
}

void evaluator_stream_product(const struct evaluator *e, uint32_t gate, void *data, size_t n)
{
    struct ring_seed key;
    ring_stream_key(&key, &e->seed, e->label.data, e->label.bytes, gate, RING_PURPOSE_PRODUCT);
    ring_stream_wide(wide_view(data, n), n, &key);
    sodium_memzero(&key, sizeof key);
}
