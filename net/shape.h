/* Slower links than there are, for measuring: what a process sends passes a line of a certain rate and delay
 * before it reaches its socket. The hub's thread alone, but for net_shape_due.
 *
 * A frame of b bytes that is queued at t is through the line to its peer at
 *     f = max(t, f of the frame before it) + 8 b / rate,   and is handed to the socket at   f + delay.
 * Each peer has a line of its own, as if it were reached over its own cable; frames never overtake. Records of fast links
 * (line.c) share it.
 * Heartbeats and credits do not pass the line. */
#ifndef TREFOIL_NET_SHAPE_H
#define TREFOIL_NET_SHAPE_H

#include "net/frame.h"

struct net_hub;

struct net_shape_line {
    struct net_frame_list frames; /* each with its time in due */
    int64_t busy_until;           /* nanoseconds; under the hub's lock */
};

bool net_is_shaped(const struct net_hub *hub);
/* When so many bytes that are queued now have passed the line to a peer, nanoseconds; they have their place on it from now on. */
int64_t net_shape_due(struct net_hub *hub, int peer, size_t bytes);
/* Takes a frame over; false if this hub is not shaped. */
bool net_shape_take(struct net_hub *hub, struct net_frame *frame);
/* Forwards what is due, or (all) everything. True when there was something. */
bool net_shape_forward(struct net_hub *hub, bool all);
/* Nanoseconds until the next frame is due; INT64_MAX if none waits. */
int64_t net_shape_wait(const struct net_hub *hub);
void net_shape_clear(struct net_hub *hub);

#endif
