#include "store/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/environment.h"

/* LMDB's file format, data version 1 (all 0.9 releases), native byte order, 64-bit. */
#define PAGE_HEAD 16 /* number 8, pad 2, flags 2, lower 2, upper 2 (or 4: pages of an overflow run) */
#define PAGE_META 0x08
#define META_MAGIC 0xBEEFC0DEu
#define DATA_VERSION 1

struct tree {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint32_t magic, version;
    uint64_t address, map_bytes;
    struct tree tree[2]; /* free list, main */
    uint64_t last_page, txn;
};

_Static_assert(sizeof(struct tree) == 48 && sizeof(struct meta) == 136, "LMDB's layout on 64-bit machines");

static enum status torn(const char *path, const char *what)
{
    return status_fail(STATUS_CORRUPT,
                       "%s/data.mdb is damaged: %s; move the folder away and share the model again", path,
                       what);
}

static enum status read_meta(int file, const char *path, off_t at, struct meta *meta)
{
    unsigned char page[PAGE_HEAD + sizeof *meta];
    const ssize_t got = pread(file, page, sizeof page, at);
    uint16_t flags;
    if (got < 0)
        return status_fail(STATUS_IO, "cannot read %s/data.mdb: %s", path, strerror(errno));
    if ((size_t)got < sizeof page)
        return torn(path, "it ends within its head");
    memcpy(&flags, page + 10, sizeof flags);
    memcpy(meta, page + PAGE_HEAD, sizeof *meta);
    if (!(flags & PAGE_META) || meta->magic != META_MAGIC)
        return torn(path, "it does not begin as a store does");
    if (meta->version != DATA_VERSION)
        return status_fail(STATUS_FOREIGN, "%s/data.mdb is of another LMDB version (%u)", path,
                           meta->version);
    return STATUS_OK;
}

static enum status check_meta(const char *path, const struct meta *meta, uint64_t file_bytes)
{
    const uint64_t page_bytes = meta->tree[0].pad, pages = file_bytes / (page_bytes ? page_bytes : 1);
    if (page_bytes < 256 || page_bytes > 65536 || (page_bytes & (page_bytes - 1)))
        return torn(path, "its page size makes no sense");
    if (meta->last_page < 1 || meta->last_page >= pages)
        return torn(path, "it is shorter than it was (truncated)");
    for (int i = 0; i < 2; i++)
        if (meta->tree[i].root != UINT64_MAX && meta->tree[i].root > meta->last_page)
            return torn(path, "its root lies outside");
    return STATUS_OK;
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
    struct meta meta[2];
    enum status status = STATUS_OK;
    if (fstat(file, &stat))
        status = status_fail(STATUS_IO, "cannot look at %s/data.mdb: %s", path, strerror(errno));
    else if (stat.st_size) {
        status = read_meta(file, path, 0, &meta[0]);
        if (!status)
            status = read_meta(file, path, meta[0].tree[0].pad, &meta[1]);
        if (!status)
            status = check_meta(path, &meta[meta[1].txn > meta[0].txn], (uint64_t)stat.st_size);
    }
    close(file);
    return status;
}
