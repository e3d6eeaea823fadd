/* The VNNI kernel's own terms; private to ring/gemm_vnni*.c. For processors with AVX-512 and its byte products (VNNI), but
 * without AMX: byte products are eight times as many as products of doubles.
 *
 * Remainders (ring/gemm_residue.h) by 18 coprime moduli m_i <= 256, whose product M is above 2^140.7, are bytes; one ring product is 18
 * byte products instead of the 49 of limbs. vpdpbusd multiplies unsigned by signed bytes, here and there:
 *
 * x_i. Remainders of B are 0..m-1, those of A centred, -m/2..m/2: |x_i| <= 4096 * 255 * 128 < 2^27, so that a depth of
 * RESIDUE_DEPTH = 4096 fits 32 bits.
 *
 * q. The sum lies within |z| / M < 2^138 / 2^140.7 < 0.16 of a whole number, and is formed from 2^15 / m_i rounded to bytes, which
 * changes it by less than 17 * 127 / 2^16 < 0.04; and 0.16 + 0.04 < 1 / 2. |q| <= 9.
 *
 * Masked operands (ring_gemm_pack_masked) do without the last modulus: M is above 2^133.21 then, and their |z| below 2^132.1 makes
 * |z| / M < 0.464; and 0.464 + 16 * 127 / 2^16 < 1 / 2.
 *
 * z modulo 2^80: M / m_i and -M have GEMM_VNNI_LIMBS = 10 bytes; limb j of the result is the sum of 19
 * products of bytes, r_i or q by byte j of its coefficient, below 19 * 255 * 128 < 2^19.3.
 *
 * A group is four successive elements, the bytes of one lane of vpdpbusd. Tiles are 8 rows by the columns of a panel, 16, 32 or 48. */
#ifndef TREFOIL_RING_GEMM_VNNI_H
#define TREFOIL_RING_GEMM_VNNI_H

#include "ring/gemm_residue.h"

#if defined(__x86_64__) && ((defined(__clang__) && __clang_major__ >= 9) || \
                            (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 9))
#define GEMM_VNNI 1
#define GEMM_VNNI_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define GEMM_VNNI_INLINE GEMM_VNNI_TARGET static inline __attribute__((always_inline))
#endif

#define MODULI 18
#define GEMM_VNNI_LIMBS 10
#define GEMM_VNNI_QUADS 5 /* of bytes, that 18 remainders and a quotient fill */
#define ROWS 8            /* of a tile of C; its columns are those of a panel */
#define VECTOR 16         /* columns whose sums fill a register */
#define PANEL_VECTORS 3   /* 8 x 3 sums, 3 operands of B, one of A: 28 of the 32 registers */
#define PANEL (PANEL_VECTORS * VECTOR)
#define VNNI_STEP 8 /* the inner dimension is padded to */

/* What a matrix is multiplied with, modulo m, byte by byte, to become remainders. */
struct gemm_vnni_side {
    uint32_t low, high; /* four signed bytes each: factor 2^(8 j) mod m, centred */
    int32_t start;      /* -factor 2^63 mod m: the sign bit counts as a positive one before; less offset */
    int8_t offset;      /* of the remainders: 0 for A, (m-1) / 2 for B; centred remainders plus it */
};

struct gemm_vnni_modulus {
    uint32_t minus_m; /* a word, and 0 above it */
    uint32_t words;   /* 1 and 2^16 mod m, centred: what the words of a sum are multiplied with */
    float inverse;    /* 1 / m */
    struct gemm_vnni_side a, b;
};

/* The first modulus is 256. Four bytes in a word belong to four successive moduli; the 19th, to the quotient. What is not there is
 * zero. */
struct gemm_vnni_constants {
    struct residue_constants all; /* 18 or 17 moduli */
    struct gemm_vnni_modulus modulus[MODULI];
    uint32_t weight[GEMM_VNNI_QUADS];                /* 2^15 / m, rounded */
    uint32_t limb[GEMM_VNNI_LIMBS][GEMM_VNNI_QUADS]; /* bytes of M / m, and of -M, modulo 2^80 */
};

/* For any operands, or masked ones. Made at the first use; the same in every process. */
const struct gemm_vnni_constants *gemm_vnni_constants(bool masked);

/* out: a tile of up to 8 rows of A, [groups][8][4] for each modulus, these plane bytes apart; depth elements of each row exist
 * from a on, steps * 8 are made. */
void gemm_vnni_pack_rows(int8_t *out, const struct gemm_vnni_constants *constants, size_t plane, size_t steps,
                         const int64_t *a, size_t lda, size_t rows, size_t depth);

/* out: the columns first..first + 16 of a panel of width columns, of which columns exist; b points to the first of them. out points
 * to the panel. */
void gemm_vnni_pack_columns(uint8_t *out, const struct gemm_vnni_constants *constants, size_t width,
                            size_t first, size_t steps, const int64_t *b, size_t ldb, size_t columns,
                            size_t depth, bool transposed);

/* sums [8][width], rows stride apart: one tile of C modulo one m. a [groups][8][4], b [groups][width][4]; width is 16, 32 or
 * 48. */
void gemm_vnni_multiply(int32_t *sums, size_t stride, size_t width, const int8_t *a, const uint8_t *b,
                        size_t groups);

/* One row of C = or += the sums [18][48] of all moduli; so many columns exist. end: NULL, or the low plane of C becomes (C + the sums +
 * end->add) >> end->shift, and the high one stays. */
void gemm_vnni_combine(struct ring_wide c, const struct gemm_vnni_constants *constants, const int32_t *sums,
                       size_t columns, bool add, const struct ring_narrow *end);

#endif
