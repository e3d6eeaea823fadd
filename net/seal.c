#include "net/seal.h"

#include "net/frame.h"

enum status net_seal_init(struct net_seal *out, enum aead_cipher cipher,
                          const unsigned char key[NET_SEAL_KEY], bool sealing)
{
    *out = (struct net_seal){0};
    return aead_new(&out->aead, cipher, key, sealing);
}

void net_seal_clear(struct net_seal *seal)
{
    aead_free(&seal->aead);
    *seal = (struct net_seal){0};
}

void net_seal_stop(struct net_seal *seal)
{
    seal->stopped = true;
}

static bool check(struct net_seal *seal, bool good)
{
    if (!good)
        net_seal_stop(seal);
    return good;
}

/* The next number becomes the nonce; it is spent even if the record fails. */
static bool start(struct net_seal *seal, const void *bound, size_t bytes)
{
    unsigned char nonce[AEAD_NONCE] = {0};
    if (seal->stopped || seal->number >= NET_SEAL_RECORDS)
        return false;
    net_put(nonce, seal->number++, 8);
    return check(seal, aead_begin(seal->aead, nonce, bound, bytes));
}

bool net_seal_begin(struct net_seal *seal, const void *bound, size_t bytes)
{
    return start(seal, bound, bytes);
}

bool net_seal_add(struct net_seal *seal, void *out, const void *in, size_t bytes)
{
    return check(seal, !seal->stopped && aead_add(seal->aead, out, in, bytes));
}

bool net_seal_end(struct net_seal *seal, unsigned char tag[NET_SEAL_TAG])
{
    return check(seal, !seal->stopped && aead_seal(seal->aead, tag));
}

bool net_seal_open(struct net_seal *seal, const void *bound, size_t bound_bytes, void *data, size_t bytes,
                   const unsigned char tag[NET_SEAL_TAG])
{
    return start(seal, bound, bound_bytes) &&
           check(seal, aead_add(seal->aead, data, data, bytes) && aead_verify(seal->aead, tag));
}
