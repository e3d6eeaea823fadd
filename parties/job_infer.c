/* The online phase at a party: agree on a bundle, warm it, take the client's shares, evaluate, give the logit shares out. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parties/bundle_items.h"
#include "parties/job.h"
#include "parties/journal.h"
#include "parties/memory.h"
#include "ring/clock.h"
#include "ring/parameters.h"

/* What the walk's callbacks need. */
struct online {
    struct job *job;
    struct store_bundle *bundle;
    struct net_round round;
    struct walk_profile profile; /* if the client asked for one */
    bool ahead;                  /* the bundle was warmed before the request came */
};

static enum status load_part(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct online *o = context;
    return store_bundle_get(o->bundle, bundle_item(gate, part), data, bytes);
}

static enum status queue_index(void *context, const void *send, void *receive, size_t bytes)
{
    struct online *o = context;
    return net_round_queue(&o->round, send, receive, bytes);
}

static enum status queue_sum(void *context, uint64_t *values, size_t rows, size_t columns, size_t stride)
{
    struct online *o = context;
    return net_round_queue_sums(&o->round, values, rows, columns, stride);
}

/* The next round after this one in which something is opened: what is queued for it may leave before it is run. */
static uint32_t next_round(const struct schedule *s, uint32_t after, bool first)
{
    for (uint32_t i = 0; i < s->gates; i++)
        if (schedule_sends(&s->gate[i]) && (first || s->gate[i].round > after))
            return s->gate[i].round;
    return after;
}

static enum status exchange(void *context, uint32_t number, uint64_t *spread)
{
    struct online *o = context;
    if (number != o->round.number)
        return status_fail(STATUS_STATE, "round %u was to be run, but openings were queued for round %u", number,
                           o->round.number);
    const enum status status = net_round_run(&o->round);
    *spread = o->round.spread;
    o->round.number = next_round(o->job->schedule, number, false);
    return status;
}

/* Openings take the fast link if there can be one. */
static enum status prepare_link(struct online *o)
{
    struct job *job = o->job;
    struct service *service = job->service;
    const int peer = service->peer[3 - service->party];
    const char *why;
    net_round_init(&o->round, job->session, peer, next_round(job->schedule, 0, true));
    const enum status status = net_session_fast(job->session, peer, &why);
    if (status != STATUS_OK || !*why || !service->config->fast_links)
        return status;
    pthread_mutex_lock(&service->lock);
    const bool said = service->said_slow;
    service->said_slow = true;
    pthread_mutex_unlock(&service->lock);
    if (!said)
        journal(service->config->name, "%s %s; openings are slower over CURVE (fast_links)", job_peer_name(job, peer), why);
    return STATUS_OK;
}

/* ---- the client's input ---- */

struct inputs {
    struct ring_wide view[8];
    void *data[8];
    size_t size[8];
    uint32_t count;
};

static void inputs_clear(struct inputs *in)
{
    for (uint32_t i = 0; i < in->count; i++) {
        if (in->data[i])
            sodium_memzero(in->data[i], in->size[i] * RING_PRODUCT_BYTES);
        free(in->data[i]);
    }
}

static enum status inputs_allocate(struct inputs *in, const struct schedule *s)
{
    for (uint32_t i = 0; i < s->gates; i++) {
        if (s->gate[i].kind != GATE_INPUT)
            continue;
        const size_t n = tensor_size(&s->tensor[s->gate[i].out]);
        void *data = in->count < 8 ? malloc(n * RING_PRODUCT_BYTES) : NULL;
        if (!data)
            return status_fail(STATUS_MEMORY, "out of memory for an input");
        in->data[in->count] = data;
        in->size[in->count] = n;
        in->view[in->count++] = (struct ring_wide){data, (uint16_t *)((uint64_t *)data + n)};
    }
    return STATUS_OK;
}

