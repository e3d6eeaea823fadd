#include "net/road.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#define ALIGNMENT 64

/* What a record is bound to: its head, serial and session. */
#define BOUND (NET_ROAD_HEAD + 8 + NET_SESSION_BYTES)

static void bind_record(unsigned char bound[BOUND], const unsigned char head[NET_ROAD_HEAD],
                        const struct net_session *session)
{
    memcpy(bound, head, NET_ROAD_HEAD);
    net_put(bound + NET_ROAD_HEAD, session->serial, 8);
    memcpy(bound + NET_ROAD_HEAD + 8, session->id.bytes, NET_SESSION_BYTES);
}

static unsigned char *make_buffer(void)
{
    return aligned_alloc(ALIGNMENT, (NET_ROAD_WIRE + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

static void free_buffer(unsigned char *buffer)
{
    if (buffer != NULL)
        sodium_memzero(buffer, NET_ROAD_WIRE);
    free(buffer);
}

enum status net_road_new(struct net_road **out, struct net_session *session, int peer, int fd,
                         const struct net_road_keys *keys)
{
    const bool is_p1 = session->hub->role == NET_ROLE_P1;
    struct net_road *road = calloc(1, sizeof *road);
    if (road == NULL) {
        close(fd);
        return status_fail(STATUS_MEMORY, "out of memory for a fast link");
    }
    *road = (struct net_road){.fd = fd, .peer = peer, .sealed = make_buffer(), .room = make_buffer()};
    road->came = road->room;
    enum status status = STATUS_OK;
    if (road->sealed == NULL || road->room == NULL)
        status = status_fail(STATUS_MEMORY, "out of memory for a fast link");
    if (status == STATUS_OK)
        status = net_seal_init(&road->out, keys->cipher, is_p1 ? keys->p1 : keys->p2, true);
    if (status == STATUS_OK)
        status = net_seal_init(&road->in, keys->cipher, is_p1 ? keys->p2 : keys->p1, false);
    if (status == STATUS_OK)
        status = net_road_line_open(road, session->hub);
    if (status != STATUS_OK)
        net_road_close(&road);
    *out = road;
    return status;
}

void net_road_close(struct net_road **out)
{
    struct net_road *road = *out;
    if (road == NULL)
        return;
    net_road_line_close(road);
    close(road->fd);
    net_seal_clear(&road->out);
    net_seal_clear(&road->in);
    free_buffer(road->sealed);
    free_buffer(road->room);
    free(road);
    *out = NULL;
}

/* ---- sending ---- */

bool net_road_begin(struct net_road *road, const struct net_session *session, uint32_t round, size_t bytes)
{
    unsigned char bound[BOUND];
    net_put(road->sealed, bytes, 4);
    net_put(road->sealed + 4, round, 4);
    bind_record(bound, road->sealed, session);
    road->sealed_bytes = NET_ROAD_HEAD;
    road->sealed_sent = 0;
    return net_seal_begin(&road->out, bound, sizeof bound);
}

bool net_road_add(struct net_road *road, const void *data, size_t bytes)
{
    const bool good = net_seal_add(&road->out, road->sealed + road->sealed_bytes, data, bytes);
    road->sealed_bytes += bytes;
    return good;
}

bool net_road_end(struct net_road *road)
{
    const bool good = net_seal_end(&road->out, road->sealed + road->sealed_bytes);
    road->sealed_bytes += NET_SEAL_TAG;
    return good;
}

enum net_road_state net_road_push(struct net_road *road)
{
    if (road->line != NULL && road->sealed_sent < road->sealed_bytes) {
        road->sealed_sent = road->sealed_bytes;
        return net_road_line_put(road) ? NET_ROAD_DONE : NET_ROAD_ENDED;
    }
    while (road->sealed_sent < road->sealed_bytes) {
        const ssize_t went = send(road->fd, road->sealed + road->sealed_sent,
                                  road->sealed_bytes - road->sealed_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (went >= 0)
            road->sealed_sent += (size_t)went;
        else if (errno == EAGAIN)
            return NET_ROAD_BUSY;
        else if (errno != EINTR)
            return NET_ROAD_ENDED;
    }
    return NET_ROAD_DONE;
}

/* ---- receiving ---- */

static size_t wire_bytes(const struct net_road *road)
{
    return NET_ROAD_HEAD + (size_t)net_road_length(road) + NET_SEAL_TAG;
}

bool net_road_whole(const struct net_road *road)
{
    return road->came_bytes >= NET_ROAD_HEAD && road->came_bytes >= wire_bytes(road);
}

enum net_road_state net_road_pull(struct net_road *road, size_t expected)
{
    size_t want = NET_ROAD_HEAD + expected + NET_SEAL_TAG;
    if (road->came_bytes >= NET_ROAD_HEAD) {
        if (net_road_length(road) > NET_ROAD_RECORD)
            return NET_ROAD_FORGED;
        want = wire_bytes(road);
    }
    if (net_road_whole(road))
        return NET_ROAD_DONE;
    if ((size_t)(road->came - road->room) + want > NET_ROAD_WIRE) {
        memmove(road->room, road->came, road->came_bytes);
        road->came = road->room;
    }
    const ssize_t came = recv(road->fd, road->came + road->came_bytes, want - road->came_bytes, MSG_DONTWAIT);
    if (came == 0)
        return NET_ROAD_ENDED;
    if (came < 0)
        return errno == EAGAIN ? NET_ROAD_BUSY : errno == EINTR ? NET_ROAD_MOVED : NET_ROAD_ENDED;
    road->came_bytes += (size_t)came;
    if (road->came_bytes >= NET_ROAD_HEAD && net_road_length(road) > NET_ROAD_RECORD)
        return NET_ROAD_FORGED;
    return net_road_whole(road) ? NET_ROAD_DONE : NET_ROAD_MOVED;
}

const unsigned char *net_road_open(struct net_road *road, const struct net_session *session, uint32_t round)
{
    unsigned char bound[BOUND], head[NET_ROAD_HEAD];
    const size_t length = net_road_length(road);
    unsigned char *payload = road->came + NET_ROAD_HEAD;
    net_put(head, length, 4);
    net_put(head + 4, round, 4);
    bind_record(bound, head, session);
    return net_seal_open(&road->in, bound, sizeof bound, payload, length, payload + length) ? payload : NULL;
}

void net_road_drop(struct net_road *road)
{
    const size_t bytes = wire_bytes(road);
    road->came_bytes -= bytes;
    road->came = road->came_bytes == 0 ? road->room : road->came + bytes;
}

/* ---- waiting ---- */

int64_t net_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

enum status net_road_wait(struct net_session *session, int peer, int fd, short events, int64_t until)
{
    struct pollfd fds[2] = {{.fd = session->wake, .events = POLLIN}, {.fd = fd, .events = events}};
    const int64_t left = until - net_nanoseconds();
    const struct timespec most = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
    const int ready = ppoll(fds, 2, &most, NULL);
    if (ready > 0 && fds[0].revents != 0) {
        eventfd_t count;
        eventfd_read(session->wake, &count);
        const enum status status = net_session_ended(session, peer, 0);
        if (status != STATUS_OK)
            return status;
    }
    return ready == 0 && left <= 0 ? STATUS_TIMEOUT : STATUS_OK;
}
