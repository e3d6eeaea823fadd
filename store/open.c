/* Opening and closing a store. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "store/inspect.h"
#include "store/recovery.h"

#define SCHEMA 2
#define READERS_BYTES (64 << 10)

static enum status path_fail(const struct store *store, const char *what, const char *file)
{
    const int code = errno;
    if (store_no_room(code))
        return status_fail(STATUS_FULL, "cannot %s %s%s: %s; free some space on that disk", what, store->path,
                           file, strerror(code));
    return status_fail(STATUS_IO, "cannot %s %s%s: %s", what, store->path, file, strerror(code));
}

/* A stamp without a database: somebody moved or deleted it. Beginning anew would forget the marks. */
static enum status check_whole(const struct store *store)
{
    struct stat stamp, data;
    if (fstatat(store->folder, "stamp", &stamp, AT_SYMLINK_NOFOLLOW))
        return STATUS_OK;
    if (!fstatat(store->folder, "data.mdb", &data, 0) && data.st_size)
        return STATUS_OK;
    return status_fail(
        STATUS_CORRUPT,
        "%s has a stamp, and its data.mdb is gone: move that back if you have moved it (models stay, "
        "bundles are burnt); to begin anew, move the whole folder away",
        store->path);
}

/* LMDB writes to its reader table through a map: on a full disk a hole in it would be a SIGBUS. Where it cannot be
 * filled now it stays as it is. */
