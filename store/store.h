/* The store of one party: an LMDB environment with shared weights and bundles (DESIGN section 7).
 *
 * A bundle is everything one inference of one shape spends. Using a mask twice breaks privacy; running out of
 * bundles is only an error message. So a bundle is *taken*: a committed, synced transaction moves it from
 * ready to taken before any byte that depends on it may leave, and nothing ever moves it back.
 *
 *     filling --ready--> ready --take--> taken --close--> (deleted, key destroyed)
 *        \                  \--- burn ----------------------^
 *         \--- close before ready --------------------------^
 *
 * Serials of one (model, schedule) rise by one; the mark is the highest serial ever taken or burnt here. take
 * accepts only a serial above the mark, raises the mark to it and burns every ready bundle below. A bundle
 * still being filled belongs to its handle: burnt, it can never become ready. A taken bundle belongs to its
 * handle too: a later take does not disturb it.
 *
 * At rest: values are sealed (AES-256-GCM, ring/aead.h) under keys made of the key of their bundle, its full
 * name and their place (store/seal.h). LMDB keeps deleted bytes in its file, so the keys live outside it, in
 * PATH/keys/, one file each, mode 0600, on the disk before the first item, overwritten and unlinked when the
 * bundle goes. That promises that the file system no longer returns the key; it does not promise that no
 * flash cell, journal, snapshot or backup holds an old copy of its block. Where that matters, PATH/keys
 * belongs on an encrypted volume (store/keys.h).
 *
 * Names, sizes, states and times are not hidden: whoever reads the disk sees how many bundles of which model
 * there are.
 *
 * What is durable when: every transaction is synced as it commits, data pages before the page that makes them
 * valid. Items are written in batches of up to 8 MiB; when store_bundle_ready returns, all of them and then
 * the state are on the disk. A power cut at any moment leaves a sound store with its weights and marks.
 *
 * A store that was closed uncleanly, restored or copied burns its ready, filling and taken bundles when it is
 * opened and draws a new generation; weights stay, unfinished uploads go. A "clean" mark is removed, durably,
 * at open and written at close; with it, in a stamp file beside LMDB, the generation, the boot id of the
 * machine and the identity of the data file: device, inode, time of its last change. Any disagreement burns,
 * a reboot of the machine after a clean close too. What one machine cannot see, such as its own memory and disk
 * rolled back together, its peers' marks cover: the parties agree on the highest of their lowest serials, which
 * lies above everything that any one of them has spent (parties/agreement.c).
 *
 * Close every bundle and model before the store: a handle still open then counts as an unclean end.
 *
 * Errors: messages name the file and what to do. STATUS_FULL leaves nothing half-written: a bundle whose put
 * failed can only be closed, which gives its space back; taking, burning and closing work in a full store.
 *
 * Thread safety: every function may be called from any thread; a struct store_bundle or store_model belongs
 * to one at a time. Bundles are filled side by side and written in turns; takes and burns go before waiting
 * batches. */
#ifndef TREFOIL_STORE_STORE_H
#define TREFOIL_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define STORE_HASH_BYTES 32

struct store;

/* The full name of a bundle; the streams that make its masks hash all of it. No padding: 32+32+8+32+4+4 = 112
 * bytes. model: hash of the shared weights' public description and upload nonce; schedule: hash of the
 * compiled schedule (it covers the bucket and batch, which stand here again for the operator's eye). */
struct store_name {
    unsigned char model[STORE_HASH_BYTES];
    unsigned char schedule[STORE_HASH_BYTES];
    uint64_t serial;
    unsigned char nonce[STORE_HASH_BYTES];
    uint32_t bucket, batch;
};

enum store_state { STORE_FILLING = 1, STORE_READY, STORE_TAKEN, STORE_GONE };

struct store_options {
    const char *path;   /* folder, created 0700 if missing */
    const char *party;  /* "P0", "P1", "P2": a store of another party is refused */
    uint64_t map_bytes; /* LMDB map size; 0: 64 GiB (sparse). Reaching it is STATUS_FULL */
    /* For the operator's log, or NULL. Called by store_open and store_close with what they found: whether it was
     * begun anew, what was burnt and why, whether the end was a clean one; and, from any thread, where ready
     * bundles are burnt. */
    void (*say)(void *context, const char *line);
    void *context;
};

