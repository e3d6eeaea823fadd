#include "parties/models_load.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SCHEDULES_KEPT 16 /* of a model, though nobody uses them: anyone who may ask chooses the shapes */

struct compiled {
    struct schedule schedule; /* the first member: users hold a pointer to it */
    struct loaded *of;
    enum tune tune;
    unsigned users;
    uint64_t used; /* when last, counted in uses */
    struct compiled *next;
};

enum load_state { LOADING, LOADED, FAILED };

struct loaded {
    struct model_memory in; /* the first member: users hold a pointer to its model */
    struct compiled *compiled;
    enum load_state state;
    enum status status; /* why it failed */
    char message[512];
    unsigned users; /* who was given it, those who wait for it, and the users of its schedules */
    bool forgotten; /* not given out any more; goes with its last user */
    struct loaded *next;
};

/* The tune of a schedule of which there are bundles, compiled or not. */
struct known {
    unsigned char hash[SCHEDULE_HASH_BYTES];
    bool any; /* one of ours */
    enum tune tune;
    struct known *next;
};

struct models {
    struct store *store;
    int party;
    pthread_mutex_t lock;   /* the fields below; not held while something is loaded, compiled or wiped */
    pthread_cond_t settled; /* a model was loaded, or failed */
    struct loaded *first;
    struct known *known;
    uint64_t uses;
};

enum status models_open(struct models **out, struct store *store, int party)
{
    struct models *m = calloc(1, sizeof *m);
    *out = m;
    if (!m)
        return status_fail(STATUS_MEMORY, "out of memory");
    m->store = store;
    m->party = party;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->settled, NULL);
    return STATUS_OK;
}

/* ---- closing ---- */

static void free_compiled(struct compiled *c)
{
    if (c)
        schedule_clear(&c->schedule);
    free(c);
}

static void free_loaded(struct loaded *l)
{
    while (l->compiled) {
        struct compiled *c = l->compiled;
        l->compiled = c->next;
        free_compiled(c);
    }
    model_unload(&l->in);
    free(l);
}

static void free_list(struct loaded *list)
{
    while (list) {
        struct loaded *next = list->next;
        free_loaded(list);
        list = next;
    }
}

/* Under lock: takes out what nobody uses and nobody will be given. To be freed without the lock: wiping takes its time. */
static struct loaded *take_unused(struct models *m)
{
    struct loaded *gone = NULL;
    for (struct loaded **at = &m->first; *at;) {
        struct loaded *l = *at;
        if (l->users || !l->forgotten) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        l->next = gone;
        gone = l;
    }
    return gone;
}

void models_close(struct models **models)
{
    struct models *m = *models;
    if (!m)
        return;
    free_list(m->first);
    while (m->known) {
        struct known *k = m->known;
        m->known = k->next;
        free(k);
    }
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->settled);
    free(m);
    *models = NULL;
}

/* ---- giving out; under lock, but for models_*: ---- */

static struct loaded *find(const struct models *m, const unsigned char id[MODEL_ID_BYTES])
{
    struct loaded *l = m->first;
    while (l && (l->forgotten || memcmp(l->in.model.id, id, MODEL_ID_BYTES) != 0))
        l = l->next;
    return l;
}

/* With its first user, who is to load it. */
static struct loaded *add(struct models *m, const unsigned char id[MODEL_ID_BYTES])
{
    struct loaded *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    memcpy(l->in.model.id, id, MODEL_ID_BYTES);
    l->users = 1;
    l->next = m->first;
    m->first = l;
    return l;
}

/* Loads, not under lock: others go on meanwhile, and who wants this model waits for it. */
static enum status load_now(struct models *m, struct loaded *l)
{
    pthread_mutex_unlock(&m->lock);
    const enum status status = model_load(&l->in, m->store, m->party);
    pthread_mutex_lock(&m->lock);
    l->state = status == STATUS_OK ? LOADED : FAILED;
    l->status = status;
    if (status != STATUS_OK)
        status_copy(l->message, sizeof l->message);
    l->forgotten |= status != STATUS_OK;
    pthread_cond_broadcast(&m->settled);
    return status;
}

