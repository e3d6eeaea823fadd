/* Inside of the hub; nothing outside net/ includes this.
 *
 * One thread per hub (loop.c) touches ZeroMQ sockets and links. Sessions' threads meet it in two places, both
 * under hub->lock: the list of outgoing frames, with an eventfd as the bell, and the boxes of arrived frames
 * in each session, with a condition variable per session.
 *
 * A peer's process is known by its epoch, a random number of each start. A party (P0, P1, P2) is one process
 * at a time: another epoch means that it was restarted. Other peers may run several processes under one key,
 * so their sessions are bound to the epoch that opened them. */
#ifndef TREFOIL_NET_HUB_H
#define TREFOIL_NET_HUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "net/frame.h"
#include "net/shape.h"
#include "net/zap.h"

#define NET_ENDPOINT_MAX 256
#define NET_WHY 400             /* longest reason kept for a failed session */
#define NET_TABLE 1024          /* chains of the session table */
#define NET_CLOSED 4096         /* how many closed session ids are remembered */
#define NET_TEXT_MAX (1u << 20) /* longest request */
#define NET_BEAT_MS 1000        /* how often a link says that it is alive */
#define NET_SILENCE_MS 5000     /* after which a peer is not "up" any more */
#define NET_LINKS_MAX 128       /* connections of one peer */
#define NET_PARKED_MAX 256      /* sessions of one peer that nobody here has opened yet; errors make room */
#define NET_TICKET 16           /* bytes by which a caller on the fast road names its session */
#define NET_CALLERS 16          /* connections there whose session is not known yet */
#define NET_ROAD_HOST 64        /* longest numeric address, with the final zero */

struct net_link;
struct net_road;

/* The listener of the fast road (door.c): the hub's thread alone; port and host never change once it is open. */
struct net_door {
    int fd; /* -1: none */
    bool dirty;
    unsigned port;
    char host[NET_ROAD_HOST]; /* where to call; "": where the peer calls us anyway */
    struct net_caller {
        int fd;
        int64_t until;
        size_t have;
        unsigned char ticket[NET_TICKET];
    } caller[NET_CALLERS]; /* oldest first */
    size_t count;
};

struct net_peer_state {
    char name[NET_NAME_MAX];
    char public_key[NET_KEY_TEXT];
    enum net_role role;
    char *endpoint; /* where we call it, or NULL */
    /* the hub's thread alone: */
    struct net_link *dial;
    struct net_link *accepted;    /* newest first */
    struct net_frame_list outbox; /* frames that wait for a link */
    struct net_shape_line line;   /* frames that wait on a shaped link; its clock is under the lock */
    uint64_t doomed;              /* one of two links to this epoch closed: at doom_at its sessions fail */
    int64_t doom_at;
    /* under lock: */
    bool up;        /* frames to it would go now */
    uint64_t epoch; /* of a party's present process, 0 while there is none */
    int64_t heard;
    size_t parked_bytes, parked_sessions;
    int64_t call_after; /* a fast link could not be made: not tried again before */
    uint64_t faults;    /* frames that belonged to no session and broke a rule */
};

struct net_hub {
    pthread_mutex_t lock;
    pthread_cond_t requested;
    pthread_t thread;
    bool started;
    int bell; /* eventfd */
    atomic_bool stop, quit;
    atomic_ulong refused;  /* keys that were not let in */
    atomic_int unaccepted; /* why a connection was not accepted, an errno */
    void *context;
    bool own_context;
    struct net_zap *zap;
    char zap_domain[NET_ZAP_DOMAIN];
    void *router, *router_monitor;
    int router_fd, router_monitor_fd;
    bool router_inproc, router_dirty, router_monitor_dirty;
    int64_t next_tick;
    bool parting;               /* the hub's thread is closing down */
    struct net_arrival arrival; /* what it is reading */
    char endpoint[NET_ENDPOINT_MAX];
    char name[NET_NAME_MAX];
    enum net_role role;
    char public_key[NET_KEY_TEXT], secret_key[NET_KEY_TEXT];
    int timeout_ms;
    size_t frame_max;
    double link_rate, link_delay_ms; /* net/shape.h; 0: links as they are */
    bool fast_links;
    struct net_door door;
    uint64_t epoch;
    struct net_peer_state peers[NET_PEERS_MAX];
    size_t configured; /* peers of the allow-list; dynamic ones follow */
    /* under lock: */
    size_t peer_count;
    bool stopping; /* waiters were told */
    struct net_frame_list out;
    struct net_session *table[NET_TABLE];
    struct net_session *requests, **last_request;
    struct net_session_id closed[NET_CLOSED]; /* a ring */
    size_t closed_count;
};

/* What one peer sends and gets in one session. */
struct net_box {
    int peer;
    uint64_t epoch; /* of the process at the other end, 0 as long as none is known */
    uint64_t sequence_in, sequence_out;
    /* Bytes as a frame list counts them: */
    uint64_t sent, sent_read; /* sent, and how many of them the peer says it has read */
    uint64_t read, read_told; /* read here, and how many of them the peer was told of */
    struct net_frame_list frames;
    enum status failed; /* after the frames above, this is what a receive returns */
    char why[NET_WHY];
};

