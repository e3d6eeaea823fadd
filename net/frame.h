/* Frames: a 64-byte header part and the payload, and lists of them.
 *
 *     offset  0  "TREF"            magic
 *             4  version           3
 *             5  kind              enum net_kind
 *             6  0 0               reserved, checked to be zero
 *             8  session           16 bytes
 *            24  serial            u64, of the bundle, 0 outside of one
 *            32  label             u32, round, gate or chunk
 *            36  0 0 0 0           reserved, checked to be zero
 *            40  length            u64, of the payload
 *            48  sequence          u64, of this frame in its session and direction, from 0
 *            56  epoch             u64, of the sending process, never 0
 *
 * The payload follows in pieces of exactly NET_PIECE bytes and a last, shorter one (none is empty but that of
 * an empty payload): ZeroMQ encrypts, sends and decrypts them one after the other, in the cache, instead of
 * one large message three times. Numbers are little-endian. The sequence tells a lost or repeated frame, the
 * epoch a restarted process. */
#ifndef TREFOIL_NET_FRAME_H
#define TREFOIL_NET_FRAME_H

#include <time.h>

#include <zmq.h>

#include "net/net.h"

#define NET_HEADER_BYTES 64
#define NET_VERSION 4
#define NET_PIECE ((size_t)512 << 10)

struct net_header {
    uint8_t kind;
    uint32_t label;
    uint64_t serial, length, sequence, epoch;
    struct net_session_id session;
};

/* What the label of a NET_HELLO says. */
enum net_greeting {
    NET_GREETING_HELLO = 1, /* the caller's first frame: role (1 byte), name (NET_NAME_MAX bytes) */
    NET_GREETING_WELCOME,   /* the listener's answer, the same payload */
    NET_GREETING_BEAT,      /* "still here", empty */
    NET_GREETING_BYE,       /* this process closes its hub, empty */
    NET_GREETING_PARTED,    /* the answer: all that came before the goodbye was read, empty */
    NET_GREETING_CREDIT,    /* for the header's session: how many payload bytes were read by now (u64) */
    NET_GREETING_REFUSED,   /* instead of a welcome: the reason as text */
};
#define NET_HELLO_BYTES (1 + NET_NAME_MAX)

struct net_frame {
    struct net_frame *next;
    struct net_header header;
    int peer;
    uint64_t target;  /* outgoing: the epoch of the process it is meant for, 0 for whoever comes up */
    int64_t due;      /* outgoing, on a shaped link: when it has passed the line, nanoseconds */
    int64_t deadline; /* outgoing: when to give up waiting for the peer, net_now() milliseconds */
    bool wipe;        /* incoming: overwrite the payload when it is freed */
    size_t count;     /* pieces: one before it is sent, as many as came otherwise */
    zmq_msg_t pieces[];
};

/* What a frame counts for beside its payload, so that empty ones are bounded, too. */
#define NET_FRAME_COST 256

struct net_frame_list {
    struct net_frame *first, *last;
    size_t bytes; /* payloads and NET_FRAME_COST each */
};

/* A frame of empty pieces, or NULL. */
struct net_frame *net_frame_new(size_t count);
/* Closes the pieces and frees the frame; takes NULL. */
void net_frame_free(struct net_frame *frame);
/* Copies bytes of the payload out, from offset on; they must be there. */
void net_frame_copy(const struct net_frame *frame, size_t offset, void *out, size_t bytes);
/* The payload as malloc'ed, zero-terminated text; STATUS_PEER when there is a zero byte in it. */
STATUS_MUST_USE enum status net_frame_text(const struct net_frame *frame, char **text, const char *peer);
/* Sends a payload of several pieces, without a copy and as the last parts of a message; empties it. pieces.c
 */
bool net_pieces_send(void *socket, zmq_msg_t *payload);
/* How many pieces a payload has. */
static inline size_t net_pieces(size_t bytes)
{
    return bytes == 0 ? 1 : (bytes + NET_PIECE - 1) / NET_PIECE;
}

/* One message as it was read from a socket: the routing id (of a ROUTER), the header part, the pieces. */
struct net_arrival {
    zmq_msg_t route, header;
    zmq_msg_t *pieces;
    size_t count, room, bytes;
    bool inproc; /* the payload may be the sender's own memory: it is only read */
    bool broken; /* it lacked parts, or had more than any frame */
};
/* Whether the pieces are those of a payload of this length. */
bool net_arrival_fits(const struct net_arrival *arrival, uint64_t length);
/* Closes all parts. */
void net_arrival_clear(struct net_arrival *arrival);

/* The header's length must be that of the payload. */
void net_frame_push(struct net_frame_list *list, struct net_frame *frame);
struct net_frame *net_frame_pop(struct net_frame_list *list);
void net_frame_clear(struct net_frame_list *list);

/* Little-endian numbers. */
void net_put(unsigned char *out, uint64_t value, int bytes);
uint64_t net_get(const unsigned char *in, int bytes);

void net_header_write(unsigned char out[NET_HEADER_BYTES], const struct net_header *header);
/* What is wrong with a header. A wrong version leaves nothing else in *header to be trusted. */
enum net_header_fault { NET_HEADER_GOOD, NET_HEADER_FOREIGN, NET_HEADER_VERSION, NET_HEADER_BROKEN };
enum net_header_fault net_header_read(struct net_header *header, const void *data, size_t bytes);

/* The name of a kind, for messages. */
const char *net_kind_name(unsigned kind);
/* Payloads that say something by themselves: they are wiped where they were sent from and where they were read. Openings do not,
 * but to the dealer, who never sees this memory; and they are much. */
bool net_kind_secret(unsigned kind);

/* Milliseconds of the monotonic clock. */
int64_t net_now(void);

/* This many milliseconds from now on that clock, for a timed wait. */
void net_deadline(struct timespec *end, int wait_ms);

/* Copies a text that a peer sent so that it can be shown: at most size - 1 bytes, anything that is not
 * printable ASCII becomes a question mark. */
void net_printable(char *out, size_t size, const void *text, size_t bytes);

#endif
