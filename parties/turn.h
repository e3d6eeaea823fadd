/* A lock whose waiters go in the order they came, and whose holder can see that somebody waits. */
#ifndef TREFOIL_PARTIES_TURN_H
#define TREFOIL_PARTIES_TURN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct turn {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t next, now; /* tickets: given out, at work */
};

void turn_init(struct turn *turn);
void turn_clear(struct turn *turn);
void turn_begin(struct turn *turn);
void turn_end(struct turn *turn);
/* For its holder: whether somebody waits. */
bool turn_wanted(struct turn *turn);

#endif
