/* The walk over LMDB's trees; see inspect.h. */
#include "store/inspect.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BRANCH 0x01
#define PAGE_LEAF 0x02
#define PAGE_OVERFLOW 0x04
#define HEAD_BYTES 16
#define NODE_BYTES 8 /* size 4 (or child page, low part), flags 2 (or child page, high part), key size 2 */
#define NODE_BIG 0x01
#define NODE_TABLE 0x02
#define DEPTH_MAX 32 /* of LMDB's cursors */
#define KEY_MAX 511
#define FLAG_INTEGER_KEYS 0x08

/* What a tree is, which decides what its leaves may hold and how its keys are ordered. */
enum kind { FREE_LIST, TABLES, VALUES };

/* A tree on the walk. Keys rise from leaf to leaf, and the separators of its branches stand between them. */
struct walk {
    enum kind kind;
    bool started, separator; /* there was a key before; it was one of a branch */
    size_t last_bytes;
    unsigned char last[KEY_MAX];
};

struct page {
    uint64_t number;
    uint16_t pad, flags;
    union {
        struct {
            uint16_t lower, upper;
        };
        uint32_t run;
    };
    unsigned char data[]; /* the rest of the page */
};

_Static_assert(sizeof(struct page) == HEAD_BYTES, "LMDB's page head");

struct node {
    uint32_t size;
    uint16_t flags, key_bytes;
    const unsigned char *key, *data; /* inside the page */
};

static enum status walk(struct inspect *inspect, uint64_t root, unsigned depth, struct walk *tree);

static enum status foreign(const struct inspect *inspect)
{
    return status_fail(STATUS_FOREIGN,
                       "%s/data.mdb is no store of Trefoil, or damaged: its tables are of another kind",
                       inspect->path);
}

static enum status read_page(const struct inspect *inspect, uint64_t number, void *out, size_t bytes)
{
    const ssize_t got = pread(inspect->file, out, bytes, (off_t)(number * inspect->page_bytes));
    if (got == (ssize_t)bytes)
        return STATUS_OK;
    if (got < 0)
        return status_fail(STATUS_IO, "cannot read %s/data.mdb: %s", inspect->path, strerror(errno));
    return store_inspect_torn(inspect->path, "it is shorter than it was");
}

/* Pages number .. number+count-1 belong to the caller, and to nobody else. */
static enum status claim(struct inspect *inspect, uint64_t number, uint64_t count)
{
    if (number < 2 || number > inspect->last_page || count > inspect->last_page - number + 1)
        return store_inspect_torn(inspect->path, "a page lies outside");
    for (uint64_t page = number; page < number + count; page++) {
        if (inspect->seen[page / 8] >> page % 8 & 1)
            return store_inspect_torn(inspect->path, "a page is used twice");
        inspect->seen[page / 8] |= (unsigned char)(1u << page % 8);
    }
    return STATUS_OK;
}

/* Reads entry number index, and marks its bytes in taken, a byte for every two of the page: LMDB moves
 * entries together by their sizes, so none may overlap another. */
static enum status read_node(const struct inspect *inspect, const struct page *page, unsigned index,
                             bool leaf, unsigned char *taken, struct node *out)
{
    const size_t end = inspect->page_bytes;
    uint16_t at;
    memcpy(&at, page->data + 2 * index, sizeof at);
    if (at < page->upper || at % 2 || at + (size_t)NODE_BYTES > end)
        return store_inspect_torn(inspect->path, "an entry lies outside its page");
    const unsigned char *node = (const unsigned char *)page + at;
    memcpy(&out->size, node, 4);
    memcpy(&out->flags, node + 4, 2);
    memcpy(&out->key_bytes, node + 6, 2);
    out->key = node + NODE_BYTES;
    out->data = out->key + out->key_bytes;
    const size_t data = !leaf ? 0 : out->flags & NODE_BIG ? sizeof(uint64_t) : out->size;
    const size_t bytes = ((size_t)NODE_BYTES + out->key_bytes + data + 1) / 2 * 2;
    if (out->key_bytes > KEY_MAX || bytes > end - at)
        return store_inspect_torn(inspect->path, "an entry lies outside its page");
    for (size_t i = at / 2; i < (at + bytes) / 2; i++)
        if (taken[i]++)
            return store_inspect_torn(inspect->path, "two entries overlap");
    return STATUS_OK;
}

