#include "net/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_key(const struct net_hub *hub, const char *key)
{
    for (size_t i = 0; i < hub->peer_count; i++)
        if (hub->peers[i].public_key[0] != '\0' && strcmp(hub->peers[i].public_key, key) == 0)
            return (int)i;
    return -1;
}

static int by_name(const struct net_hub *hub, const char *name)
{
    for (size_t i = 0; i < hub->peer_count; i++)
        if (strcmp(hub->peers[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void heard(struct net_hub *hub, int peer)
{
    pthread_mutex_lock(&hub->lock);
    hub->peers[peer].heard = net_now();
    pthread_mutex_unlock(&hub->lock);
}

/* --- a peer we called --- */

static void refuse_sessions(struct net_hub *hub, int peer, const char *text)
{
    char why[NET_WHY];
    snprintf(why, sizeof why, "%s at %s refused us: %s", hub->peers[peer].name, hub->peers[peer].endpoint,
             text);
    pthread_mutex_lock(&hub->lock);
    net_table_fail(hub, peer, 0, STATUS_REFUSED, why);
    pthread_mutex_unlock(&hub->lock);
}

static void welcome(struct net_hub *hub, struct net_link *link, uint64_t epoch)
{
    unsigned char hello[NET_HELLO_BYTES] = {(unsigned char)hub->role};
    memcpy(hello + 1, hub->name, NET_NAME_MAX);
    heard(hub, link->peer);
    link->up = true;
    net_link_greeting(hub, link, NET_GREETING_WELCOME, hello, sizeof hello);
    net_link_up(hub, link, epoch);
}

/* Every link to this process of the peer ends with it. */
static void process_left(struct net_hub *hub, int peer, uint64_t epoch)
{
    struct net_peer_state *state = &hub->peers[peer];
    for (struct net_link *link = state->accepted, *next; link != NULL; link = next) {
        next = link->next;
        if (link->epoch == epoch)
            net_link_lost(hub, link, STATUS_STOPPED, "was shut down");
    }
    if (state->dial != NULL && state->dial->up && state->dial->epoch == epoch)
        net_link_lost(hub, state->dial, STATUS_STOPPED, "was shut down");
}

static void greeting_came(struct net_hub *hub, struct net_link *link, const struct net_header *header,
                          const struct net_arrival *arrival)
{
    char text[128];
    switch (header->label) {
    case NET_GREETING_HELLO:
        /* Once more: it reconnected before it saw that its first hello had got through. */
        if (!link->dialled)
            welcome(hub, link, header->epoch);
        break;
    case NET_GREETING_WELCOME:
        if (!link->dialled)
            break;
        if (link->up && link->epoch != header->epoch)
            net_link_lost(hub, link, STATUS_STOPPED, "restarted");
        net_link_up(hub, link, header->epoch);
        break;
    case NET_GREETING_BYE:
        net_link_greeting(hub, link, NET_GREETING_PARTED, NULL, 0);
        if (!hub->parting)
            process_left(hub, link->peer, link->epoch);
        break;
    case NET_GREETING_PARTED:
        link->parting = false;
        break;
    case NET_GREETING_CREDIT:
        if (link->up && link->epoch == header->epoch)
            net_credit_came(hub, link->peer, header, arrival);
        break;
    case NET_GREETING_REFUSED:
        if (!link->dialled)
            break;
        net_printable(text, sizeof text, zmq_msg_data(&arrival->pieces[0]),
                      zmq_msg_size(&arrival->pieces[0]));
        refuse_sessions(hub, link->peer, text);
        link->again = net_now() + NET_BEAT_MS;
        break;
    default:
        break;
    }
}

static enum net_header_fault read_header(struct net_header *header, struct net_arrival *arrival)
{
    if (arrival->broken)
        return NET_HEADER_FOREIGN;
    return net_header_read(header, zmq_msg_data(&arrival->header), zmq_msg_size(&arrival->header));
}

void net_link_came(struct net_hub *hub, struct net_link *link, struct net_arrival *arrival)
{
    struct net_header header;
    enum net_header_fault fault = read_header(&header, arrival);
    int peer = link->peer;
    heard(hub, peer);
    if (fault == NET_HEADER_VERSION && link->dialled)
        refuse_sessions(hub, peer,
                        "it speaks another version of the protocol; both sides need the same release");
    if (fault == NET_HEADER_FOREIGN || fault == NET_HEADER_VERSION)
        net_deliver_fault(hub, peer, NULL, NULL);
    else if (fault == NET_HEADER_BROKEN)
        net_deliver_fault(hub, peer, &header, "a frame whose header makes no sense");
    else if (header.length > hub->frame_max)
        net_deliver_fault(hub, peer, &header, "a frame larger than the limit (frame_max)");
    else if (!net_arrival_fits(arrival, header.length))
        net_deliver_fault(hub, peer, &header, "a frame that is not as long as its header says");
    else if (header.kind == NET_HELLO)
        greeting_came(hub, link, &header, arrival);
    else if (link->up && link->epoch == header.epoch)
        net_deliver(hub, peer, &header, arrival);
}

/* --- a peer that calls us --- */

static struct net_link *by_route(struct net_hub *hub, zmq_msg_t *route)
{
    for (size_t i = 0; i < hub->peer_count; i++)
        for (struct net_link *link = hub->peers[i].accepted; link != NULL; link = link->next)
            if (link->route_bytes == zmq_msg_size(route) &&
                memcmp(link->route, zmq_msg_data(route), link->route_bytes) == 0)
                return link;
    return NULL;
}

static struct net_link *new_link(zmq_msg_t *route, int descriptor)
{
    struct net_link *link = calloc(1, sizeof *link);
    if (link == NULL || zmq_msg_size(route) > sizeof link->route) {
        free(link);
        return NULL;
    }
    link->peer = -1;
    link->descriptor = descriptor;
    link->fd = link->monitor_fd = -1;
    link->route_bytes = zmq_msg_size(route);
    memcpy(link->route, zmq_msg_data(route), link->route_bytes);
    return link;
}

/* Whose hello this is; the reason for a refusal otherwise. Over CURVE the key decides, the name is for show.
 */
static const char *identify(struct net_hub *hub, const char *key, const unsigned char hello[NET_HELLO_BYTES],
                            int *peer)
{
    char name[NET_NAME_MAX];
    net_printable(name, sizeof name, hello + 1, strnlen((const char *)hello + 1, NET_NAME_MAX));
    *peer = key != NULL ? by_key(hub, key) : by_name(hub, name);
    if (*peer < 0)
        return "not on the allow-list";
    size_t links = 0;
    for (const struct net_link *link = hub->peers[*peer].accepted; link != NULL; link = link->next)
        links++;
    if (links >= NET_LINKS_MAX)
        return "too many connections with this key; try again later";
    if (hello[0] != hub->peers[*peer].role)
        return "the allow-list gives this key another role than it says it has";
    return NULL;
}

static void stranger_came(struct net_hub *hub, const char *key, struct net_arrival *arrival)
{
    struct net_header header;
    enum net_header_fault fault = read_header(&header, arrival);
    struct net_link *link = NULL;
    if (fault != NET_HEADER_FOREIGN)
        link = new_link(&arrival->route, zmq_msg_get(&arrival->header, ZMQ_SRCFD));
    if (link == NULL)
        return;
    const char *refusal = NULL;
    int peer = -1;
    if (fault == NET_HEADER_VERSION)
        refusal = "another version of the protocol; both sides need the same release";
    else if (fault != NET_HEADER_GOOD || header.kind != NET_HELLO || header.label != NET_GREETING_HELLO ||
             header.length != NET_HELLO_BYTES || !net_arrival_fits(arrival, NET_HELLO_BYTES))
        refusal = "a hello must come first";
    else
        refusal = identify(hub, key, zmq_msg_data(&arrival->pieces[0]), &peer);
    if (refusal == NULL && peer >= 0) {
        /* Descriptors are used again: the end of the connection before must be noted by now, not later. */
        net_monitors_read(hub);
        link->peer = peer;
        link->next = hub->peers[peer].accepted;
        hub->peers[peer].accepted = link;
        welcome(hub, link, header.epoch);
        return;
    }
    if (refusal != NULL)
        net_link_greeting(hub, link, NET_GREETING_REFUSED, refusal, strlen(refusal));
    free(link);
}

void net_router_came(struct net_hub *hub, struct net_arrival *arrival)
{
    const char *key = NULL;
    if (!hub->router_inproc && (key = zmq_msg_gets(&arrival->header, "User-Id")) == NULL)
        return; /* cannot be: CURVE and the key checker are both required */
    struct net_link *link = by_route(hub, &arrival->route);
    /* A connection may pick its routing id: that of another key's dead link must not inherit its identity. */
    if (link != NULL && key != NULL && strcmp(key, hub->peers[link->peer].public_key) != 0) {
        net_link_lost(hub, link, STATUS_STOPPED, "closed its connection");
        link = NULL;
    }
    if (link != NULL)
        net_link_came(hub, link, arrival);
    else
        stranger_came(hub, key, arrival);
}
