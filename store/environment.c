#define _GNU_SOURCE /* fallocate */
#include "store/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_MAP_BYTES (64ull << 30)
#define RESERVE_PAGES 512 /* what filling leaves of the map, so that deletions can always run */
#define AHEAD_PAGES 1024  /* the file is kept this much longer than LMDB needs, see grow_file */
#define TREE_PAGES 128    /* tree and free-list pages a transaction may write besides its values */
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

/* Pages that LMDB has on its free list. Each record there starts with its length. */
static int count_free(struct store *store, uint64_t *pages)
{
    MDB_txn *txn;
    MDB_cursor *cursor = NULL;
    MDB_val key, data;
    *pages = 0;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (code)
        return code;
    code = mdb_cursor_open(txn, 0, &cursor);
    while (!code && !(code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT))) {
        size_t count;
        if (data.mv_size < sizeof count) {
            code = MDB_CORRUPTED;
            break;
        }
        memcpy(&count, data.mv_data, sizeof count);
        *pages += count;
    }
    if (cursor)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Keeps the file longer than the last page LMDB may reach in this transaction. Two things rest on it: a file
 * shorter than its last page is known to be torn (store_inspect refuses it, LMDB would die of SIGBUS), and on
 * a full disk takes and deletions find blocks that are already theirs. */
static int grow_file(struct store *store, uint64_t pages, bool must)
{
    struct stat stat;
    if (fstat(store->file, &stat))
        return errno;
    if (pages > store->map_pages)
        pages = store->map_pages;
    const off_t need = (off_t)(pages * store->page_bytes);
    if (stat.st_size >= need)
        return 0;
    const uint64_t more = pages + STORE_BATCH_BYTES / store->page_bytes;
    const off_t want = (off_t)((more < store->map_pages ? more : store->map_pages) * store->page_bytes);
    if (!fallocate(store->file, 0, stat.st_size, want - stat.st_size))
        return 0;
    if (must && errno != EOPNOTSUPP)
        return errno;
    return ftruncate(store->file, need) ? errno : 0;
}

static int reserve(struct store *store, enum store_urgency urgency, uint64_t bytes)
{
    MDB_envinfo info;
    int code = mdb_env_info(store->env, &info);
    if (code)
        return code;
    const uint64_t used = info.me_last_pgno + 1, tail = store->map_pages - used;
    const uint64_t need = bytes / store->page_bytes + TREE_PAGES;
    const uint64_t eighth = store->map_pages / 8, keep = RESERVE_PAGES < eighth ? RESERVE_PAGES : eighth;
    const bool fill = urgency == STORE_FILL;
    if (fill && tail < need + keep) {
        uint64_t pages;
        code = count_free(store, &pages);
        if (!code && tail + pages < need + keep)
            code = MDB_MAP_FULL;
        if (code)
            return code;
    }
    code = grow_file(store, used + need + AHEAD_PAGES, fill);
    return fill ? code : 0;
}

enum status store_write_begin(struct store *store, enum store_urgency urgency, uint64_t bytes, MDB_txn **out)
{
    turn_wait(store, urgency);
    int code = reserve(store, urgency, bytes);
    if (!code)
        code = mdb_txn_begin(store->env, NULL, 0, out);
    if (!code)
        return STATUS_OK;
    turn_end(store);
    return store_env_fail(store, code, "cannot write");
}

enum status store_write_commit(struct store *store, MDB_txn *txn)
{
    const int code = mdb_txn_commit(txn);
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
