/* How two evaluators come to a fast link for one session. All of it travels inside the session, over CURVE, but for the last line:
 *
 *     P1 <-> P2          a card: whether it wants one, where it listens, whether it could call, a fresh X25519 key
 *     caller -> listener TCP connection: ticket, then a first record; the listener answers with its first record
 *     caller -> listener the verdict: the connection stands, or rounds go over CURVE
 *
 * Only frames that CURVE vouches for decide; on the TCP connection nobody is believed before a record has verified. */
#include "net/road.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#define CARD (40 + NET_ROAD_HOST)
#define CALL_MS 3000        /* for connecting, and for the first record */
#define CALL_AGAIN_MS 60000 /* after a call that failed */

enum { CARD_WILLING = 1, CARD_LISTENS = 2, CARD_CALLS = 4, CARD_AES = 8 };
enum { LABEL_CARD, LABEL_VERDICT };

/* Offset 0 flags, 2 port, 8 fresh public key, 40 host or nothing. */
struct card {
    unsigned flags, port;
    unsigned char fresh[NET_ROAD_PUBLIC];
    char host[NET_ROAD_HOST];
};

struct opening {
    struct net_session *session;
    int peer;
    struct card own, theirs;
    struct net_road_secret secret;
    struct net_road_keys keys;
    const char **why;
};

static const char *peer_endpoint(const struct opening *o)
{
    const char *endpoint = o->session->hub->peers[o->peer].endpoint;
    return endpoint != NULL && strncmp(endpoint, "tcp://", 6) == 0 ? endpoint : NULL;
}

/* ---- cards ---- */

static enum status send_card(struct opening *o)
{
    struct net_hub *hub = o->session->hub;
    struct card *own = &o->own;
    net_road_secret_make(&o->secret);
    memcpy(own->fresh, o->secret.public_key, sizeof own->fresh);
    pthread_mutex_lock(&hub->lock);
    const bool willing = hub->fast_links && hub->peers[o->peer].call_after <= net_now();
    pthread_mutex_unlock(&hub->lock);
    own->flags = (willing ? CARD_WILLING : 0) | (hub->door.fd >= 0 ? CARD_LISTENS : 0) |
                 (peer_endpoint(o) != NULL ? CARD_CALLS : 0) | (aead_has_aes() ? CARD_AES : 0);
    own->port = hub->door.port;
    memcpy(own->host, hub->door.host, sizeof own->host);
    struct net_frame *frame = net_frame_sized(CARD);
    if (frame == NULL)
        return STATUS_MEMORY;
    unsigned char *card = zmq_msg_data(&frame->pieces[0]);
    memset(card, 0, CARD);
    card[0] = (unsigned char)own->flags;
    net_put(card + 2, own->port, 2);
    memcpy(card + 8, own->fresh, NET_ROAD_PUBLIC);
    memcpy(card + 40, own->host, NET_ROAD_HOST);
    return net_send_frame(o->session, o->peer, NET_ROAD, LABEL_CARD, frame);
}

static enum status receive_card(struct opening *o)
{
    unsigned char card[CARD];
    const enum status status = net_receive(o->session, o->peer, NET_ROAD, LABEL_CARD, card, sizeof card);
    if (status != STATUS_OK)
        return status;
    o->theirs.flags = card[0];
    o->theirs.port = (unsigned)net_get(card + 2, 2);
    memcpy(o->theirs.fresh, card + 8, NET_ROAD_PUBLIC);
    net_printable(o->theirs.host, sizeof o->theirs.host, card + 40,
                  strnlen((const char *)card + 40, NET_ROAD_HOST - 1));
    return STATUS_OK;
}

/* Who calls: P2, if it can; else P1. Both come to the same answer. */
enum direction { NOBODY, WE_CALL, THEY_CALL };

static enum direction who_calls(const struct opening *o)
{
    const bool p1 = o->session->hub->role == NET_ROLE_P1;
    const unsigned both = o->own.flags & o->theirs.flags;
    const bool we = o->own.flags & CARD_CALLS && o->theirs.flags & CARD_LISTENS;
    const bool they = o->theirs.flags & CARD_CALLS && o->own.flags & CARD_LISTENS;
    if (!(both & CARD_WILLING) || (!we && !they))
        return NOBODY;
    return p1 ? (they ? THEY_CALL : WE_CALL) : (we ? WE_CALL : THEY_CALL);
}

/* ---- the first records ---- */

