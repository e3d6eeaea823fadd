/* Three parties on this machine for a measurement: processes of their own, fresh keys, a store each in a
 * temporary folder, CURVE over tcp on loopback.
 *
 * Processes are forked before the caller has threads of any kind, and wait. Several sets of three may stand
 * ready: one runs at a time, all share keys and stores, so that what one set was given (a model, bundles) is
 * there for the next, behind other links. They die with the caller, however it ends, and the folder goes with them. */
#ifndef TREFOIL_PARTIES_LOCAL_H
#define TREFOIL_PARTIES_LOCAL_H

#include <sys/types.h>

#include "parties/client.h"

#define LOCAL_SETS_MAX 8
#define LOCAL_REQUESTS_MAX 16 /* at a time, at each party */

struct local {
    char folder[256];
    int threads, sets, running; /* running: the set that does, -1 if none */
    char public_key[4][NET_KEY_TEXT], secret_key[4][NET_KEY_TEXT];
    pid_t cleaner; /* removes the folder when all others have ended */
    int alive;     /* closed with the last of them */
    struct local_set {
        pid_t process[3];
        int begin[3]; /* where it is told to begin */
    } set[LOCAL_SETS_MAX];
};

struct local_links {
    double rate; /* bits a second each party sends to each peer; 0: as they are */
    double delay_ms;
};

/* Makes the folder (in TMPDIR or /tmp), the keys and the waiting processes. threads: of each party's kernels.
 * Nothing else may run in this process yet. */
STATUS_MUST_USE enum status local_init(struct local *local, int sets, int threads);
/* Lets one set run; stops the one that does. client: their owner's, to be closed before the next set is
 * started. */
STATUS_MUST_USE enum status local_start(struct local *local, int set, struct local_links links,
                                        uint64_t store_bytes, struct client **client);
/* Ends all processes and removes the folder. */
void local_clear(struct local *local);

#endif
