#include "net/hub.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "net/tsan.h"

static void put_code(unsigned char out[4], enum status code)
{
    out[0] = (unsigned char)code;
    out[1] = out[2] = out[3] = 0;
}

/* The reason why nothing more can be sent to or expected from this peer in this session, if there is one.
 * When a party is lost the whole session is: no computation goes on without it. A client that leaves ends its
 * own part only. */
static enum status ended(const struct net_session *session, const struct net_box *box)
{
    const struct net_box *failed = box->failed != STATUS_OK ? box : NULL;
    for (size_t i = 0; failed == NULL && i < session->box_count; i++)
        if (session->boxes[i].failed != STATUS_OK &&
            net_is_party(session->hub->peers[session->boxes[i].peer].role))
            failed = &session->boxes[i];
    return failed == NULL ? STATUS_OK : status_fail(failed->failed, "%s", failed->why);
}

/* Waits until the peer has read enough of what was sent before. The box may have moved meanwhile. */
static enum status wait_credit(struct net_session *session, int peer, struct net_box **box)
{
    struct net_hub *hub = session->hub;
    struct timespec end;
    net_deadline(&end, session->timeout_ms);
    for (bool late = false;;) {
        *box = net_session_box(session, peer);
        if (*box == NULL)
            return status_fail(STATUS_MEMORY, "out of memory for a session");
        enum status status = ended(session, *box);
        if (status != STATUS_OK || net_credit_left(*box, hub->frame_max))
            return status;
        if (hub->stopping)
            return status_fail(STATUS_STOPPED, "%s is shutting down", hub->name);
        if (late)
            return status_fail(STATUS_TIMEOUT, "%s has not read what we sent for %d ms (%llu bytes)",
                               hub->peers[peer].name, session->timeout_ms,
                               (unsigned long long)((*box)->sent - (*box)->sent_read));
        late = pthread_cond_timedwait(&session->arrived, &hub->lock, &end) != 0;
    }
}

/* Puts a frame on its way; on success it belongs to the hub. Errors neither wait nor count. */
static enum status post(struct net_session *session, struct net_frame *frame, enum net_kind kind,
                        uint32_t label)
{
    struct net_hub *hub = session->hub;
    frame->header = (struct net_header){.kind = (uint8_t)kind,
                                        .label = label,
                                        .serial = session->serial,
                                        .length = zmq_msg_size(&frame->pieces[0]),
                                        .epoch = hub->epoch,
                                        .session = session->id};
    enum status status = STATUS_OK;
    bool ring = false;
    pthread_mutex_lock(&hub->lock);
    struct net_box *box = net_session_box(session, frame->peer);
    if (kind != NET_ERROR)
        status = wait_credit(session, frame->peer, &box);
    else if (box == NULL)
        status = STATUS_MEMORY;
    if (status == STATUS_OK) {
        frame->header.sequence = box->sequence_out++;
        frame->target = box->epoch;
        frame->deadline = net_now() + session->timeout_ms;
        box->sent += kind != NET_ERROR ? frame->header.length + NET_FRAME_COST : 0;
        ring = net_hub_post(hub, frame);
    }
    pthread_mutex_unlock(&hub->lock);
    if (ring)
        net_hub_ring(hub);
    return status;
}

static enum status check_send(const struct net_session *session, int peer, enum net_kind kind, size_t bytes)
{
    const struct net_hub *hub = session->hub;
    if (peer < 0 || (size_t)peer >= hub->peer_count)
        return status_fail(STATUS_INPUT, "there is no such peer in the configuration");
    if (kind <= NET_HELLO || kind >= NET_KINDS)
        return status_fail(STATUS_INPUT, "a frame of kind %d cannot be sent", (int)kind);
    if (bytes > hub->frame_max)
        return status_fail(STATUS_INPUT,
                           "a frame of %zu bytes for %s is larger than the limit of %zu (frame_max)", bytes,
                           hub->peers[peer].name, hub->frame_max);
    return STATUS_OK;
}

struct net_frame *net_frame_sized(size_t bytes)
{
    struct net_frame *frame = net_frame_new(1);
    if (frame != NULL && zmq_msg_init_size(&frame->pieces[0], bytes) == 0)
        return frame;
    free(frame);
    status_fail(STATUS_MEMORY, "out of memory for a frame of %zu bytes", bytes);
    return NULL;
}

enum status net_send_frame(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                           struct net_frame *frame)
{
    size_t bytes = zmq_msg_size(&frame->pieces[0]);
    enum status status = check_send(session, peer, kind, bytes);
    frame->peer = peer;
    if (status == STATUS_OK)
        status = post(session, frame, kind, label);
    if (status != STATUS_OK) {
        net_frame_free(frame);
        return status;
    }
    if (kind == NET_ROAD)
        return STATUS_OK; /* the link's own */
    session->counters.sent[session->hub->peers[peer].role] += bytes;
    session->counters.sent_kind[kind] += bytes;
    return STATUS_OK;
}

/* What net_send_owned was given, until libzmq has no more use for it. */
struct owned {
    void (*release)(void *data, void *hint);
    void *hint;
};

