#include "parties/warm.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "parties/bundle_items.h"
#include "parties/job.h"
#include "parties/journal.h"
#include "parties/memory.h"
#include "ring/clock.h"
#include "ring/threads.h"

#define REST_S 30 /* how often shapes that nobody uses any more are looked for */

struct warm_shape {
    struct warm_shape *next; /* used before this one */
    const struct party_model *model;
    const struct schedule *schedule; /* referenced, and by it the model */
    double used;
    bool settled; /* there was nothing to warm, or it failed: until it is used again */
};

enum ahead_state { AHEAD_WARMING, AHEAD_READY, AHEAD_FAILED };

struct ahead {
    struct ahead *next;
    struct warm *warm;
    const struct schedule *schedule; /* referenced */
    struct store_name name;
    struct store_bundle *bundle; /* while it is read */
    struct evaluator e;
    enum ahead_state state;
    bool wanted; /* an inference waits for it */
    bool drop;
    double seconds, rested;
};

struct warm {
    const struct config *config;
    struct store *store;
    struct models *models;
    int party;
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved;
    bool stop;
    int busy; /* inferences under way */
    struct warm_shape *shapes;
    struct ahead *aheads;
};

/* ---- lists, under lock ---- */

static bool same_line(const struct ahead *a, const struct store_name *name)
{
    return memcmp(a->name.model, name->model, sizeof name->model) == 0 &&
           memcmp(a->name.schedule, name->schedule, sizeof name->schedule) == 0;
}

static struct ahead *find(struct warm *w, const struct store_name *line, uint64_t serial)
{
    struct ahead *a = w->aheads;
    while (a && !(same_line(a, line) && a->name.serial == serial))
        a = a->next;
    return a;
}

static void unlink_ahead(struct warm *w, struct ahead *a)
{
    struct ahead **at = &w->aheads;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
}

static void unlink_shape(struct warm *w, struct warm_shape *s)
{
    struct warm_shape **at = &w->shapes;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    models_schedule_done(w->models, s->schedule);
    free(s);
}

static void fill_line(struct store_name *out, const struct party_model *model,
                      const struct schedule *schedule)
{
    memset(out, 0, sizeof *out);
    memcpy(out->model, model->id, sizeof out->model);
    memcpy(out->schedule, schedule->hash, sizeof out->schedule);
}

/* Not under lock: wiping takes its time. */
static void free_ahead(struct ahead *a)
{
    if (!a)
        return;
    if (a->e.schedule)
        evaluator_clear(&a->e);
    models_schedule_done(a->warm->models, a->schedule);
    free(a);
}

/* ---- warming one bundle ---- */

/* Rests while an inference is under way that does not wait for this bundle. */
static enum status rest(struct ahead *a)
{
    struct warm *w = a->warm;
    const double start = clock_seconds();
    pthread_mutex_lock(&w->lock);
    while (w->busy > 0 && !a->wanted && !a->drop && !w->stop)
        pthread_cond_wait(&w->moved, &w->lock);
    const bool stop = a->drop || (w->stop && !a->wanted);
    pthread_mutex_unlock(&w->lock);
    a->rested += clock_seconds() - start;
    return stop ? status_fail(STATUS_STOPPED, "a bundle warmed ahead is not needed any more") : STATUS_OK;
}

static enum status load_part(void *context, uint32_t gate, enum part part, void *data, size_t bytes)
{
    struct ahead *a = context;
    const enum status status = rest(a);
    return status == STATUS_OK ? store_bundle_get(a->bundle, bundle_item(gate, part), data, bytes) : status;
}

static enum status warm_bundle(struct ahead *a, const struct party_model *model)
{
    struct warm *w = a->warm;
    const double start = clock_seconds();
    a->rested = 0;
    enum status status =
        store_bundle_peek(w->store, a->name.model, a->name.schedule, a->name.serial, &a->bundle);
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&w->lock);
    a->name = *store_bundle_name(a->bundle);
    pthread_mutex_unlock(&w->lock);
    a->e = (struct evaluator){.schedule = a->schedule,
                              .party = w->party,
                              .weight = model->share,
                              .label = {&a->name, sizeof a->name},
                              .load = load_part,
                              .context = a};
    status = evaluator_init(&a->e);
    if (status == STATUS_OK)
        status = store_bundle_get(a->bundle, BUNDLE_ITEM_SEED, &a->e.seed, sizeof a->e.seed);
    if (status == STATUS_OK)
        status = walk_warm(&a->e);
    store_bundle_close(&a->bundle);
    a->seconds = clock_seconds() - start - a->rested;
    return status;
}

