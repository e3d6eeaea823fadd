#include "net/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tsan.h"

#define GRACE_MS 300     /* between the ends of two links to one process */
#define CALL_AGAIN_MS 50 /* inproc only; ZeroMQ calls again by itself elsewhere */
#define IMPATIENT_MS 5   /* how soon to try again what could not be sent */
#define RECONNECT_MS 100 /* doubled up to the next */
#define RECONNECT_MAX_MS 1000
#define CONNECT_MS 5000
#define HANDSHAKE_MS 10000
#define PING_MS 2000   /* ZMTP's own heartbeat: closes connections whose other machine is gone */
#define LINGER_MS 1000 /* for what is left when all goodbyes were answered */

static bool is_inproc(const char *endpoint)
{
    return strncmp(endpoint, "inproc://", 9) == 0;
}

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

/* IPv6 only where the endpoint spells an address in brackets: with the option set, ZeroMQ would look names up
 * as IPv6 first and never try their IPv4 address. */
static int set_common(struct net_hub *hub, void *socket, const char *endpoint)
{
    int64_t largest = (int64_t)NET_PIECE + 256; /* what CURVE adds included */
    /* What one connection may have us hold: ZeroMQ stops reading from it beyond. Nothing is ever dropped for
     * it, the hub's thread reads on; only a message of more parts than the longest frame has would be stuck.
     */
    int parts = (int)(hub->frame_max / NET_PIECE) + 64;
    int ping_timeout = hub->timeout_ms > 10000 ? hub->timeout_ms : 10000;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) |
           set_int(socket, ZMQ_LINGER, LINGER_MS) | set_int(socket, ZMQ_SNDHWM, 0) |
           set_int(socket, ZMQ_RCVHWM, parts) | set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) |
           set_int(socket, ZMQ_HEARTBEAT_IVL, PING_MS) |
           set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, ping_timeout) |
           set_int(socket, ZMQ_HEARTBEAT_TTL, ping_timeout) | set_int(socket, ZMQ_TCP_KEEPALIVE, 1) |
           set_int(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL);
}

/* ZeroMQ lets everyone in when no key checker answers; frames without the checker's User-Id are refused in
 * greet.c. */
static int set_listener(struct net_hub *hub, void *socket)
{
    return set_int(socket, ZMQ_ROUTER_MANDATORY, 1) | set_int(socket, ZMQ_CURVE_SERVER, 1) |
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, hub->secret_key, NET_KEY_TEXT) |
           zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, hub->zap_domain, strlen(hub->zap_domain));
}

static int set_caller(struct net_hub *hub, void *socket, const char *server_key)
{
    return set_int(socket, ZMQ_IMMEDIATE, 1) | set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) |
           set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) |
           set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) |
           zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, NET_KEY_TEXT) |
           zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, hub->public_key, NET_KEY_TEXT) |
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, hub->secret_key, NET_KEY_TEXT);
}

/* A monitor's reading end, or NULL. */
static void *watch(struct net_hub *hub, void *socket, int events)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "inproc://trefoil-monitor-%p", socket);
    if (zmq_socket_monitor(socket, endpoint, events) != 0)
        return NULL;
    void *monitor = zmq_socket(hub->context, ZMQ_PAIR);
    if (monitor == NULL || set_int(monitor, ZMQ_LINGER, 0) != 0 || zmq_connect(monitor, endpoint) != 0) {
        if (monitor != NULL)
            zmq_close(monitor);
        return NULL;
    }
    return monitor;
}

static int poll_descriptor(void *socket)
{
    int fd = -1;
    size_t bytes = sizeof fd;
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &bytes) == 0 ? fd : -1;
}

