/* From 64-bit integers to the bytes of remainders; gemm_vnni.h explains them. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#include <immintrin.h>

/* 1.5 2^23: a float below 2^22 added to it becomes a whole number in its low bits. */
#define MAGIC 12582912.0f

/* Four vectors of elements, whose remainders share lanes: the low and the high halves, the sign bit turned. */
struct quad {
    __m512i low[4], high[4];
};

/* What makes remainders of one modulus. */
struct reduction {
    __m512i low, high, start, minus_m;
    __m512 inverse, half; /* 1 / m; 1 / (2 m) */
};

GEMM_VNNI_TARGET static inline struct reduction reduction(const struct gemm_vnni_side *side,
                                                          const struct gemm_vnni_modulus *modulus)
{
    const struct reduction r = {
        _mm512_set1_epi32((int)side->low),        _mm512_set1_epi32((int)side->high),
        _mm512_set1_epi32(side->start),           _mm512_set1_epi32(-modulus->m & 0xffff),
        _mm512_set1_ps(1.0f / (float)modulus->m), _mm512_set1_ps(0.5f / (float)modulus->m),
    };
    return r;
}

/* The remainder of 16 elements: centred if is_signed, else 0..m-1. The weighted sum of eight bytes is below 8 * 255 * 128 + m <
 * 2^18.1, exact as a float; its quotient by m is off by less than 2^-12, where 1 / (2 m) >= 2^-9 separates it from the next
 * rounding. (m = 256 alone meets a quotient of one half: either rounding gives the same byte.) The low 16 bits of quotient + MAGIC
 * are the quotient; multiplied by -m and added, with 0 for the upper 16. */
GEMM_VNNI_TARGET static inline __m512i remainder_of(const struct reduction *r, __m512i low, __m512i high,
                                                    bool is_signed)
{
    const __m512i sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(r->start, low, r->low), high, r->high);
    const __m512 number = _mm512_cvtepi32_ps(sum);
    __m512 quotient;
    if (is_signed)
        quotient = _mm512_fmadd_ps(number, r->inverse, _mm512_set1_ps(MAGIC));
    else
        quotient = _mm512_add_ps(_mm512_roundscale_ps(_mm512_fmadd_ps(number, r->inverse, r->half),
                                                      _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC),
                                 _mm512_set1_ps(MAGIC));
    return _mm512_dpwssd_epi32(sum, _mm512_castps_si512(quotient), r->minus_m);
}

/* The bytes of mask from x, the others from y. */
GEMM_VNNI_TARGET static inline __m512i choose(__m512i mask, __m512i x, __m512i y)
{
    return _mm512_ternarylogic_epi32(mask, x, y, 0xca);
}

/* out [64]: in each lane the remainders of the quad's four elements. */
GEMM_VNNI_TARGET static inline void emit(void *out, const struct quad *q, const struct reduction *r,
                                         bool is_signed)
{
    __m512i x[4];
    for (int j = 0; j < 4; j++)
        x[j] = remainder_of(r, q->low[j], q->high[j], is_signed);
    const __m512i byte = _mm512_set1_epi32(0xff), pair = _mm512_set1_epi32(0xffff);
    const __m512i first = choose(byte, x[0], _mm512_slli_epi32(x[1], 8));
    const __m512i second = choose(byte, x[2], _mm512_slli_epi32(x[3], 8));
    _mm512_storeu_si512(out, choose(pair, first, _mm512_slli_epi32(second, 16)));
}

/* Element j of a quad: the eight elements of x, then those of y. */
GEMM_VNNI_TARGET static inline void split(struct quad *q, int j, __m512i x, __m512i y)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    q->low[j] = _mm512_permutex2var_epi32(x, even, y);
    q->high[j] = _mm512_xor_si512(_mm512_permutex2var_epi32(x, odd, y), _mm512_set1_epi32(INT32_MIN));
}

/* t[k]: element k of each of 8 rows; rows and elements that do not exist are zero. */
GEMM_VNNI_TARGET static inline void transpose(__m512i t[8], const int64_t *a, size_t lda, size_t rows,
                                              size_t depth)
{
    const __mmask8 exist = (__mmask8)(depth >= 8 ? 0xff : (1u << depth) - 1);
    __m512i r[8], s[8];
    for (size_t i = 0; i < 8; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_epi64(exist, a + i * lda) : _mm512_setzero_si512();
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + j] = _mm512_shuffle_i64x2(s[i + j], s[i + j + 2], 0x88);
            r[i + j + 2] = _mm512_shuffle_i64x2(s[i + j], s[i + j + 2], 0xdd);
        }
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i64x2(r[j], r[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_i64x2(r[j], r[j + 4], 0xdd);
    }
}

GEMM_VNNI_TARGET void gemm_vnni_pack_rows(int8_t *out, size_t tiles, size_t steps, const int64_t *a,
                                          size_t lda, size_t rows, size_t depth)
{
    const struct gemm_vnni_constants *constants = gemm_vnni_constants();
    for (size_t step = 0; step < steps; step++) {
        __m512i t[8];
        struct quad q; /* lanes: the rows of the first group, then those of the second */
        transpose(t, a + step * VNNI_STEP, lda, rows, depth - step * VNNI_STEP);
        for (int j = 0; j < 4; j++)
            split(&q, j, t[j], t[4 + j]);
        for (size_t i = 0; i < MODULI; i++) {
            const struct reduction r = reduction(&constants->modulus[i].a, &constants->modulus[i]);
            emit(out + (i * tiles * steps + step) * (VNNI_STEP * ROWS), &q, &r, true);
        }
    }
}

GEMM_VNNI_TARGET static inline __m512i columns_of(const int64_t *b, size_t columns)
{
    return _mm512_maskz_loadu_epi64((__mmask8)(columns >= 8 ? 0xff : (1u << columns) - 1), b);
}

GEMM_VNNI_TARGET void gemm_vnni_pack_columns(uint8_t *out, size_t width, size_t first, size_t steps,
                                             const int64_t *b, size_t ldb, size_t columns, size_t depth,
                                             bool transposed)
{
    const struct gemm_vnni_constants *constants = gemm_vnni_constants();
    const size_t left = gemm_min(columns, 8), right = columns - left;
    for (size_t step = 0; step < steps; step++) {
        const size_t at = step * VNNI_STEP, rest = depth - at;
        __m512i x[VNNI_STEP], y[VNNI_STEP]; /* columns 0..7, and 8..15 */
        if (transposed) {
            transpose(x, b + at, ldb, left, rest);
            transpose(y, b + at + 8 * ldb, ldb, right, rest);
        } else
            for (size_t k = 0; k < VNNI_STEP; k++) {
                x[k] = k < rest ? columns_of(b + (at + k) * ldb, left) : _mm512_setzero_si512();
                y[k] = k < rest && right > 0 ? columns_of(b + (at + k) * ldb + 8, right)
                                             : _mm512_setzero_si512();
            }
        for (size_t group = 0; group < 2; group++) {
            struct quad q;
            for (int j = 0; j < 4; j++)
                split(&q, j, x[4 * group + (size_t)j], y[4 * group + (size_t)j]);
            for (size_t i = 0; i < MODULI; i++) {
                const struct reduction r = reduction(&constants->modulus[i].b, &constants->modulus[i]);
                emit(out + ((i * steps + step) * 2 + group) * width * 4 + first * 4, &q, &r, false);
            }
        }
    }
}

#endif
