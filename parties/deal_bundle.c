#include "parties/deal_bundle.h"

#include <string.h>

#include <sodium.h>

#include "parties/bundle_items.h"
#include "parties/journal.h"
#include "ring/pool.h"

_Static_assert(SCHEDULE_PIECE_MAX <= NET_FRAME_MAX, "what a schedule allows can be sent");

/* ---- naming: the serial, and a nonce to which all three contribute ---- */

/* parts: the contributions of P0, P1 and P2, one behind the other. */
static void fill_name(struct dealing *d, uint64_t serial, const unsigned char *parts)
{
    const struct job *job = d->job;
    memset(&d->name, 0, sizeof d->name);
    memcpy(d->name.model, job->model->id, sizeof d->name.model);
    memcpy(d->name.schedule, job->schedule->hash, sizeof d->name.schedule);
    d->name.serial = serial;
    d->name.bucket = job->schedule->bucket;
    d->name.batch = job->schedule->batch;
    crypto_generichash(d->name.nonce, sizeof d->name.nonce, parts, 3 * STORE_HASH_BYTES, NULL, 0);
    net_session_bundle(job->session, serial);
}

enum status deal_read_offers(struct job *job, struct deal_offers *out)
{
    enum status status = STATUS_OK;
    out->serial = 0;
    for (int i = 1; status == STATUS_OK && i < 3; i++) {
        const char *from = job_peer_name(job, job->service->peer[i]);
        uint64_t serial = 0;
        json_t *message = NULL;
        status = message_receive(job->session, job->service->peer[i], NET_CONTROL, &message);
        if (status == STATUS_OK)
            status = message_number(message, from, "serial", INT64_MAX, &serial);
        if (status == STATUS_OK)
            status = message_hex(message, from, "random", out->random[i], STORE_HASH_BYTES);
        out->serial = serial > out->serial ? serial : out->serial;
        json_decref(message);
    }
    return status;
}

enum status deal_name_all(struct dealing *d, struct deal_offers *offers)
{
    struct job *job = d->job;
    uint64_t serial = 0;
    randombytes_buf(offers->random[0], STORE_HASH_BYTES);
    enum status status = store_next_serial(job->service->store, job->model->id, job->schedule->hash, &serial);
    serial = offers->serial > serial ? offers->serial : serial;
    if (status == STATUS_OK)
        fill_name(d, serial, &offers->random[0][0]);
    for (int i = 1; status == STATUS_OK && i < 3; i++)
        status = message_send(job->session, job->service->peer[i], NET_CONTROL,
                              json_pack("{s:I, s:o, s:o, s:o}", "serial", (json_int_t)serial, "p0",
                                        message_hex_new(offers->random[0], STORE_HASH_BYTES), "p1",
                                        message_hex_new(offers->random[1], STORE_HASH_BYTES), "p2",
                                        message_hex_new(offers->random[2], STORE_HASH_BYTES)));
    if (status == STATUS_OK)
        status = store_bundle_create(job->service->store, &d->name, &d->bundle);
    return status;
}

enum status deal_offer(struct dealing *d, unsigned char random[STORE_HASH_BYTES])
{
    struct job *job = d->job;
    uint64_t serial = 0;
    randombytes_buf(random, STORE_HASH_BYTES);
    const enum status status =
        store_next_serial(job->service->store, job->model->id, job->schedule->hash, &serial);
    if (status != STATUS_OK)
        return status;
    return message_send(job->session, job->service->peer[0], NET_CONTROL,
                        json_pack("{s:I, s:o}", "serial", (json_int_t)serial, "random",
                                  message_hex_new(random, STORE_HASH_BYTES)));
}

enum status deal_name(struct dealing *d, const json_t *message, const unsigned char random[STORE_HASH_BYTES])
{
    static const char *const fields[3] = {"p0", "p1", "p2"};
    struct job *job = d->job;
    unsigned char parts[3][STORE_HASH_BYTES];
    uint64_t serial = 0;
    enum status status = message_number(message, "P0", "serial", INT64_MAX, &serial);
    for (int i = 0; status == STATUS_OK && i < 3; i++)
        status = message_hex(message, "P0", fields[i], parts[i], STORE_HASH_BYTES);
    if (status == STATUS_OK && memcmp(parts[job->service->party], random, STORE_HASH_BYTES) != 0)
        status = status_fail(STATUS_PEER, "P0 left our random bytes out of a bundle's nonce");
    if (status != STATUS_OK)
        return status;
    fill_name(d, serial, &parts[0][0]);
    return store_bundle_create(job->service->store, &d->name, &d->bundle);
}

