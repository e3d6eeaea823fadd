/* Questions about a party: what it holds, and how it is. */
#include <stdlib.h>
#include <string.h>

#include <config.h>

#include "parties/job.h"
#include "ring/clock.h"

struct listing {
    struct job *job;
    const char *wanted; /* id, digits it begins with, or name; NULL: any */
    json_t *array;      /* newest last */
    unsigned char newest[MODEL_ID_BYTES];
    bool any;
};

/* ---- describe ---- */

#define ID_DIGITS_LEAST 12 /* as many of an id as status and messages print */

static bool begins_as_an_id(const char *text)
{
    return strspn(text, "0123456789abcdef") >= ID_DIGITS_LEAST;
}

static void add_model(struct listing *l, const unsigned char id[STORE_HASH_BYTES])
{
    memcpy(l->newest, id, sizeof l->newest);
    l->any = true;
    json_array_append_new(l->array, message_hex_new(id, MODEL_ID_BYTES));
}

static void match_any(void *context, const unsigned char id[STORE_HASH_BYTES])
{
    add_model(context, id);
}

static void match_id(void *context, const unsigned char id[STORE_HASH_BYTES])
{
    struct listing *l = context;
    json_t *hex = message_hex_new(id, MODEL_ID_BYTES);
    if (hex && strncmp(json_string_value(hex), l->wanted, strlen(l->wanted)) == 0)
        add_model(l, id);
    json_decref(hex);
}

static void match_name(void *context, const unsigned char id[STORE_HASH_BYTES])
{
    struct listing *l = context;
    struct description d;
    if (models_describe(l->job->service->store, id, &d) != STATUS_OK)
        return;
    if (strcmp(d.name, l->wanted) == 0)
        add_model(l, id);
    description_clear(&d);
}

/* A few digits are a name: they may be one, and begin ids of other models by chance. Enough of them to tell ids apart are an id
 * before they are a name, so that no name stands before an id that was read off. */
static enum status match_models(struct listing *l)
{
    struct store *store = l->job->service->store;
    if (!l->wanted)
        return store_model_list(store, match_any, l);
    enum status status = begins_as_an_id(l->wanted) ? store_model_list(store, match_id, l) : STATUS_OK;
    return status == STATUS_OK && !l->any ? store_model_list(store, match_name, l) : status;
}

static enum status send_description(struct listing *l)
{
    struct description d;
    char *text = NULL;
    enum status status = models_describe(l->job->service->store, l->newest, &d);
    if (status != STATUS_OK)
        return status;
    status = description_write(&d, &text);
    description_clear(&d);
    if (status == STATUS_OK)
        status = message_send(l->job->session, l->job->client, NET_REPLY,
                              json_pack("{s:s, s:O}", "description", text, "ids", l->array));
    free(text);
    return status;
}

/* The description of the newest that is meant, and the ids of all that are: another party may lack that one. */
enum status job_describe(struct job *job)
{
    const char *wanted = json_string_value(json_object_get(job->request, "model"));
    struct listing l = {.job = job, .wanted = wanted, .array = json_array()};
    enum status status = match_models(&l);
    if (status == STATUS_OK && !l.any)
        status = status_fail(STATUS_INPUT, wanted ? "%s holds no model \"%.80s\": see trefoil status"
                                                  : "%s holds no model%s: share one with trefoil share",
                             job->service->config->name, wanted ? wanted : "");
    if (status == STATUS_OK)
        status = send_description(&l);
    json_decref(l.array);
    return status;
}

/* ---- remove ---- */

/* STATUS_INPUT: it is not here. */
static enum status remove_from_store(struct job *job, const unsigned char id[MODEL_ID_BYTES])
{
    struct description d;
    const bool known = models_describe(job->service->store, id, &d) == STATUS_OK;
    const enum status status = store_model_remove(job->service->store, id);
    if (status == STATUS_OK)
        job_say_model(job, "removed", id, known ? d.name : NULL);
    if (known)
        description_clear(&d);
    return status;
}

