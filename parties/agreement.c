/* Agreement on a bundle: all three parties take the same serial before anything that depends on it leaves (DESIGN section 7).
 *
 *   P0, P2 -> P1   what they have: schedule, model, lowest ready serial above their mark
 *   P1 -> P0, P2   take serial s: the highest of the three lowest
 *   P0, P2 -> P1   taken, with nonce and digest; or not there
 *   P1 -> P0, P2   go, with the same; or again
 *
 * Each take is a committed, synced transaction (store/store.h), and raises the mark: whatever happens next, s is never used
 * again. A serial that one party lacks is burnt at all. P1 agrees on one bundle at a time; its own mark is at least that of
 * every bundle ever agreed on, so two sessions cannot be given the same one. */
#include <string.h>

#include <sodium.h>

#include "parties/job.h"
#include "parties/journal.h"

struct offer {
    uint64_t next, count; /* lowest ready serial above the mark; ready bundles */
};

static enum status own_offer(const struct job *job, struct offer *out)
{
    uint64_t mark;
    return store_bundle_next(job->service->store, job->model->id, job->schedule->hash, &out->next, &mark, &out->count);
}

static json_t *offer_json(const struct job *job, const struct offer *offer)
{
    return json_pack("{s:o, s:o, s:I, s:I}", "model", message_hex_new(job->model->id, MODEL_ID_BYTES), "schedule",
                     message_hex_new(job->schedule->hash, SCHEDULE_HASH_BYTES), "next", (json_int_t)offer->next,
                     "count", (json_int_t)offer->count);
}

static enum status read_offer(const struct job *job, const json_t *message, const char *from, struct offer *out)
{
    unsigned char model[MODEL_ID_BYTES], schedule[SCHEDULE_HASH_BYTES];
    enum status status = message_hex(message, from, "model", model, sizeof model);
    if (status == STATUS_OK)
        status = message_hex(message, from, "schedule", schedule, sizeof schedule);
    if (status == STATUS_OK)
        status = message_number(message, from, "next", INT64_MAX, &out->next);
    if (status == STATUS_OK)
        status = message_number(message, from, "count", INT64_MAX, &out->count);
    if (status != STATUS_OK)
        return status;
    if (memcmp(model, job->model->id, sizeof model) != 0 || memcmp(schedule, job->schedule->hash, sizeof schedule) != 0)
        return status_fail(STATUS_FOREIGN, "%s has another schedule for this model: do all parties run the same version?",
                           from);
    return STATUS_OK;
}

/* ---- what was taken ---- */

static json_t *taken_json(const struct store_bundle *bundle, const char *what)
{
    const struct store_name *name = store_bundle_name(bundle);
    return json_pack("{s:s, s:I, s:o, s:o}", "result", what, "serial", (json_int_t)name->serial, "nonce",
                     message_hex_new(name->nonce, sizeof name->nonce), "digest",
                     message_hex_new(store_bundle_digest(bundle), STORE_HASH_BYTES));
}

/* Whether the peer took the very bundle that we took. */
static enum status same_bundle(const json_t *message, const char *from, const struct store_bundle *bundle, bool *same)
{
    const struct store_name *name = store_bundle_name(bundle);
    unsigned char nonce[STORE_HASH_BYTES], digest[STORE_HASH_BYTES];
    uint64_t serial;
    enum status status = message_number(message, from, "serial", INT64_MAX, &serial);
    if (status == STATUS_OK)
        status = message_hex(message, from, "nonce", nonce, sizeof nonce);
    if (status == STATUS_OK)
        status = message_hex(message, from, "digest", digest, sizeof digest);
    if (status == STATUS_OK)
        *same = serial == name->serial && memcmp(nonce, name->nonce, sizeof nonce) == 0 &&
                memcmp(digest, store_bundle_digest(bundle), sizeof digest) == 0;
    return status;
}

/* Takes and says so before anything is sent that depends on it. That it is not there, or damaged, is an answer here: *out is
 * NULL, and the serial burnt. */
static enum status try_take(const struct job *job, uint64_t serial, struct store_bundle **out)
{
    char nonce[17];
    *out = NULL;
    const enum status status =
        store_bundle_take(job->service->store, job->model->id, job->schedule->hash, serial, out);
    if (status == STATUS_OK)
        journal(job->service->config->name, "took bundle %llu for %s, nonce %s", (unsigned long long)serial,
                job_peer_name(job, job->client),
                sodium_bin2hex(nonce, sizeof nonce, store_bundle_name(*out)->nonce, (sizeof nonce - 1) / 2));
    if (status == STATUS_CORRUPT)
        journal(job->service->config->name, "burnt bundle %llu: %s", (unsigned long long)serial, status_message());
    return status == STATUS_EMPTY || status == STATUS_STATE || status == STATUS_CORRUPT ? STATUS_OK : status;
}

static enum status no_bundle(const struct job *job, const char *party)
{
    return status_fail(STATUS_EMPTY,
                       "no bundle is left at %s for %u tokens and a batch of %u: deal more with trefoil offline", party,
                       job->schedule->bucket, job->schedule->batch);
}