static enum status refused_endpoint(const char *what, const char *endpoint)
{
    int error = zmq_errno();
    if (error == EADDRINUSE)
        return status_fail(STATUS_IO, "cannot %s %s: the address is in use; is another party running there?",
                           what, endpoint);
    if (error == EINVAL || error == EPROTONOSUPPORT || error == ENODEV)
        return status_fail(
            STATUS_INPUT,
            "cannot %s %s: not an endpoint of this machine; it should look like tcp://ADDRESS:PORT or "
            "ipc:///PATH",
            what, endpoint);
    return status_fail(STATUS_IO, "cannot %s %s: %s", what, endpoint, zmq_strerror(error));
}

enum status net_link_listen(struct net_hub *hub, const char *endpoint)
{
    hub->router_inproc = is_inproc(endpoint);
    hub->router = zmq_socket(hub->context, ZMQ_ROUTER);
    if (hub->router == NULL)
        return status_fail(STATUS_IO, "cannot open a socket: %s", zmq_strerror(zmq_errno()));
    int failed = set_common(hub, hub->router, endpoint);
    if (hub->router_inproc)
        failed |= set_int(hub->router, ZMQ_ROUTER_MANDATORY, 1);
    else
        failed |= set_listener(hub, hub->router);
    if (failed != 0)
        return status_fail(STATUS_INPUT, "cannot set up the socket for %s: %s; are the keys Z85 text?",
                           endpoint, zmq_strerror(zmq_errno()));
    if (!hub->router_inproc &&
        (hub->router_monitor = watch(hub, hub->router, ZMQ_EVENT_DISCONNECTED)) == NULL)
        return status_fail(STATUS_IO, "cannot watch the socket for %s: %s", endpoint,
                           zmq_strerror(zmq_errno()));
    if (zmq_bind(hub->router, endpoint) != 0)
        return refused_endpoint("listen on", endpoint);
    size_t bytes = sizeof hub->endpoint;
    if (zmq_getsockopt(hub->router, ZMQ_LAST_ENDPOINT, hub->endpoint, &bytes) != 0)
        return status_fail(STATUS_IO, "cannot listen on %s: %s", endpoint, zmq_strerror(zmq_errno()));
    hub->router_fd = poll_descriptor(hub->router);
    hub->router_dirty = true;
    if (hub->router_monitor != NULL)
        hub->router_monitor_fd = poll_descriptor(hub->router_monitor);
    return STATUS_OK;
}

static enum status open_dealer(struct net_hub *hub, struct net_link *link)
{
    const struct net_peer_state *peer = &hub->peers[link->peer];
    link->socket = zmq_socket(hub->context, ZMQ_DEALER);
    if (link->socket == NULL)
        return status_fail(STATUS_IO, "cannot open a socket: %s", zmq_strerror(zmq_errno()));
    int failed = set_common(hub, link->socket, peer->endpoint);
    if (!link->inproc)
        failed |= set_caller(hub, link->socket, peer->public_key);
    if (failed != 0)
        return status_fail(STATUS_INPUT, "cannot set up the socket for %s: %s; are the keys Z85 text?",
                           peer->name, zmq_strerror(zmq_errno()));
    int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (!link->inproc && (link->monitor = watch(hub, link->socket, events)) == NULL)
        return status_fail(STATUS_IO, "cannot watch the socket for %s: %s", peer->name,
                           zmq_strerror(zmq_errno()));
    if (zmq_connect(link->socket, peer->endpoint) != 0)
        return refused_endpoint("call", peer->endpoint);
    link->fd = poll_descriptor(link->socket);
    link->monitor_fd = link->monitor != NULL ? poll_descriptor(link->monitor) : -1;
    link->dirty = true;
    link->monitor_dirty = link->monitor != NULL;
    link->greet = link->inproc;
    return STATUS_OK;
}

enum status net_link_dial(struct net_hub *hub, int peer)
{
    struct net_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for a link");
    link->peer = peer;
    link->dialled = true;
    link->descriptor = link->monitor_fd = -1;
    link->inproc = is_inproc(hub->peers[peer].endpoint);
    hub->peers[peer].dial = link;
    return open_dealer(hub, link);
}

