#include "net/hub.h"

#include <stdlib.h>
#include <string.h>

/* How much unread data one peer may leave in one session: credit.c makes honest senders wait before that. */
static size_t box_limit(const struct net_hub *hub)
{
    return 2 * hub->frame_max + NET_FRAME_COST;
}

/* The same for all sessions of a peer that nobody here has opened yet. */
static bool may_park(const struct net_hub *hub, int peer, size_t bytes)
{
    const struct net_peer_state *state = &hub->peers[peer];
    return state->parked_bytes + bytes <= (net_is_party(state->role) ? 4 : 1) * hub->frame_max;
}

/* Nothing but an error came of it. */
static bool is_over(const struct net_session *session)
{
    bool over = session->state == NET_SESSION_PARKED;
    for (size_t i = 0; i < session->box_count; i++)
        over = over && session->boxes[i].failed != STATUS_OK && session->boxes[i].frames.bytes == 0;
    return over;
}

/* Errors of sessions that nobody here will ever open, as callers may cause at another party, must not keep out what somebody
 * will: the oldest makes room. Opening it afterwards fails, as it would have. */
static void make_room(struct net_hub *hub, int peer)
{
    struct net_session *oldest = NULL;
    for (size_t i = 0; i < NET_TABLE; i++)
        for (struct net_session *session = hub->table[i]; session != NULL; session = session->next)
            if (session->parked_by == peer && is_over(session) &&
                (oldest == NULL || session->parked_at < oldest->parked_at))
                oldest = session;
    if (oldest != NULL)
        net_table_remove(oldest);
}

static struct net_session *park(struct net_hub *hub, int peer, const struct net_header *header)
{
    struct net_peer_state *state = &hub->peers[peer];
    size_t most = net_is_party(state->role) ? NET_PARKED_MAX : NET_PARKED_MAX / 8;
    if (net_table_was_closed(hub, &header->session))
        return NULL;
    if (state->parked_sessions >= most)
        make_room(hub, peer);
    if (state->parked_sessions >= most)
        return NULL;
    struct net_session *session = net_table_add(hub, &header->session, NET_SESSION_PARKED);
    if (session == NULL)
        return NULL;
    session->parked_by = peer;
    session->parked_at = net_now();
    state->parked_sessions++;
    return session;
}

/* What a NET_ERROR says becomes the reason why this conversation ended. */
static void take_error(struct net_session *session, struct net_box *box, const struct net_arrival *arrival)
{
    const char *name = session->hub->peers[box->peer].name;
    const unsigned char *data = zmq_msg_data(&arrival->pieces[0]);
    size_t bytes = zmq_msg_size(&arrival->pieces[0]);
    char text[NET_WHY - NET_NAME_MAX - 8];
    if (bytes < 4 || data[0] == STATUS_OK || data[0] >= STATUS_CODES || data[1] || data[2] || data[3]) {
        net_box_fail(session, box, STATUS_PEER, "%s sent an error that makes no sense", name);
        return;
    }
    net_printable(text, sizeof text, data + 4, bytes - 4);
    /* Most messages of a party begin with its name. */
    const size_t length = strlen(name);
    const bool named = strncmp(text, name, length) == 0 && (text[length] == ' ' || text[length] == ':');
    net_box_fail(session, box, (enum status)data[0], "%s%s%s", named ? "" : name, named ? "" : ": ", text);
}

static void list_request(struct net_session *session, int peer)
{
    struct net_hub *hub = session->hub;
    session->state = NET_SESSION_REQUESTED;
    session->parked_by = session->parked_by < 0 ? peer : session->parked_by;
    session->next_request = NULL;
    *hub->last_request = session;
    hub->last_request = &session->next_request;
    pthread_cond_signal(&hub->requested);
}

static void keep(struct net_session *session, struct net_box *box, const struct net_header *header,
                 struct net_arrival *arrival)
{
    struct net_hub *hub = session->hub;
    size_t bytes = header->length + NET_FRAME_COST;
    const char *name = hub->peers[box->peer].name;
    if (box->frames.bytes + bytes > box_limit(hub)) {
        net_box_fail(session, box, STATUS_PEER, "%s sent more than %zu bytes ahead", name, box_limit(hub));
        return;
    }
    if (session->state != NET_SESSION_OPEN && !may_park(hub, box->peer, bytes)) {
        net_box_fail(session, box, STATUS_PEER, "%s sent too much before the session was opened here", name);
        return;
    }
    struct net_frame *frame = net_frame_new(arrival->count);
    if (frame == NULL) {
        net_box_fail(session, box, STATUS_MEMORY, "out of memory for a frame of %s", name);
        return;
    }
    frame->header = *header;
    frame->peer = box->peer;
    frame->wipe = net_kind_secret(header->kind) && !arrival->inproc;
    for (size_t i = 0; i < arrival->count; i++)
        zmq_msg_move(&frame->pieces[i], &arrival->pieces[i]);
    bool first = box->sequence_in == 1;
    net_frame_push(&box->frames, frame);
    if (session->state == NET_SESSION_OPEN) {
        pthread_cond_broadcast(&session->arrived);
        return;
    }
    hub->peers[box->peer].parked_bytes += bytes;
    if (session->state == NET_SESSION_PARKED && header->kind == NET_REQUEST && first)
        list_request(session, box->peer);
}

static void deliver(struct net_hub *hub, int peer, const struct net_header *header,
                    struct net_arrival *arrival)
{
    struct net_session *session = net_table_find(hub, &header->session);
    if (session == NULL)
        session = park(hub, peer, header);
    if (session == NULL)
        return;
    struct net_box *box = net_session_box(session, peer);
    if (box == NULL)
        return;
    if (box->epoch == 0)
        box->epoch = header->epoch;
    if (box->epoch != header->epoch || box->failed != STATUS_OK)
        return;
    if (header->sequence != box->sequence_in) {
        net_box_fail(session, box, STATUS_PEER, "%s sent frame %llu of the session where %llu was due",
                     hub->peers[peer].name, (unsigned long long)header->sequence,
                     (unsigned long long)box->sequence_in);
        return;
    }
    box->sequence_in++;
    if (header->kind == NET_ERROR)
        take_error(session, box, arrival);
    else
        keep(session, box, header, arrival);
}

void net_deliver(struct net_hub *hub, int peer, const struct net_header *header, struct net_arrival *arrival)
{
    pthread_mutex_lock(&hub->lock);
    deliver(hub, peer, header, arrival);
    pthread_mutex_unlock(&hub->lock);
}

void net_deliver_fault(struct net_hub *hub, int peer, const struct net_header *header, const char *what)
{
    pthread_mutex_lock(&hub->lock);
    struct net_session *session = header != NULL ? net_table_find(hub, &header->session) : NULL;
    bool found = false;
    for (size_t i = 0; session != NULL && i < session->box_count; i++)
        if (session->boxes[i].peer == peer) {
            net_box_fail(session, &session->boxes[i], STATUS_PEER, "%s sent %s", hub->peers[peer].name, what);
            found = true;
        }
    if (!found)
        hub->peers[peer].faults++;
    pthread_mutex_unlock(&hub->lock);
}
