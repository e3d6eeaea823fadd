/* What the teacher has to say in stage 1, kept for every example of a training set.
 *
 * The teacher runs without dropout, so that its embeddings, hidden states and attention scores of an example are the same in every
 * epoch: kept, they save its forward pass, a quarter of a step. They take much memory, 4 (layers + 1) H bytes a token and
 * 4 layers heads a pair of tokens of one text; whoever trains sets a limit, and a set that does not fit is not kept at all.
 * They are made in the same batches whatever the order of training, so that a run that goes on from a checkpoint sees the same. */
#ifndef TREFOIL_DISTILL_RECALL_H
#define TREFOIL_DISTILL_RECALL_H

#include "distill/batch.h"
#include "distill/state.h"
#include "distill/weights.h"

struct distill_recall {
    const struct distill_batch *set;
    struct model_config config;
    /* One example after the other; of each first the embeddings, then layer by layer. */
    float *tokens; /* [tokens][layers + 1][H] */
    float *scores; /* [pairs][layers][heads] */
};

/* Memory that a set takes. */
size_t distill_recall_bytes(const struct model_config *config, const struct distill_batch *set);
/* Runs the teacher over the set, which must stay as it is meanwhile. An empty struct (zeroed) keeps nothing. */
STATUS_MUST_USE enum status distill_recall_make(struct distill_recall *recall,
                                                const struct distill_weights *teacher,
                                                const struct distill_batch *set);
void distill_recall_clear(struct distill_recall *recall);
/* Puts what was kept of the batch's examples where a forward pass of the teacher would leave it: state->embedded and of each
 * layer out and scores. example[i] is the place in the set of the batch's i-th sequence. */
void distill_recall_batch(struct distill_state *state, const struct distill_recall *recall,
                          const struct distill_batch *batch, const uint32_t *example);

#endif