static enum status wait_loaded(struct models *m, struct loaded *l)
{
    l->users++;
    while (l->state == LOADING)
        pthread_cond_wait(&m->settled, &m->lock);
    return l->state == LOADED ? STATUS_OK : status_fail(l->status, "%s", l->message);
}

enum status models_get(struct models *m, const unsigned char id[MODEL_ID_BYTES],
                       const struct party_model **out)
{
    struct loaded *gone = NULL;
    enum status status = STATUS_OK;
    pthread_mutex_lock(&m->lock);
    struct loaded *l = find(m, id);
    if (l)
        status = wait_loaded(m, l);
    else
        status = (l = add(m, id)) ? load_now(m, l) : status_fail(STATUS_MEMORY, "out of memory for a model");
    if (l && status != STATUS_OK) {
        l->users--;
        gone = take_unused(m);
    }
    pthread_mutex_unlock(&m->lock);
    free_list(gone);
    *out = status == STATUS_OK ? &l->in.model : NULL;
    return status;
}

void models_done(struct models *m, const struct party_model *model)
{
    if (!model)
        return;
    pthread_mutex_lock(&m->lock);
    ((struct loaded *)model)->users--;
    struct loaded *gone = take_unused(m);
    pthread_mutex_unlock(&m->lock);
    free_list(gone);
}

const struct party_model *models_forget(struct models *m, const unsigned char id[MODEL_ID_BYTES])
{
    pthread_mutex_lock(&m->lock);
    struct loaded *l = find(m, id);
    if (l) {
        l->forgotten = true;
        l->users++;
    }
    pthread_mutex_unlock(&m->lock);
    return l ? &l->in.model : NULL;
}

bool models_forgotten(struct models *m, const struct party_model *model)
{
    pthread_mutex_lock(&m->lock);
    const bool forgotten = ((const struct loaded *)model)->forgotten;
    pthread_mutex_unlock(&m->lock);
    return forgotten;
}

uint32_t models_loaded(struct models *m)
{
    uint32_t count = 0;
    pthread_mutex_lock(&m->lock);
    for (const struct loaded *l = m->first; l; l = l->next)
        count++;
    pthread_mutex_unlock(&m->lock);
    return count;
}

/* ---- schedules ---- */

/* Schedules that nobody uses go, the one used longest ago first, until there are no more than are kept. */
static void trim(struct loaded *l)
{
    for (;;) {
        struct compiled **oldest = NULL;
        unsigned count = 0;
        for (struct compiled **at = &l->compiled; *at; at = &(*at)->next, count++)
            if (!(*at)->users && (!oldest || (*at)->used < (*oldest)->used))
                oldest = at;
        if (count <= SCHEDULES_KEPT || !oldest)
            return;
        struct compiled *gone = *oldest;
        *oldest = gone->next;
        free_compiled(gone);
    }
}

static struct compiled *find_compiled(const struct loaded *l, uint32_t bucket, uint32_t batch, enum tune tune)
{
    struct compiled *c = l->compiled;
    while (c && (c->schedule.bucket != bucket || c->schedule.batch != batch || c->tune != tune))
        c = c->next;
    return c;
}

static enum status compile(struct loaded *l, uint32_t bucket, uint32_t batch, enum tune tune,
                           struct compiled **out)
{
    struct compiled *c = calloc(1, sizeof *c);
    enum status status = c ? description_compile(&l->in.model.description, bucket, batch, tune, &c->schedule)
                           : status_fail(STATUS_MEMORY, "out of memory for a schedule");
    if (status == STATUS_OK) {
        c->of = l;
        c->tune = tune;
    } else {
        free(c);
        c = NULL;
    }
    *out = c;
    return status;
}

