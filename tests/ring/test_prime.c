/* The field of 2^64 - 59, against the division of 128-bit integers, at its edges and at random. */
#include <check.h>
#include <stdbool.h>

#include "ring/prime.h"
#include "tests/run.h"

static const ring_u128 p = ((ring_u128)1 << 64) - 59;

static uint64_t state = 1;

static uint64_t word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static const uint64_t edges[] = {0,
                                 1,
                                 2,
                                 58,
                                 59,
                                 60,
                                 1u << 31,
                                 UINT64_C(1) << 32,
                                 UINT64_C(1) << 63,
                                 UINT64_MAX,
                                 -(uint64_t)58,
                                 -(uint64_t)59,
                                 -(uint64_t)60,
                                 -(uint64_t)61,
                                 INT64_MAX};
#define EDGES (sizeof edges / sizeof *edges)

static uint64_t pick(size_t i)
{
    return i < EDGES ? edges[i] : word();
}

START_TEST(what_is_computed_is_what_division_says)
{
    for (size_t i = 0; i < EDGES + 60; i++)
        for (size_t j = 0; j < EDGES + 60; j++)
            for (size_t k = 0; k < EDGES + 20; k++) {
                const uint64_t a = ring_prime_word(pick(i)), b = ring_prime_word(pick(j)),
                               c = ring_prime_word(pick(k));
                const uint64_t x = pick(i), y = pick(j), z = pick(k); /* not reduced */
                const bool right =
                    a < p && ring_prime_add(a, b) == (uint64_t)(((ring_u128)a + b) % p) &&
                    ring_prime_subtract(a, b) == (uint64_t)(((ring_u128)a + p - b) % p) &&
                    ring_prime_multiply_add(a, b, c) == (uint64_t)(((ring_u128)a * b % p + c) % p) &&
                    ring_prime_add(x, y) == (uint64_t)(((ring_u128)x + y) % p) &&
                    ring_prime_multiply_add(x, y, z) == (uint64_t)(((ring_u128)x * y + z) % p);
                if (!right)
                    ck_abort_msg("%#llx, %#llx, %#llx", (unsigned long long)a, (unsigned long long)b,
                                 (unsigned long long)c);
            }
    for (size_t i = 0; i < EDGES; i++) {
        ck_assert_uint_eq(ring_prime_word(edges[i]), (uint64_t)(edges[i] % p));
        const int64_t x = (int64_t)edges[i];
        ck_assert_uint_eq(ring_prime_integer(x), (uint64_t)(((ring_i128)x + (ring_i128)p) % (ring_i128)p));
    }
    for (size_t i = 0; i < EDGES + 1000; i++) {
        const ring_i128 x = (ring_i128)(int64_t)pick(i) * (1 << 30) + (int64_t)word() % 1000;
        ck_assert_uint_eq(ring_prime_wide(x), (uint64_t)((x % (ring_i128)p + (ring_i128)p) % (ring_i128)p));
    }
    for (ring_u128 x = 0; x < 200; x++) /* around every multiple that folding meets */
        for (uint64_t high = 0; high < 200; high++) {
            const ring_u128 at = (ring_u128)(high * 0x0147ae147ae147ae) * p + x - 100;
            ck_assert_uint_eq(ring_prime_fold(at), (uint64_t)(at % p));
        }
}
END_TEST

/* That no other integer of 64 bits is zero is what range checks stand on. */
START_TEST(an_integer_is_zero_only_if_it_is)
{
    ck_assert_uint_eq(ring_prime_integer(0), 0);
    for (size_t i = 0; i < EDGES + 10000; i++) {
        const int64_t x = (int64_t)pick(i);
        ck_assert((ring_prime_integer(x) == 0) == (x == 0));
    }
    ck_assert_uint_ne(ring_prime_integer(INT64_MIN), 0);
    ck_assert_uint_ne(ring_prime_integer(INT64_MAX), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prime");
    TCase *tests = tcase_create("prime");
    tcase_add_test(tests, what_is_computed_is_what_division_says);
    tcase_add_test(tests, an_integer_is_zero_only_if_it_is);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
