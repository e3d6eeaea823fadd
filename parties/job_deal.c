/* The offline phase: P0 deals bundles, P1 and P2 prepare and keep them (DESIGN sections 3 and 7).
 *
 *   P1, P2 -> P0   here, and back
 * For each bundle:
 *   P1, P2 -> P0   the lowest serial they could number it with, and 32 random bytes each
 *   P0 -> P1, P2   the serial and all three contributions: nonce = their hash
 *   P0 -> P_i      the secret of this bundle that P0 and P_i share
 *   P0 -> P1, P2   product corrections (P2 only) and table keys, gate by gate
 *   P1, P2 -> P0   kept: everything is durable, and ready here
 * and at the end
 *   P0 -> P1, P2   done: all are ready at all three
 *
 * Bundles are on the way one behind the other: while P0 computes bundle k, the evaluators prepare bundle k - 1 and their stores
 * write bundle k - 2. So an evaluator offers for bundle k + 1 as soon as bundle k has its name, and says "kept" of bundle k - 1
 * when bundle k is prepared; P0 names bundle k + 1 when bundle k - 2 is kept by both.
 *
 * Serials must rise at every party alike, so one request at a time deals. If another one waits, P0 says "wait" in place of a
 * name: the evaluators then say "kept" of all they have, and P0 lets the other one go first.
 *
 * P0 runs ahead of its lines, and a bundle may take long on one of them: the others are silent meanwhile, and waited for
 * (MESSAGE_PATIENCE_MS).
 *
 * A request that ends in between leaves bundles that are not ready everywhere: they are burnt by the next one, or when they would be
 * taken. */
#include <string.h>

#include "parties/deal_bundle.h"
#include "parties/deal_missing.h"
#include "parties/memory.h"

#define WINDOW 3 /* bundles on the way at P0: computed, prepared, written */

/* The bundles of one request, and how far they have come. */
struct pipeline {
    struct pipeline *next; /* at P0: of the service's list, from when its count is decided until it ends */
    struct job *job;
    struct dealing bundle[WINDOW]; /* number k at k modulo WINDOW */
    uint64_t count;
    uint64_t named, kept;                   /* so many of them, from the first on */
    struct deal_offers offers;              /* at P0: for the next bundle */
    unsigned char random[STORE_HASH_BYTES]; /* at an evaluator: offered for the next bundle */
};

static struct dealing *bundle_at(struct pipeline *p, uint64_t number)
{
    return &p->bundle[number % WINDOW];
}

/* ---- what the client is told ---- */

static enum status ready_count(const struct job *job, uint64_t *count)
{
    uint64_t serial, mark;
    return store_bundle_next(job->service->store, job->model->id, job->schedule->hash, &serial, &mark, count);
}

static enum status report(struct job *job, uint64_t done, bool last)
{
    const struct net_counters *c = net_session_counters(job->session);
    uint64_t ready = 0;
    const enum status status = ready_count(job, &ready);
    if (status != STATUS_OK)
        return status;
    return message_send(job->session, job->client, NET_REPLY,
                        json_pack("{s:I, s:I, s:b, s:I}", "done", (json_int_t)done, "ready",
                                  (json_int_t)ready, "last", (int)last, "received",
                                  (json_int_t)c->received_kind[NET_DEAL]));
}

/* ---- how many: as many as asked for, within the lowest limit of the three, beside what is ready and what other requests have
 * been promised ---- */

struct stock {
    uint64_t ready; /* bundles ready here */
    uint64_t most;  /* bundles_max */
    uint64_t first; /* no serial below this one is ready here */
};

static enum status own_stock(const struct job *job, struct stock *out)
{
    uint64_t mark;
    struct store *store = job->service->store;
    out->most = (uint64_t)job->service->config->bundles_max;
    enum status status =
        store_bundle_next(store, job->model->id, job->schedule->hash, &out->first, &mark, &out->ready);
    if (status == STATUS_OK && !out->ready)
        status = store_next_serial(store, job->model->id, job->schedule->hash, &out->first);
    return status;
}

/* What one party lacks, because it was restarted, nobody can use: it is burnt everywhere and makes room. */
static enum status burn_below(struct job *job, uint64_t first)
{
    if (first < 2)
        return STATUS_OK;
    return store_burn(job->service->store, job->model->id, job->schedule->hash, first - 1);
}

static enum status receive_stock(struct job *job, int party, struct stock *out)
{
    const char *from = job_peer_name(job, job->service->peer[party]);
    json_t *message = NULL;
    enum status status = message_receive(job->session, job->service->peer[party], NET_CONTROL, &message);
    if (status == STATUS_OK)
        status = message_number(message, from, "ready", INT64_MAX, &out->ready);
    if (status == STATUS_OK)
        status = message_number(message, from, "first", INT64_MAX, &out->first);
    if (status == STATUS_OK)
        status = message_number(message, from, "most", INT64_MAX, &out->most);
    json_decref(message);
    return status;
}

static bool same_line(const struct job *a, const struct job *b)
{
    return memcmp(a->model->id, b->model->id, MODEL_ID_BYTES) == 0 &&
           memcmp(a->schedule->hash, b->schedule->hash, SCHEDULE_HASH_BYTES) == 0;
}

