/* Writing behind: what is put waits in plain, is sealed straight into LMDB's pages and committed by a thread
 * of the content, a batch at a time, while the caller makes the next items. */
#include "store/items.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "store/seal.h"
#include "store/space.h"

#define AHEAD_BYTES (3u * STORE_BATCH_BYTES) /* what may wait before a put waits too */
#define DIRECT_BYTES \
    (STORE_BATCH_BYTES / 2) /* items from here on are not copied: the put waits until they are written */

/* An item that waits. */
struct waiting {
    struct waiting *next;
    uint32_t item;
    void *data;
    size_t bytes;
    void (*release)(void *data, size_t bytes);
};

struct store_writer {
    struct store_content *content;
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved;
    struct waiting *first, **last;
    size_t bytes; /* waiting */
    bool flush;   /* write what there is, however little */
    bool stop;
    enum status status; /* of the first failure */
    char message[512];
};

/* ---- one batch ---- */

/* The chunks of a list of items, in order. */
struct cursor {
    const struct waiting *at;
    uint32_t chunk;
};

static void step(struct cursor *c)
{
    if (++c->chunk < store_chunk_count(c->at->bytes))
        return;
    c->chunk = 0;
    c->at = c->at->next;
}

static size_t sealed_bytes(const struct cursor *c)
{
    return store_chunk_bytes(c->at->bytes, c->chunk) + STORE_OVERHEAD_BYTES;
}

/* How many chunks make the next batch, and their room in the store. */
static unsigned measure(const struct store *store, struct cursor c, size_t *cost)
{
    unsigned count = 0;
    size_t bytes = 0;
    for (*cost = 0; c.at && (!count || bytes + sealed_bytes(&c) <= STORE_BATCH_BYTES); step(&c), count++) {
        bytes += sealed_bytes(&c);
        *cost += store_space_cost(store, sealed_bytes(&c));
    }
    return count;
}

/* Begins a batch of bytes, if the content is still being filled. */
static enum status batch_begin(struct store_content *content, size_t bytes, MDB_txn **txn)
{
    struct store *store = content->store;
    enum status status = store_write_begin(store, STORE_FILL, bytes, txn);
    if (status)
        return status;
    struct store_record record;
    bool found;
    status =
        store_record_get(store, *txn, content->table, content->where, content->where_bytes, &record, &found);
    if (!status && (!found || record.state != STORE_FILLING ||
                    sodium_memcmp(record.id, content->record.id, STORE_ID_BYTES)))
        status =
            status_fail(STATUS_STATE, "%s: what was being filled has been removed meanwhile", store->path);
    if (status)
        store_write_abort(store, *txn);
    return status;
}

/* Space of bytes for one value, valid until the next change in this transaction. */
static enum status value_space(struct store_content *content, MDB_txn *txn, uint32_t item, uint32_t chunk,
                               size_t bytes, unsigned char **out)
{
    unsigned char name[STORE_ITEM_KEY_BYTES];
    memcpy(name, content->record.id, STORE_ID_BYTES);
    store_put32(name + STORE_ID_BYTES, item);
    store_put32(name + STORE_ID_BYTES + 4, chunk);
    MDB_val key = {sizeof name, name}, value = {bytes, NULL};
    const int code = mdb_put(txn, content->store->items, &key, &value, MDB_RESERVE | MDB_NOOVERWRITE);
    if (code == MDB_KEYEXIST)
        return status_fail(STATUS_STATE, "item %u was put twice", item);
    if (code)
        return store_env_fail(content->store, code, "cannot write an item");
    *out = value.mv_data;
    return STATUS_OK;
}

static enum status write_chunk(struct store_content *content, MDB_txn *txn, const struct cursor *c,
                               struct store_record *record)
{
    const struct store_place place = {c->at->item, c->chunk, c->at->bytes};
    const size_t bytes = sealed_bytes(c);
    unsigned char *space = NULL;
    enum status status = value_space(content, txn, place.item, place.chunk, bytes, &space);
    if (status)
        return status;
    const unsigned char *from =
        c->at->bytes ? (unsigned char *)c->at->data + (size_t)c->chunk * STORE_CHUNK_BYTES : NULL;
    status = store_seal(space, content, place, from, bytes - STORE_OVERHEAD_BYTES);
    if (!status)
        store_material_add(record->material, content, place.item, place.chunk, space, bytes);
    record->bytes += bytes;
    return status;
}

static enum status write_batch(struct store_content *content, struct cursor *c)
{
    struct store *store = content->store;
    struct store_record record = content->record;
    MDB_txn *txn;
    size_t cost;
    const unsigned count = measure(store, *c, &cost);
    enum status status = batch_begin(content, cost, &txn);
    if (status)
        return status;
    for (unsigned i = 0; !status && i < count; i++, step(c))
        status = write_chunk(content, txn, c, &record);
    if (!status)
        status = store_record_put(store, txn, content->table, content->where, content->where_bytes, &record);
    if (status)
        store_write_abort(store, txn);
    else
        status = store_write_commit(store, txn);
    if (!status) {
        content->record.bytes = record.bytes;
        memcpy(content->record.material, record.material, sizeof record.material);
    }
    return status;
}

static enum status write_items(struct store_content *content, const struct waiting *list)
{
    struct cursor c = {list, 0};
    enum status status = STATUS_OK;
    while (!status && c.at)
        status = write_batch(content, &c);
    return status;
}

static void release_items(struct waiting *list)
{
    while (list) {
        struct waiting *next = list->next;
        list->release(list->data, list->bytes);
        free(list);
        list = next;
    }
}

/* ---- the thread ---- */

