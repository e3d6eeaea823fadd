/* The ring GEMM: C (Z_2^80) = A (int64) x B (int64), the heart of the cost (DESIGN section 8).
 *
 * Operands are signed 64-bit integers, results are exact modulo 2^80 (for masked operands: ring_gemm_pack_masked). Four kernels stand behind one function,
 * chosen at run time by what the processor has, equal bit for bit:
 *   portable  signed digits of 21, 21 and 22 bits as doubles, eight products by OpenBLAS DGEMM
 *   avx2      remainders by 11 moduli of a word, 10 for masked operands, as many word products by AVX2
 *   vnni      remainders by 18 moduli of a byte, 17 for masked operands, as many byte products by AVX-512 VNNI
 *   amx       eight byte limbs, 49 limb products by AMX-INT8 tiles
 * beside ring_gemm_reference, the plain triple loop in 128-bit integers that all are tested against.
 *
 * Operands may be secret: no kernel branches on, or addresses memory by, a value of A or B. */
#ifndef TREFOIL_RING_GEMM_H
#define TREFOIL_RING_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/elementwise.h"
#include "ring/status.h"
#include "ring/wide.h"

/* In the order of their speed, where they can run. */
enum ring_gemm_kernel { RING_GEMM_AUTO, RING_GEMM_PORTABLE, RING_GEMM_AVX2, RING_GEMM_VNNI, RING_GEMM_AMX, RING_GEMM_KERNELS };

/* What the result does to C. */
enum ring_gemm_mode {
    RING_GEMM_SET, /* C  = A B */
    RING_GEMM_ADD, /* C += A B */
};

/* B in the layout a kernel wants; about eight bytes an element, 18 or 17 for vnni, 22 or about 18 for avx2. Made once for
 * weights. Wiped when closed. */
struct ring_gemm_matrix;

/* The kernel AUTO stands for on this machine, and whether a kernel can run here. TREFOIL_GEMM=portable|avx2|vnni|amx in
 * the environment overrides the choice. Names: "portable", "avx2", "vnni", "amx". */
enum ring_gemm_kernel ring_gemm_default(void);
bool ring_gemm_available(enum ring_gemm_kernel kernel);
const char *ring_gemm_name(enum ring_gemm_kernel kernel);

/* Packs B [k][n]: element (r, c) is b[r * ldb + c], or b[c * ldb + r] if transposed. b may be freed
 * afterwards. */
STATUS_MUST_USE enum status ring_gemm_pack(struct ring_gemm_matrix **out, enum ring_gemm_kernel kernel,
                                           size_t k, size_t n, const int64_t *b, size_t ldb, bool transposed);
/* The same for operands that are masked, so that sums are never near the largest possible: less work for some kernels. The caller
 * promises
 *
 *     b = v + f s     |v| < 2^24; f constant, |f| <= 2; s the sum of at most four uniform integers of [-2^60, 2^60), independent of
 *                     each other and of those of other k
 *     a = u + t       |u| < 2^24, of whatever kind; t does not depend on any s; |f t| <= 2^62, or 2^63 if k <= RING_GEMM_MASKED_DEEP
 *
 * With that a result is exact if |sum of a b| < B = 2^132.1, and larger sums do not occur: not at all for k <= 274 (137 where |f t| may
 * be 2^63), else with probability below 2^-150, whatever the data. Uniform numbers are strictly sub-Gaussian, so with
 * V = 4 2^120 / 3 >= the variance of s
 *
 *     Pr(|sum of f t s| >= B) <= 2 exp(-B^2 / (2 k max (f t)^2 V)),      k max (f t)^2 <= 2^136 (deeper products are cut)
 *
 * and the rest of the sum is below 2^100. Nobody can choose data that get there: masks are not theirs to choose.
 *
 * small: in at most about eight bytes an element, for a matrix that is multiplied rarely or with many rows: a kernel that wants
 * more makes it anew for each product, which with 128 rows costs a fifth. */
STATUS_MUST_USE enum status ring_gemm_pack_masked(struct ring_gemm_matrix **out, enum ring_gemm_kernel kernel, size_t k, size_t n,
                                                  const int64_t *b, size_t ldb, bool transposed, bool small);
#define RING_GEMM_MASKED_DEEP 1024
void ring_gemm_close(struct ring_gemm_matrix **matrix);
size_t ring_gemm_bytes(const struct ring_gemm_matrix *matrix);

/* C [m][n] = or += A [m][k] B [k][n] modulo 2^80; rows of A are lda apart, rows of C ldc. k and n come from
 * b. Uses the threads OpenMP gives (omp_set_num_threads). Fails only for want of memory. */
STATUS_MUST_USE enum status ring_gemm(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                                      const struct ring_gemm_matrix *b, enum ring_gemm_mode mode);

/* Who wants parts of a product while the rest is still computed. Parts come in the same order from every kernel and any number of
 * threads: bands of RING_GEMM_BAND rows, and of each band strips of so many columns; the last ones may be smaller. How early they
 * come is up to the kernel; ready is called by the thread that asked for the product. Evaluators send parts in this order, so
 * the band belongs to the protocol (doc/protocol.md, section 8). */
#define RING_GEMM_BAND 128
struct ring_gemm_parts {
    size_t columns;
    void (*ready)(void *context, size_t row, size_t rows, size_t column, size_t columns);
    void *context;
};

/* T [m][n] = (C + A B + add) >> shift: the product on its way into a message (ring/elementwise.h), while
 * it is in the cache. Rows of end->t are ldt apart. C is read, and undefined afterwards; T may be its low plane, if ldt = ldc. parts: who
 * wants parts of T, or NULL. Fails only for want of memory, before the first part. */
STATUS_MUST_USE enum status ring_gemm_narrow(const struct ring_narrow *end, size_t ldt, struct ring_wide c, size_t ldc, size_t m,
                                             const int64_t *a, size_t lda, const struct ring_gemm_matrix *b,
                                             const struct ring_gemm_parts *parts);

/* Adds the seconds that the calling thread spends in ring_gemm and ring_gemm_pack from now on to *seconds, and what ring_gemm_narrow spends in products;
 * NULL: no more. For measuring; costs nothing while it is off. */
void ring_gemm_watch(double *seconds);

/* Byte products (avx2: word products) a second of the unit that a kernel multiplies with, on this thread, measured for about so many seconds by a loop
 * that only multiplies; 0 where there is none, and for the portable kernel. 49 (amx), 17 (vnni; 18 if operands
 * are not masked) or 10 (avx2; 11) of them make one ring product.
 * The clock depends on what else runs: for the peak at the clock that a kernel has, take a slice of 0.0001 s right after the kernel. */
double ring_gemm_peak(enum ring_gemm_kernel kernel, double seconds);

/* The same by three loops in 128-bit integers; the definition. b is [k][n], rows ldb apart. */
void ring_gemm_reference(struct ring_wide c, size_t ldc, size_t m, size_t k, size_t n, const int64_t *a,
                         size_t lda, const int64_t *b, size_t ldb, enum ring_gemm_mode mode);

#endif
