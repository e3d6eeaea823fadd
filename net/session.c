#include "net/road.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include <sodium.h>

static bool same(const struct net_session_id *a, const struct net_session_id *b)
{
    return memcmp(a->bytes, b->bytes, NET_SESSION_BYTES) == 0;
}

/* Ids are random, and a peer that chooses them badly only lengthens the chain of its own sessions. */
static size_t chain(const struct net_session_id *id)
{
    return (id->bytes[0] | (size_t)id->bytes[1] << 8) % NET_TABLE;
}

struct net_session *net_table_find(struct net_hub *hub, const struct net_session_id *id)
{
    struct net_session *session = hub->table[chain(id)];
    while (session != NULL && !same(&session->id, id))
        session = session->next;
    return session;
}

bool net_table_was_closed(const struct net_hub *hub, const struct net_session_id *id)
{
    size_t count = hub->closed_count < NET_CLOSED ? hub->closed_count : NET_CLOSED;
    for (size_t i = 0; i < count; i++)
        if (same(&hub->closed[i], id))
            return true;
    return false;
}

struct net_session *net_table_add(struct net_hub *hub, const struct net_session_id *id,
                                  enum net_session_state state)
{
    struct net_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&session->arrived, &monotonic);
    pthread_condattr_destroy(&monotonic);
    session->hub = hub;
    session->id = *id;
    session->state = state;
    session->parked_by = session->wake = session->caller = -1;
    session->timeout_ms = hub->timeout_ms;
    session->next = hub->table[chain(id)];
    hub->table[chain(id)] = session;
    return session;
}

static void unlist_request(struct net_session *session)
{
    struct net_hub *hub = session->hub;
    for (struct net_session **at = &hub->requests; *at != NULL; at = &(*at)->next_request) {
        if (*at != session)
            continue;
        *at = session->next_request;
        if (hub->last_request == &session->next_request)
            hub->last_request = at;
        session->next_request = NULL;
        return;
    }
}

void net_session_unpark(struct net_session *session)
{
    if (session->state == NET_SESSION_OPEN)
        return;
    if (session->state == NET_SESSION_REQUESTED)
        unlist_request(session);
    struct net_peer_state *peers = session->hub->peers;
    for (size_t i = 0; i < session->box_count; i++)
        peers[session->boxes[i].peer].parked_bytes -= session->boxes[i].frames.bytes;
    if (session->parked_by >= 0)
        peers[session->parked_by].parked_sessions--;
    session->state = NET_SESSION_OPEN;
}

void net_table_remove(struct net_session *session)
{
    struct net_hub *hub = session->hub;
    net_session_unpark(session);
    struct net_session **at = &hub->table[chain(&session->id)];
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    hub->closed[hub->closed_count++ % NET_CLOSED] = session->id;
    for (size_t i = 0; i < session->box_count; i++)
        net_frame_clear(&session->boxes[i].frames);
    pthread_cond_destroy(&session->arrived);
    if (session->wake >= 0)
        close(session->wake);
    if (session->caller >= 0)
        close(session->caller);
    sodium_memzero(session->ticket, sizeof session->ticket);
    free(session->boxes);
    free(session->request);
    free(session);
}

struct net_box *net_session_box(struct net_session *session, int peer)
{
    for (size_t i = 0; i < session->box_count; i++)
        if (session->boxes[i].peer == peer)
            return &session->boxes[i];
    struct net_box *boxes = realloc(session->boxes, (session->box_count + 1) * sizeof *boxes);
    if (boxes == NULL)
        return NULL;
    session->boxes = boxes;
    struct net_box *box = &boxes[session->box_count++];
    memset(box, 0, sizeof *box);
    box->peer = peer;
    box->epoch = session->hub->peers[peer].epoch;
    return box;
}

/* Whatever its thread waits for. */
static void wake(struct net_session *session)
{
    pthread_cond_broadcast(&session->arrived);
    if (session->wake >= 0)
        eventfd_write(session->wake, 1);
}

void net_box_fail(struct net_session *session, struct net_box *box, enum status code, const char *format, ...)
{
    if (box->failed != STATUS_OK)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(box->why, sizeof box->why, format, arguments);
    va_end(arguments);
    box->failed = code;
    wake(session);
}