/* ---- P0 and P2 follow ---- */

static enum status follow_take(struct job *job, int leader, uint64_t serial, struct store_bundle **bundle)
{
    struct offer offer;
    enum status status = try_take(job, serial, bundle);
    if (status != STATUS_OK)
        return status;
    if (*bundle)
        return message_send(job->session, leader, NET_CONTROL, taken_json(*bundle, "taken"));
    status = own_offer(job, &offer);
    return status == STATUS_OK ? message_send(job->session, leader, NET_CONTROL, offer_json(job, &offer)) : status;
}

static enum status follow(struct job *job, struct store_bundle **out)
{
    const int leader = job->service->peer[1];
    struct offer offer;
    enum status status = own_offer(job, &offer);
    if (status == STATUS_OK)
        status = message_send(job->session, leader, NET_CONTROL, offer_json(job, &offer));
    for (bool done = false; status == STATUS_OK && !done;) {
        json_t *message = NULL;
        const char *result = NULL;
        uint64_t serial;
        bool same = false;
        status = message_receive(job->session, leader, NET_CONTROL, &message);
        if (status == STATUS_OK)
            status = message_text(message, "P1", "result", &result);
        if (status == STATUS_OK && strcmp(result, "take") == 0) {
            store_bundle_close(out);
            status = message_number(message, "P1", "serial", INT64_MAX, &serial);
            if (status == STATUS_OK)
                status = follow_take(job, leader, serial, out);
        } else if (status == STATUS_OK && *out && strcmp(result, "go") == 0) {
            status = same_bundle(message, "P1", *out, &same);
            if (status == STATUS_OK && !same)
                status = status_fail(STATUS_PEER, "P1 took another bundle than the one it asked for");
            done = true;
        } else if (status == STATUS_OK) {
            status = status_fail(STATUS_PEER, "P1 broke the agreement on a bundle");
        }
        json_decref(message);
    }
    return status;
}

/* ---- P1 leads ---- */

/* The followers' answers to one take: all took what we took, or their new offers. */
static enum status collect(struct job *job, const int followers[2], const struct store_bundle *own,
                           struct offer offers[2], bool *agreed)
{
    *agreed = own != NULL;
    for (int i = 0; i < 2; i++) {
        const char *from = job_peer_name(job, followers[i]);
        json_t *message = NULL;
        bool same = false;
        enum status status = message_receive(job->session, followers[i], NET_CONTROL, &message);
        if (status == STATUS_OK && json_object_get(message, "result")) {
            if (own)
                status = same_bundle(message, from, own, &same);
        } else if (status == STATUS_OK) {
            status = read_offer(job, message, from, &offers[i]);
        }
        json_decref(message);
        if (status != STATUS_OK)
            return status;
        *agreed &= same;
    }
    return STATUS_OK;
}

static enum status tell(struct job *job, const int followers[2], json_t *message)
{
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < 2; i++)
        status = message_send(job->session, followers[i], NET_CONTROL, json_incref(message));
    json_decref(message);
    return status;
}

static enum status lead_once(struct job *job, const int followers[2], struct offer offers[2],
                             struct store_bundle **out, bool *agreed)
{
    struct offer own;
    enum status status = own_offer(job, &own);
    if (status != STATUS_OK)
        return status;
    if (!own.count)
        return no_bundle(job, "P1");
    uint64_t serial = own.next;
    for (int i = 0; i < 2; i++) {
        if (!offers[i].count)
            return no_bundle(job, job_peer_name(job, followers[i]));
        if (offers[i].next > serial)
            serial = offers[i].next;
    }
    status = tell(job, followers, json_pack("{s:s, s:I}", "result", "take", "serial", (json_int_t)serial));
    if (status == STATUS_OK)
        status = try_take(job, serial, out);
    if (status == STATUS_OK)
        status = collect(job, followers, *out, offers, agreed);
    if (status == STATUS_OK && *agreed)
        status = tell(job, followers, taken_json(*out, "go"));
    if (status != STATUS_OK || !*agreed)
        store_bundle_close(out);
    return status;
}

static enum status lead(struct job *job, struct store_bundle **out)
{
    const int followers[2] = {job->service->peer[0], job->service->peer[2]};
    struct offer offers[2];
    for (int i = 0; i < 2; i++) {
        json_t *message = NULL;
        enum status status = message_receive(job->session, followers[i], NET_CONTROL, &message);
        if (status == STATUS_OK)
            status = read_offer(job, message, job_peer_name(job, followers[i]), &offers[i]);
        json_decref(message);
        if (status != STATUS_OK)
            return status;
    }
    enum status status = STATUS_OK;
    bool agreed = false;
    pthread_mutex_lock(&job->service->take);
    while (status == STATUS_OK && !agreed)
        status = lead_once(job, followers, offers, out, &agreed);
    pthread_mutex_unlock(&job->service->take);
    return status;
}

enum status agreement_take(struct job *job, struct store_bundle **out)
{
    *out = NULL;
    const enum status status = job->service->party == 1 ? lead(job, out) : follow(job, out);
    if (status != STATUS_OK)
        store_bundle_close(out);
    return status;
}
