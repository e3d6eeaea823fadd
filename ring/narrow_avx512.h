/* ring_narrow, eight elements at a time: for paths and kernels that have AVX-512, who say so by a target of their own. */
#ifndef TREFOIL_RING_NARROW_AVX512_H
#define TREFOIL_RING_NARROW_AVX512_H

#include <immintrin.h>

#include "ring/elementwise.h"

#ifndef NARROW_AVX512 /* tests emulate it */
#define NARROW_AVX512 \
    static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512dq,avx512vl")))
#endif

/* The constants in registers. A shift by 64, for one by 0, gives 0. */
struct narrow_avx512 {
    __m512i low, high;
    __m128i right, left;
};

NARROW_AVX512 struct narrow_avx512 narrow_avx512_of(const struct ring_narrow *n)
{
    return (struct narrow_avx512){_mm512_set1_epi64((int64_t)(uint64_t)n->add),
                                  _mm512_set1_epi64((int64_t)(uint64_t)(n->add >> 64)),
                                  _mm_cvtsi32_si128(n->shift), _mm_cvtsi32_si128(64 - n->shift)};
}

/* (lo + high 2^64 + add) >> shift; of high the low 16 bits count. What is carried beyond them is shifted out. */
NARROW_AVX512 __m512i narrow_avx512(const struct narrow_avx512 *end, __m512i lo, __m512i high)
{
    const __m512i sum = _mm512_add_epi64(lo, end->low);
    high = _mm512_add_epi64(high, end->high);
    high = _mm512_mask_add_epi64(high, _mm512_cmplt_epu64_mask(sum, lo), high, _mm512_set1_epi64(1));
    return _mm512_or_si512(_mm512_srl_epi64(sum, end->right), _mm512_sll_epi64(high, end->left));
}

/* Of eight columns of c, those in lanes: their low plane becomes what narrowing makes of c + high 2^64 + lo. */
NARROW_AVX512 void narrow_avx512_sum(const struct narrow_avx512 *end, struct ring_wide c, __m512i lo,
                                     __m512i high, __mmask8 lanes)
{
    const __m512i before = _mm512_maskz_loadu_epi64(lanes, c.lo), sum = _mm512_add_epi64(lo, before);
    high = _mm512_add_epi64(high, _mm512_cvtepu16_epi64(_mm_maskz_loadu_epi16(lanes, c.hi)));
    high = _mm512_mask_add_epi64(high, _mm512_cmplt_epu64_mask(sum, before), high, _mm512_set1_epi64(1));
    _mm512_mask_storeu_epi64(c.lo, lanes, narrow_avx512(end, sum, high));
}

#endif
