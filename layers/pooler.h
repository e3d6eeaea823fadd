/* The pooler with tanh, and the classifier, whose logits go to the client as shares.
 *
 * math    p = x W + b;  tanh(p) = slope[cell] p + intercept[cell];  logits = tanh(p) W' + b'
 * shape   x [batch][hidden], the first token of each sequence, normalised without gamma and beta; logits [batch][labels]
 * cost    three rounds; 3 batch * hidden elements; a table key for each of batch * hidden
 * error   the line differs from tanh by at most 0.39 h^2, h = 2^-7 or so the width of a cell */
#ifndef TREFOIL_LAYERS_POOLER_H
#define TREFOIL_LAYERS_POOLER_H

#include "layers/fold.h"
#include "layers/shape.h"

/* Fraction bits of the logits, which are shares modulo 2^32: |logit| < 2^15. */
#define POOLER_LOGIT_FRAC 16

uint32_t layer_pooler(struct schedule *schedule, const struct shape *shape, uint32_t x);

struct pooler_weights {
    struct affine input;
    const float *pooler_w, *pooler_b; /* [hidden][hidden], [hidden] */
    const float *head_w, *head_b;     /* [labels][hidden], [labels] */
};
STATUS_MUST_USE enum status pooler_fold(struct folded *out, const struct shape *shape,
                                        const struct pooler_weights *weights);

#endif
