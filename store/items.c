#include "store/items.h"

#include <string.h>

#include <sodium.h>

#include "store/seal.h"

enum status store_content_begin(struct store_content *content)
{
    randombytes_buf(content->record.id, STORE_ID_BYTES);
    return store_key_create(content->store, content->record.id, &content->key);
}

/* The stored value of a chunk, in the map, valid while txn lasts. */
static enum status find_chunk(struct store_content *content, MDB_txn *txn, uint32_t item, uint32_t chunk,
                              MDB_val *value)
{
    unsigned char name[STORE_ITEM_KEY_BYTES];
    memcpy(name, content->record.id, STORE_ID_BYTES);
    store_put32(name + STORE_ID_BYTES, item);
    store_put32(name + STORE_ID_BYTES + 4, chunk);
    MDB_val key = {sizeof name, name};
    const int code = mdb_get(txn, content->store->items, &key, value);
    if (code == MDB_NOTFOUND || (!code && value->mv_size < STORE_OVERHEAD_BYTES))
        return status_fail(STATUS_CORRUPT, "%s: item %u is missing", content->store->path, item);
    return code ? store_env_fail(content->store, code, "cannot read an item") : STATUS_OK;
}

static enum status open_chunk(struct store_content *content, MDB_txn *txn, uint32_t item, uint32_t chunk,
                              unsigned char *data, uint64_t total)
{
    MDB_val value;
    const enum status status = find_chunk(content, txn, item, chunk, &value);
    if (status)
        return status;
    const unsigned char *in = value.mv_data;
    const size_t plain = store_chunk_bytes(total, chunk);
    if (store_sealed_total(in) != total || value.mv_size != plain + STORE_OVERHEAD_BYTES)
        return status_fail(STATUS_CORRUPT, "%s: item %u has %llu bytes where %llu are expected",
                           content->store->path, item, (unsigned long long)store_sealed_total(in),
                           (unsigned long long)total);
    return store_unseal(plain ? data + (size_t)chunk * STORE_CHUNK_BYTES : data, content,
                        (struct store_place){item, chunk, total}, in, plain);
}

enum status store_content_get(struct store_content *content, uint32_t item, void *data, size_t bytes)
{
    const uint64_t chunks = store_chunk_count(bytes), step = STORE_BATCH_BYTES / STORE_CHUNK_BYTES;
    enum status status = STATUS_OK;
    if (chunks > UINT32_MAX)
        return status_fail(STATUS_INPUT, "item %u is too large for the store", item);
    for (uint64_t first = 0; !status && first < chunks; first += step) {
        MDB_txn *txn;
        status = store_read_begin(content->store, &txn);
        if (status)
            break;
        for (uint64_t chunk = first; !status && chunk < chunks && chunk < first + step; chunk++)
            status = open_chunk(content, txn, item, (uint32_t)chunk, data, bytes);
        mdb_txn_abort(txn);
    }
    if (status && bytes)
        sodium_memzero(data, bytes);
    return status;
}

enum status store_content_size(struct store_content *content, uint32_t item, size_t *bytes)
{
    MDB_txn *txn;
    MDB_val value;
    enum status status = store_read_begin(content->store, &txn);
    if (status)
        return status;
    status = find_chunk(content, txn, item, 0, &value);
    if (!status) {
        const uint64_t total = store_sealed_total(value.mv_data), count = store_chunk_count(total);
        if (count <= UINT32_MAX)
            status = find_chunk(content, txn, item, (uint32_t)(count - 1), &value);
        if (!status && (count > UINT32_MAX ||
                        value.mv_size != store_chunk_bytes(total, count - 1) + STORE_OVERHEAD_BYTES))
            status = status_fail(STATUS_CORRUPT, "%s: item %u is torn", content->store->path, item);
        *bytes = total;
    }
    mdb_txn_abort(txn);
    return status;
}

/* Whether the values of the content in the store are those that were put. */
static enum status add_up(struct store_content *content, MDB_txn *txn,
                          unsigned char material[STORE_HASH_BYTES])
{
    unsigned char start[STORE_ITEM_KEY_BYTES] = {0};
    MDB_val key = {sizeof start, start}, value;
    MDB_cursor *cursor;
    memcpy(start, content->record.id, STORE_ID_BYTES);
    int code = mdb_cursor_open(txn, content->store->items, &cursor);
    if (code)
        return store_env_fail(content->store, code, "cannot read a bundle");
    for (code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); !code;
         code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        const unsigned char *name = key.mv_data;
        if (key.mv_size != sizeof start || memcmp(name, content->record.id, STORE_ID_BYTES))
            break;
        if (value.mv_size >= STORE_OVERHEAD_BYTES)
            store_material_add(material, content, store_get32(name + STORE_ID_BYTES),
                               store_get32(name + STORE_ID_BYTES + 4), value.mv_data, value.mv_size);
    }
    mdb_cursor_close(cursor);
    return code && code != MDB_NOTFOUND ? store_env_fail(content->store, code, "cannot read a bundle")
                                        : STATUS_OK;
}

enum status store_content_check(struct store_content *content)
{
    unsigned char material[STORE_HASH_BYTES] = {0};
    MDB_txn *txn;
    enum status status = store_read_begin(content->store, &txn);
    if (status)
        return status;
    status = add_up(content, txn, material);
    mdb_txn_abort(txn);
    if (!status && sodium_memcmp(material, content->record.material, sizeof material) != 0)
        status = status_fail(STATUS_CORRUPT, "%s: items are missing or were exchanged on the disk",
                             content->store->path);
    return status;
}

void store_content_clear(struct store_content *content)
{
    store_content_stop(content);
    sodium_memzero(&content->key, sizeof content->key);
}
