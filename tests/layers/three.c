#include "tests/layers/three.h"
#include "tests/layers/three_pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/gates.h"
#include "layers/wide_array.h"
#include "ring/parameters.h"
#include "ring/pool.h"
#include "ring/threads.h"

static void *zeroed(size_t n, size_t size)
{
    void *data = calloc(n ? n : 1, size);
    ck_assert_ptr_nonnull(data);
    return data;
}

/* ---- weights ---- */

static struct ring_gemm_matrix *packed(const struct weight *w, const int64_t *value)
{
    struct ring_gemm_matrix *out = NULL;
    ck_ok(ring_gemm_pack_masked(&out, RING_GEMM_AUTO, w->rows, w->cols, value, w->rows, true, false));
    return out;
}

static int64_t *combined(size_t n, int64_t a, const int64_t *x, int64_t b, const int64_t *y)
{
    int64_t *out = zeroed(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = a * x[i] + b * y[i];
    return out;
}

static void share_matrix(struct three *t, uint32_t i, const int64_t *m, const int64_t *l1, const int64_t *l2)
{
    const struct weight *w = &t->schedule.weight[i];
    const size_t n = weight_size(w);
    int64_t *own1 = combined(n, 1, m, -1, l1), *own2 = combined(n, 0, m, -1, l2);
    int64_t *minus = combined(n, -1, m, 0, m), *mask = combined(n, 1, l1, 1, l2);
    t->share[0][i].online = packed(w, t->weight[i]);
    t->share[1][i].online = packed(w, own1);
    t->share[2][i].online = packed(w, own2);
    t->share[1][i].offline = packed(w, minus);
    t->share[2][i].offline = packed(w, minus);
    t->dealer[i].matrix = packed(w, mask);
    free(own1);
    free(own2);
    free(minus);
    free(mask);
}

static void share_vector(struct three *t, uint32_t i, const int64_t *m, const int64_t *l1, const int64_t *l2)
{
    const size_t n = weight_size(&t->schedule.weight[i]);
    t->share[0][i].m = combined(n, 1, t->weight[i], 0, m);
    t->share[0][i].l = zeroed(n, sizeof(int64_t));
    t->share[1][i].m = combined(n, 1, m, 0, m);
    t->share[2][i].m = combined(n, 1, m, 0, m);
    t->share[1][i].l = combined(n, 1, l1, 0, l1);
    t->share[2][i].l = combined(n, 1, l2, 0, l2);
    t->dealer[i].vector = combined(n, 1, l1, 1, l2);
}

static void share_weight(struct three *t, uint32_t i)
{
    const size_t n = weight_size(&t->schedule.weight[i]);
    int64_t *l1 = zeroed(n, sizeof *l1), *l2 = zeroed(n, sizeof *l2), *m = zeroed(n, sizeof *m);
    struct ring_seed key;
    three_bytes(&key, sizeof key);
    ring_stream_masks(l1, n, &key, 0);
    three_bytes(&key, sizeof key);
    ring_stream_masks(l2, n, &key, 0);
    for (size_t j = 0; j < n; j++) {
        ck_must(llabs(t->weight[i][j]) < RING_RANGE, "%s: a weight is out of range",
                t->schedule.weight[i].name);
        m[j] = t->weight[i][j] + l1[j] + l2[j];
    }
    if (t->schedule.weight[i].kind == WEIGHT_MATRIX)
        share_matrix(t, i, m, l1, l2);
    else
        share_vector(t, i, m, l1, l2);
    free(l1);
    free(l2);
    free(m);
}

/* ---- life ---- */

static struct schedule with_lasting_tensors(const struct schedule *s)
{
    struct schedule copy = *s;
    copy.tensor = zeroed(s->tensors, sizeof *copy.tensor);
    for (uint32_t i = 0; i < s->tensors; i++) {
        copy.tensor[i] = s->tensor[i];
        copy.tensor[i].last_gate = UINT32_MAX;
    }
    return copy;
}

void three_open(struct three *t, const struct schedule *s, const int64_t *const *weight)
{
    memset(t, 0, sizeof *t);
    ck_assert_int_ge(sodium_init(), 0);
    threads_set(1); /* the parties are threads already */
    t->schedule = with_lasting_tensors(s);
    t->weight = zeroed(s->weights, sizeof *t->weight);
    for (uint32_t i = 0; i < s->weights; i++)
        t->weight[i] = weight[i];
    for (int p = 0; p < 3; p++)
        t->share[p] = zeroed(s->weights, sizeof *t->share[p]);
    t->dealer = zeroed(s->weights, sizeof *t->dealer);
    for (uint32_t i = 0; i < s->weights; i++)
        share_weight(t, i);
    t->clear = zeroed(s->tensors, sizeof *t->clear);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->change, NULL);
    for (int p = 1; p < 3; p++) {
        struct three_party *q = &t->party[p];
        q->three = t;
        q->number = p;
        q->dealt = zeroed(s->gates, sizeof *q->dealt);
        q->kept = zeroed(s->gates, sizeof *q->kept);
        q->dealt_bytes = zeroed(s->gates, sizeof *q->dealt_bytes);
        q->kept_bytes = zeroed(s->gates, sizeof *q->kept_bytes);
        q->round_sent = zeroed(s->rounds + 1, sizeof *q->round_sent);
        q->round_part = zeroed(s->rounds + 1, sizeof *q->round_part);
    }
}

