#include "store/items.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "store/space.h"

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define HEAD_BYTES (NONCE_BYTES + 8)
#define DIRECT_BYTES (STORE_BATCH_BYTES / 2) /* items from here on are sealed straight into LMDB's pages */
#define LABEL "trefoil item 1"
#define BOUND_BYTES (sizeof LABEL + STORE_NAME_BYTES + 4 + 4 + 8)

_Static_assert(STORE_OVERHEAD_BYTES == HEAD_BYTES + TAG_BYTES, "overhead of a chunk");
_Static_assert(STORE_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key of the cipher");

/* Head of a sealed chunk that waits in the batch; its value follows. */
struct waiting {
    uint32_t item, chunk;
    size_t bytes;
};

static uint64_t chunk_count(uint64_t bytes)
{
    return bytes ? (bytes - 1) / STORE_CHUNK_BYTES + 1 : 1;
}

static size_t chunk_bytes(uint64_t bytes, uint64_t chunk)
{
    const uint64_t left = bytes - chunk * STORE_CHUNK_BYTES;
    return left < STORE_CHUNK_BYTES ? left : STORE_CHUNK_BYTES;
}

static size_t bound_data(unsigned char out[BOUND_BYTES], const struct store_content *content, uint32_t item,
                         uint32_t chunk, uint64_t total)
{
    unsigned char *at = out;
    memcpy(at, LABEL, sizeof LABEL);
    at += sizeof LABEL;
    memcpy(at, content->name, content->name_bytes);
    at += content->name_bytes;
    store_put32(at, item);
    store_put32(at + 4, chunk);
    store_put64(at + 8, total);
    return (size_t)(at + 16 - out);
}

/* out: chunk_bytes + STORE_OVERHEAD_BYTES */
static void seal(unsigned char *out, const struct store_content *content, uint32_t item, uint32_t chunk,
                 const void *data, uint64_t total)
{
    unsigned char bound[BOUND_BYTES];
    const size_t bound_bytes = bound_data(bound, content, item, chunk, total);
    const unsigned char *from = data ? (const unsigned char *)data + (size_t)chunk * STORE_CHUNK_BYTES : NULL;
    randombytes_buf(out, NONCE_BYTES);
    store_put64(out + NONCE_BYTES, total);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + HEAD_BYTES, NULL, from, chunk_bytes(total, chunk), bound,
                                               bound_bytes, NULL, out, content->key.bytes);
}

enum status store_content_begin(struct store_content *content)
{
    randombytes_buf(content->record.id, STORE_ID_BYTES);
    return store_key_create(content->store, content->record.id, &content->key);
}

/* Begins a batch of bytes, if the content is still being filled. */
static enum status batch_begin(struct store_content *content, size_t bytes, MDB_txn **txn)
{
    struct store *store = content->store;
    enum status status = store_write_begin(store, STORE_FILL, bytes, txn);
    if (status)
        return status;
    struct store_record record;
    bool found;
    status =
        store_record_get(store, *txn, content->table, content->where, content->where_bytes, &record, &found);
    if (!status && (!found || record.state != STORE_FILLING ||
                    sodium_memcmp(record.id, content->record.id, STORE_ID_BYTES)))
        status =
            status_fail(STATUS_STATE, "%s: what was being filled has been removed meanwhile", store->path);
    if (status)
        store_write_abort(store, *txn);
    return status;
}

