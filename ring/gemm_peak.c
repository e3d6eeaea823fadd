#include "ring/gemm.h"

#include <time.h>

#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include <immintrin.h>

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define TURN(sum) _tile_dpbuud(sum, 6, 7)
#define PRODUCTS (16.0 * 16 * 64) /* of one instruction */

/* Six accumulators, so that no product waits for the one before it, and no memory. */
GEMM_AMX_TARGET static void multiply_only(int times)
{
    for (int i = 0; i < times; i++) {
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

double ring_gemm_peak(double seconds)
{
    enum { TIMES = 512 }; /* about 16 us between two looks at the clock */
    double count = 0, spent = 0;
    if (!ring_gemm_available(RING_GEMM_AMX))
        return 0;
    ring_amx_begin();
    zero_tiles();
    for (const double start = seconds_now(); spent < seconds; spent = seconds_now() - start) {
        multiply_only(TIMES);
        count += 6.0 * TIMES * PRODUCTS;
    }
    ring_amx_end();
    return spent > 0 ? count / spent : 0;
}

#else

double ring_gemm_peak(double seconds)
{
    (void)seconds;
    return 0;
}

#endif
