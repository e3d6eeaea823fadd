#include "store/recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "store/items.h"

#define CLEAN_BYTES 16
#define STAMP_BYTES 512
#define STAMP "stamp"
#define STAMP_NEW "stamp.new"

static MDB_val name_of(const char *text)
{
    return (MDB_val){strlen(text), (void *)text};
}

/* Empty where the system does not tell. */
static void boot_id(char out[64])
{
    out[0] = 0;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return;
    if (!fgets(out, 64, file))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(file);
}

/* The stamp a store in this state must have beside it; clean: NULL while it is open. "" if it cannot be told.
 */
static void stamp_text(char out[STAMP_BYTES], const struct store *store, const struct stat *data,
                       const unsigned char *clean)
{
    char boot[64], hex[2 * CLEAN_BYTES + 1] = "-";
    out[0] = 0;
    boot_id(boot);
    if (!boot[0])
        return;
    if (clean)
        sodium_bin2hex(hex, sizeof hex, clean, CLEAN_BYTES);
    snprintf(
        out, STAMP_BYTES,
        "trefoil store stamp 1\nparty %s\ngeneration %016llx\nclean %s\nboot %s\ndevice %llu\ninode %llu\n"
        "changed %lld.%09ld\n",
        store->party, (unsigned long long)store->generation, hex, boot, (unsigned long long)data->st_dev,
        (unsigned long long)data->st_ino, clean ? (long long)data->st_ctim.tv_sec : 0,
        clean ? data->st_ctim.tv_nsec : 0);
}

static bool all_newlines(const char *text)
{
    return text[strspn(text, "\n")] == 0;
}

/* Reads what lies there; "" if nothing does. */
static void stamp_read(char out[STAMP_BYTES + 1], const struct store *store)
{
    const int file = openat(store->folder, STAMP, O_RDONLY | O_CLOEXEC);
    const ssize_t got = file < 0 ? 0 : pread(file, out, STAMP_BYTES, 0);
    if (file >= 0)
        close(file);
    out[got > 0 ? got : 0] = 0;
}

/* Why the stamp is not the one of this store, closed with this clean mark; NULL if it is. */
static const char *stamp_differs(const struct store *store, const unsigned char *clean)
{
    static const struct {
        const char *line, *why;
    } reasons[] = {
        {"boot", "the machine was started anew since it was closed, or is another one"},
        {"device", "data.mdb is on another disk than when it was closed"},
        {"inode", "data.mdb is another file than the one that was closed, a copy or a backup"},
        {"changed", "data.mdb was changed after it was closed"},
    };
    char want[STAMP_BYTES], have[STAMP_BYTES + 1];
    /* Not as it is now: the room for the transaction we are in may have been made at its end. */
    stamp_text(want, store, &store->found, clean);
    stamp_read(have, store);
    const size_t bytes = strlen(want);
    if (!want[0])
        return "the system does not tell what boot or file this is";
    if (!strncmp(want, have, bytes) && all_newlines(have + bytes))
        return NULL;
    if (!have[0])
        return "its stamp is missing";
    const char *line = want;
    for (const char *next;
         (next = strchr(line, '\n')) && !strncmp(line, have + (line - want), (size_t)(next + 1 - line));)
        line = next + 1;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        const size_t word = strlen(reasons[i].line);
        if (!strncmp(line, reasons[i].line, word) && !strncmp(have + (line - want), reasons[i].line, word))
            return reasons[i].why;
    }
    return "its stamp is torn or of another day: data.mdb or the stamp was put back";
}

static int write_synced(int file, const char *text)
{
    char padded[STAMP_BYTES];
    memset(padded, '\n', sizeof padded);
    memcpy(padded, text, strlen(text));
    errno = ENOSPC;
    return pwrite(file, padded, sizeof padded, 0) != (ssize_t)sizeof padded || fsync(file) ? errno : 0;
}

