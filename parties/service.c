#include "parties/service.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "parties/job.h"
#include "parties/journal.h"
#include "ring/clock.h"
#include "ring/threads.h"

#define ACCEPT_WAIT_MS 500
#define PLACE_WAIT_S 5
#define QUICK_MOST 8 /* quick requests at a time, beside those that need a place */

/* ---- what may be asked, by whom ---- */

struct operation {
    const char *name;
    enum status (*run)(struct job *job);
    unsigned roles; /* bit r: role r may ask */
    bool quick;     /* needs no place: served at once, however many others are */
};

#define MAY(role) (1u << (role))
#define ANY_CALLER (MAY(NET_ROLE_OWNER) | MAY(NET_ROLE_CLIENT) | MAY(NET_ROLE_OPERATOR))

static const struct operation operations[] = {
    {"infer", job_infer, MAY(NET_ROLE_OWNER) | MAY(NET_ROLE_CLIENT), false},
    {"deal", job_deal, MAY(NET_ROLE_OWNER) | MAY(NET_ROLE_OPERATOR), false},
    {"share", job_upload, MAY(NET_ROLE_OWNER), false},
    {"remove", job_remove, MAY(NET_ROLE_OWNER), false},
    {"describe", job_describe, ANY_CALLER, true},
    {"status", job_status, ANY_CALLER, true},
};

/* Deadlines do not jump with the clock of the day. */
void job_cond_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* Both under the lock. */
static void join_queue(struct service *service, struct job *job)
{
    struct job **last = &service->queue;
    while (*last)
        last = &(*last)->behind;
    *last = job;
}

static void leave_queue(struct service *service, struct job *job)
{
    struct job **at = &service->queue;
    while (*at && *at != job)
        at = &(*at)->behind;
    if (*at)
        *at = job->behind;
    pthread_cond_broadcast(&service->idle);
}

/* A client that asks for the next thing as soon as it has its answer is faster than what ends here: a request waits a while for a
 * place, in its own thread. Places are given in the order in which requests came: were they given in another one at each party,
 * every request that has a place here might wait for one that has none there. */
static enum status take_place(struct service *service, struct job *job)
{
    const int most = service->config->requests_max;
    enum status status = STATUS_OK;
    struct timespec late;
    clock_gettime(CLOCK_MONOTONIC, &late);
    late.tv_sec += PLACE_WAIT_S;
    pthread_mutex_lock(&service->lock);
    while ((service->serving >= most || service->queue != job) && !service->stopping &&
           pthread_cond_timedwait(&service->idle, &service->lock, &late) == 0)
        continue;
    if (service->stopping)
        status = status_fail(STATUS_STOPPED, "%s is being stopped", service->config->name);
    else if (service->serving >= most || service->queue != job)
        status = status_fail(STATUS_BUSY, "%s already serves %d requests (requests_max): try again, or fewer at a time",
                             service->config->name, most);
    else
        service->serving++;
    leave_queue(service, job);
    pthread_mutex_unlock(&service->lock);
    return status;
}

static void give_place(struct service *service)
{
    pthread_mutex_lock(&service->lock);
    service->serving--;
    pthread_cond_broadcast(&service->idle);
    pthread_mutex_unlock(&service->lock);
}

static enum status run_operation(struct job *job)
{
    if (job->operation->quick)
        return job->operation->run(job);
    enum status status = take_place(job->service, job);
    if (status != STATUS_OK)
        return status;
    status = job->operation->run(job);
    give_place(job->service);
    return status;
}

static enum status find_operation(struct job *job)
{
    const char *name = NULL;
    enum status status = message_text(job->request, job_peer_name(job, job->client), "op", &name);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operations[i].name, name) != 0)
            continue;
        if (!(operations[i].roles & MAY(job->role)))
            return status_fail(STATUS_REFUSED, "%s may not ask %s for \"%s\": its role in the configuration does not allow it",
                               job_peer_name(job, job->client), job->service->config->name, name);
        job->operation = &operations[i];
        return STATUS_OK;
    }
    return status_fail(STATUS_INPUT, "%s does not know the request \"%.32s\": is it an older version?",
                       job->service->config->name, name);
}

/* ---- one thread a request ---- */

