#include "net/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECONNECT_MS 100 /* doubled up to the next */
#define RECONNECT_MAX_MS 1000
#define CONNECT_MS 5000
#define HANDSHAKE_MS 10000
#define PING_MS 2000 /* ZMTP's own heartbeat: closes connections whose other machine is gone */
#define READ_AHEAD \
    4096               /* messages of one connection before ZeroMQ stops reading from it; none is dropped \
                        */
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
    int ping_timeout = hub->timeout_ms > 10000 ? hub->timeout_ms : 10000;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) |
           set_int(socket, ZMQ_LINGER, LINGER_MS) | set_int(socket, ZMQ_SNDHWM, 0) |
           set_int(socket, ZMQ_RCVHWM, READ_AHEAD) | set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) |
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
    static atomic_ulong count; /* names of closed sockets are free again only some time later */
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "inproc://trefoil-monitor-%lu", atomic_fetch_add(&count, 1));
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
        (hub->router_monitor = watch(hub, hub->router, ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_ACCEPT_FAILED)) ==
            NULL)
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

void net_link_hang_up(struct net_link *link)
{
    if (link->monitor != NULL) {
        zmq_socket_monitor(link->socket, NULL, 0);
        zmq_close(link->monitor);
    }
    if (link->socket != NULL)
        zmq_close(link->socket);
    link->monitor = link->socket = NULL;
}

/* inproc never reconnects by itself, nor does ZeroMQ after a refused handshake: a new socket does. */
void net_link_again(struct net_hub *hub, struct net_link *link, int64_t now)
{
    link->again = 0;
    if (!link->inproc && !link->reopen) {
        link->greet = true;
        return;
    }
    link->reopen = false;
    net_link_hang_up(link);
    if (open_dealer(hub, link) == STATUS_OK)
        return;
    net_link_hang_up(link);
    link->reopen = true;
    link->again = now + NET_BEAT_MS;
}

void net_link_unlisten(struct net_hub *hub)
{
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
