/* From 64-bit integers to the words of remainders; gemm_avx2.h explains them. */
#include "ring/gemm_avx2.h"

#ifdef GEMM_AVX2

#include "ring/gemm_avx2_reduce.h"

/* Two vectors of elements, whose remainders share lanes: the lower and the upper two words, the lower three less 2^15. */
struct pair {
    __m256i low[2], high[2];
};

/* out [32]: in each lane the remainders of the pair's two elements by m; the sum of words that stands for an element is below
 * 2^17 (m / 2) + m / 2 < 2^29.4. */
GEMM_AVX2_INLINE void emit(void *out, const struct pair *p, const struct gemm_avx2_side *side,
                           const struct gemm_avx2_modulus *modulus)
{
    const __m256i low = _mm256_set1_epi32((int)side->low), high = _mm256_set1_epi32((int)side->high),
                  start = _mm256_set1_epi32(side->start), m = _mm256_set1_epi32(modulus->m);
    const __m256 inverse = _mm256_set1_ps(modulus->inverse);
    __m256i x[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++)
        x[j] = gemm_avx2_reduce(_mm256_add_epi32(_mm256_add_epi32(start, _mm256_madd_epi16(p->low[j], low)),
                                                 _mm256_madd_epi16(p->high[j], high)),
                                inverse, m);
    _mm256_storeu_si256(out, gemm_avx2_join(x[0], x[1]));
}

/* A pair of all moduli, plane bytes apart. right: of B. */
GEMM_AVX2_INLINE void emit_all(char *out, size_t plane, const struct pair *p,
                               const struct gemm_avx2_constants *constants, bool right)
{
    for (size_t i = 0; i < constants->all.count; i++) {
        const struct gemm_avx2_modulus *modulus = &constants->modulus[i];
        emit(out + i * plane, p, right ? &modulus->b : &modulus->a, modulus);
    }
}

/* Element j of a pair: the four elements of x, then those of y. */
GEMM_AVX2_INLINE void split(struct pair *p, int j, __m256i x, __m256i y)
{
    const __m256 one = _mm256_castsi256_ps(x), two = _mm256_castsi256_ps(y);
    const __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(one, two, 0x88)),
                  high = _mm256_castps_si256(_mm256_shuffle_ps(one, two, 0xdd));
    p->low[j] = _mm256_xor_si256(_mm256_permute4x64_epi64(low, 0xd8), _mm256_set1_epi32((int)0x80008000));
    p->high[j] = _mm256_xor_si256(_mm256_permute4x64_epi64(high, 0xd8), _mm256_set1_epi32(0x8000));
}

/* The first `exist` of four elements; the others are zero. */
GEMM_AVX2_INLINE __m256i load(const int64_t *x, size_t exist)
{
    if (exist >= 4)
        return _mm256_loadu_si256((const __m256i *)(const void *)x);
    const __m256i mask =
        _mm256_cmpgt_epi64(_mm256_set1_epi64x((int64_t)exist), _mm256_setr_epi64x(0, 1, 2, 3));
    return _mm256_maskload_epi64((const long long *)x, mask);
}

/* t[k]: element k of each of 4 rows; rows and elements that do not exist are zero. */
GEMM_AVX2_INLINE void transpose(__m256i t[4], const int64_t *a, size_t lda, size_t rows, size_t depth)
{
    __m256i r[4], s[4];
    for (size_t i = 0; i < 4; i++)
        r[i] = i < rows ? load(a + i * lda, depth) : _mm256_setzero_si256();
    for (int i = 0; i < 4; i += 2) {
        s[i] = _mm256_unpacklo_epi64(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int j = 0; j < 2; j++) {
        t[j] = _mm256_permute2x128_si256(s[j], s[j + 2], 0x20);
        t[j + 2] = _mm256_permute2x128_si256(s[j], s[j + 2], 0x31);
    }
}

GEMM_AVX2_TARGET void gemm_avx2_pack_rows(void *out, const struct residue_constants *constants, size_t plane,
                                          size_t steps, const int64_t *a, size_t lda, size_t rows,
                                          size_t depth)
{
    for (size_t step = 0; step < steps; step++) {
        __m256i t[AVX2_STEP];
        struct pair p; /* lanes: the rows of the first group, then those of the second */
        transpose(t, a + step * AVX2_STEP, lda, rows, depth - step * AVX2_STEP);
        for (int j = 0; j < 2; j++)
            split(&p, j, t[j], t[2 + j]);
        emit_all((char *)out + step * (RESIDUE_STEP_BYTES * AVX2_ROWS), plane, &p, gemm_avx2_own(constants),
                 false);
    }
}

GEMM_AVX2_TARGET void gemm_avx2_pack_columns(void *out, const struct residue_constants *constants,
                                             size_t width, size_t first, size_t steps, const int64_t *b,
                                             size_t ldb, size_t columns, size_t depth, bool transposed)
{
    const size_t left = gemm_min(columns, 4), right = columns - left;
    for (size_t step = 0; step < steps; step++) {
        const size_t at = step * AVX2_STEP, rest = depth - at;
        __m256i x[AVX2_STEP], y[AVX2_STEP]; /* columns 0..3, and 4..7 */
        if (transposed) {
            transpose(x, b + at, ldb, left, rest);
            transpose(y, b + at + 4 * ldb, ldb, right, rest);
        } else
            for (size_t k = 0; k < AVX2_STEP; k++) {
                x[k] = k < rest ? load(b + (at + k) * ldb, left) : _mm256_setzero_si256();
                y[k] = k < rest && right > 0 ? load(b + (at + k) * ldb + 4, right) : _mm256_setzero_si256();
            }
        for (size_t group = 0; group < 2; group++) {
            struct pair p;
            for (int j = 0; j < 2; j++)
                split(&p, j, x[2 * group + (size_t)j], y[2 * group + (size_t)j]);
            emit_all((char *)out + ((2 * step + group) * width + first) * 4,
                     steps * RESIDUE_STEP_BYTES * width, &p, gemm_avx2_own(constants), true);
        }
    }
}

#endif