/* Takes a batch out of the queue; NULL when the thread is to end. */
static struct waiting *next_items(struct store_writer *w)
{
    while (!w->stop && !w->flush && w->bytes < STORE_BATCH_BYTES)
        pthread_cond_wait(&w->moved, &w->lock);
    if (w->stop || !w->first)
        return NULL;
    struct waiting *list = w->first, *last = list;
    size_t bytes = last->bytes;
    while (last->next && bytes + last->next->bytes <= STORE_BATCH_BYTES) {
        last = last->next;
        bytes += last->bytes;
    }
    w->first = last->next;
    if (!w->first)
        w->last = &w->first;
    last->next = NULL;
    w->bytes -= bytes;
    pthread_cond_broadcast(&w->moved);
    return list;
}

static void *run(void *argument)
{
    struct store_writer *w = argument;
    struct waiting *list;
    pthread_mutex_lock(&w->lock);
    while ((list = next_items(w))) {
        const bool failed = w->status != STATUS_OK;
        pthread_mutex_unlock(&w->lock);
        const enum status status = failed ? STATUS_OK : write_items(w->content, list);
        release_items(list);
        pthread_mutex_lock(&w->lock);
        if (status) {
            w->status = status;
            status_copy(w->message, sizeof w->message);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static enum status writer_start(struct store_content *content)
{
    struct store_writer *w = calloc(1, sizeof *w);
    if (!w)
        return status_fail(STATUS_MEMORY, "no memory for a writer of the store");
    w->content = content;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->moved, NULL);
    if (pthread_create(&w->thread, NULL, run, w) == 0) {
        content->writer = w;
        return STATUS_OK;
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->moved);
    free(w);
    return status_fail(STATUS_MEMORY, "no thread for a writer of the store");
}

/* Ends the thread, after all that waits (flush) or without it. Its failure is the caller's. */
static enum status writer_end(struct store_content *content, bool flush)
{
    struct store_writer *w = content->writer;
    if (!w)
        return STATUS_OK;
    pthread_mutex_lock(&w->lock);
    w->flush = flush;
    w->stop = !flush;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    const enum status status = w->status ? status_fail(w->status, "%s", w->message) : STATUS_OK;
    release_items(w->first);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->moved);
    free(w);
    content->writer = NULL;
    return status;
}

/* ---- putting ---- */

static void release_copy(void *data, size_t bytes)
{
    if (data)
        sodium_memzero(data, bytes);
    free(data);
}

static enum status check_filling(const struct store_content *content)
{
    if (content->record.state != STORE_FILLING)
        return status_fail(STATUS_STATE, "%s: items can only be put before it is ready",
                           content->store->path);
    if (content->failed)
        return status_fail(STATUS_STATE, "%s: an item could not be written earlier; close it and start anew",
                           content->store->path);
    return STATUS_OK;
}

static enum status check_put(const struct store_content *content, uint32_t item, size_t bytes)
{
    const enum status status = check_filling(content);
    if (!status && store_chunk_count(bytes) > UINT32_MAX)
        return status_fail(STATUS_INPUT, "item %u is too large for the store", item);
    return status;
}

/* Appends to the queue, once there is room in it; the item belongs to the queue whatever the writer says. */
static enum status enqueue(struct store_content *content, struct waiting *item)
{
    struct store_writer *w = content->writer;
    pthread_mutex_lock(&w->lock);
    while (w->bytes >= AHEAD_BYTES)
        pthread_cond_wait(&w->moved, &w->lock);
    *w->last = item;
    w->last = &item->next;
    w->bytes += item->bytes;
    pthread_cond_broadcast(&w->moved);
    const enum status status = w->status ? status_fail(w->status, "%s", w->message) : STATUS_OK;
    pthread_mutex_unlock(&w->lock);
    return status;
}

enum status store_content_put_owned(struct store_content *content, uint32_t item, void *data, size_t bytes,
                                    void (*release)(void *data, size_t bytes))
{
    struct waiting *one = NULL;
    enum status status = check_put(content, item, bytes);
    if (!status && !content->writer)
        status = writer_start(content);
    if (!status && !(one = malloc(sizeof *one)))
        status = status_fail(STATUS_MEMORY, "no memory for an item of the store");
    if (status) {
        release(data, bytes);
        return status;
    }
    *one = (struct waiting){NULL, item, data, bytes, release};
    status = enqueue(content, one);
    content->failed = status != STATUS_OK;
    return status;
}

enum status store_content_put(struct store_content *content, uint32_t item, const void *data, size_t bytes)
{
    enum status status = check_put(content, item, bytes);
    if (status)
        return status;
    if (bytes < DIRECT_BYTES) {
        void *copy = malloc(bytes ? bytes : 1);
        if (!copy)
            return status_fail(STATUS_MEMORY, "no memory for an item of the store");
        if (bytes)
            memcpy(copy, data, bytes);
        return store_content_put_owned(content, item, copy, bytes, release_copy);
    }
    const struct waiting one = {NULL, item, (void *)data, bytes, NULL};
    status = store_content_flush(content);
    if (!status)
        status = write_items(content, &one);
    content->failed = status != STATUS_OK;
    return status;
}

enum status store_content_flush(struct store_content *content)
{
    enum status status = check_filling(content);
    if (!status)
        status = writer_end(content, true);
    content->failed |= status != STATUS_OK;
    return status;
}

void store_content_stop(struct store_content *content)
{
    char message[512]; /* of the failure that brought us here, perhaps */
    status_copy(message, sizeof message);
    if (writer_end(content, false))
        status_fail(STATUS_OK, "%s", message);
}
