#include "distill/activation.h"

#include "distill/linear.h"

#define COLUMNS 64 /* columns of one slice of the coefficients' gradients */

DISTILL_CLONES static void gelu_row(real *y, real *h, const real *bias, int n)
{
    for (int i = 0; i < n; i++) {
        real x = h[i] + bias[i];
        h[i] = x;
        y[i] = x * real_normal(x, real_exp(x * x * (real)-0.5));
    }
}

DISTILL_CLONES static void quad_row(real *y, real *h, const real *bias, int n)
{
    for (int i = 0; i < n; i++) {
        real x = h[i] + bias[i];
        h[i] = x;
        y[i] = (x * (real)0.125 + (real)0.25) * x + (real)0.5;
    }
}

DISTILL_CLONES static void learned_row(real *y, real *h, const real *bias, const real *quad, int n)
{
    const real *a = quad, *b = quad + n, *g = quad + 2 * n;
    for (int i = 0; i < n; i++) {
        real x = h[i] + bias[i];
        h[i] = x;
        y[i] = (x * a[i] + b[i]) * x + g[i];
    }
}

DISTILL_CLONES static void relu_row(real *y, real *h, const real *bias, int n)
{
    for (int i = 0; i < n; i++) {
        real x = h[i] + bias[i];
        h[i] = x;
        y[i] = x > 0 ? x : 0;
    }
}

void distill_activation_forward(real *y, real *h, const real *bias, const real *quad,
                                enum model_activation kind, size_t rows, int n)
{
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (size_t row = 0; row < rows; row++) {
        real *to = y + row * (size_t)n, *from = h + row * (size_t)n;
        if (kind == MODEL_GELU)
            gelu_row(to, from, bias, n);
        else if (kind == MODEL_RELU)
            relu_row(to, from, bias, n);
        else if (quad != NULL)
            learned_row(to, from, bias, quad, n);
        else
            quad_row(to, from, bias, n);
    }
}

/* gelu' = Phi(x) + x phi(x) */
DISTILL_CLONES static void gelu_back_row(real *dy, const real *h, int n)
{
    for (int i = 0; i < n; i++) {
        real x = h[i], e = real_exp(x * x * (real)-0.5);
        dy[i] *= real_normal(x, e) + x * e * (real)0.39894228040143267794;
    }
}

DISTILL_CLONES static void quad_back_row(real *dy, const real *h, int n)
{
    for (int i = 0; i < n; i++)
        dy[i] *= h[i] * (real)0.25 + (real)0.25;
}

DISTILL_CLONES static void learned_back_row(real *dy, const real *h, const real *quad, int n)
{
    for (int i = 0; i < n; i++)
        dy[i] *= 2 * h[i] * quad[i] + quad[i + n];
}

DISTILL_CLONES static void relu_back_row(real *dy, const real *h, int n)
{
    for (int i = 0; i < n; i++)
        dy[i] = h[i] > 0 ? dy[i] : 0;
}

/* da += dy x^2, db += dy x, dg += dy, for `width` columns of rows n long. */
DISTILL_CLONES static void coefficients(real *dquad, const real *dy, const real *h, size_t rows, int n,
                                        int width)
{
    real a[COLUMNS] = {0}, b[COLUMNS] = {0}, g[COLUMNS] = {0};
    for (size_t row = 0; row < rows; row++) {
        const real *d = dy + row * (size_t)n, *x = h + row * (size_t)n;
        for (int i = 0; i < width; i++) {
            real once = d[i] * x[i];
            g[i] += d[i];
            b[i] += once;
            a[i] += once * x[i];
        }
    }
    for (int i = 0; i < width; i++) {
        dquad[i] += a[i];
        dquad[i + n] += b[i];
        dquad[i + 2 * n] += g[i];
    }
}

void distill_activation_backward(real *dy, real *dbias, real *dquad, const real *h, const real *quad,
                                 enum model_activation kind, size_t rows, int n)
{
    if (dquad != NULL) {
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
        for (int first = 0; first < n; first += COLUMNS)
            coefficients(dquad + first, dy + first, h + first, rows, n,
                         n - first < COLUMNS ? n - first : COLUMNS);
    }
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (size_t row = 0; row < rows; row++) {
        real *d = dy + row * (size_t)n;
        const real *x = h + row * (size_t)n;
        if (kind == MODEL_GELU)
            gelu_back_row(d, x, n);
        else if (kind == MODEL_RELU)
            relu_back_row(d, x, n);
        else if (quad != NULL)
            learned_back_row(d, x, quad, n);
        else
            quad_back_row(d, x, n);
    }
    distill_column_sum(dbias, dy, rows, n);
}
