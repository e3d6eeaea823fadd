/* From the remainders of results back to results; gemm_vnni.h explains it. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#include "ring/gemm_vnni_reduce.h"
#include "ring/narrow_avx512.h"

/* What follows works on up to three vectors of columns at once, so that the processor always has independent work, and a
 * constant that is loaded serves them all; vectors is a constant where it is called. */

/* Four bytes in each lane: the centred remainders by the moduli first..first + 3, of those that there are. 256 takes the low byte; for
 * the others the two words of a sum, the lower less 2^15, become a number below 2^16 + 2^11 128 first. */
GEMM_VNNI_INLINE void remainders(__m512i quad[PANEL_VECTORS], int vectors, const int32_t *sums, size_t first,
                                 const struct gemm_vnni_constants *constants)
{
    const __m512i bit = _mm512_set1_epi32(0x8000);
    __m512i x[PANEL_VECTORS][4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        const size_t at = first + j;
        const struct gemm_vnni_modulus *m = &constants->modulus[at < MODULI ? at : 0];
        const __m512i factors = _mm512_set1_epi32((int)m->words),
                      minus_m = _mm512_set1_epi32((int)m->minus_m);
        const __m512 inverse = _mm512_set1_ps(m->inverse);
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            if (at >= MODULI || (at >= MODULI - 1 && at >= constants->all.count)) {
                x[v][j] = _mm512_setzero_si512();
                continue;
            }
            const __m512i sum = _mm512_load_si512(sums + at * PANEL + (size_t)v * VECTOR);
            if (at == 0)
                x[v][j] = _mm512_srai_epi32(_mm512_slli_epi32(sum, 24), 24);
            else
                x[v][j] = gemm_vnni_reduce(_mm512_dpwssd_epi32(bit, _mm512_xor_si512(sum, bit), factors),
                                           inverse, minus_m);
        }
    }
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++)
        quad[v] = gemm_vnni_join(x[v]);
}

/* sum += the products of all bytes. */
GEMM_VNNI_INLINE void dot(__m512i sum[PANEL_VECTORS], int vectors,
                          const uint32_t coefficients[GEMM_VNNI_QUADS],
                          const __m512i quad[GEMM_VNNI_QUADS][PANEL_VECTORS])
{
#pragma GCC unroll 5
    for (int i = 0; i < GEMM_VNNI_QUADS; i++) {
        const __m512i coefficient = _mm512_set1_epi32((int)coefficients[i]);
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            sum[v] = _mm512_dpbusd_epi32(sum[v], coefficient, quad[i][v]);
    }
}

/* The quotient goes beside the last remainders: 2^15 (q + 1 / 2), rounded down by the shift (gemm_vnni.h). */
GEMM_VNNI_INLINE void quotients(__m512i quad[GEMM_VNNI_QUADS][PANEL_VECTORS], int vectors,
                                const uint32_t weight[GEMM_VNNI_QUADS])
{
    __m512i q[PANEL_VECTORS];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++)
        q[v] = _mm512_set1_epi32(1 << 14);
    dot(q, vectors, weight, quad);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        q[v] = _mm512_and_si512(_mm512_srai_epi32(q[v], 15), _mm512_set1_epi32(0xff));
        quad[4][v] = _mm512_or_si512(quad[4][v], _mm512_slli_epi32(q[v], 16));
    }
}

/* 16 bits of the results, the lowest of each lane; above them what is carried on. */
GEMM_VNNI_INLINE void word(__m512i out[PANEL_VECTORS], const __m512i before[PANEL_VECTORS], int vectors,
                           const uint32_t limbs[2][GEMM_VNNI_QUADS],
                           const __m512i quad[GEMM_VNNI_QUADS][PANEL_VECTORS])
{
    __m512i high[PANEL_VECTORS];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        out[v] = _mm512_srai_epi32(before[v], 16);
        high[v] = _mm512_setzero_si512();
    }
    dot(out, vectors, limbs[0], quad);
    dot(high, vectors, limbs[1], quad);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++)
        out[v] = _mm512_add_epi32(out[v], _mm512_slli_epi32(high[v], 8));
}