/* Quick requests and the others are counted apart: status is told however many wait for a place. */
static enum status enter(struct service *service, struct job *job)
{
    const int most = 2 * service->config->requests_max; /* with a place, and as many that wait for one */
    enum status status = STATUS_OK;
    pthread_mutex_lock(&service->lock);
    const int others = service->running - service->quick;
    if (job->operation->quick && service->quick >= QUICK_MOST) {
        status = status_fail(STATUS_BUSY, "%s is asked %d questions already: try again, or fewer at a time",
                             service->config->name, service->quick);
    } else if (!job->operation->quick && others >= most) {
        status = status_fail(STATUS_BUSY, "%s has %d requests already (requests_max): try again, or fewer at a time",
                             service->config->name, others);
    } else {
        if (!job->operation->quick)
            join_queue(service, job);
        service->running++;
        service->quick += job->operation->quick;
    }
    pthread_mutex_unlock(&service->lock);
    return status;
}

static void leave(struct service *service, struct job *job)
{
    pthread_mutex_lock(&service->lock);
    leave_queue(service, job);
    service->running--;
    service->quick -= job->operation->quick;
    pthread_cond_broadcast(&service->idle);
    pthread_mutex_unlock(&service->lock);
}

static void finish_job(struct job *job)
{
    struct service *service = job->service;
    json_decref(job->request);
    net_session_close(&job->session);
    models_schedule_done(service->models, job->schedule);
    models_done(service->models, job->model);
    leave(service, job);
    free(job);
}

/* A failure here must not leave the others waiting, if they take part in such requests at all. */
static void report_failure(struct job *job, enum status status)
{
    notices_failure(&job->service->notices, job_peer_name(job, job->client), status);
    net_send_error(job->session, job->client, status);
    if (!job->operation || job->operation->quick)
        return;
    for (int i = job->kept_from_dealer ? 1 : 0; i < 3; i++)
        if (job->service->peer[i] >= 0)
            net_send_error(job->session, job->service->peer[i], status);
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    threads_set(job->service->config->threads);
    const enum status status = run_operation(job);
    if (status != STATUS_OK)
        report_failure(job, status);
    finish_job(job);
    return NULL;
}

static enum status start_job(struct service *service, struct net_session *session, int client, const char *payload)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return status_fail(STATUS_MEMORY, "out of memory for a request");
    *job = (struct job){.service = service, .session = session, .client = client,
                        .role = net_hub_peer_role(service->hub, client)};
    enum status status = message_parse(payload, net_hub_peer_name(service->hub, client), &job->request);
    if (status == STATUS_OK)
        status = find_operation(job);
    if (status == STATUS_OK)
        status = enter(service, job);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (status == STATUS_OK && pthread_create(&thread, &detached, run_job, job) != 0) {
        status = status_fail(STATUS_MEMORY, "no thread for a request");
        leave(service, job);
    }
    pthread_attr_destroy(&detached);
    if (status != STATUS_OK) {
        report_failure(job, status);
        json_decref(job->request);
        free(job);
    }
    return status;
}

/* ---- the service ---- */

static enum status find_parties(struct service *s)
{
    static const enum net_role roles[3] = {NET_ROLE_P0, NET_ROLE_P1, NET_ROLE_P2};
    s->party = -1;
    for (int i = 0; i < 3; i++) {
        s->peer[i] = -1;
        if (s->config->role == roles[i])
            s->party = i;
        else if ((s->peer[i] = net_hub_peer(s->hub, roles[i])) < 0)
            return status_fail(STATUS_INPUT, "the configuration of %s names no peer with the role P%d", s->config->name, i);
    }
    if (s->party < 0)
        return status_fail(STATUS_INPUT, "%s is not a party: the role in its configuration must be P0, P1 or P2",
                           s->config->name);
    return STATUS_OK;
}

static void say(void *context, const char *line)
{
    journal(context, "%s", line);
}

enum status service_open(struct service **out, const struct config *config, void *context)
{
    static const char *const names[3] = {"P0", "P1", "P2"};
    struct service *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return status_fail(STATUS_MEMORY, "out of memory");
    s->config = config;
    s->started = clock_seconds();
    notices_init(&s->notices, config->name);
    pthread_mutex_init(&s->take, NULL);
    turn_init(&s->deal);
    pthread_mutex_init(&s->lock, NULL);
    job_cond_init(&s->idle);
    enum status status = config_hub(config, context, &s->hub);
    if (status == STATUS_OK)
        status = find_parties(s);
    if (status == STATUS_OK) {
        const struct store_options options = {
            .path = config->store, .party = names[s->party], .map_bytes = config->store_bytes,
            .say = say, .context = (void *)config->name};
        status = store_open(&s->store, &options);
    }
    if (status == STATUS_OK)
        status = models_open(&s->models, s->store, s->party);
    if (status == STATUS_OK)
        status = warm_open(&s->warm, config, s->store, s->models, s->party);
    if (status != STATUS_OK) {
        char why[1000]; /* not what closing may add to it */
        status_copy(why, sizeof why);
        service_close(out);
        status_fail(status, "%s", why);
    }
    return status;
}

