/* Products of remainders, and the way back from them; gemm_vnni.h explains both. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* vectors is a constant where it is called: all sums stay in registers. */
GEMM_VNNI_TARGET INLINE void multiply(uint32_t *sums, size_t stride, int vectors, const int8_t *a,
                                      const uint8_t *b, size_t groups, int32_t bias)
{
    __m512i sum[ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            sum[row][v] = _mm512_set1_epi32(bias);
    for (size_t group = 0; group < groups; group++, a += 4 * ROWS, b += 4 * VECTOR * vectors) {
        __m512i right[PANEL_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            right[v] = _mm512_load_si512(b + 4 * VECTOR * v);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            const __m512i left = _mm512_set1_epi32(((const int32_t *)(const void *)a)[row]);
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++)
                sum[row][v] = _mm512_dpbusd_epi32(sum[row][v], right[v], left);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            _mm512_store_si512(sums + (size_t)row * stride + VECTOR * v, sum[row][v]);
}

GEMM_VNNI_TARGET void gemm_vnni_multiply(uint32_t *sums, size_t stride, size_t width, const int8_t *a,
                                         const uint8_t *b, size_t groups, int32_t bias)
{
    if (width == 3 * VECTOR)
        multiply(sums, stride, 3, a, b, groups, bias);
    else if (width == 2 * VECTOR)
        multiply(sums, stride, 2, a, b, groups, bias);
    else
        multiply(sums, stride, 1, a, b, groups, bias);
}

/* sum += x value: the low 52 bits of products, and what is above them, of which only 28 bits count. x is below 2^29, and 19
 * numbers of 52 bits fit 64. */
GEMM_VNNI_TARGET INLINE void accumulate(__m512i sum[2], __m512i x, const struct gemm_vnni_value *value)
{
    const __m512i low = _mm512_set1_epi64((long long)value->low),
                  high = _mm512_set1_epi64((long long)value->high);
    sum[0] = _mm512_madd52lo_epu64(sum[0], x, low);
    sum[1] = _mm512_madd52hi_epu64(sum[1], x, low);
    sum[1] = _mm512_madd52lo_epu64(sum[1], x, high);
}

/* c [8] = or += sum[0] + sum[1] 2^52 modulo 2^80, where exist has a bit. */
GEMM_VNNI_TARGET INLINE void put(struct ring_wide c, const __m512i sum[2], __mmask8 exist, bool add)
{
    const __m512i mask = _mm512_set1_epi64((1LL << 52) - 1);
    const __m512i top = _mm512_add_epi64(sum[1], _mm512_srli_epi64(sum[0], 52));
    __m512i low = _mm512_or_si512(_mm512_and_si512(sum[0], mask), _mm512_slli_epi64(top, 52));
    __m512i high = _mm512_srli_epi64(top, 12);
    if (add) {
        const __m512i before = _mm512_maskz_loadu_epi64(exist, c.lo);
        low = _mm512_add_epi64(low, before);
        high = _mm512_add_epi64(high, _mm512_cvtepu16_epi64(_mm_maskz_loadu_epi16(exist, c.hi)));
        high = _mm512_mask_add_epi64(high, _mm512_cmplt_epu64_mask(low, before), high, _mm512_set1_epi64(1));
    }
    _mm512_mask_storeu_epi64(c.lo, exist, low);
    _mm_mask_storeu_epi16(c.hi, exist, _mm512_cvtepi64_epi16(high));
}

GEMM_VNNI_TARGET void gemm_vnni_combine(struct ring_wide c, const uint32_t *sums, size_t width,
                                        size_t columns, bool add)
{
    const struct gemm_vnni_constants *constants = gemm_vnni_constants();
    for (size_t column = 0; column < columns; column += 16) {
        /* 2^7 q + 1/2, and 9: see gemm_vnni.h. */
        const __m512i zero = _mm512_setzero_si512(), half_unit = _mm512_set1_epi64(64 + 9);
        __m512i sum[2][2] = {{zero, zero}, {zero, zero}}, quotient[2] = {half_unit, half_unit};
        for (size_t i = 0; i < MODULI; i++) {
            const struct gemm_vnni_modulus *modulus = &constants->modulus[i];
            const __m512i share = _mm512_set1_epi64((long long)modulus->share);
#pragma GCC unroll 2
            for (size_t half = 0; half < 2; half++) {
                const uint32_t *at = sums + i * width + column + 8 * half;
                const __m512i x = _mm512_cvtepu32_epi64(_mm256_load_si256((const __m256i *)(const void *)at));
                quotient[half] = _mm512_madd52hi_epu64(quotient[half], x, share);
                accumulate(sum[half], x, &modulus->others);
            }
        }
        for (size_t half = 0; half < 2 && column + 8 * half < columns; half++) {
            const size_t at = column + 8 * half, rest = columns - at;
            accumulate(sum[half], _mm512_srli_epi64(quotient[half], 7), &constants->minus_all);
            put(ring_wide_at(c, at), sum[half], (__mmask8)(rest >= 8 ? 0xff : (1u << rest) - 1), add);
        }
    }
}

#endif
