#include "store/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES 16 /* of every page: number 8, pad 2, flags 2, bounds or run length 4 */
#define PAGE_META 0x08
#define META_MAGIC 0xBEEFC0DEu
#define DATA_VERSION 1

struct meta {
    uint32_t magic, version;
    uint64_t address, map_bytes;
    struct inspect_tree free_list, tables;
    uint64_t last_page, txn;
};

_Static_assert(sizeof(struct inspect_tree) == 48 && sizeof(struct meta) == 136,
               "LMDB's layout on 64-bit machines");

enum status store_inspect_torn(const char *path, const char *what)
{
    return status_fail(STATUS_CORRUPT,
                       "%s/data.mdb is damaged: %s; move the folder away and share the model again", path,
                       what);
}

static enum status read_meta(int file, const char *path, off_t at, struct meta *meta)
{
    unsigned char page[HEAD_BYTES + sizeof *meta];
    const ssize_t got = pread(file, page, sizeof page, at);
    uint16_t flags;
    if (got < 0)
        return status_fail(STATUS_IO, "cannot read %s/data.mdb: %s", path, strerror(errno));
    if ((size_t)got < sizeof page)
        return store_inspect_torn(path, "it ends within its head");
    memcpy(&flags, page + 10, sizeof flags);
    memcpy(meta, page + HEAD_BYTES, sizeof *meta);
    if (!(flags & PAGE_META) || meta->magic != META_MAGIC)
        return store_inspect_torn(path, "it does not begin as a store does");
    if (meta->version != DATA_VERSION)
        return status_fail(STATUS_FOREIGN, "%s/data.mdb is of another LMDB version (%u)", path,
                           meta->version);
    return STATUS_OK;
}

static enum status check(int file, const char *path, uint64_t file_bytes)
{
    struct meta meta[2];
    enum status status = read_meta(file, path, 0, &meta[0]);
    if (status)
        return status;
    const uint64_t page_bytes = meta[0].free_list.pad;
    if (page_bytes < 256 || page_bytes > 65536 || (page_bytes & (page_bytes - 1)))
        return store_inspect_torn(path, "its page size makes no sense");
    status = read_meta(file, path, (off_t)page_bytes, &meta[1]);
    if (status)
        return status;
    const struct meta *newest = &meta[meta[1].txn > meta[0].txn];
    if (newest->free_list.pad != page_bytes)
        return store_inspect_torn(path, "its heads disagree");
    /* Sound, because the file is always kept longer than what LMDB uses (space.c, grow). */
    if (newest->last_page < 1 || newest->last_page >= file_bytes / page_bytes)
        return store_inspect_torn(path, "it is shorter than it was");
    struct inspect inspect = {
        file, path, page_bytes, newest->last_page, newest->txn, calloc(1, newest->last_page / 8 + 1)};
    if (!inspect.seen)
        return status_fail(STATUS_MEMORY, "no memory to check %s/data.mdb", path);
    status = store_inspect_trees(&inspect, &newest->free_list, &newest->tables);
    free(inspect.seen);
    return status;
}

enum status store_inspect(int folder, const char *path)
{
    const int file = openat(folder, "data.mdb", O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT)
        return STATUS_OK;
    if (file < 0)
        return status_fail(
            STATUS_IO, "cannot open %s/data.mdb: %s; the store must belong to the user who runs the party",
            path, strerror(errno));
    struct stat stat;
    enum status status = STATUS_OK;
    if (fstat(file, &stat))
        status = status_fail(STATUS_IO, "cannot look at %s/data.mdb: %s", path, strerror(errno));
    else if (!S_ISREG(stat.st_mode))
        status = status_fail(STATUS_IO, "%s/data.mdb is not a file", path);
    else if (stat.st_size)
        status = check(file, path, (uint64_t)stat.st_size);
    close(file);
    return status;
}
