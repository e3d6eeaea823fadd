#include "store/seal.h"

#include <string.h>

#include <sodium.h>

#include "ring/aead.h"

#define RANDOM_BYTES 24
#define TAG_BYTES AEAD_TAG
#define HEAD_BYTES (RANDOM_BYTES + 8)

_Static_assert(STORE_OVERHEAD_BYTES == HEAD_BYTES + TAG_BYTES, "overhead of a chunk");
_Static_assert(STORE_KEY_BYTES == AEAD_KEY, "key of the cipher");

static void value_key(unsigned char key[STORE_KEY_BYTES], const struct store_content *content,
                      struct store_place place, const unsigned char *random)
{
    static const unsigned char label[] = "trefoil item 2";
    unsigned char where[16];
    crypto_generichash_state state;
    store_put32(where, place.item);
    store_put32(where + 4, place.chunk);
    store_put64(where + 8, place.total);
    crypto_generichash_init(&state, content->key.bytes, STORE_KEY_BYTES, STORE_KEY_BYTES);
    crypto_generichash_update(&state, label, sizeof label);
    crypto_generichash_update(&state, random, RANDOM_BYTES);
    crypto_generichash_update(&state, content->name, content->name_bytes);
    crypto_generichash_update(&state, where, sizeof where);
    crypto_generichash_final(&state, key, STORE_KEY_BYTES);
    sodium_memzero(&state, sizeof state);
}

/* Of a value, whose key is used for nothing else: the nonce is zero. */
static enum status begin(struct aead **out, const struct store_content *content, struct store_place place,
                         const unsigned char *random, bool sealing)
{
    static const unsigned char nonce[AEAD_NONCE];
    unsigned char key[STORE_KEY_BYTES];
    value_key(key, content, place, random);
    enum status status = aead_new(out, AEAD_AES, key, sealing);
    sodium_memzero(key, sizeof key);
    if (status == STATUS_OK && !aead_begin(*out, nonce, NULL, 0)) {
        aead_free(out);
        status = status_fail(STATUS_MEMORY, "AES-256-GCM could not be set up");
    }
    return status;
}

enum status store_seal(unsigned char *out, const struct store_content *content, struct store_place place,
                       const void *data, size_t bytes)
{
    struct aead *aead = NULL;
    randombytes_buf(out, RANDOM_BYTES);
    store_put64(out + RANDOM_BYTES, place.total);
    enum status status = begin(&aead, content, place, out, true);
    if (status != STATUS_OK)
        return status;
    unsigned char *to = out + HEAD_BYTES;
    const bool good = aead_add(aead, to, data, bytes) && aead_seal(aead, to + bytes);
    aead_free(&aead);
    return good ? STATUS_OK : status_fail(STATUS_MEMORY, "AES-256-GCM failed");
}

enum status store_unseal(void *data, const struct store_content *content, struct store_place place,
                         const unsigned char *in, size_t bytes)
{
    unsigned char tag[TAG_BYTES];
    struct aead *aead = NULL;
    enum status status = begin(&aead, content, place, in, false);
    if (status != STATUS_OK)
        return status;
    const unsigned char *from = in + HEAD_BYTES;
    memcpy(tag, from + bytes, sizeof tag);
    const bool good =
        store_sealed_total(in) == place.total && aead_add(aead, data, from, bytes) && aead_verify(aead, tag);
    aead_free(&aead);
    if (good)
        return STATUS_OK;
    return status_fail(STATUS_CORRUPT, "%s: item %u does not verify: it was changed or moved on the disk",
                       content->store->path, place.item);
}

uint64_t store_sealed_total(const unsigned char *in)
{
    return store_get64(in + RANDOM_BYTES);
}

void store_material_add(unsigned char material[STORE_HASH_BYTES], const struct store_content *content,
                        uint32_t item, uint32_t chunk, const unsigned char *sealed, size_t bytes)
{
    static const unsigned char label[16] = "trefoil material";
    unsigned char in[sizeof label + 8 + TAG_BYTES], out[STORE_HASH_BYTES];
    memcpy(in, label, sizeof label);
    store_put32(in + sizeof label, item);
    store_put32(in + sizeof label + 4, chunk);
    memcpy(in + sizeof label + 8, sealed + bytes - TAG_BYTES, TAG_BYTES);
    crypto_generichash(out, sizeof out, in, sizeof in, content->key.bytes, STORE_KEY_BYTES);
    for (size_t i = 0; i < sizeof out; i++)
        material[i] ^= out[i];
}
