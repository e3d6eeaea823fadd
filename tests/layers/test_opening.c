/* The one opening: truncation of shares modulo 2^80 to masked integers modulo 2^64, and table indices. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "layers/opening.h"
#include "layers/wide_array.h"
#include "tests/layers/three.h"
#include "tests/run.h"

/* Openings a value, shift and kind of share; a hundred million in all, fewer where a sanitizer slows them
 * down. */
#ifdef TREFOIL_SANITIZER
#define REPEAT 1
#else
#define REPEAT 24
#endif

#define BLOCK 4096
#define SHIFTS (RING_SHIFT_MAX + 1)

/* One block of openings: what the evaluators hold, and what they send. */
struct block {
    int64_t z[BLOCK]; /* the value before the shift */
    uint64_t lo[2][BLOCK];
    uint16_t hi[2][BLOCK];
    int64_t mask[2][BLOCK];
    uint64_t sent[2][BLOCK];
    int64_t out[BLOCK]; /* m - l_1 - l_2 */
};
static struct block b;

static uint64_t quick = 1;

static inline uint64_t quick_word(void)
{
    quick ^= quick << 13;
    quick ^= quick >> 7;
    quick ^= quick << 17;
    return quick;
}

enum shares { RANDOM, SMALL, EXTREME, SHARES };

/* z_1 anything in Z_2^80; or near a power of two, where a carry runs or a narrower ring would wrap. z_2 = z -
 * z_1. */
static void share(enum shares kind)
{
    for (size_t i = 0; i < BLOCK; i++) {
        const uint64_t word = quick_word();
        ring_u128 one = (ring_u128)quick_word() << 64 | word;
        if (kind != RANDOM)
            one = ((ring_u128)1 << (i % 81)) + (word & 1 ? 0 : b.z[i]) -
                  (kind == SMALL ? word >> 62 : word >> 24);
        const ring_u128 two = (ring_u128)(ring_i128)b.z[i] - one;
        b.lo[0][i] = (uint64_t)one;
        b.hi[0][i] = (uint16_t)(one >> 64);
        b.lo[1][i] = (uint64_t)two;
        b.hi[1][i] = (uint16_t)(two >> 64);
    }
}

static void draw_masks(enum shares kind)
{
    const int64_t most = ((int64_t)1 << 61) - 2, least = -((int64_t)1 << 61);
    for (int p = 0; p < 2; p++)
        for (size_t i = 0; i < BLOCK; i++) {
            const uint64_t word = quick_word();
            b.mask[p][i] = kind == EXTREME ? (word & 1 ? most : least) : (int64_t)word >> 2;
        }
}

static const int64_t no_mask[BLOCK];

static void send(int p, int shift, const int64_t *mask)
{
    const struct ring_wide z = {b.lo[p], b.hi[p]};
    const struct ring_narrow end = opening_end(b.sent[p], shift, p + 1);
    opening_mask(z, mask, shift, BLOCK);
    ring_narrow(&end, z, BLOCK);
}

static void open_block(int shift)
{
    for (int p = 0; p < 2; p++)
        send(p, shift, b.mask[p]);
    for (size_t i = 0; i < BLOCK; i++)
        b.out[i] = (int64_t)(b.sent[0][i] + b.sent[1][i]) - b.mask[0][i] - b.mask[1][i];
}

/* How many of a block are off by a unit or more, or off at all where 2^shift divides z. */
static size_t wrong(int shift)
{
    const int64_t unit = (int64_t)1 << shift;
    size_t count = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        const int64_t error = (int64_t)((uint64_t)b.out[i] << shift) - b.z[i];
        count += (b.out[i] > RING_RANGE) | (b.out[i] < -RING_RANGE); /* so that error cannot overflow */
        count += (error >= unit) | (error <= -unit) | (((b.z[i] & (unit - 1)) == 0) & (error != 0));
    }
    return count;
}

static void check_block(int shift, enum shares kind)
{
    share(kind);
    draw_masks(kind);
    open_block(shift);
    ck_assert_msg(wrong(shift) == 0, "%zu of %d openings by %d bits are wrong", wrong(shift), BLOCK, shift);
}

START_TEST(truncation_never_wraps_at_the_edge_of_the_range)
{
    size_t openings = 0;
    for (int shift = 0; shift < SHIFTS; shift++)
        for (int repeat = 0; repeat < 20 * REPEAT; repeat++)
            for (enum shares kind = 0; kind < SHARES; kind++) {
                const int64_t edge = (RING_RANGE << shift) - 1, below = quick_word() & 0xff;
                for (size_t i = 0; i < BLOCK; i++) {
                    const int64_t z = repeat & 1 ? edge - below : (RING_RANGE - 1) << shift;
                    b.z[i] = i & 1 ? z : -z;
                }
                check_block(shift, kind);
                openings += BLOCK;
            }
#ifndef TREFOIL_SANITIZER
    ck_assert_uint_ge(openings, 100000000);
#endif
}
END_TEST

