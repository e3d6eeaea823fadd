/* The offline phase: P0 deals bundles, P1 and P2 prepare and keep them (DESIGN sections 3 and 7).
 *
 * For each bundle:
 *   P1, P2 -> P0   the lowest serial they could number it with, and 32 random bytes each
 *   P0 -> P1, P2   the serial and all three contributions: nonce = their hash
 *   P0 -> P_i      the secret of this bundle that P0 and P_i share
 *   P0 -> P1, P2   product corrections (P2 only) and table keys, gate by gate
 *   P1, P2 -> P0   kept: everything is durable, and ready here
 *   P0 -> P1, P2   done
 *
 * A party that dies in between leaves a bundle that is not ready everywhere: it is burnt when it would be taken. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parties/bundle_items.h"
#include "parties/job.h"
#include "parties/journal.h"

#define CONTRIBUTION 32

struct dealing {
    struct job *job;
    struct store_bundle *bundle;
    struct store_name name;
};

static uint32_t frame_label(uint32_t gate, enum part part)
{
    return bundle_item(gate, part);
}

/* ---- naming a bundle ---- */

static void fill_name(struct dealing *d, uint64_t serial, unsigned char parts[3][CONTRIBUTION])
{
    const struct job *job = d->job;
    memset(&d->name, 0, sizeof d->name);
    memcpy(d->name.model, job->model->id, sizeof d->name.model);
    memcpy(d->name.schedule, job->schedule->hash, sizeof d->name.schedule);
    d->name.serial = serial;
    d->name.bucket = job->schedule->bucket;
    d->name.batch = job->schedule->batch;
    crypto_generichash(d->name.nonce, sizeof d->name.nonce, parts[0], 3 * CONTRIBUTION, NULL, 0);
    net_session_bundle(job->session, serial);
}

static enum status name_as_dealer(struct dealing *d)
{
    struct job *job = d->job;
    unsigned char parts[3][CONTRIBUTION];
    uint64_t serial, theirs;
    randombytes_buf(parts[0], CONTRIBUTION);
    enum status status = store_next_serial(job->service->store, job->model->id, job->schedule->hash, &serial);
    for (int i = 1; status == STATUS_OK && i < 3; i++) {
        json_t *message = NULL;
        status = message_receive(job->session, job->service->peer[i], NET_CONTROL, &message);
        if (status == STATUS_OK)
            status = message_number(message, job_peer_name(job, job->service->peer[i]), "serial", INT64_MAX, &theirs);
        if (status == STATUS_OK)
            status = message_hex(message, job_peer_name(job, job->service->peer[i]), "random", parts[i], CONTRIBUTION);
        if (status == STATUS_OK && theirs > serial)
            serial = theirs;
        json_decref(message);
    }
    if (status == STATUS_OK)
        fill_name(d, serial, parts);
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = message_send(job->session, job->service->peer[i], NET_CONTROL,
                              json_pack("{s:I, s:o, s:o, s:o}", "serial", (json_int_t)serial, "p0",
                                        message_hex_new(parts[0], CONTRIBUTION), "p1",
                                        message_hex_new(parts[1], CONTRIBUTION), "p2",
                                        message_hex_new(parts[2], CONTRIBUTION)));
    if (status == STATUS_OK)
        status = store_bundle_create(job->service->store, &d->name, &d->bundle);
    return status;
}

static enum status name_as_evaluator(struct dealing *d)
{
    static const char *const fields[3] = {"p0", "p1", "p2"};
    struct job *job = d->job;
    const int dealer = job->service->peer[0];
    unsigned char own[CONTRIBUTION], parts[3][CONTRIBUTION];
    uint64_t serial = 0;
    json_t *message = NULL;
    randombytes_buf(own, sizeof own);
    enum status status = store_next_serial(job->service->store, job->model->id, job->schedule->hash, &serial);
    if (status == STATUS_OK)
        status = message_send(job->session, dealer, NET_CONTROL,
                              json_pack("{s:I, s:o}", "serial", (json_int_t)serial, "random",
                                        message_hex_new(own, sizeof own)));
    if (status == STATUS_OK)
        status = message_receive(job->session, dealer, NET_CONTROL, &message);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "serial", INT64_MAX, &serial);
    for (int i = 0; status == STATUS_OK && i < 3; i++)
        status = message_hex(message, "P0", fields[i], parts[i], CONTRIBUTION);
    json_decref(message);
    if (status == STATUS_OK && memcmp(parts[job->service->party], own, sizeof own) != 0)
        status = status_fail(STATUS_PEER, "P0 left our random bytes out of a bundle's nonce");
    if (status != STATUS_OK)
        return status;
    fill_name(d, serial, parts);
    return store_bundle_create(job->service->store, &d->name, &d->bundle);
}