static int stamp_create(const struct store *store, const char *text)
{
    const int file = openat(store->folder, STAMP_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return errno;
    int code = write_synced(file, text);
    close(file);
    if (!code && (renameat(store->folder, STAMP_NEW, store->folder, STAMP) || fsync(store->folder)))
        code = errno;
    return code;
}

/* Written over in place, always to the same length: a full disk has room for that. One that is torn on the way
 * agrees with nothing, and so burns. */
static int stamp_replace(const struct store *store, const char *text)
{
    const int file = openat(store->folder, STAMP, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return errno == ENOENT ? stamp_create(store, text) : errno;
    const int code = write_synced(file, text);
    close(file);
    return code;
}

static enum status stamp_write(const struct store *store, const unsigned char *clean)
{
    char text[STAMP_BYTES] = "";
    struct stat data;
    if (!fstatat(store->folder, "data.mdb", &data, 0))
        stamp_text(text, store, &data, clean);
    const int code = stamp_replace(store, text);
    if (!code)
        return STATUS_OK;
    if (store_no_room(code))
        return status_fail(STATUS_FULL, "cannot write %s/" STAMP ": %s; free some space on that disk",
                           store->path, strerror(code));
    return status_fail(STATUS_IO, "cannot write %s/" STAMP ": %s", store->path, strerror(code));
}

/* ---- what is said ---- */

/* Found at opening. */
struct verdict {
    const char *why;                              /* it was burnt; NULL: it was not */
    uint64_t burnt, ready, keyless, left, models; /* left: of a model that is not there */
};

static void say_opened(const struct store *store, bool fresh, const struct verdict *verdict)
{
    const unsigned long long models = verdict->models, ready = verdict->ready, burnt = verdict->burnt;
    if (fresh)
        store_say(store, "the store %s is begun anew", store->path);
    else if (verdict->why)
        store_say(store, "the store %s: ready bundles burnt: %llu, because %s; models: %llu", store->path,
                  burnt, verdict->why, models);
    else
        store_say(store, "the store %s is as it was closed; ready bundles: %llu; models: %llu", store->path,
                  ready, models);
    if (verdict->keyless)
        store_say(store, "the store %s: bundles dropped, because their keys are missing: %llu", store->path,
                  (unsigned long long)verdict->keyless);
    if (verdict->left)
        store_say(store, "the store %s: ready bundles burnt: %llu, because their models are gone",
                  store->path, (unsigned long long)verdict->left);
}

/* ---- ids in use ---- */

struct ids {
    unsigned char (*id)[STORE_ID_BYTES];
    size_t count, room;
};

static enum status ids_add(struct ids *ids, const unsigned char id[STORE_ID_BYTES])
{
    if (ids->count == ids->room) {
        const size_t room = ids->room ? 2 * ids->room : 64;
        void *more = realloc(ids->id, room * sizeof *ids->id);
        if (!more)
            return status_fail(STATUS_MEMORY, "no memory to check the store");
        ids->id = more;
        ids->room = room;
    }
    memcpy(ids->id[ids->count++], id, STORE_ID_BYTES);
    return STATUS_OK;
}

static int ids_order(const void *a, const void *b)
{
    return memcmp(a, b, STORE_ID_BYTES);
}

static bool ids_have(void *context, const unsigned char id[STORE_ID_BYTES])
{
    const struct ids *ids = context;
    return ids->count && bsearch(id, ids->id, ids->count, STORE_ID_BYTES, ids_order);
}

/* ---- what one transaction decides ---- */

/* Whether the model of a bundle can still be opened; key: of the bundle's record. */
static enum status has_model(struct store *store, MDB_txn *txn, const MDB_val *key, bool *has)
{
    struct store_record model;
    if (key->mv_size != STORE_SERIAL_KEY_BYTES)
        return store_env_fail(store, MDB_CORRUPTED, "cannot check the store");
    const enum status status =
        store_record_get(store, txn, store->models, key->mv_data, STORE_HASH_BYTES, &model, has);
    *has = *has && model.state == STORE_READY;
    return status;
}

/* Deletes the records of a table that are not to stay, collects the ids of the others. */
static enum status keep_records(struct store *store, MDB_txn *txn, MDB_dbi table, bool burn, struct ids *ids,
                                struct verdict *verdict)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    enum status status = STATUS_OK;
    int code = mdb_cursor_open(txn, table, &cursor);
    if (code)
        return store_env_fail(store, code, "cannot check the store");
    code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; !code && !status; code = code ? code : mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        struct store_record record;
        const bool bundle = table == store->bundles;
        bool owned = true;
        status = store_record_decode(store, &value, &record);
        if (!status && bundle)
            status = has_model(store, txn, &key, &owned);
        if (status)
            break;
        const bool ready = record.state == STORE_READY, kept = ready && !burn;
        const bool orphan = bundle && !store_key_exists(store, record.id);
        verdict->burnt += bundle && ready && burn;
        verdict->left += bundle && kept && !owned;
        verdict->keyless += bundle && kept && owned && orphan;
        verdict->ready += bundle && kept && owned && !orphan;
        verdict->models += !bundle && ready;
        if (burn || orphan || !owned || record.state != STORE_READY)
            code = mdb_cursor_del(cursor, 0);
        else
            status = ids_add(ids, record.id);
    }
    mdb_cursor_close(cursor);
    return !status && code != MDB_NOTFOUND ? store_env_fail(store, code, "cannot check the store") : status;
}

