/* From 64-bit integers to byte limbs, in the order that AMX tiles are read in (gemm_amx.h). */
#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline)) GEMM_AMX_TARGET

/* v[0..8): eight elements each. Out: v[l] holds limb l of all 64, in order. */
INLINE void limbs_apart(__m512i v[LIMBS])
{
    /* byte 8 l + e of a register: limb l of its element e */
    const __m512i order =
        _mm512_set_epi64(0x3f372f271f170f07, 0x3e362e261e160e06, 0x3d352d251d150d05, 0x3c342c241c140c04,
                         0x3b332b231b130b03, 0x3a322a221a120a02, 0x3931292119110901, 0x3830282018100800);
    __m512i t[LIMBS];
    for (int i = 0; i < LIMBS; i++)
        v[i] = _mm512_permutexvar_epi8(order, v[i]);
    /* and the 8 x 8 words transposed */
    for (int i = 0; i < LIMBS; i += 2) {
        t[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
    }
    for (int i = 0; i < LIMBS; i += 4)
        for (int j = 0; j < 2; j++) {
            v[i + j] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0x88);
            v[i + j + 2] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0xdd);
        }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i64x2(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i64x2(v[i], v[i + 4], 0xdd);
    }
    for (int i = 0; i < LIMBS; i++)
        v[i] = t[i];
}

/* The lanes of 8 that lie below n. */
static inline uint8_t below(size_t n)
{
    return n >= 8 ? 0xff : (uint8_t)((1u << n) - 1);
}

/* v: 64 elements of a row, of which n exist. */
INLINE void load_row(__m512i v[LIMBS], const int64_t *a, size_t n)
{
    for (size_t i = 0; i < LIMBS; i++)
        v[i] = n >= STEP    ? _mm512_loadu_si512(a + 8 * i)
               : n <= 8 * i ? _mm512_setzero_si512()
                            : _mm512_maskz_loadu_epi64(below(n - 8 * i), a + 8 * i);
}

GEMM_AMX_TARGET void gemm_amx_limbs_of_rows(uint8_t *out, size_t steps, const int64_t *a, size_t lda,
                                            size_t rows, size_t depth)
{
    __m512i v[LIMBS];
    for (size_t step = 0; step < steps; step++)
        for (size_t row = 0; row < SIDE; row++) {
            uint8_t *at = out + step * STEP_BYTES + row * STEP;
            if (row < rows) {
                load_row(v, a + row * lda + step * STEP, depth - step * STEP);
                limbs_apart(v);
            }
            for (int i = 0; i < LIMBS; i++)
                _mm512_store_si512(at + i * TILE, row < rows ? v[i] : _mm512_setzero_si512());
        }
}

/* Four rows of sixteen columns become one row of each limb's tile. */
INLINE void columns_group(uint8_t *out, const int64_t *b, size_t ldb, size_t columns, size_t rows)
{
    __m512i v[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        const size_t row = i / 2, column = i % 2 * 8;
        v[i] = row >= rows || column >= columns
                   ? _mm512_setzero_si512()
                   : _mm512_maskz_loadu_epi64(below(columns - column), b + row * ldb + column);
    }
    limbs_apart(v);
    /* now row r, column c is byte 16 r + c; it belongs at 4 c + r */
    const __m512i order =
        _mm512_set_epi64(0x3f2f1f0f3e2e1e0e, 0x3d2d1d0d3c2c1c0c, 0x3b2b1b0b3a2a1a0a, 0x3929190938281808,
                         0x3727170736261606, 0x3525150534241404, 0x3323130332221202, 0x3121110130201000);
    for (int i = 0; i < LIMBS; i++)
        _mm512_store_si512(out + i * TILE, _mm512_permutexvar_epi8(order, v[i]));
}

/* The 16 x 16 words of 32 bits of a tile, transposed in place. */
INLINE void transpose(uint8_t *tile)
{
    __m512i v[SIDE], t[SIDE];
    for (int i = 0; i < SIDE; i++)
        v[i] = _mm512_load_si512(tile + 64 * i);
    for (int i = 0; i < SIDE; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4)
        for (int j = 0; j < 2; j++) {
            v[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            v[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    /* v[4 g + w], lane l: word 4 l + w of rows 4 g .. 4 g + 3 */
    for (int w = 0; w < 4; w++) {
        const __m512i low = _mm512_shuffle_i32x4(v[w], v[4 + w], 0x88); /* lanes 0, 2 of groups 0, 1 */
        const __m512i low2 = _mm512_shuffle_i32x4(v[8 + w], v[12 + w], 0x88);
        const __m512i high = _mm512_shuffle_i32x4(v[w], v[4 + w], 0xdd); /* lanes 1, 3 */
        const __m512i high2 = _mm512_shuffle_i32x4(v[8 + w], v[12 + w], 0xdd);
        _mm512_store_si512(tile + 64 * w, _mm512_shuffle_i32x4(low, low2, 0x88));
        _mm512_store_si512(tile + 64 * (4 + w), _mm512_shuffle_i32x4(high, high2, 0x88));
        _mm512_store_si512(tile + 64 * (8 + w), _mm512_shuffle_i32x4(low, low2, 0xdd));
        _mm512_store_si512(tile + 64 * (12 + w), _mm512_shuffle_i32x4(high, high2, 0xdd));
    }
}

GEMM_AMX_TARGET void gemm_amx_limbs_of_columns(uint8_t *out, size_t steps, const int64_t *b, size_t ldb,
                                               size_t columns, size_t depth, bool transposed)
{
    if (transposed) { /* the columns of B are rows in memory */
        gemm_amx_limbs_of_rows(out, steps, b, ldb, columns, depth);
        for (size_t i = 0; i < steps * LIMBS; i++)
            transpose(out + i * TILE);
        return;
    }
    for (size_t group = 0; group < steps * (STEP / 4); group++) {
        const size_t row = group * 4, rows = row < depth ? depth - row : 0;
        columns_group(out + row / STEP * STEP_BYTES + row % STEP / 4 * 64, rows != 0 ? b + row * ldb : b, ldb,
                      columns, rows);
    }
}

#endif
