/* How fast the kernels of the ring GEMM are at one shape, beside the things they are made of: byte products
 * alone (of AMX, of AVX-512 VNNI), word products (of AVX2), SGEMM and DGEMM of the same shape on the same threads.
 *
 * Clocks move with the load, and with the kind of load: measured on one server processor, a loop that only
 * multiplies tiles runs at 3.1 GHz, one that also loads them, as every kernel must, at 2.9 or 2.5, and the
 * clock stays so for some milliseconds. Hence two peaks: after a pause of nothing but products (alone), and
 * in slices of 0.1 ms between the products of the kernel (beside), at the clock that the kernel has. Whatever
 * is compared is measured in turns, and the result is the median of the turns. SGEMM takes its right operand as it
 * lies or transposed, whichever is faster. OpenBLAS is left with one thread. */
#ifndef TREFOIL_PARTIES_GEMM_RATES_H
#define TREFOIL_PARTIES_GEMM_RATES_H

#include <stddef.h>

#include "ring/gemm.h"

/* What makes one ring product of masked operands: byte products (vnni, amx), word products (avx2) or products of doubles
 * (portable). */
static inline double gemm_rates_products(enum ring_gemm_kernel kernel)
{
    return kernel == RING_GEMM_AMX ? 49 : kernel == RING_GEMM_VNNI ? 17 : kernel == RING_GEMM_AVX2 ? 10 : 8;
}

/* Multiply-adds a second; 0 where the processor lacks the kernel. */
struct gemm_rates {
    double ring[RING_GEMM_KERNELS];
    double sgemm, dgemm;
    /* What the processor could do at most, in ring products: its peak of byte products / 49 (amx), / 17 (vnni), of word products / 10 (avx2); DGEMM / 8
     * (portable, which has no peak alone). */
    double peak_beside[RING_GEMM_KERNELS], peak_alone[RING_GEMM_KERNELS];
    double of_peak[RING_GEMM_KERNELS]; /* ring / peak_beside, median of the quotients within a turn */
};

/* turns: of each measurement, at most GEMM_RATES_TURNS. The weights are so many that they are cold. */
#define GEMM_RATES_TURNS 101
STATUS_MUST_USE enum status gemm_rates_measure(struct gemm_rates *out, size_t m, size_t k, size_t n,
                                               int threads, int turns);

#endif
