#include "ring/gemm.h"


#include "ring/clock.h"
#include "ring/gemm_amx.h"
#include "ring/gemm_avx2.h"
#include "ring/gemm_vnni.h"

#if defined GEMM_AMX || defined GEMM_VNNI || defined GEMM_AVX2

#include <immintrin.h>

/* Calls a loop that multiplies, about 16 us between two looks at the clock. products: of a call. */
static double rate(void (*multiply_only)(void), double products, double seconds)
{
    double count = 0, spent = 0;
    for (const double start = clock_seconds(); spent < seconds; spent = clock_seconds() - start) {
        multiply_only();
        count += products;
    }
    return spent > 0 ? count / spent : 0;
}

#endif

#ifdef GEMM_AMX

#define AMX_TIMES 512
#define TURN(sum) _tile_dpbuud(sum, 6, 7)

/* Six accumulators, so that no product waits for the one before it, and no memory. */
GEMM_AMX_TARGET static void multiply_tiles(void)
{
    for (int i = 0; i < AMX_TIMES; i++) {
        TURN(0);
        TURN(1);
        TURN(2);
        TURN(3);
        TURN(4);
        TURN(5);
    }
}

GEMM_AMX_TARGET static void zero_tiles(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

static double peak_amx(double seconds)
{
    ring_amx_begin();
    zero_tiles();
    const double peak = rate(multiply_tiles, 6.0 * AMX_TIMES * 16 * 16 * 64, seconds);
    ring_amx_end();
    return peak;
}

#else

static double peak_amx(double seconds)
{
    (void)seconds;
    return 0;
}

#endif

#ifdef GEMM_VNNI

#define VNNI_TIMES 4096

/* Twelve accumulators in registers; written out, since a compiler that saw the products unused would leave them out. */
GEMM_VNNI_TARGET static void multiply_vectors(void)
{
    long left = VNNI_TIMES;
    __asm__ volatile("1:\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm0\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm1\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm2\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm3\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm4\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm5\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm6\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm7\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm8\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm9\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm10\n\t"
                     "vpdpbusd %%zmm12, %%zmm13, %%zmm11\n\t"
                     "dec %0\n\t"
                     "jnz 1b"
                     : "+r"(left)
                     :
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11");
}

static double peak_vnni(double seconds)
{
    return rate(multiply_vectors, 12.0 * VNNI_TIMES * 64, seconds);
}

#else

static double peak_vnni(double seconds)
{
    (void)seconds;
    return 0;
}

#endif

#ifdef GEMM_AVX2

#define AVX2_TIMES 4096
#define PRODUCT(to) "vpmaddwd %%ymm12, %%ymm13, %%ymm" to "\n\t"
#define ADD(product, sum) "vpaddd %%ymm" product ", %%ymm" sum ", %%ymm" sum "\n\t"
#define FOUR(s0, s1, s2, s3) \
    PRODUCT("8")             \
    PRODUCT("9") PRODUCT("10") PRODUCT("11") ADD("8", s0) ADD("9", s1) ADD("10", s2) ADD("11", s3)

/* The same for products of words, each with its addition. */
GEMM_AVX2_TARGET static void multiply_words(void)
{
    long left = AVX2_TIMES;
    __asm__ volatile("1:\n\t" FOUR("0", "1", "2", "3") FOUR("4", "5", "6", "7") "dec %0\n\t"
                                                                                "jnz 1b"
                     : "+r"(left)
                     :
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11");
}

static double peak_avx2(double seconds)
{
    return rate(multiply_words, 8.0 * AVX2_TIMES * 16, seconds);
}

#else

static double peak_avx2(double seconds)
{
    (void)seconds;
    return 0;
}

#endif

double ring_gemm_peak(enum ring_gemm_kernel kernel, double seconds)
{
    if (!ring_gemm_available(kernel))
        return 0;
    switch (kernel) {
    case RING_GEMM_AMX:
        return peak_amx(seconds);
    case RING_GEMM_VNNI:
        return peak_vnni(seconds);
    case RING_GEMM_AVX2:
        return peak_avx2(seconds);
    default:
        return 0;
    }
}
