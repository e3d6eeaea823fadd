#include "net/road.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "net/link.h"
#include "ring/signals.h"

#define LATEST_MS 5000 /* how long the socket may take nothing before the rest is dropped */

/* A record on the line. */
struct passing {
    struct passing *next;
    int64_t due;
    size_t bytes;
    unsigned char data[];
};

struct net_road_line {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t put;
    struct passing *first, **last;
    bool closing, broken;
    int fd, peer;
    struct net_hub *hub;
};

static bool send_all(int fd, const unsigned char *data, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t went = send(fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (went >= 0) {
            data += went;
            bytes -= (size_t)went;
        } else if (errno == EAGAIN) {
            if (poll(&wait, 1, LATEST_MS) == 0)
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* The next record once it is due; NULL when the line closes and is empty. Under lock. */
static struct passing *next_due(struct net_road_line *line)
{
    for (;;) {
        struct passing *first = line->first;
        if (first == NULL && line->closing)
            return NULL;
        if (first == NULL) {
            pthread_cond_wait(&line->put, &line->lock);
            continue;
        }
        if (first->due <= net_nanoseconds()) {
            line->first = first->next;
            if (line->first == NULL)
                line->last = &line->first;
            return first;
        }
        const struct timespec due = {first->due / 1000000000, first->due % 1000000000};
        pthread_cond_timedwait(&line->put, &line->lock, &due);
    }
}

static void *run_line(void *argument)
{
    struct net_road_line *line = argument;
    prctl(PR_SET_TIMERSLACK, 1000); /* nanoseconds; 50 microseconds are usual */
    pthread_mutex_lock(&line->lock);
    struct passing *record;
    while ((record = next_due(line)) != NULL) {
        const bool broken = line->broken;
        pthread_mutex_unlock(&line->lock);
        const bool sent = !broken && send_all(line->fd, record->data, record->bytes);
        free(record);
        pthread_mutex_lock(&line->lock);
        if (!sent && !line->broken) {
            line->broken = true;
            shutdown(line->fd, SHUT_RDWR); /* so that a thread that waits for the socket sees it */
        }
    }
    pthread_mutex_unlock(&line->lock);
    return NULL;
}

enum status net_road_line_open(struct net_road *road, struct net_hub *hub)
{
    if (!net_is_shaped(hub))
        return STATUS_OK;
    struct net_road_line *line = calloc(1, sizeof *line);
    if (line == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for a shaped link");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&line->put, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&line->lock, NULL);
    line->last = &line->first;
    line->fd = road->fd;
    line->peer = road->peer;
    line->hub = hub;
    const sigset_t before = signals_hold();
    const int error = pthread_create(&line->thread, NULL, run_line, line);
    signals_release(before);
    if (error == 0) {
        road->line = line;
        return STATUS_OK;
    }
    pthread_cond_destroy(&line->put);
    pthread_mutex_destroy(&line->lock);
    free(line);
    return status_fail(STATUS_IO, "cannot start the thread of a shaped link: %s", strerror(error));
}

bool net_road_line_put(struct net_road *road)
{
    struct net_road_line *line = road->line;
    struct passing *record = malloc(sizeof *record + road->sealed_bytes);
    if (record == NULL)
        return false;
    *record = (struct passing){.bytes = road->sealed_bytes,
                               .due = net_shape_due(line->hub, line->peer, road->sealed_bytes)};
    memcpy(record->data, road->sealed, road->sealed_bytes);
    pthread_mutex_lock(&line->lock);
    *line->last = record;
    line->last = &record->next;
    const bool broken = line->broken;
    pthread_cond_signal(&line->put);
    pthread_mutex_unlock(&line->lock);
    return !broken;
}

void net_road_line_close(struct net_road *road)
{
    struct net_road_line *line = road->line;
    if (line == NULL)
        return;
    pthread_mutex_lock(&line->lock);
    line->closing = true;
    pthread_cond_signal(&line->put);
    pthread_mutex_unlock(&line->lock);
    pthread_join(line->thread, NULL);
    pthread_cond_destroy(&line->put);
    pthread_mutex_destroy(&line->lock);
    free(line);
    road->line = NULL;
}
