/* The listener of the fast road. A caller's first bytes are a ticket that its session's thread derived from fresh keys: who
 * has none gets no answer, and costs a descriptor and a few bytes until it is sent away. At most NET_CALLERS wait at a time,
 * the oldest makes room. */
#include "net/road.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#define BACKLOG 16
#define ACCEPTS 16       /* callers let in before the links have their turn */
#define PATIENCE_MS 2000 /* for a caller's ticket, and for the session that it belongs to */
#define HOST_MAX 128

enum status net_door_address(struct sockaddr_storage *out, socklen_t *bytes, const char *endpoint,
                             bool listen, unsigned port)
{
    char host[HOST_MAX], number[16];
    const char *start = strncmp(endpoint, "tcp://", 6) == 0 ? endpoint + 6 : endpoint;
    if (strchr(start, ';') != NULL) /* behind the address to call from */
        start = strchr(start, ';') + 1;
    const char *colon = strrchr(start, ':');
    if (colon == NULL || (size_t)(colon - start) >= sizeof host)
        return status_fail(STATUS_INPUT, "%s is no endpoint; it should look like tcp://ADDRESS:PORT",
                           endpoint);
    const bool brackets = start[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - start) - 2 * brackets, start + brackets);
    if (strcmp(host, "*") == 0)
        strcpy(host, "0.0.0.0");
    snprintf(number, sizeof number, "%s", strcmp(colon, ":*") == 0 ? "0" : colon + 1);
    if (port != 0)
        snprintf(number, sizeof number, "%u", port);
    /* Names resolve to IPv4, as ZeroMQ has it. */
    const struct addrinfo hints = {.ai_family = brackets ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | (listen ? AI_NUMERICHOST | AI_PASSIVE : 0)};
    struct addrinfo *found;
    const int error = getaddrinfo(host, number, &hints, &found);
    if (error != 0)
        return status_fail(STATUS_INPUT, "cannot find the address of %s: %s", endpoint, gai_strerror(error));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return STATUS_OK;
}

/* The address that callers are told; none if we listen on every interface: they know a way to us already. */
static void name_host(struct net_door *door, const struct sockaddr_storage *address, socklen_t bytes)
{
    char host[NET_ROAD_HOST], port[16];
    if (getnameinfo((const struct sockaddr *)address, bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    door->port = (unsigned)atoi(port);
    if (strcmp(host, "0.0.0.0") != 0 && strcmp(host, "::") != 0)
        snprintf(door->host, sizeof door->host, "%s", host);
}

enum status net_door_open(struct net_hub *hub, const struct net_options *options)
{
    struct net_door *door = &hub->door;
    const bool evaluator = hub->role == NET_ROLE_P1 || hub->role == NET_ROLE_P2;
    if (!options->fast_links || !evaluator || strncmp(hub->endpoint, "tcp://", 6) != 0)
        return STATUS_OK;
    const char *endpoint = options->fast_bind != NULL ? options->fast_bind : hub->endpoint;
    const bool v6 = strchr(endpoint, '[') != NULL;
    struct sockaddr_storage address = {0};
    socklen_t bytes;
    const int on = 1, off = 0;
    enum status status = net_door_address(&address, &bytes, endpoint, true, 0);
    if (status != STATUS_OK)
        return status;
    if (options->fast_bind == NULL) { /* beside the first, on any port */
        if (v6)
            ((struct sockaddr_in6 *)&address)->sin6_port = 0;
        else
            ((struct sockaddr_in *)&address)->sin_port = 0;
    }
    door->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->fd < 0)
        return status_fail(STATUS_IO, "cannot open a socket: %s", strerror(errno));
    setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (v6)
        setsockopt(door->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(door->fd, (struct sockaddr *)&address, bytes) != 0 || listen(door->fd, BACKLOG) != 0 ||
        getsockname(door->fd, (struct sockaddr *)&address, (bytes = sizeof address, &bytes)) != 0)
        return status_fail(STATUS_IO, "cannot listen on %s for fast links: %s", endpoint, strerror(errno));
    name_host(door, &address, bytes);
    if (options->fast_bind == NULL)
        door->host[0] = '\0';
    return STATUS_OK;
}

static void send_away(struct net_door *door, size_t index)
{
    if (door->caller[index].fd >= 0)
        close(door->caller[index].fd);
    memmove(&door->caller[index], &door->caller[index + 1], (door->count - index - 1) * sizeof *door->caller);
    door->count--;
}

void net_door_close(struct net_hub *hub)
{
    struct net_door *door = &hub->door;
    while (door->count > 0)
        send_away(door, 0);
    if (door->fd >= 0)
        close(door->fd);
    door->fd = -1;
}

static void let_in(struct net_door *door, int64_t now)
{
    for (int i = 0; i < ACCEPTS; i++) {
        const int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (door->count == NET_CALLERS)
            send_away(door, 0);
        door->caller[door->count++] = (struct net_caller){.fd = fd, .until = now + PATIENCE_MS};
    }
}

/* Reads the ticket and nothing after it, which is the session's. False: there is none to come. */
static bool read_ticket(struct net_caller *caller)
{
    if (caller->have == NET_TICKET)
        return true;
    const ssize_t came =
        recv(caller->fd, caller->ticket + caller->have, NET_TICKET - caller->have, MSG_DONTWAIT);
    if (came > 0)
        caller->have += (size_t)came;
    return came > 0 || (came < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Gives the connection to the session that waits for this ticket. Under lock. */
static bool hand_over(struct net_hub *hub, struct net_caller *caller)
{
    for (size_t i = 0; i < NET_TABLE; i++)
        for (struct net_session *session = hub->table[i]; session != NULL; session = session->next) {
            if (!session->awaits_caller || sodium_memcmp(session->ticket, caller->ticket, NET_TICKET) != 0)
                continue;
            session->awaits_caller = false;
            session->caller = caller->fd;
            caller->fd = -1;
            pthread_cond_broadcast(&session->arrived);
            return true;
        }
    return false;
}

void net_door_work(struct net_hub *hub, int64_t now)
{
    struct net_door *door = &hub->door;
    if (door->fd < 0)
        return;
    if (door->dirty)
        let_in(door, now);
    door->dirty = false;
    for (size_t i = 0; i < door->count;) {
        struct net_caller *caller = &door->caller[i];
        bool gone = caller->until <= now || !read_ticket(caller);
        if (!gone && caller->have == NET_TICKET) {
            pthread_mutex_lock(&hub->lock);
            gone = hand_over(hub, caller);
            pthread_mutex_unlock(&hub->lock);
        }
        if (gone)
            send_away(door, i);
        else
            i++;
    }
}
