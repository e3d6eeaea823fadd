/* The VNNI kernel's own terms; private to ring/gemm_vnni*.c. For processors with AVX-512, its byte products (VNNI) and its
 * products of 52-bit integers (IFMA), but without AMX: byte products are eight times as many as products of doubles.
 *
 * A sum over the inner dimension is at most 2^138, so it is known by its remainders by 18 coprime moduli m_i <= 256, whose
 * product M is above 2^140.4; and remainders are bytes. One ring product is 18 byte products instead of the 49 of limbs:
 *
 *     z = sum over k of a_k b_k                                 |z| <= 4096 2^63 2^63 = 2^138
 *     x_i = sum over k of (a_k mod m_i) (b_k v_i mod m_i),      v_i = (M / m_i)^-1 mod m_i
 *     z = sum over i of x_i M / m_i  -  q M,                    q = round(sum over i of x_i / m_i)
 *
 * (Chinese remainders; v_i is a factor of the packed B.) The result is formed modulo 2^80 only. q is exact: the sum lies within
 * |z| / M < 2^138 / 2^140.4 < 0.19 of a whole number, and is formed as 18 integers floor(2^7 x_i / m_i), of which each may be too
 * small by 1 (and that 2^59 / m_i is rounded costs 2^-23 more); with 9 added, half of what they lose at most, it is off by at
 * most 9 / 128 or so, and 0.19 + 0.08 < 1 / 2.
 *
 * vpdpbusd multiplies unsigned by signed bytes. Remainders of B are 0..m-1, those of A centred, -m/2..m/2:
 *
 *     |x_i| <= 4096 * 255 * 128 < 2^27 = GEMM_VNNI_BIAS
 *
 * so a depth of GEMM_VNNI_DEPTH = 4096 fits 32 bits. A sum begins at the smallest multiple of m_i from 2^27 on, which makes
 * it positive and changes no remainder: 0 <= x_i < 2^28 + 256.
 *
 * Layouts. A group is four successive elements of the inner dimension, the bytes of one lane of vpdpbusd. Inner dimensions are
 * padded with zeros to whole steps of two groups.
 *     A    [18 moduli][tiles of 8 rows][groups][8 rows][4], and a cache line after each modulus: whole powers of two between what
 *          is written together would share few places of a cache
 *     B    [panels of 48 columns][18 moduli][groups][columns of the panel][4]; the last panel has 16, 32 or 48 columns */
#ifndef TREFOIL_RING_GEMM_VNNI_H
#define TREFOIL_RING_GEMM_VNNI_H

#include "ring/gemm_kernel.h"

#if defined(__x86_64__) && ((defined(__clang__) && __clang_major__ >= 9) || \
                            (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 9))
#define GEMM_VNNI 1
#define GEMM_VNNI_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vnni")))
#endif

#define MODULI 18
#define GEMM_VNNI_DEPTH 4096
#define GEMM_VNNI_BIAS (1u << 27)
#define ROWS 8          /* of a tile of C; its columns are those of a panel */
#define VECTOR 16       /* columns whose sums fill a register */
#define PANEL_VECTORS 3 /* 8 x 3 sums, 3 operands of B, one of A: 28 of the 32 registers */
#define PANEL (PANEL_VECTORS * VECTOR)
#define VNNI_STEP 8 /* the inner dimension is padded to */

/* What a matrix is multiplied with, modulo m, byte by byte, to become remainders. */
struct gemm_vnni_side {
    uint32_t low, high; /* four signed bytes each: factor 2^(8 j) mod m, centred */
    int32_t start;      /* -factor 2^63 mod m: the sign bit counts as a positive one before; less offset */
    int8_t offset;      /* of the remainders: 0 for A, (m-1) / 2 for B; centred remainders plus it */
};

/* A number modulo 2^80, cut at bit 52. */
struct gemm_vnni_value {
    uint64_t low, high;
};

struct gemm_vnni_modulus {
    int32_t m, bias;
    uint32_t minus_m; /* a word, and 0 above it */
    float inverse;    /* 1 / m */
    struct gemm_vnni_side a, b;
    struct gemm_vnni_value others; /* M / m */
    uint64_t share; /* 2^59 / m, rounded: the upper 52 bits of its product with x are 2^7 x / m */
};

struct gemm_vnni_constants {
    struct gemm_vnni_modulus modulus[MODULI];
    struct gemm_vnni_value minus_all; /* -M */
};

/* Made at the first use; the same in every process. */
const struct gemm_vnni_constants *gemm_vnni_constants(void);

/* out: a tile of up to 8 rows of A, [groups][8][4] for each modulus, these plane bytes apart; depth elements of each row exist
 * from a on, steps * 8 are made. */
void gemm_vnni_pack_rows(int8_t *out, size_t plane, size_t steps, const int64_t *a, size_t lda, size_t rows,
                         size_t depth);

/* out: the columns first..first + 16 of a panel of width columns, of which columns exist; b points to the first of them. out points
 * to the panel. */
void gemm_vnni_pack_columns(uint8_t *out, size_t width, size_t first, size_t steps, const int64_t *b,
                            size_t ldb, size_t columns, size_t depth, bool transposed);

/* sums [8][width], rows stride apart: one tile of C modulo one m. a [groups][8][4], b [groups][width][4]; width is 16, 32 or 48.
 * Begins with bias. */
void gemm_vnni_multiply(uint32_t *sums, size_t stride, size_t width, const int8_t *a, const uint8_t *b,
                        size_t groups, int32_t bias);

/* One row of C = or += the sums [18][width] of all moduli; columns <= width exist. */
void gemm_vnni_combine(struct ring_wide c, const uint32_t *sums, size_t width, size_t columns, bool add);

#endif
