#include "parties/in_flight.h"

#include <pthread.h>
#include <stdbool.h>

struct flight {
    enum status (*one)(void *context, size_t index);
    void *context;
    size_t count;
    pthread_mutex_t lock; /* all below */
    size_t next;
    enum status status; /* of the first failure */
    char message[512];
};

static bool begin(struct flight *f, size_t *index)
{
    pthread_mutex_lock(&f->lock);
    const bool more = f->status == STATUS_OK && f->next < f->count;
    *index = f->next;
    f->next += more;
    pthread_mutex_unlock(&f->lock);
    return more;
}

static void *run(void *argument)
{
    struct flight *f = argument;
    size_t index;
    while (begin(f, &index)) {
        const enum status status = f->one(f->context, index);
        if (status == STATUS_OK)
            continue;
        pthread_mutex_lock(&f->lock);
        if (f->status == STATUS_OK) {
            f->status = status;
            status_copy(f->message, sizeof f->message);
        }
        pthread_mutex_unlock(&f->lock);
    }
    return NULL;
}

enum status in_flight_run(unsigned most, size_t count, enum status (*one)(void *context, size_t index),
                          void *context)
{
    struct flight f = {.one = one, .context = context, .count = count};
    pthread_t thread[IN_FLIGHT_MAX];
    unsigned threads = 0; /* besides this one */
    pthread_mutex_init(&f.lock, NULL);
    while (threads + 1 < most && threads + 1 < count && threads < IN_FLIGHT_MAX &&
           pthread_create(&thread[threads], NULL, run, &f) == 0)
        threads++;
    run(&f);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&f.lock);
    return f.status == STATUS_OK ? STATUS_OK : status_fail(f.status, "%s", f.message);
}
