#define _GNU_SOURCE /* fallocate */
#include "store/space.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_PAGES 512   /* what filling leaves, so that deletions can always run */
#define AHEAD_PAGES 1024 /* the file is kept this much longer than LMDB needs, see grow */
#define TREE_PAGES 128   /* tree and free-list pages a transaction may write besides its values */

size_t store_space_cost(const struct store *store, size_t value_bytes)
{
    /* LMDB gives a value pages of its own if two of them do not fit on one page. */
    const size_t page = store->page_bytes, entry = 64;
    if (value_bytes + entry > page / 2)
        return (value_bytes + 16 + page - 1) / page * page + 2 * entry;
    return 2 * (value_bytes + entry); /* leaves may be half empty */
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

/* Keeps the file longer than the last page LMDB may reach in this transaction, with blocks of its own. Two
 * things rest on it: a file shorter than its last page is known to be torn (store_inspect refuses it, LMDB
 * would die of SIGBUS), and on a full disk takes and deletions find room that is already theirs. Returns why
 * it could not; pages: its length. */
static int grow(struct store *store, uint64_t used, uint64_t need, uint64_t *pages)
{
    const uint64_t page = store->page_bytes, limit = store->map_pages, wanted = used + need + AHEAD_PAGES;
    const uint64_t least = wanted < limit ? wanted : limit, ample = least + STORE_BATCH_BYTES / page;
    const uint64_t length = ample < limit ? ample : limit;
    struct stat stat;
    if (fstat(store->file, &stat))
        return errno;
    const uint64_t size = (uint64_t)stat.st_size / page, blocks = (uint64_t)stat.st_blocks * 512 / page;
    *pages = size < blocks ? size : blocks;
    if (*pages >= least || used >= limit)
        return 0;
    if (!fallocate(store->file, 0, (off_t)(used * page), (off_t)((length - used) * page))) {
        *pages = length;
        return 0;
    }
    const int code = errno;
    /* Without blocks of its own it can still have the length. */
    if (size < least && ftruncate(store->file, (off_t)(least * page)))
        return errno;
    if (code != EOPNOTSUPP)
        return code;
    *pages = least;
    return 0;
}

bool store_space_short(struct store *store)
{
    struct stat stat;
    return !fstat(store->file, &stat) && fallocate(store->file, 0, stat.st_size, STORE_BATCH_BYTES) &&
           store_no_room(errno);
}

int store_space_reserve(struct store *store, enum store_urgency urgency, uint64_t bytes)
{
    MDB_envinfo info;
    int code = mdb_env_info(store->env, &info);
    if (code)
        return code;
    const uint64_t used = info.me_last_pgno + 1, need = bytes / store->page_bytes + TREE_PAGES;
    uint64_t pages = used;
    const int growth = grow(store, used, need, &pages);
    if (urgency != STORE_FILL)
        return 0;
    const uint64_t eighth = store->map_pages / 8, keep = KEEP_PAGES < eighth ? KEEP_PAGES : eighth;
    if (pages > store->map_pages)
        pages = store->map_pages;
    const uint64_t tail = pages > used ? pages - used : 0;
    if (tail >= need + keep)
        return 0;
    uint64_t freed;
    code = count_free(store, &freed);
    if (!code && tail + freed < need + keep)
        code = growth ? growth : MDB_MAP_FULL;
    return code;
}