static void release_owned(void *data, void *argument)
{
    NET_TAKEN_OVER(argument);
    struct owned owned = *(struct owned *)argument;
    free(argument);
    owned.release(data, owned.hint);
}

enum status net_send_owned(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                           void *data, size_t bytes, void (*release)(void *data, void *hint), void *hint)
{
    if (release == NULL)
        return net_send(session, peer, kind, label, data, bytes);
    struct owned *owned = malloc(sizeof *owned);
    struct net_frame *frame = net_frame_new(1);
    if (owned != NULL)
        *owned = (struct owned){release, hint};
    if (owned == NULL || frame == NULL ||
        zmq_msg_init_data(&frame->pieces[0], data, bytes, release_owned, owned) != 0) {
        free(frame);
        free(owned);
        release(data, hint);
        return status_fail(STATUS_MEMORY, "out of memory for a frame of %zu bytes", bytes);
    }
    NET_HANDED_OVER(owned);
    return net_send_frame(session, peer, kind, label, frame);
}

/* libzmq frees what it has copied as it is, and keeps up to 33 bytes inside the message, which is copied from queue to queue. */
static void release_secret(void *data, void *bytes)
{
    sodium_memzero(data, (size_t)(uintptr_t)bytes);
    free(data);
}

static enum status send_secret(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                               const void *data, size_t bytes)
{
    void *copy = malloc(bytes);
    if (copy == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for a frame of %zu bytes", bytes);
    memcpy(copy, data, bytes);
    return net_send_owned(session, peer, kind, label, copy, bytes, release_secret, (void *)(uintptr_t)bytes);
}

enum status net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                     const void *data, size_t bytes)
{
    enum status status = check_send(session, peer, kind, bytes);
    if (status != STATUS_OK)
        return status;
    if (net_kind_secret(kind) && bytes > 0)
        return send_secret(session, peer, kind, label, data, bytes);
    struct net_frame *frame = net_frame_sized(bytes);
    if (frame == NULL)
        return STATUS_MEMORY;
    if (bytes > 0)
        memcpy(zmq_msg_data(&frame->pieces[0]), data, bytes);
    return net_send_frame(session, peer, kind, label, frame);
}

void net_send_error(struct net_session *session, int peer, enum status code)
{
    char text[NET_WHY];
    if (code <= STATUS_OK || code >= STATUS_CODES || check_send(session, peer, NET_ERROR, 0) != STATUS_OK)
        return;
    status_copy(text, sizeof text);
    size_t bytes = strlen(text);
    struct net_frame *frame = net_frame_sized(4 + bytes);
    if (frame == NULL)
        return;
    unsigned char *data = zmq_msg_data(&frame->pieces[0]);
    put_code(data, code);
    memcpy(data + 4, text, bytes);
    frame->peer = peer;
    if (post(session, frame, NET_ERROR, 0) != STATUS_OK)
        net_frame_free(frame);
}

/* However patient a session is, a peer that is not even there gets the hub's own time only. */
static int absence_ms(const struct net_session *session)
{
    return session->timeout_ms < session->hub->timeout_ms ? session->timeout_ms : session->hub->timeout_ms;
}

static enum status silent(struct net_session *session, int peer, enum net_kind kind, uint32_t label)
{
    const struct net_peer_state *state = &session->hub->peers[peer];
    if (state->up)
        return status_fail(STATUS_TIMEOUT, "%s was silent for %d ms while we waited for %s %u", state->name,
                           session->timeout_ms, net_kind_name(kind), label);
    if (state->endpoint != NULL)
        return status_fail(STATUS_TIMEOUT, "%s at %s cannot be reached (tried for %d ms); is it running?",
                           state->name, state->endpoint, absence_ms(session));
    return status_fail(STATUS_TIMEOUT, "%s is not connected to us (waited %d ms); is it running?",
                       state->name, absence_ms(session));
}

/* Waits for the next frame of a peer, whatever it is. */
static enum status wait_frame(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                              struct net_frame **out)
{
    struct net_hub *hub = session->hub;
    struct timespec end;
    int left_ms = session->timeout_ms - absence_ms(session);
    net_deadline(&end, absence_ms(session));
    pthread_mutex_lock(&hub->lock);
    bool late = false, ring = false;
    enum status status = STATUS_OK;
    struct net_frame *frame = NULL;
    while (status == STATUS_OK && frame == NULL) {
        /* Looked up each time: boxes move when another peer's first frame comes. */
        struct net_box *box = net_session_box(session, peer);
        if (box == NULL)
            status = status_fail(STATUS_MEMORY, "out of memory for a session");
        else if ((frame = net_frame_pop(&box->frames)) != NULL)
            ring = net_credit_read(session, box, frame->header.length);
        else if ((status = ended(session, box)) != STATUS_OK)
            break;
        else if (hub->stopping)
            status = status_fail(STATUS_STOPPED, "%s is shutting down", hub->name);
        else if (late && left_ms > 0 && hub->peers[peer].up) {
            net_deadline(&end, left_ms);
            left_ms = 0;
            late = false;
        } else if (late)
            status = silent(session, peer, kind, label);
        else
            late = pthread_cond_timedwait(&session->arrived, &hub->lock, &end) != 0;
    }
    pthread_mutex_unlock(&hub->lock);
    if (ring)
        net_hub_ring(hub);
    *out = frame;
    return status;
}

