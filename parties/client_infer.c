/* The client's side of an inference: share the input, add up the logits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "layers/embedding.h"
#include "layers/pooler.h"
#include "layers/scale.h"
#include "parties/client_session.h"
#include "ring/clock.h"
#include "ring/parameters.h"
#include "ring/stream.h"

json_t *client_shape_request(const char *op, const unsigned char *model, const struct schedule *s, enum tune tune)
{
    return json_pack("{s:s, s:o, s:i, s:i, s:s, s:o}", "op", op, "model", message_hex_new(model, MODEL_ID_BYTES), "bucket",
                     (int)s->bucket, "batch", (int)s->batch, "tune", tune == TUNE_LAN ? "lan" : "wan", "schedule",
                     message_hex_new(s->hash, SCHEDULE_HASH_BYTES));
}

/* ---- ranges: what calibration saw, and its margin ---- */

/* Of a tensor that the schedule declares. */
static double most_of(const struct description *d, const struct schedule *s, const char *name)
{
    uint32_t number = 0;
    for (uint32_t t = 0; t < s->tensors; t++) {
        if (s->tensor[t].ranged && strcmp(s->tensor[t].name, name) == 0)
            return SCALE_MARGIN * d->range[number].largest;
        number += s->tensor[t].ranged;
    }
    return 0;
}

#define ROUNDING (1.0 / 32) /* what passes here must pass the evaluators' check of it (layers/inverse.c), however rounded */

/* The first two values of an inference, which a client can see in the clear: beyond the margin the answer would be wrong, and masks
 * hide less (doc/security.md). Before a bundle is spent. */
static enum status check_embeddings(const struct description *d, const struct schedule *s, const struct inference *i)
{
    const uint32_t hidden = d->config.hidden;
    const double most = most_of(d, s, "embeddings");
    const double variance_most = (1 - ROUNDING) * most_of(d, s, "embeddings norm variance");
    for (size_t row = 0; row < (size_t)i->batch * i->bucket; row++) {
        const float *x = i->embeddings + row * hidden;
        double sum = 0, squares = hidden * (double)d->config.layer_norm_eps, largest = 0;
        for (uint32_t c = 0; c < hidden; c++) {
            sum += x[c];
            largest = fmax(largest, fabs((double)x[c]));
        }
        for (uint32_t c = 0; c < hidden; c++)
            squares += (x[c] - sum / hidden) * (x[c] - sum / hidden);
        if (!(largest <= most) || !(squares <= variance_most))
            return status_fail(STATUS_RANGE, "the embeddings of this text are too far from those the model was calibrated on "
                                             "(trefoil share --calibration): it is not sent");
    }
    return STATUS_OK;
}

/* ---- input: integers at the scale of the schedule, then two additive shares modulo 2^80 ---- */

static enum status fixed_embeddings(const struct inference *i, const struct tensor *t, int64_t *out)
{
    for (size_t n = 0; n < tensor_size(t); n++) {
        const double v = ldexp((double)i->embeddings[n], t->frac);
        if (!(fabs(v) < (double)RING_RANGE - 1))
            return status_fail(STATUS_RANGE, "an embedding of this text is outside the model's calibrated range");
        out[n] = llround(v);
    }
    return STATUS_OK;
}

static void mask_powers(const struct inference *i, int64_t *out)
{
    for (uint32_t b = 0; b < i->batch; b++) {
        const int64_t one = (int64_t)1 << embedding_mask_power(i->bucket, i->length[b]);
        for (uint32_t t = 0; t < i->bucket; t++)
            out[(size_t)b * i->bucket + t] = t < i->length[b] ? one : 0;
    }
}

/* x becomes x minus the share that P1 makes from the seed: that is P2's share. Sent at once. */
static enum status send_input(struct client *c, struct net_session *session, const struct ring_seed *seed, uint32_t number,
                              const int64_t *x, size_t n)
{
    const struct net_session_id id = net_session_id(session);
    void *data = malloc(n * RING_PRODUCT_BYTES);
    struct ring_seed key;
    if (!data)
        return status_fail(STATUS_MEMORY, "out of memory for an input");
    const struct ring_wide share = {data, (uint16_t *)((uint64_t *)data + n)};
    ring_stream_key(&key, seed, id.bytes, sizeof id.bytes, number, RING_PURPOSE_INPUT);
    ring_stream_wide(share, n, &key);
    for (size_t i = 0; i < n; i++)
        ring_wide_set(share, i, (ring_u128)(ring_i128)x[i] - ring_wide_get(share, i));
    const enum status status = net_send(session, c->party[2], NET_INPUT, number, data, n * RING_PRODUCT_BYTES);
    sodium_memzero(&key, sizeof key);
    sodium_memzero(data, n * RING_PRODUCT_BYTES);
    free(data);
    return status;
}

static enum status send_inputs(struct client *c, struct net_session *session, const struct schedule *s,
                               const struct inference *i)
{
    struct ring_seed seed;
    uint32_t number = 0;
    randombytes_buf(&seed, sizeof seed);
    enum status status = net_send(session, c->party[1], NET_INPUT, 0, &seed, sizeof seed);
    for (uint32_t g = 0; status == STATUS_OK && g < s->gates; g++) {
        if (s->gate[g].kind != GATE_INPUT)
            continue;
        const struct tensor *t = &s->tensor[s->gate[g].out];
        int64_t *x = malloc(tensor_size(t) * sizeof *x);
        if (!x)
            status = status_fail(STATUS_MEMORY, "out of memory for an input");
        else if (t->cols == 1)
            mask_powers(i, x);
        else
            status = fixed_embeddings(i, t, x);
        if (status == STATUS_OK)
            status = send_input(c, session, &seed, number++, x, tensor_size(t));
        if (x)
            sodium_memzero(x, tensor_size(t) * sizeof *x);
        free(x);
    }
    sodium_memzero(&seed, sizeof seed);
    return status;
}

