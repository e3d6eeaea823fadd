#include "parties/models.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define SCHEDULES_KEPT 16 /* of a model, though nobody uses them: anyone who may ask chooses the shapes */

struct compiled {
    struct schedule schedule;
    enum tune tune;
    unsigned users;
    uint64_t used; /* when last, counted in uses */
    struct compiled *next;
};

struct loaded {
    struct party_model model;
    struct dealer_weight *dealer;
    struct static_share *share;
    struct schedule shape; /* of the weights: any schedule of the model declares the same */
    struct compiled *compiled;
    bool forgotten;
    struct loaded *next;
};

struct models {
    struct store *store;
    int party;
    pthread_mutex_t lock;
    struct loaded *first;
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
    return STATUS_OK;
}

/* ---- closing ---- */

static void free_vector(int64_t *v, size_t n)
{
    if (v)
        sodium_memzero(v, n * sizeof *v);
    free(v);
}

static void free_weights(struct loaded *l)
{
    for (uint32_t i = 0; i < l->shape.weights; i++) {
        const size_t n = weight_size(&l->shape.weight[i]);
        if (l->dealer) {
            ring_gemm_close(&l->dealer[i].matrix);
            free_vector(l->dealer[i].vector, n);
        }
        if (l->share) {
            ring_gemm_close(&l->share[i].online);
            ring_gemm_close(&l->share[i].offline);
            free_vector(l->share[i].m, n);
            free_vector(l->share[i].l, n);
        }
    }
    free(l->dealer);
    free(l->share);
}

static void free_loaded(struct loaded *l)
{
    while (l->compiled) {
        struct compiled *c = l->compiled;
        l->compiled = c->next;
        schedule_clear(&c->schedule);
        free(c);
    }
    free_weights(l);
    schedule_clear(&l->shape);
    description_clear(&l->model.description);
    free(l);
}