enum status net_session_fail(struct net_session *session, int peer, enum status code)
{
    pthread_mutex_lock(&session->hub->lock);
    struct net_box *box = net_session_box(session, peer);
    if (box != NULL) {
        net_frame_clear(&box->frames);
        net_box_fail(session, box, code, "%s", status_message());
    }
    pthread_mutex_unlock(&session->hub->lock);
    return code;
}

enum status net_violation(struct net_session *session, int peer, const char *format, ...)
{
    char what[NET_WHY];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    status_fail(STATUS_PEER, "%s %s", session->hub->peers[peer].name, what);
    return net_session_fail(session, peer, STATUS_PEER);
}

enum status net_session_ended(struct net_session *session, int peer, int wait_ms)
{
    struct net_hub *hub = session->hub;
    struct timespec end;
    enum status status = STATUS_OK;
    net_deadline(&end, wait_ms);
    pthread_mutex_lock(&hub->lock);
    for (bool late = false; status == STATUS_OK && !late;) {
        const struct net_box *box = net_session_box(session, peer);
        if (box == NULL)
            status = status_fail(STATUS_MEMORY, "out of memory for a session");
        else if ((status = ended(session, box)) != STATUS_OK)
            break;
        else if (hub->stopping)
            status = status_fail(STATUS_STOPPED, "%s is shutting down", hub->name);
        else
            late = wait_ms == 0 || pthread_cond_timedwait(&session->arrived, &hub->lock, &end) != 0;
    }
    pthread_mutex_unlock(&hub->lock);
    return status;
}

static enum status check_frame(struct net_session *session, const struct net_frame *frame, enum net_kind kind,
                               uint32_t label, bool exact, size_t bytes)
{
    const char *name = session->hub->peers[frame->peer].name;
    const struct net_header *header = &frame->header;
    if (header->kind != kind || header->label != label)
        status_fail(STATUS_PEER, "%s sent %s %u where %s %u was due", name, net_kind_name(header->kind),
                    header->label, net_kind_name(kind), label);
    else if ((kind == NET_ROUND || kind == NET_DEAL) && header->serial != session->serial)
        status_fail(STATUS_PEER, "%s sent %s %u of bundle %llu while we work on bundle %llu", name,
                    net_kind_name(kind), label, (unsigned long long)header->serial,
                    (unsigned long long)session->serial);
    else if (exact && header->length != bytes)
        status_fail(STATUS_PEER, "%s sent %llu bytes in %s %u where %zu were due", name,
                    (unsigned long long)header->length, net_kind_name(kind), label, bytes);
    else if (!exact && header->length > bytes)
        status_fail(STATUS_PEER, "%s sent a %s of %llu bytes; at most %zu are taken", name,
                    net_kind_name(kind), (unsigned long long)header->length, bytes);
    else
        return STATUS_OK;
    return net_session_fail(session, frame->peer, STATUS_PEER);
}

static enum status receive(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                           bool exact, size_t bytes, struct net_frame **out)
{
    *out = NULL;
    enum status status = check_send(session, peer, kind, 0);
    if (status != STATUS_OK)
        return status;
    struct net_frame *frame;
    status = wait_frame(session, peer, kind, label, &frame);
    if (status != STATUS_OK)
        return status;
    status = check_frame(session, frame, kind, label, exact, bytes);
    if (status != STATUS_OK) {
        net_frame_free(frame);
        return status;
    }
    if (kind != NET_ROAD) {
        session->counters.received[session->hub->peers[peer].role] += frame->header.length;
        session->counters.received_kind[kind] += frame->header.length;
    }
    *out = frame;
    return STATUS_OK;
}

enum status net_receive(struct net_session *session, int peer, enum net_kind kind, uint32_t label, void *data,
                        size_t bytes)
{
    struct net_frame *frame;
    enum status status = receive(session, peer, kind, label, true, bytes, &frame);
    if (status == STATUS_OK && bytes > 0)
        net_frame_copy(frame, 0, data, bytes);
    net_frame_free(frame);
    return status;
}

enum status net_receive_frame(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                              size_t bytes, struct net_frame **frame)
{
    return receive(session, peer, kind, label, true, bytes, frame);
}

enum status net_receive_text(struct net_session *session, int peer, enum net_kind kind, char **text,
                             size_t max)
{
    *text = NULL;
    struct net_frame *frame;
    enum status status = receive(session, peer, kind, 0, false, max, &frame);
    if (status != STATUS_OK)
        return status;
    status = net_frame_text(frame, text, session->hub->peers[peer].name);
    net_frame_free(frame);
    return status == STATUS_PEER ? net_session_fail(session, peer, STATUS_PEER) : status;
}
