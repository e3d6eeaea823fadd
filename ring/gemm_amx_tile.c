/* The heart of the AMX kernel: the ten diagonals of one 16 x 16 tile of C (gemm_amx.h).
 *
 * There are eight tile registers and ten diagonals, so the limb products go in two passes over the inner
 * dimension: the high diagonals 5..9 (34 products a step), then the low ones 0..4 (15). In each, five
 * registers accumulate, two hold neighbouring limbs of A and one takes the limbs of B in turn: a limb of B
 * meets both, which lands on neighbouring diagonals. That is 42 tile loads for 49 products.
 *
 * Between the products stands the other work, so that the multiplier never waits for it: rows of the tile
 * before are added up, and what the next step needs is fetched. */
#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) GEMM_AMX_TARGET

/* Register numbers must be literals, hence macros. 0..4 accumulate, 5 and 6 hold limbs i and i + 1 of A, 7
 * takes a limb j of B, which meets both (BOTH), or one of them where the other product belongs to the other
 * pass. UU, SU and US: both limbs unsigned, that of A signed, that of B signed. */
#define UU(sum, left) _tile_dpbuud(sum, left, 7)
#define SU(sum, left) _tile_dpbsud(sum, left, 7)
#define US(sum, left) _tile_dpbusd(sum, left, 7)
#define A_LIMBS(i)                    \
    _tile_loadd(5, a + (i)*TILE, 64); \
    _tile_loadd(6, a + ((i) + 1) * TILE, 64)
#define BOTH(j, kind0, sum0, kind1, sum1) \
    _tile_loadd(7, b + (j)*TILE, 64);     \
    kind1(sum1, 6);                       \
    kind0(sum0, 5)
#define FIRST(j, kind0, sum0)         \
    _tile_loadd(7, b + (j)*TILE, 64); \
    kind0(sum0, 5)
#define SECOND(j, kind1, sum1)        \
    _tile_loadd(7, b + (j)*TILE, 64); \
    kind1(sum1, 6)

GEMM_AMX_TARGET void gemm_amx_begin(void)
{
    /* A constant: gcc's intrinsic tells the compiler of the first word only, and stores of others may vanish.
     */
    static const struct {
        uint8_t palette, start, zero[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE},
    };
    _tile_loadconfig(&config);
}

GEMM_AMX_TARGET void gemm_amx_end(void)
{
    _tile_release();
}

/* Eight columns of a row: c = or += sum over s of 2^(8 s) sums[s], diagonal s at sums + s * SIDE * SIDE. */
INLINE void finish_eight(const struct gemm_amx_finish *f, const int32_t *sums, size_t at, __mmask8 mask)
{
    __m512i d[DIAGONALS];
    for (int s = 0; s < DIAGONALS; s++)
        d[s] = _mm512_cvtepi32_epi64(_mm256_load_si256((const __m256i *)(sums + s * SIDE * SIDE)));
    /* x + 2^32 y + 2^64 z; x and y keep their signs, |x|, |y| < 2^56 */
    const __m512i x =
        _mm512_add_epi64(_mm512_add_epi64(d[0], _mm512_slli_epi64(d[1], 8)),
                         _mm512_add_epi64(_mm512_slli_epi64(d[2], 16), _mm512_slli_epi64(d[3], 24)));
    const __m512i y =
        _mm512_add_epi64(_mm512_add_epi64(d[4], _mm512_slli_epi64(d[5], 8)),
                         _mm512_add_epi64(_mm512_slli_epi64(d[6], 16), _mm512_slli_epi64(d[7], 24)));
    const __m512i z = _mm512_add_epi64(d[8], _mm512_slli_epi64(d[9], 8));
    const __m512i one = _mm512_set1_epi64(1);
    __m512i lo = _mm512_add_epi64(x, _mm512_slli_epi64(y, 32));
    __m512i hi = _mm512_add_epi64(_mm512_add_epi64(z, _mm512_srai_epi64(y, 32)), _mm512_srai_epi64(x, 63));
    hi = _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, x), hi, one);
    if (f->add) {
        const __m512i before = _mm512_maskz_loadu_epi64(mask, f->c.lo + at);
        lo = _mm512_add_epi64(lo, before);
        hi = _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, before), hi, one);
        hi = _mm512_add_epi64(hi, _mm512_cvtepu16_epi64(_mm_maskz_loadu_epi16(mask, f->c.hi + at)));
    }
    _mm512_mask_storeu_epi64(f->c.lo + at, mask, lo);
    _mm_mask_storeu_epi16(f->c.hi + at, mask, _mm512_cvtepi64_epi16(hi));
}

