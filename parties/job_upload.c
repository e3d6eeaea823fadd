/* A model's weights arrive: masked weights at P1 and P2, the seeds of their masks at P0, P1, P2.
 *
 *   owner -> P0, P1, P2   the description; each checks it and answers
 *   owner -> P0           both seeds;   -> P_i: seed i
 *   owner -> P1, P2       m_W of each weight, answered one by one
 *   P1 <-> P2             the hash of all they received: both must hold the same m
 *   P0, P1, P2 -> owner   received
 *   owner -> P0, P1, P2   commit: all three have received all
 *   P0, P1, P2 -> owner   ready
 *
 * Before "commit" a model exists nowhere: a share that is interrupted leaves nothing behind, but in the moment when the commits
 * are on their way.
 *
 * opens  m_W = W + l_W1 + l_W2 to P1 and P2: each lacks one mask (layers/opening.h says how well that hides). The seeds are
 *        fresh at every upload and the masks are bound to the model's id, which holds the upload's nonce. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parties/job.h"

struct upload {
    struct job *job;
    struct description description;
    struct schedule shape;
    struct store_model *kept;
    unsigned char id[MODEL_ID_BYTES];
    crypto_generichash_state digest; /* of the masked weights */
};

static enum status read_request(struct upload *u)
{
    struct job *job = u->job;
    const char *text = NULL;
    enum status status = message_text(job->request, job_peer_name(job, job->client), "description", &text);
    if (status == STATUS_OK)
        status = description_read(&u->description, text);
    if (status == STATUS_OK)
        status = description_compile(&u->description, 2, 1, TUNE_WAN, &u->shape);
    if (status == STATUS_OK)
        status = description_id(&u->description, u->id);
    if (status == STATUS_OK)
        status = store_model_create(job->service->store, u->id, &u->kept);
    if (status == STATUS_OK)
        status = store_model_put(u->kept, MODEL_ITEM_DESCRIPTION, text, strlen(text));
    if (status == STATUS_OK)
        status = message_send(job->session, job->client, NET_REPLY,
                              json_pack("{s:o}", "id", message_hex_new(u->id, sizeof u->id)));
    return status;
}

static enum status receive_seeds(struct upload *u)
{
    struct ring_seed seeds[2];
    const size_t bytes = u->job->service->party == 0 ? sizeof seeds : sizeof *seeds;
    enum status status = net_receive(u->job->session, u->job->client, NET_SEED, 0, seeds, bytes);
    if (status == STATUS_OK)
        status = store_model_put(u->kept, MODEL_ITEM_SEEDS, seeds, bytes);
    sodium_memzero(seeds, sizeof seeds);
    return status;
}

static enum status receive_weight(struct upload *u, uint32_t number)
{
    struct job *job = u->job;
    const size_t bytes = weight_size(&u->shape.weight[number]) * sizeof(int64_t);
    void *m = malloc(bytes);
    if (!m)
        return status_fail(STATUS_MEMORY, "out of memory for %s", u->shape.weight[number].name);
    enum status status = net_receive(job->session, job->client, NET_WEIGHT, number, m, bytes);
    const bool came = status == STATUS_OK;
    if (came) {
        crypto_generichash_update(&u->digest, m, bytes);
        status = store_model_put(u->kept, MODEL_ITEM_WEIGHT + number, m, bytes);
    }
    if (status == STATUS_OK)
        status = message_send(job->session, job->client, NET_REPLY, json_pack("{s:I}", "kept", (json_int_t)number));
    if (came) /* else nothing is in it, of a size that a stranger's description chose */
        sodium_memzero(m, bytes);
    free(m);
    return status;
}

/* The owner could send two different m; nothing computed with them would mean anything. */
static enum status compare_digests(struct upload *u)
{
    struct job *job = u->job;
    const int peer = job->service->peer[3 - job->service->party];
    unsigned char own[STORE_HASH_BYTES], theirs[STORE_HASH_BYTES];
    json_t *message = NULL;
    crypto_generichash_final(&u->digest, own, sizeof own);
    /* It has the last weight in a while; and may be gone, which only the owner has noticed. */
    net_session_timeout(job->session, MESSAGE_WHILE_MS);
    enum status status =
        message_send(job->session, peer, NET_CONTROL, json_pack("{s:o}", "digest", message_hex_new(own, sizeof own)));
    if (status == STATUS_OK)
        status = message_receive(job->session, peer, NET_CONTROL, &message);
    if (status == STATUS_OK)
        status = message_hex(message, job_peer_name(job, peer), "digest", theirs, sizeof theirs);
    json_decref(message);
    if (status == STATUS_OK && memcmp(own, theirs, sizeof own) != 0)
        status = status_fail(STATUS_PEER, "%s sent other weights to P1 than to P2", job_peer_name(job, job->client));
    return status;
}

/* The model is made to exist once the owner knows that all three have it all. */
static enum status commit(struct upload *u)
{
    struct job *job = u->job;
    json_t *message = NULL;
    net_session_timeout(job->session, MESSAGE_PATIENCE_MS);
    enum status status =
        message_send(job->session, job->client, NET_REPLY, json_pack("{s:b}", "received", 1));
    if (status == STATUS_OK)
        status = message_receive(job->session, job->client, NET_CONTROL, &message);
    if (status == STATUS_OK && !json_is_true(json_object_get(message, "commit")))
        status = status_fail(STATUS_PEER, "%s did not say \"commit\" of a model when it was due",
                             job_peer_name(job, job->client));
    json_decref(message);
    if (status == STATUS_OK)
        status = store_model_ready(u->kept);
    if (status == STATUS_OK)
        job_say_model(job, "shared", u->id, u->description.name);
    return status;
}

enum status job_upload(struct job *job)
{
    struct upload u = {.job = job};
    net_session_timeout(job->session, MESSAGE_PATIENCE_MS);
    crypto_generichash_init(&u.digest, NULL, 0, STORE_HASH_BYTES);
    enum status status = read_request(&u);
    if (status == STATUS_OK)
        status = receive_seeds(&u);
    if (job->service->party != 0) {
        for (uint32_t i = 0; status == STATUS_OK && i < u.shape.weights; i++)
            status = receive_weight(&u, i);
        if (status == STATUS_OK)
            status = compare_digests(&u);
    }
    if (status == STATUS_OK)
        status = commit(&u);
    if (status == STATUS_OK)
        status = message_send(job->session, job->client, NET_REPLY, json_pack("{s:b}", "ready", 1));
    net_session_timeout(job->session, 0);
    store_model_close(&u.kept);
    schedule_clear(&u.shape);
    description_clear(&u.description);
    return status;
}
