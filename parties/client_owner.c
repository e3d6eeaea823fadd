/* The model owner's and the operator's side: sharing weights, asking for bundles. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parties/client_session.h"
#include "parties/models.h"
#include "ring/clock.h"
#include "ring/parameters.h"

/* ---- bundles ---- */

/* Reports of one party until its last. */
static enum status follow_reports(struct client *c, struct net_session *session, int party, struct deal_request *r,
                                  uint64_t *received)
{
    uint64_t ready = 0;
    for (bool last = false; !last;) {
        json_t *reply = NULL;
        uint64_t done = 0;
        enum status status = client_reply(c, session, party, &reply);
        if (status == STATUS_OK)
            status = client_number(c, reply, party, "done", &done);
        if (status == STATUS_OK)
            status = client_number(c, reply, party, "ready", &ready);
        if (status == STATUS_OK)
            status = client_number(c, reply, party, "received", received);
        last = json_is_true(json_object_get(reply, "last"));
        json_decref(reply);
        if (status != STATUS_OK)
            return status;
        r->dealt = (uint32_t)done;
        if (party == 0 && r->progress)
            r->progress(r->context, done, r->count);
    }
    /* What one party lacks nobody can use. */
    r->ready = party == 0 || ready < r->ready ? ready : r->ready;
    return STATUS_OK;
}

static enum status deal_once(struct client *c, const struct schedule *s, struct deal_request *r)
{
    struct net_session *session = NULL;
    uint64_t received[3] = {0, 0, 0};
    json_t *request = client_shape_request("deal", r->model, s, r->tune);
    json_object_set_new(request, "count", json_integer((json_int_t)r->count));
    enum status status = client_ask(c, 7, request, &session);
    if (status == STATUS_OK)
        net_session_timeout(session, MESSAGE_PATIENCE_MS);
    for (int party = 0; status == STATUS_OK && party < 3; party++)
        status = follow_reports(c, session, party, r, &received[party]);
    r->bytes_p1 = received[1];
    r->bytes_p2 = received[2];
    net_session_close(&session);
    return status;
}

enum status client_deal(struct client *c, const struct description *d, struct deal_request *r)
{
    struct schedule s;
    unsigned tries = 0;
    enum status status = description_compile(d, r->bucket, r->batch, r->tune, &s);
    if (status != STATUS_OK)
        return status;
    const double start = clock_seconds();
    do
        status = deal_once(c, &s, r);
    while (client_again(c, status, start, &tries));
    r->seconds = clock_seconds() - start;
    schedule_clear(&s);
    return status;
}

/* ---- sharing a model ---- */

struct sharing {
    struct client *client;
    struct net_session *session;
    const unsigned char *id;
    struct ring_seed seed[2];
};

/* m = W 2^frac + l_1 + l_2, for P1 and P2. */
static enum status mask_weight(const struct sharing *sh, const struct weight *w, uint32_t number, const float *values,
                               int64_t *m, int64_t *scratch)
{
    const size_t n = weight_size(w);
    enum status status = STATUS_OK;
    models_masks(m, n, &sh->seed[0], sh->id, number);
    models_masks(scratch, n, &sh->seed[1], sh->id, number);
    for (size_t i = 0; status == STATUS_OK && i < n; i++) {
        const double v = ldexp((double)values[i], w->frac);
        if (!(fabs(v) < (double)RING_RANGE))
            status = status_fail(STATUS_RANGE, "%s: a weight does not fit %d fraction bits", w->name, w->frac);
        else
            m[i] += scratch[i] + llround(v);
    }
    return status;
}