enum status models_schedule(struct models *m, const struct party_model *model, uint32_t bucket,
                            uint32_t batch, enum tune tune, const struct schedule **out)
{
    struct loaded *l = (struct loaded *)model;
    struct compiled *fresh = NULL;
    enum status status = STATUS_OK;
    pthread_mutex_lock(&m->lock);
    struct compiled *c = find_compiled(l, bucket, batch, tune);
    if (!c) {
        pthread_mutex_unlock(&m->lock);
        status = compile(l, bucket, batch, tune, &fresh);
        pthread_mutex_lock(&m->lock);
        c = find_compiled(l, bucket, batch, tune); /* another one may have been faster */
    }
    if (!c && fresh) {
        c = fresh;
        fresh = NULL;
        c->next = l->compiled;
        l->compiled = c;
    }
    if (c) {
        status = STATUS_OK;
        c->users++;
        l->users++;
        c->used = ++m->uses;
        trim(l);
    }
    pthread_mutex_unlock(&m->lock);
    free_compiled(fresh);
    *out = c ? &c->schedule : NULL;
    return status;
}

static void change_users(struct models *m, const struct schedule *schedule, int change)
{
    struct compiled *c = (struct compiled *)schedule;
    if (!c)
        return;
    pthread_mutex_lock(&m->lock);
    c->users += (unsigned)change;
    c->of->users += (unsigned)change;
    trim(c->of);
    struct loaded *gone = take_unused(m);
    pthread_mutex_unlock(&m->lock);
    free_list(gone);
}

void models_schedule_keep(struct models *m, const struct schedule *schedule)
{
    change_users(m, schedule, 1);
}

void models_schedule_done(struct models *m, const struct schedule *schedule)
{
    change_users(m, schedule, -1);
}

/* ---- for reports ---- */

static const struct known *find_known(const struct models *m, const unsigned char hash[SCHEDULE_HASH_BYTES])
{
    const struct known *k = m->known;
    while (k && memcmp(k->hash, hash, SCHEDULE_HASH_BYTES) != 0)
        k = k->next;
    return k;
}

/* Compiles both and compares; *k stays as it is if neither is it. */
static void compare_tunes(const struct description *d, uint32_t bucket, uint32_t batch, struct known *k)
{
    static const enum tune tunes[] = {TUNE_WAN, TUNE_LAN};
    for (int i = 0; i < 2 && !k->any; i++) {
        struct schedule s;
        if (description_compile(d, bucket, batch, tunes[i], &s) != STATUS_OK)
            continue;
        k->any = memcmp(s.hash, k->hash, sizeof k->hash) == 0;
        k->tune = tunes[i];
        schedule_clear(&s);
    }
}

/* NULL if this party does not hold the model any more. */
static struct known *find_out(struct models *m, const unsigned char id[MODEL_ID_BYTES],
                              const unsigned char hash[SCHEDULE_HASH_BYTES], uint32_t bucket, uint32_t batch)
{
    struct description d;
    if (models_describe(m->store, id, &d) != STATUS_OK)
        return NULL;
    struct known *k = calloc(1, sizeof *k);
    if (k) {
        memcpy(k->hash, hash, sizeof k->hash);
        compare_tunes(&d, bucket, batch, k);
    }
    description_clear(&d);
    return k;
}

bool models_tune(struct models *m, const unsigned char id[MODEL_ID_BYTES],
                 const unsigned char hash[SCHEDULE_HASH_BYTES], uint32_t bucket, uint32_t batch,
                 enum tune *tune)
{
    struct known *fresh = NULL;
    pthread_mutex_lock(&m->lock);
    const struct known *k = find_known(m, hash);
    if (!k) {
        pthread_mutex_unlock(&m->lock);
        fresh = find_out(m, id, hash, bucket, batch);
        pthread_mutex_lock(&m->lock);
        k = find_known(m, hash); /* another one may have been faster */
    }
    if (!k && fresh) {
        fresh->next = m->known;
        k = m->known = fresh;
        fresh = NULL;
    }
    const bool any = k && k->any;
    if (any)
        *tune = k->tune;
    pthread_mutex_unlock(&m->lock);
    free(fresh);
    return any;
}
