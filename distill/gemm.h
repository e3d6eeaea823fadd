/* Matrix products of the training core: OpenBLAS, one slice of the output a thread.
 *
 * OpenBLAS itself is told to use one thread; the slices are ours. So a product inside a parallel loop
 * (attention, one head a thread) and a large one (linear layers) use the same cores without two thread pools
 * getting in each other's way. Matrices are row-major. */
#ifndef TREFOIL_DISTILL_GEMM_H
#define TREFOIL_DISTILL_GEMM_H

#include "distill/real.h"

#define distill_gemm DISTILL_REAL(distill_gemm)
#define distill_gemm_single DISTILL_REAL(distill_gemm_single)

struct distill_matrix {
    const real *value;
    int stride;     /* elements from one row to the next */
    bool transpose; /* read it turned */
};

/* Number of threads of all of distill/, from 1 up; 0: what OpenMP says. Call it before the first product. */
void distill_threads_set(int threads);
int distill_threads(void);

/* Whether large products may be rounded to bfloat16 (distill/half.h). false at first. Returns what was set
 * before. Has no effect where the processor lacks AMX-BF16 and AVX512-BF16. */
bool distill_half_set(bool on);
bool distill_half(void);

/* out[m][n] (rows `stride` apart) = scale * a[m][k] b[k][n] + keep * out. */
void distill_gemm(real *out, int stride, int m, int n, int k, struct distill_matrix a,
                  struct distill_matrix b, real scale, real keep);
/* The same on the calling thread. */
void distill_gemm_single(real *out, int stride, int m, int n, int k, struct distill_matrix a,
                         struct distill_matrix b, real scale, real keep);

#endif
