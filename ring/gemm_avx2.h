/* The AVX2 kernel's own terms; private to ring/gemm_avx2*.c. For processors with AVX2 that have neither AMX nor the byte products of
 * AVX-512: products of 16-bit words are eight times as many as products of doubles.
 *
 * Remainders (ring/gemm_residue.h) by 11 coprime moduli m_i <= 10500, whose product M is above 2^146.9, are words; without the last, for
 * masked operands, M is above 2^133.55. vpmaddwd multiplies signed words, adds up pairs, and takes an addition of its own; one ring
 * product is 10 (11) of its word products.
 *
 * x_i. Remainders are centred, in single precision: |r| <= 0.508 m, 0.502 m when made of sums. A sum of AVX2_SPAN = 32 groups of two
 * products is below 64 (0.508 m)^2 < 1.83e9; then its words, the upper one times 2^16 mod m, become a number below
 * 2^16 + 2^15 m / 2 < 1.73e8, and 1.83e9 + 1.73e8 < 2^31. So sums may go on without end.
 *
 * q. Formed from 2^28 / m_i rounded to words, which changes the sum of r_i / m_i by less than 11 * 5271 / 2^29 < 0.0002; and
 * |z| / M < 2^138 / 2^146.9 or 2^132.1 / 2^133.55 < 0.37. The sum itself is below 11 * 0.502 2^28 < 2^31. |q| <= 6.
 *
 * z modulo 2^80: M / m_i and -M have five signed words each; word j of the result is the sum of 12 products of words, r_i or q
 * by word j of its coefficient, and what is carried from below: less than 11 * 5271 * 2^15 + 6 * 2^15 + 2^16 < 2^31.
 *
 * A group is two successive elements, the words of one lane of vpmaddwd. Tiles are 4 rows by the columns of a panel, 8, 16 or 24. */
#ifndef TREFOIL_RING_GEMM_AVX2_H
#define TREFOIL_RING_GEMM_AVX2_H

#include "ring/gemm_residue.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define GEMM_AVX2 1
#define GEMM_AVX2_TARGET __attribute__((target("avx2,fma")))
#define GEMM_AVX2_INLINE GEMM_AVX2_TARGET static inline __attribute__((always_inline))
#endif

#define AVX2_MODULI 11
#define AVX2_PAIRS 6 /* of words, that 11 remainders and a quotient fill */
#define AVX2_WORDS 5 /* of a result */
#define AVX2_STEP 4  /* the inner dimension is padded to */
#define AVX2_ROWS 4  /* of a tile of C; its columns are those of a panel */
#define AVX2_VECTOR 8
#define AVX2_PANEL_VECTORS 3 /* 4 x 3 sums, and 4 registers for operands and products: all 16 */
#define AVX2_PANEL (AVX2_PANEL_VECTORS * AVX2_VECTOR)
#define AVX2_SPAN 32   /* groups that are summed up before the sums are made smaller */
#define AVX2_CHUNK 104 /* steps: 20 KB of a panel and 3 of a tile of A, of 32 */

/* What a matrix is multiplied with, modulo m, word by word, to become remainders. */
struct gemm_avx2_side {
    uint32_t low, high; /* two signed words each: factor 2^(16 j) mod m, centred */
    int32_t start;      /* factor 2^15 (1 + 2^16 + 2^32) mod m: the three lower words are less 2^15 before */
};

struct gemm_avx2_modulus {
    int16_t m;
    uint32_t words; /* 1 and 2^16 mod m, centred: what the words of a sum are multiplied with */
    float inverse;  /* 1 / m */
    struct gemm_avx2_side a, b;
};

/* Two words in a lane belong to two successive moduli; the twelfth, to the quotient. What is not there is zero. */
struct gemm_avx2_constants {
    struct residue_constants all; /* 11 or 10 moduli */
    struct gemm_avx2_modulus modulus[AVX2_MODULI];
    uint32_t weight[AVX2_PAIRS];           /* 2^28 / m, rounded */
    uint32_t word[AVX2_WORDS][AVX2_PAIRS]; /* signed words of M / m, and of -M, modulo 2^80 */
};

/* For any operands, or masked ones. Made at the first use; the same in every process. */
const struct residue_constants *gemm_avx2_constants(bool masked);

/* The members of struct gemm_residue. */
void gemm_avx2_pack_rows(void *out, const struct residue_constants *constants, size_t plane, size_t steps,
                         const int64_t *a, size_t lda, size_t rows, size_t depth);
void gemm_avx2_pack_columns(void *out, const struct residue_constants *constants, size_t width, size_t first,
                            size_t steps, const int64_t *b, size_t ldb, size_t columns, size_t depth,
                            bool transposed);
void gemm_avx2_multiply(int32_t *sums, size_t stride, size_t width, const void *a, const void *b,
                        size_t steps, const struct residue_constants *constants, size_t i, bool first);
void gemm_avx2_combine(struct ring_wide c, const struct residue_constants *constants, const int32_t *sums,
                       size_t columns, bool add, const struct ring_narrow *end);

/* The constants are the first member of the kernel's. */
static inline const struct gemm_avx2_constants *gemm_avx2_own(const struct residue_constants *all)
{
    return (const struct gemm_avx2_constants *)(const void *)all;
}

#endif
