/* The store of one party: an LMDB environment with shared weights and bundles (DESIGN section 7).
 *
 * A bundle is everything one inference of one shape spends. Using a mask twice breaks privacy; running out of
 * bundles is only an error message. So a bundle is *taken*: a committed, synced transaction moves it from
 * ready to taken before any byte that depends on it may leave, and nothing ever moves it back.
 *
 *     filling --ready--> ready --take--> taken --gone--> (deleted, keys destroyed)
 *        \________________\______ burn ____________/
 *
 * Serials of one (model, schedule) rise by one; the mark is the highest serial ever taken or burnt here. take
 * accepts only a serial above the mark, raises the mark to it and burns every ready bundle below.
 *
 * At rest: values are sealed (XChaCha20-Poly1305, libsodium) under a key of their bundle, bound to their
 * name. LMDB keeps deleted bytes in its file, so the bundle keys live outside it, in <path>/keys/, one file
 * each, mode 0600, overwritten and unlinked when the bundle goes.
 *
 * A store that was closed uncleanly, restored or copied burns all its ready and filling bundles when it is
 * opened: a "clean" mark is removed at open and written at close; generation and boot id are kept inside and
 * beside LMDB and must agree. The parties also compare generations (store_generation) when they agree on a
 * bundle.
 *
 * Thread safety: every function may be called from any thread; a struct store_bundle belongs to one at a
 * time. */
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
};

/* Opens or creates. STATUS_STATE if another process has it open; STATUS_FOREIGN for another schema or party;
 * STATUS_CORRUPT for a torn file. Recovers from an unclean end by burning (see above). */
STATUS_MUST_USE enum status store_open(struct store **out, const struct store_options *options);
void store_close(struct store **store);

/* A random number that changes whenever the store was burnt by recovery; for the parties to compare. */
uint64_t store_generation(const struct store *store);

/* ---- bundles ---- */
struct store_bundle;

/* The next serial that this store could deal: one above every serial it has ever seen for this model and
 * schedule. */
STATUS_MUST_USE enum status store_next_serial(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES],
                                              uint64_t *serial);

/* Starts filling. STATUS_STATE if the serial is not above every one seen. */
STATUS_MUST_USE enum status store_bundle_create(struct store *store, const struct store_name *name,
                                                struct store_bundle **out);
/* Appends one item (number item, any order, each once). Written in batches; durable only when ready says so.
 */
STATUS_MUST_USE enum status store_bundle_put(struct store_bundle *bundle, uint32_t item, const void *data,
                                             size_t bytes);
/* Syncs everything, then marks the bundle ready, in this order; digest: what the parties will compare at
 * take. */
STATUS_MUST_USE enum status store_bundle_ready(struct store_bundle *bundle,
                                               const unsigned char digest[STORE_HASH_BYTES]);

/* The lowest ready serial above the mark and the count of ready bundles; STATUS_OK with count 0 if there is
 * none. */
STATUS_MUST_USE enum status store_bundle_next(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES],
                                              uint64_t *serial, uint64_t *mark, uint64_t *count);
/* Takes exactly this serial; returns only after the commit is synced. STATUS_EMPTY if it is not ready here
 * (the mark is raised all the same: the serial is burnt). name, digest: as stored. */
STATUS_MUST_USE enum status store_bundle_take(struct store *store,
                                              const unsigned char model[STORE_HASH_BYTES],
                                              const unsigned char schedule[STORE_HASH_BYTES], uint64_t serial,
                                              struct store_bundle **out);
const struct store_name *store_bundle_name(const struct store_bundle *bundle);
const unsigned char *store_bundle_digest(const struct store_bundle *bundle);
/* Reads one item of a taken bundle; bytes must be exactly what was put. STATUS_CORRUPT if it does not verify.
 */
STATUS_MUST_USE enum status store_bundle_get(struct store_bundle *bundle, uint32_t item, void *data,
                                             size_t bytes);
/* Ends a bundle: deletes it and destroys its key if it was taken or never became ready; after
 * store_bundle_ready it only closes the handle. Takes NULL, leaves NULL. */
void store_bundle_close(struct store_bundle **bundle);
/* Burns every bundle of this schedule with a serial up to and including upto, and raises the mark. */
STATUS_MUST_USE enum status store_burn(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                                       const unsigned char schedule[STORE_HASH_BYTES], uint64_t upto);

/* ---- shared weights and what belongs to a model: sealed under a key of the model, kept until removed ----
 */
struct store_model;
STATUS_MUST_USE enum status store_model_create(struct store *store,
                                               const unsigned char model[STORE_HASH_BYTES],
                                               struct store_model **out);
STATUS_MUST_USE enum status store_model_put(struct store_model *model, uint32_t item, const void *data,
                                            size_t bytes);
/* Durable and visible from here on; before, the model does not exist. */
STATUS_MUST_USE enum status store_model_ready(struct store_model *model);
STATUS_MUST_USE enum status store_model_open(struct store *store, const unsigned char model[STORE_HASH_BYTES],
                                             struct store_model **out);
/* Size of an item; STATUS_CORRUPT if missing. */
STATUS_MUST_USE enum status store_model_size(struct store_model *model, uint32_t item, size_t *bytes);
STATUS_MUST_USE enum status store_model_get(struct store_model *model, uint32_t item, void *data,
                                            size_t bytes);
/* A model that was never made ready is deleted. */
void store_model_close(struct store_model **model);
STATUS_MUST_USE enum status store_model_remove(struct store *store,
                                               const unsigned char model[STORE_HASH_BYTES]);

/* Calls each(context, model) for every ready model, newest last. */
STATUS_MUST_USE enum status
store_model_list(struct store *store,
                 void (*each)(void *context, const unsigned char model[STORE_HASH_BYTES]), void *context);
/* Calls each for every (model, schedule) with bundles or a mark. */
struct store_count {
    unsigned char model[STORE_HASH_BYTES], schedule[STORE_HASH_BYTES];
    uint32_t bucket, batch;
    uint64_t filling, ready, mark, bytes;
};
STATUS_MUST_USE enum status store_bundle_list(struct store *store,
                                              void (*each)(void *context, const struct store_count *count),
                                              void *context);

#endif
