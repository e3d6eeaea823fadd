/* Parts of a product, from every kernel that runs here. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ring/gemm.h"
#include "ring/threads.h"
#include "tests/ring/gemm_parts.h"
#include "tests/run.h"

static void check_kernel(enum ring_gemm_kernel kernel, size_t m, size_t k, size_t n, size_t strip)
{
    const struct problem p = problem_make(m, k, n, masked, masked);
    struct ring_gemm_matrix *b = NULL;
    ck_assert_int_eq(ring_gemm_pack_masked(&b, kernel, k, n, p.b, p.ldb, p.transposed, false), STATUS_OK);
    check_parts(&p, b, strip);
    ring_gemm_close(&b);
    free(p.a);
    free(p.b);
}

static const struct {
    size_t m, k, n, strip;
} shapes[] = {{1, 1, 1, 1},       {1, 64, 100, 30},    {128, 200, 400, 96}, {127, 64, 385, 384},
              {129, 70, 200, 48}, {300, 100, 150, 7},  {256, 300, 90, 1},   {160, 40, 97, 1000},
              {2, 4100, 130, 50}, {130, 1640, 60, 20}, {5, 0, 40, 16},      {0, 8, 40, 16},
              {7, 8, 0, 16}};

START_TEST(parts_are_finished_and_in_order)
{
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++)
        for (size_t i = 0;
             ring_gemm_available((enum ring_gemm_kernel)kernel) && i < sizeof shapes / sizeof *shapes; i++)
            check_kernel((enum ring_gemm_kernel)kernel, shapes[i].m, shapes[i].k, shapes[i].n,
                         shapes[i].strip);
}
END_TEST

/* Enough work that the kernels divide it. */
START_TEST(the_order_does_not_depend_on_the_number_of_threads)
{
    for (int threads = 2; threads <= 5; threads++) {
        threads_set(threads);
        for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++)
            if (ring_gemm_available((enum ring_gemm_kernel)kernel)) {
                check_kernel((enum ring_gemm_kernel)kernel, 100, 300, 700, 96);
                check_kernel((enum ring_gemm_kernel)kernel, 700, 300, 100, 40);
            }
    }
    threads_set(1);
}
END_TEST

/* A product that takes its time, so that what happens between its parts is seen: the time of whoever is told is not the
 * product's. */
static double *told;

static void dawdle(void *context, size_t row, size_t rows, size_t column, size_t columns)
{
    (void)context, (void)row, (void)rows, (void)column, (void)columns;
    const struct timespec while_ = {0, 250000000};
    nanosleep(&while_, NULL);
    *told += 0.25;
}

START_TEST(the_watch_leaves_out_who_is_told)
{
    double inside = 0, outside = 0;
    const struct problem p = problem_make(4, 64, 64, masked, masked);
    struct ring_wide c = wide_make(4 * 64);
    uint64_t *t = random_words(4 * 64);
    const struct ring_narrow end = {t, 0, 12};
    const struct ring_gemm_parts parts = {.columns = 32, .ready = dawdle};
    struct ring_gemm_matrix *b = NULL;
    ck_assert_int_eq(ring_gemm_pack(&b, RING_GEMM_AUTO, 64, 64, p.b, p.ldb, p.transposed), STATUS_OK);
    told = &outside;
    ring_gemm_watch(&inside);
    ck_assert_int_eq(ring_gemm_narrow(&end, 64, c, 64, 4, p.a, p.lda, b, &parts), STATUS_OK);
    ring_gemm_watch(NULL);
    ck_assert_double_ge(outside, 0.49);
    ck_assert_double_ge(inside, 0);
    ck_assert_double_lt(inside, outside);
    ring_gemm_close(&b);
    wide_free(c);
    free(t);
    free(p.a);
    free(p.b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm_parts");
    TCase *tests = tcase_create("gemm_parts");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, parts_are_finished_and_in_order);
    tcase_add_test(tests, the_order_does_not_depend_on_the_number_of_threads);
    tcase_add_test(tests, the_watch_leaves_out_who_is_told);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
