/* Authenticated links between the processes of one deployment, over ZeroMQ with CURVE.
 *
 * A process has one hub: it owns every ZeroMQ socket, binds at most one endpoint (a ROUTER) and connects to
 * the peers it is told to call (a DEALER each). All work happens in sessions: a session is a conversation of
 * two or three processes under one random 16-byte id (one inference, one offline batch, one upload, one
 * request). Any number of sessions run side by side; each belongs to one thread at a time.
 *
 * Who speaks: a peer is known by its long-term CURVE public key; a ZAP handler admits only keys on the
 * allow-list and every frame is attributed to the key that sent it, never to what the frame says. Over inproc
 * endpoints (three parties in one process, for tests) ZeroMQ has no CURVE; there the peer is what the hello
 * says.
 *
 * Frames: a 64-byte header (magic, version, kind, session, bundle serial, label, length, sequence, epoch) and
 * the payload. Lengths are checked against what the receiver expects, before anything is allocated for them;
 * a frame that breaks a rule ends that peer's part of the session with STATUS_PEER, naming the peer; its
 * other sessions go on.
 *
 * Who is part of a session: whoever was sent to, received from, or sent something. When a party (P0, P1, P2)
 * of a session is lost or sends NET_ERROR, every wait and send of the session fails with that reason; another
 * peer (a client that leaves) ends its own part only. What had arrived before is still received first.
 *
 * Time: every wait has a deadline (hub option timeout_ms). A silent, dead or restarted peer gives
 * STATUS_TIMEOUT or STATUS_STOPPED with its name in the message; nothing waits for ever. A closed connection
 * is noticed at once, a key that is refused gives STATUS_REFUSED.
 *
 * Endpoints: tcp://ADDRESS:PORT (IPv6 addresses in brackets, tcp://[::]:PORT listens on both; names resolve
 * to IPv4), ipc:///PATH, inproc://NAME. When two peers each have an endpoint of the other, both call, and
 * each sends over the connection that it made. */
#ifndef TREFOIL_NET_NET_H
#define TREFOIL_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define NET_SESSION_BYTES 16
#define NET_NAME_MAX 32 /* with the final zero */
#define NET_KEY_TEXT 41 /* a Z85 key with the final zero */
#define NET_PEERS_MAX 256
#define NET_FRAME_MAX ((size_t)256 << 20) /* frame_max unless said otherwise */

/* What a peer may do here; the hub hands it out with each new session, the daemon decides by it. */
enum net_role {
    NET_ROLE_P0 = 0, /* the dealer */
    NET_ROLE_P1 = 1, /* evaluators */
    NET_ROLE_P2 = 2,
    NET_ROLE_OWNER = 3,    /* model owner: may upload weights, ask for bundles */
    NET_ROLE_CLIENT = 4,   /* may ask for inferences */
    NET_ROLE_OPERATOR = 5, /* may ask for bundles and status */
    NET_ROLES = 6
};

static inline bool net_is_party(enum net_role role)
{
    return role <= NET_ROLE_P2;
}

struct net_peer {
    char name[NET_NAME_MAX];
    enum net_role role;
    char public_key[NET_KEY_TEXT];
    const char *endpoint; /* where to call it, or NULL if it calls us; borrowed during net_hub_open only */
};

struct net_options {
    const char *name;   /* our own name, as peers know us: shown in their messages */
    enum net_role role; /* our own role */
    const char *bind;   /* endpoint to listen on, or NULL (clients) */
    char public_key[NET_KEY_TEXT];
    char secret_key[NET_KEY_TEXT]; /* wiped by the caller after net_hub_open */
    const struct net_peer *peers;
    size_t peer_count;
    int timeout_ms;         /* how long a wait may last; 0: 20000 */
    size_t frame_max;       /* largest payload accepted from anyone; 0: 256 MiB */
    bool fast_links;        /* evaluators: rounds may go over a connection of their own (net_session_fast) */
    const char *fast_bind;  /* tcp endpoint to listen on for those; NULL: the address of bind, any port */
    double
        link_rate; /* for measuring: send no more bits a second to a peer than this; 0: as fast as it goes */
    double link_delay_ms; /* for measuring: and this much later */
};

struct net_hub;
struct net_session;

struct net_session_id {
    unsigned char bytes[NET_SESSION_BYTES];
};

/* Kinds of frames. A receiver names the kind it waits for; any other kind from that peer in that session is a
 * violation, but for NET_ERROR, which carries status code and message and makes the receive fail with both.
 */