static void set_socket(int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static bool say_hello(struct net_road *road, struct net_session *session)
{
    return net_road_begin(road, session, NET_ROAD_HELLO, 0) && net_road_end(road) &&
           net_road_push(road) == NET_ROAD_DONE;
}

/* STATUS_PEER without a message: what came is no hello, or nothing did. */
static enum status hear_hello(struct net_road *road, struct net_session *session, int64_t until)
{
    for (;;) {
        const enum net_road_state state = net_road_pull(road, 0);
        if (state == NET_ROAD_DONE) {
            if (net_road_length(road) != 0 || net_road_open(road, session, NET_ROAD_HELLO) == NULL)
                return STATUS_PEER;
            net_road_drop(road);
            return STATUS_OK;
        }
        if (state == NET_ROAD_ENDED || state == NET_ROAD_FORGED)
            return STATUS_PEER;
        const enum status status =
            state == NET_ROAD_BUSY ? net_road_wait(session, road->peer, road->fd, POLLIN, until) : STATUS_OK;
        if (status != STATUS_OK)
            return status == STATUS_TIMEOUT ? STATUS_PEER : status;
    }
}

/* ---- calling ---- */

/* -1 if there is no way. */
static int connect_to(struct opening *o, int64_t until)
{
    char told[NET_ROAD_HOST + 16];
    const char *endpoint = peer_endpoint(o);
    struct sockaddr_storage address = {0};
    socklen_t bytes;
    if (o->theirs.host[0] != '\0') {
        const bool v6 = strchr(o->theirs.host, ':') != NULL;
        snprintf(told, sizeof told, "tcp://%s%s%s:1", v6 ? "[" : "", o->theirs.host, v6 ? "]" : "");
        endpoint = told;
    }
    if (net_door_address(&address, &bytes, endpoint, endpoint == told, o->theirs.port) != STATUS_OK)
        return -1;
    const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, bytes) != 0)
        error = errno;
    if (fd >= 0 && error == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        const int64_t left = (until - net_nanoseconds()) / 1000000;
        socklen_t size = sizeof error;
        if (poll(&wait, 1, left > 0 ? (int)left : 0) <= 0 ||
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
            error = ETIMEDOUT;
    }
    if (fd >= 0 && error != 0)
        close(fd);
    return error == 0 ? fd : -1;
}

/* *road stays NULL if the peer cannot be reached there. */
static enum status call(struct opening *o, struct net_road **road)
{
    const int64_t until = net_nanoseconds() + (int64_t)CALL_MS * 1000000;
    const int fd = connect_to(o, until);
    if (fd < 0)
        return STATUS_OK;
    set_socket(fd);
    enum status status = net_road_new(road, o->session, o->peer, fd, &o->keys);
    if (status != STATUS_OK)
        return status;
    status = send(fd, o->keys.ticket, NET_TICKET, MSG_NOSIGNAL) == NET_TICKET && say_hello(*road, o->session)
                 ? hear_hello(*road, o->session, until)
                 : STATUS_PEER;
    if (status != STATUS_OK)
        net_road_close(road);
    return status == STATUS_PEER ? STATUS_OK : status;
}

static enum status call_and_tell(struct opening *o, struct net_road **road)
{
    struct net_hub *hub = o->session->hub;
    enum status status = call(o, road);
    struct net_frame *verdict = status == STATUS_OK ? net_frame_sized(1) : NULL;
    if (verdict == NULL)
        return status == STATUS_OK ? STATUS_MEMORY : status;
    *(unsigned char *)zmq_msg_data(&verdict->pieces[0]) = *road != NULL;
    if (*road == NULL) {
        *o->why = "cannot be reached on the port it listens on for fast links; does a firewall stop it?";
        pthread_mutex_lock(&hub->lock);
        hub->peers[o->peer].call_after = net_now() + CALL_AGAIN_MS;
        pthread_mutex_unlock(&hub->lock);
    }
    return net_send_frame(o->session, o->peer, NET_ROAD, LABEL_VERDICT, verdict);
}

/* ---- being called ---- */

static void expect_caller(struct opening *o)
{
    struct net_session *session = o->session;
    pthread_mutex_lock(&session->hub->lock);
    memcpy(session->ticket, o->keys.ticket, NET_TICKET);
    session->awaits_caller = true;
    pthread_mutex_unlock(&session->hub->lock);
    net_hub_ring(session->hub); /* it may have come already */
}