static int compare(const struct walk *tree, const unsigned char *key, size_t bytes)
{
    if (tree->kind == FREE_LIST) {
        uint64_t a, b;
        memcpy(&a, key, sizeof a);
        memcpy(&b, tree->last, sizeof b);
        return (a > b) - (a < b);
    }
    const int head = memcmp(key, tree->last, bytes < tree->last_bytes ? bytes : tree->last_bytes);
    return head ? head : (bytes > tree->last_bytes) - (bytes < tree->last_bytes);
}

static enum status check_order(struct inspect *inspect, struct walk *tree, const struct node *node,
                               bool separator)
{
    uint64_t txn = 0;
    if (tree->kind == FREE_LIST && node->key_bytes == sizeof txn)
        memcpy(&txn, node->key, sizeof txn);
    if (!node->key_bytes ||
        (tree->kind == FREE_LIST && (node->key_bytes != sizeof txn || txn > inspect->last_txn)))
        return store_inspect_torn(inspect->path, "a key makes no sense");
    const int order = tree->started ? compare(tree, node->key, node->key_bytes) : 1;
    if (order < 0 || (!order && (!tree->separator || separator)))
        return store_inspect_torn(inspect->path, "its keys are out of order");
    tree->started = true;
    tree->separator = separator;
    tree->last_bytes = node->key_bytes;
    memcpy(tree->last, node->key, node->key_bytes);
    return STATUS_OK;
}

/* A value in pages of its own. */
static enum status check_run(struct inspect *inspect, const struct node *node, uint64_t *first)
{
    struct page head;
    const uint64_t pages = (HEAD_BYTES - 1 + (uint64_t)node->size) / inspect->page_bytes + 1;
    memcpy(first, node->data, sizeof *first);
    enum status status = claim(inspect, *first, pages);
    if (!status)
        status = read_page(inspect, *first, &head, sizeof head);
    if (!status && (head.number != *first || head.flags != PAGE_OVERFLOW || head.run != pages))
        status = store_inspect_torn(inspect->path, "the pages of a value are not its own");
    return status;
}

/* A record of the free list: a count, then page numbers, falling. */
static enum status check_free(struct inspect *inspect, const unsigned char *data, size_t bytes)
{
    uint64_t count, number, last = UINT64_MAX;
    if (bytes < sizeof count)
        return store_inspect_torn(inspect->path, "its free list is cut short");
    memcpy(&count, data, sizeof count);
    if (count > (bytes - sizeof count) / sizeof number)
        return store_inspect_torn(inspect->path, "its free list is cut short");
    for (uint64_t i = 0; i < count; i++) {
        memcpy(&number, data + 8 * (i + 1), sizeof number);
        const enum status status = number < last
                                       ? claim(inspect, number, 1)
                                       : store_inspect_torn(inspect->path, "its free list is out of order");
        if (status)
            return status;
        last = number;
    }
    return STATUS_OK;
}

static enum status check_free_run(struct inspect *inspect, const struct node *node, uint64_t first)
{
    unsigned char *data = malloc(node->size);
    if (!data)
        return status_fail(STATUS_MEMORY, "no memory to check %s/data.mdb", inspect->path);
    const ssize_t got =
        pread(inspect->file, data, node->size, (off_t)(first * inspect->page_bytes) + HEAD_BYTES);
    const enum status status = got == (ssize_t)node->size
                                   ? check_free(inspect, data, node->size)
                                   : store_inspect_torn(inspect->path, "its free list is cut short");
    free(data);
    return status;
}

