/* How fast the kernels of the ring GEMM are at one shape, beside the things they are made of: AMX products
 * alone, SGEMM and DGEMM of the same shape on the same threads.
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

#define GEMM_RATES_LIMB_PRODUCTS 49 /* byte products that make one ring product */
#define GEMM_RATES_DIGIT_PRODUCTS 8 /* products of doubles that make one */

/* Multiply-adds a second; 0 where the processor lacks the kernel. */
struct gemm_rates {
    double ring[RING_GEMM_KERNELS];
    double sgemm, dgemm;
    double peak_alone, peak_beside; /* of AMX, byte products */
    /* Medians of the quotients within a turn. */
    double amx_of_peak;       /* ring[AMX] / (peak_beside / 49) */
    double portable_of_dgemm; /* ring[PORTABLE] / (dgemm / 8) */
};

/* turns: of each measurement, at most GEMM_RATES_TURNS. The weights are so many that they are cold. */
#define GEMM_RATES_TURNS 101
STATUS_MUST_USE enum status gemm_rates_measure(struct gemm_rates *out, size_t m, size_t k, size_t n,
                                               int threads, int turns);

#endif