/* ---- output ---- */

static enum status read_seconds(const json_t *list, double *seconds, uint32_t count)
{
    if (json_array_size(list) != count)
        return status_fail(STATUS_PEER, "a party sent a profile of another schedule");
    for (uint32_t i = 0; i < count; i++)
        seconds[i] = json_number_value(json_array_get(list, i));
    return STATUS_OK;
}

static enum status read_profile(const json_t *reply, const struct schedule *s, struct walk_profile *p)
{
    const json_t *profile = json_object_get(reply, "profile");
    enum status status = walk_profile_init(p, s);
    if (status == STATUS_OK)
        status = read_seconds(json_object_get(profile, "compute"), p->compute, s->gates);
    if (status == STATUS_OK)
        status = read_seconds(json_object_get(profile, "gemm"), p->gemm, s->gates);
    if (status == STATUS_OK)
        status = read_seconds(json_object_get(profile, "wait"), p->wait, s->rounds);
    p->warm = json_number_value(json_object_get(profile, "warm"));
    p->sealing = json_number_value(json_object_get(profile, "sealing"));
    p->sockets = json_number_value(json_object_get(profile, "sockets"));
    p->idle = json_number_value(json_object_get(profile, "idle"));
    return status;
}

static enum status receive_shares(struct client *c, struct net_session *session, const struct schedule *s, int party,
                                  uint32_t *shares, size_t count, struct inference *out)
{
    json_t *reply = NULL;
    enum status status = net_receive(session, c->party[party], NET_OUTPUT, 0, shares, count * sizeof *shares);
    if (status == STATUS_OK)
        status = client_reply(c, session, party, &reply);
    if (status == STATUS_OK)
        status = client_number(c, reply, party, "rounds", &out->rounds);
    if (status == STATUS_OK)
        status = client_number(c, reply, party, "bytes", &out->bytes);
    if (status == STATUS_OK && out->profile)
        status = read_profile(reply, s, &out->profile[party - 1]);
    const double ms = json_number_value(json_object_get(reply, "online_ms"));
    out->online_ms = ms > out->online_ms ? ms : out->online_ms;
    out->ahead &= json_is_true(json_object_get(reply, "ahead"));
    json_decref(reply);
    return status;
}

static enum status receive_logits(struct client *c, struct net_session *session, const struct schedule *s,
                                  uint32_t labels, struct inference *i)
{
    const size_t count = (size_t)i->batch * labels;
    uint32_t *shares = calloc(2 * count, sizeof *shares);
    if (!shares)
        return status_fail(STATUS_MEMORY, "out of memory");
    i->online_ms = 0;
    i->ahead = true;
    enum status status = receive_shares(c, session, s, 1, shares, count, i);
    if (status == STATUS_OK)
        status = receive_shares(c, session, s, 2, shares + count, count, i);
    for (size_t n = 0; status == STATUS_OK && n < count; n++)
        i->logits[n] = ldexpf((float)(int32_t)(shares[n] + shares[count + n]), -POOLER_LOGIT_FRAC);
    sodium_memzero(shares, 2 * count * sizeof *shares);
    free(shares);
    return status;
}

/* All three have taken the same bundle. */
static enum status expect_serial(struct client *c, struct net_session *session, struct inference *i)
{
    enum status status = STATUS_OK;
    for (int party = 0; status == STATUS_OK && party < 3; party++) {
        json_t *reply = NULL;
        uint64_t serial = 0;
        status = client_reply(c, session, party, &reply);
        if (status == STATUS_OK)
            status = client_number(c, reply, party, "serial", &serial);
        if (status == STATUS_OK && party > 0 && serial != i->serial)
            status = status_fail(STATUS_PEER, "the parties do not agree on the bundle of this inference");
        i->serial = serial;
        json_decref(reply);
    }
    return status;
}

static enum status infer_once(struct client *c, const struct description *d, const struct schedule *s, struct inference *i)
{
    struct net_session *session = NULL;
    json_t *request = client_shape_request("infer", i->model, s, i->tune);
    if (request && i->profile)
        json_object_set_new(request, "profile", json_true());
    enum status status = client_ask(c, 7, request, &session);
    if (status == STATUS_OK)
        status = expect_serial(c, session, i);
    if (status == STATUS_OK)
        status = send_inputs(c, session, s, i);
    if (status == STATUS_OK)
        status = receive_logits(c, session, s, d->config.labels, i);
    net_session_close(&session);
    return status;
}

enum status client_infer(struct client *c, const struct description *d, struct inference *i)
{
    struct schedule s;
    unsigned tries = 0;
    if (i->profile)
        memset(i->profile, 0, 2 * sizeof *i->profile);
    enum status status = description_compile(d, i->bucket, i->batch, i->tune, &s);
    if (status != STATUS_OK)
        return status;
    for (uint32_t b = 0; status == STATUS_OK && b < i->batch; b++)
        if (i->length[b] < 2 || i->length[b] > i->bucket)
            status = status_fail(STATUS_INPUT, "a text of %u tokens in a bucket of %u", i->length[b], i->bucket);
    if (status == STATUS_OK)
        status = check_embeddings(d, &s, i);
    const double start = clock_seconds();
    if (status == STATUS_OK) {
        do
            status = infer_once(c, d, &s, i);
        while (client_again(c, status, start, &tries));
    }
    i->total_ms = 1e3 * (clock_seconds() - start);
    schedule_clear(&s);
    return status;
}