void models_close(struct models **models)
{
    struct models *m = *models;
    if (!m)
        return;
    while (m->first) {
        struct loaded *l = m->first;
        m->first = l->next;
        free_loaded(l);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
    *models = NULL;
}

/* ---- loading ---- */

static enum status read_description(struct store_model *from, struct description *out)
{
    size_t bytes = 0;
    enum status status = store_model_size(from, MODEL_ITEM_DESCRIPTION, &bytes);
    if (status != STATUS_OK)
        return status;
    char *text = malloc(bytes + 1);
    if (!text)
        return status_fail(STATUS_MEMORY, "out of memory for a model's description");
    status = store_model_get(from, MODEL_ITEM_DESCRIPTION, text, bytes);
    text[bytes] = '\0';
    if (status == STATUS_OK)
        status = description_read(out, text);
    free(text);
    return status;
}

enum status models_describe(struct store *store, const unsigned char id[MODEL_ID_BYTES], struct description *out)
{
    struct store_model *model = NULL;
    enum status status = store_model_open(store, id, &model);
    if (status == STATUS_OK)
        status = read_description(model, out);
    store_model_close(&model);
    return status;
}

static int64_t *weight_masks(const struct ring_seed *seed, const unsigned char *id, uint32_t number, size_t n)
{
    int64_t *l = malloc((n ? n : 1) * sizeof *l);
    struct ring_seed key;
    if (!l)
        return NULL;
    ring_stream_key(&key, seed, id, MODEL_ID_BYTES, number, RING_PURPOSE_WEIGHT);
    ring_stream_masks(l, n, &key, 0);
    sodium_memzero(&key, sizeof key);
    return l;
}

static enum status pack(struct ring_gemm_matrix **out, const struct weight *w, const int64_t *values)
{
    return ring_gemm_pack_masked(out, RING_GEMM_AUTO, w->rows, w->cols, values, w->rows, true, false);
}

/* For the offline phase of an evaluator, where nobody waits: memory counts more. (P0 has no other weights, and room.) */
static enum status pack_small(struct ring_gemm_matrix **out, const struct weight *w, const int64_t *values)
{
    return ring_gemm_pack_masked(out, RING_GEMM_AUTO, w->rows, w->cols, values, w->rows, true, true);
}

/* P0: l_W1 + l_W2. */
static enum status load_dealer(struct loaded *l, const struct ring_seed seeds[2], uint32_t i)
{
    const struct weight *w = &l->shape.weight[i];
    const size_t n = weight_size(w);
    int64_t *l1 = weight_masks(&seeds[0], l->model.id, i, n), *l2 = weight_masks(&seeds[1], l->model.id, i, n);
    enum status status = STATUS_OK;
    if (!l1 || !l2)
        status = status_fail(STATUS_MEMORY, "out of memory for %s", w->name);
    for (size_t j = 0; status == STATUS_OK && j < n; j++)
        l1[j] += l2[j];
    if (status == STATUS_OK && w->kind == WEIGHT_MATRIX)
        status = pack(&l->dealer[i].matrix, w, l1);
    if (status == STATUS_OK && w->kind != WEIGHT_MATRIX) {
        l->dealer[i].vector = l1;
        l1 = NULL;
    }
    free_vector(l1, n);
    free_vector(l2, n);
    return status;
}

/* P_i: online delta m - l, offline -m. |m - l_1| = |W + l_2| and |m| stay below 2^63, unless the owner sent something else. */
static enum status load_evaluator(struct loaded *l, struct store_model *from, int party, const struct ring_seed *seed,
                                  uint32_t i)
{
    const struct weight *w = &l->shape.weight[i];
    const size_t n = weight_size(w);
    int64_t *m = malloc(n * sizeof *m), *mask = weight_masks(seed, l->model.id, i, n);
    enum status status = m && mask ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for %s", w->name);
    if (status == STATUS_OK)
        status = store_model_get(from, MODEL_ITEM_WEIGHT + i, m, n * sizeof *m);
    if (status == STATUS_OK && w->kind == WEIGHT_MATRIX) {
        for (size_t j = 0; j < n; j++)
            mask[j] = (int64_t)((party == 1 ? (uint64_t)m[j] : 0) - (uint64_t)mask[j]);
        status = pack(&l->share[i].online, w, mask);
        for (size_t j = 0; j < n; j++)
            m[j] = (int64_t)-(uint64_t)m[j];
        if (status == STATUS_OK)
            status = pack_small(&l->share[i].offline, w, m);
    } else if (status == STATUS_OK) {
        l->share[i].m = m;
        l->share[i].l = mask;
        return STATUS_OK;
    }
    free_vector(m, n);
    free_vector(mask, n);
    return status;
}

static enum status load_weights(struct loaded *l, struct store_model *from, int party)
{
    struct ring_seed seeds[2];
    const size_t bytes = party == 0 ? sizeof seeds : sizeof *seeds;
    enum status status = store_model_get(from, MODEL_ITEM_SEEDS, seeds, bytes);
    l->dealer = party == 0 ? calloc(l->shape.weights, sizeof *l->dealer) : NULL;
    l->share = party == 0 ? NULL : calloc(l->shape.weights, sizeof *l->share);
    if (status == STATUS_OK && !l->dealer && !l->share)
        status = status_fail(STATUS_MEMORY, "out of memory for %u weights", l->shape.weights);
    for (uint32_t i = 0; status == STATUS_OK && i < l->shape.weights; i++)
        status = party == 0 ? load_dealer(l, seeds, i) : load_evaluator(l, from, party, seeds, i);
    sodium_memzero(seeds, sizeof seeds);
    l->model.dealer = l->dealer;
    l->model.share = l->share;
    return status;
}

static enum status load(struct models *m, const unsigned char *id, struct loaded **out)
{
    struct loaded *l = calloc(1, sizeof *l);
    struct store_model *from = NULL;
    if (!l)
        return status_fail(STATUS_MEMORY, "out of memory");
    memcpy(l->model.id, id, MODEL_ID_BYTES);
    enum status status = store_model_open(m->store, id, &from);
    if (status == STATUS_OK)
        status = read_description(from, &l->model.description);
    if (status == STATUS_OK)
        status = description_compile(&l->model.description, 2, 1, TUNE_WAN, &l->shape);
    if (status == STATUS_OK)
        status = load_weights(l, from, m->party);
    store_model_close(&from);
    if (status != STATUS_OK) {
        free_loaded(l);
        return status;
    }
    *out = l;
    return STATUS_OK;
}

enum status models_get(struct models *m, const unsigned char id[MODEL_ID_BYTES], const struct party_model **out)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&m->lock);
    struct loaded *l = m->first;
    while (l && (l->forgotten || memcmp(l->model.id, id, MODEL_ID_BYTES) != 0))
        l = l->next;
    if (!l) {
        status = load(m, id, &l);
        if (status == STATUS_OK) {
            l->next = m->first;
            m->first = l;
        }
    }
    pthread_mutex_unlock(&m->lock);
    *out = status == STATUS_OK ? &l->model : NULL;
    return status;
}

