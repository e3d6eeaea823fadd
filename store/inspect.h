/* A look at data.mdb before LMDB maps it: LMDB trusts its file, and would die of SIGBUS or follow wild page
 * numbers in one that is torn or overwritten. Private to store/.
 *
 * The look reads the two heads, every branch and leaf page, the head of every run of value pages and the free
 * list, and makes sure that all of them lie inside the file, say what they are and belong to one place only.
 * Values are not read: they verify by themselves when they are opened. */
#ifndef TREFOIL_STORE_INSPECT_H
#define TREFOIL_STORE_INSPECT_H

#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

/* LMDB's file format, data version 1 (all 0.9 releases), native byte order, 64-bit. A B-tree: */
struct inspect_tree {
    uint32_t pad; /* the page size, in the first tree of a head */
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries;
    uint64_t root; /* UINT64_MAX: empty */
};

/* The file under inspection. */
struct inspect {
    int file;
    const char *path; /* of the store */
    size_t page_bytes;
    uint64_t last_page, last_txn;
    unsigned char *seen; /* a bit a page: it belongs somewhere */
};

/* folder: a descriptor of path. STATUS_OK if data.mdb is sound, absent or empty; STATUS_CORRUPT names the
 * file and what is wrong; STATUS_FOREIGN for another format. Reads only. */
STATUS_MUST_USE enum status store_inspect(int folder, const char *path);

/* Walks the free list and all tables. */
STATUS_MUST_USE enum status store_inspect_trees(struct inspect *inspect, const struct inspect_tree *free_list,
                                                const struct inspect_tree *tables);

/* The failure that names the file. */
enum status store_inspect_torn(const char *path, const char *what);

#endif
