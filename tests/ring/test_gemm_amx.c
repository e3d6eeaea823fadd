/* The AMX kernel on processors without AMX: its own code, with the tile instructions done by loops. Beside test_gemm, which runs the
 * real ones where they are. Built twice: what is between the tiles runs as it is, which takes AVX-512, or is emulated as well
 * (tests/ring/emulated/immintrin.h). */
#include "config.h"

#ifdef __x86_64__ /* for other processors there is no such kernel, and no such header */
#include <immintrin.h>
#endif

#include "ring/gemm_amx.h"

#if defined GEMM_AMX && (defined EMULATED_AVX512 || !defined ONLY_EMULATED)

#include <string.h>

#ifdef EMULATED_AVX512
#undef GEMM_AMX_TARGET
#define GEMM_AMX_TARGET
#define NARROW_AVX512 static inline
#define __builtin_cpu_supports(feature) 1
#endif

/* ---- the tile registers of a thread ---- */

static _Thread_local uint8_t registers[8][16][64];

/* Loops over what is the thread's own: sanitizers would only make them slow. */
#define PLAIN __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))

static void tile_load(int reg, const void *from, size_t stride)
{
    for (size_t row = 0; row < 16; row++)
        memcpy(registers[reg][row], (const char *)from + row * stride, 64);
}

static void tile_store(int reg, void *to, size_t stride)
{
    for (size_t row = 0; row < 16; row++)
        memcpy((char *)to + row * stride, registers[reg][row], 64);
}

/* Whether the bytes of x, of y, are signed. */
PLAIN static void tile_multiply(int sum, int x, int y, bool signed_x, bool signed_y)
{
    for (size_t row = 0; row < 16; row++)
        for (size_t column = 0; column < 16; column++) {
            int32_t all;
            memcpy(&all, registers[sum][row] + 4 * column, sizeof all);
            for (size_t i = 0; i < 64; i++) {
                const uint8_t a = registers[x][row][i], b = registers[y][i / 4][4 * column + i % 4];
                all += (signed_x ? (int8_t)a : a) * (signed_y ? (int8_t)b : b);
            }
            memcpy(registers[sum][row] + 4 * column, &all, sizeof all);
        }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbuud
#undef _tile_dpbsud
#undef _tile_dpbusd
#define _tile_zero(reg) memset(registers[reg], 0, sizeof registers[reg])
#define _tile_loadd(reg, from, stride) tile_load(reg, from, stride)
#define _tile_stored(reg, to, stride) tile_store(reg, to, stride)
#define _tile_dpbuud(sum, x, y) tile_multiply(sum, x, y, false, false)
#define _tile_dpbsud(sum, x, y) tile_multiply(sum, x, y, true, false)
#define _tile_dpbusd(sum, x, y) tile_multiply(sum, x, y, false, true)
#define ring_amx_permitted() true
#define ring_amx_begin() memset(registers, 0xa5, sizeof registers) /* nothing is left from before */
#define ring_amx_end() (void)0

/* The library has these names already. */
#define gemm_amx emulated
#define gemm_amx_multiply emulated_multiply
#define gemm_amx_finish emulated_finish
#define gemm_amx_limbs_of_rows emulated_limbs_of_rows
#define gemm_amx_limbs_of_columns emulated_limbs_of_columns
extern const struct gemm_kernel emulated;
void emulated_multiply(struct gemm_amx_work *, const struct gemm_amx_tile *, const uint8_t *, const uint8_t *,
                       size_t, const struct gemm_amx_ahead *);
void emulated_finish(struct gemm_amx_work *);
void emulated_limbs_of_rows(uint8_t *, size_t, const int64_t *, size_t, size_t, size_t);
void emulated_limbs_of_columns(uint8_t *, size_t, const int64_t *, size_t, size_t, size_t, bool);

#include "ring/gemm_amx.c"
#include "ring/gemm_amx_pack.c"
#include "ring/gemm_amx_tile.c"

#include "tests/ring/gemm_emulated.h"

int main(void)
{
#ifndef EMULATED_AVX512
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512vbmi"))
        return 77; /* what is between the tiles cannot run */
#endif
    return run_emulated(&emulated, "gemm_amx");
}

#else

int main(void)
{
    return 77;
}

#endif
