#include "ring/stream.h"

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "ring/clones.h"
#include "ring/parameters.h"

#define BLOCK 64            /* bytes of one ChaCha20 block */
#define CHUNK 4096          /* bytes made at a time: they stay in the first-level cache */
#define WORTH_A_CONTEXT 512 /* bytes from which libcrypto's faster code outweighs what its context costs */

static void hash_counted(crypto_generichash_state *state, const void *data, uint64_t bytes)
{
    crypto_generichash_update(state, (const unsigned char *)&bytes, sizeof bytes);
    crypto_generichash_update(state, data, bytes);
}

void ring_stream_key(struct ring_seed *out, const struct ring_seed *secret, const void *context,
                     size_t context_bytes, uint32_t object, enum ring_purpose purpose)
{
    static const char label[] = "trefoil stream 1";
    const uint32_t name[2] = {object, (uint32_t)purpose};
    crypto_generichash_state state;
    crypto_generichash_init(&state, secret->bytes, sizeof secret->bytes, sizeof out->bytes);
    hash_counted(&state, label, sizeof label);
    hash_counted(&state, context, context_bytes);
    hash_counted(&state, name, sizeof name);
    crypto_generichash_final(&state, out->bytes, sizeof out->bytes);
    sodium_memzero(&state, sizeof state);
}

/* A place in a stream. The same bytes come from either library: libcrypto has twice the speed where the
 * processor has wide registers, libsodium never fails. */
struct source {
    EVP_CIPHER_CTX *fast; /* NULL: libsodium */
    const struct ring_seed *key;
    uint64_t block;
};

static EVP_CIPHER *cipher;

static void fetch_cipher(void)
{
    cipher = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL);
}

/* The key is used for one stream alone, so the nonce can be constant: zero. */
static void source_open(struct source *out, const struct ring_seed *key, uint64_t offset, size_t bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = (struct source){NULL, key, offset / BLOCK};
    if (bytes < WORTH_A_CONTEXT || pthread_once(&once, fetch_cipher) != 0 || cipher == NULL)
        return;
    unsigned char start[16] = {0}; /* the number of the block, lowest byte first, and the nonce */
    for (int i = 0; i < 8; i++)
        start[i] = (unsigned char)(out->block >> 8 * i);
    out->fast = EVP_CIPHER_CTX_new();
    if (out->fast != NULL && EVP_EncryptInit_ex2(out->fast, cipher, key->bytes, start, NULL) != 1) {
        EVP_CIPHER_CTX_free(out->fast);
        out->fast = NULL;
    }
}

static void source_close(struct source *source)
{
    EVP_CIPHER_CTX_free(source->fast); /* wipes the key */
    source->fast = NULL;
}

/* The next bytes, at most CHUNK, and a multiple of BLOCK unless they are the last. */
static void source_read(struct source *source, void *out, size_t bytes)
{
    static const unsigned char nonce[crypto_stream_chacha20_NONCEBYTES];
    static const unsigned char zero[CHUNK];
    int done = 0;
    if (source->fast != NULL && EVP_EncryptUpdate(source->fast, out, &done, zero, (int)bytes) != 1)
        source_close(source);
    if (source->fast == NULL)
        crypto_stream_chacha20_xor_ic(out, zero, bytes, nonce, source->block, source->key->bytes);
    source->block += bytes / BLOCK;
}

void ring_stream_bytes(void *out, size_t bytes, const struct ring_seed *key, uint64_t offset)
{
    struct source source;
    source_open(&source, key, offset, bytes);
    for (size_t done = 0; done < bytes; done += CHUNK)
        source_read(&source, (char *)out + done, bytes - done < CHUNK ? bytes - done : CHUNK);
    source_close(&source);
}

/* out[i] = raw[2 i] + raw[2 i + 1], each cut to RING_MASK_BITS bits and the sign by an arithmetic shift. */
RING_CLONES static void masks_of(int64_t *restrict out, const int64_t *restrict raw, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (raw[2 * i] >> (63 - RING_MASK_BITS)) + (raw[2 * i + 1] >> (63 - RING_MASK_BITS));
}

void ring_stream_masks(int64_t *out, size_t n, const struct ring_seed *key, uint64_t first)
{
    int64_t raw[CHUNK / sizeof(int64_t)];
    const size_t step = CHUNK / RING_STREAM_MASK_BYTES;
    struct source source;
    source_open(&source, key, first * RING_STREAM_MASK_BYTES, n * RING_STREAM_MASK_BYTES);
    for (size_t done = 0; done < n; done += step) {
        const size_t now = n - done < step ? n - done : step;
        source_read(&source, raw, now * RING_STREAM_MASK_BYTES);
        masks_of(out + done, raw, now);
    }
    source_close(&source);
    sodium_memzero(raw, sizeof raw);
}

void ring_stream_wide(struct ring_wide out, size_t n, const struct ring_seed *key)
{
    const uint64_t low_bytes = ((uint64_t)n * 8 + BLOCK - 1) / BLOCK * BLOCK;
    ring_stream_bytes(out.lo, n * 8, key, 0);
    ring_stream_bytes(out.hi, n * 2, key, low_bytes);
}
