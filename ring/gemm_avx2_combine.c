/* From the remainders of results back to results; gemm_avx2.h explains it. */
#include "ring/gemm_avx2.h"

#ifdef GEMM_AVX2

#include <string.h>

#include "ring/gemm_avx2_reduce.h"

/* The remainder by one modulus in the low word of each lane. */
GEMM_AVX2_INLINE __m256i residue(const int32_t *sums, const struct gemm_avx2_constants *constants, size_t i)
{
    const struct gemm_avx2_modulus *m = &constants->modulus[i];
    if (i >= AVX2_MODULI || (i == AVX2_MODULI - 1 && i >= constants->all.count))
        return _mm256_setzero_si256();
    return gemm_avx2_reduce(_mm256_load_si256((const __m256i *)(const void *)(sums + i * AVX2_PANEL)),
                            _mm256_set1_ps(m->inverse), _mm256_set1_epi32(m->m));
}

/* sum and the products of all words. */
GEMM_AVX2_INLINE __m256i dot(__m256i sum, const uint32_t coefficients[AVX2_PAIRS],
                             const __m256i pair[AVX2_PAIRS])
{
#pragma GCC unroll 6
    for (int i = 0; i < AVX2_PAIRS; i++)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pair[i], _mm256_set1_epi32((int)coefficients[i])));
    return sum;
}

/* Eight elements of Z_2^80: four and four low planes; of each lane of top the low 16 bits count. */
struct eight {
    __m256i low[2], top;
};

GEMM_AVX2_INLINE struct eight results(const struct gemm_avx2_constants *constants, const int32_t *sums)
{
    __m256i pair[AVX2_PAIRS], word[AVX2_WORDS];
#pragma GCC unroll 6
    for (size_t i = 0; i < AVX2_PAIRS; i++)
        pair[i] = gemm_avx2_join(residue(sums, constants, 2 * i), residue(sums, constants, 2 * i + 1));
    const __m256i q = _mm256_srai_epi32(dot(_mm256_set1_epi32(1 << 27), constants->weight, pair), 28);
    pair[AVX2_PAIRS - 1] = gemm_avx2_join(pair[AVX2_PAIRS - 1], q);
#pragma GCC unroll 5
    for (int i = 0; i < AVX2_WORDS; i++)
        word[i] = dot(i > 0 ? _mm256_srai_epi32(word[i - 1], 16) : _mm256_setzero_si256(), constants->word[i],
                      pair);
    const __m256i low = gemm_avx2_join(word[0], word[1]), high = gemm_avx2_join(word[2], word[3]);
    const __m256i one = _mm256_unpacklo_epi32(low, high), two = _mm256_unpackhi_epi32(low, high);
    return (struct eight){
        {_mm256_permute2x128_si256(one, two, 0x20), _mm256_permute2x128_si256(one, two, 0x31)}, word[4]};
}

/* All ones in the lanes whose sum a + b, modulo 2^64, is below b. */
GEMM_AVX2_INLINE __m256i carried(__m256i sum, __m256i b)
{
    const __m256i bit = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_cmpgt_epi64(_mm256_xor_si256(b, bit), _mm256_xor_si256(sum, bit));
}

GEMM_AVX2_INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* x += c: both planes. */
GEMM_AVX2_INLINE void add_before(struct eight *x, struct ring_wide c)
{
    __m256i carry[2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        const __m256i before = load(c.lo + 4 * j);
        x->low[j] = _mm256_add_epi64(x->low[j], before);
        carry[j] = carried(x->low[j], before);
    }
    const __m256 halves =
        _mm256_shuffle_ps(_mm256_castsi256_ps(carry[0]), _mm256_castsi256_ps(carry[1]), 0x88);
    const __m256i ones = _mm256_permute4x64_epi64(_mm256_castps_si256(halves), 0xd8);
    const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)c.hi));
    x->top = _mm256_sub_epi32(_mm256_add_epi32(x->top, high), ones);
}

GEMM_AVX2_INLINE void put(struct ring_wide c, const struct eight *x)
{
    const __m256i words = _mm256_and_si256(x->top, _mm256_set1_epi32(0xffff));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)c.lo, x->low[0]);
    _mm256_storeu_si256((__m256i *)(void *)(c.lo + 4), x->low[1]);
    _mm_storeu_si128((__m128i *)(void *)c.hi, _mm256_castsi256_si128(packed));
}

/* The low plane of c = (x + end->add) >> end->shift; see ring_narrow. A shift by 64, for one by 0, gives 0. */
GEMM_AVX2_INLINE void put_narrowed(struct ring_wide c, const struct eight *x, const struct ring_narrow *end)
{
    const __m256i add_low = _mm256_set1_epi64x((int64_t)(uint64_t)end->add),
                  add_high = _mm256_set1_epi64x((int64_t)(uint64_t)(end->add >> 64));
    const __m128i right = _mm_cvtsi32_si128(end->shift), left = _mm_cvtsi32_si128(64 - end->shift);
    const __m256i top[2] = {_mm256_cvtepu32_epi64(_mm256_castsi256_si128(x->top)),
                            _mm256_cvtepu32_epi64(_mm256_extracti128_si256(x->top, 1))};
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        const __m256i sum = _mm256_add_epi64(x->low[j], add_low);
        const __m256i high = _mm256_sub_epi64(_mm256_add_epi64(top[j], add_high), carried(sum, x->low[j]));
        _mm256_storeu_si256((__m256i *)(void *)(c.lo + 4 * j),
                            _mm256_or_si256(_mm256_srl_epi64(sum, right), _mm256_sll_epi64(high, left)));
    }
}

GEMM_AVX2_INLINE void combine(struct ring_wide c, const struct gemm_avx2_constants *constants,
                              const int32_t *sums, bool add, const struct ring_narrow *end)
{
    struct eight x = results(constants, sums);
    if (add)
        add_before(&x, c);
    if (end)
        put_narrowed(c, &x, end);
    else
        put(c, &x);
}

GEMM_AVX2_TARGET void gemm_avx2_combine(struct ring_wide c, const struct residue_constants *constants,
                                        const int32_t *sums, size_t columns, bool add,
                                        const struct ring_narrow *end)
{
    const struct gemm_avx2_constants *own = gemm_avx2_own(constants);
    for (; columns >= AVX2_VECTOR;
         columns -= AVX2_VECTOR, sums += AVX2_VECTOR, c = ring_wide_at(c, AVX2_VECTOR))
        combine(c, own, sums, add, end);
    if (columns == 0)
        return;
    uint64_t lo[AVX2_VECTOR] = {0};
    uint16_t hi[AVX2_VECTOR] = {0};
    memcpy(lo, c.lo, columns * sizeof *lo);
    memcpy(hi, c.hi, columns * sizeof *hi);
    combine((struct ring_wide){lo, hi}, own, sums, add, end);
    memcpy(c.lo, lo, columns * sizeof *lo);
    memcpy(c.hi, hi, columns * sizeof *hi);
}

#endif
