/* Bundles warmed ahead: an evaluator that has nothing else to do loads the bundles that the next inferences will take, makes
 * their masks and expands their tables, so that an inference costs its online time only.
 *
 * A bundle in here is not taken: it is still ready in the store, and what was read of it stays in this process. An inference
 * takes its bundle as it always does, with a synced commit at all three parties (parties/agreement.c), and only then asks here
 * whether that very bundle, by its whole name, has been warmed. If another one was agreed on, what was warmed is wiped.
 *
 * Which: of each shape (model and schedule) used within the last WARM_KEEP_S seconds the lowest ready serials, which is what the
 * parties will agree on; at most as many as the setting "warm" says, and only while the machine has twice the memory to spare.
 * One thread does it, and rests while an inference is under way, unless that inference waits for this bundle. */
#ifndef TREFOIL_PARTIES_WARM_H
#define TREFOIL_PARTIES_WARM_H

#include "parties/config.h"
#include "parties/models.h"

#define WARM_KEEP_S 600
#define WARM_SHAPES 4 /* the ones used last */

struct warm;

/* Nothing is warmed, and every call does nothing, at P0 or if config->warm is 0. */
STATUS_MUST_USE enum status warm_open(struct warm **out, const struct config *config, struct store *store,
                                      struct models *models, int party);
/* Stops, and wipes what was warmed. Before the store and the models are closed. */
void warm_close(struct warm **warm);

/* An inference begins: before it agrees on a bundle. Ends: the shape was used, and the next bundle may be warmed. */
void warm_enter(struct warm *warm);
void warm_leave(struct warm *warm);
/* This shape was used, or has new bundles. */
void warm_used(struct warm *warm, const struct party_model *model, const struct schedule *schedule);
/* A model goes: drops its bundles and shapes. */
void warm_forget(struct warm *warm, const unsigned char model[MODEL_ID_BYTES]);

/* Whether the bundle of this name, which the caller has taken, was warmed ahead: then *out is the caller's, but for label,
 * callbacks and context, which it sets, and *seconds is what it took. Waits if it is being warmed. */
bool warm_claim(struct warm *warm, const struct store_name *name, struct evaluator *out, double *seconds);

#endif
