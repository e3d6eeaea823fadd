/* Bundles on their way to ready: create, put, ready, and the end of every bundle. */
#include "store/bundle.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

struct store_bundle *store_bundle_new(struct store *store, const struct store_name *name)
{
    struct store_bundle *bundle = calloc(1, sizeof *bundle);
    if (!bundle) {
        (void)status_fail(STATUS_MEMORY, "no memory for a bundle");
        return NULL;
    }
    struct store_content *content = &bundle->content;
    bundle->name = *name;
    content->store = store;
    content->table = store->bundles;
    store_serial_key(content->where, name->model, name->schedule, name->serial);
    content->where_bytes = STORE_SERIAL_KEY_BYTES;
    store_name_encode(content->name, name);
    content->name_bytes = STORE_NAME_BYTES;
    atomic_fetch_add(&store->handles, 1);
    return bundle;
}

static void bundle_free(struct store_bundle **bundle)
{
    atomic_fetch_sub(&(*bundle)->content.store->handles, 1);
    store_content_clear(&(*bundle)->content);
    free(*bundle);
    *bundle = NULL;
}

static enum status check_serial(struct store *store, MDB_txn *txn, const struct store_bundle *bundle,
                                struct store_mark *mark)
{
    const uint64_t serial = bundle->name.serial;
    const enum status status = store_mark_get(store, txn, bundle->content.where, mark);
    if (status)
        return status;
    if (serial <= mark->seen || serial > STORE_SERIAL_MAX)
        return status_fail(STATUS_STATE,
                           "bundle %llu cannot be filled: the next serial of its schedule is %llu",
                           (unsigned long long)serial, (unsigned long long)mark->seen + 1);
    return STATUS_OK;
}

/* Writes the record of a bundle being filled, and that its serial has been seen. */
static enum status enter(struct store_bundle *bundle)
{
    struct store_content *content = &bundle->content;
    struct store *store = content->store;
    struct store_mark mark;
    MDB_txn *txn;
    enum status status = store_write_begin(store, STORE_FILL, 0, &txn);
    if (status)
        return status;
    status = store_model_check(store, txn, bundle->name.model);
    if (!status)
        status = check_serial(store, txn, bundle, &mark);
    if (!status) {
        mark.seen = bundle->name.serial;
        mark.bucket = bundle->name.bucket;
        mark.batch = bundle->name.batch;
        status = store_mark_put(store, txn, content->where, &mark);
    }
    if (!status)
        status = store_record_put(store, txn, content->table, content->where, content->where_bytes,
                                  &content->record);
    if (!status)
        return store_write_commit(store, txn);
    store_write_abort(store, txn);
    return status;
}

enum status store_bundle_create(struct store *store, const struct store_name *name, struct store_bundle **out)
{
    *out = NULL;
    struct store_bundle *bundle = store_bundle_new(store, name);
    if (!bundle)
        return STATUS_MEMORY;
    struct store_record *record = &bundle->content.record;
    record->state = STORE_FILLING;
    memcpy(record->nonce, name->nonce, STORE_HASH_BYTES);
    record->bucket = name->bucket;
    record->batch = name->batch;
    enum status status = store_content_begin(&bundle->content);
    if (!status) {
        status = enter(bundle);
        if (status)
            store_content_delete(store, bundle->content.table, bundle->content.where,
                                 bundle->content.where_bytes, record->id);
    }
    if (status)
        bundle_free(&bundle);
    *out = bundle;
    return status;
}

enum status store_bundle_put(struct store_bundle *bundle, uint32_t item, const void *data, size_t bytes)
{
    const enum status status = store_content_put(&bundle->content, item, data, bytes);
    return status ? status_prefix(status, "bundle %llu: ", (unsigned long long)bundle->name.serial)
                  : STATUS_OK;
}

enum status store_bundle_put_owned(struct store_bundle *bundle, uint32_t item, void *data, size_t bytes,
                                   void (*release)(void *data, size_t bytes))
{
    const enum status status = store_content_put_owned(&bundle->content, item, data, bytes, release);
    return status ? status_prefix(status, "bundle %llu: ", (unsigned long long)bundle->name.serial)
                  : STATUS_OK;
}

static enum status mark_ready(struct store_bundle *bundle, MDB_txn *txn, struct store_record *record)
{
    const struct store_content *content = &bundle->content;
    struct store *store = content->store;
    struct store_mark mark;
    bool found;
    enum status status = store_model_check(store, txn, bundle->name.model);
    if (!status)
        status = store_mark_get(store, txn, content->where, &mark);
    if (!status)
        status = store_record_get(store, txn, content->table, content->where, content->where_bytes, record,
                                  &found);
    if (status)
        return status;
    if (!found || record->state != STORE_FILLING || memcmp(record->id, content->record.id, STORE_ID_BYTES))
        return status_fail(STATUS_STATE, "it has been removed meanwhile");
    if (bundle->name.serial <= mark.mark)
        return status_fail(STATUS_STATE, "it was burnt while it was being filled (mark %llu)",
                           (unsigned long long)mark.mark);
    record->state = STORE_READY;
    return STATUS_OK;
}

enum status store_bundle_ready(struct store_bundle *bundle, const unsigned char digest[STORE_HASH_BYTES])
{
    struct store_content *content = &bundle->content;
    struct store *store = content->store;
    struct store_record record;
    MDB_txn *txn;
    /* Every commit is synced, so all items are on the disk before the transaction that says ready begins. */
    enum status status = store_content_flush(content);
    if (!status)
        status = store_write_begin(store, STORE_FILL, 0, &txn);
    if (!status) {
        status = mark_ready(bundle, txn, &record);
        memcpy(record.digest, digest, STORE_HASH_BYTES);
        memcpy(record.material, content->record.material, STORE_HASH_BYTES);
        if (!status)
            status =
                store_record_put(store, txn, content->table, content->where, content->where_bytes, &record);
        if (status)
            store_write_abort(store, txn);
        else
            status = store_write_commit(store, txn);
    }
    if (status)
        return status_prefix(status, "bundle %llu: ", (unsigned long long)bundle->name.serial);
    content->record = record;
    sodium_memzero(&content->key, sizeof content->key);
    return STATUS_OK;
}

const struct store_name *store_bundle_name(const struct store_bundle *bundle)
{
    return &bundle->name;
}

const unsigned char *store_bundle_digest(const struct store_bundle *bundle)
{
    return bundle->content.record.digest;
}

void store_bundle_close(struct store_bundle **bundle)
{
    if (!bundle || !*bundle)
        return;
    struct store_content *content = &(*bundle)->content;
    store_content_stop(content);
    if (content->record.state != STORE_READY)
        store_content_delete(content->store, content->table, content->where, content->where_bytes,
                             content->record.id);
    bundle_free(bundle);
}
