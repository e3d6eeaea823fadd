#include "distill/half.h"

#include "ring/amx.h"

#ifdef RING_AMX

#include <cpuid.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define TILE_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))
#define SIDE 16
#define STEP 32   /* inner dimension of one tile */
#define TILE 512  /* bfloat16 values of a tile */
#define DEPTH 16  /* steps of the inner dimension in one go: two columns of tiles stay in the first cache */
#define HEIGHT 32 /* rows of tiles in one job: they stay in the second cache */

/* An operand in tiles: tiles of one row (column) of tiles lie behind each other along the inner dimension. */
struct packed {
    uint16_t *tile;
    size_t capacity; /* in tiles */
};

enum unit { UNKNOWN, NONE, VECTORS, TILES };

/* The fastest unit that this processor and this system have. */
static enum unit unit(void)
{
    static enum unit known;
    unsigned a, b, c, d;
    if (known != UNKNOWN)
        return known;
    enum unit best = NONE;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
        (a >> 5 & 1) != 0) /* AVX512-BF16 */
        best = VECTORS;
    if (best == VECTORS && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 &&
        (d >> 24 & 1) != 0 && ring_amx_permitted()) /* AMX-BF16, AMX-TILE */
        best = TILES;
    return known = best;
}

bool distill_half_available(void)
{
    return unit() >= VECTORS;
}

static bool reserve(struct packed *packed, size_t tiles)
{
    if (packed->capacity >= tiles)
        return true;
    free(packed->tile);
    packed->tile = aligned_alloc(64, tiles * TILE * sizeof *packed->tile);
    packed->capacity = packed->tile != NULL ? tiles : 0;
    return packed->tile != NULL;
}

