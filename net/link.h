/* Links: connections that carry frames to and from one peer. Everything here is called by the hub's thread
 * alone (and by net_hub_open before that thread starts).
 *
 * A peer with an endpoint is called over a DEALER of its own; a peer that calls us comes in through the one
 * ROUTER. The caller's first frame is a hello, the answer a welcome; only then the link is up. Two parties
 * that both know an endpoint of the other call each other: each then sends over the connection it made, so
 * that frames never overtake. */
#ifndef TREFOIL_NET_LINK_H
#define TREFOIL_NET_LINK_H

#include "net/hub.h"

#define NET_ROUTE_MAX 256 /* a ZeroMQ routing id has at most 255 bytes */

struct net_link {
    struct net_link *next;
    int peer;
    bool dialled, inproc;
    bool up;                   /* greeted: the epoch is known, frames may go */
    bool greet;                /* connected, our hello has not gone yet */
    bool dirty, monitor_dirty; /* there may be something to read */
    bool ended, connected; /* what its monitor told, in this order; to be acted upon once all data is read */
    bool parting;          /* our goodbye has gone and was not answered yet */
    bool reopen;           /* calling again takes a new socket */
    int failures;          /* handshakes that failed in a row */
    uint64_t epoch;
    int64_t again;          /* when to call or greet once more, 0: not due */
    void *socket, *monitor; /* a DEALER's own */
    int fd, monitor_fd;
    unsigned char route[NET_ROUTE_MAX]; /* of an accepted link */
    size_t route_bytes;
    int descriptor; /* of an accepted connection, as monitor events name it; -1 */
};

/* Sockets (socket.c). */
STATUS_MUST_USE enum status net_link_listen(struct net_hub *hub, const char *endpoint);
STATUS_MUST_USE enum status net_link_dial(struct net_hub *hub, int peer);
/* Calls, or greets, once more: when link->again says so. */
void net_link_again(struct net_hub *hub, struct net_link *link, int64_t now);
/* Close the sockets of a link that was dialled, and those we listen with. */
void net_link_hang_up(struct net_link *link);
void net_link_unlisten(struct net_hub *hub);
/* Says goodbye on every link that is up. A socket that is closed while data is still coming in takes what it
 * has sent, but not yet delivered, down with it (TCP resets the connection): so the peers first confirm that
 * they have read all. */
void net_links_part(struct net_hub *hub);
bool net_links_parted(const struct net_hub *hub);
/* Closes every socket and frees every link. */
void net_links_close(struct net_hub *hub);

/* Takes the frame over: sends it, keeps it until the peer comes up, or drops it if its process is gone. */
void net_link_forward(struct net_hub *hub, struct net_frame *frame);
/* Once a second: heartbeats, frames that waited too long, sessions nobody opened. */
void net_links_tick(struct net_hub *hub, int64_t now);
/* Sends hellos that are due, calls inproc peers again, ends what is doomed; returns when it wants to be
 * called again. */
int64_t net_links_greet(struct net_hub *hub, int64_t now);

/* Frames that came in (greet.c), over a link that is known or over the ROUTER. */
void net_link_came(struct net_hub *hub, struct net_link *link, struct net_arrival *arrival);
void net_router_came(struct net_hub *hub, struct net_arrival *arrival);

/* The link is of no use any more: sessions bound to it fail with this reason. Frees an accepted link. */
void net_link_lost(struct net_hub *hub, struct net_link *link, enum status code, const char *why);
/* Marks a dialled link as greeted by this process and sends what waited; likewise for a new accepted link. */
void net_link_up(struct net_hub *hub, struct net_link *link, uint64_t epoch);
/* Sends a frame of the hub's own. */
bool net_link_greeting(struct net_hub *hub, struct net_link *link, enum net_greeting greeting,
                       const void *data, size_t bytes);

/* Monitors (monitor.c): notes what they tell; true when there was something. */
bool net_monitors_read(struct net_hub *hub);
/* Acts upon it. Data that came before a connection ended must have been read by now. */
void net_monitors_act(struct net_hub *hub);

#endif
