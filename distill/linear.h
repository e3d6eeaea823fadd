/* Linear layers: y = x W^T + b, weights as the file has them, [out][in]. */
#ifndef TREFOIL_DISTILL_LINEAR_H
#define TREFOIL_DISTILL_LINEAR_H

#include "distill/real.h"

#define distill_linear_forward DISTILL_REAL(distill_linear_forward)
#define distill_linear_backward DISTILL_REAL(distill_linear_backward)
#define distill_bias_add DISTILL_REAL(distill_bias_add)
#define distill_column_sum DISTILL_REAL(distill_column_sum)

/* y[rows][out] = x[rows][in] w[out][in]^T; no bias: who reads y next adds it in the same pass. */
void distill_linear_forward(real *y, const real *x, const real *w, size_t rows, int in, int out);
/* dw[out][in] += dy^T x; and unless dx is NULL, dx[rows][in] = dy[rows][out] w + keep * dx. */
void distill_linear_backward(real *dx, real keep, real *dw, const real *dy, const real *x, const real *w,
                             size_t rows, int in, int out);
/* y[rows][n] += bias[n] */
void distill_bias_add(real *y, const real *bias, size_t rows, int n);
/* sum[n] += the rows of a[rows][n] added up, always in the same order. */
void distill_column_sum(real *sum, const real *a, size_t rows, int n);

#endif
