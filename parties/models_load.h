/* A model of the store as it lies in memory: for models.c, which counts who uses it. */
#ifndef TREFOIL_PARTIES_MODELS_LOAD_H
#define TREFOIL_PARTIES_MODELS_LOAD_H

#include "parties/models.h"

struct model_memory {
    struct party_model model; /* the first member; its weights are those below */
    struct dealer_weight *dealer;
    struct static_share *share;
    struct schedule shape; /* of the weights: any schedule of the model declares the same */
};

/* Reads, masks and packs the model of out->model.id; out is zero otherwise. To be cleared in any case. */
STATUS_MUST_USE enum status model_load(struct model_memory *out, struct store *store, int party);
/* Wipes and frees. */
void model_unload(struct model_memory *model);

#endif