enum status service_run(struct service *s)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK || status == STATUS_TIMEOUT) {
        struct net_session *session = NULL;
        const char *payload = NULL;
        int client = -1;
        status = net_hub_accept(s->hub, &session, &client, &payload, ACCEPT_WAIT_MS);
        if (status == STATUS_OK && start_job(s, session, client, payload) != STATUS_OK)
            net_session_close(&session);
        notices_poll(&s->notices, s->hub, s->peer);
    }
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->idle);
    while (s->running > 0)
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
    notices_end(&s->notices);
    return status == STATUS_STOPPED ? STATUS_OK : status;
}

void service_stop(struct service *s)
{
    net_hub_stop(s->hub);
}

const char *service_endpoint(const struct service *s)
{
    return net_hub_endpoint(s->hub);
}

enum status service_close(struct service **service)
{
    struct service *s = *service;
    if (!s)
        return STATUS_OK;
    warm_close(&s->warm);
    models_close(&s->models);
    const enum status status = store_close(&s->store);
    net_hub_close(&s->hub);
    notices_clear(&s->notices);
    pthread_mutex_destroy(&s->take);
    turn_clear(&s->deal);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->idle);
    free(s);
    *service = NULL;
    return status;
}

/* ---- what several jobs begin with ---- */

static enum status read_shape(struct job *job, uint32_t *bucket, uint32_t *batch)
{
    const char *from = job_peer_name(job, job->client), *tune = NULL;
    uint64_t number = 0;
    enum status status = message_number(job->request, from, "bucket", 1u << 16, &number);
    *bucket = (uint32_t)number;
    if (status == STATUS_OK)
        status = message_number(job->request, from, "batch", 1024, &number);
    *batch = (uint32_t)number;
    if (status == STATUS_OK)
        status = message_text(job->request, from, "tune", &tune);
    if (status == STATUS_OK)
        job->tune = strcmp(tune, "lan") == 0 ? TUNE_LAN : TUNE_WAN;
    const struct config *c = job->service->config;
    bool accepted = c->buckets == 0;
    for (uint32_t i = 0; i < c->buckets; i++)
        accepted |= c->bucket[i] == *bucket;
    if (status == STATUS_OK && !accepted)
        status = status_fail(STATUS_INPUT, "%s does not serve sequences of %u tokens (see \"buckets\" in its configuration)",
                             c->name, *bucket);
    return status;
}

enum status job_open_schedule(struct job *job)
{
    const char *from = job_peer_name(job, job->client);
    unsigned char id[MODEL_ID_BYTES], hash[SCHEDULE_HASH_BYTES];
    uint32_t bucket, batch;
    enum status status = message_hex(job->request, from, "model", id, sizeof id);
    if (status == STATUS_OK)
        status = message_hex(job->request, from, "schedule", hash, sizeof hash);
    if (status == STATUS_OK)
        status = read_shape(job, &bucket, &batch);
    if (status == STATUS_OK)
        status = models_get(job->service->models, id, &job->model);
    if (status == STATUS_OK)
        status = models_schedule(job->service->models, job->model, bucket, batch, job->tune, &job->schedule);
    if (status == STATUS_OK && memcmp(hash, job->schedule->hash, sizeof hash) != 0)
        status = status_fail(STATUS_FOREIGN, "%s and %s compile different schedules for this model: do they run the same "
                                             "version of trefoil?", job->service->config->name, from);
    return status;
}

void job_say_model(const struct job *job, const char *did, const unsigned char id[MODEL_ID_BYTES], const char *name)
{
    char hex[13]; /* as many digits as trefoil status prints */
    sodium_bin2hex(hex, sizeof hex, id, (sizeof hex - 1) / 2);
    journal(job->service->config->name, "%s %s model %s%s%s%s", job_peer_name(job, job->client), did, hex, name ? " (" : "",
            name ? name : "", name ? ")" : "");
}
