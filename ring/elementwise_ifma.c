/* The elementwise products with AVX-512 IFMA, eight at a time.
 *
 *     a = a_0 + 2^52 a_1,   0 <= a_0 < 2^52,   -2^11 <= a_1 < 2^11   (of a 64-bit integer)
 *     a b = a_0 b_0 + 2^52 (a_0 b_1 + a_1 b_0)   modulo 2^80
 *
 * since 2^(52 * 2) is 0 modulo 2^80. The processor multiplies the low 52 bits of its operands, whatever is above them, and
 * adds the low or the high half of the product: so a itself stands for a_0, and of the bracket only the low 28 bits matter,
 * which are right modulo 2^52. A sum is held as low + 2^52 high, low below 2^63, high modulo 2^64. */
#include "ring/elementwise.h"

#if defined(__x86_64__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 9)

#include "ring/narrow_avx512.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define LANES 8
#define LIMB 52
#define LONGEST 1024 /* products added up before the low half is brought below 2^52: 2^52 * 2^10 < 2^63 */

struct sum {
    __m512i low, high;
};

INLINE struct sum sum_zero(void)
{
    return (struct sum){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

/* sum += a (b_0 + 2^52 b_1). */
INLINE struct sum add_limbs(struct sum sum, __m512i a, __m512i b0, __m512i b1)
{
    sum.low = _mm512_madd52lo_epu64(sum.low, a, b0);
    sum.high = _mm512_madd52hi_epu64(sum.high, a, b0);
    sum.high = _mm512_madd52lo_epu64(sum.high, a, b1);
    sum.high = _mm512_madd52lo_epu64(sum.high, _mm512_srai_epi64(a, LIMB), b0);
    return sum;
}

INLINE struct sum add_product(struct sum sum, __m512i a, __m512i b)
{
    return add_limbs(sum, a, b, _mm512_srai_epi64(b, LIMB));
}

/* a - b, with a low half in [0, 2^52). */
INLINE struct sum difference(struct sum a, struct sum b)
{
    const __m512i low = _mm512_sub_epi64(a.low, b.low);
    return (struct sum){_mm512_and_si512(low, _mm512_set1_epi64(((int64_t)1 << LIMB) - 1)),
                        _mm512_add_epi64(_mm512_sub_epi64(a.high, b.high), _mm512_srai_epi64(low, LIMB))};
}

/* Elements of Z_2^80; of hi the low 16 bits count. */
struct wide {
    __m512i lo, hi;
};

/* sum.low in [0, 2^52). */
INLINE struct wide wide_of(struct sum sum)
{
    return (struct wide){_mm512_or_si512(sum.low, _mm512_slli_epi64(sum.high, LIMB)),
                         _mm512_srli_epi64(sum.high, 64 - LIMB)};
}

INLINE struct wide wide_add(struct wide a, struct wide b)
{
    const __m512i lo = _mm512_add_epi64(a.lo, b.lo), hi = _mm512_add_epi64(a.hi, b.hi);
    return (struct wide){
        lo, _mm512_mask_add_epi64(hi, _mm512_cmplt_epu64_mask(lo, a.lo), hi, _mm512_set1_epi64(1))};
}

/* ---- memory ---- */

INLINE __m512i load(const void *p, __mmask8 lanes)
{
    return lanes == 0xff ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi64(lanes, p);
}

INLINE struct wide wide_load(struct ring_wide z, __mmask8 lanes)
{
    const __m128i hi = lanes == 0xff ? _mm_loadu_si128((const __m128i *)(const void *)z.hi)
                                     : _mm_maskz_loadu_epi16(lanes, z.hi);
    return (struct wide){load(z.lo, lanes), _mm512_cvtepu16_epi64(hi)};
}

INLINE void wide_store(struct ring_wide z, struct wide v, __mmask8 lanes)
{
    if (lanes == 0xff) {
        _mm512_storeu_si512(z.lo, v.lo);
        _mm_storeu_si128((__m128i *)(void *)z.hi, _mm512_cvtepi64_epi16(v.hi));
        return;
    }
    _mm512_mask_storeu_epi64(z.lo, lanes, v.lo);
    _mm_mask_storeu_epi16(z.hi, lanes, _mm512_cvtepi64_epi16(v.hi));
}

struct end {
    uint64_t *t;
    struct narrow_avx512 narrow;
};

INLINE struct end end_of(const struct ring_narrow *n)
{
    return (struct end){n->t, narrow_avx512_of(n)};
}

INLINE void end_store(const struct end *e, size_t i, struct wide z, __mmask8 lanes)
{
    const __m512i t = narrow_avx512(&e->narrow, z.lo, z.hi);
    if (lanes == 0xff)
        _mm512_storeu_si512(e->t + i, t);
    else
        _mm512_mask_storeu_epi64(e->t + i, lanes, t);
}

/* z += v at i, there or on the way to t. */
INLINE void finish(struct ring_wide z, size_t i, struct wide v, const struct end *e, __mmask8 lanes)
{
    const struct ring_wide at = ring_wide_at(z, i);
    const struct wide sum = wide_add(wide_load(at, lanes), v);
    if (e)
        end_store(e, i, sum, lanes);
    else
        wide_store(at, sum, lanes);
}

/* Calls BODY(i, lanes) for all of [0, n); lanes is a constant but for the last few. */
#define FOR_ALL(n, BODY)                              \
    do {                                              \
        size_t i = 0;                                 \
        for (; i + LANES <= (n); i += LANES)          \
            BODY(i, 0xff);                            \
        if (i < (n))                                  \
            BODY(i, (__mmask8)((1u << ((n)-i)) - 1)); \
    } while (0)

/* ---- the operations ---- */

TARGET static void narrow(const struct ring_narrow *n, struct ring_wide z, size_t count)
{
    const struct end e = end_of(n);
#define BODY(i, lanes) end_store(&e, i, wide_load(ring_wide_at(z, i), lanes), lanes)
    FOR_ALL(count, BODY);
#undef BODY
}

/* sum += m (delta m - 2 l): the second factor has up to 66 bits, so its upper limb is taken from the upper limbs of its
 * terms and the borrow between their lower ones. */
INLINE struct sum add_square(struct sum sum, __m512i m, __m512i l, __m512i delta)
{
    const __m512i limb = _mm512_set1_epi64(((int64_t)1 << LIMB) - 1);
    const __m512i own = _mm512_and_si512(m, delta), twice = _mm512_add_epi64(l, l);
    const __m512i low = _mm512_sub_epi64(_mm512_and_si512(own, limb), _mm512_and_si512(twice, limb));
    const __m512i high =
        _mm512_add_epi64(_mm512_sub_epi64(_mm512_srai_epi64(own, LIMB), _mm512_srai_epi64(l, LIMB - 1)),
                         _mm512_srai_epi64(low, LIMB));
    return add_limbs(sum, m, low, high);
}

INLINE void squares(struct ring_wide z, const int64_t *m, const int64_t *l, int64_t delta, size_t n,
                    const struct end *e)
{
    const __m512i all = _mm512_set1_epi64(-delta);
#define BODY(i, lanes) \
    finish(z, i, wide_of(add_square(sum_zero(), load(m + i, lanes), load(l + i, lanes), all)), e, lanes)
    FOR_ALL(n, BODY);
#undef BODY
}

TARGET static void square(struct ring_wide z, const int64_t *m, const int64_t *l, int64_t delta, size_t n,
                          const struct ring_narrow *end)
{
    if (end) {
        const struct end e = end_of(end);
        squares(z, m, l, delta, n, &e);
    } else {
        squares(z, m, l, delta, n, NULL);
    }
}

/* delta y_m - y_l, and y_m; from y [i] or, loaded once, the same for all. */
struct factor {
    __m512i own, m;
};

INLINE struct factor factor_at(const struct ring_factor *y, size_t i, __mmask8 lanes)
{
    const __m512i m = load(y->m + i, lanes);
    return (struct factor){
        _mm512_sub_epi64(_mm512_and_si512(m, _mm512_set1_epi64(-y->delta)), load(y->l + i, lanes)), m};
}

INLINE struct factor factor_of_all(const struct ring_factor *y)
{
    const int64_t own = (int64_t)((uint64_t)y->delta * (uint64_t)y->m[0] - (uint64_t)y->l[0]);
    return (struct factor){_mm512_set1_epi64(own), _mm512_set1_epi64(y->m[0])};
}

INLINE void products(struct ring_wide z, const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y,
                     bool each, bool negate, size_t n, const struct end *e)
{
    const struct factor one =
        each ? (struct factor){_mm512_setzero_si512(), _mm512_setzero_si512()} : factor_of_all(y);
#define BODY(i, lanes)                                                                               \
    do {                                                                                             \
        const struct factor f = each ? factor_at(y, i, lanes) : one;                                 \
        const struct sum plus = add_product(sum_zero(), load(x_m + (i), lanes), f.own);              \
        const struct sum minus = add_product(sum_zero(), load(x_l + (i), lanes), f.m);               \
        finish(z, i, wide_of(negate ? difference(minus, plus) : difference(plus, minus)), e, lanes); \
    } while (0)
    FOR_ALL(n, BODY);
#undef BODY
}

INLINE void products_signed(struct ring_wide z, const int64_t *x_m, const int64_t *x_l,
                            const struct ring_factor *y, bool negate, size_t n, const struct end *e)
{
    if (y->each && negate)
        products(z, x_m, x_l, y, true, true, n, e);
    else if (y->each)
        products(z, x_m, x_l, y, true, false, n, e);
    else if (negate)
        products(z, x_m, x_l, y, false, true, n, e);
    else
        products(z, x_m, x_l, y, false, false, n, e);
}

TARGET static void multiply(struct ring_wide z, const int64_t *x_m, const int64_t *x_l,
                            const struct ring_factor *y, bool negate, size_t n, const struct ring_narrow *end)
{
    if (end) {
        const struct end e = end_of(end);
        products_signed(z, x_m, x_l, y, negate, n, &e);
    } else {
        products_signed(z, x_m, x_l, y, negate, n, NULL);
    }
}

/* v 2^up; shifts of 64 and more, and the negative ones of either kind, give 0. */
INLINE struct wide wide_up(struct wide v, __m128i up, __m128i back, __m128i over)
{
    return (struct wide){
        _mm512_sll_epi64(v.lo, up),
        _mm512_or_si512(_mm512_sll_epi64(v.hi, up),
                        _mm512_or_si512(_mm512_srl_epi64(v.lo, back), _mm512_sll_epi64(v.lo, over)))};
}

TARGET static void scale(struct ring_wide z, const int64_t *x, const struct ring_factor *y, int up, size_t n)
{
    const __m128i left = _mm_cvtsi64_si128(up), back = _mm_cvtsi64_si128(64 - up),
                  over = _mm_cvtsi64_si128(up - 64);
    const struct factor one = factor_of_all(y);
#define BODY(i, lanes)                                                               \
    do {                                                                             \
        const struct factor f = y->each ? factor_at(y, i, lanes) : one;              \
        const struct sum sum = add_product(sum_zero(), load(x + (i), lanes), f.own); \
        finish(z, i, wide_up(wide_of(sum), left, back, over), NULL, lanes);          \
    } while (0)
    FOR_ALL(n, BODY);
#undef BODY
}

/* The lanes added up, modulo 2^80. */
INLINE ring_u128 total(struct sum sum)
{
    int64_t low[LANES], high[LANES];
    ring_u128 all = 0;
    _mm512_storeu_si512(low, sum.low);
    _mm512_storeu_si512(high, sum.high);
    for (int i = 0; i < LANES; i++)
        all += (ring_u128)(ring_i128)low[i] + ((ring_u128)(uint64_t)high[i] << LIMB);
    return all;
}

TARGET static ring_u128 square_sum(const int64_t *m, const int64_t *l, int64_t delta, size_t n)
{
    const __m512i all = _mm512_set1_epi64(-delta);
    struct sum sum = sum_zero();
#define BODY(i, lanes)                                                          \
    do {                                                                        \
        sum = add_square(sum, load(m + (i), lanes), load(l + (i), lanes), all); \
        if ((i) % (LONGEST * LANES) == (LONGEST - 1) * LANES)                   \
            sum = difference(sum, sum_zero());                                  \
    } while (0)
    FOR_ALL(n, BODY);
#undef BODY
    return total(sum);
}

TARGET static ring_u128 dot(const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y, size_t n)
{
    struct sum plus = sum_zero(), minus = sum_zero();
#define BODY(i, lanes)                                           \
    do {                                                         \
        const struct factor f = factor_at(y, i, lanes);          \
        plus = add_product(plus, load(x_m + (i), lanes), f.own); \
        minus = add_product(minus, load(x_l + (i), lanes), f.m); \
        if ((i) % (LONGEST * LANES) == (LONGEST - 1) * LANES) {  \
            plus = difference(plus, minus);                      \
            minus = sum_zero();                                  \
        }                                                        \
    } while (0)
    FOR_ALL(n, BODY);
#undef BODY
    return total(difference(plus, minus));
}

static const struct ring_elementwise ifma = {"ifma", narrow, square, multiply, scale, square_sum, dot};

const struct ring_elementwise *ring_elementwise_ifma(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512ifma")
               ? &ifma
               : NULL;
}

#else

const struct ring_elementwise *ring_elementwise_ifma(void)
{
    return NULL;
}

#endif
