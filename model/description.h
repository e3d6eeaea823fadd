/* The public description of a shared model: all that parties and clients know of it, and all that a schedule is compiled from.
 *
 * It holds the architecture, the calibrated ranges, the scales of the weights and the nonce of the upload; no weight.
 * Its identity is the hash of its canonical text: everything that is dealt for a model carries it. */
#ifndef TREFOIL_MODEL_DESCRIPTION_H
#define TREFOIL_MODEL_DESCRIPTION_H

#include "layers/fold.h"
#include "layers/schedule.h"
#include "layers/shape.h"
#include "model/embeddings.h"

struct description {
    struct model_config config;
    struct range *range; /* by ranged tensor */
    uint32_t ranges;
    int *weight_frac; /* by weight */
    uint32_t weights;
    unsigned char tables[MODEL_TABLES_BYTES]; /* model_tables_digest: what clients embed with */
    unsigned char nonce[32]; /* of the upload: weights shared again are another model, under other masks */
    char name[64];           /* what the owner calls it */
};

/* STATUS_INPUT if a model cannot be called so: the parties would refuse it. */
STATUS_MUST_USE enum status description_check_name(const char *name);
/* JSON, canonical: sorted keys, exact numbers. *text is malloc'ed. */
STATUS_MUST_USE enum status description_write(const struct description *description, char **text);
/* Checks every field: the text comes from a peer or a file. */
STATUS_MUST_USE enum status description_read(struct description *out, const char *text);
void description_clear(struct description *description);
/* The hash of the canonical text. */
STATUS_MUST_USE enum status description_id(const struct description *description, unsigned char id[MODEL_ID_BYTES]);

/* The schedule of batch sequences of bucket tokens. STATUS_INPUT if bucket is above the model's positions or a kind of
 * layer cannot run privately; STATUS_RANGE if values do not fit. */
STATUS_MUST_USE enum status description_compile(const struct description *description, uint32_t bucket, uint32_t batch,
                                                enum tune tune, struct schedule *out);

/* The same at the owner, where the scales of the weights are still to be chosen: largest [weights] is the largest
 * magnitude of each folded weight; the schedule's weights then say the scales. */
STATUS_MUST_USE enum status description_compile_owner(const struct description *description, const double *largest,
                                                      struct schedule *out);

/* Without ranges, for the clear walk: calibration's own. */
STATUS_MUST_USE enum status model_compile_clear(const struct model_config *config, uint32_t bucket, uint32_t batch,
                                                struct schedule *out);

/* The static weights in the order of the schedule. */
STATUS_MUST_USE enum status model_fold(const struct model *model, struct folded *out);

/* Whether a model can run privately: STATUS_INPUT says what stands against it (softmax, GeLU, no classifier). */
STATUS_MUST_USE enum status model_is_private(const struct model_config *config);

#endif
