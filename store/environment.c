#include "store/environment.h"
#include "store/space.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MAP_BYTES (64ull << 30)
#define READERS_MAX 512

bool store_no_room(int code)
{
    return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

enum status store_env_fail(const struct store *store, int code, const char *what)
{
    const char *path = store->path;
    if (store_no_room(code))
        return status_fail(STATUS_FULL,
                           "%s: no room on the disk of %s (%s); free some space, nothing was half-written",
                           what, path, strerror(code));
    switch (code) {
    case MDB_MAP_FULL:
        return status_fail(
            STATUS_FULL,
            "%s: the store %s has reached its size limit of %llu MiB; raise the limit, use up bundles "
            "or remove a model",
            what, path, (unsigned long long)(store->map_pages * store->page_bytes >> 20));
    case ENOMEM:
        return status_fail(STATUS_MEMORY, "%s: out of memory for the store %s", what, path);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_NOTFOUND:
    case MDB_BAD_VALSIZE:
        return status_fail(STATUS_CORRUPT,
                           "%s: %s/data.mdb is damaged (%s); move the folder away and share the model again",
                           what, path, mdb_strerror(code));
    case MDB_VERSION_MISMATCH:
        return status_fail(STATUS_FOREIGN, "%s: %s/data.mdb is of another LMDB version", what, path);
    case MDB_PANIC:
        return status_fail(
            STATUS_IO, "%s: the store %s stopped after an earlier disk error; restart the party", what, path);
    case EACCES:
    case EPERM:
    case EROFS:
        return status_fail(STATUS_IO,
                           "%s: %s/data.mdb: %s; the store must belong to the user who runs the party", what,
                           path, strerror(code));
    default:
        return status_fail(STATUS_IO, "%s: store %s: %s", what, path, mdb_strerror(code));
    }
}

void store_say(const struct store *store, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    if (!store->say)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    store->say(store->context, line);
}

enum status store_env_open(struct store *store, uint64_t map_bytes)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (!map_bytes)
        map_bytes = DEFAULT_MAP_BYTES;
    map_bytes = (map_bytes + page - 1) / page * page;
    int code = mdb_env_create(&store->env);
    if (!code)
        code = mdb_env_set_mapsize(store->env, map_bytes);
    if (!code)
        code = mdb_env_set_maxdbs(store->env, 8);
    if (!code)
        code = mdb_env_set_maxreaders(store->env, READERS_MAX);
    /* Never MDB_NOMEMINIT: unused ends of pages would carry heap memory, masks perhaps, to the disk. */
    if (!code)
        code = mdb_env_open(store->env, store->path, MDB_NOTLS, 0600);
    if (!code)
        code = mdb_env_get_fd(store->env, &store->file);
    if (!code && fstat(store->file, &store->found))
        code = errno;
    if (code == ENOMEM)
        return status_fail(
            STATUS_INPUT,
            "cannot map %llu MiB for the store %s (%s): make store_size smaller, or raise the limit on "
            "address space",
            (unsigned long long)(map_bytes >> 20), store->path, strerror(code));
    /* Another process that looked at the store and died must not keep old pages. */
    int dead;
    if (!code)
        code = mdb_reader_check(store->env, &dead);
    MDB_stat stat;
    MDB_envinfo info;
    if (!code)
        code = mdb_env_stat(store->env, &stat);
    if (!code)
        code = mdb_env_info(store->env, &info);
    if (code)
        return store_env_fail(store, code, "cannot open the store");
    store->page_bytes = stat.ms_psize;
    store->map_pages = info.me_mapsize / stat.ms_psize;
    return STATUS_OK;
}

void store_env_close(struct store *store)
{
    if (store->env)
        mdb_env_close(store->env);
    store->env = NULL;
}

static void turn_wait(struct store *store, enum store_urgency urgency)
{
    const bool urgent = urgency == STORE_URGENT;
    pthread_mutex_lock(&store->turn);
    store->urgent_waiting += urgent;
    while (store->writing || (!urgent && store->urgent_waiting))
        pthread_cond_wait(&store->next, &store->turn);
    store->urgent_waiting -= urgent;
    store->writing = true;
    pthread_mutex_unlock(&store->turn);
}

static void turn_end(struct store *store)
{
    pthread_mutex_lock(&store->turn);
    store->writing = false;
    pthread_cond_broadcast(&store->next);
    pthread_mutex_unlock(&store->turn);
}

enum status store_write_begin(struct store *store, enum store_urgency urgency, uint64_t bytes, MDB_txn **out)
{
    turn_wait(store, urgency);
    int code = store_space_reserve(store, urgency, bytes);
    if (!code)
        code = mdb_txn_begin(store->env, NULL, 0, out);
    if (!code)
        return STATUS_OK;
    turn_end(store);
    return store_env_fail(store, code, "cannot write");
}

enum status store_write_commit(struct store *store, MDB_txn *txn)
{
    int code = mdb_txn_commit(txn);
    if (code == EIO && store_space_short(store))
        code = ENOSPC;
    turn_end(store);
    if (!code)
        return STATUS_OK;
    if (!store_no_room(code) && code != MDB_MAP_FULL)
        atomic_store(&store->failed, true);
    return store_env_fail(store, code, "cannot write");
}

void store_write_abort(struct store *store, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    turn_end(store);
}

enum status store_read_begin(struct store *store, MDB_txn **out)
{
    const int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, out);
    return code ? store_env_fail(store, code, "cannot read") : STATUS_OK;
}