INLINE void finish_row(struct gemm_amx_finish *f)
{
    const __mmask16 mask = (__mmask16)((1u << f->columns) - 1);
    const int32_t *sums = f->sums + f->row * SIDE;
    const size_t at = f->row * f->ldc;
    f->row++;
    finish_eight(f, sums, at, (__mmask8)mask);
    if (f->columns > 8)
        finish_eight(f, sums + 8, at + 8, (__mmask8)(mask >> 8));
}

INLINE void finish_rows(struct gemm_amx_finish *f, unsigned count)
{
    for (; count != 0 && f->row < f->rows; count--)
        finish_row(f);
}

GEMM_AMX_TARGET void gemm_amx_finish(struct gemm_amx_work *work)
{
    finish_rows(&work->finish, SIDE);
}

/* Diagonals 5..9 in registers 0..4. */
INLINE void high_step(struct gemm_amx_work *work, const uint8_t *a, const uint8_t *b, unsigned rows)
{
    A_LIMBS(0);
    BOTH(7, US, 2, US, 3);
    SECOND(4, UU, 0);
    BOTH(5, UU, 0, UU, 1);
    BOTH(6, UU, 1, UU, 2);
    finish_rows(&work->finish, rows);
    A_LIMBS(2);
    FIRST(7, US, 4);
    SECOND(2, UU, 0);
    BOTH(3, UU, 0, UU, 1);
    BOTH(4, UU, 1, UU, 2);
    BOTH(5, UU, 2, UU, 3);
    BOTH(6, UU, 3, UU, 4);
    _tile_stored(7, work->dummy, 64);
    finish_rows(&work->finish, rows);
    A_LIMBS(4);
    SECOND(0, UU, 0);
    BOTH(1, UU, 0, UU, 1);
    BOTH(2, UU, 1, UU, 2);
    BOTH(3, UU, 2, UU, 3);
    BOTH(4, UU, 3, UU, 4);
    FIRST(5, UU, 4);
    finish_rows(&work->finish, rows);
    A_LIMBS(6);
    BOTH(0, UU, 1, SU, 2);
    BOTH(1, UU, 2, SU, 3);
    BOTH(2, UU, 3, SU, 4);
    FIRST(3, UU, 4);
    finish_rows(&work->finish, rows);
}

/* Diagonals 0..4 in registers 0..4. */
INLINE void low_step(struct gemm_amx_work *work, const uint8_t *a, const uint8_t *b, unsigned rows)
{
    A_LIMBS(0);
    BOTH(0, UU, 0, UU, 1);
    BOTH(1, UU, 1, UU, 2);
    BOTH(2, UU, 2, UU, 3);
    BOTH(3, UU, 3, UU, 4);
    FIRST(4, UU, 4);
    _tile_stored(7, work->dummy, 64);
    finish_rows(&work->finish, rows);
    A_LIMBS(2);
    BOTH(0, UU, 2, UU, 3);
    BOTH(1, UU, 3, UU, 4);
    FIRST(2, UU, 4);
    _tile_loadd(5, a + 4 * TILE, 64);
    FIRST(0, UU, 4);
    finish_rows(&work->finish, rows);
}

INLINE void load_sums(const int32_t *from)
{
    if (from == NULL) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        _tile_zero(4);
        return;
    }
    const char *at = (const char *)from;
    _tile_loadd(0, at, 64);
    _tile_loadd(1, at + TILE, 64);
    _tile_loadd(2, at + 2 * TILE, 64);
    _tile_loadd(3, at + 3 * TILE, 64);
    _tile_loadd(4, at + 4 * TILE, 64);
}

INLINE void store_sums(int32_t *sums)
{
    char *at = (char *)sums;
    _tile_stored(0, at, 64);
    _tile_stored(1, at + TILE, 64);
    _tile_stored(2, at + 2 * TILE, 64);
    _tile_stored(3, at + 3 * TILE, 64);
    _tile_stored(4, at + 4 * TILE, 64);
}

GEMM_AMX_TARGET void gemm_amx_tile(struct gemm_amx_work *work, int32_t *sums, const int32_t *from,
                                   const uint8_t *a, const uint8_t *b, size_t steps)
{
    const size_t low = 5 * SIDE * SIDE;
    /* Six places a step where rows of the tile before may be finished. */
    const unsigned rows = (unsigned)((SIDE + 6 * steps - 1) / (6 * steps));
    load_sums(from == NULL ? NULL : from + low);
    for (size_t i = 0; i < steps; i++)
        high_step(work, a + i * STEP_BYTES, b + i * STEP_BYTES, rows);
    store_sums(sums + low);
    load_sums(from);
    for (size_t i = 0; i < steps; i++)
        low_step(work, a + i * STEP_BYTES, b + i * STEP_BYTES, rows);
    store_sums(sums);
}

#endif
