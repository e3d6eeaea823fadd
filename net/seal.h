/* Sealing of records on the fast road (road.h): an AEAD (ring/aead.h), one key for each direction of one connection.
 *
 * The nonce of a record is its number on that connection and direction, from 0, as 96 bits little-endian. A key is made for one
 * connection of one session and dies with it, so a nonce cannot come twice under a key: there is no other counter, no
 * restart and no second user of the key. After NET_SEAL_RECORDS records a key refuses to go on.
 *
 * The number is not sent. Records that are lost, repeated or moved do not verify, because the receiver counts, too. */
#ifndef TREFOIL_NET_SEAL_H
#define TREFOIL_NET_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/aead.h"

#define NET_SEAL_KEY AEAD_KEY
#define NET_SEAL_TAG AEAD_TAG
#define NET_SEAL_RECORDS ((uint64_t)1 << 32)

/* One direction of a connection. */
struct net_seal {
    struct aead *aead;
    uint64_t number; /* of the next record */
    bool
        stopped; /* a record failed: no other is sealed or opened, and it is not tried again under another number */
};

/* AES-256-GCM is for connections of which both ends have AES (aead_has_aes), so that it takes constant time. sealing: this is the
 * sending side. The key may be wiped afterwards. */
STATUS_MUST_USE enum status net_seal_init(struct net_seal *out, enum aead_cipher cipher,
                                          const unsigned char key[NET_SEAL_KEY], bool sealing);
/* Nothing is sealed or opened from now on; as after any failure. */
void net_seal_stop(struct net_seal *seal);
/* Wipes the key. */
void net_seal_clear(struct net_seal *seal);

/* Seals one record piece by piece: begin, add any number of times, end. What is in bound is verified with it, but not in it.
 * False: the library failed, or the key has sealed all it may; the connection is of no use any more. */
bool net_seal_begin(struct net_seal *seal, const void *bound, size_t bytes);
bool net_seal_add(struct net_seal *seal, void *out, const void *in, size_t bytes);
bool net_seal_end(struct net_seal *seal, unsigned char tag[NET_SEAL_TAG]);

/* Opens a record where it lies. False: it does not verify, and what stands in data now must not be used. */
bool net_seal_open(struct net_seal *seal, const void *bound, size_t bound_bytes, void *data, size_t bytes,
                   const unsigned char tag[NET_SEAL_TAG]);

#endif
