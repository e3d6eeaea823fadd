/* The heart of the AMX kernel: one 16 x 16 tile of C (gemm_amx.h).
 *
 * There are eight tile registers and ten diagonals, so the limb products go in two passes over the inner
 * dimension: the high diagonals 5..9 (34 products a step), then the low ones 0..4 (15), backwards. In each,
 * five registers accumulate and three hold limbs of A and B. The order of the products was found by a search:
 * such that few limbs are loaded more than once (35 tile loads for 49 products), never two for one product,
 * and those of a step that are new are spread over it, since they come from the second-level cache.
 *
 * The multiplier is busy for 16 cycles a product, and everything else has to fit beside it:
 *   - the tile before is added up, a row at a time;
 *   - the limbs of B that the next step needs are fetched into the first-level cache, in the order of their
 * first use (those of A follow each other in memory, which the processor sees by itself), and what is further
 * away into the second-level cache, a line at a time: in bursts it would hold up the rest;
 *   - the rows of C are fetched before they are written;
 *   - each step stores one tile to nowhere: a tile store that comes some 2500 cycles after the one before
 * costs about 600 more, which would happen at the end of every pass. It stores a register that was loaded
 * just before and stays: loading one while it is being stored has to wait. */
#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include "ring/narrow_avx512.h"

#define INLINE static inline __attribute__((always_inline)) GEMM_AMX_TARGET

/* c = or += lo + 2^64 hi in eight columns, or what becomes of the sum. */
INLINE void store_eight(const struct gemm_amx_tile *tile, struct ring_wide c, __m512i lo, __m256i hi,
                        __mmask8 mask)
{
    if (tile->end != NULL) {
        const struct narrow_avx512 end = narrow_avx512_of(tile->end);
        narrow_avx512_sum(&end, c, lo, _mm512_cvtepu32_epi64(hi), mask);
        return;
    }
    if (tile->add) {
        const __m512i before = _mm512_maskz_loadu_epi64(mask, c.lo);
        lo = _mm512_add_epi64(lo, before);
        hi = _mm256_add_epi32(hi, _mm256_cvtepu16_epi32(_mm_maskz_loadu_epi16(mask, c.hi)));
        hi = _mm256_mask_add_epi32(hi, _mm512_cmplt_epu64_mask(lo, before), hi, _mm256_set1_epi32(1));
    }
    _mm512_mask_storeu_epi64(c.lo, mask, lo);
    _mm_mask_storeu_epi16(c.hi, mask, _mm256_cvtepi32_epi16(hi));
}

/* The next diagonal, plus what the one before leaves above its lowest byte. |sum| < 2^31 - 2^24, so that the
 * carry fits (gemm_amx.h). */
INLINE __m512i next_sum(__m512i sum, const int32_t *sums)
{
    return _mm512_add_epi32(_mm512_srai_epi32(sum, 8), _mm512_load_si512(sums));
}

/* word: four bytes of a number, from diagonals first..first + 3 on; sum: carries from one to the next. */
INLINE __m512i four_bytes(__m512i *sum, const int32_t *sums, int first)
{
    __m512i word = *sum = first == 0 ? _mm512_load_si512(sums) : next_sum(*sum, sums + first * SIDE * SIDE);
    *sum = next_sum(*sum, sums + (first + 1) * SIDE * SIDE);
    word = _mm512_mask_blend_epi8(0x2222222222222222, word, _mm512_slli_epi32(*sum, 8));
    if (first == 8)
        return word;
    *sum = next_sum(*sum, sums + (first + 2) * SIDE * SIDE);
    word = _mm512_mask_blend_epi8(0x4444444444444444, word, _mm512_slli_epi32(*sum, 16));
    *sum = next_sum(*sum, sums + (first + 3) * SIDE * SIDE);
    return _mm512_mask_blend_epi8(0x8888888888888888, word, _mm512_slli_epi32(*sum, 24));
}

/* One row of the tile before: c = or += sum over s of 2^(8 s) diagonal s. Each diagonal gives a byte and a
 * carry. */
INLINE void finish_row(struct gemm_amx_work *work)
{
    const struct gemm_amx_tile *tile = &work->last;
    const int32_t *sums = work->sums + work->row * SIDE;
    const struct ring_wide c = ring_wide_at(tile->c, work->row * tile->ldc);
    const __mmask16 mask = (__mmask16)((1u << tile->columns) - 1);
    const __m512i first = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i second = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    __m512i sum;
    const __m512i low = four_bytes(&sum, sums, 0);
    const __m512i high = four_bytes(&sum, sums, 4);
    const __m512i top = four_bytes(&sum, sums, 8);
    store_eight(tile, c, _mm512_permutex2var_epi32(low, first, high), _mm512_castsi512_si256(top),
                (__mmask8)mask);
    if (tile->columns > 8)
        store_eight(tile, ring_wide_at(c, 8), _mm512_permutex2var_epi32(low, second, high),
                    _mm512_extracti64x4_epi64(top, 1), (__mmask8)(mask >> 8));
    work->row++;
}

