/* How the ring GEMM is used: threads, packed matrices, the choice of the kernel, what is refused. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ring/gemm.h"
#include "ring/threads.h"
#include "tests/ring/gemm_problem.h"
#include "tests/run.h"

struct caller {
    struct problem p;
    struct ring_gemm_matrix *b;
    struct ring_wide c, wanted;
    bool good;
};

static void *call_often(void *argument)
{
    struct caller *own = argument;
    const struct problem *p = &own->p;
    own->good = true;
    for (int i = 0; i < 20; i++) {
        own->good =
            ring_gemm(own->c, p->ldc, p->m, p->a, p->lda, own->b, RING_GEMM_SET) == STATUS_OK && own->good;
        own->good = memcmp(own->c.lo, own->wanted.lo, p->m * p->n * sizeof *own->c.lo) == 0 &&
                    memcmp(own->c.hi, own->wanted.hi, p->m * p->n * sizeof *own->c.hi) == 0 && own->good;
    }
    return NULL;
}

static void caller_init(struct caller *own, enum ring_gemm_kernel kernel, size_t rows)
{
    own->p = problem_make(rows, 200, 90, random_operand, awkward);
    own->c = wide_make(own->p.m * own->p.n);
    own->wanted = wide_make(own->p.m * own->p.n);
    ring_gemm_reference(own->wanted, 90, own->p.m, 200, 90, own->p.a, 200, own->p.b, 90, RING_GEMM_SET);
    ck_assert_int_eq(ring_gemm_pack(&own->b, kernel, 200, 90, own->p.b, 90, false), STATUS_OK);
}

static void caller_clear(struct caller *own)
{
    ck_assert(own->good);
    ring_gemm_close(&own->b);
    wide_free(own->c);
    wide_free(own->wanted);
    free(own->p.a);
    free(own->p.b);
}

/* As three parties in one process do. */
START_TEST(threads_multiply_beside_each_other)
{
    enum { CALLERS = 6 };
    struct caller caller[CALLERS];
    pthread_t thread[CALLERS];
    for (size_t i = 0; i < CALLERS; i++)
        caller_init(&caller[i], i % 2 ? RING_GEMM_PORTABLE : ring_gemm_default(), 40 + i);
    for (size_t i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, call_often, &caller[i]), 0);
    for (size_t i = 0; i < CALLERS; i++) {
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
        caller_clear(&caller[i]);
    }
}
END_TEST

/* Enough work that the kernels divide it. */
START_TEST(kernels_equal_the_reference_on_several_threads)
{
    for (int threads = 2; threads <= 5; threads++) {
        threads_set(threads);
        check_shape(150, 900, 70);
        check_shape(20, 200, 700);
        check_shape(400, 130, 65);
    }
    threads_set(1);
}
END_TEST

/* Each thread of a team multiplies something of its own, alone. */
START_TEST(kernels_equal_the_reference_inside_a_parallel_region)
{
    enum { TEAM = 3 };
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++) {
        struct caller caller[TEAM];
        if (!ring_gemm_available((enum ring_gemm_kernel)kernel))
            continue;
        for (size_t i = 0; i < TEAM; i++)
            caller_init(&caller[i], (enum ring_gemm_kernel)kernel, 40 + i);
#pragma omp parallel for num_threads(TEAM) schedule(static)
        for (size_t i = 0; i < TEAM; i++)
            call_often(&caller[i]);
        for (size_t i = 0; i < TEAM; i++)
            caller_clear(&caller[i]);
    }
}
END_TEST

START_TEST(an_empty_inner_dimension_gives_zero)
{
    uint64_t lo[6] = {1, 2, 3, 4, 5, 6};
    uint16_t hi[6] = {1, 2, 3, 4, 5, 6};
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++) {
        if (!ring_gemm_available((enum ring_gemm_kernel)kernel))
            continue;
        struct ring_gemm_matrix *b = NULL;
        ck_assert_int_eq(ring_gemm_pack(&b, (enum ring_gemm_kernel)kernel, 0, 2, NULL, 2, false), STATUS_OK);
        const struct ring_wide c = {lo, hi};
        ck_assert_int_eq(ring_gemm(c, 3, 2, NULL, 0, b, RING_GEMM_ADD), STATUS_OK);
        ck_assert_uint_eq(lo[0], 1);
        ck_assert_int_eq(ring_gemm(c, 3, 2, NULL, 0, b, RING_GEMM_SET), STATUS_OK);
        ck_assert(lo[0] == 0 && hi[1] == 0 && lo[2] == 3 && lo[3] == 0 && hi[4] == 0 && hi[5] == 6);
        lo[0] = 1;
        ring_gemm_close(&b);
        ck_assert_ptr_null(b);
    }
}
END_TEST

/* Of a matrix of 768 columns: 32 panels, 6 of which lie as they are in masked ones of avx2. */
static size_t column_bytes(enum ring_gemm_kernel kernel, bool masked, bool small)
{
    if (small || kernel == RING_GEMM_PORTABLE || kernel == RING_GEMM_AMX)
        return 768 * 8;
    if (kernel == RING_GEMM_VNNI)
        return 768 * (masked ? 17 : 18);
    return masked ? 26 * 24 * 20 + 6 * 24 * 8 : 768 * 22;
}

