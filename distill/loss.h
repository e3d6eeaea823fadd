/* The losses, each with its gradient. Sums go in fixed chunks, so that a loss does not depend on the threads.
 */
#ifndef TREFOIL_DISTILL_LOSS_H
#define TREFOIL_DISTILL_LOSS_H

#include "distill/batch.h"
#include "distill/norm.h"
#include "distill/real.h"
#include "distill/state.h"

#define distill_match DISTILL_REAL(distill_match)
#define distill_loss_difference DISTILL_REAL(distill_loss_difference)
#define distill_loss_match DISTILL_REAL(distill_loss_match)
#define distill_loss_cross_entropy DISTILL_REAL(distill_loss_cross_entropy)
#define distill_loss_spread DISTILL_REAL(distill_loss_spread)
#define distill_loss_soft DISTILL_REAL(distill_loss_soft)
#define distill_loss_squared DISTILL_REAL(distill_loss_squared)

/* Stage 1: the student is to think like the teacher, layer by layer.
 *
 * math   embedding * mse(embeddings) + hidden * sum over layers of mse(hidden state)
 *                                    + score * sum over layers of mse(q k^T / sqrt(d))
 * where a mean is over what exists: tokens times H, and heads times pairs. Padding has no place in a packed
 * batch, so it is left out of both. */
struct distill_match {
    const struct distill_state *teacher;            /* after its forward pass over the same batch */
    double embedding, hidden, score;                /* weights of the three parts */
    double embedding_loss, hidden_loss, score_loss; /* out: the parts, unweighted */
};

/* Returns the sum of (a - b)^2 over n elements. gradient, unless NULL, becomes keep * gradient + scale * (a -
 * b). */
double distill_loss_difference(real *gradient, real keep, real scale, const real *a, const real *b, size_t n);
/* The whole of stage 1 without gradients; fills the parts and returns their weighted sum. */
double distill_loss_match(struct distill_match *match, const struct distill_state *student,
                          const struct distill_batch *batch);

/* The price on rows that are too wide for fixed point, of all LayerNorms but the embeddings': with u the variance of a
 * row before it is normalised, spread->weight times the sum of ln(u / limit)^2 over rows where u > limit. Its gradient is
 * distill_encoder_backward's.
 * Why: trained Transformers give single tokens (the first above all) rows a thousand times as wide as others, squares widen
 * them further, and no table of inverse roots covers that. What LayerNorm makes of a row does not depend on how wide it is, so
 * a student can do without. */
double distill_loss_spread(const struct distill_state *state, const struct distill_batch *batch,
                           const struct distill_spread *spread);

/* An example without a label (NAN) has no cross entropy; its score is the teacher's alone.
 * All three return the mean over the batch times scale and write dlogits[sequences][labels].
 *   cross entropy   -log softmax(logits)[label]
 *   soft            -sum softmax(teacher) log softmax(logits)
 *   squared         (logit - score)^2, where score = mix * teacher + (1 - mix) * label; teacher may be NULL
 * (mix 0) */
double distill_loss_cross_entropy(real *dlogits, const real *logits, const struct distill_batch *batch,
                                  int labels, double scale);
double distill_loss_soft(real *dlogits, const real *logits, const real *teacher, size_t sequences, int labels,
                         double scale);
double distill_loss_squared(real *dlogits, const real *logits, const real *teacher, double mix,
                            const struct distill_batch *batch, double scale);

#endif