static void close_dealer(struct net_link *link)
{
    if (link->monitor != NULL) {
        zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->monitor);
    }
    if (link->socket != NULL)
        zmq_close(link->socket);
    link->monitor = link->socket = NULL;
}

/* Whether frames for this peer would go, and to which process: for the threads that ask. */
static void publish(struct net_hub *hub, int peer)
{
    struct net_peer_state *state = &hub->peers[peer];
    bool up = state->dial != NULL ? state->dial->up : state->accepted != NULL;
    uint64_t epoch = 0;
    if (net_is_party(state->role)) {
        if (state->dial != NULL && state->dial->up)
            epoch = state->dial->epoch;
        else if (state->accepted != NULL)
            epoch = state->accepted->epoch;
    }
    pthread_mutex_lock(&hub->lock);
    state->up = up;
    state->epoch = epoch;
    if (epoch != 0)
        net_table_bind(hub, peer, epoch);
    pthread_mutex_unlock(&hub->lock);
}

/* The link that frames to this process of a peer travel on: the one we made, if we call this peer. */
static struct net_link *route(struct net_hub *hub, int peer, uint64_t target)
{
    struct net_peer_state *state = &hub->peers[peer];
    struct net_link *link = state->dial != NULL ? state->dial : state->accepted;
    while (link != NULL && target != 0 && link->epoch != target)
        link = link->next;
    return link != NULL && link->up ? link : NULL;
}