START_TEST(a_packed_matrix_takes_as_many_bytes_as_are_promised)
{
    const size_t k = 768, n = 768;
    struct problem p = problem_make(1, k, n, random_operand, random_operand);
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++) {
        struct ring_gemm_matrix *b = NULL;
        if (!ring_gemm_available((enum ring_gemm_kernel)kernel))
            continue;
        ck_assert_int_eq(ring_gemm_pack(&b, (enum ring_gemm_kernel)kernel, k, n, p.b, n, false), STATUS_OK);
        const size_t wanted = k * column_bytes((enum ring_gemm_kernel)kernel, false, false);
        ck_assert_uint_ge(ring_gemm_bytes(b), wanted);
        ck_assert_uint_le(ring_gemm_bytes(b), wanted + 4096);
        ring_gemm_close(&b);
        for (int small = 0; small < 2; small++) {
            const size_t masked = k * column_bytes((enum ring_gemm_kernel)kernel, true, small);
            ck_assert_int_eq(
                ring_gemm_pack_masked(&b, (enum ring_gemm_kernel)kernel, k, n, p.b, n, false, small),
                STATUS_OK);
            ck_assert_uint_ge(ring_gemm_bytes(b), masked);
            ck_assert_uint_le(ring_gemm_bytes(b), masked + 4096);
            ring_gemm_close(&b);
        }
    }
    free(p.a);
    free(p.b);
    struct ring_gemm_matrix *none = NULL;
    ring_gemm_close(&none);
}
END_TEST

START_TEST(the_environment_chooses_the_kernel)
{
    const enum ring_gemm_kernel best = ring_gemm_default();
    ck_assert_int_eq(setenv("TREFOIL_GEMM", "portable", 1), 0);
    ck_assert_int_eq(ring_gemm_default(), RING_GEMM_PORTABLE);
    ck_assert_str_eq(ring_gemm_name(RING_GEMM_AUTO), "portable");
    for (int kernel = RING_GEMM_AVX2; kernel <= RING_GEMM_VNNI; kernel++)
        if (ring_gemm_available((enum ring_gemm_kernel)kernel)) {
            ck_assert_int_eq(setenv("TREFOIL_GEMM", ring_gemm_name((enum ring_gemm_kernel)kernel), 1), 0);
            ck_assert_int_eq(ring_gemm_default(), kernel);
        }
    ck_assert_int_eq(setenv("TREFOIL_GEMM", "amx", 1), 0);
    const bool amx = ring_gemm_available(RING_GEMM_AMX);
    ck_assert_int_eq(ring_gemm_default(), best);
    ck_assert(best == RING_GEMM_AMX || !amx);
    ck_assert(best == RING_GEMM_AMX || best == RING_GEMM_VNNI || !ring_gemm_available(RING_GEMM_VNNI));
    ck_assert(best != RING_GEMM_PORTABLE || !ring_gemm_available(RING_GEMM_AVX2));
    struct ring_gemm_matrix *b = NULL;
    const int64_t one = 1;
    ck_assert_int_eq(ring_gemm_pack(&b, RING_GEMM_AUTO, 1, 1, &one, 1, false),
                     amx ? STATUS_OK : STATUS_INPUT);
    ring_gemm_close(&b);
    ck_assert_int_eq(setenv("TREFOIL_GEMM", "", 1), 0);
    ck_assert_int_eq(ring_gemm_default(), best);
    unsetenv("TREFOIL_GEMM");
}
END_TEST

START_TEST(a_kernel_that_does_not_exist_is_refused_by_name)
{
    ck_assert_int_eq(setenv("TREFOIL_GEMM", "abacus", 1), 0);
    struct ring_gemm_matrix *b = NULL;
    const int64_t one = 1;
    ck_assert_int_eq(ring_gemm_pack(&b, RING_GEMM_AUTO, 1, 1, &one, 1, false), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "abacus"));
    ck_assert_ptr_null(b);
    unsetenv("TREFOIL_GEMM");
    ck_assert(!ring_gemm_available(RING_GEMM_KERNELS));
    ck_assert(!ring_gemm_available(RING_GEMM_AUTO));
    ck_assert_int_eq(ring_gemm_pack(&b, RING_GEMM_KERNELS, 1, 1, &one, 1, false), STATUS_INPUT);
}
END_TEST

START_TEST(a_matrix_beyond_the_address_space_is_an_error)
{
    struct ring_gemm_matrix *b = NULL;
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++)
        if (ring_gemm_available((enum ring_gemm_kernel)kernel))
            ck_assert_int_eq(
                ring_gemm_pack(&b, (enum ring_gemm_kernel)kernel, SIZE_MAX / 8, 1000, NULL, 1000, false),
                STATUS_MEMORY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm_use");
    TCase *tests = tcase_create("gemm_use");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, threads_multiply_beside_each_other);
    tcase_add_test(tests, kernels_equal_the_reference_on_several_threads);
    tcase_add_test(tests, kernels_equal_the_reference_inside_a_parallel_region);
    tcase_add_test(tests, an_empty_inner_dimension_gives_zero);
    tcase_add_test(tests, a_packed_matrix_takes_as_many_bytes_as_are_promised);
    tcase_add_test(tests, the_environment_chooses_the_kernel);
    tcase_add_test(tests, a_kernel_that_does_not_exist_is_refused_by_name);
    tcase_add_test(tests, a_matrix_beyond_the_address_space_is_an_error);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
