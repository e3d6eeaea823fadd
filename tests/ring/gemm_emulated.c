#include "tests/ring/gemm_emulated.h"

#include <stdlib.h>
#include <string.h>

#include "ring/threads.h"
#include "tests/ring/gemm_parts.h"
#include "tests/run.h"

static const struct gemm_kernel *emulated;

/* B, packed by the emulation; the caller frees data. */
static struct ring_gemm_matrix packed(const struct problem *p)
{
    struct ring_gemm_matrix b = {.kernel = emulated, .k = p->k, .n = p->n, .masked = p->masked};
    ck_assert(emulated->bytes(&b.bytes, &b));
    b.data = gemm_allocate(b.bytes);
    ck_assert_ptr_nonnull(b.data);
    emulated->pack(&b, p->b, p->ldb, p->transposed);
    return b;
}

static void check_product(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void),
                          bool is_masked)
{
    struct problem p = problem_make(m, k, n, left, right);
    p.masked = is_masked;
    struct ring_gemm_matrix b = packed(&p);
    const struct ring_wide c = wide_make(m * n), wanted = wide_make(m * n);
    memcpy(wanted.lo, c.lo, m * n * sizeof *c.lo);
    memcpy(wanted.hi, c.hi, m * n * sizeof *c.hi);
    ring_gemm_reference(wanted, n, m, k, n, p.a, p.lda, p.b, p.ldb, RING_GEMM_ADD);
    ck_assert_int_eq(ring_gemm(c, n, m, p.a, p.lda, &b, RING_GEMM_ADD), STATUS_OK);
    for (size_t i = 0; i < m * n; i++)
        if (c.lo[i] != wanted.lo[i] || c.hi[i] != wanted.hi[i])
            ck_abort_msg("%zu x %zu x %zu: element (%zu, %zu)", m, k, n, i / n, i % n);
    free(b.data);
    wide_free(c);
    wide_free(wanted);
    free(p.a);
    free(p.b);
}

static const struct {
    size_t m, k, n;
} shapes[] = {{1, 1, 1},    {16, 64, 16},  {17, 65, 33},   {130, 70, 50}, {40, 130, 9},
              {3, 200, 70}, {5, 4200, 20}, {128, 800, 17}, {90, 1, 31}}; /* the deep ones in several rounds */

START_TEST(products_equal_the_reference)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_product(shapes[i].m, shapes[i].k, shapes[i].n, random_operand, random_operand, false);
        check_product(shapes[i].m, shapes[i].k, shapes[i].n, awkward, awkward, false);
        check_product(shapes[i].m, shapes[i].k, shapes[i].n, masked, masked, true);
    }
    check_product(16, 64, 16, smallest, smallest, false);
    check_product(16, 64, 16, smallest, largest, false);
}
END_TEST

/* Rows are divided evenly among units of at most a band: 160 into 80 and 80. */
START_TEST(parts_are_finished_and_in_order)
{
    static const size_t rows[] = {1, 128, 129, 160, 192, 256, 257, 300};
    for (int threads = 1; threads <= 3; threads++) {
        threads_set(threads);
        for (size_t i = 0; i <= sizeof rows / sizeof *rows; i++) {
            const bool deep = i == sizeof rows / sizeof *rows;
            struct problem p = deep ? problem_make(128, 800, 100, masked, masked)
                                    : problem_make(rows[i], 20, 200, masked, masked);
            p.masked = true;
            struct ring_gemm_matrix b = packed(&p);
            check_parts(&p, &b, 40);
            free(b.data);
            free(p.a);
            free(p.b);
        }
    }
    threads_set(1);
}
END_TEST

int run_emulated(const struct gemm_kernel *kernel, const char *name)
{
    emulated = kernel;
    Suite *suite = suite_create(name);
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 240);
    tcase_add_test(tests, products_equal_the_reference);
    tcase_add_test(tests, parts_are_finished_and_in_order);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
