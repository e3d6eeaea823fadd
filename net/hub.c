#include "net/link.h"
#include "net/road.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "ring/signals.h"

#define TIMEOUT_MS 20000

#ifdef __SANITIZE_THREAD__
/* Compiled in only for the thread sanitizer: it must not judge libzmq's inner hand-overs, which are atomic
 * but not instrumented. Our own uses of what libzmq hands over are judged, by the notes of tsan.h. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libzmq.so\ncalled_from_lib:libsodium.so\n";
}
#endif

static bool is_secure(const char *endpoint)
{
    return endpoint != NULL && strncmp(endpoint, "inproc://", 9) != 0;
}

static bool is_key(const char key[NET_KEY_TEXT])
{
    uint8_t binary[32];
    bool valid =
        memchr(key, '\0', NET_KEY_TEXT) == key + NET_KEY_TEXT - 1 && zmq_z85_decode(binary, key) != NULL;
    sodium_memzero(binary, sizeof binary);
    return valid;
}

static bool is_name(const char *name)
{
    size_t length = strnlen(name, NET_NAME_MAX);
    for (size_t i = 0; i < length; i++)
        if (name[i] <= 0x20 || name[i] >= 0x7f)
            return false;
    return length > 0 && length < NET_NAME_MAX;
}

static enum status check_peer(const struct net_options *options, size_t index)
{
    const struct net_peer *peer = &options->peers[index];
    if (!is_name(peer->name))
        return status_fail(STATUS_INPUT,
                           "peer %zu needs a name of 1 to %d printable characters without spaces", index,
                           NET_NAME_MAX - 1);
    if ((unsigned)peer->role >= NET_ROLES)
        return status_fail(STATUS_INPUT, "peer %s has no role", peer->name);
    if (peer->endpoint != NULL && strlen(peer->endpoint) >= NET_ENDPOINT_MAX)
        return status_fail(STATUS_INPUT, "the endpoint of %s is too long", peer->name);
    bool needed = is_secure(peer->endpoint) || is_secure(options->bind) || peer->public_key[0] != '\0';
    if (needed && !is_key(peer->public_key))
        return status_fail(STATUS_INPUT, "the public key of %s is not 40 characters of Z85 text", peer->name);
    for (size_t i = 0; i < index; i++) {
        const struct net_peer *other = &options->peers[i];
        if (strcmp(other->name, peer->name) == 0)
            return status_fail(STATUS_INPUT, "two peers are called %s", peer->name);
        if (peer->public_key[0] != '\0' && strcmp(other->public_key, peer->public_key) == 0)
            return status_fail(STATUS_INPUT, "%s and %s have the same public key", other->name, peer->name);
        if (net_is_party(peer->role) && other->role == peer->role)
            return status_fail(STATUS_INPUT, "%s and %s have the same role, but there is one P%d only",
                               other->name, peer->name, (int)peer->role);
    }
    return STATUS_OK;
}

static enum status check_options(const struct net_options *options)
{
    if (options->name == NULL || !is_name(options->name))
        return status_fail(STATUS_INPUT,
                           "this process needs a name of 1 to %d printable characters without spaces",
                           NET_NAME_MAX - 1);
    if (options->peer_count > NET_PEERS_MAX || (unsigned)options->role >= NET_ROLES)
        return status_fail(STATUS_INPUT, "at most %d peers can be listed", NET_PEERS_MAX);
    bool secure = is_secure(options->bind);
    for (size_t i = 0; i < options->peer_count; i++) {
        enum status status = check_peer(options, i);
        if (status != STATUS_OK)
            return status;
        secure |= is_secure(options->peers[i].endpoint);
    }
    if (!secure)
        return STATUS_OK;
    char public_key[NET_KEY_TEXT];
    enum status status = net_public(public_key, options->secret_key);
    if (status == STATUS_OK && strncmp(public_key, options->public_key, NET_KEY_TEXT) != 0)
        status = status_fail(STATUS_INPUT, "our public key does not belong to our secret key");
    return status;
}

static enum status copy_options(struct net_hub *hub, const struct net_options *options)
{
    snprintf(hub->name, sizeof hub->name, "%s", options->name);
    hub->role = options->role;
    memcpy(hub->public_key, options->public_key, NET_KEY_TEXT);
    memcpy(hub->secret_key, options->secret_key, NET_KEY_TEXT);
    hub->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    hub->frame_max = options->frame_max > 0 ? options->frame_max : NET_FRAME_MAX;
    hub->fast_links = options->fast_links;
    hub->link_rate = options->link_rate;
    hub->link_delay_ms = options->link_delay_ms;
    while (hub->epoch == 0)
        randombytes_buf(&hub->epoch, sizeof hub->epoch);
    hub->peer_count = options->peer_count;
    for (size_t i = 0; i < options->peer_count; i++) {
        struct net_peer_state *peer = &hub->peers[i];
        snprintf(peer->name, sizeof peer->name, "%s", options->peers[i].name);
        snprintf(peer->public_key, sizeof peer->public_key, "%.*s", NET_KEY_TEXT - 1,
                 options->peers[i].public_key);
        peer->role = options->peers[i].role;
        if (options->peers[i].endpoint != NULL &&
            (peer->endpoint = strdup(options->peers[i].endpoint)) == NULL)
            return status_fail(STATUS_MEMORY, "out of memory for the peers");
    }
    return STATUS_OK;
}

/* Asked by the key checker's thread; looks only at what never changes after net_hub_open. */
static bool allow(void *argument, const char *key)
{
    struct net_hub *hub = argument;
    for (size_t i = 0; i < hub->peer_count; i++)
        if (strcmp(hub->peers[i].public_key, key) == 0)
            return true;
    atomic_fetch_add(&hub->refused, 1);
    return false;
}

