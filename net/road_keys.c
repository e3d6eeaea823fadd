#include "net/road.h"

#include <string.h>

#include <sodium.h>

void net_road_secret_make(struct net_road_secret *out)
{
    randombytes_buf(out->secret_key, sizeof out->secret_key);
    crypto_scalarmult_base(out->public_key, out->secret_key);
}

/* What one evaluator brings; P1's half comes first at both. */
static void add_half(crypto_generichash_state *hash, const char *long_term, uint64_t epoch,
                     const unsigned char fresh[NET_ROAD_PUBLIC])
{
    unsigned char number[8];
    net_put(number, epoch, sizeof number);
    crypto_generichash_update(hash, (const unsigned char *)long_term, NET_KEY_TEXT);
    crypto_generichash_update(hash, number, sizeof number);
    crypto_generichash_update(hash, fresh, NET_ROAD_PUBLIC);
}

enum status net_road_derive(struct net_road_keys *out, const struct net_session *session, int peer,
                            uint64_t peer_epoch, const struct net_road_secret *own,
                            const unsigned char theirs[NET_ROAD_PUBLIC], enum aead_cipher cipher)
{
    static const char label[16] = "trefoil road 1";
    const struct net_hub *hub = session->hub;
    const unsigned char suite = (unsigned char)cipher;
    unsigned char shared[crypto_scalarmult_BYTES], master[crypto_kdf_KEYBYTES];
    crypto_generichash_state hash;
    if (crypto_scalarmult(shared, own->secret_key, theirs) != 0)
        return status_fail(STATUS_PEER, "%s sent a fresh key that is none", hub->peers[peer].name);
    crypto_generichash_init(&hash, shared, sizeof shared, sizeof master);
    crypto_generichash_update(&hash, (const unsigned char *)label, sizeof label);
    crypto_generichash_update(&hash, session->id.bytes, NET_SESSION_BYTES);
    crypto_generichash_update(&hash, &suite, 1);
    for (int role = NET_ROLE_P1; role <= NET_ROLE_P2; role++)
        if ((int)hub->role == role)
            add_half(&hash, hub->public_key, hub->epoch, own->public_key);
        else
            add_half(&hash, hub->peers[peer].public_key, peer_epoch, theirs);
    crypto_generichash_final(&hash, master, sizeof master);
    crypto_kdf_derive_from_key(out->p1, sizeof out->p1, 1, "trefroad", master);
    crypto_kdf_derive_from_key(out->p2, sizeof out->p2, 2, "trefroad", master);
    crypto_kdf_derive_from_key(out->ticket, sizeof out->ticket, 3, "trefroad", master);
    out->cipher = cipher;
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(master, sizeof master);
    sodium_memzero(&hash, sizeof hash);
    return STATUS_OK;
}
