/* The LMDB environment of a store, wrapped: transactions that take turns, space that is checked before it is
 * used, and LMDB's and the system's error codes translated into statuses. Private to store/.
 *
 * Every commit is a full one: data pages are on the disk before the page that makes them valid. Batches are
 * large enough (STORE_BATCH_BYTES) that this costs no more than one sync at the end, a power cut can
 * therefore never tear the tree, and a take never waits for more than one batch of somebody else's. */
#ifndef TREFOIL_STORE_ENVIRONMENT_H
#define TREFOIL_STORE_ENVIRONMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <lmdb.h>

#include "ring/status.h"
#include "store/store.h"

#define STORE_BATCH_BYTES (8u << 20) /* sealed bytes written by one transaction, at most */

/* What one process holds of a store. Written by store_open and store_close only, except for the turn, failed
 * and handles, which have their own protection. */
struct store {
    char *path;
    char party[8];
    int folder, keys, lock; /* descriptors of PATH, PATH/keys, PATH/lock */
    MDB_env *env;
    int file;          /* LMDB's own descriptor of data.mdb, not ours to close */
    struct stat found; /* data.mdb as it was before anything was written to it */
    MDB_dbi about, marks, bundles, items, models, removed;
    uint64_t page_bytes, map_pages;
    uint64_t generation; /* random; another one whenever it is burnt at opening */
    void (*say)(void *context, const char *line);
    void *context;
    atomic_bool failed;  /* something could not be deleted or synced: this store must not be called clean */
    atomic_uint handles; /* bundles being filled or taken, models being uploaded */

    /* One writer at a time; takes and burns go before batches of filling. */
    pthread_mutex_t turn;
    pthread_cond_t next;
    unsigned urgent_waiting;
    bool writing;
};

/* A line for the operator's log, if anybody wants it (struct store_options). */
void store_say(const struct store *store, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Opens PATH/data.mdb, which store_inspect has found sound or absent. */
STATUS_MUST_USE enum status store_env_open(struct store *store, uint64_t map_bytes);
void store_env_close(struct store *store);

enum store_urgency {
    STORE_URGENT, /* take, burn, marks: goes next */
    STORE_FILL,   /* a batch: refused with STATUS_FULL while space for deletions can still be kept back */
    STORE_CLEAN   /* deletion in the background */
};

/* Waits for the turn, makes sure of space (bytes: sum of store_space_cost), begins a write transaction.
 * It must be ended by the same thread and without waiting for anything else. */
STATUS_MUST_USE enum status store_write_begin(struct store *store, enum store_urgency urgency, uint64_t bytes,
                                              MDB_txn **out);
/* Returns when the commit is on the disk; whatever it returns, the transaction has ended. */
STATUS_MUST_USE enum status store_write_commit(struct store *store, MDB_txn *txn);
void store_write_abort(struct store *store, MDB_txn *txn);

/* A snapshot for reading; end with mdb_txn_abort, soon: it keeps deleted pages from being used again. */
STATUS_MUST_USE enum status store_read_begin(struct store *store, MDB_txn **out);

/* The status and message for an LMDB or errno code met while doing what ("cannot ..."). */
enum status store_env_fail(const struct store *store, int code, const char *what);

/* Whether an errno means that there is no room. */
bool store_no_room(int code);

#endif
