/* Products of remainders; gemm_vnni.h explains them. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#include <immintrin.h>

/* vectors is a constant where it is called: all sums stay in registers. */
GEMM_VNNI_INLINE void multiply(int32_t *sums, size_t stride, int vectors, const int8_t *a, const uint8_t *b,
                               size_t groups)
{
    __m512i sum[ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++)
            sum[row][v] = _mm512_setzero_si512();
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

GEMM_VNNI_TARGET void gemm_vnni_multiply(int32_t *sums, size_t stride, size_t width, const int8_t *a,
                                         const uint8_t *b, size_t groups)
{
    if (width == 3 * VECTOR)
        multiply(sums, stride, 3, a, b, groups);
    else if (width == 2 * VECTOR)
        multiply(sums, stride, 2, a, b, groups);
    else
        multiply(sums, stride, 1, a, b, groups);
}

#endif