/* P1 gets a seed and makes its shares; P2 gets its shares as arrays. */
static enum status inputs_receive(struct inputs *in, struct job *job)
{
    if (job->service->party == 2) {
        enum status status = STATUS_OK;
        for (uint32_t i = 0; status == STATUS_OK && i < in->count; i++)
            status = net_receive(job->session, job->client, NET_INPUT, i, in->data[i], in->size[i] * RING_PRODUCT_BYTES);
        return status;
    }
    struct ring_seed seed;
    const enum status status = net_receive(job->session, job->client, NET_INPUT, 0, &seed, sizeof seed);
    const struct net_session_id id = net_session_id(job->session);
    for (uint32_t i = 0; status == STATUS_OK && i < in->count; i++) {
        struct ring_seed key;
        ring_stream_key(&key, &seed, id.bytes, sizeof id.bytes, i, RING_PURPOSE_INPUT);
        ring_stream_wide(in->view[i], in->size[i], &key);
        sodium_memzero(&key, sizeof key);
    }
    sodium_memzero(&seed, sizeof seed);
    return status;
}

/* ---- the profile: where the time went, for who asks ---- */

static json_t *seconds_new(const double *seconds, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < count; i++)
        json_array_append_new(list, json_real(seconds[i]));
    return list;
}

static json_t *profile_new(const struct walk_profile *p)
{
    return json_pack("{s:f, s:o, s:o, s:o, s:f, s:f, s:f}", "warm", p->warm, "compute", seconds_new(p->compute, p->gates),
                     "gemm", seconds_new(p->gemm, p->gates), "wait", seconds_new(p->wait, p->rounds), "sealing", p->sealing,
                     "sockets", p->sockets, "idle", p->idle);
}

/* ---- the walk ---- */

static enum status warm_now(struct evaluator *e, struct online *o, double *seconds)
{
    const struct job *job = o->job;
    const double start = clock_seconds();
    *e = (struct evaluator){.schedule = job->schedule,
                            .party = job->service->party,
                            .weight = job->model->share,
                            .label = {store_bundle_name(o->bundle), sizeof(struct store_name)},
                            .load = load_part,
                            .context = o};
    enum status status = evaluator_init(e);
    if (status == STATUS_OK)
        status = store_bundle_get(o->bundle, BUNDLE_ITEM_SEED, &e->seed, sizeof e->seed);
    if (status == STATUS_OK)
        status = walk_warm(e);
    *seconds = clock_seconds() - start;
    return status;
}

static enum status prepare_evaluator(struct evaluator *e, struct online *o)
{
    double seconds = 0;
    const struct store_name *name = store_bundle_name(o->bundle);
    o->ahead = warm_claim(o->job->service->warm, name, e, &seconds);
    const enum status status = o->ahead ? STATUS_OK : warm_now(e, o, &seconds);
    e->label = (struct bundle_label){name, sizeof *name};
    e->load = load_part;
    e->queue = queue_index;
    e->queue_sum = queue_sum;
    e->exchange = exchange;
    e->context = o;
    o->profile.warm = seconds;
    e->profile = o->profile.compute ? &o->profile : NULL;
    return status;
}

/* The shares of an answer, as the walk leaves them, are hidden by nothing but g_1 and g_2, which the dealer knows: with them it would
 * see a sum of weights and of the pooler's values, if it were the client, too. So the evaluators cover them once more with a stream
 * that the dealer does not know, of a seed that P1 draws for this inference. It adds nothing to the sum. */
static enum status agree_on_seed(struct online *o, struct ring_seed *seed)
{
    const struct job *job = o->job;
    if (job->service->party == 2)
        return net_receive(job->session, job->service->peer[1], NET_SEED, 0, seed, sizeof *seed);
    randombytes_buf(seed, sizeof *seed);
    return net_send(job->session, job->service->peer[2], NET_SEED, 0, seed, sizeof *seed);
}

/* Of the seed that P1 and P2 have for this inference, and P0 has not. */
static void stream_of(const struct online *o, const struct ring_seed *seed, enum ring_purpose purpose, void *out, size_t bytes)
{
    const struct net_session_id id = net_session_id(o->job->session);
    const struct bundle_label label = {id.bytes, sizeof id.bytes};
    label_stream(out, bytes, seed, &label, 0, purpose);
}

static enum status cover(const struct online *o, const struct ring_seed *seed, uint32_t *shares, size_t count)
{
    uint32_t *stream = malloc(count * sizeof *stream);
    if (!stream)
        return status_fail(STATUS_MEMORY, "out of memory");
    stream_of(o, seed, RING_PURPOSE_OUTPUT, stream, count * sizeof *stream);
    for (size_t i = 0; i < count; i++)
        shares[i] += o->job->service->party == 1 ? stream[i] : -stream[i];
    sodium_memzero(stream, count * sizeof *stream);
    free(stream);
    return STATUS_OK;
}