/* Bundles that other requests were promised and that are not ready yet. */
static uint64_t promised(const struct job *job)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&job->service->lock);
    for (const struct pipeline *p = job->service->dealing; p; p = p->next)
        if (same_line(p->job, job))
            sum += p->count - p->kept;
    pthread_mutex_unlock(&job->service->lock);
    return sum;
}

static void promise(struct pipeline *p)
{
    pthread_mutex_lock(&p->job->service->lock);
    p->next = p->job->service->dealing;
    p->job->service->dealing = p;
    pthread_mutex_unlock(&p->job->service->lock);
}

static void promise_end(struct pipeline *p)
{
    pthread_mutex_lock(&p->job->service->lock);
    struct pipeline **at = &p->job->service->dealing;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    pthread_mutex_unlock(&p->job->service->lock);
}

static enum status decide_count(struct job *job, uint64_t *count)
{
    struct stock own, theirs;
    uint64_t asked = 0, ready = 0;
    enum status status =
        message_number(job->request, job_peer_name(job, job->client), "count", UINT32_MAX, &asked);
    if (status == STATUS_OK)
        status = own_stock(job, &own);
    for (int i = 1; status == STATUS_OK && i < 3; i++) {
        status = receive_stock(job, i, &theirs);
        if (status == STATUS_OK && theirs.first > own.first)
            own.first = theirs.first;
        if (status == STATUS_OK && theirs.most < own.most)
            own.most = theirs.most;
    }
    if (status == STATUS_OK)
        status = burn_below(job, own.first);
    if (status == STATUS_OK)
        status = ready_count(job, &ready);
    ready += promised(job);
    const uint64_t room = ready < own.most ? own.most - ready : 0;
    *count = asked < room ? asked : room;
    json_t *message = json_pack("{s:I, s:I}", "count", (json_int_t)*count, "first", (json_int_t)own.first);
    if (status == STATUS_OK)
        status = deal_list_ready(job, message);
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = message_send(job->session, job->service->peer[i], NET_CONTROL, json_incref(message));
    json_decref(message);
    return status;
}

static enum status follow_count(struct job *job, uint64_t *count)
{
    struct stock own;
    uint64_t first = 0;
    json_t *message = NULL;
    enum status status = own_stock(job, &own);
    if (status == STATUS_OK)
        status = message_send(job->session, job->service->peer[0], NET_CONTROL,
                              json_pack("{s:I, s:I, s:I}", "ready", (json_int_t)own.ready, "first",
                                        (json_int_t)own.first, "most", (json_int_t)own.most));
    if (status == STATUS_OK)
        status = message_receive(job->session, job->service->peer[0], NET_CONTROL, &message);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "count", UINT32_MAX, count);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "first", INT64_MAX, &first);
    if (status == STATUS_OK)
        status = burn_below(job, first);
    if (status == STATUS_OK)
        status = deal_drop_missing(job, message);
    json_decref(message);
    return status;
}

static enum status agree_on_count(struct pipeline *p)
{
    struct job *job = p->job;
    if (job->service->party != 0)
        return follow_count(job, &p->count);
    /* Not while a bundle is dealt: what one party calls ready the others will have in a moment. */
    turn_begin(&job->service->deal);
    const enum status status = decide_count(job, &p->count);
    if (status == STATUS_OK)
        promise(p);
    turn_end(&job->service->deal);
    return status;
}

/* ---- P0 ---- */

static enum status expect(struct job *job, int peer, const char *field)
{
    json_t *message = NULL;
    enum status status = message_receive(job->session, peer, NET_CONTROL, &message);
    if (status == STATUS_OK && !json_is_true(json_object_get(message, field)))
        status = status_fail(STATUS_PEER, "%s did not say \"%s\" when it was due",
                             job_peer_name(job, peer), field);
    json_decref(message);
    return status;
}

static enum status tell_evaluators(struct job *job, const char *what)
{
    enum status status = STATUS_OK;
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = message_send(job->session, job->service->peer[i], NET_CONTROL, json_pack("{s:b}", what, 1));
    return status;
}

/* The oldest bundle on the way is ready at both evaluators, and then here. */
static enum status settle_oldest(struct pipeline *p)
{
    struct job *job = p->job;
    struct dealing *d = bundle_at(p, p->kept);
    enum status status = STATUS_OK;
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = expect(job, job->service->peer[i], "kept");
    if (status == STATUS_OK)
        status = deal_ready(d);
    if (status != STATUS_OK)
        return status;
    deal_clear(d);
    /* Ready and not promised any more, in the turn in which others count. */
    p->kept++;
    return p->kept < p->count ? report(job, p->kept, false) : STATUS_OK;
}

static enum status settle_all(struct pipeline *p)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && p->kept < p->named)
        status = settle_oldest(p);
    return status;
}

/* Lets another request deal first, with nothing of ours on the way. */
static enum status give_way(struct pipeline *p)
{
    struct turn *deal = &p->job->service->deal;
    enum status status = tell_evaluators(p->job, "wait");
    if (status == STATUS_OK)
        status = settle_all(p);
    if (status == STATUS_OK) {
        turn_end(deal);
        turn_begin(deal);
    }
    return status;
}

