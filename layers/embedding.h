/* What the client shares: the sum of its embeddings and the attention mask.
 *
 * shape   embeddings [batch * bucket][hidden]; mu [batch * bucket][1], integers: 0 for padding, 2^k for text
 * cost    one round; the first LayerNorm follows, and beside it checks that every element lies where an honest client's does
 * opens   both under the bundle's masks; P1 and P2 agree on m by construction */
#ifndef TREFOIL_LAYERS_EMBEDDING_H
#define TREFOIL_LAYERS_EMBEDDING_H

#include "layers/shape.h"

struct embedding {
    uint32_t n;  /* the normalised embeddings, without gamma and beta */
    uint32_t mu;
};
struct embedding layer_embedding(struct schedule *schedule, const struct shape *shape);

/* k of mu = 2^k for a sequence of length tokens: the largest with 2^k <= bucket / length. It cancels in the quotient, and
 * takes the length out of the range of the denominator. */
int embedding_mask_power(uint32_t bucket, uint32_t length);

#endif
