/* The activation between the two halves of a feed-forward network, forward and backward. */
#ifndef TREFOIL_DISTILL_ACTIVATION_H
#define TREFOIL_DISTILL_ACTIVATION_H

#include "distill/real.h"
#include "model/model.h"

#define distill_activation_forward DISTILL_REAL(distill_activation_forward)
#define distill_activation_backward DISTILL_REAL(distill_activation_backward)

/* math   h += bias;  y = act(h), where act is
 *            gelu   x Phi(x)
 *            quad   x^2/8 + x/4 + 1/2, or a x^2 + b x + g with coefficients per neuron
 *            relu   max(x, 0)
 * shape  h, y [rows][n]; bias [n]; quad [3][n] (rows a, b, g) or NULL for the fixed coefficients */
void distill_activation_forward(real *y, real *h, const real *bias, const real *quad,
                                enum model_activation kind, size_t rows, int n);
/* dy[rows][n] becomes dh, in place; dbias[n] += its column sums; dquad[3][n] += those of the coefficients,
 * unless it is NULL. h as the forward pass left it. */
void distill_activation_backward(real *dy, real *dbias, real *dquad, const real *h, const real *quad,
                                 enum model_activation kind, size_t rows, int n);

#endif
