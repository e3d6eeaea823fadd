/* Sealing one value of the store. Private to store/.
 *
 *     value   random 24 | bytes of the whole item 8 | sealed chunk | tag 16
 *     cipher  AES-256-GCM of libcrypto, with an all-zero nonce under a key of this value alone:
 *             key = BLAKE2b-256(key of the content, label | random | name | item | chunk | bytes of the whole
 * item)
 *
 * The key hashes the full name of the bundle or model and the place in it, so no value verifies in another
 * place, and an item cannot be cut at the edge of a chunk. 24 random bytes under a key of the content never
 * repeat, so no key meets the zero nonce twice. libcrypto has the same cipher for every processor: a store
 * can be carried to another one. */
#ifndef TREFOIL_STORE_SEAL_H
#define TREFOIL_STORE_SEAL_H

#include "store/items.h"

/* The place of a chunk. total: bytes of the whole item. */
struct store_place {
    uint32_t item, chunk;
    uint64_t total;
};

/* out: bytes + STORE_OVERHEAD_BYTES. */
STATUS_MUST_USE enum status store_seal(unsigned char *out, const struct store_content *content,
                                       struct store_place place, const void *data, size_t bytes);
/* in: bytes + STORE_OVERHEAD_BYTES. STATUS_CORRUPT if it does not verify; data then holds nothing to be used.
 */
STATUS_MUST_USE enum status store_unseal(void *data, const struct store_content *content,
                                         struct store_place place, const unsigned char *in, size_t bytes);
/* What a sealed value says of the whole item. */
uint64_t store_sealed_total(const unsigned char *in);

/* Adds a value to the mark of a content's material: the sum, without order, of keyed hashes of place and tag.
 * A missing, added or exchanged value changes it. sealed: the whole value of bytes. */
void store_material_add(unsigned char material[STORE_HASH_BYTES], const struct store_content *content,
                        uint32_t item, uint32_t chunk, const unsigned char *sealed, size_t bytes);

#endif
