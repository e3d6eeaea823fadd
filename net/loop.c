#include "net/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "net/road.h"
#include "net/tsan.h"

#define BATCH 64        /* messages read from one socket before the others have their turn */
#define PARTING_MS 3000 /* how long goodbyes may take */

/* Room for one more piece; NULL when a message has more than the longest frame can have. */
static zmq_msg_t *next_piece(struct net_hub *hub)
{
    struct net_arrival *arrival = &hub->arrival;
    if (arrival->count == arrival->room) {
        size_t room = arrival->room == 0 ? 4 : 2 * arrival->room;
        zmq_msg_t *pieces = NULL;
        if (arrival->room <= net_pieces(hub->frame_max))
            pieces = realloc(arrival->pieces, room * sizeof *pieces);
        if (pieces == NULL)
            return NULL;
        arrival->pieces = pieces;
        arrival->room = room;
    }
    return &arrival->pieces[arrival->count];
}

/* Takes one part of a message: routing id (of the ROUTER), header, pieces. Leaves the part empty or as it
 * was. */
static bool take_part(struct net_hub *hub, size_t index, zmq_msg_t *part)
{
    struct net_arrival *arrival = &hub->arrival;
    zmq_msg_t *to = index == 0 ? &arrival->route : index == 1 ? &arrival->header : next_piece(hub);
    if (to == NULL)
        return false;
    NET_TAKEN_OVER(zmq_msg_data(part));
    if (index >= 2) {
        arrival->count++;
        arrival->bytes += zmq_msg_size(part);
        zmq_msg_init(to);
    }
    zmq_msg_move(to, part);
    return true;
}

/* Reads the next message; false when there is none. */
static bool read_message(struct net_hub *hub, void *socket, bool router)
{
    const size_t first = router ? 0 : 1;
    bool good = true, more = true;
    size_t index = first;
    for (; more; index++) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            break;
        }
        more = zmq_msg_more(&part) != 0;
        good = good && take_part(hub, index, &part);
        zmq_msg_close(&part);
    }
    hub->arrival.broken = !good || more || index < 3;
    return index > first;
}

/* Reads what is there, up to a batch; false when the socket was emptied. */
static bool read_socket(struct net_hub *hub, struct net_link *link)
{
    for (int i = 0; i < BATCH; i++) {
        hub->arrival.inproc = link != NULL ? link->inproc : hub->router_inproc;
        bool some = read_message(hub, link != NULL ? link->socket : hub->router, link == NULL);
        if (some && link != NULL)
            net_link_came(hub, link, &hub->arrival);
        else if (some)
            net_router_came(hub, &hub->arrival);
        net_arrival_clear(&hub->arrival);
        if (!some)
            return false;
    }
    return true;
}

/* Reads the sockets that may have something; true when some are not empty yet. */
static bool read_sockets(struct net_hub *hub)
{
    bool more = false;
    if (hub->router_dirty)
        more |= hub->router_dirty = read_socket(hub, NULL);
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_link *link = hub->peers[i].dial;
        if (link != NULL && link->dirty)
            more |= link->dirty = read_socket(hub, link);
    }
    return more;
}

/* Sends what sessions have queued; true when there was something. */
static bool send_queued(struct net_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    struct net_frame_list list = hub->out;
    hub->out = (struct net_frame_list){0};
    pthread_mutex_unlock(&hub->lock);
    bool some = list.first != NULL;
    struct net_frame *frame;
    while ((frame = net_frame_pop(&list)) != NULL)
        if (!net_shape_take(hub, frame))
            net_link_forward(hub, frame);
    return net_shape_forward(hub, hub->quit) || some;
}

static bool any_dirty(const struct net_hub *hub)
{
    bool dirty = hub->router_dirty || hub->router_monitor_dirty;
    for (size_t i = 0; i < hub->peer_count; i++)
        if (hub->peers[i].dial != NULL)
            dirty |= hub->peers[i].dial->dirty || hub->peers[i].dial->monitor_dirty;
    return dirty;
}

