/* Mask streams: pseudorandom bytes that two parties can make alike, addressed by name (DESIGN section 2).
 *
 * A stream is ChaCha20 under a key that hashes the whole name of what it is for:
 *     key = BLAKE2b-256(key = the pair's secret of one bundle, "trefoil stream 1" | bundle name | gate |
 * purpose) so a stream belongs to one gate and one purpose of one bundle, and no position is ever carried on.
 * The names are hashed with their lengths: two different names cannot collide by concatenation. */
#ifndef TREFOIL_RING_STREAM_H
#define TREFOIL_RING_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "ring/wide.h"

#define RING_SEED_BYTES 32

/* A secret two parties share for one bundle (or one upload of weights). Wipe with sodium_memzero. */
struct ring_seed {
    unsigned char bytes[RING_SEED_BYTES];
};

enum ring_purpose {
    RING_PURPOSE_MASK = 1,    /* l_i of a masked tensor */
    RING_PURPOSE_PRODUCT = 2, /* g_1, the dealt share that P0 and P1 make alike */
    RING_PURPOSE_INDEX = 3,   /* one party's share of a table offset rho */
    RING_PURPOSE_ROOT = 4,    /* the root seed of one party's DPF keys */
    RING_PURPOSE_WEIGHT = 5,  /* l_i of a shared weight */
    RING_PURPOSE_INPUT = 6,   /* a client's share that P1 expands from a seed */
    RING_PURPOSE_OUTPUT = 7,  /* what P1 adds to its logit shares and P2 takes from its own */
    RING_PURPOSE_CHECK = 8,   /* P1's shares of a range check's coefficients, which P0 and P1 make alike */
    RING_PURPOSE_FACTOR = 9,  /* one party's share of a range check's random factor */
    RING_PURPOSE_POINT = 10,  /* where P1 and P2 evaluate the sums of range checks */
};

/* out: the key of the stream (context: the name of the bundle or upload; object: number of the tensor, gate
 * or weight in its schedule). */
void ring_stream_key(struct ring_seed *out, const struct ring_seed *secret, const void *context,
                     size_t context_bytes, uint32_t object, enum ring_purpose purpose);

/* out[0..bytes) = bytes of the stream from its position offset on; offset is a multiple of 64. */
void ring_stream_bytes(void *out, size_t bytes, const struct ring_seed *key, uint64_t offset);

#define RING_STREAM_MASK_BYTES 16

/* out[0..n): masks, each the sum of two uniform integers in [-2^60, 2^60); elements first .. first+n-1 of the
 * stream, 16 stream bytes each; first is a multiple of 4. */
void ring_stream_masks(int64_t *out, size_t n, const struct ring_seed *key, uint64_t first);

/* out[0..n): n uniform elements of Z_2^80, ten stream bytes each: the low plane, then the high plane. An
 * array is always made whole, so its length is part of what both parties agree on. */
void ring_stream_wide(struct ring_wide out, size_t n, const struct ring_seed *key);

#endif