enum net_kind {
    NET_HELLO = 1, /* the hub's own */
    NET_REQUEST,   /* JSON; opens a session at the receiver */
    NET_REPLY,     /* JSON */
    NET_ERROR,
    NET_CONTROL, /* agreement between parties: JSON */
    NET_SEED,    /* a stream secret for one of the two parties that share it */
    NET_DEAL,    /* offline: g_2, DPF keys */
    NET_WEIGHT,  /* upload: masked weights */
    NET_INPUT,   /* a client's additive shares */
    NET_ROUND,   /* openings between the evaluators */
    NET_OUTPUT,  /* logit shares to the client */
    NET_ROAD,    /* the hub's own: arranges a fast link inside a session; not counted */
    NET_KINDS
};

/* Payload traffic, headers not counted. */
struct net_counters {
    uint64_t sent[NET_ROLES], received[NET_ROLES];           /* bytes by role of the peer */
    uint64_t sent_kind[NET_KINDS], received_kind[NET_KINDS]; /* the same by kind of frame */
    uint64_t rounds;                                         /* round exchanges run */
};

/* Where the time of rounds on a fast link went, nanoseconds of the session's thread. */
struct net_times {
    int64_t sealing; /* sealing what goes; opening what comes, and adding it */
    int64_t sockets; /* copying both into and out of the kernel */
    int64_t idle;    /* waiting for the peer */
};

/* Generates a Z85 key pair of CURVE. */
STATUS_MUST_USE enum status net_keygen(char public_key[NET_KEY_TEXT], char secret_key[NET_KEY_TEXT]);
/* The public key of a secret key. */
STATUS_MUST_USE enum status net_public(char public_key[NET_KEY_TEXT], const char secret_key[NET_KEY_TEXT]);

/* context: a ZeroMQ context shared between hubs of one process (inproc), or NULL for an own one. Binding,
 * keys and allow-list errors are reported here; peers that are not up yet are not an error. */
STATUS_MUST_USE enum status net_hub_open(struct net_hub **out, void *context,
                                         const struct net_options *options);
/* Sends what is queued, says goodbye and waits up to three seconds for peers that are up to have read it all.
 * Sessions are closed before. */
void net_hub_close(struct net_hub **hub);

/* Which peer has this role (P0, P1, P2: exactly one each); -1 if none. */
int net_hub_peer(const struct net_hub *hub, enum net_role role);
const char *net_hub_peer_name(const struct net_hub *hub, int peer);
enum net_role net_hub_peer_role(const struct net_hub *hub, int peer);
/* Whether a peer was heard of within the last seconds (hello and heartbeats). */
bool net_hub_peer_up(const struct net_hub *hub, int peer);
/* Which process of a party is up: a random number that it drew when it started; 0 while none is. */
uint64_t net_hub_peer_process(const struct net_hub *hub, int peer);
/* How many of its frames were refused that belonged to no session (garbage, another protocol). */
uint64_t net_hub_peer_faults(const struct net_hub *hub, int peer);
/* How many connections were refused because their key is not on the allow-list; one caller may make many. */
unsigned long net_hub_refused(const struct net_hub *hub);
/* The errno of a connection that could not be accepted since this was asked last, such as EMFILE; 0 if there was
 * none. */
int net_hub_unaccepted(struct net_hub *hub);
/* Where this hub listens, wildcards resolved: "tcp://127.0.0.1:*" becomes "tcp://127.0.0.1:40123"; "" if
 * nowhere. */
const char *net_hub_endpoint(const struct net_hub *hub);

/* Waits for the first frame of a session nobody here has opened yet (kind NET_REQUEST) and opens it: *peer is
 * who asks, *payload its text (owned by the session, zero-terminated). STATUS_TIMEOUT after wait_ms,
 * STATUS_STOPPED once net_hub_stop was called. One thread calls this. */
STATUS_MUST_USE enum status net_hub_accept(struct net_hub *hub, struct net_session **session, int *peer,
                                           const char **payload, int wait_ms);
/* Makes net_hub_accept and every waiting session return STATUS_STOPPED. Safe from any thread and from a
 * signal handler. */
void net_hub_stop(struct net_hub *hub);

/* Opens a session of our own (id NULL: a fresh random one). Frames for it that came before are waiting: a
 * party may send up to 4 frame_max bytes, anyone else one frame_max, before we open it, within timeout_ms. An
 * id serves once: STATUS_STATE if it is open here or was closed here. */
STATUS_MUST_USE enum status net_session_open(struct net_session **out, struct net_hub *hub,
                                             const struct net_session_id *id);
/* Ends it; later frames for it are dropped silently. */
void net_session_close(struct net_session **session);
struct net_session_id net_session_id(const struct net_session *session);
const struct net_counters *net_session_counters(const struct net_session *session);
const struct net_times *net_session_times(const struct net_session *session);
/* Another deadline for this session only. */
void net_session_timeout(struct net_session *session, int timeout_ms);
/* Every frame carries this bundle serial from now on, and rounds and deals of another bundle are refused. 0
 * at first. */
