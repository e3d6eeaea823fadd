/* From 64-bit integers to the bytes of remainders; gemm_vnni.h explains them. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#include "ring/gemm_vnni_reduce.h"

/* Four vectors of elements, whose remainders share lanes: the low and the high halves, the sign bit turned. */
struct quad {
    __m512i low[4], high[4];
};

/* What makes remainders of one modulus. */
struct reduction {
    __m512i low, high, start, minus_m, offset;
    __m512 inverse;
};

GEMM_VNNI_INLINE struct reduction reduction(const struct gemm_vnni_side *side,
                                            const struct gemm_vnni_modulus *modulus)
{
    const struct reduction r = {
        _mm512_set1_epi32((int)side->low), _mm512_set1_epi32((int)side->high),
        _mm512_set1_epi32(side->start),    _mm512_set1_epi32((int)modulus->minus_m),
        _mm512_set1_epi8(side->offset),    _mm512_set1_ps(modulus->inverse),
    };
    return r;
}

/* out [64]: in each lane the remainders of the quad's four elements by an odd m; the sum of eight bytes that stands for an element
 * is below 8 * 255 * 128 + 2 m < 2^18.1. */
GEMM_VNNI_INLINE void emit(void *out, const struct quad *q, const struct reduction *r)
{
    __m512i x[4];
    for (int j = 0; j < 4; j++) {
        const __m512i low = _mm512_dpbusd_epi32(r->start, q->low[j], r->low);
        x[j] = gemm_vnni_reduce(_mm512_dpbusd_epi32(low, q->high[j], r->high), r->inverse, r->minus_m);
    }
    _mm512_storeu_si512(out, _mm512_add_epi8(gemm_vnni_join(x), r->offset));
}

/* The same by 256: the low bytes of the elements times a factor. */
GEMM_VNNI_INLINE void emit_256(void *out, const struct quad *q, const struct gemm_vnni_side *side)
{
    const __m512i byte = _mm512_set1_epi32(0xff), factor = _mm512_set1_epi32((int)side->low & 0xff);
    __m512i x[4];
    for (int j = 0; j < 4; j++)
        x[j] = _mm512_and_si512(_mm512_mullo_epi16(q->low[j], factor), byte);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
    _mm512_storeu_si512(out, gemm_vnni_order(bytes));
}

/* A quad of all moduli, plane bytes apart; the first is 256. right: of B. */
GEMM_VNNI_INLINE void emit_all(char *out, size_t plane, const struct quad *q,
                               const struct gemm_vnni_constants *constants, bool right)
{
    const struct gemm_vnni_modulus *modulus = constants->modulus;
    emit_256(out, q, right ? &modulus->b : &modulus->a);
    for (size_t i = 1; i < constants->all.count; i++) {
        const struct reduction r = reduction(right ? &modulus[i].b : &modulus[i].a, &modulus[i]);
        emit(out + i * plane, q, &r);
    }
}

/* Element j of a quad: the eight elements of x, then those of y. */
GEMM_VNNI_INLINE void split(struct quad *q, int j, __m512i x, __m512i y)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    q->low[j] = _mm512_permutex2var_epi32(x, even, y);
    q->high[j] = _mm512_xor_si512(_mm512_permutex2var_epi32(x, odd, y), _mm512_set1_epi32(INT32_MIN));
}

/* t[k]: element k of each of 8 rows; rows and elements that do not exist are zero. */
GEMM_VNNI_INLINE void transpose(__m512i t[8], const int64_t *a, size_t lda, size_t rows, size_t depth)
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

GEMM_VNNI_TARGET void gemm_vnni_pack_rows(int8_t *out, const struct gemm_vnni_constants *constants,
                                          size_t plane, size_t steps, const int64_t *a, size_t lda,
                                          size_t rows, size_t depth)
{
    for (size_t step = 0; step < steps; step++) {
        __m512i t[8];
        struct quad q; /* lanes: the rows of the first group, then those of the second */
        transpose(t, a + step * VNNI_STEP, lda, rows, depth - step * VNNI_STEP);
        for (int j = 0; j < 4; j++)
            split(&q, j, t[j], t[4 + j]);
        emit_all((char *)out + step * (VNNI_STEP * ROWS), plane, &q, constants, false);
    }
}

GEMM_VNNI_INLINE __m512i columns_of(const int64_t *b, size_t columns)
{
    return _mm512_maskz_loadu_epi64((__mmask8)(columns >= 8 ? 0xff : (1u << columns) - 1), b);
}

GEMM_VNNI_TARGET void gemm_vnni_pack_columns(uint8_t *out, const struct gemm_vnni_constants *constants,
                                             size_t width, size_t first, size_t steps, const int64_t *b,
                                             size_t ldb, size_t columns, size_t depth, bool transposed)
{
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
            emit_all((char *)out + ((2 * step + group) * width + first) * 4, steps * VNNI_STEP * width, &q,
                     constants, true);
        }
    }
}

#endif