static enum status batch_end(struct store_content *content, MDB_txn *txn, enum status status, uint64_t bytes)
{
    struct store *store = content->store;
    struct store_record record = content->record;
    record.bytes += bytes;
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

/* Space of bytes for one value, valid until the next change in this transaction. */
static enum status value_space(struct store_content *content, MDB_txn *txn, uint32_t item, uint32_t chunk,
                               size_t bytes, unsigned char **out)
{
    unsigned char name[STORE_ITEM_KEY_BYTES];
    memcpy(name, content->record.id, STORE_ID_BYTES);
    store_put32(name + STORE_ID_BYTES, item);
    store_put32(name + STORE_ID_BYTES + 4, chunk);
    MDB_val key = {sizeof name, name}, value = {bytes, NULL};
    const int code = mdb_put(txn, content->store->items, &key, &value, MDB_RESERVE | MDB_NOOVERWRITE);
    if (code == MDB_KEYEXIST)
        return status_fail(STATUS_STATE, "item %u was put twice", item);
    if (code)
        return store_env_fail(content->store, code, "cannot write an item");
    *out = value.mv_data;
    return STATUS_OK;
}

static enum status flush(struct store_content *content)
{
    if (!content->batch_bytes)
        return STATUS_OK;
    MDB_txn *txn;
    enum status status = batch_begin(content, content->batch_cost, &txn);
    if (status)
        return status;
    for (size_t at = 0; !status && at < content->batch_bytes;) {
        struct waiting head;
        unsigned char *space;
        memcpy(&head, content->batch + at, sizeof head);
        at += sizeof head;
        status = value_space(content, txn, head.item, head.chunk, head.bytes, &space);
        if (!status)
            memcpy(space, content->batch + at, head.bytes);
        at += head.bytes;
    }
    status = batch_end(content, txn, status, content->batch_bytes);
    content->batch_bytes = content->batch_cost = 0;
    return status;
}

/* Makes room for bytes more in the batch; writes it out first if it would become too large. */
static enum status batch_room(struct store_content *content, size_t bytes)
{
    if (content->batch_bytes + bytes > STORE_BATCH_BYTES) {
        const enum status status = flush(content);
        if (status)
            return status;
    }
    if (content->batch_bytes + bytes <= content->batch_room)
        return STATUS_OK;
    size_t room = content->batch_room ? content->batch_room : 1 << 16;
    while (room < content->batch_bytes + bytes)
        room *= 2;
    unsigned char *batch = realloc(content->batch, room);
    if (!batch)
        return status_fail(STATUS_MEMORY, "no memory for a batch of the store");
    content->batch = batch;
    content->batch_room = room;
    return STATUS_OK;
}

static enum status put_waiting(struct store_content *content, uint32_t item, const void *data, size_t bytes)
{
    for (uint32_t chunk = 0; chunk < chunk_count(bytes); chunk++) {
        const struct waiting head = {item, chunk, chunk_bytes(bytes, chunk) + STORE_OVERHEAD_BYTES};
        const enum status status = batch_room(content, sizeof head + head.bytes);
        if (status)
            return status;
        unsigned char *at = content->batch + content->batch_bytes;
        memcpy(at, &head, sizeof head);
        seal(at + sizeof head, content, item, chunk, data, bytes);
        content->batch_bytes += sizeof head + head.bytes;
        content->batch_cost += store_space_cost(content->store, head.bytes);
    }
    return STATUS_OK;
}

static enum status put_direct(struct store_content *content, uint32_t item, const void *data, size_t bytes)
{
    const uint32_t chunks = (uint32_t)chunk_count(bytes), step = STORE_BATCH_BYTES / STORE_CHUNK_BYTES;
    for (uint32_t first = 0; first < chunks; first += step) {
        const uint32_t last = chunks - first < step ? chunks : first + step;
        MDB_txn *txn;
        enum status status =
            batch_begin(content, (last - first) * store_space_cost(content->store, STORE_CHUNK_BYTES), &txn);
        if (status)
            return status;
        size_t written = 0;
        for (uint32_t chunk = first; !status && chunk < last; chunk++) {
            const size_t now = chunk_bytes(bytes, chunk) + STORE_OVERHEAD_BYTES;
            unsigned char *space;
            status = value_space(content, txn, item, chunk, now, &space);
            if (!status)
                seal(space, content, item, chunk, data, bytes);
            written += now;
        }
        status = batch_end(content, txn, status, written);
        if (status)
            return status;
    }
    return STATUS_OK;
}

static enum status check_filling(const struct store_content *content)
{
    if (content->record.state != STORE_FILLING)
        return status_fail(STATUS_STATE, "%s: items can only be put before it is ready",
                           content->store->path);
    if (content->failed)
        return status_fail(STATUS_STATE, "%s: an item could not be written earlier; close it and start anew",
                           content->store->path);
    return STATUS_OK;
}

enum status store_content_put(struct store_content *content, uint32_t item, const void *data, size_t bytes)
{
    enum status status = check_filling(content);
    if (status)
        return status;
    if (chunk_count(bytes) > UINT32_MAX)
        return status_fail(STATUS_INPUT, "item %u is too large for the store", item);
    status = bytes < DIRECT_BYTES ? put_waiting(content, item, data, bytes)
                                  : put_direct(content, item, data, bytes);
    content->failed = status != STATUS_OK;
    return status;
}

enum status store_content_flush(struct store_content *content)
{
    enum status status = check_filling(content);
    if (!status)
        status = flush(content);
    content->failed |= status != STATUS_OK;
    return status;
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
    const size_t plain = chunk_bytes(total, chunk);
    if (store_get64(in + NONCE_BYTES) != total)
        return status_fail(STATUS_CORRUPT, "%s: item %u has %llu bytes where %llu are expected",
                           content->store->path, item, (unsigned long long)store_get64(in + NONCE_BYTES),
                           (unsigned long long)total);
    unsigned char bound[BOUND_BYTES], none;
    const size_t bound_bytes = bound_data(bound, content, item, chunk, total);
    unsigned char *to = plain ? data + (size_t)chunk * STORE_CHUNK_BYTES : &none;
    if (value.mv_size != plain + STORE_OVERHEAD_BYTES ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(to, NULL, NULL, in + HEAD_BYTES, plain + TAG_BYTES, bound,
                                                   bound_bytes, in, content->key.bytes))
        return status_fail(STATUS_CORRUPT, "%s: item %u does not verify: it was changed or moved on the disk",
                           content->store->path, item);
    return STATUS_OK;
}

enum status store_content_get(struct store_content *content, uint32_t item, void *data, size_t bytes)
{
    const uint64_t chunks = chunk_count(bytes), step = STORE_BATCH_BYTES / STORE_CHUNK_BYTES;
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
        const uint64_t total = store_get64((unsigned char *)value.mv_data + NONCE_BYTES),
                       count = chunk_count(total);
        if (count <= UINT32_MAX)
            status = find_chunk(content, txn, item, (uint32_t)(count - 1), &value);
        if (!status &&
            (count > UINT32_MAX || value.mv_size != chunk_bytes(total, count - 1) + STORE_OVERHEAD_BYTES))
            status = status_fail(STATUS_CORRUPT, "%s: item %u is torn", content->store->path, item);
        *bytes = total;
    }
    mdb_txn_abort(txn);
    return status;
}

void store_content_clear(struct store_content *content)
{
    sodium_memzero(&content->key, sizeof content->key);
    free(content->batch);
    content->batch = NULL;
    content->batch_bytes = content->batch_cost = content->batch_room = 0;
}
