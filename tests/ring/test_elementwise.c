/* Elementwise products: every path against integers of 128 bits, written down once more. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ring/elementwise.h"
#include "tests/run.h"

#define MOST 20000 /* longer than any path adds up before it carries */
#define MARGIN 16

static uint64_t state;

static uint64_t word(void)
{
    state += 0x9e3779b97f4a7c15;
    uint64_t x = state;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* Half of them at the edges of a word, and of the limbs that a path may cut it into. */
static int64_t integer(void)
{
    static const int64_t edge[] = {0,
                                   1,
                                   -1,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT64_MIN + 1,
                                   1LL << 52,
                                   -(1LL << 52),
                                   (1LL << 52) - 1,
                                   -(1LL << 52) - 1,
                                   1LL << 62,
                                   -(1LL << 62)};
    const uint64_t w = word();
    return w & 1 ? edge[(w >> 1) % (sizeof edge / sizeof *edge)] : (int64_t)word() >> (w >> 1) % 64;
}

struct arrays {
    int64_t xm[MOST], xl[MOST], ym[MOST], yl[MOST];
    uint64_t lo[MOST + MARGIN], t[MOST + MARGIN];
    uint16_t hi[MOST + MARGIN];
};

static struct arrays given, got;

static void fill(uint64_t seed)
{
    state = seed;
    for (size_t i = 0; i < MOST; i++) {
        given.xm[i] = integer();
        given.xl[i] = integer();
        given.ym[i] = integer();
        given.yl[i] = integer();
    }
    for (size_t i = 0; i < MOST + MARGIN; i++) {
        given.lo[i] = (uint64_t)integer();
        given.hi[i] = (uint16_t)word();
        given.t[i] = word();
    }
}

/* Everything the largest at once. */
static void fill_largest(void)
{
    for (size_t i = 0; i < MOST; i++) {
        given.xm[i] = given.xl[i] = given.yl[i] = INT64_MIN;
        given.ym[i] = INT64_MAX;
    }
}

static struct ring_wide z_of(struct arrays *a)
{
    return (struct ring_wide){a->lo, a->hi};
}

/* ---- the definitions ---- */

enum operation { SQUARE, MULTIPLY, SCALE, NARROW, JOIN, OPERATIONS };

struct call {
    enum operation operation;
    int64_t delta;
    bool each, negate, ends;
    bool in_place; /* t is the low plane of z */
    int up, shift;
    ring_u128 add;
    size_t n;
};

static ring_u128 own(const struct call *c, size_t j)
{
    return (ring_u128)(ring_i128)(int64_t)((uint64_t)c->delta * (uint64_t)given.ym[j] -
                                           (uint64_t)given.yl[j]);
}

static ring_u128 wide(int64_t v)
{
    return (ring_u128)(ring_i128)v;
}

static ring_u128 product(const struct call *c, size_t i, size_t j)
{
    return wide(given.xm[i]) * own(c, j) - wide(given.xl[i]) * wide(given.ym[j]);
}

static ring_u128 square(const struct call *c, size_t i)
{
    return wide(given.xm[i]) * ((ring_u128)c->delta * wide(given.xm[i]) - 2 * wide(given.xl[i]));
}

static ring_u128 expected(const struct call *c, size_t i)
{
    const size_t j = c->each ? i : 0;
    ring_u128 z = ring_wide_get(z_of(&given), i);
    if (c->operation == SQUARE)
        z += square(c, i);
    else if (c->operation == MULTIPLY)
        z += c->negate ? -product(c, i, j) : product(c, i, j);
    else if (c->operation == SCALE)
        z += wide(given.xm[i]) * own(c, j) << c->up;
    else if (c->operation == JOIN)
        z += wide(given.xm[i]) << c->shift;
    return z & (((ring_u128)1 << 80) - 1);
}

static uint64_t narrowed(const struct call *c, ring_u128 z)
{
    return (uint64_t)(((z + c->add) & (((ring_u128)1 << 80) - 1)) >> c->shift);
}

static void run(const struct ring_elementwise *path, const struct call *c)
{
    const struct ring_factor y = {given.ym, given.yl, c->delta, c->each};
    const struct ring_narrow end = {c->in_place ? got.lo : got.t, c->add, c->shift};
    const struct ring_wide z = z_of(&got);
    memcpy(got.lo, given.lo, sizeof got.lo);
    memcpy(got.hi, given.hi, sizeof got.hi);
    memcpy(got.t, given.t, sizeof got.t);
    if (c->operation == SQUARE)
        path->square(z, given.xm, given.xl, c->delta, c->n, c->ends ? &end : NULL);
    else if (c->operation == MULTIPLY)
        path->multiply(z, given.xm, given.xl, &y, c->negate, c->n, c->ends ? &end : NULL);
    else if (c->operation == SCALE)
        path->scale(z, given.xm, &y, c->up, c->n);
    else if (c->operation == JOIN)
        ring_join(z, given.xm, c->shift, c->n);
    else
        path->narrow(&end, z, c->n);
}

static void check(const char *name, const struct call *c)
{
    for (size_t i = 0; i < c->n + MARGIN; i++) {
        const bool inside = i < c->n;
        const ring_u128 z = inside ? expected(c, i) : 0;
        const bool into_z = inside && c->ends && c->in_place;
        const bool z_right = inside && !c->ends ? ring_wide_get(z_of(&got), i) == z
                                                : got.lo[i] == (into_z ? narrowed(c, z) : given.lo[i]) &&
                                                      got.hi[i] == given.hi[i];
        const bool t_right = got.t[i] == (inside && c->ends && !c->in_place ? narrowed(c, z) : given.t[i]);
        if (!z_right || !t_right)
            ck_abort_msg("%s: operation %d, element %zu of %zu, shift %d", name, (int)c->operation, i, c->n,
                         c->shift);
    }
}

static void check_calls(const struct ring_elementwise *path)
{
    static const size_t lengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 40, 1001};
    for (uint64_t round = 0; round < 400; round++) {
        struct call c = {.n = lengths[round % 11]};
        fill(round);
        if (round % 20 == 19)
            fill_largest();
        c.operation = (enum operation)(word() % OPERATIONS);
        c.delta = word() & 1;
        c.each = word() & 1;
        c.negate = word() & 1;
        c.ends = c.operation == NARROW || (c.operation < SCALE && (word() & 1));
        c.in_place = word() & 1;
        c.up = (int)(word() % 80);
        c.shift = (int)(word() % 17);
        c.add = (ring_u128)word() << 64 | word();
        if (c.operation >= SCALE)
            c.negate = false;
        run(path, &c);
        check(path->name, &c);
    }
}