static void drop_parts(struct three_part (*part)[PARTS], size_t (*bytes)[PARTS], uint32_t gates)
{
    for (uint32_t i = 0; i < gates; i++)
        for (int k = 0; k < PARTS; k++) {
            pool_give(part[i][k].data, part[i][k].bytes);
            part[i][k] = (struct three_part){NULL, 0};
            bytes[i][k] = 0;
        }
}

/* What is left of the last bundle and of the last walks. */
static void clear_bundle(struct three *t)
{
    for (int p = 1; p < 3; p++) {
        struct three_party *q = &t->party[p];
        if (q->evaluator.schedule)
            evaluator_clear(&q->evaluator);
        memset(&q->evaluator, 0, sizeof q->evaluator);
        drop_parts(q->dealt, q->dealt_bytes, t->schedule.gates);
        drop_parts(q->kept, q->kept_bytes, t->schedule.gates);
    }
}

static void clear_fixed(struct three *t)
{
    if (t->fixed.schedule)
        evaluator_clear(&t->fixed);
    memset(&t->fixed, 0, sizeof t->fixed);
}

static void clear_clear(struct three *t)
{
    for (uint32_t i = 0; i < t->schedule.tensors; i++) {
        free(t->clear[i]);
        t->clear[i] = NULL;
    }
}

void three_close(struct three *t)
{
    clear_bundle(t);
    clear_fixed(t);
    clear_clear(t);
    free(t->clear);
    for (int p = 1; p < 3; p++) {
        struct three_party *q = &t->party[p];
        free(q->dealt);
        free(q->kept);
        free(q->dealt_bytes);
        free(q->kept_bytes);
        free(q->queue);
        free(q->round_sent);
        free(q->round_part);
    }
    for (int p = 0; p < 3; p++) {
        for (uint32_t i = 0; i < t->schedule.weights; i++) {
            ring_gemm_close(&t->share[p][i].online);
            ring_gemm_close(&t->share[p][i].offline);
            free(t->share[p][i].m);
            free(t->share[p][i].l);
        }
        free(t->share[p]);
    }
    for (uint32_t i = 0; i < t->schedule.weights; i++) {
        ring_gemm_close(&t->dealer[i].matrix);
        free(t->dealer[i].vector);
    }
    free(t->dealer);
    free(t->weight);
    free(t->schedule.tensor);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->change);
}

/* ---- offline ---- */

/* Thirty-two bytes that name the bundle. */
struct label {
    uint64_t word[4];
};

static struct label label_of(const struct three *t)
{
    struct label label = {{t->serial, ~t->serial, 7, 11}};
    return label;
}

void three_deal(struct three *t)
{
    clear_bundle(t);
    t->serial++;
    const struct label label = label_of(t);
    struct dealer dealer = {.schedule = &t->schedule, .weight = t->dealer, .emit = three_emit, .context = t};
    dealer.label = (struct bundle_label){&label, sizeof label};
    three_bytes(&dealer.seed1, sizeof dealer.seed1);
    three_bytes(&dealer.seed2, sizeof dealer.seed2);
    for (int p = 1; p < 3; p++)
        three_connect(&t->party[p], p == 1 ? dealer.seed1 : dealer.seed2);
    ck_ok(walk_deal(&dealer));
}