void net_session_bundle(struct net_session *session, uint64_t serial);

/* Sends one frame: hands it to the hub and returns, whether the peer is up or not; a peer that stays away
 * shows in the next receive. Waits only while the peer has more than frame_max bytes of this session still to
 * read, so that a fast sender does not fill a slow reader's memory. label: a number both sides expect (gate,
 * chunk). net_send copies the data; seeds, deals, inputs and outputs are wiped there once they are sent (what libzmq makes of them while
 * it encrypts is its own).
 * net_send_owned sends it without a copy and calls release(data, hint), from any thread, when it may be
 * reused or freed: exactly once in every case, also when it fails. */
STATUS_MUST_USE enum status net_send(struct net_session *session, int peer, enum net_kind kind,
                                     uint32_t label, const void *data, size_t bytes);
STATUS_MUST_USE enum status net_send_owned(struct net_session *session, int peer, enum net_kind kind,
                                           uint32_t label, void *data, size_t bytes,
                                           void (*release)(void *data, void *hint), void *hint);

/* Receives the next frame of this peer in this session: it must have this kind, label and exact length. */
STATUS_MUST_USE enum status net_receive(struct net_session *session, int peer, enum net_kind kind,
                                        uint32_t label, void *data, size_t bytes);
/* The same for a text of unknown length up to max bytes: *text is malloc'ed and zero-terminated. */
STATUS_MUST_USE enum status net_receive_text(struct net_session *session, int peer, enum net_kind kind,
                                             char **text, size_t max);
/* Tells a peer that this side failed (code and message of this thread); never blocks, errors are ignored. */
void net_send_error(struct net_session *session, int peer, enum status code);

/* Openings on a link of their own. Both evaluators call this at the same point of a session, after net_session_bundle; from then
 * on rounds of the session with this peer go over a TCP connection that the calling threads drive themselves, sealed with
 * AES-256-GCM (or ChaCha20-Poly1305 where one processor has no AES) under fresh keys that both sides agree on over CURVE. One
 * side must be able to call the other over tcp, and both must have the option fast_links.
 *     *why: "" if so; otherwise, with STATUS_OK, why rounds go over CURVE as before, to be read behind the peer's name. A call
 *           that fails is not tried again for a minute.
 *     cost  two messages each way and a verdict of the side that calls, once; beside them two descriptors and 2 MiB until the session is closed
 *     errors as those of net_receive; the session is of no use then */
STATUS_MUST_USE enum status net_session_fast(struct net_session *session, int peer, const char **why);

#define NET_ROUND_EARLY ((size_t)256 << 10) /* so many bytes do not wait for their round on a fast link */

/* One exchange with one peer: queue what to send and where to put what comes, run, use. Over CURVE all parts travel in one frame
 * each way when it is run; on a fast link what is queued may be sent at once, and what has come by then be taken, while
 * this side still computes. Queueing never waits; run is the only call that does, and fails with the peer's name and the
 * round's number. From the queueing on until run returns the parts must stay valid, and what is sent must not change.
 *
 * number: the same at both sides, set before the first part is queued. Both sides queue the same bytes in all, in the same order;
 * they may cut them into parts differently, but for the words of sums, which stay whole. */
struct net_round {
    struct net_session *session;
    int peer;
    uint32_t number;
    struct net_part {
        const void *send;
        void *receive;
        size_t bytes;       /* the same both ways */
        size_t row, stride; /* bytes that lie together; from the start of such a row to the next one's */
        bool add;           /* receive holds 64-bit words: what comes is added to them */
    } * parts;
    size_t count, capacity, bytes;
    /* on a fast link, how far it is: part, bytes of it, bytes in all */
    struct net_mark {
        size_t part, at, bytes;
    } sealed, taken;
    bool begun, heard; /* a record of this round was sealed, taken */
    uint64_t spread;   /* how wide the sums are that came since its first part was queued (ring_add_words) */
};
void net_round_init(struct net_round *round, struct net_session *session, int peer, uint32_t number);
STATUS_MUST_USE enum status net_round_queue(struct net_round *round, const void *send, void *receive,
                                            size_t bytes);
/* An opening of additive shares modulo 2^64: sends values [count], and adds the peer's to them. */
STATUS_MUST_USE enum status net_round_queue_sum(struct net_round *round, uint64_t *values, size_t count);
/* The same of a part of a matrix: values [rows][columns], rows stride apart. */
STATUS_MUST_USE enum status net_round_queue_sums(struct net_round *round, uint64_t *values, size_t rows,
                                                 size_t columns, size_t stride);
STATUS_MUST_USE enum status net_round_run(struct net_round *round);
void net_round_clear(struct net_round *round);

#endif