/* What the parties compare when the bundle is taken. */
static void digest_of(const struct store_name *name, unsigned char digest[STORE_HASH_BYTES])
{
    static const char label[] = "trefoil bundle 1";
    crypto_generichash(digest, STORE_HASH_BYTES, (const unsigned char *)name, sizeof *name, (const unsigned char *)label,
                       sizeof label);
}

static enum status make_ready(struct dealing *d)
{
    unsigned char digest[STORE_HASH_BYTES];
    digest_of(&d->name, digest);
    const enum status status = store_bundle_ready(d->bundle, digest);
    if (status == STATUS_OK)
        journal(d->job->service->config->name, "bundle %llu is ready", (unsigned long long)d->name.serial);
    return status;
}

/* ---- P0 ---- */

static void release(void *data, void *hint)
{
    (void)hint;
    free(data);
}

static enum status emit(void *context, int party, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct dealing *d = context;
    struct job *job = d->job;
    return net_send_owned(job->session, job->service->peer[party], NET_DEAL, frame_label(gate, part), data, bytes, release,
                          NULL);
}

static enum status expect_done(struct job *job, int peer)
{
    json_t *message = NULL;
    const enum status status = message_receive(job->session, peer, NET_CONTROL, &message);
    json_decref(message);
    return status;
}

static enum status deal_one(struct dealing *d)
{
    struct job *job = d->job;
    struct dealer dealer = {.schedule = job->schedule,
                            .weight = job->model->dealer,
                            .label = {&d->name, sizeof d->name},
                            .emit = emit,
                            .context = d};
    enum status status = name_as_dealer(d);
    if (status != STATUS_OK)
        return status;
    randombytes_buf(&dealer.seed1, sizeof dealer.seed1);
    randombytes_buf(&dealer.seed2, sizeof dealer.seed2);
    status = net_send(job->session, job->service->peer[1], NET_SEED, 0, &dealer.seed1, sizeof dealer.seed1);
    if (status == STATUS_OK)
        status = net_send(job->session, job->service->peer[2], NET_SEED, 0, &dealer.seed2, sizeof dealer.seed2);
    if (status == STATUS_OK)
        status = walk_deal(&dealer);
    sodium_memzero(&dealer, sizeof dealer);
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = expect_done(job, job->service->peer[i]);
    if (status == STATUS_OK)
        status = make_ready(d);
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = message_send(job->session, job->service->peer[i], NET_CONTROL, json_pack("{s:b}", "done", 1));
    return status;
}

/* ---- P1 and P2 ---- */

static enum status receive_part(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct dealing *d = context;
    struct job *job = d->job;
    return net_receive(job->session, job->service->peer[0], NET_DEAL, frame_label(gate, part), data, bytes);
}

static enum status keep_part(void *context, uint32_t gate, enum part part, const void *data, size_t bytes)
{
    struct dealing *d = context;
    return store_bundle_put(d->bundle, bundle_item(gate, part), data, bytes);
}