INLINE void finish_rows(struct gemm_amx_work *work, size_t count)
{
    for (; count != 0 && work->row < work->last.rows; count--)
        finish_row(work);
}

GEMM_AMX_TARGET void gemm_amx_finish(struct gemm_amx_work *work)
{
    finish_rows(work, SIDE);
}

/* What there is to do between the products. */
struct meanwhile {
    struct gemm_amx_work *work;
    size_t rows;        /* to finish at each place for it, and to fetch */
    struct ring_wide c; /* the next row of the present tile */
    size_t ldc, unfetched;
    const char *far;
    size_t far_lines; /* to fetch at each place for it, FAR_PLACES a step */
};

#define HIGH_PRODUCTS 34
#define LOW_PRODUCTS 15
#define FINISH_PLACES 4 /* in a high step */
#define FETCH_PLACES 2  /* in a low step */
#define FAR_PLACES 16   /* in a step of both: 11 and 5 */

/* Whether one of some places that are spread over the products follows the one with this number. */
INLINE bool is_place(int number, int places, int products)
{
    return (number + 1) * places / products != number * places / products;
}

INLINE void fetch_far(struct meanwhile *m)
{
    for (size_t i = 0; i < m->far_lines; i++, m->far += 64)
        _mm_prefetch(m->far, _MM_HINT_T1);
}

INLINE void fetch_rows(struct meanwhile *m)
{
    for (size_t i = 0; i < m->rows && m->unfetched != 0; i++, m->unfetched--) {
        _mm_prefetch((const char *)m->c.lo, _MM_HINT_T0);
        _mm_prefetch((const char *)(m->c.lo + 8), _MM_HINT_T0);
        _mm_prefetch((const char *)m->c.hi, _MM_HINT_T0);
        m->c = ring_wide_at(m->c, m->ldc);
    }
}

/* After each product: a part of the limbs of B that the next step needs, in the order in which it takes them;
 * and what else is due. */
INLINE void after_high(struct meanwhile *m, const uint8_t *b, int number)
{
    static const uint8_t order[LIMBS] = {0, 1, 2, 3, 4, 5, 6, 7};
    const int lines = LIMBS * TILE / 64;
    for (int i = number * lines / HIGH_PRODUCTS; i < (number + 1) * lines / HIGH_PRODUCTS; i++)
        _mm_prefetch((const char *)b + order[i / 16] * TILE + i % 16 * 64, _MM_HINT_T0);
    if (is_place(number, 11, HIGH_PRODUCTS))
        fetch_far(m);
    if (is_place(number, FINISH_PLACES, HIGH_PRODUCTS))
        finish_rows(m->work, m->rows);
}

INLINE void after_low(struct meanwhile *m, const uint8_t *b, int number)
{
    static const uint8_t order[5] = {3, 4, 2, 1, 0};
    const int lines = 5 * TILE / 64;
    for (int i = number * lines / LOW_PRODUCTS; i < (number + 1) * lines / LOW_PRODUCTS; i++)
        _mm_prefetch((const char *)b + order[i / 16] * TILE + i % 16 * 64, _MM_HINT_T0);
    if (is_place(number, 5, LOW_PRODUCTS))
        fetch_far(m);
    if (is_place(number, FETCH_PLACES, LOW_PRODUCTS))
        fetch_rows(m);
}

/* Register numbers must be literals, hence macros. Registers 0..4 accumulate, 5..7 take limbs of A and B in
 * turn. HIGH and LOW: signedness of the limbs of A and B, number of the product, sum, limb of A, limb of B.
 */
#define A_LIMB(reg, i) _tile_loadd(reg, a + (i)*TILE, 64)
#define B_LIMB(reg, j) _tile_loadd(reg, b + (j)*TILE, 64)
#define STORE_NOWHERE(reg) _tile_stored(reg, m->work->dummy, 64)
#define HIGH(kind, number, sum, left, right) \
    _tile_dpb##kind##d(sum, left, right);    \
    after_high(m, next_b, number)
#define LOW(kind, number, sum, left, right) \
    _tile_dpb##kind##d(sum, left, right);   \
    after_low(m, next_b, number)

/* A line a product. */
/* clang-format off */

