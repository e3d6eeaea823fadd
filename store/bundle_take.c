/* Bundles on their way out: next, take, get, burn. */
#include "store/bundle.h"

#include <stdlib.h>
#include <string.h>

enum status store_bundle_each(struct store *store, MDB_txn *txn, const unsigned char line[],
                              bool (*each)(void *, const unsigned char *, const struct store_record *),
                              void *context)
{
    unsigned char start[STORE_SERIAL_KEY_BYTES] = {0};
    if (line)
        memcpy(start, line, STORE_LINE_BYTES);
    MDB_val key = {sizeof start, start}, value;
    MDB_cursor *cursor;
    enum status status = STATUS_OK;
    int code = mdb_cursor_open(txn, store->bundles, &cursor);
    if (code)
        return store_env_fail(store, code, "cannot list bundles");
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; !code; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        struct store_record record;
        if (key.mv_size != sizeof start)
            code = MDB_CORRUPTED;
        else if (line && memcmp(key.mv_data, line, STORE_LINE_BYTES))
            break;
        else
            status = store_record_decode(store, &value, &record);
        if (code || status || !each(context, key.mv_data, &record))
            break;
    }
    mdb_cursor_close(cursor);
    if (code && code != MDB_NOTFOUND)
        status = store_env_fail(store, code, "cannot list bundles");
    return status;
}

enum status store_next_serial(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t *serial)
{
    unsigned char line[STORE_LINE_BYTES];
    struct store_mark mark;
    MDB_txn *txn;
    store_line_key(line, model, schedule);
    enum status status = store_read_begin(store, &txn);
    if (status)
        return status;
    status = store_mark_get(store, txn, line, &mark);
    mdb_txn_abort(txn);
    *serial = mark.seen + 1;
    return status;
}

struct ready {
    uint64_t mark;
    void (*each)(void *context, uint64_t serial);
    void *context;
};

static bool ready_each(void *context, const unsigned char *where, const struct store_record *record)
{
    const struct ready *ready = context;
    const uint64_t serial = store_get64(where + STORE_LINE_BYTES);
    if (record->state == STORE_READY && serial > ready->mark)
        ready->each(ready->context, serial);
    return true;
}

enum status store_bundle_serials(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                                 const unsigned char schedule[STORE_HASH_BYTES], uint64_t *mark,
                                 void (*each)(void *context, uint64_t serial), void *context)
{
    unsigned char line[STORE_LINE_BYTES];
    struct store_mark marks = {0};
    MDB_txn *txn;
    *mark = 0;
    store_line_key(line, model, schedule);
    enum status status = store_read_begin(store, &txn);
    if (status)
        return status;
    status = store_mark_get(store, txn, line, &marks);
    struct ready ready = {marks.mark, each, context};
    if (!status)
        status = store_bundle_each(store, txn, line, ready_each, &ready);
    mdb_txn_abort(txn);
    *mark = marks.mark;
    return status;
}

struct next {
    uint64_t serial, count;
};

static void next_each(void *context, uint64_t serial)
{
    struct next *next = context;
    if (!next->count++)
        next->serial = serial;
}

enum status store_bundle_next(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t *serial,
                              uint64_t *mark, uint64_t *count)
{
    struct next next = {0};
    const enum status status = store_bundle_serials(store, model, schedule, mark, next_each, &next);
    *serial = next.serial;
    *count = next.count;
    return status;
}

/* First ready bundle up to a serial. */
struct below {
    uint64_t upto;
    bool found;
    unsigned char where[STORE_SERIAL_KEY_BYTES], id[STORE_ID_BYTES];
};

static bool below_each(void *context, const unsigned char *where, const struct store_record *record)
{
    struct below *below = context;
    if (store_get64(where + STORE_LINE_BYTES) > below->upto)
        return false;
    if (record->state != STORE_READY)
        return true;
    below->found = true;
    memcpy(below->where, where, STORE_SERIAL_KEY_BYTES);
    memcpy(below->id, record->id, STORE_ID_BYTES);
    return false;
}

void store_bundle_sweep(struct store *store, const unsigned char line[STORE_LINE_BYTES], uint64_t upto)
{
    uint64_t burnt = 0;
    for (unsigned char last[STORE_ID_BYTES] = {0};; burnt++) {
        struct below below = {.upto = upto};
        MDB_txn *txn;
        enum status status = store_read_begin(store, &txn);
        if (!status) {
            status = store_bundle_each(store, txn, line, below_each, &below);
            mdb_txn_abort(txn);
        }
        /* Met again means that it could not be deleted; it lies below the mark and goes when the store is
         * opened. */
        if (status || (below.found && !memcmp(last, below.id, sizeof last))) {
            atomic_store(&store->failed, true);
            return;
        }
        if (!below.found)
            break;
        memcpy(last, below.id, sizeof last);
        store_content_delete(store, store->bundles, below.where, sizeof below.where, below.id);
    }
    if (burnt)
        store_say(store,
                  "ready bundles burnt up to number %llu: %llu; another party lacks them, or their model was "
                  "removed",
                  (unsigned long long)upto, (unsigned long long)burnt);
}

