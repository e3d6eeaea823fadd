/* Multi-head attention over a packed batch, forward and backward, one (sequence, head) at a time.
 *
 * math   s = q k^T / sqrt(d);  u = e^(s - max s)   (softmax)
 *                              u = (s + c)^2       (2quad; c fixed, or one per head)
 *                              u = max(s, 0)       (2relu)
 *        p = u / sum u along the row;  context = drop(p) v
 * A row sum below DISTILL_ATTENTION_FLOOR is raised to it: the row then weighs less than 1 in all, instead of
 * dividing by nothing. (2quad: every s near -c; 2relu: no positive score.)
 *
 * shape  qkv [tokens][3 H]: q, k and v of a token side by side; context [tokens][H];
 *        scores, weights: head after head, each sum of squared lengths long (distill_batch.pair_start) */
#ifndef TREFOIL_DISTILL_ATTENTION_H
#define TREFOIL_DISTILL_ATTENTION_H

#include "distill/batch.h"
#include "distill/random.h"
#include "distill/real.h"
#include "model/model.h"

#define DISTILL_ATTENTION_FLOOR 1e-6

#define distill_attention_shape DISTILL_REAL(distill_attention_shape)
#define distill_attention_forward DISTILL_REAL(distill_attention_forward)
#define distill_attention_backward DISTILL_REAL(distill_attention_backward)

struct distill_attention_shape {
    enum model_attention kind;
    int hidden, heads;
    const real *c; /* [heads], or NULL: fixed_c for all */
    real fixed_c;
    struct distill_dropout drop; /* on p */
};

/* scratch: distill_threads() times longest^2. */
void distill_attention_forward(real *context, real *scores, real *weights, real *scratch, const real *qkv,
                               const struct distill_attention_shape *shape,
                               const struct distill_batch *batch);
/* dqkv [tokens][3 H] is written. dscores: what the loss says of the scores directly (stage 1), or NULL; laid
 * out like scores. dc [heads] grows, unless NULL; c_part: [sequences * heads] to add it up in a fixed order.
 * scratch: distill_threads() times 2 longest^2. */
void distill_attention_backward(real *dqkv, real *dc, real *c_part, real *scratch, const real *dcontext,
                                const real *dscores, const real *qkv, const real *scores, const real *weights,
                                const struct distill_attention_shape *shape,
                                const struct distill_batch *batch);

#endif