/* The evaluators' state does not outlive a phase: offline and online are different times in a real party. */
static void renew(struct three_party *p, const struct label *label)
{
    struct evaluator *e = &p->evaluator;
    const struct ring_seed seed = e->seed;
    const uint64_t point = e->point;
    evaluator_clear(e);
    e->seed = seed;
    e->point = point;
    e->label = (struct bundle_label){label, sizeof *label};
    ck_ok(evaluator_init(e));
}

void three_prepare(struct three *t)
{
    const struct label label = label_of(t);
    for (int p = 1; p < 3; p++) {
        renew(&t->party[p], &label);
        ck_ok(walk_prepare(&t->party[p].evaluator));
        for (uint32_t i = 0; i < t->schedule.gates; i++)
            for (int k = 0; k < PARTS; k++)
                ck_assert_msg(!t->party[p].dealt[i][k].data, "gate %u: dealt, but not received", i);
    }
}

void three_offline(struct three *t)
{
    three_deal(t);
    three_prepare(t);
}

/* ---- online ---- */

static void *run_party(void *context)
{
    struct three_party *p = context;
    threads_set(1);
    p->status = walk_online(&p->evaluator, p->input, p->output);
    if (p->status != STATUS_OK)
        status_copy(p->message, sizeof p->message);
    pthread_mutex_lock(&p->three->lock);
    p->three->ended = true;
    pthread_cond_broadcast(&p->three->change);
    pthread_mutex_unlock(&p->three->lock);
    return NULL;
}

static size_t outputs(const struct schedule *s)
{
    for (uint32_t i = 0; i < s->gates; i++)
        if (s->gate[i].kind == GATE_OUTPUT)
            return tensor_size(&s->tensor[s->gate[i].out]);
    return 0;
}

/* The client: additive shares modulo 2^80 of every input. */
static void share_input(const struct schedule *s, const int64_t *const *input, struct ring_wide *one,
                        struct ring_wide *two)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < s->gates; i++) {
        if (s->gate[i].kind != GATE_INPUT)
            continue;
        const size_t n = tensor_size(&s->tensor[s->gate[i].out]);
        one[k] = wide_view(zeroed(n, RING_PRODUCT_BYTES), n);
        two[k] = wide_view(zeroed(n, RING_PRODUCT_BYTES), n);
        three_bytes(one[k].lo, n * RING_PRODUCT_BYTES);
        for (size_t j = 0; j < n; j++)
            ring_wide_set(two[k], j, (ring_u128)(ring_i128)input[k][j] - ring_wide_get(one[k], j));
        k++;
    }
}

static void run_both(struct three *t)
{
    pthread_t thread[3];
    t->ended = false;
    for (int p = 1; p < 3; p++) {
        t->party[p].queued = t->party[p].largest = 0;
        t->party[p].arrived = false;
    }
    for (int p = 1; p < 3; p++) {
        t->party[p].rounds = 0;
        memset(t->party[p].round_sent, 0, (t->schedule.rounds + 1) * sizeof(uint64_t));
        ck_assert_int_eq(pthread_create(&thread[p], NULL, run_party, &t->party[p]), 0);
    }
    for (int p = 1; p < 3; p++)
        pthread_join(thread[p], NULL);
    for (int p = 1; p < 3; p++) {
        ck_assert_msg(t->hostile || t->party[p].status == STATUS_OK, "P%d: %s", p, t->party[p].message);
        t->party[p].sent = 0;
        for (uint32_t r = 0; r < t->schedule.rounds; r++)
            t->party[p].sent += t->party[p].round_sent[r];
    }
}

void three_online(struct three *t, const int64_t *const *input, int64_t *output)
{
    const size_t n = outputs(&t->schedule);
    const struct label label = label_of(t);
    struct ring_wide *share[3] = {NULL};
    for (int p = 1; p < 3; p++) {
        renew(&t->party[p], &label);
        ck_ok(walk_warm(&t->party[p].evaluator));
        share[p] = zeroed(t->schedule.gates, sizeof *share[p]);
        t->party[p].input = share[p];
        t->party[p].output = zeroed(n, sizeof(uint32_t));
    }
    share_input(&t->schedule, input, share[1], share[2]);
    run_both(t);
    for (size_t i = 0; i < n; i++)
        output[i] = (int32_t)(t->party[1].output[i] + t->party[2].output[i]);
    for (int p = 1; p < 3; p++) {
        for (uint32_t i = 0; share[p][i].lo; i++)
            free(share[p][i].lo);
        free(share[p]);
        free(t->party[p].output);
    }
}