static bool same(ring_u128 a, ring_u128 b)
{
    return a << 48 == b << 48;
}

static void check_sums(const struct ring_elementwise *path)
{
    static const size_t lengths[] = {0, 1, 3, 8, 11, 768, 1000, 8191, 8192, 8200, MOST};
    for (uint64_t round = 0; round < 44; round++) {
        struct call c = {.n = lengths[round % 11], .delta = round & 1, .each = true};
        const struct ring_factor y = {given.ym, given.yl, c.delta, true};
        fill(round);
        if (round >= 22)
            fill_largest();
        ring_u128 squares = 0, products = 0;
        for (size_t i = 0; i < c.n; i++) {
            squares += square(&c, i);
            products += product(&c, i, i);
        }
        ck_assert_msg(same(path->square_sum(given.xm, given.xl, c.delta, c.n), squares), "%s: squares of %zu",
                      path->name, c.n);
        ck_assert_msg(same(path->dot(given.xm, given.xl, &y, c.n), products), "%s: products of %zu",
                      path->name, c.n);
    }
}

START_TEST(the_portable_path_is_the_definition)
{
    check_calls(&ring_elementwise_portable);
    check_sums(&ring_elementwise_portable);
}
END_TEST

START_TEST(the_ifma_path_is_the_definition_where_there_is_one)
{
    const struct ring_elementwise *path = ring_elementwise_ifma();
    if (path) {
        check_calls(path);
        check_sums(path);
    }
}
END_TEST

START_TEST(the_path_that_is_chosen_is_the_definition)
{
    struct ring_elementwise chosen = {"chosen",   ring_narrow,     ring_square, ring_multiply,
                                      ring_scale, ring_square_sum, ring_dot};
    check_calls(&chosen);
    check_sums(&chosen);
    ck_assert_uint_eq(ring_narrow_at((struct ring_narrow){.t = got.t}, 3).t - got.t, 3);
}
END_TEST

/* Odd addresses, every length, and a width told by one of them alone. */
START_TEST(added_words_are_sums_and_tell_the_widest)
{
    static unsigned char came[8 * 100 + 1];
    uint64_t values[100], before[100], word_of;
    for (int bits = 1; bits <= 64; bits++) {
        state = (uint64_t)bits;
        for (size_t n = 0; n <= 100; n++) {
            const size_t wide = n ? word() % n : 0;
            for (size_t i = 0; i < n; i++) {
                const uint64_t sign = 0 - (word() & 1);
                const uint64_t sum = (i == wide ? (uint64_t)1 << (bits - 1) >> 1 : 0) ^ sign;
                word_of = word();
                before[i] = sum;
                values[i] = sum - word_of;
                memcpy(came + 1 + 8 * i, &word_of, 8);
            }
            const uint64_t spread = ring_add_words(values, came + 1, n);
            ck_assert_mem_eq(values, before, n * sizeof *values);
            ck_assert_uint_eq(bits == 64 ? 0 : spread >> bits, 0);
            ck_assert(bits == 1 || n == 0 || spread >> (bits - 1) == 1);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("elementwise");
    TCase *tests = tcase_create("elementwise");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, the_portable_path_is_the_definition);
    tcase_add_test(tests, the_ifma_path_is_the_definition_where_there_is_one);
    tcase_add_test(tests, the_path_that_is_chosen_is_the_definition);
    tcase_add_test(tests, added_words_are_sums_and_tell_the_widest);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