/* Raises the mark to serial, never lowers it. Whether the serial was above it. */
static enum status raise_mark(struct store *store, MDB_txn *txn, const unsigned char line[], uint64_t serial,
                              bool *above)
{
    struct store_mark mark;
    const enum status status = store_mark_get(store, txn, line, &mark);
    *above = !status && serial > mark.mark;
    if (!*above)
        return status;
    mark.mark = serial;
    if (mark.seen < serial)
        mark.seen = serial;
    return store_mark_put(store, txn, line, &mark);
}

static enum status check_range(uint64_t serial)
{
    if (serial <= STORE_SERIAL_MAX)
        return STATUS_OK;
    return status_fail(STATUS_INPUT, "serial %llu is beyond the last a store can count",
                       (unsigned long long)serial);
}

/* In one synced transaction: the mark is raised, and the record, if it is ready, becomes taken
 * (record->state). */
static enum status take_record(struct store *store, const unsigned char where[STORE_SERIAL_KEY_BYTES],
                               struct store_record *record)
{
    const uint64_t serial = store_get64(where + STORE_LINE_BYTES);
    MDB_txn *txn;
    bool above, found;
    enum status status = store_write_begin(store, STORE_URGENT, 0, &txn);
    if (status)
        return status;
    status = raise_mark(store, txn, where, serial, &above);
    if (!status && !above)
        status =
            status_fail(STATUS_STATE, "bundle %llu was taken or burnt before", (unsigned long long)serial);
    if (!status)
        status = store_record_get(store, txn, store->bundles, where, STORE_SERIAL_KEY_BYTES, record, &found);
    if (!status && found && record->state == STORE_READY) {
        record->state = STORE_TAKEN;
        status = store_record_put(store, txn, store->bundles, where, STORE_SERIAL_KEY_BYTES, record);
    }
    if (!status)
        return store_write_commit(store, txn);
    store_write_abort(store, txn);
    return status;
}

static void name_of_record(struct store_bundle *bundle)
{
    const struct store_record *record = &bundle->content.record;
    memcpy(bundle->name.nonce, record->nonce, STORE_HASH_BYTES);
    bundle->name.bucket = record->bucket;
    bundle->name.batch = record->batch;
    store_name_encode(bundle->content.name, &bundle->name);
}

enum status store_bundle_take(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t serial,
                              struct store_bundle **out)
{
    *out = NULL;
    struct store_name name = {.serial = serial};
    memcpy(name.model, model, STORE_HASH_BYTES);
    memcpy(name.schedule, schedule, STORE_HASH_BYTES);
    enum status status = check_range(serial);
    if (status)
        return status;
    struct store_bundle *bundle = store_bundle_new(store, &name);
    if (!bundle)
        return STATUS_MEMORY;
    struct store_content *content = &bundle->content;
    struct store_record *record = &content->record;
    status = take_record(store, content->where, record);
    if (!status) {
        store_bundle_sweep(store, content->where, serial);
        if (record->state != STORE_TAKEN)
            status = status_fail(STATUS_EMPTY, "bundle %llu is not ready in %s; its serial is burnt now",
                                 (unsigned long long)serial, store->path);
    }
    const bool taken = !status;
    if (taken)
        status = store_key_read(store, record->id, &content->key);
    name_of_record(bundle);
    if (!status)
        status = store_content_check(content);
    if (!status) {
        *out = bundle;
        return STATUS_OK;
    }
    if (!taken)
        record->state = STORE_READY; /* whatever it is, it is not ours to delete */
    store_bundle_close(&bundle);
    return status;
}

