#define _GNU_SOURCE /* fallocate */
#include "store/space.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define KEEP_PAGES 512   /* what filling leaves, so that deletions can always run */
#define AHEAD_PAGES 1024 /* the file is kept this much longer than LMDB needs, see grow */
#define TREE_PAGES 128   /* tree and free-list pages a transaction may write besides its values */

/* What filling leaves of a disk: a hundredth of it within these bounds, but of a tiny one an eighth at most. */
#define RESERVE_LEAST (16ull << 20)
#define RESERVE_MOST (1ull << 30)

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

/* Bytes that the disk still has for us, UINT64_MAX where it does not tell; reserve: what filling leaves of them
 * to the files outside data.mdb and to whoever else writes to this disk. */
static uint64_t disk_free(const struct store *store, uint64_t *reserve)
{
    struct statvfs disk;
    *reserve = 0;
    if (fstatvfs(store->file, &disk) || !disk.f_blocks)
        return UINT64_MAX;
    const uint64_t whole = (uint64_t)disk.f_blocks * disk.f_frsize;
    *reserve = whole / 100;
    if (*reserve < RESERVE_LEAST)
        *reserve = RESERVE_LEAST;
    if (*reserve > RESERVE_MOST)
        *reserve = RESERVE_MOST;
    if (*reserve > whole / 8)
        *reserve = whole / 8;
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* A file, in pages: its length; how long it is with blocks of its own. */
struct extent {
    uint64_t length, own;
};

static int measure(const struct store *store, struct extent *out)
{
    struct stat stat;
    if (fstat(store->file, &stat))
        return errno;
    const uint64_t blocks = (uint64_t)stat.st_blocks * 512 / store->page_bytes;
    out->length = (uint64_t)stat.st_size / store->page_bytes;
    out->own = out->length < blocks ? out->length : blocks;
    return 0;
}

/* How far the blocks may reach: where they are to, or as far as the reserve allows. Urgent work may have the
 * least it needs from the reserve. */
static uint64_t allowed(const struct store *store, enum store_urgency urgency, uint64_t own, uint64_t least,
                        uint64_t ample)
{
    uint64_t reserve, reach = ample;
    const uint64_t room = disk_free(store, &reserve) / store->page_bytes;
    reserve /= store->page_bytes;
    const uint64_t spare = room > reserve ? room - reserve : 0;
    if (spare < ample - own)
        reach = own + spare;
    if (reach < least && urgency != STORE_FILL)
        reach = room < least - own ? own + room : least;
    return reach;
}

/* Blocks of its own for the pages from used to reach. Where the file system has no such call they are only
 * counted. */
static int own_blocks(const struct store *store, uint64_t used, uint64_t reach, struct extent *file)
{
    const uint64_t page = store->page_bytes;
    if (reach <= used)
        return 0;
    const int code =
        fallocate(store->file, 0, (off_t)(used * page), (off_t)((reach - used) * page)) ? errno : 0;
    if (code && code != EOPNOTSUPP) /* part of it may have been allocated all the same */
        return ftruncate(store->file, (off_t)(file->length * page)) ? errno : code;
    file->own = reach;
    if (!code && file->length < reach)
        file->length = reach;
    return 0;
}

/* Keeps the file longer than the last page LMDB may reach in this transaction (used + need), and wanted pages
 * behind the used ones with blocks of their own. Two things rest on it: a file shorter than its last page is
 * known to be torn (store_inspect refuses it, LMDB would die of SIGBUS), and on a full disk takes and deletions
 * find room that is already theirs. Returns why it could not; file: what it has become. */
static int grow(struct store *store, enum store_urgency urgency, uint64_t used, uint64_t need,
                uint64_t wanted, struct extent *file)
{
    const uint64_t page = store->page_bytes, limit = store->map_pages;
    const uint64_t end = used + need + AHEAD_PAGES, longer = end < limit ? end : limit;
    const uint64_t goal = used + wanted < limit ? used + wanted : limit;
    int code = 0;
    if (file->own < goal) {
        const uint64_t ample = goal + STORE_BATCH_BYTES / page;
        const uint64_t least = used + need < goal ? used + need : goal;
        const uint64_t reach = allowed(store, urgency, file->own, least, ample < limit ? ample : limit);
        code = own_blocks(store, used, reach, file);
        if (!code && reach < goal)
            code = ENOSPC;
    }
    /* Without blocks of its own it can still have the length. */
    if (file->length < longer) {
        if (ftruncate(store->file, (off_t)(longer * page)))
            return errno;
        file->length = longer;
    }
    return code;
}

bool store_space_short(struct store *store)
{
    struct stat stat;
    if (fstat(store->file, &stat))
        return false;
    const bool shorter = fallocate(store->file, 0, stat.st_size, STORE_BATCH_BYTES) && store_no_room(errno);
    return ftruncate(store->file, stat.st_size) ? false : shorter;
}

int store_space_reserve(struct store *store, enum store_urgency urgency, uint64_t bytes)
{
    MDB_envinfo info;
    struct extent file = {0};
    int code = mdb_env_info(store->env, &info);
    if (!code)
        code = measure(store, &file);
    if (code)
        return code;
    const uint64_t used = info.me_last_pgno + 1, need = bytes / store->page_bytes + TREE_PAGES;
    const uint64_t eighth = store->map_pages / 8, keep = KEEP_PAGES < eighth ? KEEP_PAGES : eighth;
    const bool fill = urgency == STORE_FILL;
    uint64_t freed = 0;
    if (file.own >= used + need + (fill ? keep : AHEAD_PAGES))
        return 0;
    if (fill && (code = count_free(store, &freed)))
        return code;
    /* What LMDB can use again is not asked of the disk once more. */
    const uint64_t wanted = fill && freed >= need + keep ? keep : need + AHEAD_PAGES;
    const int growth = grow(store, urgency, used, need, wanted, &file);
    if (!fill)
        return 0;
    const uint64_t own = file.own < store->map_pages ? file.own : store->map_pages;
    if ((own > used ? own - used : 0) + freed >= need + keep)
        return 0;
    return growth ? growth : MDB_MAP_FULL;
}