static enum status prepare_one(struct dealing *d)
{
    struct job *job = d->job;
    struct evaluator e = {.schedule = job->schedule,
                          .party = job->service->party,
                          .weight = job->model->share,
                          .label = {&d->name, sizeof d->name},
                          .receive = receive_part,
                          .keep = keep_part,
                          .context = d};
    enum status status = name_as_evaluator(d);
    if (status == STATUS_OK)
        status = net_receive(job->session, job->service->peer[0], NET_SEED, 0, &e.seed, sizeof e.seed);
    if (status == STATUS_OK)
        status = store_bundle_put(d->bundle, BUNDLE_ITEM_SEED, &e.seed, sizeof e.seed);
    if (status == STATUS_OK)
        status = evaluator_init(&e);
    if (status == STATUS_OK)
        status = walk_prepare(&e);
    evaluator_clear(&e);
    if (status == STATUS_OK)
        status = make_ready(d);
    if (status == STATUS_OK)
        status = message_send(job->session, job->service->peer[0], NET_CONTROL, json_pack("{s:b}", "kept", 1));
    return status == STATUS_OK ? expect_done(job, job->service->peer[0]) : status;
}

/* ---- the request ---- */

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
                        json_pack("{s:I, s:I, s:b, s:I}", "done", (json_int_t)done, "ready", (json_int_t)ready, "last",
                                  (int)last, "received", (json_int_t)c->received_kind[NET_DEAL]));
}

/* ---- how many: as many as asked for, within P0's limit, of which all three have what is ready ---- */

struct stock {
    uint64_t ready; /* bundles ready here */
    uint64_t first; /* no serial below this one is ready here */
};

static enum status own_stock(const struct job *job, struct stock *out)
{
    uint64_t mark;
    struct store *store = job->service->store;
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
    json_decref(message);
    return status;
}

static enum status decide_count(struct job *job, uint64_t *count)
{
    const uint64_t most = (uint64_t)job->service->config->bundles_max;
    struct stock own, theirs;
    uint64_t asked = 0, ready = 0;
    enum status status = message_number(job->request, job_peer_name(job, job->client), "count", UINT32_MAX, &asked);
    if (status == STATUS_OK)
        status = own_stock(job, &own);
    for (int i = 1; status == STATUS_OK && i < 3; i++) {
        status = receive_stock(job, i, &theirs);
        if (status == STATUS_OK && theirs.first > own.first)
            own.first = theirs.first;
    }
    if (status == STATUS_OK)
        status = burn_below(job, own.first);
    if (status == STATUS_OK)
        status = ready_count(job, &ready);
    const uint64_t room = ready < most ? most - ready : 0;
    *count = asked < room ? asked : room;
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = message_send(job->session, job->service->peer[i], NET_CONTROL,
                              json_pack("{s:I, s:I}", "count", (json_int_t)*count, "first", (json_int_t)own.first));
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
                              json_pack("{s:I, s:I}", "ready", (json_int_t)own.ready, "first", (json_int_t)own.first));
    if (status == STATUS_OK)
        status = message_receive(job->session, job->service->peer[0], NET_CONTROL, &message);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "count", UINT32_MAX, count);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "first", INT64_MAX, &first);
    json_decref(message);
    return status == STATUS_OK ? burn_below(job, first) : status;
}

static enum status agree_on_count(struct job *job, uint64_t *count)
{
    if (job->service->party != 0)
        return follow_count(job, count);
    /* Not while a bundle is dealt: what one party calls ready the others will have in a moment. */
    pthread_mutex_lock(&job->service->deal);
    const enum status status = decide_count(job, count);
    pthread_mutex_unlock(&job->service->deal);
    return status;
}

enum status job_deal(struct job *job)
{
    uint64_t count = 0;
    enum status status = job_open_schedule(job);
    if (status == STATUS_OK)
        status = agree_on_count(job, &count);
    for (uint64_t done = 0; status == STATUS_OK && done < count; done++) {
        struct dealing d = {.job = job};
        /* One bundle at a time: serials must rise at every party alike. */
        if (job->service->party == 0)
            pthread_mutex_lock(&job->service->deal);
        status = job->service->party == 0 ? deal_one(&d) : prepare_one(&d);
        store_bundle_close(&d.bundle);
        if (job->service->party == 0)
            pthread_mutex_unlock(&job->service->deal);
        if (status == STATUS_OK && done + 1 < count && job->service->party == 0)
            status = report(job, done + 1, false);
    }
    return status == STATUS_OK ? report(job, count, true) : status;
}