/* The logit shares are the client's answer: they go to nobody else. */
static enum status reveal_to_client(struct online *o, const uint32_t *shares, size_t count, double milliseconds)
{
    struct job *job = o->job;
    const struct net_counters *c = net_session_counters(job->session);
    const json_int_t bytes = (json_int_t)c->sent_kind[NET_ROUND], rounds = (json_int_t)c->rounds;
    const enum status status = net_send(job->session, job->client, NET_OUTPUT, 0, shares, count * sizeof *shares);
    if (status != STATUS_OK)
        return status;
    json_t *reply = json_pack("{s:f, s:I, s:I, s:b}", "online_ms", milliseconds, "rounds", rounds, "bytes", bytes, "ahead",
                              (int)o->ahead);
    const struct net_times *times = net_session_times(job->session);
    o->profile.sealing = 1e-9 * (double)times->sealing;
    o->profile.sockets = 1e-9 * (double)times->sockets;
    o->profile.idle = 1e-9 * (double)times->idle;
    if (reply && o->profile.compute)
        json_object_set_new(reply, "profile", profile_new(&o->profile));
    return message_send(job->session, job->client, NET_REPLY, reply);
}

static enum status evaluate(struct online *o, struct evaluator *e)
{
    struct job *job = o->job;
    struct inputs in = {.count = 0};
    struct ring_seed seed;
    const size_t count = (size_t)job->schedule->batch * job->model->description.config.labels;
    uint32_t *shares = calloc(count, sizeof *shares);
    enum status status = shares ? inputs_allocate(&in, job->schedule) : status_fail(STATUS_MEMORY, "out of memory");
    if (status == STATUS_OK)
        status = message_send(job->session, job->client, NET_REPLY,
                              json_pack("{s:I}", "serial", (json_int_t)store_bundle_name(o->bundle)->serial));
    if (status == STATUS_OK)
        status = prepare_link(o);
    if (status == STATUS_OK)
        status = agree_on_seed(o, &seed);
    if (status == STATUS_OK)
        stream_of(o, &seed, RING_PURPOSE_POINT, &e->point, sizeof e->point);
    if (status == STATUS_OK)
        status = inputs_receive(&in, job);
    const double start = clock_seconds();
    if (status == STATUS_OK)
        status = walk_online(e, in.view, shares);
    job->kept_from_dealer = status == STATUS_RANGE;
    if (status == STATUS_OK)
        status = cover(o, &seed, shares, count);
    if (status == STATUS_OK)
        status = reveal_to_client(o, shares, count, 1e3 * (clock_seconds() - start));
    inputs_clear(&in);
    sodium_memzero(&seed, sizeof seed);
    if (shares)
        sodium_memzero(shares, count * sizeof *shares);
    free(shares);
    return status;
}

/* At an evaluator: what follows once the bundle is taken. */
static enum status infer_on(struct online *o)
{
    struct evaluator e = {0};
    enum status status = STATUS_OK;
    if (json_is_true(json_object_get(o->job->request, "profile")))
        status = walk_profile_init(&o->profile, o->job->schedule);
    if (status == STATUS_OK)
        status = prepare_evaluator(&e, o);
    if (status == STATUS_OK)
        status = evaluate(o, &e);
    net_round_clear(&o->round);
    if (e.schedule)
        evaluator_clear(&e);
    walk_profile_clear(&o->profile);
    return status;
}

static enum status agree_and_infer(struct job *job)
{
    struct online o = {.job = job};
    enum status status = agreement_take(job, &o.bundle);
    if (status == STATUS_OK) {
        const uint64_t serial = store_bundle_name(o.bundle)->serial;
        net_session_bundle(job->session, serial);
        status = job->service->party != 0
                     ? infer_on(&o)
                     : message_send(job->session, job->client, NET_REPLY, json_pack("{s:I}", "serial", (json_int_t)serial));
    }
    store_bundle_close(&o.bundle);
    return status;
}

enum status job_infer(struct job *job)
{
    struct warm *warm = job->service->warm;
    enum status status = job_open_schedule(job);
    if (status == STATUS_OK && job->service->party != 0)
        status = memory_check(job->service->config, job->schedule);
    if (status != STATUS_OK)
        return status;
    warm_enter(warm);
    status = agree_and_infer(job);
    warm_used(warm, job->model, job->schedule);
    warm_leave(warm);
    return status;
}
