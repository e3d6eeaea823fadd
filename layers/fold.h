/* Folding what is affine into static weights, in real numbers, at the model's owner.
 *
 * A layer reads n, the LayerNorm's result without gamma and beta. So x W^T + b with x = gamma n + beta becomes
 * n (diag(gamma) W^T) + (W beta + b). Matrices stay [out][in], as in the file. */
#ifndef TREFOIL_LAYERS_FOLD_H
#define TREFOIL_LAYERS_FOLD_H

#include "layers/shape.h"
#include "layers/walk.h"

/* One linear layer as its file has it: weight [out][in], bias [out]. */
struct dense {
    const float *weight, *bias;
    uint32_t in, out;
};

/* Appends matrix and bias. affine: of the input, or NULL. row_scale [in] and column_scale [out]: further factors, or NULL;
 * column_scale scales the bias too. */
STATUS_MUST_USE enum status fold_dense(struct folded *out, const struct dense *dense, const struct affine *affine,
                                       const float *row_scale, const float *column_scale);
/* Adds v [n] to the weight appended last but back. */
void fold_add(struct folded *out, uint32_t back, const float *v, size_t n);
/* Appends a copy of v [n]. */
STATUS_MUST_USE enum status fold_vector(struct folded *out, const float *v, size_t n);

#endif
