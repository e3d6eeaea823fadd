#include "store/seal.h"

#include <limits.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#define RANDOM_BYTES 24
#define TAG_BYTES 16
#define NONCE_BYTES 12
#define HEAD_BYTES (RANDOM_BYTES + 8)

_Static_assert(STORE_OVERHEAD_BYTES == HEAD_BYTES + TAG_BYTES, "overhead of a chunk");
_Static_assert(STORE_KEY_BYTES == 32, "key of the cipher");
_Static_assert(STORE_CHUNK_BYTES < INT_MAX, "libcrypto counts a chunk in an int");

static EVP_CIPHER *cipher;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch_cipher(void)
{
    cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

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

/* NULL without memory. */
static EVP_CIPHER_CTX *begin(const struct store_content *content, struct store_place place,
                             const unsigned char *random, int sealing)
{
    static const unsigned char nonce[NONCE_BYTES];
    unsigned char key[STORE_KEY_BYTES];
    if (pthread_once(&once, fetch_cipher) != 0 || !cipher)
        return NULL;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    value_key(key, content, place, random);
    if (context && EVP_CipherInit_ex2(context, cipher, key, nonce, sealing, NULL) != 1) {
        EVP_CIPHER_CTX_free(context);
        context = NULL;
    }
    sodium_memzero(key, sizeof key);
    return context;
}

static enum status no_cipher(void)
{
    return status_fail(STATUS_MEMORY, "AES-256-GCM of libcrypto could not be set up");
}

enum status store_seal(unsigned char *out, const struct store_content *content, struct store_place place,
                       const void *data, size_t bytes)
{
    int done = 0;
    randombytes_buf(out, RANDOM_BYTES);
    store_put64(out + RANDOM_BYTES, place.total);
    EVP_CIPHER_CTX *context = begin(content, place, out, 1);
    unsigned char *to = out + HEAD_BYTES;
    bool good = context != NULL;
    if (bytes)
        good = good && EVP_EncryptUpdate(context, to, &done, data, (int)bytes) == 1;
    good = good && EVP_EncryptFinal_ex(context, to + bytes, &done) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, to + bytes) == 1;
    EVP_CIPHER_CTX_free(context); /* wipes the key */
    return good ? STATUS_OK : no_cipher();
}

enum status store_unseal(void *data, const struct store_content *content, struct store_place place,
                         const unsigned char *in, size_t bytes)
{
    unsigned char tag[TAG_BYTES], none;
    int done = 0;
    EVP_CIPHER_CTX *context = begin(content, place, in, 0);
    if (!context)
        return no_cipher();
    const unsigned char *from = in + HEAD_BYTES;
    memcpy(tag, from + bytes, sizeof tag);
    bool good = store_sealed_total(in) == place.total;
    if (good && bytes)
        good = EVP_DecryptUpdate(context, data, &done, from, (int)bytes) == 1;
    good = good && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
           EVP_DecryptFinal_ex(context, &none, &done) == 1;
    EVP_CIPHER_CTX_free(context);
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
