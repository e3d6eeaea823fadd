/* Elements of Z_2^80 in two planes, and status messages. */
#include <check.h>
#include <string.h>

#include "ring/status.h"
#include "ring/wide.h"
#include "tests/run.h"

static const ring_u128 modulus = (ring_u128)1 << 80;

static uint64_t lo[4];
static uint16_t hi[4];
static const struct ring_wide planes = {lo, hi};

START_TEST(what_is_set_is_got_modulo_2_to_the_80)
{
    const ring_u128 values[] = {0, 1, modulus - 1, modulus, modulus + 5, (ring_u128)-1, (ring_u128)1 << 127};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        ring_wide_set(planes, 2, values[i]);
        ck_assert(ring_wide_get(planes, 2) == values[i] % modulus);
    }
    ck_assert(lo[1] == 0 && hi[1] == 0 && lo[3] == 0 && hi[3] == 0);
}
END_TEST

START_TEST(a_sum_carries_into_the_high_plane_and_wraps)
{
    ring_wide_set(planes, 0, UINT64_MAX);
    ring_wide_add(planes, 0, 1);
    ck_assert(lo[0] == 0 && hi[0] == 1);
    ring_wide_add(planes, 0, (ring_u128)(ring_i128)-1);
    ck_assert(lo[0] == UINT64_MAX && hi[0] == 0);
    ring_wide_set(planes, 0, modulus - 1);
    ring_wide_add(planes, 0, 2);
    ck_assert(lo[0] == 1 && hi[0] == 0);
    ring_wide_set(planes, 0, 3);
    ring_wide_add(planes, 0, (ring_u128)(ring_i128)-5);
    ck_assert(ring_wide_get(planes, 0) == modulus - 2);
}
END_TEST

START_TEST(a_view_further_on_shares_both_planes)
{
    const struct ring_wide view = ring_wide_at(planes, 3);
    ring_wide_set(view, 0, (ring_u128)7 << 64 | 9);
    ck_assert(lo[3] == 9 && hi[3] == 7);
}
END_TEST

START_TEST(a_failure_leaves_its_code_and_message)
{
    ck_assert_int_eq(status_fail(STATUS_FULL, "no room for %d pages", 3), STATUS_FULL);
    ck_assert_str_eq(status_message(), "no room for 3 pages");
    ck_assert_int_eq(status_prefix(STATUS_FULL, "layer %d: ", 7), STATUS_FULL);
    ck_assert_str_eq(status_message(), "layer 7: no room for 3 pages");
    char copy[12];
    status_copy(copy, sizeof copy);
    ck_assert_str_eq(copy, "layer 7: no");
}
END_TEST

START_TEST(a_message_too_long_is_cut)
{
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(status_fail(STATUS_IO, "%s", text), STATUS_IO);
    ck_assert_int_eq(status_prefix(STATUS_IO, "%s", text), STATUS_IO);
    ck_assert_uint_lt(strlen(status_message()), sizeof text);
}
END_TEST

START_TEST(every_code_has_a_name_of_its_own)
{
    for (int i = 0; i < STATUS_CODES; i++) {
        ck_assert_str_ne(status_name((enum status)i), "unknown");
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(status_name((enum status)i), status_name((enum status)j));
    }
    ck_assert_str_eq(status_name(STATUS_CODES), "unknown");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wide");
    TCase *tests = tcase_create("wide");
    tcase_add_test(tests, what_is_set_is_got_modulo_2_to_the_80);
    tcase_add_test(tests, a_sum_carries_into_the_high_plane_and_wraps);
    tcase_add_test(tests, a_view_further_on_shares_both_planes);
    tcase_add_test(tests, a_failure_leaves_its_code_and_message);
    tcase_add_test(tests, a_message_too_long_is_cut);
    tcase_add_test(tests, every_code_has_a_name_of_its_own);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
