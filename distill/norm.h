/* Bias, dropout, residual sum and LayerNorm, which always come together, in one pass over the rows. */
#ifndef TREFOIL_DISTILL_NORM_H
#define TREFOIL_DISTILL_NORM_H

#include "distill/random.h"
#include "distill/real.h"

#define distill_norm_forward DISTILL_REAL(distill_norm_forward)
#define distill_norm_backward DISTILL_REAL(distill_norm_backward)
#define distill_dropout_apply DISTILL_REAL(distill_dropout_apply)

/* math   z = drop(a + bias) + x;  hat = (z - mean z) / sqrt(var z + eps);  y = gamma hat + beta
 * shape  y, hat, a, x [rows][n]; inverse [rows]; gamma, beta, bias [n]
 * x and bias may be NULL (the embeddings: nothing is added or dropped). hat and inverse are kept for the way
 * back; hat may be a. Variances are divided by n, as BERT does. */
void distill_norm_forward(real *y, real *hat, real *inverse, const real *a, const real *bias, const real *x,
                          const real *gamma, const real *beta, double eps, const struct distill_dropout *drop,
                          size_t rows, int n);
/* A price on wide rows, so that a student's values fit fixed point (distill/loss.h): with u = var z + eps,
 * weight * ln(u / limit)^2 for each row where u > limit. */
struct distill_spread {
    double weight, limit;
};

/* From dy to dz (the gradient of the residual path) and da (that of the dropped path; NULL if nothing is
 * dropped and dz serves for both), the gradient of the price included (spread may be NULL). dgamma, dbeta and, unless NULL, dbias grow. dz may be dy. */
void distill_norm_backward(real *dz, real *da, real *dgamma, real *dbeta, real *dbias, const real *dy,
                           const real *hat, const real *inverse, const real *gamma,
                           const struct distill_dropout *drop, const struct distill_spread *spread,
                           size_t rows, int n);

/* a[rows][n], in place: zero where dropped, else scaled up. Forward and backward are the same. */
void distill_dropout_apply(real *a, const struct distill_dropout *drop, size_t rows, int n);

#endif
