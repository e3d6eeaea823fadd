/* Attention with 2Quad, the residual path, and the LayerNorm after it.
 *
 * math    q, k, v = x W + b, 1/sqrt(d) folded into W_q;  a = (q k^T + c)^2;  o = a (mu v),  den = a mu;
 *         x' = n((o / den) W_o + b + residual)
 * shape   x [batch * bucket][hidden], normalised without gamma and beta; the result [batch * queries][hidden] likewise
 * source  MPCFormer (2Quad); DESIGN section 4
 * cost    nine rounds and LayerNorm's five; elements as in DESIGN section 4's table
 *
 * mu carries a power of two, so den grows with the bucket, not with the length of the text (embedding_mask_power). */
#ifndef TREFOIL_LAYERS_ATTENTION_H
#define TREFOIL_LAYERS_ATTENTION_H

#include "layers/fold.h"
#include "layers/shape.h"

/* first_only: only the first token of each sequence is computed further (the last layer: the pooler reads no other). */
uint32_t layer_attention(struct schedule *schedule, const struct shape *shape, uint32_t x, uint32_t mu, bool first_only,
                         const char *name);

struct attention_weights {
    struct affine input;                                 /* of x */
    const float *query_w, *query_b, *key_w, *key_b;      /* [hidden][hidden], [hidden] */
    const float *value_w, *value_b, *output_w, *output_b;
    const float *c; /* [heads] if learned */
};
STATUS_MUST_USE enum status attention_fold(struct folded *out, const struct shape *shape,
                                           const struct attention_weights *weights);

#endif
