/* Authenticated encryption: AES-256-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439) of well-kept libraries, under one
 * interface. The bytes are the same whichever library makes them.
 *
 * AES-256-GCM is libIPSec_MB's where the program was built with it and the processor has VAES and AVX-512 (three times as fast as
 * libcrypto 3.0 there, which knows no VAES), and libcrypto's everywhere else. TREFOIL_AEAD=libcrypto in the environment overrides
 * the choice.
 *
 * A nonce must not come twice under a key: that is the caller's duty, and each caller says how it is met (net/seal.h,
 * store/seal.h). Not for several threads at once. */
#ifndef TREFOIL_RING_AEAD_H
#define TREFOIL_RING_AEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "ring/status.h"

#define AEAD_KEY 32
#define AEAD_NONCE 12
#define AEAD_TAG 16

enum aead_cipher {
    AEAD_CHACHA, /* ChaCha20-Poly1305 */
    AEAD_AES,    /* AES-256-GCM; takes constant time only where the processor has instructions for it */
};

/* One key, for sealing or for opening. */
struct aead;

/* Whether this processor has instructions for AES and GCM. */
bool aead_has_aes(void);
/* The library behind a cipher here: "libcrypto" or "libIPSec_MB". */
const char *aead_library(enum aead_cipher cipher);

/* The key may be wiped afterwards. Fails only if the library does. */
STATUS_MUST_USE enum status aead_new(struct aead **out, enum aead_cipher cipher, const unsigned char key[AEAD_KEY], bool sealing);
/* Wipes the key. Takes NULL. */
void aead_free(struct aead **aead);

/* One message piece by piece: begin, add any number of times, then seal or verify. What is in bound is authenticated, but not
 * in the message. out and in are the same place or apart. False: the library failed, or something is NULL that may not be;
 * verify: or the message is not what was sealed, and what stands in out must not be used. */
bool aead_begin(struct aead *aead, const unsigned char nonce[AEAD_NONCE], const void *bound, size_t bytes);
bool aead_add(struct aead *aead, void *out, const void *in, size_t bytes);
bool aead_seal(struct aead *aead, unsigned char tag[AEAD_TAG]);
bool aead_verify(struct aead *aead, const unsigned char tag[AEAD_TAG]);

#endif