static void fill_readers(const struct store *store)
{
    const int file = openat(store->folder, "lock.mdb", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    (void)!posix_fallocate(file, 0, READERS_BYTES);
    close(file);
}

/* The entry of a new store in its parent folder. The entries within are synced with the stamp (recovery.c).
 */
static int sync_parent(const struct store *store)
{
    const int parent = openat(store->folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return errno == EACCES ? 0 : -1; /* enough that it can be passed through */
    const int code = fsync(parent);
    close(parent);
    return code;
}

static enum status open_folders(struct store *store)
{
    const bool created = !mkdir(store->path, 0700);
    if (!created && errno != EEXIST)
        return path_fail(store, "create the store", "");
    store->folder = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->folder < 0)
        return path_fail(store, "open the store", "");
    if (created && sync_parent(store))
        return path_fail(store, "sync the folder of", "");
    if (mkdirat(store->folder, "keys", 0700) && errno != EEXIST)
        return path_fail(store, "create", "/keys");
    store->keys = openat(store->folder, "keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->keys < 0)
        return path_fail(store, "open", "/keys");
    /* A copy may have come with wider permissions. */
    if (fchmod(store->keys, 0700))
        return path_fail(store, "protect", "/keys");
    return STATUS_OK;
}

/* One process: the kernel drops the lock when it ends, however it ends. */
static enum status lock(struct store *store)
{
    char pid[24] = "";
    store->lock = openat(store->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock < 0)
        return path_fail(store, "open", "/lock");
    if (flock(store->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return path_fail(store, "lock", "/lock");
        const ssize_t got = pread(store->lock, pid, sizeof pid - 1, 0);
        pid[got > 0 ? got : 0] = 0;
        pid[strcspn(pid, "\n")] = 0;
        return status_fail(STATUS_STATE, "the store %s is in use by process %s; one process at a time",
                           store->path, pid[0] ? pid : "(unknown)");
    }
    const int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* In this order its block stays its own, on a full disk too. */
    if (pwrite(store->lock, pid, (size_t)length, 0) != length || ftruncate(store->lock, length))
        return path_fail(store, "write", "/lock");
    return STATUS_OK;
}

static enum status about_expect(struct store *store, MDB_txn *txn, const char *name, const char *want)
{
    MDB_val key = {strlen(name), (void *)name}, value;
    const int code = mdb_get(txn, store->about, &key, &value);
    if (code && code != MDB_NOTFOUND)
        return store_env_fail(store, code, "cannot open the store");
    if (!code && value.mv_size == strlen(want) && !memcmp(value.mv_data, want, value.mv_size))
        return STATUS_OK;
    char have[32] = "none";
    if (!code)
        snprintf(have, sizeof have, "%.*s", value.mv_size < 31 ? (int)value.mv_size : 31,
                 (char *)value.mv_data);
    return status_fail(STATUS_FOREIGN,
                       "%s/data.mdb is of %s %s, and %s is needed; give this party another folder",
                       store->path, name, have, want);
}

static enum status about_put(struct store *store, MDB_txn *txn, const char *name, const char *text)
{
    MDB_val key = {strlen(name), (void *)name}, value = {strlen(text), (void *)text};
    const int code = mdb_put(txn, store->about, &key, &value, 0);
    return code ? store_env_fail(store, code, "cannot create the store") : STATUS_OK;
}

static enum status open_table(struct store *store, MDB_txn *txn, const char *name, bool create, MDB_dbi *out)
{
    const int code = mdb_dbi_open(txn, name, create ? MDB_CREATE : 0, out);
    if (!create && (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE))
        return status_fail(STATUS_FOREIGN, "%s/data.mdb is not a store of Trefoil: it has no table \"%s\"",
                           store->path, name);
    return code ? store_env_fail(store, code, "cannot open the store") : STATUS_OK;
}

static enum status open_tables(struct store *store, MDB_txn *txn, bool fresh)
{
    char schema[16];
    snprintf(schema, sizeof schema, "%d", SCHEMA);
    enum status status = open_table(store, txn, "about", fresh, &store->about);
    if (!status && fresh)
        status = about_put(store, txn, "schema", schema);
    if (!status && fresh)
        status = about_put(store, txn, "party", store->party);
    if (!status)
        status = about_expect(store, txn, "schema", schema);
    if (!status)
        status = about_expect(store, txn, "party", store->party);
    if (!status)
        status = open_table(store, txn, "marks", fresh, &store->marks);
    if (!status)
        status = open_table(store, txn, "bundles", fresh, &store->bundles);
    if (!status)
        status = open_table(store, txn, "items", fresh, &store->items);
    if (!status)
        status = open_table(store, txn, "models", fresh, &store->models);
    if (!status) /* older stores have none */
        status = open_table(store, txn, "removed", true, &store->removed);
    return status;
}

/* Creates the tables in one transaction if the environment is empty, else checks that they are ours. */
static enum status enter_tables(struct store *store, bool *fresh)
{
    MDB_stat stat;
    const int code = mdb_env_stat(store->env, &stat);
    if (code)
        return store_env_fail(store, code, "cannot open the store");
    *fresh = !stat.ms_entries;
    MDB_txn *txn;
    enum status status = store_write_begin(store, *fresh ? STORE_FILL : STORE_CLEAN, 0, &txn);
    if (status)
        return status;
    status = open_tables(store, txn, *fresh);
    if (!status)
        return store_write_commit(store, txn);
    store_write_abort(store, txn);
    return status;
}

static void release(struct store *store)
{
    store_env_close(store);
    if (store->keys >= 0)
        close(store->keys);
    if (store->folder >= 0)
        close(store->folder);
    if (store->lock >= 0)
        close(store->lock);
    pthread_mutex_destroy(&store->turn);
    pthread_cond_destroy(&store->next);
    free(store->path);
    free(store);
}

enum status store_open(struct store **out, const struct store_options *options)
{
    *out = NULL;
    if (sodium_init() < 0)
        return status_fail(STATUS_IO, "libsodium found no source of random numbers");
    struct store *store = calloc(1, sizeof *store);
    char *path = strdup(options->path);
    if (!store || !path || strlen(options->party) >= sizeof store->party) {
        const bool memory = !store || !path;
        free(store);
        free(path);
        return memory ? status_fail(STATUS_MEMORY, "no memory for a store")
                      : status_fail(STATUS_INPUT, "\"%s\" is no name of a party", options->party);
    }
    store->path = path;
    strcpy(store->party, options->party);
    store->say = options->say;
    store->context = options->context;
    store->folder = store->keys = store->lock = -1;
    pthread_mutex_init(&store->turn, NULL);
    pthread_cond_init(&store->next, NULL);

    bool fresh = false;
    enum status status = open_folders(store);
    if (!status)
        status = lock(store);
    if (!status)
        status = check_whole(store);
    if (!status)
        fill_readers(store);
    if (!status)
        status = store_inspect(store->folder, store->path);
    if (!status)
        status = store_env_open(store, options->map_bytes);
    if (!status)
        status = enter_tables(store, &fresh);
    if (!status)
        status = store_recover(store, fresh);
    if (status)
        release(store);
    else
        *out = store;
    return status;
}

enum status store_close(struct store **store)
{
    if (!store || !*store)
        return STATUS_OK;
    const enum status status = store_leave(*store);
    release(*store);
    *store = NULL;
    return status;
}
