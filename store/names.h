/* Keys and records of the tables, in explicit big-endian encodings. Private to store/.
 *
 *     table     key                             record
 *     about     "schema", "party", ...          store/open.c, store/recovery.c
 *     marks     model 32, schedule 32           struct store_mark
 *     bundles   model 32, schedule 32, serial 8 struct store_record
 *     models    model 32                        struct store_record
 *     removed   model 32                        one byte, 1: a model of this id was here, and never comes back
 *     items     id 16, item 4, chunk 4          a sealed chunk, store/items.h */
#ifndef TREFOIL_STORE_NAMES_H
#define TREFOIL_STORE_NAMES_H

#include "store/environment.h"
#include "store/keys.h"

#define STORE_LINE_BYTES (2 * STORE_HASH_BYTES)       /* key of marks: model, schedule */
#define STORE_SERIAL_KEY_BYTES (STORE_LINE_BYTES + 8) /* key of bundles */
#define STORE_ITEM_KEY_BYTES (STORE_ID_BYTES + 8)
#define STORE_NAME_BYTES 112 /* a bundle's full name, as it is bound to every sealed value */
#define STORE_MARK_BYTES 24
#define STORE_RECORD_BYTES (1 + STORE_ID_BYTES + 8 + 8 + 3 * STORE_HASH_BYTES + 8)
#define STORE_SERIAL_MAX ((uint64_t)INT64_MAX)

/* Of one (model, schedule): the highest serial taken or burnt, the highest ever seen, and what is for the
 * eye. */
struct store_mark {
    uint64_t mark, seen;
    uint32_t bucket, batch;
};

/* Of one content. order: of models, by creation; bytes: sealed so far; material: the mark of all its values
 * (store/seal.h). A model has no nonce, digest, bucket, batch. */
struct store_record {
    enum store_state state;
    unsigned char id[STORE_ID_BYTES];
    uint64_t bytes, order;
    unsigned char nonce[STORE_HASH_BYTES], digest[STORE_HASH_BYTES], material[STORE_HASH_BYTES];
    uint32_t bucket, batch;
};

static inline void store_put32(unsigned char out[4], uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> (24 - 8 * i));
}

static inline void store_put64(unsigned char out[8], uint64_t value)
{
    store_put32(out, (uint32_t)(value >> 32));
    store_put32(out + 4, (uint32_t)value);
}

static inline uint32_t store_get32(const unsigned char in[4])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static inline uint64_t store_get64(const unsigned char in[8])
{
    return (uint64_t)store_get32(in) << 32 | store_get32(in + 4);
}

void store_line_key(unsigned char out[STORE_LINE_BYTES], const unsigned char *model,
                    const unsigned char *schedule);
void store_serial_key(unsigned char out[STORE_SERIAL_KEY_BYTES], const unsigned char *model,
                      const unsigned char *schedule, uint64_t serial);
void store_name_encode(unsigned char out[STORE_NAME_BYTES], const struct store_name *name);

/* Reads and writes one record; found says whether there is one (then out is set, else it is zeroed). */
STATUS_MUST_USE enum status store_mark_get(struct store *store, MDB_txn *txn, const unsigned char line[],
                                           struct store_mark *out);
STATUS_MUST_USE enum status store_mark_put(struct store *store, MDB_txn *txn, const unsigned char line[],
                                           const struct store_mark *mark);
STATUS_MUST_USE enum status store_record_decode(const struct store *store, const MDB_val *value,
                                                struct store_record *out);
STATUS_MUST_USE enum status store_record_get(struct store *store, MDB_txn *txn, MDB_dbi table,
                                             const void *key, size_t key_bytes, struct store_record *out,
                                             bool *found);
STATUS_MUST_USE enum status store_record_put(struct store *store, MDB_txn *txn, MDB_dbi table,
                                             const void *key, size_t key_bytes,
                                             const struct store_record *record);

#endif