static bool send_part(void *socket, const void *data, size_t bytes, int flags)
{
    zmq_msg_t part;
    if (zmq_msg_init_size(&part, bytes) != 0)
        return false;
    memcpy(zmq_msg_data(&part), data, bytes);
    NET_HANDED_OVER(zmq_msg_data(&part));
    if (zmq_msg_send(&part, socket, flags | ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(&part);
    return false;
}

/* Sends header and payload: pieces that share the payload's memory, when there are several. */
static bool send_frame(struct net_hub *hub, struct net_link *link, const struct net_header *header,
                       zmq_msg_t *payload)
{
    unsigned char text[NET_HEADER_BYTES];
    net_header_write(text, header);
    void *socket = link->dialled ? link->socket : hub->router;
    *(link->dialled ? &link->dirty : &hub->router_dirty) = true;
    if (!link->dialled && !send_part(socket, link->route, link->route_bytes, ZMQ_SNDMORE))
        return false;
    if (!send_part(socket, text, sizeof text, ZMQ_SNDMORE))
        return false;
    if (header->length > NET_PIECE)
        return net_pieces_send(socket, payload);
    NET_HANDED_OVER(zmq_msg_data(payload));
    return zmq_msg_send(payload, socket, ZMQ_DONTWAIT) >= 0;
}

bool net_link_greeting(struct net_hub *hub, struct net_link *link, enum net_greeting greeting,
                       const void *data, size_t bytes)
{
    struct net_header header = {.kind = NET_HELLO, .label = greeting, .length = bytes, .epoch = hub->epoch};
    zmq_msg_t payload;
    if (zmq_msg_init_size(&payload, bytes) != 0)
        return false;
    if (bytes > 0)
        memcpy(zmq_msg_data(&payload), data, bytes);
    bool sent = send_frame(hub, link, &header, &payload);
    zmq_msg_close(&payload);
    if (greeting == NET_GREETING_HELLO)
        link->greet = !sent;
    return sent;
}

static void transmit(struct net_hub *hub, struct net_link *link, struct net_frame *frame)
{
    bool sent = send_frame(hub, link, &frame->header, &frame->pieces[0]);
    net_frame_free(frame);
    if (!sent)
        net_link_lost(hub, link, STATUS_STOPPED, "closed its connection");
}

void net_link_forward(struct net_hub *hub, struct net_frame *frame)
{
    struct net_peer_state *peer = &hub->peers[frame->peer];
    struct net_link *link = route(hub, frame->peer, frame->target);
    if (link != NULL && peer->outbox.first == NULL)
        transmit(hub, link, frame);
    else if (link != NULL || frame->target == 0 ||
             (peer->dial != NULL && !peer->dial->up && peer->accepted != NULL))
        net_frame_push(&peer->outbox, frame);
    else
        net_frame_free(frame); /* its process is gone, its session has failed */
}

static void flush_outbox(struct net_hub *hub, int peer)
{
    struct net_frame_list waiting = hub->peers[peer].outbox;
    struct net_frame *frame;
    hub->peers[peer].outbox = (struct net_frame_list){0};
    while ((frame = net_frame_pop(&waiting)) != NULL)
        net_link_forward(hub, frame);
}

void net_link_up(struct net_hub *hub, struct net_link *link, uint64_t epoch)
{
    struct net_peer_state *peer = &hub->peers[link->peer];
    link->epoch = epoch;
    link->up = true;
    if (net_is_party(peer->role)) {
        /* One process at a time: links to one before are dead, whether their ends were seen or not. */
        struct net_link *old = peer->accepted, *next;
        for (; old != NULL; old = next) {
            next = old->next;
            if (old->epoch != epoch)
                net_link_lost(hub, old, STATUS_STOPPED, "restarted");
        }
        if (peer->dial != NULL && peer->dial->up && peer->dial->epoch != epoch)
            net_link_lost(hub, peer->dial, STATUS_STOPPED, "restarted");
    }
    publish(hub, link->peer);
    flush_outbox(hub, link->peer);
}

static bool other_link(const struct net_peer_state *peer, const struct net_link *link)
{
    if (peer->dial != NULL && peer->dial != link && peer->dial->up && peer->dial->epoch == link->epoch)
        return true;
    for (const struct net_link *other = peer->accepted; other != NULL; other = other->next)
        if (other != link && other->epoch == link->epoch)
            return true;
    return false;
}

static void fail_sessions(struct net_hub *hub, int peer, uint64_t epoch, enum status code, const char *what)
{
    char why[NET_WHY];
    snprintf(why, sizeof why, "%s %s", hub->peers[peer].name, what);
    pthread_mutex_lock(&hub->lock);
    net_table_fail(hub, peer, epoch, code, why);
    pthread_mutex_unlock(&hub->lock);
}

void net_link_lost(struct net_hub *hub, struct net_link *link, enum status code, const char *why)
{
    struct net_peer_state *peer = &hub->peers[link->peer];
    int index = link->peer;
    uint64_t epoch = link->epoch;
    bool was_up = link->up;
    link->up = link->greet = link->parting = false;
    if (!link->dialled) {
        struct net_link **at = &peer->accepted;
        while (*at != link)
            at = &(*at)->next;
        *at = link->next;
    }
    bool last = !other_link(peer, link);
    if (link->dialled)
        link->again = link->inproc ? net_now() + CALL_AGAIN_MS : 0;
    else
        free(link);
    publish(hub, index);
    if (was_up && last) {
        fail_sessions(hub, index, epoch, code, why);
    } else if (was_up) {
        /* What the peer sent last may still be under way on the other link, which will end in a moment, too.
         */
        peer->doomed = epoch;
        peer->doom_at = net_now() + GRACE_MS;
    }
}

static void greet(struct net_hub *hub, struct net_link *link)
{
    unsigned char hello[NET_HELLO_BYTES] = {(unsigned char)hub->role};
    memcpy(hello + 1, hub->name, NET_NAME_MAX);
    net_link_greeting(hub, link, NET_GREETING_HELLO, hello, sizeof hello);
}

/* Calls, or greets, once more. inproc never reconnects by itself. */
static void call_again(struct net_hub *hub, struct net_link *link, int64_t now)
{
    link->again = 0;
    if (!link->inproc) {
        link->greet = true;
        return;
    }
    close_dealer(link);
    if (open_dealer(hub, link) != STATUS_OK)
        link->again = now + NET_BEAT_MS;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t net_links_greet(struct net_hub *hub, int64_t now)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_peer_state *peer = &hub->peers[i];
        if (peer->doomed != 0 && now >= peer->doom_at) {
            fail_sessions(hub, (int)i, peer->doomed, STATUS_STOPPED, "closed its connection");
            peer->doomed = 0;
        }
        if (peer->doomed != 0)
            next = sooner(next, peer->doom_at);
        struct net_link *link = peer->dial;
        if (link == NULL)
            continue;
        if (link->again != 0 && now >= link->again)
            call_again(hub, link, now);
        if (link->again != 0)
            next = sooner(next, link->again);
        if (link->greet)
            greet(hub, link);
        if (link->greet)
            next = sooner(next, now + IMPATIENT_MS);
    }
    return next;
}

static void expire(struct net_frame_list *outbox, int64_t now)
{
    struct net_frame_list keep = {0};
    struct net_frame *frame;
    while ((frame = net_frame_pop(outbox)) != NULL)
        if (frame->deadline > now)
            net_frame_push(&keep, frame);
        else
            net_frame_free(frame);
    *outbox = keep;
}

void net_links_tick(struct net_hub *hub, int64_t now)
{
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_peer_state *peer = &hub->peers[i];
        if (peer->outbox.first != NULL)
            expire(&peer->outbox, now);
        if (peer->dial != NULL && peer->dial->up)
            net_link_greeting(hub, peer->dial, NET_GREETING_BEAT, NULL, 0);
        for (struct net_link *link = peer->accepted, *next; link != NULL; link = next) {
            next = link->next;
            if (!net_link_greeting(hub, link, NET_GREETING_BEAT, NULL, 0))
                net_link_lost(hub, link, STATUS_STOPPED, "closed its connection");
        }
    }
    pthread_mutex_lock(&hub->lock);
    net_table_age(hub, now);
    pthread_mutex_unlock(&hub->lock);
}