/* 8 elements of c = or += low; the carries. */
GEMM_VNNI_INLINE __mmask8 put_low(uint64_t *c, __m512i low, __mmask8 exist, bool add)
{
    __mmask8 carry = 0;
    if (add) {
        const __m512i before = _mm512_maskz_loadu_epi64(exist, c);
        low = _mm512_add_epi64(low, before);
        carry = _mm512_cmplt_epu64_mask(low, before);
    }
    _mm512_mask_storeu_epi64(c, exist, low);
    return carry;
}

/* x below 2^16 of each lane, and y above. */
GEMM_VNNI_INLINE __m512i pair(__m512i x, __m512i y)
{
    return _mm512_or_si512(_mm512_and_si512(x, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(y, 16));
}

/* 16 columns of c = or += these words; narrowed: or what becomes of the sum. */
GEMM_VNNI_INLINE void put(struct ring_wide c, __m512i low, __m512i high, __m512i top, __mmask16 exist,
                          bool add, const struct ring_narrow *narrowed)
{
    const __m512i left = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i right = _mm512_add_epi32(left, _mm512_set1_epi32(8));
    const __m512i one = _mm512_permutex2var_epi32(low, left, high),
                  two = _mm512_permutex2var_epi32(low, right, high);
    __m256i words = _mm512_cvtepi32_epi16(top);
    if (narrowed) {
        const struct narrow_avx512 end = narrow_avx512_of(narrowed);
        narrow_avx512_sum(&end, c, one, _mm512_cvtepu16_epi64(_mm256_castsi256_si128(words)),
                          (__mmask8)exist);
        narrow_avx512_sum(&end, ring_wide_at(c, 8), two,
                          _mm512_cvtepu16_epi64(_mm256_extracti128_si256(words, 1)), (__mmask8)(exist >> 8));
        return;
    }
    const __mmask8 first = put_low(c.lo, one, (__mmask8)exist, add);
    const __mmask8 second = put_low(c.lo + 8, two, (__mmask8)(exist >> 8), add);
    if (add) {
        words = _mm256_add_epi16(words, _mm256_maskz_loadu_epi16(exist, c.hi));
        words = _mm256_mask_add_epi16(words, (__mmask16)(first | second << 8), words, _mm256_set1_epi16(1));
    }
    _mm256_mask_storeu_epi16(c.hi, exist, words);
}

GEMM_VNNI_INLINE void combine(struct ring_wide c, const struct gemm_vnni_constants *constants,
                              const int32_t *sums, int vectors, size_t columns, bool add,
                              const struct ring_narrow *end)
{
    __m512i quad[GEMM_VNNI_QUADS][PANEL_VECTORS], none[PANEL_VECTORS], words[5][PANEL_VECTORS];
#pragma GCC unroll 5
    for (size_t i = 0; i < GEMM_VNNI_QUADS; i++)
        remainders(quad[i], vectors, sums, 4 * i, constants);
    quotients(quad, vectors, constants->weight);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++)
        none[v] = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++)
        word(words[i], i > 0 ? words[i - 1] : none, vectors, &constants->limb[2 * i], quad);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        const size_t at = (size_t)v * VECTOR, rest = columns - at;
        put(ring_wide_at(c, at), pair(words[0][v], words[1][v]), pair(words[2][v], words[3][v]), words[4][v],
            (__mmask16)(rest >= VECTOR ? 0xffff : (1u << rest) - 1), add, end);
    }
}

GEMM_VNNI_TARGET void gemm_vnni_combine(struct ring_wide c, const struct gemm_vnni_constants *constants,
                                        const int32_t *sums, size_t columns, bool add,
                                        const struct ring_narrow *end)
{
    if (columns > 2 * VECTOR)
        combine(c, constants, sums, 3, columns, add, end);
    else if (columns > VECTOR)
        combine(c, constants, sums, 2, columns, add, end);
    else
        combine(c, constants, sums, 1, columns, add, end);
}

#endif