void models_forget(struct models *m, const unsigned char id[MODEL_ID_BYTES])
{
    pthread_mutex_lock(&m->lock);
    for (struct loaded *l = m->first; l; l = l->next)
        l->forgotten |= memcmp(l->model.id, id, MODEL_ID_BYTES) == 0;
    pthread_mutex_unlock(&m->lock);
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
        schedule_clear(&gone->schedule);
        free(gone);
    }
}

enum status models_schedule(struct models *m, const struct party_model *model, uint32_t bucket, uint32_t batch,
                            enum tune tune, const struct schedule **out)
{
    struct loaded *l = (struct loaded *)model; /* the model is the first member of what is loaded */
    enum status status = STATUS_OK;
    pthread_mutex_lock(&m->lock);
    struct compiled *c = l->compiled;
    while (c && (c->schedule.bucket != bucket || c->schedule.batch != batch || c->tune != tune))
        c = c->next;
    if (!c) {
        c = calloc(1, sizeof *c);
        status = c ? description_compile(&model->description, bucket, batch, tune, &c->schedule)
                   : status_fail(STATUS_MEMORY, "out of memory for a schedule");
        if (status == STATUS_OK) {
            c->tune = tune;
            c->next = l->compiled;
            l->compiled = c;
        } else {
            free(c);
        }
    }
    if (status == STATUS_OK) {
        c->users++;
        c->used = ++m->uses;
        trim(l);
    }
    pthread_mutex_unlock(&m->lock);
    *out = status == STATUS_OK ? &c->schedule : NULL;
    return status;
}

/* The schedule is the first member of what is compiled. */
static void change_users(struct models *m, const struct schedule *schedule, int change)
{
    if (!schedule)
        return;
    pthread_mutex_lock(&m->lock);
    ((struct compiled *)schedule)->users += (unsigned)change;
    for (struct loaded *l = m->first; change < 0 && l; l = l->next)
        trim(l);
    pthread_mutex_unlock(&m->lock);
}

void models_schedule_keep(struct models *m, const struct schedule *schedule)
{
    change_users(m, schedule, 1);
}

void models_schedule_done(struct models *m, const struct schedule *schedule)
{
    change_users(m, schedule, -1);
}

bool models_find_schedule(struct models *m, const unsigned char hash[SCHEDULE_HASH_BYTES], enum tune *tune)
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    for (struct loaded *l = m->first; l && !found; l = l->next)
        for (struct compiled *c = l->compiled; c && !found; c = c->next)
            if (memcmp(c->schedule.hash, hash, SCHEDULE_HASH_BYTES) == 0) {
                *tune = c->tune;
                found = true;
            }
    pthread_mutex_unlock(&m->lock);
    return found;
}