/* Goodbyes travel on the link that data travels on, behind it. */
void net_links_part(struct net_hub *hub)
{
    hub->parting = true;
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_peer_state *peer = &hub->peers[i];
        if (peer->dial != NULL && peer->dial->up)
            peer->dial->parting = net_link_greeting(hub, peer->dial, NET_GREETING_BYE, NULL, 0);
        for (struct net_link *link = peer->accepted; peer->dial == NULL && link != NULL; link = link->next)
            link->parting = net_link_greeting(hub, link, NET_GREETING_BYE, NULL, 0);
    }
}

bool net_links_parted(const struct net_hub *hub)
{
    bool parted = true;
    for (size_t i = 0; i < hub->peer_count; i++) {
        parted = parted && (hub->peers[i].dial == NULL || !hub->peers[i].dial->parting);
        for (const struct net_link *link = hub->peers[i].accepted; link != NULL; link = link->next)
            parted = parted && !link->parting;
    }
    return parted;
}

void net_links_close(struct net_hub *hub)
{
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_peer_state *peer = &hub->peers[i];
        net_frame_clear(&peer->outbox);
        if (peer->dial != NULL)
            close_dealer(peer->dial);
        free(peer->dial);
        peer->dial = NULL;
        while (peer->accepted != NULL) {
            struct net_link *link = peer->accepted;
            peer->accepted = link->next;
            free(link);
        }
    }
    if (hub->router_monitor != NULL) {
        zmq_socket_monitor(hub->router, NULL, 0);
        zmq_close(hub->router_monitor);
    }
    if (hub->router != NULL) {
        /* Gives the name free at once; closing alone happens later, in another thread. */
        if (hub->router_inproc)
            zmq_unbind(hub->router, hub->endpoint);
        zmq_close(hub->router);
    }
    hub->router = hub->router_monitor = NULL;
}
