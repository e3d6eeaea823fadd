#include "ring/stream.h"

#include <string.h>

#include <sodium.h>

#include "ring/parameters.h"

#define BLOCK 64 /* bytes of one ChaCha20 block */

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

void ring_stream_bytes(void *out, size_t bytes, const struct ring_seed *key, uint64_t offset)
{
    /* The key is used for this stream alone, so the nonce can be constant. */
    static const unsigned char nonce[crypto_stream_chacha20_NONCEBYTES];
    memset(out, 0, bytes);
    crypto_stream_chacha20_xor_ic(out, out, bytes, nonce, offset / BLOCK, key->bytes);
}

void ring_stream_masks(int64_t *out, size_t n, const struct ring_seed *key, uint64_t first)
{
    uint64_t raw[512];
    const size_t step = sizeof raw / 16;
    for (size_t done = 0; done < n; done += step) {
        const size_t now = n - done < step ? n - done : step;
        ring_stream_bytes(raw, now * 16, key, (first + done) * 16);
        for (size_t i = 0; i < now; i++) {
            /* An arithmetic shift leaves RING_MASK_BITS bits and the sign. */
            const int64_t a = (int64_t)raw[2 * i] >> (63 - RING_MASK_BITS);
            const int64_t b = (int64_t)raw[2 * i + 1] >> (63 - RING_MASK_BITS);
            out[done + i] = a + b;
        }
    }
    sodium_memzero(raw, sizeof raw);
}

void ring_stream_wide(struct ring_wide out, size_t n, const struct ring_seed *key)
{
    const uint64_t low_bytes = ((uint64_t)n * 8 + BLOCK - 1) / BLOCK * BLOCK;
    ring_stream_bytes(out.lo, n * 8, key, 0);
    ring_stream_bytes(out.hi, n * 2, key, low_bytes);
}
