/* Products of remainders; gemm_avx2.h explains them. */
#include "ring/gemm_avx2.h"

#ifdef GEMM_AVX2

#include <immintrin.h>

/* The same remainders as smaller numbers: the two words of a sum, the lower less 2^15. */
GEMM_AVX2_INLINE __m256i smaller(__m256i sum, __m256i words)
{
    const __m256i bit = _mm256_set1_epi32(0x8000);
    return _mm256_add_epi32(bit, _mm256_madd_epi16(_mm256_xor_si256(sum, bit), words));
}

GEMM_AVX2_INLINE __m256i *vector_at(int32_t *sums, size_t row, int v)
{
    return (__m256i *)(void *)(sums + row + AVX2_VECTOR * v);
}

/* One group of a row times three vectors: written out, since compilers that fetch the operands of several rows early run out of
 * registers, and in this order, which is the fastest of several: both units multiply all the time. left and product are scratch;
 * the third vector comes from memory each time. */
GEMM_AVX2_INLINE void add_three(__m256i sum[3], const int32_t *a, __m256i first, __m256i second,
                                const __m256i *third)
{
    __m256i left, product;
    __asm__ volatile("vpbroadcastd %[a], %[left]\n\t"
                     "vpmaddwd %[first], %[left], %[product]\n\t"
                     "vpaddd %[product], %[sum0], %[sum0]\n\t"
                     "vpmaddwd %[second], %[left], %[product]\n\t"
                     "vpmaddwd %[third], %[left], %[left]\n\t"
                     "vpaddd %[product], %[sum1], %[sum1]\n\t"
                     "vpaddd %[left], %[sum2], %[sum2]"
                     : [sum0] "+x"(sum[0]), [sum1] "+x"(sum[1]), [sum2] "+x"(sum[2]), [left] "=&x"(left),
                       [product] "=&x"(product)
                     : [a] "m"(*a), [first] "x"(first), [second] "x"(second), [third] "m"(*third));
}

/* sum += the products of a group. */
GEMM_AVX2_INLINE void add_group(__m256i sum[AVX2_ROWS][AVX2_PANEL_VECTORS], int vectors, const int32_t *a,
                                const __m256i *b)
{
    const __m256i first = b[0], second = vectors > 1 ? b[1] : first;
#pragma GCC unroll 4
    for (int row = 0; row < AVX2_ROWS; row++) {
        if (vectors == 3) {
            add_three(sum[row], a + row, first, second, b + 2);
            continue;
        }
        const __m256i left = _mm256_set1_epi32(a[row]);
        sum[row][0] = _mm256_add_epi32(sum[row][0], _mm256_madd_epi16(left, first));
        if (vectors == 2)
            sum[row][1] = _mm256_add_epi32(sum[row][1], _mm256_madd_epi16(left, second));
    }
}

/* groups and AVX2_SPAN are even. vectors is a constant where it is called: all sums stay in registers. */
GEMM_AVX2_INLINE void multiply(int32_t *sums, size_t stride, int vectors, const int32_t *a, const __m256i *b,
                               size_t groups, uint32_t words, bool first)
{
    __m256i sum[AVX2_ROWS][AVX2_PANEL_VECTORS];
#pragma GCC unroll 4
    for (int row = 0; row < AVX2_ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            sum[row][v] = first ? _mm256_setzero_si256() : *vector_at(sums, (size_t)row * stride, v);
    while (groups > 0) {
        const size_t span = gemm_min(groups, AVX2_SPAN);
        for (size_t group = 0; group < span; group += 2, a += 2 * AVX2_ROWS, b += 2 * vectors) {
            add_group(sum, vectors, a, b);
            add_group(sum, vectors, a + AVX2_ROWS, b + vectors);
        }
        groups -= span;
        const __m256i factors = _mm256_set1_epi32((int)words);
#pragma GCC unroll 4
        for (int row = 0; row < AVX2_ROWS; row++)
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++)
                sum[row][v] = smaller(sum[row][v], factors);
    }
#pragma GCC unroll 4
    for (int row = 0; row < AVX2_ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            *vector_at(sums, (size_t)row * stride, v) = sum[row][v];
}

GEMM_AVX2_TARGET void gemm_avx2_multiply(int32_t *sums, size_t stride, size_t width, const void *a,
                                         const void *b, size_t steps,
                                         const struct residue_constants *constants, size_t i, bool first)
{
    const uint32_t words = gemm_avx2_own(constants)->modulus[i].words;
    if (width == 3 * AVX2_VECTOR)
        multiply(sums, stride, 3, a, b, 2 * steps, words, first);
    else if (width == 2 * AVX2_VECTOR)
        multiply(sums, stride, 2, a, b, 2 * steps, words, first);
    else
        multiply(sums, stride, 1, a, b, 2 * steps, words, first);
}

#endif
