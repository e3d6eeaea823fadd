#include "store/names.h"

#include <string.h>

void store_line_key(unsigned char out[STORE_LINE_BYTES], const unsigned char *model,
                    const unsigned char *schedule)
{
    memcpy(out, model, STORE_HASH_BYTES);
    memcpy(out + STORE_HASH_BYTES, schedule, STORE_HASH_BYTES);
}

void store_serial_key(unsigned char out[STORE_SERIAL_KEY_BYTES], const unsigned char *model,
                      const unsigned char *schedule, uint64_t serial)
{
    store_line_key(out, model, schedule);
    store_put64(out + STORE_LINE_BYTES, serial);
}

void store_name_encode(unsigned char out[STORE_NAME_BYTES], const struct store_name *name)
{
    store_serial_key(out, name->model, name->schedule, name->serial);
    memcpy(out + STORE_SERIAL_KEY_BYTES, name->nonce, STORE_HASH_BYTES);
    store_put32(out + STORE_SERIAL_KEY_BYTES + STORE_HASH_BYTES, name->bucket);
    store_put32(out + STORE_SERIAL_KEY_BYTES + STORE_HASH_BYTES + 4, name->batch);
}

enum status store_mark_get(struct store *store, MDB_txn *txn, const unsigned char line[],
                           struct store_mark *out)
{
    MDB_val key = {STORE_LINE_BYTES, (void *)line}, value;
    memset(out, 0, sizeof *out);
    const int code = mdb_get(txn, store->marks, &key, &value);
    if (code == MDB_NOTFOUND)
        return STATUS_OK;
    if (!code && value.mv_size != STORE_MARK_BYTES)
        return store_env_fail(store, MDB_CORRUPTED, "cannot read a mark");
    if (code)
        return store_env_fail(store, code, "cannot read a mark");
    const unsigned char *in = value.mv_data;
    out->mark = store_get64(in);
    out->seen = store_get64(in + 8);
    out->bucket = store_get32(in + 16);
    out->batch = store_get32(in + 20);
    return STATUS_OK;
}

enum status store_mark_put(struct store *store, MDB_txn *txn, const unsigned char line[],
                           const struct store_mark *mark)
{
    unsigned char out[STORE_MARK_BYTES];
    store_put64(out, mark->mark);
    store_put64(out + 8, mark->seen);
    store_put32(out + 16, mark->bucket);
    store_put32(out + 20, mark->batch);
    MDB_val key = {STORE_LINE_BYTES, (void *)line}, value = {sizeof out, out};
    const int code = mdb_put(txn, store->marks, &key, &value, 0);
    return code ? store_env_fail(store, code, "cannot write a mark") : STATUS_OK;
}

enum status store_record_decode(const struct store *store, const MDB_val *value, struct store_record *out)
{
    const unsigned char *in = value->mv_data;
    if (value->mv_size != STORE_RECORD_BYTES || in[0] < STORE_FILLING || in[0] > STORE_TAKEN)
        return store_env_fail(store, MDB_CORRUPTED, "cannot read a record");
    out->state = in[0];
    memcpy(out->id, in + 1, STORE_ID_BYTES);
    in += 1 + STORE_ID_BYTES;
    out->bytes = store_get64(in);
    out->order = store_get64(in + 8);
    memcpy(out->nonce, in + 16, STORE_HASH_BYTES);
    memcpy(out->digest, in + 16 + STORE_HASH_BYTES, STORE_HASH_BYTES);
    memcpy(out->material, in + 16 + 2 * STORE_HASH_BYTES, STORE_HASH_BYTES);
    in += 16 + 3 * STORE_HASH_BYTES;
    out->bucket = store_get32(in);
    out->batch = store_get32(in + 4);
    return STATUS_OK;
}

enum status store_record_get(struct store *store, MDB_txn *txn, MDB_dbi table, const void *key,
                             size_t key_bytes, struct store_record *out, bool *found)
{
    MDB_val name = {key_bytes, (void *)key}, value;
    memset(out, 0, sizeof *out);
    const int code = mdb_get(txn, table, &name, &value);
    *found = !code;
    if (code == MDB_NOTFOUND)
        return STATUS_OK;
    if (code)
        return store_env_fail(store, code, "cannot read a record");
    return store_record_decode(store, &value, out);
}

enum status store_record_put(struct store *store, MDB_txn *txn, MDB_dbi table, const void *key,
                             size_t key_bytes, const struct store_record *record)
{
    unsigned char out[STORE_RECORD_BYTES], *at = out + 1 + STORE_ID_BYTES;
    out[0] = (unsigned char)record->state;
    memcpy(out + 1, record->id, STORE_ID_BYTES);
    store_put64(at, record->bytes);
    store_put64(at + 8, record->order);
    memcpy(at + 16, record->nonce, STORE_HASH_BYTES);
    memcpy(at + 16 + STORE_HASH_BYTES, record->digest, STORE_HASH_BYTES);
    memcpy(at + 16 + 2 * STORE_HASH_BYTES, record->material, STORE_HASH_BYTES);
    at += 16 + 3 * STORE_HASH_BYTES;
    store_put32(at, record->bucket);
    store_put32(at + 4, record->batch);
    MDB_val name = {key_bytes, (void *)key}, value = {sizeof out, out};
    const int code = mdb_put(txn, table, &name, &value, 0);
    return code ? store_env_fail(store, code, "cannot write a record") : STATUS_OK;
}
