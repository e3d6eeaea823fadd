/* Remainders of 16 numbers at a time; for ring/gemm_vnni_pack.c, which makes them, and gemm_vnni_combine.c, which takes their sums
 * back to numbers. */
#ifndef TREFOIL_RING_GEMM_VNNI_REDUCE_H
#define TREFOIL_RING_GEMM_VNNI_REDUCE_H

#include <immintrin.h>

#include "ring/gemm_vnni.h"

/* 1.5 2^23: a float below 2^22 added to it becomes a whole number in its low bits. */
#define GEMM_VNNI_MAGIC 12582912.0f

/* The centred remainders, -(m-1)/2..(m-1)/2, of numbers below 2^19.5 by an odd m. They are exact as floats; their quotient by m is
 * off by less than 2^-11, where 1 / (2 m) >= 2^-9 separates it from the next rounding. The low 16 bits of quotient + MAGIC are the
 * quotient; multiplied by -m and added, with 0 for the upper 16. */
GEMM_VNNI_INLINE __m512i gemm_vnni_reduce(__m512i x, __m512 inverse, __m512i minus_m)
{
    const __m512 quotient = _mm512_fmadd_ps(_mm512_cvtepi32_ps(x), inverse, _mm512_set1_ps(GEMM_VNNI_MAGIC));
    return _mm512_dpwssd_epi32(x, _mm512_castps_si512(quotient), minus_m);
}

/* What packing four vectors to bytes leaves, byte 4 j + i of each quarter for lane i of vector j, into the order of lanes. */
GEMM_VNNI_INLINE __m512i gemm_vnni_order(__m512i x)
{
    return _mm512_shuffle_epi8(x, _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400));
}

/* In each lane four bytes, those of the same lane of x[0..3], which are -128..127. */
GEMM_VNNI_INLINE __m512i gemm_vnni_join(const __m512i x[4])
{
    return gemm_vnni_order(
        _mm512_packs_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3])));
}

#endif