START_TEST(truncation_is_off_by_less_than_a_unit_and_exact_on_multiples)
{
    for (int shift = 0; shift < SHIFTS; shift++)
        for (int repeat = 0; repeat < 4 * REPEAT; repeat++)
            for (enum shares kind = 0; kind < SHARES; kind++) {
                for (size_t i = 0; i < BLOCK; i++) {
                    b.z[i] = (int64_t)(quick_word() % (2 * ((uint64_t)RING_RANGE << shift) - 1)) -
                             ((RING_RANGE << shift) - 1);
                    if (i % 3 == 0)
                        b.z[i] &= -((int64_t)1 << shift);
                }
                check_block(shift, kind);
            }
}
END_TEST

START_TEST(zero_stays_zero)
{
    memset(b.z, 0, sizeof b.z);
    for (int shift = 0; shift < SHIFTS; shift++)
        for (enum shares kind = 0; kind < SHARES; kind++) {
            share(kind);
            draw_masks(kind);
            open_block(shift);
            for (size_t i = 0; i < BLOCK; i++)
                ck_must(b.out[i] == 0, "shift %d: %lld", shift, (long long)b.out[i]);
        }
}
END_TEST

/* The mean error of n openings has a standard deviation below 1/2 sqrt(n): five of them are allowed. */
START_TEST(truncation_is_unbiased)
{
    for (int shift = 1; shift < SHIFTS; shift++)
        for (int part = 0; part < 8; part++) {
            double sum = 0;
            const int rounds = 16;
            for (int repeat = 0; repeat < rounds; repeat++) {
                const int64_t low = (int64_t)(((uint64_t)part << shift) / 8);
                for (size_t i = 0; i < BLOCK; i++)
                    b.z[i] = three_integer(1000) * ((int64_t)1 << shift) + low;
                share(RANDOM);
                draw_masks(RANDOM);
                open_block(shift);
                for (size_t i = 0; i < BLOCK; i++)
                    sum += (double)b.out[i] - ldexp((double)b.z[i], -shift);
            }
            const double n = (double)rounds * BLOCK;
            ck_assert_msg(fabs(sum / n) < 2.5 / sqrt(n), "shift %d, fraction %d/8: mean error %g", shift,
                          part, sum / n);
        }
}
END_TEST

/* Over all shares of the low bits the errors cancel to nothing: no statistics needed. */
START_TEST(truncation_is_unbiased_exactly_over_all_low_bits)
{
    for (int shift = 1; shift <= 12; shift++)
        for (int64_t z = -3; z <= 3; z++) {
            const int64_t all = (int64_t)1 << shift;
            int64_t sum = 0;
            for (int64_t first = 0; first < all; first += BLOCK) {
                const size_t n = (size_t)(all - first < BLOCK ? all - first : BLOCK);
                for (size_t i = 0; i < BLOCK; i++)
                    b.z[i] = z;
                share(RANDOM);
                for (size_t i = 0; i < n; i++) {
                    const ring_u128 one = (ring_u128)(first + (int64_t)i),
                                    two = (ring_u128)(ring_i128)z - one;
                    ring_wide_set((struct ring_wide){b.lo[0], b.hi[0]}, i, one);
                    ring_wide_set((struct ring_wide){b.lo[1], b.hi[1]}, i, two);
                }
                open_block(shift);
                for (size_t i = 0; i < n; i++)
                    sum += b.out[i];
            }
            ck_assert_int_eq(sum, z);
        }
}
END_TEST

START_TEST(what_joins_after_the_shift_is_exact)
{
    static uint64_t after[2][BLOCK];
    for (int shift = 0; shift < SHIFTS; shift++) {
        for (size_t i = 0; i < BLOCK; i++) {
            b.z[i] = three_integer(1000) * ((int64_t)1 << shift);
            after[0][i] = three_word();
            after[1][i] = (uint64_t)(int64_t)(i * 37) - after[0][i];
        }
        share(RANDOM);
        draw_masks(EXTREME);
        for (int p = 0; p < 2; p++) {
            send(p, shift, b.mask[p]);
            for (size_t i = 0; i < BLOCK; i++)
                b.sent[p][i] += after[p][i];
        }
        for (size_t i = 0; i < BLOCK; i++) {
            const int64_t m = (int64_t)(b.sent[0][i] + b.sent[1][i]);
            ck_must(m - b.mask[0][i] - b.mask[1][i] == (b.z[i] >> shift) + (int64_t)(i * 37),
                    "shift %d, element %zu", shift, i);
        }
    }
}
END_TEST