/* Sleeps until a socket, the bell or the clock calls. A ZeroMQ descriptor signals an edge: it is looked at
 * again only after a read found its socket empty, which is what the dirty flags keep. */
static void sleep_until_called(struct net_hub *hub, int timeout_ms)
{
    struct pollfd fds[4 + NET_CALLERS + 2 * NET_PEERS_MAX];
    bool *flags[4 + NET_CALLERS + 2 * NET_PEERS_MAX];
    nfds_t count = 0;
    bool bell = false;
#define WATCH(descriptor, flag) \
    (fds[count] = (struct pollfd){.fd = (descriptor), .events = POLLIN}, flags[count++] = (flag))
    WATCH(hub->bell, &bell);
    if (hub->router != NULL)
        WATCH(hub->router_fd, &hub->router_dirty);
    if (hub->router_monitor != NULL)
        WATCH(hub->router_monitor_fd, &hub->router_monitor_dirty);
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_link *link = hub->peers[i].dial;
        if (link == NULL || link->socket == NULL)
            continue;
        WATCH(link->fd, &link->dirty);
        if (link->monitor != NULL)
            WATCH(link->monitor_fd, &link->monitor_dirty);
    }
    if (hub->door.fd >= 0)
        WATCH(hub->door.fd, &hub->door.dirty);
    for (size_t i = 0; i < hub->door.count; i++)
        if (hub->door.caller[i].have < NET_TICKET)
            WATCH(hub->door.caller[i].fd, &hub->door.dirty);
#undef WATCH
    int64_t wait = (int64_t)timeout_ms * 1000000, shaped = net_shape_wait(hub);
    wait = shaped < wait ? shaped : wait;
    const struct timespec most = {wait / 1000000000, wait % 1000000000};
    if (ppoll(fds, count, timeout_ms < 0 ? NULL : &most, NULL) <= 0)
        return;
    for (nfds_t i = 0; i < count; i++)
        if (fds[i].revents != 0)
            *flags[i] = true;
    uint64_t rung;
    while (bell && read(hub->bell, &rung, sizeof rung) < 0 && errno == EINTR)
        continue;
}

static void notice_stop(struct net_hub *hub)
{
    if (!atomic_load(&hub->stop) || hub->stopping)
        return;
    pthread_mutex_lock(&hub->lock);
    hub->stopping = true;
    net_table_wake(hub);
    pthread_mutex_unlock(&hub->lock);
}

/* One pass over everything there is to do; true when the thread may sleep now. */
static bool work(struct net_hub *hub, int64_t now, int64_t *next)
{
    bool busy = send_queued(hub);
    busy |= net_monitors_read(hub);
    bool more = read_sockets(hub);
    net_door_work(hub, now);
    if (!more)
        net_monitors_act(hub);
    if (now >= hub->next_tick) {
        net_links_tick(hub, now);
        hub->next_tick = now + NET_BEAT_MS;
    }
    *next = net_links_greet(hub, now);
    if (*next > hub->next_tick)
        *next = hub->next_tick;
    return !busy && !more && !any_dirty(hub);
}

void *net_hub_loop(void *argument)
{
    struct net_hub *hub = argument;
    int64_t end = INT64_MAX;
    if (hub->link_delay_ms > 0)
        prctl(PR_SET_TIMERSLACK, 1000); /* nanoseconds; 50 microseconds are usual */
    for (;;) {
        /* Read before the queue is emptied, so that what was queued before the end still goes. */
        bool quit = atomic_load(&hub->quit);
        int64_t now = net_now(), next;
        notice_stop(hub);
        bool idle = work(hub, now, &next);
        if (quit && !hub->parting) {
            net_links_part(hub);
            end = now + PARTING_MS;
        }
        next = next < end ? next : end;
        if (hub->parting && (net_links_parted(hub) || now >= end))
            break;
        if (idle && !any_dirty(hub))
            sleep_until_called(hub, next > now ? (int)(next - now) : 0);
    }
    net_links_close(hub);
    net_door_close(hub);
    free(hub->arrival.pieces);
    return NULL;
}