static struct net_box *box_of(struct net_session *session, int peer)
{
    for (size_t i = 0; i < session->box_count; i++)
        if (session->boxes[i].peer == peer)
            return &session->boxes[i];
    return NULL;
}

void net_table_fail(struct net_hub *hub, int peer, uint64_t epoch, enum status code, const char *why)
{
    for (size_t i = 0; i < NET_TABLE; i++)
        for (struct net_session *session = hub->table[i]; session != NULL; session = session->next) {
            struct net_box *box = box_of(session, peer);
            if (box != NULL && (epoch == 0 || box->epoch == epoch))
                net_box_fail(session, box, code, "%s", why);
        }
}

void net_table_bind(struct net_hub *hub, int peer, uint64_t epoch)
{
    for (size_t i = 0; i < NET_TABLE; i++)
        for (struct net_session *session = hub->table[i]; session != NULL; session = session->next) {
            struct net_box *box = box_of(session, peer);
            if (box != NULL && box->epoch == 0)
                box->epoch = epoch;
            else if (box != NULL && box->epoch != epoch)
                net_box_fail(session, box, STATUS_STOPPED,
                             "%s restarted; what ran with it has to be started again", hub->peers[peer].name);
        }
}

void net_table_age(struct net_hub *hub, int64_t now)
{
    for (size_t i = 0; i < NET_TABLE; i++)
        for (struct net_session *session = hub->table[i], *next; session != NULL; session = next) {
            next = session->next;
            if (session->state != NET_SESSION_OPEN && now - session->parked_at > hub->timeout_ms)
                net_table_remove(session);
        }
}

void net_table_wake(struct net_hub *hub)
{
    for (size_t i = 0; i < NET_TABLE; i++)
        for (struct net_session *session = hub->table[i]; session != NULL; session = session->next)
            wake(session);
    pthread_cond_broadcast(&hub->requested);
}

void net_table_clear(struct net_hub *hub)
{
    for (size_t i = 0; i < NET_TABLE; i++)
        while (hub->table[i] != NULL) {
            assert(hub->table[i]->state != NET_SESSION_OPEN); /* close sessions before their hub */
            net_table_remove(hub->table[i]);
        }
}

enum status net_session_open(struct net_session **out, struct net_hub *hub, const struct net_session_id *id)
{
    struct net_session_id fresh;
    if (id == NULL) {
        randombytes_buf(fresh.bytes, sizeof fresh.bytes);
        id = &fresh;
    }
    enum status status = STATUS_OK;
    pthread_mutex_lock(&hub->lock);
    struct net_session *session = net_table_find(hub, id);
    if (session != NULL && session->state == NET_SESSION_OPEN)
        status = status_fail(STATUS_STATE, "this session is open already");
    else if (session != NULL)
        net_session_unpark(session);
    else if (net_table_was_closed(hub, id))
        status = status_fail(STATUS_STATE, "this session was closed here before; a new one is needed");
    else if ((session = net_table_add(hub, id, NET_SESSION_OPEN)) == NULL)
        status = status_fail(STATUS_MEMORY, "out of memory for a session");
    pthread_mutex_unlock(&hub->lock);
    if (status == STATUS_OK)
        *out = session;
    return status;
}

void net_session_close(struct net_session **session)
{
    if (session == NULL || *session == NULL)
        return;
    struct net_hub *hub = (*session)->hub;
    net_road_close(&(*session)->road);
    pthread_mutex_lock(&hub->lock);
    net_table_remove(*session);
    pthread_mutex_unlock(&hub->lock);
    *session = NULL;
}

struct net_session_id net_session_id(const struct net_session *session)
{
    return session->id;
}

const struct net_counters *net_session_counters(const struct net_session *session)
{
    return &session->counters;
}

const struct net_times *net_session_times(const struct net_session *session)
{
    return &session->times;
}

void net_session_timeout(struct net_session *session, int timeout_ms)
{
    session->timeout_ms = timeout_ms > 0 ? timeout_ms : session->hub->timeout_ms;
}

void net_session_bundle(struct net_session *session, uint64_t serial)
{
    session->serial = serial;
}
