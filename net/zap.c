#include "net/zap.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <zmq.h>

#include "ring/signals.h"

#define ENDPOINT "inproc://zeromq.zap.01"
#define KEY_BYTES 32

/* One registered domain. */
struct net_zap {
    struct net_zap *next;
    struct service *service;
    char domain[NET_ZAP_DOMAIN];
    bool (*allow)(void *hub, const char *key);
    void *hub;
};

/* The handler of one context. */
struct service {
    struct service *next;
    void *context, *socket;
    int quit; /* eventfd */
    pthread_t thread;
    struct net_zap *domains;
};

/* Guards the list of services; held while one starts or ends, so that two never fight for one endpoint. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct service *services;
static unsigned long domain_count;
/* Guards the lists of domains; held while allow runs, so that a closed domain is not asked any more. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool allowed(struct service *service, const char *domain, const char *key)
{
    bool yes = false;
    pthread_mutex_lock(&lock);
    for (struct net_zap *zap = service->domains; zap != NULL; zap = zap->next)
        if (strcmp(zap->domain, domain) == 0)
            yes = zap->allow(zap->hub, key);
    pthread_mutex_unlock(&lock);
    return yes;
}

/* Reads all parts of a request; returns how many there were, of which at most max are kept. Requests come
 * from libzmq itself, only the credentials and the identity are a peer's. */
static int read_request(void *socket, zmq_msg_t *parts, int max)
{
    int count = 0, more = 1;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, count == 0 ? ZMQ_DONTWAIT : 0) < 0) {
            zmq_msg_close(&part);
            return count;
        }
        more = zmq_msg_more(&part);
        if (count < max)
            zmq_msg_move(&parts[count], &part);
        zmq_msg_close(&part);
        count++;
    }
    return count;
}

static bool is_text(zmq_msg_t *part, const char *text)
{
    return zmq_msg_size(part) == strlen(text) && memcmp(zmq_msg_data(part), text, strlen(text)) == 0;
}

static void answer(struct service *service)
{
    /* version, request id, domain, address, identity, mechanism, key */
    zmq_msg_t parts[7];
    for (int i = 0; i < 7; i++)
        zmq_msg_init(&parts[i]);
    int count = read_request(service->socket, parts, 7);
    if (count > 0) {
        char key[NET_KEY_TEXT] = "", domain[NET_ZAP_DOMAIN] = "";
        bool yes = false;
        if (count == 7 && is_text(&parts[0], "1.0") && is_text(&parts[5], "CURVE") &&
            zmq_msg_size(&parts[6]) == KEY_BYTES && zmq_msg_size(&parts[2]) < sizeof domain) {
            memcpy(domain, zmq_msg_data(&parts[2]), zmq_msg_size(&parts[2]));
            zmq_z85_encode(key, zmq_msg_data(&parts[6]), KEY_BYTES);
            yes = allowed(service, domain, key);
        }
        zmq_send(service->socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_msg_send(&parts[1], service->socket, ZMQ_SNDMORE);
        zmq_send(service->socket, yes ? "200" : "400", 3, ZMQ_SNDMORE);
        zmq_send(service->socket, yes ? "OK" : "No", 2, ZMQ_SNDMORE);
        zmq_send(service->socket, key, yes ? strlen(key) : 0, ZMQ_SNDMORE);
        zmq_send(service->socket, "", 0, 0);
    }
    for (int i = 0; i < 7; i++)
        zmq_msg_close(&parts[i]);
}

static void *serve(void *argument)
{
    struct service *service = argument;
    zmq_pollitem_t items[2] = {{.socket = service->socket, .events = ZMQ_POLLIN},
                               {.fd = service->quit, .events = ZMQ_POLLIN}};
    for (;;) {
        if (zmq_poll(items, 2, -1) < 0 && zmq_errno() != EINTR)
            break;
        if (items[1].revents)
            break;
        if (items[0].revents)
            answer(service);
    }
    /* Unbound here and now, so that another handler may take the name: closing alone is done later,
     * elsewhere. */
    zmq_unbind(service->socket, ENDPOINT);
    zmq_close(service->socket);
    return NULL;
}

static enum status start(struct service *service)
{
    const sigset_t before = signals_hold();
    int error = pthread_create(&service->thread, NULL, serve, service);
    signals_release(before);
    if (error != 0)
        return status_fail(STATUS_IO, "cannot start the key checker's thread: %s", strerror(error));
    return STATUS_OK;
}

static enum status service_open(struct service **out, void *context)
{
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for the key checker");
    service->context = context;
    service->quit = eventfd(0, EFD_CLOEXEC);
    service->socket = zmq_socket(context, ZMQ_REP);
    enum status status = STATUS_OK;
    int linger = 0;
    if (service->quit < 0 || service->socket == NULL)
        status = status_fail(STATUS_IO, "cannot open the key checker: %s", zmq_strerror(zmq_errno()));
    else if (zmq_setsockopt(service->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
             zmq_bind(service->socket, ENDPOINT) != 0)
        status = status_fail(STATUS_IO, "cannot open the key checker at " ENDPOINT ": %s",
                             zmq_strerror(zmq_errno()));
    else
        status = start(service);
    if (status == STATUS_OK) {
        *out = service;
        return STATUS_OK;
    }
    if (service->socket != NULL)
        zmq_close(service->socket);
    if (service->quit >= 0)
        close(service->quit);
    free(service);
    return status;
}

static struct service *service_find(void *context)
{
    for (struct service *service = services; service != NULL; service = service->next)
        if (service->context == context)
            return service;
    return NULL;
}

enum status net_zap_open(struct net_zap **out, void *context, char domain[NET_ZAP_DOMAIN],
                         bool (*allow)(void *hub, const char *key), void *hub)
{
    struct net_zap *zap = calloc(1, sizeof *zap);
    if (zap == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for the key checker");
    zap->allow = allow;
    zap->hub = hub;
    pthread_mutex_lock(&registry);
    enum status status = STATUS_OK;
    zap->service = service_find(context);
    if (zap->service == NULL) {
        status = service_open(&zap->service, context);
        if (status == STATUS_OK) {
            zap->service->next = services;
            services = zap->service;
        }
    }
    if (status == STATUS_OK) {
        snprintf(zap->domain, sizeof zap->domain, "trefoil-%lu", ++domain_count);
        memcpy(domain, zap->domain, NET_ZAP_DOMAIN);
        pthread_mutex_lock(&lock);
        zap->next = zap->service->domains;
        zap->service->domains = zap;
        pthread_mutex_unlock(&lock);
        *out = zap;
    } else {
        free(zap);
    }
    pthread_mutex_unlock(&registry);
    return status;
}

static void service_close(struct service *service)
{
    for (struct service **at = &services; *at != NULL; at = &(*at)->next)
        if (*at == service) {
            *at = service->next;
            break;
        }
    uint64_t one = 1;
    if (write(service->quit, &one, sizeof one) == sizeof one)
        pthread_join(service->thread, NULL);
    close(service->quit);
    free(service);
}

void net_zap_close(struct net_zap **zap)
{
    if (zap == NULL || *zap == NULL)
        return;
    pthread_mutex_lock(&registry);
    struct service *service = (*zap)->service;
    pthread_mutex_lock(&lock);
    for (struct net_zap **at = &service->domains; *at != NULL; at = &(*at)->next)
        if (*at == *zap) {
            *at = (*zap)->next;
            break;
        }
    bool last = service->domains == NULL;
    pthread_mutex_unlock(&lock);
    if (last)
        service_close(service);
    pthread_mutex_unlock(&registry);
    free(*zap);
    *zap = NULL;
}
