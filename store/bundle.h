/* What the files about bundles share. Private to store/. */
#ifndef TREFOIL_STORE_BUNDLE_H
#define TREFOIL_STORE_BUNDLE_H

#include "store/items.h"

struct store_bundle {
    struct store_content content;
    struct store_name name;
    bool peeked; /* ready, and not ours: to be read only */
};

/* A handle for a name; its content has no id, state or key yet. NULL, with a message, without memory. */
struct store_bundle *store_bundle_new(struct store *store, const struct store_name *name);

/* Deletes the ready bundles of a line (model, schedule) with serials up to upto. The mark is already there.
 */
void store_bundle_sweep(struct store *store, const unsigned char line[STORE_LINE_BYTES], uint64_t upto);

/* Burns all bundles of all schedules of a model. */
STATUS_MUST_USE enum status store_burn_model(struct store *store,
                                             const unsigned char model[STORE_HASH_BYTES]);

/* STATUS_STATE unless the model is whole here and not removed, as this transaction sees it: no bundle of another one may come to
 * be. */
STATUS_MUST_USE enum status store_model_check(struct store *store, MDB_txn *txn,
                                              const unsigned char model[STORE_HASH_BYTES]);

/* Calls each(context, record key, record) for the bundles of a line, or of all lines if line is NULL, in
 * rising order of their keys, until it returns false. */
STATUS_MUST_USE enum status store_bundle_each(struct store *store, MDB_txn *txn, const unsigned char line[],
                                              bool (*each)(void *context, const unsigned char *where,
                                                           const struct store_record *record),
                                              void *context);

#endif