/* ---- what to warm next ---- */

/* Twice what it takes: an inference may begin meanwhile, with a bundle of its own. */
static bool fits(const struct schedule *schedule)
{
    struct cost cost;
    walk_count(schedule, &cost);
    return memory_available() / 2 > cost.memory_bytes;
}

static struct ahead *start_ahead(struct warm *w, struct warm_shape *s, const struct store_name *line,
                                 uint64_t serial)
{
    struct ahead *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->warm = w;
    a->schedule = s->schedule;
    models_schedule_keep(w->models, s->schedule);
    a->name = *line;
    a->name.serial = serial;
    a->next = w->aheads;
    w->aheads = a;
    return a;
}

/* The next bundle of a shape that is to be warmed, or NULL. Under lock, and only while no inference is under way: what is
 * dropped here because it was taken cannot be what an inference is about to claim. */
static struct ahead *next_of_shape(struct warm *w, struct warm_shape *s, struct ahead **drop)
{
    struct store_name line;
    uint64_t lowest = 0, mark = 0, count = 0;
    fill_line(&line, s->model, s->schedule);
    if (store_bundle_next(w->store, line.model, line.schedule, &lowest, &mark, &count) != STATUS_OK)
        return NULL;
    int have = 0;
    for (struct ahead *a = w->aheads, *next; a; a = next) {
        next = a->next;
        if (!same_line(a, &line))
            continue;
        have++;
        if (count > 0 && a->name.serial >= lowest)
            continue;
        have--;
        unlink_ahead(w, a);
        a->next = *drop;
        *drop = a;
    }
    uint64_t serial = lowest;
    while (find(w, &line, serial))
        serial++;
    if (have >= w->config->warm || serial - lowest >= count || !fits(s->schedule)) {
        s->settled = true;
        return NULL;
    }
    return start_ahead(w, s, &line, serial);
}

/* Shapes that nobody uses any more go, with what was warmed of them. */
static void forget_shape(struct warm *w, struct warm_shape *s, struct ahead **drop)
{
    struct store_name line;
    fill_line(&line, s->model, s->schedule);
    for (struct ahead *a = w->aheads, *next; a; a = next) {
        next = a->next;
        if (!same_line(a, &line))
            continue;
        a->drop = true;
        if (a->state == AHEAD_WARMING || a->wanted)
            continue; /* whoever works on it or waits for it takes it out */
        unlink_ahead(w, a);
        a->next = *drop;
        *drop = a;
    }
    unlink_shape(w, s);
}

static struct ahead *next_ahead(struct warm *w, const struct party_model **model, struct ahead **drop)
{
    const double now = clock_seconds();
    int shapes = 0;
    for (struct warm_shape *s = w->shapes, *next; s; s = next) {
        next = s->next;
        if (++shapes > WARM_SHAPES || now - s->used > WARM_KEEP_S) {
            forget_shape(w, s, drop);
            continue;
        }
        *model = s->model;
        struct ahead *a = s->settled ? NULL : next_of_shape(w, s, drop);
        if (a)
            return a;
    }
    return NULL;
}

/* ---- the thread ---- */

static void drop_all(struct ahead *list)
{
    while (list) {
        struct ahead *next = list->next;
        free_ahead(list);
        list = next;
    }
}

/* A bundle that does not verify will serve nobody: it is deleted before it is asked for, it alone. Returns whether another one of
 * its shape may do better. */
static bool drop_bad(struct warm *w, struct ahead *a, enum status status)
{
    if (status == STATUS_STOPPED || status == STATUS_EMPTY)
        return false;
    journal(w->config->name, "bundle %llu was not warmed ahead (%s): %s", (unsigned long long)a->name.serial,
            status_name(status), status_message());
    return status == STATUS_CORRUPT &&
           store_bundle_drop(w->store, a->name.model, a->name.schedule, a->name.serial) == STATUS_OK;
}

static void settle_line(struct warm *w, const struct ahead *a)
{
    for (struct warm_shape *s = w->shapes; s; s = s->next)
        s->settled |= s->schedule == a->schedule;
}