static enum status expect_kept(struct sharing *sh)
{
    for (int party = 1; party < 3; party++) {
        json_t *reply = NULL;
        const enum status status = client_reply(sh->client, sh->session, party, &reply);
        json_decref(reply);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status send_weight(struct sharing *sh, const struct weight *w, uint32_t number, const float *values)
{
    const size_t n = weight_size(w), bytes = n * sizeof(int64_t);
    int64_t *m = malloc(bytes), *scratch = malloc(bytes);
    enum status status = m && scratch ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for %s", w->name);
    if (status == STATUS_OK)
        status = mask_weight(sh, w, number, values, m, scratch);
    for (int party = 1; status == STATUS_OK && party < 3; party++)
        status = net_send(sh->session, sh->client->party[party], NET_WEIGHT, number, m, bytes);
    if (status == STATUS_OK)
        status = expect_kept(sh);
    if (m)
        sodium_memzero(m, bytes);
    if (scratch)
        sodium_memzero(scratch, bytes);
    free(m);
    free(scratch);
    return status;
}

/* All three computed the same id from the description they received. */
static enum status expect_id(struct sharing *sh)
{
    for (int party = 0; party < 3; party++) {
        json_t *reply = NULL;
        unsigned char id[MODEL_ID_BYTES];
        enum status status = client_reply(sh->client, sh->session, party, &reply);
        if (status == STATUS_OK)
            status = message_hex(reply, net_hub_peer_name(sh->client->hub, sh->client->party[party]), "id", id, sizeof id);
        json_decref(reply);
        if (status == STATUS_OK && memcmp(id, sh->id, sizeof id) != 0)
            status = status_fail(STATUS_FOREIGN, "P%d reads the model's description differently: do all run the same version?",
                                 party);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status send_seeds(struct sharing *sh)
{
    const int *party = sh->client->party;
    enum status status = net_send(sh->session, party[0], NET_SEED, 0, sh->seed, sizeof sh->seed);
    if (status == STATUS_OK)
        status = net_send(sh->session, party[1], NET_SEED, 0, &sh->seed[0], sizeof sh->seed[0]);
    if (status == STATUS_OK)
        status = net_send(sh->session, party[2], NET_SEED, 0, &sh->seed[1], sizeof sh->seed[1]);
    return status;
}

/* One reply of each. */
static enum status expect_all(struct sharing *sh)
{
    for (int party = 0; party < 3; party++) {
        json_t *reply = NULL;
        const enum status status = client_reply(sh->client, sh->session, party, &reply);
        json_decref(reply);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Makes the model exist, now that all three have received all of it. */
static enum status commit(struct sharing *sh)
{
    enum status status = expect_all(sh);
    for (int party = 0; status == STATUS_OK && party < 3; party++)
        status = message_send(sh->session, sh->client->party[party], NET_CONTROL, json_pack("{s:b}", "commit", 1));
    return status == STATUS_OK ? expect_all(sh) : status;
}

/* The parties wait for a long time, but not for what does not come. */
static void give_up(struct sharing *sh, enum status status)
{
    for (int party = 0; sh->session && party < 3; party++)
        net_send_error(sh->session, sh->client->party[party], status);
}

enum status client_share(struct client *c, const struct description *d, const struct folded *folded,
                         void (*progress)(void *context, uint64_t done, uint64_t count), void *context,
                         unsigned char id[MODEL_ID_BYTES])
{
    struct sharing sh = {.client = c, .id = id};
    struct schedule s;
    char *text = NULL;
    enum status status = description_compile(d, 2, 1, TUNE_WAN, &s);
    if (status != STATUS_OK)
        return status;
    randombytes_buf(sh.seed, sizeof sh.seed);
    status = description_id(d, id);
    if (status == STATUS_OK)
        status = description_write(d, &text);
    if (status == STATUS_OK)
        status = client_ask(c, 7, json_pack("{s:s, s:s}", "op", "share", "description", text), &sh.session);
    free(text);
    if (status == STATUS_OK)
        net_session_timeout(sh.session, MESSAGE_PATIENCE_MS);
    if (status == STATUS_OK)
        status = expect_id(&sh);
    if (status == STATUS_OK)
        status = send_seeds(&sh);
    for (uint32_t i = 0; status == STATUS_OK && i < s.weights; i++) {
        status = send_weight(&sh, &s.weight[i], i, folded->weight[i]);
        if (progress)
            progress(context, i + 1, s.weights);
    }
    if (status == STATUS_OK)
        status = commit(&sh);
    if (status != STATUS_OK)
        give_up(&sh, status);
    net_session_close(&sh.session);
    sodium_memzero(&sh, sizeof sh);
    schedule_clear(&s);
    return status;
}
