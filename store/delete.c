#include "store/items.h"

#include <string.h>

#define STEP 64 /* chunks deleted by one transaction: the list of freed pages stays short */

/* Deletes up to limit chunks of id; more says whether any may be left. */
static enum status delete_some(struct store *store, const unsigned char id[STORE_ID_BYTES], unsigned limit,
                               bool *more)
{
    MDB_txn *txn;
    enum status status = store_write_begin(store, STORE_CLEAN, 0, &txn);
    if (status)
        return status;
    MDB_cursor *cursor;
    unsigned char first[STORE_ITEM_KEY_BYTES] = {0};
    memcpy(first, id, STORE_ID_BYTES);
    int code = mdb_cursor_open(txn, store->items, &cursor);
    unsigned done = 0;
    *more = true;
    while (!code && *more && done < limit) {
        /* Deleting moves the cursor in ways that differ between LMDB versions: look from the start again. */
        MDB_val key = {sizeof first, first}, value;
        code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        *more = !code && key.mv_size == sizeof first && !memcmp(key.mv_data, id, STORE_ID_BYTES);
        if (*more)
            code = mdb_cursor_del(cursor, 0);
        done += *more;
    }
    if (code == MDB_NOTFOUND)
        code = 0;
    if (code || !done) {
        store_write_abort(store, txn);
        return code ? store_env_fail(store, code, "cannot delete items") : STATUS_OK;
    }
    return store_write_commit(store, txn);
}

enum status store_items_delete(struct store *store, const unsigned char id[STORE_ID_BYTES])
{
    unsigned step = STEP;
    bool more = true;
    enum status status = STATUS_OK;
    while (!status && more) {
        status = delete_some(store, id, step, &more);
        /* A full store may have no run of pages for a long free list, but single pages for a short one. */
        if (status == STATUS_FULL && step > 1) {
            step = step > 8 ? 8 : 1;
            status = STATUS_OK;
            more = true;
        }
    }
    return status;
}

static enum status delete_record(struct store *store, MDB_dbi table, const void *where, size_t where_bytes,
                                 const unsigned char id[STORE_ID_BYTES])
{
    MDB_txn *txn;
    struct store_record record;
    bool found;
    enum status status = store_write_begin(store, STORE_CLEAN, 0, &txn);
    if (status)
        return status;
    status = store_record_get(store, txn, table, where, where_bytes, &record, &found);
    if (status || !found || memcmp(record.id, id, STORE_ID_BYTES)) {
        store_write_abort(store, txn);
        return status;
    }
    MDB_val key = {where_bytes, (void *)where};
    const int code = mdb_del(txn, table, &key, NULL);
    if (!code)
        return store_write_commit(store, txn);
    store_write_abort(store, txn);
    return store_env_fail(store, code, "cannot delete a record");
}

void store_content_delete(struct store *store, MDB_dbi table, const void *where, size_t where_bytes,
                          const unsigned char id[STORE_ID_BYTES])
{
    char message[1024]; /* of the failure that brought us here, perhaps */
    status_copy(message, sizeof message);
    enum status status = store_key_destroy(store, id);
    const enum status items = store_items_delete(store, id);
    if (!status)
        status = items;
    if (!items && !status)
        status = delete_record(store, table, where, where_bytes, id);
    if (status)
        atomic_store(&store->failed, true);
    status_fail(STATUS_OK, "%s", message);
}
