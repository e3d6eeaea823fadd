#include "net/link.h"

#include <stdio.h>
#include <string.h>

#define FAILURES 3 /* handshakes in a row that end without a word: the key is wrong, not the moment */

/* One event, or 0 when there is none: a part with 16 bits of event and 32 of value, and one with the address.
 */
static int next_event(void *monitor, int *value)
{
    zmq_msg_t part;
    uint16_t event = 0;
    uint32_t number = 0;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, monitor, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&part);
        return 0;
    }
    if (zmq_msg_size(&part) >= 6) {
        memcpy(&event, zmq_msg_data(&part), 2);
        memcpy(&number, (const char *)zmq_msg_data(&part) + 2, 4);
    }
    while (zmq_msg_more(&part))
        if (zmq_msg_recv(&part, monitor, 0) < 0)
            break;
    zmq_msg_close(&part);
    *value = (int)number;
    return event;
}

static void fail_refused(struct net_hub *hub, const struct net_link *link, const char *format)
{
    const struct net_peer_state *peer = &hub->peers[link->peer];
    char place[NET_NAME_MAX + NET_ENDPOINT_MAX + 8], why[NET_WHY];
    snprintf(place, sizeof place, "%s at %s", peer->name, peer->endpoint);
    snprintf(why, sizeof why, "%s%s", place, format);
    pthread_mutex_lock(&hub->lock);
    net_table_fail(hub, link->peer, 0, STATUS_REFUSED, why);
    pthread_mutex_unlock(&hub->lock);
}

/* ZeroMQ gives up after such a failure, but the other side may be put right. */
static void call_later(struct net_link *link)
{
    link->reopen = true;
    link->again = net_now() + NET_BEAT_MS;
}

static void note(struct net_hub *hub, struct net_link *link, int event)
{
    switch (event) {
    case ZMQ_EVENT_DISCONNECTED:
        link->ended = link->dirty = true; /* what came before the end must be read before it is acted upon */
        link->connected = false;
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        link->connected = true;
        link->failures = 0;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        call_later(link);
        fail_refused(hub, link, " refused our key; is it on its allow-list?");
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        call_later(link);
        /* fall through */
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        if (++link->failures >= FAILURES)
            fail_refused(
                hub, link,
                " broke off the handshake; is the key listed for it here the right one, and is it a party?");
        break;
    default:
        break;
    }
}

/* The ROUTER's monitor names a connection by its descriptor. */
static void note_end(struct net_hub *hub, int descriptor)
{
    for (size_t i = 0; i < hub->peer_count; i++)
        for (struct net_link *link = hub->peers[i].accepted; link != NULL; link = link->next)
            if (link->descriptor == descriptor)
                link->ended = hub->router_dirty = true;
}

bool net_monitors_read(struct net_hub *hub)
{
    bool some = false;
    int event, value;
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_link *link = hub->peers[i].dial;
        if (link == NULL || link->monitor == NULL || !link->monitor_dirty)
            continue;
        while ((event = next_event(link->monitor, &value)) != 0) {
            note(hub, link, event);
            some = true;
        }
        link->monitor_dirty = false;
    }
    while (hub->router_monitor != NULL && (event = next_event(hub->router_monitor, &value)) != 0) {
        if (event == ZMQ_EVENT_ACCEPT_FAILED)
            atomic_store(&hub->unaccepted, value);
        else
            note_end(hub, value);
        some = true;
    }
    hub->router_monitor_dirty = false;
    return some;
}

void net_monitors_act(struct net_hub *hub)
{
    for (size_t i = 0; i < hub->peer_count; i++) {
        for (struct net_link *link = hub->peers[i].accepted, *next; link != NULL; link = next) {
            next = link->next;
            if (link->ended)
                net_link_lost(hub, link, STATUS_STOPPED, "closed its connection");
        }
        struct net_link *dial = hub->peers[i].dial;
        if (dial == NULL)
            continue;
        if (dial->ended)
            net_link_lost(hub, dial, STATUS_STOPPED, "closed its connection");
        if (dial->connected)
            dial->greet = true;
        dial->ended = dial->connected = false;
    }
}
