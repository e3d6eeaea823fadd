#include "net/seal.h"

#include <limits.h>
#include <string.h>

#include <sodium.h>

#include "net/frame.h"

#define NONCE 12

bool net_seal_has_aes(void)
{
    return crypto_aead_aes256gcm_is_available() == 1;
}

enum status net_seal_init(struct net_seal *out, enum net_cipher cipher, const unsigned char key[NET_SEAL_KEY],
                          bool sealing)
{
    const EVP_CIPHER *type = cipher == NET_CIPHER_AES ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
    *out = (struct net_seal){.context = EVP_CIPHER_CTX_new()};
    if (out->context != NULL && EVP_CipherInit_ex(out->context, type, NULL, key, NULL, sealing) == 1)
        return STATUS_OK;
    net_seal_clear(out);
    return status_fail(STATUS_MEMORY, "libcrypto cannot set up a cipher for the fast road");
}

void net_seal_clear(struct net_seal *seal)
{
    EVP_CIPHER_CTX_free(seal->context); /* which overwrites the key */
    *seal = (struct net_seal){0};
}

/* The next number becomes the nonce; it is spent even if the record fails. */
static bool start(struct net_seal *seal, const void *bound, size_t bytes)
{
    unsigned char nonce[NONCE] = {0};
    int done;
    if (seal->number >= NET_SEAL_RECORDS)
        return false;
    net_put(nonce, seal->number++, 8);
    return EVP_CipherInit_ex(seal->context, NULL, NULL, NULL, nonce, -1) == 1 &&
           EVP_CipherUpdate(seal->context, NULL, &done, bound, (int)bytes) == 1;
}

bool net_seal_begin(struct net_seal *seal, const void *bound, size_t bytes)
{
    return start(seal, bound, bytes);
}

bool net_seal_add(struct net_seal *seal, void *out, const void *in, size_t bytes)
{
    int done;
    return bytes <= INT_MAX && EVP_CipherUpdate(seal->context, out, &done, in, (int)bytes) == 1;
}

bool net_seal_end(struct net_seal *seal, unsigned char tag[NET_SEAL_TAG])
{
    unsigned char none[16];
    int done;
    return EVP_CipherFinal_ex(seal->context, none, &done) == 1 &&
           EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_GET_TAG, NET_SEAL_TAG, tag) == 1;
}

bool net_seal_open(struct net_seal *seal, const void *bound, size_t bound_bytes, void *data, size_t bytes,
                   const unsigned char tag[NET_SEAL_TAG])
{
    unsigned char none[16];
    int done;
    return bytes <= INT_MAX && start(seal, bound, bound_bytes) &&
           (bytes == 0 || EVP_CipherUpdate(seal->context, data, &done, data, (int)bytes) == 1) &&
           EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_SET_TAG, NET_SEAL_TAG, (void *)tag) == 1 &&
           EVP_CipherFinal_ex(seal->context, none, &done) == 1;
}
