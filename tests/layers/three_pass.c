#include "tests/layers/three_pass.h"

#include <stdlib.h>
#include <string.h>

#include "ring/pool.h"

enum status three_emit(void *context, int party, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct three *t = context;
    struct three_part *slot = &t->party[party].dealt[gate][part];
    ck_assert_ptr_null(slot->data);
    *slot = (struct three_part){data, bytes};
    t->party[party].dealt_bytes[gate][part] = bytes;
    return STATUS_OK;
}

/* A part can be had once. */
static enum status take(struct three_part *slot, void *data, size_t bytes)
{
    if (!slot->data || slot->bytes != bytes)
        return status_fail(STATUS_PEER, "%zu bytes are there instead of %zu", slot->data ? slot->bytes : 0,
                           bytes);
    memcpy(data, slot->data, bytes);
    pool_give(slot->data, bytes);
    slot->data = NULL;
    return STATUS_OK;
}

static enum status receive(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct three_party *p = context;
    return take(&p->dealt[gate][part], data, bytes);
}

static enum status keep(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct three_party *p = context;
    struct three_part *slot = &p->kept[gate][part];
    if (slot->data) {
        pool_give(data, bytes);
        return status_fail(STATUS_STATE, "part %d of gate %u is kept twice", (int)part, gate);
    }
    *slot = (struct three_part){data, bytes};
    p->kept_bytes[gate][part] = bytes;
    return STATUS_OK;
}

static enum status load(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct three_party *p = context;
    return take(&p->kept[gate][part], data, bytes);
}

static void put(struct three_party *p, struct three_queued one)
{
    if (p->queued == p->capacity) {
        p->capacity = 2 * p->capacity + 64;
        p->queue = realloc(p->queue, p->capacity * sizeof *p->queue);
        ck_must(p->queue, "out of memory");
    }
    p->queue[p->queued++] = one;
}

static enum status queue(void *context, const void *send, void *data, size_t bytes)
{
    put(context, (struct three_queued){send, data, bytes, NULL});
    return STATUS_OK;
}

static enum status queue_sum(void *context, uint64_t *values, size_t rows, size_t columns, size_t stride)
{
    struct three_party *p = context;
    const size_t bytes = rows * columns * sizeof *values;
    p->largest = bytes > p->largest ? bytes : p->largest;
    for (size_t row = 0; row < rows; row++, values += stride)
        put(p, (struct three_queued){values, values, columns * sizeof *values, values});
    return STATUS_OK;
}

/* What P1 made of what P2 sent, spoiled. */
static void spoil(const struct three *t, struct three_queued *q)
{
    for (size_t j = 0; q->sum && j < q->bytes / sizeof *q->sum; j++) {
        const uint64_t word = three_word();
        if (t->hostile == 3)
            q->sum[j] = ((uint64_t)1 << 63) - (word & 1);
        else
            q->sum[j] += word >> (t->hostile == 1 ? 24 : 2);
    }
    if (!q->sum)
        three_bytes(q->receive, q->bytes);
}

/* Both wait here, so whoever comes second may copy for both. */
static enum status swap(struct three *t, uint32_t round, uint64_t *spread)
{
    struct three_party *a = &t->party[1], *b = &t->party[2];
    if (a->queued != b->queued)
        return status_fail(STATUS_PEER, "round %u: %zu messages against %zu", round, a->queued, b->queued);
    for (size_t i = 0; i < a->queued; i++) {
        if (a->queue[i].bytes != b->queue[i].bytes)
            return status_fail(STATUS_PEER, "round %u: message %zu differs in length", round, i);
        uint64_t *sum = a->queue[i].sum;
        for (size_t j = 0; sum && j < a->queue[i].bytes / sizeof *sum; j++) {
            b->queue[i].sum[j] = sum[j] += b->queue[i].sum[j];
            *spread |= sum[j] ^ sum[j] << 1;
        }
        if (!sum) {
            memcpy(a->queue[i].receive, b->queue[i].send, b->queue[i].bytes);
            memcpy(b->queue[i].receive, a->queue[i].send, a->queue[i].bytes);
        }
        if (t->hostile > 0)
            spoil(t, &a->queue[i]);
        a->round_sent[round] += a->queue[i].bytes;
        b->round_sent[round] += b->queue[i].bytes;
    }
    return STATUS_OK;
}

static enum status exchange(void *context, uint32_t round, uint64_t *spread)
{
    struct three_party *p = context;
    struct three *t = p->three;
    enum status status = STATUS_OK;
    pthread_mutex_lock(&t->lock);
    p->arrived = true;
    if (t->party[3 - p->number].arrived) {
        uint64_t wide = 0;
        status = swap(t, round, &wide);
        for (int i = 1; i < 3; i++) {
            t->party[i].arrived = false;
            t->party[i].spread = t->hostile > 0 ? 0 : wide;
            t->party[i].queued = 0;
            t->party[i].round_part[round] = t->party[i].largest;
            t->party[i].largest = 0;
            t->party[i].rounds++;
        }
        t->generation++;
        pthread_cond_broadcast(&t->change);
    } else {
        const uint32_t generation = t->generation;
        while (t->generation == generation && !t->ended)
            pthread_cond_wait(&t->change, &t->lock);
        if (t->generation == generation)
            status = status_fail(STATUS_STOPPED, "the other evaluator ended before round %u", round);
    }
    *spread = p->spread;
    pthread_mutex_unlock(&t->lock);
    return status;
}

void three_connect(struct three_party *p, struct ring_seed seed)
{
    p->evaluator = (struct evaluator){.schedule = &p->three->schedule,
                                      .party = p->number,
                                      .weight = p->three->share[p->number],
                                      .seed = seed,
                                      .point = 0x5eed5eed5eed5eed,
                                      .receive = receive,
                                      .keep = keep,
                                      .load = load,
                                      .queue = queue,
                                      .queue_sum = queue_sum,
                                      .exchange = exchange,
                                      .context = p};
}