/* Without masks, one share of zero: the fixed-point walk rounds halves up. */
START_TEST(a_whole_value_at_p1_is_rounded_to_nearest)
{
    for (int shift = 1; shift < SHIFTS; shift++) {
        for (size_t i = 0; i < BLOCK; i++) {
            b.z[i] = three_integer((RING_RANGE << shift) - 1);
            ring_wide_set((struct ring_wide){b.lo[0], b.hi[0]}, i, (ring_u128)(ring_i128)b.z[i]);
        }
        send(0, shift, no_mask);
        for (size_t i = 0; i < BLOCK; i++)
            ck_must((int64_t)b.sent[0][i] == (int64_t)floor(ldexp((double)b.z[i], -shift) + 0.5),
                    "shift %d, element %zu", shift, i);
    }
}
END_TEST

START_TEST(output_shares_add_up_modulo_2_to_the_32)
{
    static uint32_t out[2][BLOCK];
    for (int shift = 0; shift < SHIFTS; shift++)
        for (enum shares kind = 0; kind < SHARES; kind++) {
            const int64_t unit = (int64_t)1 << shift, most = ((int64_t)1 << 31) * unit - unit;
            for (size_t i = 0; i < BLOCK; i++)
                b.z[i] = i % 16 == 0 ? most : i % 16 == 1 ? -most : three_integer(most);
            share(kind);
            for (int p = 0; p < 2; p++)
                opening_output(out[p], (struct ring_wide){b.lo[p], b.hi[p]}, BLOCK, shift, p + 1);
            for (size_t i = 0; i < BLOCK; i++) {
                const int64_t error = (int32_t)(out[0][i] + out[1][i]) * unit - b.z[i];
                ck_must(error > -unit && error < unit, "shift %d: off by %lld", shift, (long long)error);
                ck_must(b.z[i] % unit || !error, "shift %d: a multiple is not exact", shift);
            }
        }
}
END_TEST

/* d - rho is the cell of v or, unless v is a multiple of 2^s, the one above: v in ((i-1) 2^s, (i+1) 2^s). */
START_TEST(an_index_names_a_cell_on_either_side_of_the_value)
{
    static uint16_t d[2][BLOCK], rho[BLOCK];
    static const int64_t offsets[3] = {0, 12345, (int64_t)1 << 20};
    size_t above = 0, seen = 0;
    for (int bits = 3; bits <= 16; bits++)
        for (int shift = 0; shift <= 44; shift += 11)
            for (size_t o = 0; o < 3; o++) {
                const uint64_t cells = (uint64_t)1 << bits;
                struct lookup l = {.count = BLOCK, .bits = bits, .shift = shift, .offset = offsets[o]};
                for (size_t i = 0; i < BLOCK; i++) {
                    uint64_t v = three_word() % (cells << shift);
                    if (i % 8 == 0)
                        v = v >> shift << shift;
                    if (i % 64 == 1)
                        v = (cells << shift) - 1;
                    b.z[i] = (int64_t)v - l.offset;
                    d[0][i] = (uint16_t)three_word();
                    d[1][i] = (uint16_t)three_word();
                    rho[i] = (uint16_t)(d[0][i] + d[1][i]);
                }
                share(RANDOM);
                for (int p = 0; p < 2; p++)
                    opening_index(d[p], (struct ring_wide){b.lo[p], b.hi[p]}, &l, p + 1);
                for (size_t i = 0; i < BLOCK; i++) {
                    const uint64_t v = (uint64_t)(b.z[i] + l.offset), cell = v >> shift;
                    const uint64_t got = (uint64_t)(d[0][i] + d[1][i] - rho[i]) & (cells - 1);
                    const bool between = (v & (((uint64_t)1 << shift) - 1)) != 0;
                    ck_must(d[0][i] < cells && d[1][i] < cells, "%d bits: more are sent", bits);
                    ck_must(got == cell || (between && got == ((cell + 1) & (cells - 1))),
                            "%d bits, shift %d: cell %llu", bits, shift, (unsigned long long)got);
                    above += got != cell;
                    seen += between;
                }
            }
    /* Both neighbours answer, or this test could not fail on one of them. */
    ck_assert(above > seen / 4 && above < seen * 3 / 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("opening");
    TCase *tests = tcase_create("opening");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, truncation_never_wraps_at_the_edge_of_the_range);
    tcase_add_test(tests, truncation_is_off_by_less_than_a_unit_and_exact_on_multiples);
    tcase_add_test(tests, zero_stays_zero);
    tcase_add_test(tests, truncation_is_unbiased);
    tcase_add_test(tests, truncation_is_unbiased_exactly_over_all_low_bits);
    tcase_add_test(tests, what_joins_after_the_shift_is_exact);
    tcase_add_test(tests, a_whole_value_at_p1_is_rounded_to_nearest);
    tcase_add_test(tests, output_shares_add_up_modulo_2_to_the_32);
    tcase_add_test(tests, an_index_names_a_cell_on_either_side_of_the_value);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
