/* A content: the sealed items of one bundle or one model. Private to store/.
 *
 * An item is cut into chunks of STORE_CHUNK_BYTES; an empty item has one empty chunk. Each chunk is a value
 * of its own, sealed so that it verifies in its place only (store/seal.h).
 *
 * What is put is written by a thread of the content (store/writer.c), which seals it straight into LMDB's
 * pages, in batches of STORE_BATCH_BYTES, while the caller prepares the next. */
#ifndef TREFOIL_STORE_ITEMS_H
#define TREFOIL_STORE_ITEMS_H

#include "store/names.h"

#define STORE_OVERHEAD_BYTES (24 + 8 + 16)
/* With overhead and LMDB's page header (16 bytes) a full chunk fills whole pages. */
#define STORE_CHUNK_BYTES ((1u << 20) - STORE_OVERHEAD_BYTES - 16)

/* Written while filling, and read once taken (a bundle) or ready (a model). One thread at a time. */
struct store_content {
    struct store *store;
    MDB_dbi table;                               /* of the record: bundles or models */
    unsigned char where[STORE_SERIAL_KEY_BYTES]; /* key of the record */
    size_t where_bytes;
    unsigned char name[STORE_NAME_BYTES]; /* full name, the head of the associated data */
    size_t name_bytes;
    struct store_record record;
    struct store_key key;
    struct store_writer *writer; /* NULL while nothing waits to be written */
    bool failed;                 /* something could not be written: the content can never be ready */
};

static inline uint64_t store_chunk_count(uint64_t bytes)
{
    return bytes ? (bytes - 1) / STORE_CHUNK_BYTES + 1 : 1;
}

/* Bytes of one chunk of an item of so many. */
static inline size_t store_chunk_bytes(uint64_t bytes, uint64_t chunk)
{
    const uint64_t left = bytes - chunk * STORE_CHUNK_BYTES;
    return left < STORE_CHUNK_BYTES ? left : STORE_CHUNK_BYTES;
}

/* Gives the content a random id and a key file. */
STATUS_MUST_USE enum status store_content_begin(struct store_content *content);
STATUS_MUST_USE enum status store_content_put(struct store_content *content, uint32_t item, const void *data,
                                              size_t bytes);
/* Takes data over: release(data, bytes) is called once in every case, from any thread. */
STATUS_MUST_USE enum status store_content_put_owned(struct store_content *content, uint32_t item, void *data,
                                                    size_t bytes, void (*release)(void *data, size_t bytes));
/* Returns when everything is on the disk. */
STATUS_MUST_USE enum status store_content_flush(struct store_content *content);
/* Drops what is not written yet. */
void store_content_stop(struct store_content *content);
STATUS_MUST_USE enum status store_content_get(struct store_content *content, uint32_t item, void *data,
                                              size_t bytes);
/* What the first chunk says, checked against the presence of the last. */
STATUS_MUST_USE enum status store_content_size(struct store_content *content, uint32_t item, size_t *bytes);
/* STATUS_CORRUPT if a value that was put is missing, or another one is in its place. Reads tags, no values.
 */
STATUS_MUST_USE enum status store_content_check(struct store_content *content);
/* Stops the writer, wipes the key. */
void store_content_clear(struct store_content *content);

/* Destroys the key, then deletes the items and the record, in transactions of bounded size. What cannot be
 * deleted now is deleted when the store is opened next. The record's state must not let anybody else use it
 * any more. */
void store_content_delete(struct store *store, MDB_dbi table, const void *where, size_t where_bytes,
                          const unsigned char id[STORE_ID_BYTES]);
/* Deletes the items alone. */
STATUS_MUST_USE enum status store_items_delete(struct store *store, const unsigned char id[STORE_ID_BYTES]);

#endif