/* Every serial ever seen counts as spent. */
static enum status raise_marks(struct store *store, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    enum status status = STATUS_OK;
    int code = mdb_cursor_open(txn, store->marks, &cursor);
    if (code)
        return store_env_fail(store, code, "cannot raise marks");
    while (!status && !(code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        unsigned char line[STORE_LINE_BYTES];
        struct store_mark mark;
        if (key.mv_size != sizeof line) {
            code = MDB_CORRUPTED;
            break;
        }
        memcpy(line, key.mv_data, sizeof line);
        status = store_mark_get(store, txn, line, &mark);
        mark.mark = mark.seen;
        if (!status)
            status = store_mark_put(store, txn, line, &mark);
    }
    mdb_cursor_close(cursor);
    return !status && code != MDB_NOTFOUND ? store_env_fail(store, code, "cannot raise marks") : status;
}

static enum status put_generation(struct store *store, MDB_txn *txn)
{
    unsigned char bytes[8];
    randombytes_buf(&store->generation, sizeof store->generation);
    store_put64(bytes, store->generation);
    MDB_val key = name_of("generation"), value = {sizeof bytes, bytes};
    const int code = mdb_put(txn, store->about, &key, &value, 0);
    return code ? store_env_fail(store, code, "cannot write the generation") : STATUS_OK;
}

static enum status decide(struct store *store, MDB_txn *txn, bool fresh, struct ids *ids,
                          struct verdict *verdict)
{
    MDB_val key = name_of("generation"), value;
    if (!fresh && !mdb_get(txn, store->about, &key, &value) && value.mv_size == 8)
        store->generation = store_get64(value.mv_data);
    key = name_of("clean");
    const bool marked = !mdb_get(txn, store->about, &key, &value) && value.mv_size == CLEAN_BYTES;
    verdict->why = marked ? stamp_differs(store, value.mv_data)
                          : "it was not closed cleanly (a crash, SIGKILL, a power cut, an earlier error)";
    const bool burn = verdict->why != NULL;
    int code = mdb_del(txn, store->about, &key, NULL);
    if (code && code != MDB_NOTFOUND)
        return store_env_fail(store, code, "cannot check the store");
    enum status status = burn ? raise_marks(store, txn) : STATUS_OK;
    if (!status && burn)
        status = put_generation(store, txn);
    if (!status)
        status = keep_records(store, txn, store->bundles, burn, ids, verdict);
    if (!status)
        status = keep_records(store, txn, store->models, false, ids, verdict);
    return status;
}

/* ---- orphans ---- */

/* The first id at or above from that no record has. */
static enum status orphan_find(struct store *store, unsigned char from[STORE_ID_BYTES], struct ids *ids,
                               bool *found)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    enum status status = store_read_begin(store, &txn);
    if (status)
        return status;
    int code = mdb_cursor_open(txn, store->items, &cursor);
    *found = false;
    while (!code && !*found) {
        MDB_val key = {STORE_ID_BYTES, from}, value;
        code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (!code && key.mv_size != STORE_ITEM_KEY_BYTES)
            code = MDB_CORRUPTED;
        if (code)
            break;
        memcpy(from, key.mv_data, STORE_ID_BYTES);
        *found = !ids_have(ids, from);
        for (int i = STORE_ID_BYTES - 1; !*found && i >= 0 && !++from[i]; i--)
            ; /* the next id */
    }
    if (cursor)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return code && code != MDB_NOTFOUND ? store_env_fail(store, code, "cannot check the items") : STATUS_OK;
}

static enum status sweep(struct store *store, struct ids *ids)
{
    if (ids->count)
        qsort(ids->id, ids->count, STORE_ID_BYTES, ids_order);
    enum status status = store_key_sweep(store, ids_have, ids);
    unsigned char from[STORE_ID_BYTES] = {0};
    bool found = !status;
    while (!status && found) {
        status = orphan_find(store, from, ids, &found);
        if (!status && found)
            status = store_items_delete(store, from);
    }
    return status;
}

enum status store_recover(struct store *store, bool fresh)
{
    struct ids ids = {0};
    struct verdict verdict = {0};
    MDB_txn *txn;
    enum status status = store_write_begin(store, STORE_CLEAN, 0, &txn);
    if (!status) {
        status = decide(store, txn, fresh, &ids, &verdict);
        if (status)
            store_write_abort(store, txn);
        else
            status = store_write_commit(store, txn);
    }
    if (!status)
        status = sweep(store, &ids);
    if (!status)
        status = stamp_write(store, NULL);
    if (!status)
        say_opened(store, fresh, &verdict);
    free(ids.id);
    return status;
}

/* The clean mark, where one may be written. */
static enum status mark_clean(struct store *store, unsigned char clean[CLEAN_BYTES])
{
    MDB_val key = name_of("clean"), value = {CLEAN_BYTES, clean};
    MDB_txn *txn;
    randombytes_buf(clean, CLEAN_BYTES);
    if (atomic_load(&store->failed))
        return status_fail(STATUS_STATE, "something could not be deleted or written before");
    if (atomic_load(&store->handles))
        return status_fail(STATUS_STATE, "bundles or models are still in use");
    const enum status status = store_write_begin(store, STORE_CLEAN, 0, &txn);
    if (status)
        return status;
    const int code = mdb_put(txn, store->about, &key, &value, 0);
    if (!code)
        return store_write_commit(store, txn);
    store_write_abort(store, txn);
    return store_env_fail(store, code, "cannot write the clean mark");
}

enum status store_leave(struct store *store)
{
    unsigned char clean[CLEAN_BYTES];
    enum status status = mark_clean(store, clean);
    store_env_close(store);
    if (!status)
        status = stamp_write(store, clean);
    if (status) {
        status = status_prefix(
            status, "the store %s is not closed cleanly, its ready bundles will be burnt when it is opened: ",
            store->path);
        store_say(store, "%s", status_message());
    } else
        store_say(store, "the store %s is closed cleanly", store->path);
    return status;
}
