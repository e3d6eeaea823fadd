#include "net/hub.h"

#include <string.h>

/* How many bytes are read before the peer is told so: often enough that a sender does not stop, seldom enough
 * to cost nothing. At most this much stays untold for ever, less than what lets a sender go on. */
static size_t step(const struct net_hub *hub)
{
    return hub->frame_max / 4;
}

bool net_credit_read(struct net_session *session, struct net_box *box, size_t bytes)
{
    struct net_hub *hub = session->hub;
    box->read += bytes + NET_FRAME_COST;
    if (box->read - box->read_told <= step(hub))
        return false;
    struct net_frame *frame = net_frame_sized(8);
    if (frame == NULL)
        return false; /* the next read tries again */
    net_put(zmq_msg_data(&frame->pieces[0]), box->read, 8);
    frame->peer = box->peer;
    frame->target = box->epoch;
    frame->deadline = net_now() + session->timeout_ms;
    frame->header = (struct net_header){.kind = NET_HELLO,
                                        .label = NET_GREETING_CREDIT,
                                        .length = 8,
                                        .epoch = hub->epoch,
                                        .session = session->id};
    box->read_told = box->read;
    return net_hub_post(hub, frame);
}

static void take(struct net_session *session, struct net_box *box, uint64_t read)
{
    if (read > box->sent) {
        net_box_fail(session, box, STATUS_PEER, "%s says it has read more than we sent",
                     session->hub->peers[box->peer].name);
        return;
    }
    if (read > box->sent_read)
        box->sent_read = read;
    pthread_cond_broadcast(&session->arrived);
}

void net_credit_came(struct net_hub *hub, int peer, const struct net_header *header,
                     const struct net_arrival *arrival)
{
    if (header->length != 8)
        return;
    uint64_t read = net_get(zmq_msg_data(&arrival->pieces[0]), 8);
    pthread_mutex_lock(&hub->lock);
    struct net_session *session = net_table_find(hub, &header->session);
    for (size_t i = 0; session != NULL && i < session->box_count; i++)
        if (session->boxes[i].peer == peer && session->boxes[i].epoch == header->epoch)
            take(session, &session->boxes[i], read);
    pthread_mutex_unlock(&hub->lock);
}
