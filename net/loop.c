#include "net/link.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define BATCH 64        /* frames read from one socket before the others have their turn */
#define IMPATIENT_MS 5  /* how soon to try again what could not be sent */
#define PARTING_MS 3000 /* how long goodbyes may take */

/* The next message of a socket in three parts at most (two from a DEALER); -1: none there. Returns how many
 * parts it had; of more than three the rest is dropped. */
static int read_parts(void *socket, zmq_msg_t parts[3])
{
    int count = 0;
    for (bool more = true; more; count++) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            return count > 0 ? count : -1;
        }
        more = zmq_msg_more(&part) != 0;
        if (count < 3)
            zmq_msg_move(&parts[count], &part);
        zmq_msg_close(&part);
    }
    return count;
}

static void fault(struct net_hub *hub, int peer)
{
    net_deliver_fault(hub, peer, NULL, NULL);
}

/* Reads what is there, up to a batch; false when the socket was emptied. */
static bool read_socket(struct net_hub *hub, struct net_link *link)
{
    void *socket = link != NULL ? link->socket : hub->router;
    int due = link != NULL ? 2 : 3;
    zmq_msg_t parts[3];
    for (int i = 0; i < BATCH; i++) {
        for (int j = 0; j < 3; j++)
            zmq_msg_init(&parts[j]);
        int count = read_parts(socket, parts);
        if (count == due && link != NULL)
            net_link_came(hub, link, &parts[0], &parts[1]);
        else if (count == due)
            net_router_came(hub, &parts[0], &parts[1], &parts[2]);
        else if (count >= 0 && link != NULL)
            fault(hub, link->peer);
        for (int j = 0; j < 3; j++)
            zmq_msg_close(&parts[j]);
        if (count < 0)
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
    for (size_t i = 0; i < hub->configured; i++) {
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
        net_link_forward(hub, frame);
    return some;
}

static bool any_dirty(const struct net_hub *hub)
{
    bool dirty = hub->router_dirty || hub->router_monitor_dirty;
    for (size_t i = 0; i < hub->configured; i++)
        if (hub->peers[i].dial != NULL)
            dirty |= hub->peers[i].dial->dirty || hub->peers[i].dial->monitor_dirty;
    return dirty;
}

/* Sleeps until a socket, the bell or the clock calls. A ZeroMQ descriptor signals an edge: it is looked at
 * again only after a read found its socket empty, which is what the dirty flags keep. */
static void sleep_until_called(struct net_hub *hub, int timeout_ms)
{
    struct pollfd fds[3 + 2 * NET_PEERS_MAX];
    bool *flags[3 + 2 * NET_PEERS_MAX];
    nfds_t count = 0;
    bool bell = false;
#define WATCH(descriptor, flag) \
    (fds[count] = (struct pollfd){.fd = (descriptor), .events = POLLIN}, flags[count++] = (flag))
    WATCH(hub->bell, &bell);
    if (hub->router != NULL)
        WATCH(hub->router_fd, &hub->router_dirty);
    if (hub->router_monitor != NULL)
        WATCH(hub->router_monitor_fd, &hub->router_monitor_dirty);
    for (size_t i = 0; i < hub->configured; i++) {
        struct net_link *link = hub->peers[i].dial;
        if (link == NULL || link->socket == NULL)
            continue;
        WATCH(link->fd, &link->dirty);
        if (link->monitor != NULL)
            WATCH(link->monitor_fd, &link->monitor_dirty);
    }
#undef WATCH
    if (poll(fds, count, timeout_ms) <= 0)
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
static bool work(struct net_hub *hub, int64_t now, bool *waiting)
{
    bool busy = send_queued(hub);
    busy |= net_monitors_read(hub);
    bool more = read_sockets(hub);
    if (!more)
        net_monitors_act(hub);
    *waiting = !net_links_greet(hub, now);
    if (now >= hub->next_tick) {
        net_links_tick(hub, now);
        hub->next_tick = now + NET_BEAT_MS;
    }
    return !busy && !more && !any_dirty(hub);
}

void *net_hub_loop(void *argument)
{
    struct net_hub *hub = argument;
    int64_t end = INT64_MAX;
    for (;;) {
        /* Read before the queue is emptied, so that what was queued before the end still goes. */
        bool quit = atomic_load(&hub->quit), waiting;
        int64_t now = net_now();
        notice_stop(hub);
        bool idle = work(hub, now, &waiting);
        if (quit && !hub->parting) {
            net_links_part(hub);
            end = now + PARTING_MS;
        }
        if (hub->parting && (net_links_parted(hub) || now >= end))
            break;
        if (idle && !any_dirty(hub))
            sleep_until_called(hub, waiting ? IMPATIENT_MS : (int)(hub->next_tick - now));
    }
    net_links_close(hub);
    return NULL;
}
