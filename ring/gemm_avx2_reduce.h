/* Remainders of eight numbers at a time; for ring/gemm_avx2_pack.c, which makes them, and gemm_avx2_combine.c, which takes their
 * sums back to numbers. */
#ifndef TREFOIL_RING_GEMM_AVX2_REDUCE_H
#define TREFOIL_RING_GEMM_AVX2_REDUCE_H

#include <immintrin.h>

#include "ring/gemm_avx2.h"

/* 1.5 2^23: a float below 2^22 added to it becomes a whole number in its low bits. */
#define GEMM_AVX2_MAGIC 12582912.0f

/* In the low word of each lane the remainder of a number below 2^29.4 by m, at most (1 / 2 + e) m: as a float it is off by at most
 * 32, 0.0031 m, and its quotient, below 2^16.01, by 2^-24 of it, 0.004, since 1 / m is; so e < 0.008. Of sums, which are below 2^27.4: 8,
 * 0.0008 m, and 2^14.02 2^-24, 0.001; e < 0.002. The low 16 bits of quotient + MAGIC are the quotient modulo 2^16, which is all that the low word of the remainder takes; the
 * upper words mean nothing. */
GEMM_AVX2_INLINE __m256i gemm_avx2_reduce(__m256i x, __m256 inverse, __m256i m)
{
    const __m256 quotient = _mm256_fmadd_ps(_mm256_cvtepi32_ps(x), inverse, _mm256_set1_ps(GEMM_AVX2_MAGIC));
    return _mm256_sub_epi16(x, _mm256_mullo_epi16(_mm256_castps_si256(quotient), m));
}

/* In each lane the low words of x and y, which may have anything above them. */
GEMM_AVX2_INLINE __m256i gemm_avx2_join(__m256i x, __m256i y)
{
    return _mm256_blend_epi16(x, _mm256_slli_epi32(y, 16), 0xaa);
}

#endif