enum net_session_state {
    NET_SESSION_PARKED,    /* frames came, nobody here has opened it */
    NET_SESSION_REQUESTED, /* parked, and waits for net_hub_accept */
    NET_SESSION_OPEN,
};

struct net_session {
    struct net_session *next, *next_request;
    struct net_session_id id;
    struct net_hub *hub;
    enum net_session_state state;
    int parked_by;
    int64_t parked_at;
    pthread_cond_t arrived;
    struct net_box *boxes;
    size_t box_count;
    int wake; /* eventfd: rings for a thread that waits for a fast link when a box fails; -1: nobody does */
    bool awaits_caller;
    unsigned char ticket[NET_TICKET];
    int caller; /* the connection that came with the ticket, until the session's thread takes it; -1 */
    /* the session's thread alone: */
    struct net_counters counters;
    struct net_times times;
    uint64_t serial;
    int timeout_ms;
    char *request;
    struct net_road *road; /* rounds with its peer go there; NULL: over CURVE */
};

static inline bool net_is_evaluator(enum net_role role)
{
    return role == NET_ROLE_P1 || role == NET_ROLE_P2;
}

/* --- the session table (session.c); all under lock --- */

struct net_session *net_table_find(struct net_hub *hub, const struct net_session_id *id);
bool net_table_was_closed(const struct net_hub *hub, const struct net_session_id *id);
/* A new session in the table, or NULL when out of memory. */
struct net_session *net_table_add(struct net_hub *hub, const struct net_session_id *id,
                                  enum net_session_state state);
/* Takes it out of the table, remembers its id and frees it. */
void net_table_remove(struct net_session *session);
/* The box of a peer, made when missing; NULL when out of memory. */
struct net_box *net_session_box(struct net_session *session, int peer);
/* A parked session becomes an open one: gives back what it took of its peers' allowances. */
void net_session_unpark(struct net_session *session);
/* Ends the conversation with one peer: the first reason stays. */
void net_box_fail(struct net_session *session, struct net_box *box, enum status code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Does so in every session bound to this process of the peer; epoch 0: in every session that knows the peer.
 */
void net_table_fail(struct net_hub *hub, int peer, uint64_t epoch, enum status code, const char *why);
/* A party came up: binds waiting boxes to its process, fails those of a process before it. */
void net_table_bind(struct net_hub *hub, int peer, uint64_t epoch);
/* Drops parked sessions that nobody opened in time. */
void net_table_age(struct net_hub *hub, int64_t now);
void net_table_wake(struct net_hub *hub);
void net_table_clear(struct net_hub *hub);

/* --- arrivals (deliver.c) --- */

/* Gives the pieces to the session; leaves the arrival empty or as it is. */
void net_deliver(struct net_hub *hub, int peer, const struct net_header *header, struct net_arrival *arrival);
/* Ends the peer's part in the session because of such a frame; header NULL or an unknown session: counts it.
 */
void net_deliver_fault(struct net_hub *hub, int peer, const struct net_header *header, const char *what);

/* --- flow control (credit.c): a sender is at most about frame_max bytes ahead of the reader; under lock ---
 */

/* Notes that a frame was read; returns whether the bell must be rung, as the peer is to be told. */
bool net_credit_read(struct net_session *session, struct net_box *box, size_t bytes);
/* The peer says what it has read. */
void net_credit_came(struct net_hub *hub, int peer, const struct net_header *header,
                     const struct net_arrival *arrival);
static inline bool net_credit_left(const struct net_box *box, size_t window)
{
    return box->sent - box->sent_read <= window;
}

/* --- departures: from any thread --- */

/* A frame with room for a payload to be filled in, or NULL with a message. */
struct net_frame *net_frame_sized(size_t bytes);
/* Sends it and counts it; takes it over, also when it fails. */
STATUS_MUST_USE enum status net_send_frame(struct net_session *session, int peer, enum net_kind kind,
                                           uint32_t label, struct net_frame *frame);

/* Queues frames for the hub's thread; takes the frame over. Under lock; returns whether the bell must be
 * rung. */
bool net_hub_post(struct net_hub *hub, struct net_frame *frame);
void net_hub_ring(struct net_hub *hub);

/* The next frame of a peer, checked: for callers who copy it out themselves (net_frame_copy) and free it. */
STATUS_MUST_USE enum status net_receive_frame(struct net_session *session, int peer, enum net_kind kind,
                                              uint32_t label, size_t bytes, struct net_frame **frame);

/* Why nothing more can come from this peer in this session, if so: lost, failed, or we are shutting down. wait_ms: waits that
 * long for a reason. Not under lock. */
STATUS_MUST_USE enum status net_session_ended(struct net_session *session, int peer, int wait_ms);
/* The peer broke the protocol: ends the conversation with it. STATUS_PEER with "PEER WHAT". */
enum status net_violation(struct net_session *session, int peer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends the conversation for the reason that is this thread's message. */
enum status net_session_fail(struct net_session *session, int peer, enum status code);

/* --- the hub's thread (loop.c) --- */

void *net_hub_loop(void *hub);

#endif
