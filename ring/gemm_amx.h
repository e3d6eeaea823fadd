/* The AMX kernel's own terms; private to ring/gemm_amx*.c.
 *
 *     a = sum over i = 0..7 of 2^(8 i) a_i,   a_0..a_6 unsigned bytes, a_7 a signed one
 *     a b = sum over s = 0..9 of 2^(8 s) sum over i + j = s of a_i b_j   modulo 2^80
 *
 * since 2^(8 * 10) is 0 modulo 2^80: 49 limb products. The sum over i + j = s, a diagonal, is formed in one
 * 32-bit accumulator. The largest is s = 7, six products of unsigned bytes and two of an unsigned with a
 * signed one:
 *
 *     -2 * 255 * 128  <=  a_0 b_7 + ... + a_7 b_0  <=  6 * 255 * 255 + 2 * 255 * 127 = 454920
 *
 * so a depth of GEMM_AMX_DEPTH = 4096 stays below 2^31 (454920 * 4096 = 1.74 * 2^30).
 *
 * A tile is 1 KiB. A limb of A in a tile: 16 rows of 64 successive elements of the inner dimension. A limb of
 * B: 16 rows of 16 columns of 4 successive elements. A step is the inner dimension of one tile, 64; the eight
 * limb tiles of one step lie together, those of successive steps behind each other, and those of the next 16
 * rows of A, or columns of B, behind all steps. What is missing at the edges is zero. */
#ifndef TREFOIL_RING_GEMM_AMX_H
#define TREFOIL_RING_GEMM_AMX_H

#include "ring/amx.h"
#include "ring/gemm_kernel.h"

#ifdef RING_AMX
#define GEMM_AMX 1
#define GEMM_AMX_TARGET \
    __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,amx-tile,amx-int8")))
#endif

#define LIMBS 8
#define DIAGONALS 10
#define SIDE 16   /* rows of A, columns of B and C, in a tile */
#define STEP 64   /* inner dimension of a tile */
#define TILE 1024 /* bytes */
#define STEP_BYTES (LIMBS * TILE)
#define SUMS_BYTES (DIAGONALS * TILE) /* the diagonals of one tile of C, 32-bit */

#define GEMM_AMX_DEPTH 4096

/* out: the limbs of steps first..first + steps of one tile of 16 rows; rows <= 16 of them exist. a points to
 * the first element of the first of these rows, which has depth elements in all from there on. */
void gemm_amx_limbs_of_rows(uint8_t *out, size_t steps, const int64_t *a, size_t lda, size_t rows,
                            size_t depth);

/* out: the limbs of 16 columns, columns <= 16 of which exist; b points to the first element of the first one.
 */
void gemm_amx_limbs_of_columns(uint8_t *out, size_t steps, const int64_t *b, size_t ldb, size_t columns,
                               size_t depth, bool transposed);

/* A tile of C. */
struct gemm_amx_tile {
    struct ring_wide c; /* at its first element */
    size_t ldc;
    unsigned rows, columns; /* that exist */
    bool add;
    /* Or NULL: the low plane of c becomes what narrowing makes of the sum, and the high one stays. */
    const struct ring_narrow *end;
};

/* What one thread works with. A tile's diagonals are added up, row by row, during the products of the next
 * tile. */
struct gemm_amx_work {
    struct gemm_amx_tile last; /* the tile before, */
    unsigned row;              /* finished up to here; */
    int32_t *sums;             /* its diagonals, then those of the present one: [DIAGONALS][SIDE][SIDE] */
    int32_t *dummy;            /* [SIDE][SIDE] */
};

/* What is fetched meanwhile. */
struct gemm_amx_ahead {
    const uint8_t *b;   /* limbs of columns of the next tile, for the first-level cache */
    const uint8_t *far; /* what will be needed later, for the second-level cache */
    size_t far_bytes;
};

/* tile = or += 16 rows of A times 16 columns of B over 1 to 64 steps. Finishes the tile before, and leaves
 * this one to be finished. */
void gemm_amx_multiply(struct gemm_amx_work *work, const struct gemm_amx_tile *tile, const uint8_t *a,
                       const uint8_t *b, size_t steps, const struct gemm_amx_ahead *ahead);

/* Finishes the last tile. */
void gemm_amx_finish(struct gemm_amx_work *work);

#endif