/* Turns 16 x 16 pairs. */
TARGET static void turn(__m512i r[SIDE])
{
    __m512i t[SIDE];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

static __mmask16 first(int n)
{
    return n >= SIDE ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* 16 rows of 32 elements that follow each other in memory; what is missing is zero. */
TARGET static void load_rows(__m512i r[SIDE], const float *a, int stride, int rows, int depth)
{
    __mmask16 low = first(depth), high = first(depth - SIDE);
    for (int i = 0; i < SIDE; i++) {
        __m512 one = _mm512_setzero_ps(), two = one;
        if (i < rows) {
            one = _mm512_maskz_loadu_ps(low, a + (ptrdiff_t)i * stride);
            two = _mm512_maskz_loadu_ps(high, a + (ptrdiff_t)i * stride + SIDE);
        }
        r[i] = (__m512i)_mm512_cvtne2ps_pbh(two, one);
    }
}

/* 16 pairs of rows, 16 columns: the two elements of a column side by side. */
TARGET static void load_pairs(__m512i r[SIDE], const float *a, int stride, int columns, int depth)
{
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i weave = _mm512_loadu_si512(order);
    __mmask16 mask = first(columns);
    for (int i = 0; i < SIDE; i++) {
        __m512 one = _mm512_setzero_ps(), two = one;
        if (2 * i < depth)
            one = _mm512_maskz_loadu_ps(mask, a + (ptrdiff_t)(2 * i) * stride);
        if (2 * i + 1 < depth)
            two = _mm512_maskz_loadu_ps(mask, a + (ptrdiff_t)(2 * i + 1) * stride);
        r[i] = _mm512_permutexvar_epi16(weave, (__m512i)_mm512_cvtne2ps_pbh(two, one));
    }
}

/* One row of tiles of A (is_b: column of tiles of B), all steps. */
TARGET static void pack(uint16_t *out, struct distill_matrix x, bool is_b, int at, int size, int k)
{
    bool along = x.transpose == is_b; /* the inner dimension runs along the rows in memory */
    for (int step = 0; step < k; step += STEP, out += TILE) {
        __m512i r[SIDE];
        if (along)
            load_rows(r, x.value + (ptrdiff_t)at * x.stride + step, x.stride, size - at, k - step);
        else
            load_pairs(r, x.value + (ptrdiff_t)step * x.stride + at, x.stride, size - at, k - step);
        if (along == is_b)
            turn(r);
        for (int i = 0; i < SIDE; i++)
            _mm512_store_si512(out + i * STEP, r[i]);
    }
}

/* Eight rows of one or two tiles of the result, which are whole; columns is a constant where it is called. The tiles of the second
 * column begin next elements after those of the first. */
TARGET static inline __attribute__((always_inline)) void eight_rows(float *out, size_t stride, int columns,
                                                                    const uint16_t *a, const uint16_t *b,
                                                                    size_t next, int steps, bool add)
{
    __m512 sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < columns; j++)
            sum[i][j] = add ? _mm512_loadu_ps(out + (size_t)i * stride + j * SIDE) : _mm512_setzero_ps();
    for (int step = 0; step < steps; step++, a += TILE, b += TILE)
        for (int pair = 0; pair < SIDE; pair++) {
            __m512i right[2];
#pragma GCC unroll 2
            for (int j = 0; j < columns; j++)
                right[j] = _mm512_load_si512(b + (size_t)j * next + pair * STEP);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                int both; /* elements of A */
                memcpy(&both, a + i * STEP + 2 * pair, sizeof both);
                const __m512i left = _mm512_set1_epi32(both);
#pragma GCC unroll 2
                for (int j = 0; j < columns; j++)
                    sum[i][j] = _mm512_dpbf16_ps(sum[i][j], (__m512bh)left, (__m512bh)right[j]);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < columns; j++)
            _mm512_storeu_ps(out + (size_t)i * stride + j * SIDE, sum[i][j]);
}

TARGET static void four_by_vectors(float *out, size_t stride, const uint16_t *a, const uint16_t *b,
                                   size_t row, int steps, bool add)
{
    for (size_t i = 0; i < 2 * SIDE; i += 8)
        eight_rows(out + i * stride, stride, 2, a + i / SIDE * row + i % SIDE * STEP, b, row, steps, add);
}

TARGET static void one_by_vectors(float *whole, const uint16_t *a, const uint16_t *b, int steps)
{
    for (size_t i = 0; i < SIDE; i += 8)
        eight_rows(whole + i * SIDE, SIDE, 1, a + i * STEP, b, 0, steps, true);
}

/* Four tiles of the result, all of them whole. */
TILE_TARGET static void four_by_tiles(float *out, size_t stride, const uint16_t *a, const uint16_t *b,
                                      size_t row, int steps, bool add)
{
    const size_t bytes = stride * sizeof *out;
    float *below = out + SIDE * stride;
    if (add) {
        _tile_loadd(0, out, bytes);
        _tile_loadd(1, out + SIDE, bytes);
        _tile_loadd(2, below, bytes);
        _tile_loadd(3, below + SIDE, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int i = 0; i < steps; i++, a += TILE, b += TILE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + row, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, a + row, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, bytes);
    _tile_stored(1, out + SIDE, bytes);
    _tile_stored(2, below, bytes);
    _tile_stored(3, below + SIDE, bytes);
}

TILE_TARGET static void one_by_tiles(float *whole, const uint16_t *a, const uint16_t *b, int steps)
{
    _tile_loadd(0, whole, 64);
    for (int i = 0; i < steps; i++, a += TILE, b += TILE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
    }
    _tile_stored(0, whole, 64);
}

/* One tile at the edge, by way of a whole one. */
static void one(float *out, size_t stride, int rows, int columns, const uint16_t *a, const uint16_t *b,
                int steps, bool add)
{
    float whole[SIDE * SIDE] __attribute__((aligned(64))) = {0};
    for (int i = 0; i < rows && add; i++)
        memcpy(whole + i * SIDE, out + (size_t)i * stride, (size_t)columns * sizeof *out);
    (unit() == TILES ? one_by_tiles : one_by_vectors)(whole, a, b, steps);
    for (int i = 0; i < rows; i++)
        memcpy(out + (size_t)i * stride, whole + i * SIDE, (size_t)columns * sizeof *out);
}

struct product {
    float *out;
    int stride, m, n, steps;
    const uint16_t *a, *b;
    bool add;
};

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Two by two tiles at (row, column), some steps of the inner dimension. */
static void square(const struct product *p, int row, int column, int step, int steps)
{
    size_t line = (size_t)p->steps * TILE;
    const uint16_t *a = p->a + (size_t)(row / SIDE) * line + (size_t)step * TILE;
    const uint16_t *b = p->b + (size_t)(column / SIDE) * line + (size_t)step * TILE;
    float *out = p->out + (ptrdiff_t)row * p->stride + column;
    bool add = p->add || step > 0;
    if (row + 2 * SIDE <= p->m && column + 2 * SIDE <= p->n) {
        (unit() == TILES ? four_by_tiles : four_by_vectors)(out, (size_t)p->stride, a, b, line, steps, add);
        return;
    }
    for (int i = 0; i < 2 && row + i * SIDE < p->m; i++)
        for (int j = 0; j < 2 && column + j * SIDE < p->n; j++)
            one(out + (ptrdiff_t)i * SIDE * p->stride + j * SIDE, (size_t)p->stride,
                smaller(SIDE, p->m - row - i * SIDE), smaller(SIDE, p->n - column - j * SIDE),
                a + (size_t)i * line, b + (size_t)j * line, steps, add);
}

/* One job: two columns of tiles by HEIGHT rows of tiles. */
static void job(const struct product *p, int row, int column)
{
    int last = smaller(row + HEIGHT * SIDE, p->m);
    const bool tiles = unit() == TILES;
    if (tiles)
        ring_amx_begin();
    for (int step = 0; step < p->steps; step += DEPTH)
        for (int at = row; at < last; at += 2 * SIDE)
            square(p, at, column, step, smaller(DEPTH, p->steps - step));
    if (tiles)
        ring_amx_end();
}

bool distill_half_gemm(float *out, int stride, int m, int n, int k, struct distill_matrix a,
                       struct distill_matrix b, bool add)
{
    static struct packed left, right;
    int rows = (m + SIDE - 1) / SIDE, columns = (n + SIDE - 1) / SIDE, steps = (k + STEP - 1) / STEP;
    if (!reserve(&left, (size_t)rows * (size_t)steps) || !reserve(&right, (size_t)columns * (size_t)steps))
        return false;
    struct product p = {out, stride, m, n, steps, left.tile, right.tile, add};
    int across = (columns + 1) / 2, down = (rows + HEIGHT - 1) / HEIGHT;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int i = 0; i < rows + columns; i++)
            if (i < rows)
                pack(left.tile + (size_t)i * (size_t)steps * TILE, a, false, i * SIDE, m, k);
            else
                pack(right.tile + (size_t)(i - rows) * (size_t)steps * TILE, b, true, (i - rows) * SIDE, n,
                     k);
#pragma omp for schedule(static)
        for (int i = 0; i < across * down; i++)
            job(&p, i / across * HEIGHT * SIDE, i % across * 2 * SIDE);
    }
    return true;
}

#else

bool distill_half_available(void)
{
    return false;
}

bool distill_half_gemm(float *out, int stride, int m, int n, int k, struct distill_matrix a,
                       struct distill_matrix b, bool add)
{
    (void)out, (void)stride, (void)m, (void)n, (void)k, (void)a, (void)b, (void)add;
    return false;
}

#endif
