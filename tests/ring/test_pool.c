/* Buffers that are used again. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ring/pool.h"
#include "tests/run.h"

#define BUFFERS 60

static size_t size_of(size_t i)
{
    return ((size_t)40 << 10) * (i * i + 1); /* from malloc's business to many slabs */
}

START_TEST(buffers_do_not_overlap)
{
    unsigned char *buffer[BUFFERS];
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < BUFFERS; i++) {
            buffer[i] = pool_take(size_of(i % 25));
            ck_assert_ptr_nonnull(buffer[i]);
            ck_assert_uint_eq((uintptr_t)buffer[i] % 64, 0);
            memset(buffer[i], (int)i, size_of(i % 25));
        }
        for (size_t i = 0; i < BUFFERS; i++) {
            for (size_t at = 0; at < size_of(i % 25); at += 509)
                if (buffer[i][at] != i)
                    ck_abort_msg("buffer %zu was written by another at %zu", i, at);
            pool_give(buffer[i], size_of(i % 25));
        }
        if (turn == 1)
            pool_trim();
    }
}
END_TEST

START_TEST(what_is_given_back_is_wiped_and_serves_again)
{
    const size_t bytes = (size_t)3 << 20;
    unsigned char *first = pool_take(bytes);
    memset(first, 0x5a, bytes);
    pool_give(first, bytes);
    unsigned char *second = pool_take_zero(bytes);
    for (size_t i = 0; i < bytes; i++)
        if (second[i] != 0)
            ck_abort_msg("byte %zu is not zero", i);
    pool_give(second, bytes);
    pool_give(NULL, bytes);
    pool_limit(0);
    pool_give(pool_take(bytes), bytes);
    pool_limit((size_t)2 << 30);
    pool_trim();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, buffers_do_not_overlap);
    tcase_add_test(tests, what_is_given_back_is_wiped_and_serves_again);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