/* One bundle more on the way; then what is due comes: the end of an older one, and offers for the next. */
static enum status deal_next(struct pipeline *p)
{
    struct dealing *d = bundle_at(p, p->named);
    enum status status = deal_name_all(d, &p->offers);
    if (status == STATUS_OK) {
        p->named++;
        status = deal_send(d);
    }
    if (status == STATUS_OK && p->named - p->kept == WINDOW)
        status = settle_oldest(p);
    if (status == STATUS_OK && p->named < p->count)
        status = deal_read_offers(p->job, &p->offers);
    return status;
}

static enum status deal_bundles(struct pipeline *p)
{
    struct turn *deal = &p->job->service->deal;
    turn_begin(deal);
    enum status status = p->count ? deal_read_offers(p->job, &p->offers) : STATUS_OK;
    while (status == STATUS_OK && p->named < p->count) {
        if (p->named > 0 && turn_wanted(deal))
            status = give_way(p);
        if (status == STATUS_OK)
            status = deal_next(p);
    }
    if (status == STATUS_OK)
        status = settle_all(p);
    turn_end(deal);
    return status == STATUS_OK ? tell_evaluators(p->job, "done") : status;
}

/* ---- P1 and P2 ---- */

/* Says so of every bundle before number upto. */
static enum status say_kept(struct pipeline *p, uint64_t upto)
{
    enum status status = STATUS_OK;
    for (; status == STATUS_OK && p->kept < upto; p->kept++) {
        struct dealing *d = bundle_at(p, p->kept);
        status = deal_kept(d);
        if (status == STATUS_OK)
            status = message_send(p->job->session, p->job->service->peer[0], NET_CONTROL,
                                  json_pack("{s:b}", "kept", 1));
        deal_clear(d);
    }
    return status;
}

/* The name of the next bundle; before it, P0 may want all that is on the way to be kept. */
static enum status receive_name(struct pipeline *p, struct dealing *d)
{
    enum status status = STATUS_OK;
    for (bool named = false; status == STATUS_OK && !named;) {
        json_t *message = NULL;
        status = message_receive(p->job->session, p->job->service->peer[0], NET_CONTROL, &message);
        named = status == STATUS_OK && !json_is_true(json_object_get(message, "wait"));
        if (named)
            status = deal_name(d, message, p->random);
        else if (status == STATUS_OK)
            status = say_kept(p, p->named);
        json_decref(message);
    }
    return status;
}

static enum status prepare_bundles(struct pipeline *p)
{
    struct job *job = p->job;
    enum status status = p->count ? deal_offer(bundle_at(p, 0), p->random) : STATUS_OK;
    while (status == STATUS_OK && p->named < p->count) {
        struct dealing *d = bundle_at(p, p->named);
        status = receive_name(p, d);
        if (status == STATUS_OK && ++p->named < p->count)
            status = deal_offer(d, p->random);
        if (status == STATUS_OK)
            status = deal_prepare(d);
        if (status == STATUS_OK)
            status = deal_keep(d);
        if (status == STATUS_OK)
            status = say_kept(p, p->named - 1);
    }
    if (status == STATUS_OK)
        status = say_kept(p, p->count);
    return status == STATUS_OK ? expect(job, job->service->peer[0], "done") : status;
}

/* All three have the request, and are heard of: from here on a party that fails says so, and one that dies is noticed, so that
 * waiting long is safe. Within the usual time, and before anything is loaded: a client may have died between its requests. */
static enum status meet(struct job *job)
{
    enum status status = STATUS_OK;
    if (job->service->party == 0) {
        for (int i = 1; status == STATUS_OK && i < 3; i++)
            status = expect(job, job->service->peer[i], "here");
        if (status == STATUS_OK)
            status = tell_evaluators(job, "here");
    } else {
        status = message_send(job->session, job->service->peer[0], NET_CONTROL, json_pack("{s:b}", "here", 1));
        if (status == STATUS_OK)
            status = expect(job, job->service->peer[0], "here");
    }
    if (status == STATUS_OK)
        net_session_timeout(job->session, MESSAGE_PATIENCE_MS);
    return status;
}

enum status job_deal(struct job *job)
{
    struct pipeline p = {.job = job};
    for (int i = 0; i < WINDOW; i++)
        p.bundle[i].job = job;
    enum status status = meet(job);
    if (status == STATUS_OK)
        status = job_open_schedule(job);
    if (status == STATUS_OK && job->service->party != 0)
        status = memory_check(job->service->config, job->schedule);
    if (status == STATUS_OK)
        status = agree_on_count(&p);
    if (status == STATUS_OK)
        status = job->service->party == 0 ? deal_bundles(&p) : prepare_bundles(&p);
    promise_end(&p);
    for (int i = 0; i < WINDOW; i++)
        deal_clear(&p.bundle[i]);
    if (status == STATUS_OK)
        warm_used(job->service->warm, job->model, job->schedule);
    net_session_timeout(job->session, 0);
    return status == STATUS_OK ? report(job, p.count, true) : status;
}
