/* What a party's log says of things that may happen often: the first at once, then how many more, at most once a minute. */
#ifndef TREFOIL_PARTIES_NOTICES_H
#define TREFOIL_PARTIES_NOTICES_H

#include <pthread.h>

#include "net/net.h"

struct notice {
    double said; /* when, 0: never */
    unsigned long untold;
};

struct notices {
    const char *party;
    pthread_mutex_t lock; /* the failures */
    struct notice busy, empty;
    /* the thread that polls: */
    struct notice unaccepted, refused;
    unsigned long refused_told;
    struct notice_peer {
        uint64_t present, last; /* process that is up, or 0; that was up when this was told last */
        unsigned long changes;  /* not told yet */
        double since;
        int lines; /* since then */
    } peer[3];
};

/* party: its name, borrowed. */
void notices_init(struct notices *notices, const char *party);
void notices_clear(struct notices *notices);
/* A request of a caller failed, for the reason that status_message says; from any thread. Those that found no place
 * (STATUS_BUSY) are asked again at once, those that found no bundle (STATUS_EMPTY) with the next larger bucket: both are counted. */
void notices_failure(struct notices *notices, const char *from, enum status status);
/* Says what is due, and which parties came and went; of one thread, every second or so. peer: the hub's numbers of the parties,
 * -1: ourselves. */
void notices_poll(struct notices *notices, struct net_hub *hub, const int peer[3]);
/* Says what was counted and not said yet. */
void notices_end(struct notices *notices);

#endif
