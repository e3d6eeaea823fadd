/* Matrix products in bfloat16 on AMX tiles, or in AVX-512 registers (AVX512-BF16): operands are rounded to 8 significant bits, sums
 * are float. Both multiply the same packed operands.
 *
 * Training tolerates it (mixed precision, as on GPUs: the weights and moments stay float), and it is several
 * times as fast as float products. Used for the linear layers of a training step if the user asks for it and
 * the processor has either; evaluation is always float.
 *
 * A tile is 1 KiB: of A, 16 rows of 32 successive elements of the inner dimension; of B, 16 pairs of the
 * inner dimension by 16 columns. Both operands are packed into tiles first; each 32-bit pair keeps its place,
 * so turning a matrix is a 16 x 16 transposition of pairs. */
#ifndef TREFOIL_DISTILL_HALF_H
#define TREFOIL_DISTILL_HALF_H

#include "distill/gemm.h"

/* Whether processor and system have what it takes. */
bool distill_half_available(void);

/* out[m][n] = a b, or out += a b, on all threads. false: no memory for the packed operands, nothing was done.
 * One product at a time in a process. */
bool distill_half_gemm(float *out, int stride, int m, int n, int k, struct distill_matrix a,
                       struct distill_matrix b, bool add);

#endif