static enum status open_sockets(struct net_hub *hub, void *context, const struct net_options *options)
{
    enum status status = STATUS_OK;
    hub->context = context != NULL ? context : zmq_ctx_new();
    hub->own_context = context == NULL;
    if (hub->context == NULL)
        return status_fail(STATUS_IO, "cannot start ZeroMQ: %s", zmq_strerror(zmq_errno()));
    if (options->bind != NULL) {
        if (is_secure(options->bind))
            status = net_zap_open(&hub->zap, hub->context, hub->zap_domain, allow, hub);
        if (status == STATUS_OK)
            status = net_link_listen(hub, options->bind);
        if (status == STATUS_OK)
            status = net_door_open(hub, options);
    }
    for (size_t i = 0; status == STATUS_OK && i < hub->peer_count; i++)
        if (hub->peers[i].endpoint != NULL)
            status = net_link_dial(hub, (int)i);
    return status;
}

static enum status start(struct net_hub *hub)
{
    const sigset_t before = signals_hold();
    int error = pthread_create(&hub->thread, NULL, net_hub_loop, hub);
    signals_release(before);
    if (error != 0)
        return status_fail(STATUS_IO, "cannot start the network thread: %s", strerror(error));
    hub->started = true;
    return STATUS_OK;
}

static void init_waiting(struct net_hub *hub)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&hub->requested, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&hub->lock, NULL);
    hub->last_request = &hub->requests;
    hub->door.fd = -1;
    zmq_msg_init(&hub->arrival.route);
    zmq_msg_init(&hub->arrival.header);
}

/* libzmq allocates and frees each large message several times over; from fresh pages each time that costs as
 * much as the encryption does. Both values are the largest that glibc takes or more than a round needs. */
static void keep_pages(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

enum status net_hub_open(struct net_hub **out, void *context, const struct net_options *options)
{
    if (sodium_init() < 0)
        return status_fail(STATUS_IO, "cannot start libsodium");
    enum status status = check_options(options);
    if (status != STATUS_OK)
        return status;
    struct net_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for the hub");
    keep_pages();
    init_waiting(hub);
    hub->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hub->bell < 0)
        status = status_fail(STATUS_IO, "cannot make an event descriptor: %s", strerror(errno));
    if (status == STATUS_OK)
        status = copy_options(hub, options);
    if (status == STATUS_OK)
        status = open_sockets(hub, context, options);
    if (status == STATUS_OK)
        status = start(hub);
    if (status != STATUS_OK)
        net_hub_close(&hub);
    else
        *out = hub;
    return status;
}

void net_hub_close(struct net_hub **out)
{
    if (out == NULL || *out == NULL)
        return;
    struct net_hub *hub = *out;
    atomic_store(&hub->quit, true);
    if (hub->started) {
        net_hub_ring(hub);
        pthread_join(hub->thread, NULL);
    } else {
        net_links_close(hub);
        net_door_close(hub);
    }
    net_zap_close(&hub->zap);
    if (hub->own_context && hub->context != NULL)
        zmq_ctx_term(hub->context);
    net_frame_clear(&hub->out);
    net_shape_clear(hub);
    net_table_clear(hub);
    for (size_t i = 0; i < hub->peer_count; i++)
        free(hub->peers[i].endpoint);
    if (hub->bell >= 0)
        close(hub->bell);
    pthread_cond_destroy(&hub->requested);
    pthread_mutex_destroy(&hub->lock);
    sodium_memzero(hub, sizeof *hub);
    free(hub);
    *out = NULL;
}

int net_hub_peer(const struct net_hub *hub, enum net_role role)
{
    for (size_t i = 0; i < hub->peer_count; i++)
        if (hub->peers[i].role == role)
            return (int)i;
    return -1;
}

static bool is_peer(const struct net_hub *hub, int peer)
{
    return peer >= 0 && (size_t)peer < hub->peer_count;
}

