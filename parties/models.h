/* The models a party holds: descriptions, weight shares packed for the kernels, compiled schedules.
 *
 * Items of a model in the store: the description's text, the seeds of its masks, and at the evaluators the masked weight m_W of
 * each weight. Masks are streams: object = the weight's number, context = the model's id (ring/stream.h).
 *
 * Users are counted: a model removed meanwhile is not given out again, and goes, wiped, with its last user. No lock is held
 * while a model is loaded: others are served, and those who want that one wait. */
#ifndef TREFOIL_PARTIES_MODELS_H
#define TREFOIL_PARTIES_MODELS_H

#include "layers/walk.h"
#include "model/description.h"
#include "store/store.h"

enum { MODEL_ITEM_DESCRIPTION, MODEL_ITEM_SEEDS, MODEL_ITEM_WEIGHT };

struct models;

struct party_model {
    unsigned char id[MODEL_ID_BYTES];
    struct description description;
    const struct dealer_weight *dealer;  /* at P0 */
    const struct static_share *share;    /* at P1, P2 */
};

STATUS_MUST_USE enum status models_open(struct models **out, struct store *store, int party);
void models_close(struct models **models);

/* Loads the model if it is not. It stays valid until models_done. STATUS_INPUT if this party does not hold it. */
STATUS_MUST_USE enum status models_get(struct models *models, const unsigned char id[MODEL_ID_BYTES],
                                       const struct party_model **out);
/* Takes NULL. */
void models_done(struct models *models, const struct party_model *model);
/* The masks l_Wi of weight number [n] from seed i, at its owner as at the parties. */
void models_masks(int64_t *out, size_t n, const struct ring_seed *seed, const unsigned char id[MODEL_ID_BYTES],
                  uint32_t number);
/* Reads only the description. */
STATUS_MUST_USE enum status models_describe(struct store *store, const unsigned char id[MODEL_ID_BYTES],
                                            struct description *out);
/* Compiles the schedule if it is not. It and its model stay valid until models_schedule_done, once for each call of this and of
 * _keep; of a model, those used last are kept beyond that. */
STATUS_MUST_USE enum status models_schedule(struct models *models, const struct party_model *model, uint32_t bucket,
                                            uint32_t batch, enum tune tune, const struct schedule **out);
/* One more user of a schedule that is in use. */
void models_schedule_keep(struct models *models, const struct schedule *schedule);
/* Takes NULL. */
void models_schedule_done(struct models *models, const struct schedule *schedule);
/* How a schedule of a model and shape is tuned, for reports: found out by compiling it, once. False if it is none of this version,
 * or the model is gone. */
bool models_tune(struct models *models, const unsigned char id[MODEL_ID_BYTES],
                 const unsigned char hash[SCHEDULE_HASH_BYTES], uint32_t bucket, uint32_t batch, enum tune *tune);
/* Forgets a model, so that it is not given out again. The caller is one more user of what is returned, until models_done; NULL if
 * it is not loaded. */
const struct party_model *models_forget(struct models *models, const unsigned char id[MODEL_ID_BYTES]);
/* Whether a model in use was forgotten. */
bool models_forgotten(struct models *models, const struct party_model *model);
/* How many models are in memory, forgotten ones that are still used as well. */
uint32_t models_loaded(struct models *models);

#endif