enum status store_bundle_peek(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t serial,
                              struct store_bundle **out)
{
    *out = NULL;
    struct store_name name = {.serial = serial};
    memcpy(name.model, model, STORE_HASH_BYTES);
    memcpy(name.schedule, schedule, STORE_HASH_BYTES);
    struct store_bundle *bundle = store_bundle_new(store, &name);
    if (!bundle)
        return STATUS_MEMORY;
    struct store_content *content = &bundle->content;
    MDB_txn *txn;
    bool found = false;
    enum status status = store_read_begin(store, &txn);
    if (!status) {
        status = store_record_get(store, txn, content->table, content->where, content->where_bytes,
                                  &content->record, &found);
        mdb_txn_abort(txn);
    }
    if (!status && (!found || content->record.state != STORE_READY))
        status = status_fail(STATUS_EMPTY, "bundle %llu is not ready in %s", (unsigned long long)serial,
                             store->path);
    content->record.state = STORE_READY; /* whatever it is, it is not ours to delete */
    name_of_record(bundle);
    if (!status)
        status = store_key_read(store, content->record.id, &content->key);
    bundle->peeked = !status;
    if (status)
        store_bundle_close(&bundle);
    *out = bundle;
    return status;
}

enum status store_bundle_get(struct store_bundle *bundle, uint32_t item, void *data, size_t bytes)
{
    if (bundle->content.record.state != STORE_TAKEN && !bundle->peeked)
        return status_fail(STATUS_STATE, "bundle %llu is not taken: its items cannot be read",
                           (unsigned long long)bundle->name.serial);
    const enum status status = store_content_get(&bundle->content, item, data, bytes);
    return status ? status_prefix(status, "bundle %llu: ", (unsigned long long)bundle->name.serial)
                  : STATUS_OK;
}

enum status store_burn(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                       const unsigned char schedule[STORE_HASH_BYTES], uint64_t upto)
{
    unsigned char line[STORE_LINE_BYTES];
    MDB_txn *txn;
    bool above;
    store_line_key(line, model, schedule);
    enum status status = check_range(upto);
    if (!status)
        status = store_write_begin(store, STORE_URGENT, 0, &txn);
    if (status)
        return status;
    status = raise_mark(store, txn, line, upto, &above);
    if (status || !above) {
        store_write_abort(store, txn);
        return status;
    }
    status = store_write_commit(store, txn);
    if (!status)
        store_bundle_sweep(store, line, upto);
    return status;
}

enum status store_bundle_drop(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t serial)
{
    unsigned char where[STORE_SERIAL_KEY_BYTES];
    struct store_record record;
    MDB_txn *txn;
    bool found;
    store_serial_key(where, model, schedule, serial);
    enum status status = store_write_begin(store, STORE_URGENT, 0, &txn);
    if (status)
        return status;
    status = store_record_get(store, txn, store->bundles, where, sizeof where, &record, &found);
    const bool ready = !status && found && record.state == STORE_READY;
    /* Taken, so that nobody else can take it any more; one that somebody has taken is his. */
    record.state = STORE_TAKEN;
    if (ready)
        status = store_record_put(store, txn, store->bundles, where, sizeof where, &record);
    if (!ready || status) {
        store_write_abort(store, txn);
        return status;
    }
    status = store_write_commit(store, txn);
    if (!status)
        store_content_delete(store, store->bundles, where, sizeof where, record.id);
    return status;
}

/* The first schedule of a model behind line (which it replaces) with the highest serial it has seen; 0: no
 * more. */
static enum status next_line(struct store *store, unsigned char line[STORE_LINE_BYTES], uint64_t *seen)
{
    MDB_val key = {STORE_LINE_BYTES, line}, value;
    MDB_cursor *cursor;
    MDB_txn *txn;
    *seen = 0;
    enum status status = store_read_begin(store, &txn);
    if (status)
        return status;
    int code = mdb_cursor_open(txn, store->marks, &cursor);
    if (!code) {
        code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (!code && key.mv_size == STORE_LINE_BYTES && !memcmp(key.mv_data, line, STORE_HASH_BYTES)) {
            struct store_mark mark;
            memcpy(line, key.mv_data, STORE_LINE_BYTES);
            status = store_mark_get(store, txn, line, &mark);
            *seen = mark.seen;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return code && code != MDB_NOTFOUND ? store_env_fail(store, code, "cannot list schedules") : status;
}

enum status store_burn_model(struct store *store, const unsigned char model[STORE_HASH_BYTES])
{
    static const unsigned char none[STORE_HASH_BYTES];
    unsigned char line[STORE_LINE_BYTES];
    uint64_t seen;
    store_line_key(line, model, none);
    for (;;) {
        enum status status = next_line(store, line, &seen);
        if (!status && seen)
            status = store_burn(store, model, line + STORE_HASH_BYTES, seen);
        if (status || !seen)
            return status;
        int at = STORE_LINE_BYTES - 1;
        while (at >= STORE_HASH_BYTES && !++line[at])
            at--;
        if (at < STORE_HASH_BYTES)
            return STATUS_OK;
    }
}
