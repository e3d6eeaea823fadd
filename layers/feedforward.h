/* The feed-forward layer with a quadratic activation, the residual path, and the LayerNorm after it.
 *
 * math    a x^2 + b x + g = (s (x + b / 2a))^2 / 8 * sign(a) + (g - b^2 / 4a),   s = sqrt(8 |a|)
 *         s and b / 2a fold into the first weights, the sign and the constant into the second: what is left is h^2 / 8.
 *         MPCFormer's Quad x^2/8 + x/4 + 1/2 has a = 1/8, b = 1/4, g = 1/2: s = 1, h = x + 1, constant 3/8.
 * shape   x [rows][hidden] normalised without gamma and beta; the result likewise
 * cost    three rounds and LayerNorm's five; rows * (2 ffn + hidden) elements and LayerNorm's */
#ifndef TREFOIL_LAYERS_FEEDFORWARD_H
#define TREFOIL_LAYERS_FEEDFORWARD_H

#include "layers/fold.h"
#include "layers/shape.h"

uint32_t layer_feedforward(struct schedule *schedule, const struct shape *shape, uint32_t x, const char *name);

struct feedforward_weights {
    struct affine input;
    const float *in_w, *in_b;   /* [ffn][hidden], [ffn] */
    const float *out_w, *out_b; /* [hidden][ffn], [hidden] */
    const float *quad;          /* [3][ffn]: a, b, g of every neuron; NULL: MPCFormer's Quad */
};
/* STATUS_INPUT if a coefficient a is too near to zero for the square to be completed. */
STATUS_MUST_USE enum status feedforward_fold(struct folded *out, const struct shape *shape,
                                             const struct feedforward_weights *weights);

#endif
