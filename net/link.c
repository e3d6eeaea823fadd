#include "net/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tsan.h"

#define GRACE_MS 300     /* between the ends of two links to one process */
#define CALL_AGAIN_MS 50 /* inproc only; ZeroMQ calls again by itself elsewhere */
#define IMPATIENT_MS 5   /* how soon to try again what could not be sent */

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
        link->again = link->inproc ? net_now() + CALL_AGAIN_MS : link->again;
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
            net_link_again(hub, link, now);
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
            net_link_hang_up(peer->dial);
        free(peer->dial);
        peer->dial = NULL;
        while (peer->accepted != NULL) {
            struct net_link *link = peer->accepted;
            peer->accepted = link->next;
            free(link);
        }
    }
    net_link_unlisten(hub);
}
