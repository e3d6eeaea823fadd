#include "net/shape.h"

#include "net/link.h"
#include "net/road.h"

bool net_is_shaped(const struct net_hub *hub)
{
    return hub->link_rate > 0 || hub->link_delay_ms > 0;
}

int64_t net_shape_due(struct net_hub *hub, int peer, size_t bytes)
{
    struct net_shape_line *line = &hub->peers[peer].line;
    const int64_t now = net_nanoseconds();
    pthread_mutex_lock(&hub->lock);
    if (line->busy_until < now)
        line->busy_until = now;
    if (hub->link_rate > 0)
        line->busy_until += (int64_t)(8e9 * (double)bytes / hub->link_rate);
    const int64_t due = line->busy_until + (int64_t)(1e6 * hub->link_delay_ms);
    pthread_mutex_unlock(&hub->lock);
    return due;
}

bool net_shape_take(struct net_hub *hub, struct net_frame *frame)
{
    if (!net_is_shaped(hub))
        return false;
    frame->due = net_shape_due(hub, frame->peer, frame->header.length);
    net_frame_push(&hub->peers[frame->peer].line.frames, frame);
    return true;
}

bool net_shape_forward(struct net_hub *hub, bool all)
{
    if (!net_is_shaped(hub))
        return false;
    const int64_t now = all ? INT64_MAX : net_nanoseconds();
    bool some = false;
    for (size_t i = 0; i < hub->peer_count; i++) {
        struct net_frame_list *waiting = &hub->peers[i].line.frames;
        for (; waiting->first != NULL && waiting->first->due <= now; some = true)
            net_link_forward(hub, net_frame_pop(waiting));
    }
    return some;
}

int64_t net_shape_wait(const struct net_hub *hub)
{
    int64_t due = INT64_MAX;
    if (!net_is_shaped(hub))
        return due;
    for (size_t i = 0; i < hub->peer_count; i++) {
        const struct net_frame *first = hub->peers[i].line.frames.first;
        if (first != NULL && first->due < due)
            due = first->due;
    }
    if (due == INT64_MAX)
        return due;
    const int64_t now = net_nanoseconds();
    return due > now ? due - now : 0;
}

void net_shape_clear(struct net_hub *hub)
{
    for (size_t i = 0; i < hub->peer_count; i++)
        net_frame_clear(&hub->peers[i].line.frames);
}
