/* A BERT-shaped folder with random weights, for counting, timing and tests: it means nothing, but its values
 * behave.
 *
 * Weights are drawn so that activations keep their size from layer to layer under Quad and 2Quad: a linear
 * layer has standard deviation gain / sqrt(inputs), LayerNorm's gamma stands near 1, and embeddings are large
 * enough that no LayerNorm meets a tiny variance. The vocabulary holds the special tokens, every printable
 * ASCII character alone and as a "##" piece, and made-up words of open syllables, alone and as pieces, up to
 * the size asked for: any ASCII text tokenizes without [UNK] where there is room for the characters. */
#ifndef TREFOIL_MODEL_RANDOM_MODEL_H
#define TREFOIL_MODEL_RANDOM_MODEL_H

#include "model/model.h"

#define RANDOM_MODEL_VOCABULARY_MIN 5 /* the special tokens */

/* Writes a whole folder with a classifier head, weights in F16; what model folder was there before is
 * replaced. The same config and seed give the same files everywhere. STATUS_INPUT: the config makes no sense.
 */
STATUS_MUST_USE enum status random_model_write(const char *folder, const struct model_config *config,
                                               uint64_t seed);

/* The same in memory: weights only. */
STATUS_MUST_USE enum status random_model_make(struct model *out, const struct model_config *config,
                                              uint64_t seed);

#endif
