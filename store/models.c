/* Shared weights and what belongs to a model. */
#include "store/bundle.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

struct store_model {
    struct store_content content;
};

static struct store_model *model_new(struct store *store, const unsigned char id[STORE_HASH_BYTES])
{
    struct store_model *model = calloc(1, sizeof *model);
    if (!model) {
        (void)status_fail(STATUS_MEMORY, "no memory for a model of the store");
        return NULL;
    }
    struct store_content *content = &model->content;
    content->store = store;
    content->table = store->models;
    memcpy(content->where, id, STORE_HASH_BYTES);
    content->where_bytes = STORE_HASH_BYTES;
    memcpy(content->name, id, STORE_HASH_BYTES);
    content->name_bytes = STORE_HASH_BYTES;
    atomic_fetch_add(&store->handles, 1);
    return model;
}

static void model_free(struct store_model **model)
{
    atomic_fetch_sub(&(*model)->content.store->handles, 1);
    store_content_clear(&(*model)->content);
    free(*model);
    *model = NULL;
}

enum status store_model_check(struct store *store, MDB_txn *txn, const unsigned char id[STORE_HASH_BYTES])
{
    struct store_record record;
    bool found;
    const enum status status =
        store_record_get(store, txn, store->models, id, STORE_HASH_BYTES, &record, &found);
    if (status || (found && record.state == STORE_READY))
        return status;
    return status_fail(
        STATUS_STATE,
        "its model is not in the store %s, or was removed meanwhile: no bundles are dealt for it",
        store->path);
}

/* Calls each for every model; the callback must not write. */
static enum status models_each(struct store *store, MDB_txn *txn,
                               void (*each)(void *, const unsigned char *, const struct store_record *),
                               void *context)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    enum status status = STATUS_OK;
    int code = mdb_cursor_open(txn, store->models, &cursor);
    if (code)
        return store_env_fail(store, code, "cannot list models");
    while (!status && !(code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        struct store_record record;
        if (key.mv_size != STORE_HASH_BYTES)
            code = MDB_CORRUPTED;
        else
            status = store_record_decode(store, &value, &record);
        if (code)
            break;
        if (!status)
            each(context, key.mv_data, &record);
    }
    mdb_cursor_close(cursor);
    if (code && code != MDB_NOTFOUND)
        status = store_env_fail(store, code, "cannot list models");
    return status;
}

static void highest_order(void *context, const unsigned char *id, const struct store_record *record)
{
    uint64_t *highest = context;
    (void)id;
    if (record->order > *highest)
        *highest = record->order;
}

/* A removed model never comes back: bundles may be left that were dealt for its weights, and its id says nothing of these. */
static enum status check_removed(struct store *store, MDB_txn *txn, const unsigned char id[STORE_HASH_BYTES])
{
    MDB_val key = {STORE_HASH_BYTES, (void *)id}, value;
    const int code = mdb_get(txn, store->removed, &key, &value);
    if (code == MDB_NOTFOUND)
        return STATUS_OK;
    if (code)
        return store_env_fail(store, code, "cannot look for removed models");
    return status_fail(
        STATUS_STATE, "a model of this id was removed from %s: share it anew (trefoil share), under a new id",
        store->path);
}

static enum status put_removed(struct store *store, MDB_txn *txn, const unsigned char id[STORE_HASH_BYTES])
{
    unsigned char one = 1;
    MDB_val key = {STORE_HASH_BYTES, (void *)id}, value = {1, &one};
    const int code = mdb_put(txn, store->removed, &key, &value, 0);
    return code ? store_env_fail(store, code, "cannot remove a model") : STATUS_OK;
}

static enum status enter(struct store_model *model)
{
    struct store_content *content = &model->content;
    struct store *store = content->store;
    struct store_record present;
    MDB_txn *txn;
    bool found;
    uint64_t highest = 0;
    enum status status = store_write_begin(store, STORE_FILL, 0, &txn);
    if (status)
        return status;
    status =
        store_record_get(store, txn, content->table, content->where, content->where_bytes, &present, &found);
    if (!status && found)
        status = status_fail(STATUS_STATE, "the model is in %s already, or is being uploaded", store->path);
    if (!status)
        status = check_removed(store, txn, content->where);
    if (!status)
        status = models_each(store, txn, highest_order, &highest);
    content->record.order = highest + 1;
    if (!status)
        status = store_record_put(store, txn, content->table, content->where, content->where_bytes,
                                  &content->record);
    if (!status)
        return store_write_commit(store, txn);
    store_write_abort(store, txn);
    return status;
}

enum status store_model_create(struct store *store, const unsigned char id[STORE_HASH_BYTES],
                               struct store_model **out)
{
    *out = NULL;
    struct store_model *model = model_new(store, id);
    if (!model)
        return STATUS_MEMORY;
    struct store_content *content = &model->content;
    content->record.state = STORE_FILLING;
    enum status status = store_content_begin(content);
    if (!status) {
        status = enter(model);
        if (status)
            store_content_delete(store, content->table, content->where, content->where_bytes,
                                 content->record.id);
    }
    if (status)
        model_free(&model);
    *out = model;
    return status;
}

enum status store_model_put(struct store_model *model, uint32_t item, const void *data, size_t bytes)
{
    return store_content_put(&model->content, item, data, bytes);
}

