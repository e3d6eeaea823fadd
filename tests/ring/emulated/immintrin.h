/* In place of the compiler's <immintrin.h>: AVX-512 by loops, for tests of code that this processor cannot run. Most of it is SIMDe's;
 * what follows here is what SIMDe 0.7.4 lacks. EMULATED_AVX512 says that it is there. */
#ifndef TREFOIL_TESTS_RING_EMULATED_IMMINTRIN_H
#define TREFOIL_TESTS_RING_EMULATED_IMMINTRIN_H

#if defined(__has_include) && __has_include(<simde/x86/avx512.h>)
#define EMULATED_AVX512 1

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpsabi"
#define SIMDE_NO_NATIVE
#define SIMDE_NO_INLINE /* hundreds of them, unrolled, would take minutes to compile */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <stdint.h>
#include <string.h>

typedef simde__mmask8 __mmask8;
typedef simde__mmask16 __mmask16;

/* The lanes of a register. */
#define LANES(type, register) (sizeof(register) / sizeof(type))

/* name(mask, from): the lanes that the mask selects, zero elsewhere; and name(to, mask, x): these lanes to memory. */
#define MASKED_LOAD(name, vector, mask_type, type)                                  \
    static inline vector name(mask_type mask, const void *from)                     \
    {                                                                               \
        type x[LANES(type, vector)] = {0};                                          \
        vector out;                                                                 \
        for (size_t i = 0; i < LANES(type, vector); i++)                            \
            if (mask >> i & 1)                                                      \
                memcpy(&x[i], (const char *)from + i * sizeof(type), sizeof(type)); \
        memcpy(&out, x, sizeof out);                                                \
        return out;                                                                 \
    }
#define MASKED_STORE(name, vector, mask_type, type)                         \
    static inline void name(void *to, mask_type mask, vector from)          \
    {                                                                       \
        type x[LANES(type, vector)];                                        \
        memcpy(x, &from, sizeof from);                                      \
        for (size_t i = 0; i < LANES(type, vector); i++)                    \
            if (mask >> i & 1)                                              \
                memcpy((char *)to + i * sizeof(type), &x[i], sizeof(type)); \
    }
/* name(x): each lane of one type as one of another. */
#define CONVERT(name, to, to_type, from, from_type)     \
    static inline to name(from in)                      \
    {                                                   \
        from_type x[LANES(from_type, from)];            \
        to_type y[LANES(to_type, to)];                  \
        to out;                                         \
        memcpy(x, &in, sizeof in);                      \
        for (size_t i = 0; i < LANES(to_type, to); i++) \
            y[i] = (to_type)x[i];                       \
        memcpy(&out, y, sizeof out);                    \
        return out;                                     \
    }

MASKED_LOAD(_mm512_maskz_loadu_epi64, __m512i, __mmask8, uint64_t)
MASKED_LOAD(_mm256_maskz_loadu_epi16, __m256i, __mmask16, uint16_t)
MASKED_LOAD(_mm_maskz_loadu_epi16, __m128i, __mmask8, uint16_t)
MASKED_STORE(_mm512_mask_storeu_epi64, __m512i, __mmask8, uint64_t)
MASKED_STORE(_mm256_mask_storeu_epi16, __m256i, __mmask16, uint16_t)
MASKED_STORE(_mm_mask_storeu_epi16, __m128i, __mmask8, uint16_t)
CONVERT(_mm512_cvtepi32_epi16, __m256i, uint16_t, __m512i, uint32_t)
CONVERT(_mm256_cvtepi32_epi16, __m128i, uint16_t, __m256i, uint32_t)
CONVERT(_mm512_cvtepi32_ps, __m512, float, __m512i, int32_t)
CONVERT(_mm512_cvtepu16_epi64, __m512i, uint64_t, __m128i, uint16_t)
CONVERT(_mm512_cvtepu32_epi64, __m512i, uint64_t, __m256i, uint32_t)

static inline __mmask8 _mm512_cmplt_epu64_mask(__m512i a, __m512i b)
{
    uint64_t x[8], y[8];
    unsigned out = 0;
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    for (int i = 0; i < 8; i++)
        out |= (unsigned)(x[i] < y[i]) << i;
    return (__mmask8)out;
}

static inline __m512i _mm512_srai_epi32(__m512i a, unsigned shift)
{
    int32_t x[16];
    memcpy(x, &a, sizeof a);
    for (int i = 0; i < 16; i++)
        x[i] >>= shift;
    memcpy(&a, x, sizeof a);
    return a;
}

/* Quarters of a, of a, of b and of b, by two bits of the selection each; words of 16 bytes. */
static inline __m512i _mm512_shuffle_i64x2(__m512i a, __m512i b, int selection)
{
    char x[64], y[64], out[64];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    for (int i = 0; i < 4; i++)
        memcpy(out + 16 * i, (i < 2 ? x : y) + 16 * (selection >> 2 * i & 3), 16);
    memcpy(&a, out, sizeof a);
    return a;
}

#pragma GCC diagnostic pop

#else
#include_next <immintrin.h>
#endif

#endif
