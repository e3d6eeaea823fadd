#include "distill/linear.h"

#include "distill/gemm.h"

#define COLUMNS 64 /* columns of one slice of a column sum */

void distill_linear_forward(real *y, const real *x, const real *w, size_t rows, int in, int out)
{
    struct distill_matrix a = {x, in, false}, b = {w, in, true};
    distill_gemm(y, out, (int)rows, out, in, a, b, 1, 0);
}

void distill_linear_backward(real *dx, real keep, real *dw, const real *dy, const real *x, const real *w,
                             size_t rows, int in, int out)
{
    struct distill_matrix turned = {dy, out, true}, input = {x, in, false};
    distill_gemm(dw, in, out, in, (int)rows, turned, input, 1, 1);
    if (dx != NULL) {
        struct distill_matrix a = {dy, out, false}, b = {w, in, false};
        distill_gemm(dx, in, (int)rows, in, out, a, b, 1, keep);
    }
}

DISTILL_CLONES static void add_row(real *y, const real *bias, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += bias[i];
}

void distill_bias_add(real *y, const real *bias, size_t rows, int n)
{
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (size_t row = 0; row < rows; row++)
        add_row(y + row * (size_t)n, bias, n);
}

DISTILL_CLONES static void sum_slice(real *sum, const real *a, size_t rows, int n, int width)
{
    real part[COLUMNS] = {0};
    if (width == COLUMNS) {
        for (size_t row = 0; row < rows; row++)
            for (int i = 0; i < COLUMNS; i++)
                part[i] += a[row * (size_t)n + (size_t)i];
    } else {
        for (size_t row = 0; row < rows; row++)
            for (int i = 0; i < width; i++)
                part[i] += a[row * (size_t)n + (size_t)i];
    }
    for (int i = 0; i < width; i++)
        sum[i] += part[i];
}

void distill_column_sum(real *sum, const real *a, size_t rows, int n)
{
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (int first = 0; first < n; first += COLUMNS)
        sum_slice(sum + first, a + first, rows, n, n - first < COLUMNS ? n - first : COLUMNS);
}
