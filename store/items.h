/* A content: the sealed items of one bundle or one model. Private to store/.
 *
 * An item is cut into chunks of STORE_CHUNK_BYTES; an empty item has one empty chunk. A chunk is stored as
 *     nonce 24 | bytes of the whole item 8 | sealed chunk | tag 16
 * sealed with XChaCha20-Poly1305 under the content's key and a fresh random nonce. Bound to it as associated
 * data: label | full name of the bundle or model | item | chunk | bytes of the whole item so that no value
 * verifies in another place, and an item cannot be cut at the edge of a chunk. */
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
    unsigned char *batch; /* chunks sealed and not yet written */
    size_t batch_bytes, batch_cost, batch_room;
    bool failed; /* a batch could not be written: the content can never be ready */
};

/* Gives the content a random id and a key file. */
STATUS_MUST_USE enum status store_content_begin(struct store_content *content);
STATUS_MUST_USE enum status store_content_put(struct store_content *content, uint32_t item, const void *data,
                                              size_t bytes);
/* Writes what is still in memory. */
STATUS_MUST_USE enum status store_content_flush(struct store_content *content);
STATUS_MUST_USE enum status store_content_get(struct store_content *content, uint32_t item, void *data,
                                              size_t bytes);
/* What the first chunk says, checked against the presence of the last. */
STATUS_MUST_USE enum status store_content_size(struct store_content *content, uint32_t item, size_t *bytes);
/* Wipes and frees what is in memory. */
void store_content_clear(struct store_content *content);

/* Destroys the key, then deletes the items and the record, in transactions of bounded size. What cannot be
 * deleted now is deleted when the store is opened next. The record's state must not let anybody else use it
 * any more. */
void store_content_delete(struct store *store, MDB_dbi table, const void *where, size_t where_bytes,
                          const unsigned char id[STORE_ID_BYTES]);
/* Deletes the items alone. */
STATUS_MUST_USE enum status store_items_delete(struct store *store, const unsigned char id[STORE_ID_BYTES]);

#endif