/* ---- the end of it ---- */

/* What the parties compare when the bundle is taken. */
static void digest_of(const struct store_name *name, unsigned char digest[STORE_HASH_BYTES])
{
    static const char label[] = "trefoil bundle 1";
    crypto_generichash(digest, STORE_HASH_BYTES, (const unsigned char *)name, sizeof *name,
                       (const unsigned char *)label, sizeof label);
}

enum status deal_ready(struct dealing *d)
{
    unsigned char digest[STORE_HASH_BYTES];
    digest_of(&d->name, digest);
    const enum status status = store_bundle_ready(d->bundle, digest);
    if (status == STATUS_OK)
        journal(d->job->service->config->name, "bundle %llu is ready", (unsigned long long)d->name.serial);
    return status;
}

static void *keep(void *argument)
{
    struct dealing *d = argument;
    d->status = deal_ready(d);
    if (d->status != STATUS_OK)
        status_copy(d->message, sizeof d->message);
    return NULL;
}

enum status deal_keep(struct dealing *d)
{
    if (pthread_create(&d->keeper, NULL, keep, d) != 0)
        return status_fail(STATUS_MEMORY, "no thread to keep a bundle");
    d->keeping = true;
    return STATUS_OK;
}

enum status deal_kept(struct dealing *d)
{
    pthread_join(d->keeper, NULL);
    d->keeping = false;
    return d->status == STATUS_OK ? STATUS_OK : status_fail(d->status, "%s", d->message);
}

void deal_clear(struct dealing *d)
{
    if (d->keeping)
        pthread_join(d->keeper, NULL);
    store_bundle_close(&d->bundle);
    *d = (struct dealing){.job = d->job};
}

/* ---- P0 ---- */

static void release(void *data, void *bytes)
{
    pool_give(data, (size_t)(uintptr_t)bytes);
}

static enum status emit(void *context, int party, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct dealing *d = context;
    struct job *job = d->job;
    return net_send_owned(job->session, job->service->peer[party], NET_DEAL, bundle_item(gate, part), data,
                          bytes, release, (void *)(uintptr_t)bytes);
}

enum status deal_send(struct dealing *d)
{
    struct job *job = d->job;
    struct dealer dealer = {.schedule = job->schedule,
                            .weight = job->model->dealer,
                            .label = {&d->name, sizeof d->name},
                            .emit = emit,
                            .context = d};
    randombytes_buf(&dealer.seed1, sizeof dealer.seed1);
    randombytes_buf(&dealer.seed2, sizeof dealer.seed2);
    enum status status =
        net_send(job->session, job->service->peer[1], NET_SEED, 0, &dealer.seed1, sizeof dealer.seed1);
    if (status == STATUS_OK)
        status =
            net_send(job->session, job->service->peer[2], NET_SEED, 0, &dealer.seed2, sizeof dealer.seed2);
    if (status == STATUS_OK)
        status = walk_deal(&dealer);
    sodium_memzero(&dealer, sizeof dealer);
    return status;
}

/* ---- P1 and P2 ---- */

static enum status receive_part(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct dealing *d = context;
    struct job *job = d->job;
    return net_receive(job->session, job->service->peer[0], NET_DEAL, bundle_item(gate, part), data, bytes);
}

static enum status keep_part(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct dealing *d = context;
    return store_bundle_put_owned(d->bundle, bundle_item(gate, part), data, bytes, pool_give);
}

enum status deal_prepare(struct dealing *d)
{
    struct job *job = d->job;
    struct evaluator e = {.schedule = job->schedule,
                          .party = job->service->party,
                          .weight = job->model->share,
                          .label = {&d->name, sizeof d->name},
                          .receive = receive_part,
                          .keep = keep_part,
                          .context = d};
    enum status status =
        net_receive(job->session, job->service->peer[0], NET_SEED, 0, &e.seed, sizeof e.seed);
    if (status == STATUS_OK)
        status = store_bundle_put(d->bundle, BUNDLE_ITEM_SEED, &e.seed, sizeof e.seed);
    if (status == STATUS_OK)
        status = evaluator_init(&e);
    if (status == STATUS_OK)
        status = walk_prepare(&e);
    evaluator_clear(&e);
    return status;
}
