/* Forward and backward passes of a whole BERT-like encoder with its pooler and classifier.
 *
 * The gradients of every weight are added to a struct of the same shape as the weights. Order of a training
 * step: distill_encoder_forward, then either (stage 2) distill_head_forward, a loss into state->dlogits,
 * distill_head_backward, distill_encoder_backward; or (stage 1) distill_encoder_backward with a match alone.
 */
#ifndef TREFOIL_DISTILL_ENCODER_H
#define TREFOIL_DISTILL_ENCODER_H

#include "distill/batch.h"
#include "distill/loss.h"
#include "distill/state.h"
#include "distill/weights.h"

#define distill_encoder_forward DISTILL_REAL(distill_encoder_forward)
#define distill_encoder_backward DISTILL_REAL(distill_encoder_backward)
#define distill_head_forward DISTILL_REAL(distill_head_forward)
#define distill_head_backward DISTILL_REAL(distill_head_backward)

/* Dropout of a pass: which numbers, and how much. All zero: none (a teacher, an evaluation). */
struct distill_noise {
    uint64_t key;             /* of this step */
    double hidden, attention; /* rates */
};

/* Every id must be below the vocabulary, every length at most the positions; the state reserved for the
 * batch. */
void distill_encoder_forward(struct distill_state *state, const struct distill_weights *weights,
                             const struct distill_batch *batch, const struct distill_noise *noise);
/* pooled = tanh(first W^T + b), logits = drop(pooled) C^T + b */
void distill_head_forward(struct distill_state *state, const struct distill_weights *weights,
                          const struct distill_batch *batch, const struct distill_noise *noise);
/* From state->dlogits to state->dhidden. */
void distill_head_backward(struct distill_weights *gradients, struct distill_state *state,
                           const struct distill_weights *weights, const struct distill_batch *batch,
                           const struct distill_noise *noise);
/* From state->dhidden (as the head left it) down to the embeddings. With a match, dhidden starts at zero
 * instead and the loss of each layer comes in on the way; the parts of the loss are filled in. With a spread,
 * the price on wide rows (distill_loss_spread) comes in at every LayerNorm of a layer. Both may be NULL. */
void distill_encoder_backward(struct distill_weights *gradients, struct distill_state *state,
                              const struct distill_weights *weights, const struct distill_batch *batch,
                              const struct distill_noise *noise, struct distill_match *match,
                              const struct distill_spread *spread);

#endif