enum status store_model_ready(struct store_model *model)
{
    struct store_content *content = &model->content;
    struct store *store = content->store;
    struct store_record record;
    MDB_txn *txn;
    bool found;
    enum status status = store_content_flush(content);
    if (!status)
        status = store_write_begin(store, STORE_FILL, 0, &txn);
    if (status)
        return status;
    status =
        store_record_get(store, txn, content->table, content->where, content->where_bytes, &record, &found);
    if (!status && (!found || memcmp(record.id, content->record.id, STORE_ID_BYTES)))
        status = status_fail(STATUS_STATE, "the model has been removed from %s meanwhile", store->path);
    record.state = STORE_READY;
    memcpy(record.material, content->record.material, STORE_HASH_BYTES);
    if (!status)
        status = store_record_put(store, txn, content->table, content->where, content->where_bytes, &record);
    if (status)
        store_write_abort(store, txn);
    else
        status = store_write_commit(store, txn);
    if (!status)
        content->record = record;
    return status;
}

enum status store_model_open(struct store *store, const unsigned char id[STORE_HASH_BYTES],
                             struct store_model **out)
{
    *out = NULL;
    struct store_model *model = model_new(store, id);
    if (!model)
        return STATUS_MEMORY;
    struct store_content *content = &model->content;
    MDB_txn *txn;
    bool found = false;
    enum status status = store_read_begin(store, &txn);
    if (!status) {
        status = store_record_get(store, txn, content->table, content->where, content->where_bytes,
                                  &content->record, &found);
        mdb_txn_abort(txn);
    }
    if (!status && (!found || content->record.state != STORE_READY))
        status = status_fail(STATUS_INPUT, "the store %s has no such model; ask its owner to share it",
                             store->path);
    if (!status)
        status = store_key_read(store, content->record.id, &content->key);
    content->record.state = STORE_READY; /* close must not delete it */
    if (status)
        model_free(&model);
    *out = model;
    return status;
}

static enum status check_ready(const struct store_model *model)
{
    if (model->content.record.state == STORE_READY)
        return STATUS_OK;
    return status_fail(STATUS_STATE, "the model is not ready: its items cannot be read");
}

enum status store_model_size(struct store_model *model, uint32_t item, size_t *bytes)
{
    const enum status status = check_ready(model);
    return status ? status : store_content_size(&model->content, item, bytes);
}

enum status store_model_get(struct store_model *model, uint32_t item, void *data, size_t bytes)
{
    const enum status status = check_ready(model);
    return status ? status : store_content_get(&model->content, item, data, bytes);
}

void store_model_close(struct store_model **model)
{
    if (!model || !*model)
        return;
    struct store_content *content = &(*model)->content;
    store_content_stop(content);
    if (content->record.state != STORE_READY)
        store_content_delete(content->store, content->table, content->where, content->where_bytes,
                             content->record.id);
    model_free(model);
}

enum status store_model_remove(struct store *store, const unsigned char id[STORE_HASH_BYTES])
{
    struct store_record record;
    MDB_txn *txn;
    bool found;
    enum status status = store_write_begin(store, STORE_URGENT, 0, &txn);
    if (status)
        return status;
    status = store_record_get(store, txn, store->models, id, STORE_HASH_BYTES, &record, &found);
    if (!status && (!found || record.state == STORE_FILLING))
        status = status_fail(STATUS_INPUT, "the store %s has no such model", store->path);
    /* From here on it does not exist; if its items cannot be deleted now, they go when the store is opened
     * next. */
    record.state = STORE_TAKEN;
    if (!status)
        status = store_record_put(store, txn, store->models, id, STORE_HASH_BYTES, &record);
    if (!status)
        status = put_removed(store, txn, id);
    if (status) {
        store_write_abort(store, txn);
        return status;
    }
    status = store_write_commit(store, txn);
    if (status)
        return status;
    store_content_delete(store, store->models, id, STORE_HASH_BYTES, record.id);
    status = store_burn_model(store, id);
    if (status) /* what is left of its bundles goes when the store is opened next */
        atomic_store(&store->failed, true);
    return status;
}

struct listed {
    uint64_t order;
    unsigned char id[STORE_HASH_BYTES];
};

struct list {
    struct listed *models;
    size_t count, room;
    bool memory; /* ran out of it */
};

static void list_each(void *context, const unsigned char *id, const struct store_record *record)
{
    struct list *list = context;
    if (record->state != STORE_READY || list->memory)
        return;
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 16;
        struct listed *models = realloc(list->models, room * sizeof *models);
        list->memory = !models;
        if (!models)
            return;
        list->models = models;
        list->room = room;
    }
    list->models[list->count].order = record->order;
    memcpy(list->models[list->count++].id, id, STORE_HASH_BYTES);
}

static int by_order(const void *a, const void *b)
{
    const uint64_t x = ((const struct listed *)a)->order, y = ((const struct listed *)b)->order;
    return (x > y) - (x < y);
}

enum status store_model_list(struct store *store, void (*each)(void *, const unsigned char[STORE_HASH_BYTES]),
                             void *context)
{
    struct list list = {0};
    MDB_txn *txn;
    enum status status = store_read_begin(store, &txn);
    if (status)
        return status;
    status = models_each(store, txn, list_each, &list);
    mdb_txn_abort(txn);
    if (!status && list.memory)
        status = status_fail(STATUS_MEMORY, "no memory to list the models");
    if (!status && list.count)
        qsort(list.models, list.count, sizeof *list.models, by_order);
    for (size_t i = 0; !status && i < list.count; i++)
        each(context, list.models[i].id);
    free(list.models);
    return status;
}