/* Diagonals 5..9 in registers 0..4. */
INLINE void high_step(struct meanwhile *m, const uint8_t *a, const uint8_t *b, const uint8_t *next_b)
{
    A_LIMB(5, 6); B_LIMB(6, 0); HIGH(uu, 0, 1, 5, 6);
    A_LIMB(7, 7); HIGH(su, 1, 2, 7, 6);
    B_LIMB(6, 1); HIGH(su, 2, 3, 7, 6);
    HIGH(uu, 3, 2, 5, 6);
    B_LIMB(6, 2); HIGH(uu, 4, 3, 5, 6);
    HIGH(su, 5, 4, 7, 6);
    A_LIMB(7, 5); HIGH(uu, 6, 2, 7, 6);
    B_LIMB(6, 0); HIGH(uu, 7, 0, 7, 6);
    B_LIMB(6, 3); HIGH(uu, 8, 4, 5, 6);
    HIGH(uu, 9, 3, 7, 6);
    A_LIMB(5, 4); HIGH(uu, 10, 2, 5, 6);
    B_LIMB(6, 1); HIGH(uu, 11, 1, 7, 6);
    STORE_NOWHERE(5); HIGH(uu, 12, 0, 5, 6);
    B_LIMB(6, 4); HIGH(uu, 13, 4, 7, 6);
    A_LIMB(7, 1); HIGH(uu, 14, 0, 7, 6);
    HIGH(uu, 15, 3, 5, 6);
    B_LIMB(6, 5); HIGH(uu, 16, 4, 5, 6);
    HIGH(uu, 17, 1, 7, 6);
    B_LIMB(7, 2); HIGH(uu, 18, 1, 5, 7);
    A_LIMB(5, 3); HIGH(uu, 19, 0, 5, 7);
    A_LIMB(7, 0); HIGH(uu, 20, 0, 7, 6);
    HIGH(uu, 21, 3, 5, 6);
    A_LIMB(7, 2); HIGH(uu, 22, 2, 7, 6);
    B_LIMB(6, 3); HIGH(uu, 23, 0, 7, 6);
    HIGH(uu, 24, 1, 5, 6);
    B_LIMB(6, 4); HIGH(uu, 25, 2, 5, 6);
    HIGH(uu, 26, 1, 7, 6);
    B_LIMB(6, 6); HIGH(uu, 27, 4, 5, 6);
    B_LIMB(5, 7); HIGH(us, 28, 4, 7, 5);
    HIGH(uu, 29, 3, 7, 6);
    A_LIMB(7, 1); HIGH(uu, 30, 2, 7, 6);
    HIGH(us, 31, 3, 7, 5);
    A_LIMB(7, 0); HIGH(us, 32, 2, 7, 5);
    HIGH(uu, 33, 1, 7, 6);
}

/* Diagonals 0..4 in registers 0..4. */
INLINE void low_step(struct meanwhile *m, const uint8_t *a, const uint8_t *b, const uint8_t *next_b)
{
    A_LIMB(5, 0); B_LIMB(6, 3); LOW(uu, 0, 3, 5, 6);
    B_LIMB(7, 4); LOW(uu, 1, 4, 5, 7);
    A_LIMB(7, 1); LOW(uu, 2, 4, 7, 6);
    B_LIMB(6, 2); LOW(uu, 3, 3, 7, 6);
    LOW(uu, 4, 2, 5, 6);
    B_LIMB(6, 1); STORE_NOWHERE(7); LOW(uu, 5, 2, 7, 6);
    B_LIMB(7, 0); LOW(uu, 6, 0, 5, 7);
    LOW(uu, 7, 1, 5, 6);
    A_LIMB(5, 3); LOW(uu, 8, 4, 5, 6);
    LOW(uu, 9, 3, 5, 7);
    A_LIMB(5, 2); LOW(uu, 10, 3, 5, 6);
    A_LIMB(6, 4); LOW(uu, 11, 4, 6, 7);
    LOW(uu, 12, 2, 5, 7);
    A_LIMB(6, 1); LOW(uu, 13, 1, 6, 7);
    B_LIMB(7, 2); LOW(uu, 14, 4, 5, 7);
}

/* clang-format on */

INLINE void clear_sums(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
}

INLINE void store_sums(int32_t *sums)
{
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + SIDE * SIDE, 64);
    _tile_stored(2, sums + 2 * SIDE * SIDE, 64);
    _tile_stored(3, sums + 3 * SIDE * SIDE, 64);
    _tile_stored(4, sums + 4 * SIDE * SIDE, 64);
}

GEMM_AMX_TARGET void gemm_amx_multiply(struct gemm_amx_work *work, const struct gemm_amx_tile *tile,
                                       const uint8_t *a, const uint8_t *b, size_t steps,
                                       const struct gemm_amx_ahead *ahead)
{
    struct meanwhile m = {.work = work, .c = tile->c, .ldc = tile->ldc, .unfetched = tile->rows};
    m.far = (const char *)ahead->far;
    m.far_lines = gemm_blocks(ahead->far_bytes, 64 * FAR_PLACES * steps);
    m.rows = gemm_blocks(SIDE, FINISH_PLACES * steps);
    clear_sums();
    for (size_t i = 0; i < steps; i++)
        high_step(&m, a + i * STEP_BYTES, b + i * STEP_BYTES, b + gemm_min(i + 1, steps - 1) * STEP_BYTES);
    store_sums(work->sums + 5 * SIDE * SIDE); /* the tile before is finished */
    clear_sums();
    m.rows = gemm_blocks(SIDE, FETCH_PLACES * steps);
    for (size_t i = 0; i < steps; i++)
        low_step(&m, a + i * STEP_BYTES, b + i * STEP_BYTES,
                 i + 1 < steps ? b + (i + 1) * STEP_BYTES : ahead->b);
    store_sums(work->sums);
    work->last = *tile;
    work->row = 0;
}

#endif