/* Opens or creates; does not create where a stamp says that there was a store. Recovers from an unclean end by
 * burning (see above).
 * STATUS_STATE: another process has it open, named by its pid, or this one has. STATUS_FOREIGN: another
 * schema or party, or another program's database. STATUS_CORRUPT: a torn file; it is inspected before LMDB
 * maps it; or none beside a stamp. */
STATUS_MUST_USE enum status store_open(struct store **out, const struct store_options *options);
/* Takes NULL, leaves NULL. Fails if it cannot be called clean; it is closed then, too. */
enum status store_close(struct store **store);

/* ---- bundles ---- */
struct store_bundle;

/* The next serial that this store could deal: one above every serial it has ever seen for this model and
 * schedule. */
STATUS_MUST_USE enum status store_next_serial(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES],
                                              uint64_t *serial);

/* Starts filling: the key is on the disk, the serial is seen. STATUS_STATE if the serial is not above every
 * one seen (two threads that asked for the next serial at once: one of them asks again), or if the store has
 * no such model, ready and not removed. The first serial is 1. */
STATUS_MUST_USE enum status store_bundle_create(struct store *store, const struct store_name *name,
                                                struct store_bundle **out);
/* Appends one item (number item, any order, each once, from 0 bytes up). data is copied and may be reused.
 * Sealed and written in batches, by a thread of the bundle: an error (STATUS_FULL, or STATUS_STATE for an
 * item put twice) may come with a later put or with ready; after one, the bundle can only be closed. Waits
 * while three batches are still to be written. */
STATUS_MUST_USE enum status store_bundle_put(struct store_bundle *bundle, uint32_t item, const void *data,
                                             size_t bytes);
/* The same without a copy: data belongs to the store until it calls release(data, bytes), once in every case,
 * from any thread, also when the call fails. */
STATUS_MUST_USE enum status store_bundle_put_owned(struct store_bundle *bundle, uint32_t item, void *data,
                                                   size_t bytes, void (*release)(void *data, size_t bytes));
/* Writes and syncs everything, then marks the bundle ready, in this order; digest: what the parties will
 * compare at take. STATUS_STATE if it was burnt while it was being filled, or its model was removed. */
STATUS_MUST_USE enum status store_bundle_ready(struct store_bundle *bundle,
                                               const unsigned char digest[STORE_HASH_BYTES]);

/* The lowest ready serial above the mark and the count of ready bundles; STATUS_OK with count 0 (and serial
 * 0) if there is none. */
STATUS_MUST_USE enum status store_bundle_next(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES],
                                              uint64_t *serial, uint64_t *mark, uint64_t *count);
/* Calls each(context, serial) for every ready bundle above the mark, lowest first; of one moment, and mark is of the same. each must
 * not call the store. */
STATUS_MUST_USE enum status store_bundle_serials(struct store *store,
                                                 const unsigned char model[STORE_HASH_BYTES],
                                                 const unsigned char schedule[STORE_HASH_BYTES],
                                                 uint64_t *mark, void (*each)(void *context, uint64_t serial),
                                                 void *context);
/* Takes exactly this serial; returns only after the commit is synced. name, digest: as stored.
 * STATUS_EMPTY: it is not ready here; the mark is raised all the same, the serial is burnt. STATUS_STATE: the
 * serial is not above the mark (taken or burnt before); nothing changes. STATUS_INPUT: a serial above 2^63 -
 * 1; nothing changes. STATUS_CORRUPT: its key is lost, or items are missing or were exchanged; the bundle is
 * gone. */
STATUS_MUST_USE enum status store_bundle_take(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t serial,
                                              struct store_bundle **out);
/* Opens a ready bundle for reading and does not take it: to prepare what the next inference will need.
 * Nothing that was read may be used before this very bundle (same serial and nonce) was taken; if it never
 * is, it is to be wiped. Meanwhile others may take or burn it: a get then fails. STATUS_EMPTY: it is not
 * ready here. */