const char *net_hub_peer_name(const struct net_hub *hub, int peer)
{
    return is_peer(hub, peer) ? hub->peers[peer].name : "nobody";
}

enum net_role net_hub_peer_role(const struct net_hub *hub, int peer)
{
    return is_peer(hub, peer) ? hub->peers[peer].role : NET_ROLES;
}

/* Whether it was heard of lately; *process: its epoch. */
static bool is_up(const struct net_hub *hub, int peer, uint64_t *process)
{
    if (!is_peer(hub, peer))
        return false;
    pthread_mutex_t *lock = (pthread_mutex_t *)&hub->lock;
    pthread_mutex_lock(lock);
    bool up = hub->peers[peer].up && net_now() - hub->peers[peer].heard < NET_SILENCE_MS;
    *process = hub->peers[peer].epoch;
    pthread_mutex_unlock(lock);
    return up;
}

bool net_hub_peer_up(const struct net_hub *hub, int peer)
{
    uint64_t process;
    return is_up(hub, peer, &process);
}

uint64_t net_hub_peer_process(const struct net_hub *hub, int peer)
{
    uint64_t process;
    return is_up(hub, peer, &process) ? process : 0;
}

uint64_t net_hub_peer_faults(const struct net_hub *hub, int peer)
{
    if (!is_peer(hub, peer))
        return 0;
    pthread_mutex_t *lock = (pthread_mutex_t *)&hub->lock;
    pthread_mutex_lock(lock);
    uint64_t faults = hub->peers[peer].faults;
    pthread_mutex_unlock(lock);
    return faults;
}

unsigned long net_hub_refused(const struct net_hub *hub)
{
    return atomic_load(&hub->refused);
}

int net_hub_unaccepted(struct net_hub *hub)
{
    return atomic_exchange(&hub->unaccepted, 0);
}

const char *net_hub_endpoint(const struct net_hub *hub)
{
    return hub->endpoint;
}

bool net_hub_post(struct net_hub *hub, struct net_frame *frame)
{
    bool first = hub->out.first == NULL;
    net_frame_push(&hub->out, frame);
    return first;
}

void net_hub_ring(struct net_hub *hub)
{
    uint64_t one = 1;
    while (write(hub->bell, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

void net_hub_stop(struct net_hub *hub)
{
    int error = errno;
    atomic_store(&hub->stop, true);
    net_hub_ring(hub);
    errno = error;
}

/* Turns the request into the session's text; false when it cannot be one. */
static bool take_request(struct net_session *session, struct net_box *box)
{
    struct net_frame *frame = net_frame_pop(&box->frames);
    const struct net_peer_state *peer = &session->hub->peers[box->peer];
    bool good = frame->header.label == 0 && frame->header.length <= NET_TEXT_MAX &&
                net_frame_text(frame, &session->request, peer->name) == STATUS_OK;
    if (good) {
        if (net_credit_read(session, box, frame->header.length))
            net_hub_ring(session->hub);
        session->counters.received[peer->role] += frame->header.length;
        session->counters.received_kind[NET_REQUEST] += frame->header.length;
    }
    net_frame_free(frame);
    return good;
}

/* The first session that waits to be accepted, opened; requests that are not texts are dropped on the way. */
static struct net_session *next_request(struct net_hub *hub, int *peer)
{
    while (hub->requests != NULL) {
        struct net_session *session = hub->requests;
        struct net_box *box = NULL;
        for (size_t i = 0; i < session->box_count; i++)
            if (session->boxes[i].frames.first != NULL &&
                session->boxes[i].frames.first->header.kind == NET_REQUEST)
                box = &session->boxes[i];
        net_session_unpark(session);
        if (box != NULL && take_request(session, box)) {
            *peer = box->peer;
            return session;
        }
        net_table_remove(session);
    }
    return NULL;
}

enum status net_hub_accept(struct net_hub *hub, struct net_session **out, int *peer, const char **payload,
                           int wait_ms)
{
    struct timespec end;
    net_deadline(&end, wait_ms);
    pthread_mutex_lock(&hub->lock);
    enum status status = STATUS_OK;
    struct net_session *session = NULL;
    bool late = false;
    while (status == STATUS_OK && session == NULL) {
        if (hub->stopping)
            status = status_fail(STATUS_STOPPED, "%s is shutting down", hub->name);
        else if ((session = next_request(hub, peer)) != NULL)
            break;
        else if (late)
            status = status_fail(STATUS_TIMEOUT, "no request within %d ms", wait_ms);
        else if (wait_ms < 0)
            pthread_cond_wait(&hub->requested, &hub->lock);
        else
            late = pthread_cond_timedwait(&hub->requested, &hub->lock, &end) != 0;
    }
    pthread_mutex_unlock(&hub->lock);
    *out = session;
    *payload = session != NULL ? session->request : NULL;
    return status;
}