enum status three_online_hostile(struct three *t, const int64_t *const *input, int hostile)
{
    int64_t output[1024];
    ck_assert_uint_le(outputs(&t->schedule), 1024);
    t->hostile = hostile;
    three_online(t, input, output);
    t->hostile = 0;
    return t->party[1].status;
}

/* ---- the other walks ---- */

void three_fixed(struct three *t, const int64_t *const *input, int64_t *output)
{
    const size_t n = outputs(&t->schedule);
    struct ring_wide *wide = zeroed(t->schedule.gates, sizeof *wide);
    uint32_t *out = zeroed(n, sizeof *out), k = 0;
    for (uint32_t i = 0; i < t->schedule.gates; i++) {
        if (t->schedule.gate[i].kind != GATE_INPUT)
            continue;
        const size_t size = tensor_size(&t->schedule.tensor[t->schedule.gate[i].out]);
        wide[k] = wide_view(zeroed(size, RING_PRODUCT_BYTES), size);
        for (size_t j = 0; j < size; j++)
            ring_wide_set(wide[k], j, (ring_u128)(ring_i128)input[k][j]);
        k++;
    }
    clear_fixed(t);
    t->fixed = (struct evaluator){.schedule = &t->schedule, .party = 1, .clear = true, .weight = t->share[0]};
    ck_ok(evaluator_init(&t->fixed));
    ck_ok(walk_online(&t->fixed, wide, out));
    for (size_t i = 0; i < n; i++)
        output[i] = (int32_t)out[i];
    while (k--)
        free(wide[k].lo);
    free(wide);
    free(out);
}

static void real_weight(const struct three *t, uint32_t i, struct folded *out)
{
    const struct weight *w = &t->schedule.weight[i];
    float *value = folded_next(out, weight_size(w));
    ck_assert_ptr_nonnull(value);
    for (size_t j = 0; j < weight_size(w); j++)
        value[j] = (float)ldexp((double)t->weight[i][j], -w->frac);
}

void three_clear(struct three *t, const int64_t *const *input, double *output)
{
    const struct schedule *s = &t->schedule;
    struct folded folded = {0};
    struct clear_walk walk = {s, &folded, t->clear};
    uint32_t inputs = 0;
    clear_clear(t);
    for (uint32_t i = 0; i < s->weights; i++)
        real_weight(t, i, &folded);
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        const struct tensor *out = &s->tensor[g->out];
        t->clear[g->out] = zeroed(tensor_size(out), sizeof(float));
        if (g->kind == GATE_INPUT) {
            for (size_t j = 0; j < tensor_size(out); j++)
                t->clear[g->out][j] = (float)ldexp((double)input[inputs][j], -out->frac);
            inputs++;
        }
        ck_ok(gate_walks(g->kind)->clear(&walk, g));
        for (size_t j = 0; output && g->kind == GATE_OUTPUT && j < tensor_size(out); j++)
            output[j] = (double)t->clear[g->out][j];
    }
    folded_clear(&folded);
}

/* ---- what was opened, and what it cost ---- */

int64_t three_value(const struct three *t, uint32_t tensor, size_t i)
{
    const struct share *one = &t->party[1].evaluator.tensor[tensor],
                       *two = &t->party[2].evaluator.tensor[tensor];
    ck_must(one->m[i] == two->m[i], "%s: the evaluators hold different m", t->schedule.tensor[tensor].name);
    return (int64_t)((uint64_t)one->m[i] - (uint64_t)one->l[i] - (uint64_t)two->l[i]);
}

int64_t three_fixed_value(const struct three *t, uint32_t tensor, size_t i)
{
    ck_must(t->fixed.tensor[tensor].l[i] == 0, "%s: a mask in the fixed-point walk",
            t->schedule.tensor[tensor].name);
    return t->fixed.tensor[tensor].m[i];
}

static uint64_t total(const struct three *t, size_t (*bytes)[PARTS])
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < t->schedule.gates; i++)
        for (int k = 0; k < PARTS; k++)
            sum += bytes[i][k];
    return sum;
}

uint64_t three_dealt_bytes(const struct three *t, int party)
{
    return total(t, t->party[party].dealt_bytes);
}

uint64_t three_kept_bytes(const struct three *t, int party)
{
    return total(t, t->party[party].kept_bytes);
}