/* Waits for the connection or the verdict, whatever comes first; -1: the verdict, or a failure that it will show. */
static int wait_caller(struct opening *o)
{
    struct net_session *session = o->session;
    struct timespec end;
    net_deadline(&end, session->timeout_ms);
    pthread_mutex_lock(&session->hub->lock);
    for (bool late = false; !late && session->caller < 0;) {
        const struct net_box *box = net_session_box(session, o->peer);
        if (box == NULL || box->frames.first != NULL || box->failed != STATUS_OK || session->hub->stopping)
            break;
        late = pthread_cond_timedwait(&session->arrived, &session->hub->lock, &end) != 0;
    }
    const int fd = session->caller;
    session->caller = -1;
    session->awaits_caller = false;
    pthread_mutex_unlock(&session->hub->lock);
    return fd;
}

static enum status be_called(struct opening *o, struct net_road **road)
{
    unsigned char verdict = 0;
    enum status status = STATUS_OK;
    expect_caller(o);
    const int fd = wait_caller(o);
    const int64_t until = net_nanoseconds() + (int64_t)CALL_MS * 1000000;
    if (fd >= 0) {
        set_socket(fd);
        status = net_road_new(road, o->session, o->peer, fd, &o->keys);
        if (status == STATUS_OK)
            status = hear_hello(*road, o->session, until);
        if (status == STATUS_OK && !say_hello(*road, o->session))
            status = STATUS_PEER;
        if (status != STATUS_OK)
            net_road_close(road);
        if (status != STATUS_OK && status != STATUS_PEER)
            return status;
    }
    status = net_receive(o->session, o->peer, NET_ROAD, LABEL_VERDICT, &verdict, sizeof verdict);
    if (status == STATUS_OK && verdict == 0) {
        *o->why = "cannot reach the port we listen on for fast links; does a firewall stop it?";
        net_road_close(road);
    } else if (status == STATUS_OK && *road == NULL) {
        status = net_violation(o->session, o->peer, "says that a fast link stands which does not");
    }
    if (status != STATUS_OK)
        net_road_close(road);
    return status;
}

/* ---- both ---- */

static enum status agree(struct opening *o, struct net_road **road)
{
    struct net_session *session = o->session;
    enum status status = send_card(o);
    if (status == STATUS_OK)
        status = receive_card(o);
    if (status != STATUS_OK)
        return status;
    const enum direction direction = who_calls(o);
    if (direction == NOBODY) {
        *o->why = !(o->own.flags & CARD_WILLING)
                      ? "is not called on a fast link: off here, or it could not be reached before"
                  : !(o->theirs.flags & CARD_WILLING)
                      ? "offers no fast link: off there, or it could not reach us before"
                      : "cannot have a fast link: neither side listens on tcp for the other";
        return STATUS_OK;
    }
    pthread_mutex_lock(&session->hub->lock);
    const struct net_box *box = net_session_box(session, o->peer);
    const uint64_t epoch = box != NULL ? box->epoch : 0;
    pthread_mutex_unlock(&session->hub->lock);
    const bool aes = o->own.flags & o->theirs.flags & CARD_AES;
    status = net_road_derive(&o->keys, session, o->peer, epoch, &o->secret, o->theirs.fresh,
                             aes ? AEAD_AES : AEAD_CHACHA);
    if (status == STATUS_PEER)
        return net_violation(session, o->peer, "sent a fresh key that is none");
    return direction == WE_CALL ? call_and_tell(o, road) : be_called(o, road);
}

static enum status make_wake(struct net_session *session)
{
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return status_fail(STATUS_IO, "cannot make an eventfd: %s", strerror(errno));
    pthread_mutex_lock(&session->hub->lock);
    session->wake = fd;
    pthread_mutex_unlock(&session->hub->lock);
    return STATUS_OK;
}

enum status net_session_fast(struct net_session *session, int peer, const char **why)
{
    const struct net_hub *hub = session->hub;
    *why = "";
    if (peer < 0 || (size_t)peer >= hub->peer_count ||
        hub->role + hub->peers[peer].role != NET_ROLE_P1 + NET_ROLE_P2 || !net_is_evaluator(hub->role))
        return status_fail(STATUS_INPUT, "fast links are for the two evaluators");
    if (session->road != NULL)
        return status_fail(STATUS_STATE, "this session has a fast link already");
    struct opening o = {.session = session, .peer = peer, .why = why};
    struct net_road *road = NULL;
    enum status status = session->wake < 0 ? make_wake(session) : STATUS_OK;
    if (status == STATUS_OK)
        status = agree(&o, &road);
    sodium_memzero(&o.secret, sizeof o.secret);
    sodium_memzero(&o.keys, sizeof o.keys);
    session->road = road;
    return status;
}
