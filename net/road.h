/* The fast road: openings between the two evaluators on a TCP connection of their own, sealed and opened by the threads that
 * computed them (DESIGN section 8). Inside of net/; callers see net_session_fast and net_round.
 *
 * One connection serves one session with one peer, under keys of its own (road_keys.c), and ends with it. It is arranged inside
 * the session, over CURVE (road_open.c); the caller's first bytes are a ticket that only the two of them know, by which the
 * hub's thread finds the session (door.c). Everything after that belongs to the session's thread: no queue, no hand-over.
 *
 * A record on the wire:
 *
 *     offset  0  length   u32, of the payload, at most NET_ROAD_RECORD
 *             4  round    u32, NET_ROAD_HELLO in the first record each way
 *             8  payload  sealed
 *                tag      16 bytes
 *
 * Bound to it, and not sent: serial of the bundle, session; and the record's number as its nonce (seal.h). Whatever a thief on
 * the line changes, leaves out, repeats or brings from another round, session or bundle does not verify. */
#ifndef TREFOIL_NET_ROAD_H
#define TREFOIL_NET_ROAD_H

#include "net/hub.h"
#include "net/seal.h"

#define NET_ROAD_RECORD ((size_t)1 << 20) /* of 128 KiB, sockets took a fifth more time */
#define NET_ROAD_HEAD 8
#define NET_ROAD_WIRE (NET_ROAD_HEAD + NET_ROAD_RECORD + NET_SEAL_TAG)
#define NET_ROAD_HELLO UINT32_MAX
#define NET_ROAD_PUBLIC 32

struct net_road_line;

struct net_road {
    int fd, peer;
    struct net_seal out, in;
    unsigned char *sealed; /* the record on its way to the socket: NET_ROAD_WIRE */
    size_t sealed_bytes, sealed_sent;
    unsigned char *room; /* NET_ROAD_WIRE */
    unsigned char *came; /* in it: what came and was not taken yet, from the start of a record on */
    size_t came_bytes;
    int64_t lap;                /* when the session's thread began what it does now; round_road.c */
    struct net_road_line *line; /* what it passes on a shaped link, or NULL */
};

enum net_road_state {
    NET_ROAD_DONE,   /* all gone; or: a whole record is there */
    NET_ROAD_BUSY,   /* the socket takes, or has, no more for now */
    NET_ROAD_MOVED,  /* some bytes went or came */
    NET_ROAD_ENDED,  /* the connection ended */
    NET_ROAD_FORGED, /* what came does not verify, or makes no sense */
};

/* Keys of one connection (road_keys.c). */
struct net_road_keys {
    unsigned char p1[NET_SEAL_KEY], p2[NET_SEAL_KEY]; /* by sender */
    unsigned char ticket[NET_TICKET];
    enum aead_cipher cipher;
};
struct net_road_secret {
    unsigned char public_key[NET_ROAD_PUBLIC], secret_key[NET_ROAD_PUBLIC]; /* X25519, for one connection */
};
void net_road_secret_make(struct net_road_secret *out);
/* From our fresh secret and the peer's fresh public key, bound to session, both long-term keys and both processes. STATUS_PEER if
 * its key is none. */
STATUS_MUST_USE enum status net_road_derive(struct net_road_keys *out, const struct net_session *session,
                                            int peer, uint64_t peer_epoch, const struct net_road_secret *own,
                                            const unsigned char theirs[NET_ROAD_PUBLIC],
                                            enum aead_cipher cipher);

/* A connection (road.c). The descriptor is taken over, also when it fails. */
STATUS_MUST_USE enum status net_road_new(struct net_road **out, struct net_session *session, int peer, int fd,
                                         const struct net_road_keys *keys);
/* Lets what is on a shaped line go first; closes, wipes and frees. Takes NULL; not under the hub's lock. */
void net_road_close(struct net_road **road);

/* Starts a record of this many bytes; the one before must have gone. Then pieces of its payload in order, as many as announced,
 * and the end. False: no more can be sealed. */
bool net_road_begin(struct net_road *road, const struct net_session *session, uint32_t round, size_t bytes);
bool net_road_add(struct net_road *road, const void *data, size_t bytes);
bool net_road_end(struct net_road *road);
/* Pushes the record out as far as the socket takes it: DONE, BUSY, ENDED. */
enum net_road_state net_road_push(struct net_road *road);
/* Reads once, hoping for a record of expected bytes, unless a whole record is there: DONE, BUSY, MOVED, ENDED or FORGED. */
enum net_road_state net_road_pull(struct net_road *road, size_t expected);
/* Whether a whole record is there. */
bool net_road_whole(const struct net_road *road);
/* Length and round as the head of the first record says; it must be there. */
static inline uint32_t net_road_length(const struct net_road *road)
{
    return (uint32_t)net_get(road->came, 4);
}
static inline uint32_t net_road_round(const struct net_road *road)
{
    return (uint32_t)net_get(road->came + 4, 4);
}
/* Verifies the first record, which must be whole, and opens it; the payload stays until the drop. NULL: it does not verify. */
const unsigned char *net_road_open(struct net_road *road, const struct net_session *session, uint32_t round);
void net_road_drop(struct net_road *road);

/* Sleeps until the socket is ready for these poll events, the session is called, or the clock (nanoseconds of net_nanoseconds)
 * says so. STATUS_OK: look again; otherwise why the session ended. STATUS_TIMEOUT comes without a message. */
STATUS_MUST_USE enum status net_road_wait(struct net_session *session, int peer, int fd, short events,
                                          int64_t until);
int64_t net_nanoseconds(void);

/* A slower line than there is (line.c; net/shape.h): a thread of the road's own that sends each record when it is due. */
STATUS_MUST_USE enum status net_road_line_open(struct net_road *road, struct net_hub *hub);
/* Takes a copy of the record; false if the connection has ended. */
bool net_road_line_put(struct net_road *road);
/* Waits until all has gone. */
void net_road_line_close(struct net_road *road);

/* The listener (door.c): the hub's thread alone, but for opening. */
STATUS_MUST_USE enum status net_door_open(struct net_hub *hub, const struct net_options *options);
void net_door_close(struct net_hub *hub);
/* Lets callers in, reads tickets, hands connections to their sessions. */
void net_door_work(struct net_hub *hub, int64_t now);
/* The socket address of tcp://HOST:PORT, with another port unless it is 0. */
STATUS_MUST_USE enum status net_door_address(struct sockaddr_storage *out, socklen_t *bytes,
                                             const char *endpoint, bool listen, unsigned port);

/* Where byte `at` of a part lies, from its first one on. *count: how many bytes are wanted; how many of them lie there together. */
static inline size_t net_part_at(const struct net_part *part, size_t at, size_t *count)
{
    const size_t within = at % part->row, left = part->bytes - at, together = part->row - within;
    const size_t most = left < together ? left : together;
    *count = *count < most ? *count : most;
    return at / part->row * part->stride + within;
}

/* A round on the road (round_road.c). A failure closes it and ends the conversation. */
STATUS_MUST_USE enum status net_round_road_run(struct net_round *round);
/* Seals and sends records of what was queued, as far as the socket takes them; takes what has come. */
void net_round_road_early(struct net_round *round);

#endif
