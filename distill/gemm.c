#include "distill/gemm.h"

#include <cblas.h>

#include "distill/half.h"

#define SLICE 32           /* rows or columns of a slice are a multiple of this */
#define HALF_FROM 64       /* rows and columns, from which packing pays */
#define SERIAL_BELOW 65536 /* products, below which threads cost more than they bring */

void distill_gemm_single(real *out, int stride, int m, int n, int k, struct distill_matrix a,
                         struct distill_matrix b, real scale, real keep)
{
    CBLAS_TRANSPOSE turn_a = a.transpose ? CblasTrans : CblasNoTrans;
    CBLAS_TRANSPOSE turn_b = b.transpose ? CblasTrans : CblasNoTrans;
#ifdef DISTILL_DOUBLE
    cblas_dgemm(CblasRowMajor, turn_a, turn_b, m, n, k, scale, a.value, a.stride, b.value, b.stride, keep,
                out, stride);
#else
    cblas_sgemm(CblasRowMajor, turn_a, turn_b, m, n, k, scale, a.value, a.stride, b.value, b.stride, keep,
                out, stride);
#endif
}

static struct distill_matrix rows_from(struct distill_matrix a, int first)
{
    a.value += a.transpose ? (ptrdiff_t)first : (ptrdiff_t)first * a.stride;
    return a;
}

static struct distill_matrix columns_from(struct distill_matrix b, int first)
{
    b.value += b.transpose ? (ptrdiff_t)first * b.stride : (ptrdiff_t)first;
    return b;
}

void distill_gemm(real *out, int stride, int m, int n, int k, struct distill_matrix a,
                  struct distill_matrix b, real scale, real keep)
{
    int threads = distill_threads();
#ifndef DISTILL_DOUBLE
    if (distill_half() && scale == 1 && (keep == 0 || keep == 1) && n >= HALF_FROM && m >= HALF_FROM &&
        distill_half_gemm(out, stride, m, n, k, a, b, keep != 0))
        return;
#endif
    if (threads == 1 || (double)m * n * k < SERIAL_BELOW) {
        distill_gemm_single(out, stride, m, n, k, a, b, scale, keep);
        return;
    }
    bool by_rows = m >= n;
    int length = by_rows ? m : n;
    int slice = (length + threads - 1) / threads;
    slice = (slice + SLICE - 1) / SLICE * SLICE;
#pragma omp parallel for schedule(static)
    for (int t = 0; t < threads; t++) {
        int first = t * slice;
        int size = length - first < slice ? length - first : slice;
        if (size <= 0)
            continue;
        if (by_rows)
            distill_gemm_single(out + (ptrdiff_t)first * stride, stride, size, n, k, rows_from(a, first), b,
                                scale, keep);
        else
            distill_gemm_single(out + first, stride, m, size, k, a, columns_from(b, first), scale, keep);
    }
}