/* That it is not here is an answer: it may be at another party. */
enum status job_remove(struct job *job)
{
    unsigned char id[MODEL_ID_BYTES];
    enum status status = message_hex(job->request, job_peer_name(job, job->client), "model", id, sizeof id);
    if (status != STATUS_OK)
        return status;
    status = remove_from_store(job, id);
    const bool removed = status == STATUS_OK;
    if (!removed && status != STATUS_INPUT)
        return status;
    const struct party_model *model = models_forget(job->service->models, id);
    warm_forget(job->service->warm, id);
    models_done(job->service->models, model);
    return message_send(job->session, job->client, NET_REPLY, json_pack("{s:b}", "removed", (int)removed));
}

/* ---- status ---- */

static void list_model(void *context, const unsigned char id[STORE_HASH_BYTES])
{
    struct listing *l = context;
    struct description d;
    if (models_describe(l->job->service->store, id, &d) != STATUS_OK)
        return;
    json_array_append_new(l->array,
                          json_pack("{s:o, s:s}", "id", message_hex_new(id, MODEL_ID_BYTES), "name", d.name));
    description_clear(&d);
}

/* The marks of a removed model stay in the store for ever: they are shown as long as there are bundles of it, too. */
static bool is_over(struct store *store, const struct store_count *c)
{
    struct store_model *model = NULL;
    if (c->ready || c->filling || c->bytes)
        return false;
    const enum status status = store_model_open(store, c->model, &model);
    store_model_close(&model);
    return status == STATUS_INPUT;
}

static void list_bundles(void *context, const struct store_count *c)
{
    struct listing *l = context;
    enum tune tune;
    if (is_over(l->job->service->store, c))
        return;
    const bool known = models_tune(l->job->service->models, c->model, c->schedule, c->bucket, c->batch, &tune);
    json_array_append_new(l->array,
                          json_pack("{s:o, s:I, s:I, s:s, s:I, s:I, s:I, s:I}", "model",
                                    message_hex_new(c->model, MODEL_ID_BYTES), "bucket", (json_int_t)c->bucket, "batch",
                                    (json_int_t)c->batch, "tune", !known ? "" : tune == TUNE_LAN ? "lan" : "wan", "ready",
                                    (json_int_t)c->ready, "filling", (json_int_t)c->filling, "mark", (json_int_t)c->mark,
                                    "bytes", (json_int_t)c->bytes));
}

static json_t *list_peers(const struct service *s)
{
    json_t *peers = json_array();
    for (int i = 0; i < 3; i++)
        if (s->peer[i] >= 0)
            json_array_append_new(peers, json_pack("{s:s, s:b}", "name", net_hub_peer_name(s->hub, s->peer[i]), "up",
                                                   (int)net_hub_peer_up(s->hub, s->peer[i])));
    return peers;
}

enum status job_status(struct job *job)
{
    struct service *s = job->service;
    struct listing models = {.job = job, .array = json_array()}, bundles = {.job = job, .array = json_array()};
    enum status status = store_model_list(s->store, list_model, &models);
    if (status == STATUS_OK)
        status = store_bundle_list(s->store, list_bundles, &bundles);
    if (status != STATUS_OK) {
        json_decref(models.array);
        json_decref(bundles.array);
        return status;
    }
    pthread_mutex_lock(&s->lock);
    const int running = s->running - 1; /* this one not counted */
    pthread_mutex_unlock(&s->lock);
    return message_send(job->session, job->client, NET_REPLY,
                        json_pack("{s:s, s:s, s:I, s:i, s:i, s:o, s:o, s:o}", "party", s->config->name, "version",
                                  PACKAGE_VERSION, "uptime_s", (json_int_t)(clock_seconds() - s->started), "requests", running, "loaded",
                                  (int)models_loaded(s->models),
                                  "models", models.array, "bundles", bundles.array, "peers", list_peers(s)));
}
