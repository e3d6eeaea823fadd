/* The choice of a path, and the portable one, which is the definition. */
#include "ring/elementwise.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ring/clones.h"

/* ---- portable ---- */

/* ((hi : lo) + add) >> shift modulo 2^64. */
static inline uint64_t narrowed(uint64_t lo, uint64_t hi, ring_u128 add, int shift)
{
    return (uint64_t)((((ring_u128)hi << 64 | lo) + add) >> shift);
}

/* The carry out of bit 80 falls to bit 64 or above, and is lost with what the high plane shifts out. t may be lo. */
RING_CLONES static void narrow_all(uint64_t *t, const uint64_t *lo, const uint16_t *restrict hi, size_t n,
                                   int shift, uint64_t add_lo, uint64_t add_hi)
{
#ifndef __clang__
#pragma GCC ivdep
#endif
    for (size_t i = 0; i < n; i++) {
        const uint64_t sum = lo[i] + add_lo, carried = hi[i] + add_hi + (sum < lo[i]);
        t[i] = sum >> shift | carried << (64 - shift);
    }
}

static void narrow(const struct ring_narrow *end, struct ring_wide z, size_t n)
{
    if (end->shift) {
        narrow_all(end->t, z.lo, z.hi, n, end->shift, (uint64_t)end->add, (uint64_t)(end->add >> 64));
        return;
    }
    for (size_t i = 0; i < n; i++)
        end->t[i] = z.lo[i] + (uint64_t)end->add;
}

/* z += share, there or on the way to t. */
static inline void finish(struct ring_wide z, size_t i, ring_u128 share, const struct ring_narrow *end)
{
    if (end)
        end->t[i] = narrowed((uint64_t)(ring_wide_get(z, i) + share),
                             (uint16_t)((ring_wide_get(z, i) + share) >> 64), end->add, end->shift);
    else
        ring_wide_add(z, i, share);
}

/* delta m^2 - 2 m l = m (delta m - 2 l), formed in 128 bits. */
static inline ring_u128 square_share(int64_t delta, int64_t m, int64_t l)
{
    return (ring_u128)m * ((ring_u128)(ring_i128)(delta * m) - 2 * (ring_u128)(ring_i128)l);
}

static void square(struct ring_wide z, const int64_t *m, const int64_t *l, int64_t delta, size_t n,
                   const struct ring_narrow *end)
{
    for (size_t i = 0; i < n; i++)
        finish(z, i, square_share(delta, m[i], l[i]), end);
}

static inline int64_t own(const struct ring_factor *y, size_t i)
{
    return (int64_t)((uint64_t)y->delta * (uint64_t)y->m[i] - (uint64_t)y->l[i]);
}

static inline ring_u128 product_share(const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y,
                                      size_t i, size_t j)
{
    return (ring_u128)((ring_i128)x_m[i] * own(y, j)) - (ring_u128)((ring_i128)x_l[i] * y->m[j]);
}

static void multiply(struct ring_wide z, const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y,
                     bool negate, size_t n, const struct ring_narrow *end)
{
    const size_t step = y->each;
    for (size_t i = 0; i < n; i++) {
        const ring_u128 share = product_share(x_m, x_l, y, i, i * step);
        finish(z, i, negate ? -share : share, end);
    }
}

static void scale(struct ring_wide z, const int64_t *x, const struct ring_factor *y, int up, size_t n)
{
    const size_t step = y->each;
    for (size_t i = 0; i < n; i++)
        ring_wide_add(z, i, (ring_u128)((ring_i128)x[i] * own(y, i * step)) << up);
}

static ring_u128 square_sum(const int64_t *m, const int64_t *l, int64_t delta, size_t n)
{
    ring_u128 sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += square_share(delta, m[i], l[i]);
    return sum;
}

static ring_u128 dot(const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y, size_t n)
{
    ring_u128 sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += product_share(x_m, x_l, y, i, i);
    return sum;
}

const struct ring_elementwise ring_elementwise_portable = {"portable", narrow,     square, multiply,
                                                           scale,      square_sum, dot};

/* ---- the choice ---- */

static const struct ring_elementwise *chosen = &ring_elementwise_portable;

static void choose(void)
{
    const char *name = getenv("TREFOIL_ELEMENTWISE");
    const struct ring_elementwise *fast = ring_elementwise_ifma();
    if (fast && !(name && strcmp(name, ring_elementwise_portable.name) == 0))
        chosen = fast;
}

static const struct ring_elementwise *path(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose);
    return chosen;
}

void ring_narrow(const struct ring_narrow *end, struct ring_wide z, size_t n)
{
    path()->narrow(end, z, n);
}

/* x >> (64 - up) in two steps, as up may be 0. */
RING_CLONES static void join_all(uint64_t *restrict lo, uint16_t *restrict hi, const int64_t *restrict x,
                                 size_t n, int up)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t low = (uint64_t)x[i] << up, sum = lo[i] + low;
        hi[i] = (uint16_t)(hi[i] + (uint64_t)(x[i] >> 1 >> (63 - up)) + (sum < low));
        lo[i] = sum;
    }
}

void ring_join(struct ring_wide z, const int64_t *x, int up, size_t n)
{
    join_all(z.lo, z.hi, x, n, up);
}

RING_CLONES uint64_t ring_add_words(uint64_t *restrict values, const void *restrict came, size_t n)
{
    const unsigned char *at = came;
    uint64_t spread = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t word;
        memcpy(&word, at + i * sizeof word, sizeof word);
        values[i] += word;
        spread |= values[i] ^ values[i] << 1;
    }
    return spread;
}

void ring_square(struct ring_wide z, const int64_t *m, const int64_t *l, int64_t delta, size_t n,
                 const struct ring_narrow *end)
{
    path()->square(z, m, l, delta, n, end);
}

void ring_multiply(struct ring_wide z, const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y,
                   bool negate, size_t n, const struct ring_narrow *end)
{
    path()->multiply(z, x_m, x_l, y, negate, n, end);
}

void ring_scale(struct ring_wide z, const int64_t *x, const struct ring_factor *y, int up, size_t n)
{
    path()->scale(z, x, y, up, n);
}

ring_u128 ring_square_sum(const int64_t *m, const int64_t *l, int64_t delta, size_t n)
{
    return path()->square_sum(m, l, delta, n);
}

ring_u128 ring_dot(const int64_t *x_m, const int64_t *x_l, const struct ring_factor *y, size_t n)
{
    return path()->dot(x_m, x_l, y, n);
}