/* Warms a bundle, not under lock, and hands it to whoever waits. Returns it if nobody is to have it. */
static struct ahead *work(struct warm *w, struct ahead *a, const struct party_model *model)
{
    pthread_mutex_unlock(&w->lock);
    const enum status status = warm_bundle(a, model);
    const bool settled = status != STATUS_OK && !drop_bad(w, a, status);
    pthread_mutex_lock(&w->lock);
    a->state = status == STATUS_OK ? AHEAD_READY : AHEAD_FAILED;
    pthread_cond_broadcast(&w->moved);
    if (settled)
        settle_line(w, a);
    if (a->wanted || (status == STATUS_OK && !a->drop))
        return NULL;
    unlink_ahead(w, a);
    a->next = NULL;
    return a;
}

static void wait_a_while(struct warm *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += REST_S;
    pthread_cond_timedwait(&w->moved, &w->lock, &until);
}

static void *run(void *argument)
{
    struct warm *w = argument;
    threads_set(w->config->threads);
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        const struct party_model *model = NULL;
        struct ahead *drop = NULL, *a = w->busy ? NULL : next_ahead(w, &model, &drop);
        if (a) {
            struct ahead *done = work(w, a, model);
            if (done) {
                done->next = drop;
                drop = done;
            }
        } else if (!drop) {
            wait_a_while(w);
        }
        if (drop) {
            pthread_mutex_unlock(&w->lock);
            drop_all(drop);
            pthread_mutex_lock(&w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- from outside ---- */

enum status warm_open(struct warm **out, const struct config *config, struct store *store,
                      struct models *models, int party)
{
    *out = NULL;
    if (party == 0 || config->warm == 0)
        return STATUS_OK;
    struct warm *w = calloc(1, sizeof *w);
    if (!w)
        return status_fail(STATUS_MEMORY, "out of memory");
    *w = (struct warm){.config = config, .store = store, .models = models, .party = party};
    pthread_mutex_init(&w->lock, NULL);
    job_cond_init(&w->moved);
    if (pthread_create(&w->thread, NULL, run, w) == 0) {
        *out = w;
        return STATUS_OK;
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->moved);
    free(w);
    return status_fail(STATUS_MEMORY, "no thread to warm bundles");
}

void warm_close(struct warm **warm)
{
    struct warm *w = *warm;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    drop_all(w->aheads);
    while (w->shapes)
        unlink_shape(w, w->shapes);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->moved);
    free(w);
    *warm = NULL;
}

static void count_busy(struct warm *w, int change)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->busy += change;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
}

void warm_enter(struct warm *w)
{
    count_busy(w, 1);
}

void warm_leave(struct warm *w)
{
    count_busy(w, -1);
}

void warm_used(struct warm *w, const struct party_model *model, const struct schedule *schedule)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    if (models_forgotten(w->models, model)) {
        pthread_mutex_unlock(&w->lock);
        return;
    }
    struct warm_shape **at = &w->shapes;
    while (*at && (*at)->schedule != schedule)
        at = &(*at)->next;
    struct warm_shape *s = *at;
    if (s)
        *at = s->next;
    else if ((s = calloc(1, sizeof *s)))
        models_schedule_keep(w->models, schedule);
    if (s) {
        *s = (struct warm_shape){.next = w->shapes, .model = model, .schedule = schedule, .used = clock_seconds()};
        w->shapes = s;
    }
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
}

void warm_forget(struct warm *w, const unsigned char model[MODEL_ID_BYTES])
{
    struct ahead *drop = NULL;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    for (struct warm_shape *s = w->shapes, *next; s; s = next) {
        next = s->next;
        if (memcmp(s->model->id, model, MODEL_ID_BYTES) == 0)
            forget_shape(w, s, &drop);
    }
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    drop_all(drop);
}

bool warm_claim(struct warm *w, const struct store_name *name, struct evaluator *out, double *seconds)
{
    if (!w)
        return false;
    pthread_mutex_lock(&w->lock);
    struct ahead *a = find(w, name, name->serial);
    if (a) {
        a->wanted = true;
        pthread_cond_broadcast(&w->moved);
        while (a->state == AHEAD_WARMING)
            pthread_cond_wait(&w->moved, &w->lock);
        unlink_ahead(w, a);
    }
    pthread_mutex_unlock(&w->lock);
    if (!a)
        return false;
    const bool good = a->state == AHEAD_READY && memcmp(&a->name, name, sizeof *name) == 0;
    if (good) {
        *out = a->e;
        *seconds = a->seconds;
        memset(&a->e, 0, sizeof a->e);
        models_schedule_done(w->models, a->schedule);
        free(a);
    } else {
        free_ahead(a);
    }
    return good;
}