STATUS_MUST_USE enum status store_bundle_peek(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t serial,
                                              struct store_bundle **out);
const struct store_name *store_bundle_name(const struct store_bundle *bundle);
const unsigned char *store_bundle_digest(const struct store_bundle *bundle);
/* Reads one item of a taken or peeked bundle straight into data, as often as wanted; bytes must be exactly
 * what was put. STATUS_CORRUPT if it is missing, has another size or does not verify; data is then all zero.
 */
STATUS_MUST_USE enum status store_bundle_get(struct store_bundle *bundle, uint32_t item, void *data,
                                             size_t bytes);
/* Ends a bundle: destroys its key and deletes it if it was taken or never became ready; after
 * store_bundle_ready or store_bundle_peek it only closes the handle. Takes NULL, leaves NULL, and leaves the
 * message of an earlier failure alone. */
void store_bundle_close(struct store_bundle **bundle);
/* Burns every ready bundle of this schedule with a serial up to and including upto, and raises the mark to
 * it; bundles being filled up to it can never become ready. */
STATUS_MUST_USE enum status store_burn(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                                       const unsigned char schedule[STORE_HASH_BYTES], uint64_t upto);
/* Deletes this one bundle if it is ready, and leaves the mark and all others alone: for one that does not verify.
 * Its serial was seen and is never given out again. */
STATUS_MUST_USE enum status store_bundle_drop(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES],
                                              uint64_t serial);

/* ---- shared weights and what belongs to a model: sealed under a key of the model, kept until removed ----
 */
struct store_model;
/* STATUS_STATE if the store has the model already, or it is being uploaded, or one of this id was ever removed. */
STATUS_MUST_USE enum status store_model_create(struct store *store,
                                               const unsigned char model[STORE_HASH_BYTES],
                                               struct store_model **out);
/* As store_bundle_put. */
STATUS_MUST_USE enum status store_model_put(struct store_model *model, uint32_t item, const void *data,
                                            size_t bytes);
/* Durable and visible from here on; before, the model does not exist. The handle can then read. */
STATUS_MUST_USE enum status store_model_ready(struct store_model *model);
/* STATUS_INPUT if the store has no such model. */
STATUS_MUST_USE enum status store_model_open(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                                             struct store_model **out);
/* Size of an item; STATUS_CORRUPT if missing. */
STATUS_MUST_USE enum status store_model_size(struct store_model *model, uint32_t item, size_t *bytes);
/* As store_bundle_get. */
STATUS_MUST_USE enum status store_model_get(struct store_model *model, uint32_t item, void *data,
                                            size_t bytes);
/* A model that was never made ready is deleted. Takes NULL, leaves NULL. */
void store_model_close(struct store_model **model);
/* Deletes the model, destroys its key, and burns its bundles; the marks of its schedules stay, and so does a
 * note of its id, which no other model can have here any more: an id says nothing of weights, and bundles were
 * dealt for these. STATUS_INPUT if the store has no such model. Handles still open on it can read no more. */
STATUS_MUST_USE enum status store_model_remove(struct store *store,
                                               const unsigned char model[STORE_HASH_BYTES]);

/* Calls each(context, model) for every ready model, newest last. each may call the store. */
STATUS_MUST_USE enum status
store_model_list(struct store *store,
                 void (*each)(void *context, const unsigned char model[STORE_HASH_BYTES]), void *context);
/* One (model, schedule). bytes: what its bundles take as sealed values, those being filled and those taken
 * too. */
struct store_count {
    unsigned char model[STORE_HASH_BYTES], schedule[STORE_HASH_BYTES];
    uint32_t bucket, batch;
    uint64_t filling, ready, mark, bytes;
};
/* Calls each for every (model, schedule) with bundles or a mark. each may call the store. */
STATUS_MUST_USE enum status store_bundle_list(struct store *store,
                                              void (*each)(void *context, const struct store_count *count),
                                              void *context);

#endif
