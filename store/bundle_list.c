/* Counts of bundles by (model, schedule), for the operator. */
#include "store/bundle.h"

#include <stdlib.h>
#include <string.h>

struct lines {
    struct store_count *counts;
    size_t count, room;
};

static struct store_count *lines_add(struct lines *lines)
{
    if (lines->count == lines->room) {
        const size_t room = lines->room ? 2 * lines->room : 16;
        struct store_count *counts = realloc(lines->counts, room * sizeof *counts);
        if (!counts)
            return NULL;
        lines->counts = counts;
        lines->room = room;
    }
    return &lines->counts[lines->count++];
}

static enum status lines_read(struct store *store, MDB_txn *txn, struct lines *lines)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open(txn, store->marks, &cursor);
    if (code)
        return store_env_fail(store, code, "cannot list bundles");
    enum status status = STATUS_OK;
    while (!status && !(code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        struct store_mark mark;
        struct store_count *count = NULL;
        if (key.mv_size != STORE_LINE_BYTES)
            status = store_env_fail(store, MDB_CORRUPTED, "cannot list bundles");
        else if (!(count = lines_add(lines)))
            status = status_fail(STATUS_MEMORY, "no memory to list the bundles");
        else
            status = store_mark_get(store, txn, key.mv_data, &mark);
        if (status)
            break;
        memset(count, 0, sizeof *count);
        memcpy(count->model, key.mv_data, STORE_HASH_BYTES);
        memcpy(count->schedule, (const char *)key.mv_data + STORE_HASH_BYTES, STORE_HASH_BYTES);
        count->mark = mark.mark;
        count->bucket = mark.bucket;
        count->batch = mark.batch;
    }
    mdb_cursor_close(cursor);
    return !status && code != MDB_NOTFOUND ? store_env_fail(store, code, "cannot list bundles") : status;
}

static bool count_each(void *context, const unsigned char *where, const struct store_record *record)
{
    struct store_count *count = context;
    const bool ready = record->state == STORE_READY && store_get64(where + STORE_LINE_BYTES) > count->mark;
    count->ready += ready;
    count->filling += record->state == STORE_FILLING;
    count->bytes += record->bytes;
    return true;
}

enum status store_bundle_list(struct store *store, void (*each)(void *, const struct store_count *),
                              void *context)
{
    struct lines lines = {0};
    MDB_txn *txn;
    enum status status = store_read_begin(store, &txn);
    if (status)
        return status;
    status = lines_read(store, txn, &lines);
    for (size_t i = 0; !status && i < lines.count; i++) {
        unsigned char line[STORE_LINE_BYTES];
        store_line_key(line, lines.counts[i].model, lines.counts[i].schedule);
        status = store_bundle_each(store, txn, line, count_each, &lines.counts[i]);
    }
    mdb_txn_abort(txn);
    for (size_t i = 0; !status && i < lines.count; i++)
        each(context, &lines.counts[i]);
    free(lines.counts);
    return status;
}