static enum status check_table(struct inspect *inspect, const struct node *node)
{
    struct inspect_tree tree;
    struct walk values = {.kind = VALUES};
    if (node->size != sizeof tree)
        return foreign(inspect);
    memcpy(&tree, node->data, sizeof tree);
    return tree.flags ? foreign(inspect) : walk(inspect, tree.root, tree.depth, &values);
}

static enum status check_leaf_node(struct inspect *inspect, const struct node *node, struct walk *tree)
{
    const enum kind kind = tree->kind;
    const bool big = node->flags & NODE_BIG, table = node->flags & NODE_TABLE;
    if (node->flags & ~(NODE_BIG | NODE_TABLE) || table != (kind == TABLES) || (table && big))
        return foreign(inspect);
    if (table)
        return check_table(inspect, node);
    uint64_t first = 0;
    enum status status = big ? check_run(inspect, node, &first) : STATUS_OK;
    if (kind != FREE_LIST || status)
        return status;
    return big ? check_free_run(inspect, node, first) : check_free(inspect, node->data, node->size);
}

static enum status walk_page(struct inspect *inspect, struct page *page, unsigned depth, struct walk *tree)
{
    const unsigned entries = (page->lower - HEAD_BYTES) / 2u;
    unsigned char *taken = (unsigned char *)page + inspect->page_bytes;
    enum status status = STATUS_OK;
    memset(taken, 0, inspect->page_bytes / 2);
    for (unsigned i = 0; !status && i < entries; i++) {
        struct node node = {0};
        status = read_node(inspect, page, i, depth == 1, taken, &node);
        if (!status && (depth == 1 || i > 0)) /* the first key of a branch stands for "less than all" */
            status = check_order(inspect, tree, &node, depth > 1);
        if (status)
            break;
        if (depth > 1)
            status = walk(inspect, (uint64_t)node.flags << 32 | node.size, depth - 1, tree);
        else
            status = check_leaf_node(inspect, &node, tree);
    }
    return status;
}

/* depth: of the tree from here down; 1 is a leaf. */
static enum status walk(struct inspect *inspect, uint64_t root, unsigned depth, struct walk *tree)
{
    if (root == UINT64_MAX)
        return depth ? store_inspect_torn(inspect->path, "a root is missing") : STATUS_OK;
    if (depth < 1 || depth > DEPTH_MAX)
        return store_inspect_torn(inspect->path, "a tree has no sensible depth");
    enum status status = claim(inspect, root, 1);
    if (status)
        return status;
    struct page *page = malloc(inspect->page_bytes * 3 / 2);
    if (!page)
        return status_fail(STATUS_MEMORY, "no memory to check %s/data.mdb", inspect->path);
    status = read_page(inspect, root, page, inspect->page_bytes);
    const unsigned kind_wanted = depth > 1 ? PAGE_BRANCH : PAGE_LEAF, least = depth > 1 ? 2 : 1;
    if (!status && (page->number != root || page->flags != kind_wanted))
        status = store_inspect_torn(inspect->path, "a page is not what it should be");
    if (!status && (page->lower < HEAD_BYTES + 2 * least || page->lower % 2 || page->lower > page->upper ||
                    page->upper > inspect->page_bytes))
        status = store_inspect_torn(inspect->path, "a page has no sensible bounds");
    if (!status)
        status = walk_page(inspect, page, depth, tree);
    free(page);
    return status;
}

enum status store_inspect_trees(struct inspect *inspect, const struct inspect_tree *free_list,
                                const struct inspect_tree *tables)
{
    struct walk free_walk = {.kind = FREE_LIST}, tables_walk = {.kind = TABLES};
    if (free_list->flags != FLAG_INTEGER_KEYS || tables->flags)
        return foreign(inspect);
    enum status status = walk(inspect, free_list->root, free_list->depth, &free_walk);
    return status ? status : walk(inspect, tables->root, tables->depth, &tables_walk);
}
