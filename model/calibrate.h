/* Calibration: sample texts run in the clear give every opened tensor its range, and the ranges its fraction bits. */
#ifndef TREFOIL_MODEL_CALIBRATE_H
#define TREFOIL_MODEL_CALIBRATE_H

#include "model/description.h"

/* One tokenized text. */
struct sample {
    const uint32_t *id;
    const uint8_t *type;
    uint32_t length;
};

/* x [length][hidden]: the sum of the word, position and type embeddings of each token. Padding repeats the first
 * row: the mask takes it out of every sum, and its own values stay within the calibrated ranges. STATUS_INPUT for an id the model does not have, or a text longer than bucket. */
STATUS_MUST_USE enum status model_embed(const struct model *model, const struct sample *sample, uint32_t bucket,
                                        float *x);

/* Fills the description of a model (its nonce is random). Every sample is cut to the model's positions. folded: the
 * model's weights. progress is called after each sample, if given. STATUS_RANGE names the tensor that does not fit. */
STATUS_MUST_USE enum status model_calibrate(const struct model *model, const struct folded *folded,
                                            const struct sample *samples, size_t count,
                                            void (*progress)(void *context, size_t done, size_t count), void *context,
                                            struct description *out);

#endif
