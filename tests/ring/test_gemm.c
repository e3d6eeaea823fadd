/* The kernels of the ring GEMM against the plain loops, bit for bit. */
#include <check.h>
#include <stdlib.h>

#include "ring/gemm_kernel.h"
#include "ring/parameters.h"
#include "tests/ring/gemm_problem.h"
#include "tests/run.h"

static int64_t largest_mask(void)
{
    return (int64_t)4 << RING_MASK_BITS;
}

static int64_t smallest_mask(void)
{
    return -largest_mask();
}

static int64_t mask_twice_negative(void)
{
    return -2 * masked();
}

/* The digits of the portable kernel as negative as they get together, the lowest one even or odd. */
static int64_t lowest_digits(void)
{
    return -((((int64_t)1 << 21) - 1) << 42) - ((int64_t)1 << 41) - ((int64_t)1 << 20) +
           (int64_t)(random_word() & 1);
}

START_TEST(the_reference_multiplies_modulo_2_to_the_80)
{
    const int64_t a[] = {INT64_MIN, -3, INT64_MAX, 1}, b[] = {INT64_MIN, 5, INT64_MAX, -1};
    uint64_t lo[1] = {1};
    uint16_t hi[1] = {0xffff};
    const struct ring_wide c = {lo, hi};
    ring_gemm_reference(c, 1, 1, 4, 1, a, 4, b, 1, RING_GEMM_SET);
    /* 2^126 + (2^63 - 1)^2 - 15 - 1 = 2^127 - 2^64 - 15 */
    ck_assert_uint_eq(lo[0], (uint64_t)-15);
    ck_assert_uint_eq(hi[0], 0xfffe);
    ring_gemm_reference(c, 1, 1, 1, 1, a + 3, 1, b + 1, 1, RING_GEMM_ADD);
    ck_assert_uint_eq(lo[0], (uint64_t)-10);
    ck_assert_uint_eq(hi[0], 0xfffe);
}
END_TEST

START_TEST(kernels_equal_the_reference_on_every_small_shape)
{
    for (size_t m = 1; m <= 5; m++)
        for (size_t k = 1; k <= 5; k++)
            for (size_t n = 1; n <= 5; n++)
                check_shape(m, k, n);
}
END_TEST

START_TEST(kernels_equal_the_reference_around_the_size_of_a_tile)
{
    static const size_t sides[] = {1, 15, 16, 17, 33}, depths[] = {1, 3, 63, 64, 65, 129};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++)
            for (size_t l = 0; l < 6; l++)
                check_shape(sides[i], depths[l], sides[j]);
}
END_TEST

START_TEST(kernels_equal_the_reference_at_any_inner_dimension)
{
    static const size_t depths[] = {1,    2,    63,   255,  383,  384,  385,  767,  768,  769, 1024,
                                    1638, 1639, 2049, 3072, 4095, 4096, 4097, 5000, 8193, 8200};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        check_shape(3, depths[i], 5);
        check_problem(problem_make(17, depths[i], 18, awkward, awkward));
    }
}
END_TEST

START_TEST(kernels_equal_the_reference_on_one_row_and_one_column)
{
    check_shape(1, 768, 768);
    check_shape(1, 4096, 2);
    check_shape(300, 300, 1);
    check_shape(1, 1, 1);
    check_shape(1, 1, 1000);
    check_shape(1000, 1, 1);
}
END_TEST

START_TEST(kernels_equal_the_reference_over_several_blocks)
{
    check_shape(300, 70, 210);
    check_shape(257, 400, 193);
    check_shape(64, 128, 64);
    check_shape(128, 64, 128);
    check_shape(33, 1100, 650);
}
END_TEST

START_TEST(kernels_equal_the_reference_on_random_shapes)
{
    for (int i = 0; i < 60; i++) {
        struct problem p = problem_make(1 + random_word() % 70, 1 + random_word() % 300,
                                        1 + random_word() % 90, random_word() & 1 ? awkward : random_operand,
                                        random_word() & 1 ? awkward : random_operand);
        p.transposed = random_word() & 1;
        p.ldb = p.transposed ? p.k : p.n;
        p.mode = random_word() & 1 ? RING_GEMM_ADD : RING_GEMM_SET;
        check_problem(p);
    }
}
END_TEST

START_TEST(rows_may_be_longer_than_the_matrix)
{
    for (int i = 0; i < 8; i++) {
        struct problem p = {.m = 19, .k = 70, .n = 35, .transposed = i & 1};
        p.mode = i & 2 ? RING_GEMM_ADD : RING_GEMM_SET;
        p.lda = 73 + (size_t)i;
        p.ldb = (p.transposed ? p.k : p.n) + 3;
        p.ldc = 41 + (size_t)i;
        p.a = malloc(p.m * p.lda * sizeof *p.a);
        p.b = malloc((p.transposed ? p.n : p.k) * p.ldb * sizeof *p.b);
        ck_assert(p.a != NULL && p.b != NULL);
        fill(p.a, p.m * p.lda, random_operand);
        fill(p.b, (p.transposed ? p.n : p.k) * p.ldb, random_operand);
        check_problem(p);
    }
}
END_TEST

/* The sums that must stay below 2^53 (portable) and 2^31 (AMX), with operands that make them as large as they
 * get, at depths on both sides of every block. */
START_TEST(sums_of_extreme_operands_stay_exact)
{
    int64_t (*const sources[])(void) = {smallest, largest, lowest_digits, awkward};
    static const size_t depths[] = {1, 384, 768, 1638, 1639, 4096, 4097, 12288};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            for (size_t l = 0; l < 8; l++)
                check_problem(problem_make(2, depths[l], 3, sources[i], sources[j]));
}
END_TEST

/* With a depth of 1638 the middle sum comes within a millionth of what 2^53 leaves room for. */
START_TEST(the_bound_of_the_portable_kernel_is_exact)
{
    int64_t (*const sources[])(void) = {lowest_digits, smallest, largest, random_operand};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = GEMM_PORTABLE_EXACT - 1; k <= GEMM_PORTABLE_EXACT + 1; k++) {
            struct problem p = problem_make(8, k, 8, sources[i], sources[i]);
            struct ring_wide c = wide_make(64), wanted = wide_make(64);
            struct ring_gemm_matrix *b = NULL;
            ck_assert_int_eq(ring_gemm_pack(&b, RING_GEMM_PORTABLE, k, 8, p.b, 8, false), STATUS_OK);
            ck_assert_int_eq(gemm_portable_multiply(c, 8, 8, p.a, k, b, RING_GEMM_SET, GEMM_PORTABLE_EXACT),
                             STATUS_OK);
            ring_gemm_reference(wanted, 8, 8, k, 8, p.a, k, p.b, 8, RING_GEMM_SET);
            ck_assert_mem_eq(c.lo, wanted.lo, 64 * sizeof *c.lo);
            ck_assert_mem_eq(c.hi, wanted.hi, 64 * sizeof *c.hi);
            ring_gemm_close(&b);
            wide_free(c);
            wide_free(wanted);
            free(p.a);
            free(p.b);
        }
}
END_TEST

static int64_t constant_value;

static int64_t constant(void)
{
    return constant_value;
}

/* Each byte limb at its largest, and each signed digit at either end. */
START_TEST(sums_of_extreme_limbs_stay_exact)
{
    const int64_t digit = ((int64_t)1 << 20) + ((int64_t)1 << 41);
    const int64_t values[] = {-1,
                              INT64_MAX,
                              (int64_t)0x80ffffffffffffffu,
                              INT64_MIN + digit,
                              INT64_MAX - digit + 1,
                              INT64_MIN + digit - 1,
                              INT64_MAX - digit,
                              -digit,
                              digit};
    const size_t count = sizeof values / sizeof *values;
    for (size_t i = 0; i < count * count; i++) {
        struct problem p = problem_make(1, 4096, 2, smallest, smallest);
        constant_value = values[i / count];
        fill(p.a, p.m * p.k, constant);
        constant_value = values[i % count];
        fill(p.b, p.k * p.n, constant);
        check_problem(p);
    }
}
END_TEST

/* Every pair of remainders at the ends of their ranges, for every modulus of the VNNI kernel: small numbers are their own
 * remainders. */
START_TEST(sums_of_extreme_remainders_stay_exact)
{
    enum { DEPTH = 4096, LEFT = 78, RIGHT = 256 };
    struct problem p = problem_make(LEFT, DEPTH, RIGHT, smallest, smallest);
    for (size_t i = 0; i < LEFT * DEPTH; i++)
        p.a[i] = i / DEPTH < LEFT / 2 ? (int64_t)(i / DEPTH) - 128 : (int64_t)(i / DEPTH) + 90 - LEFT / 2;
    for (size_t i = 0; i < DEPTH * RIGHT; i++)
        p.b[i] = (int64_t)(i % RIGHT);
    check_problem(p);
}
END_TEST

/* The same for those of the AVX2 kernel, whose sums are made smaller again and again: left remainders at both ends, all right ones. */
START_TEST(sums_of_extreme_words_stay_exact)
{
    enum { DEPTH = 132, ENDS = 24, LEFT = 2 * ENDS, RIGHT = 10500 };
    struct problem p = problem_make(LEFT, DEPTH, RIGHT, smallest, smallest);
    for (size_t i = 0; i < LEFT * DEPTH; i++) {
        const int64_t row = (int64_t)(i / DEPTH);
        p.a[i] = row < ENDS ? row - 5250 : 5250 - (row - ENDS);
    }
    for (size_t i = 0; i < DEPTH * RIGHT; i++)
        p.b[i] = (int64_t)(i % RIGHT);
    check_problem(p);
}
END_TEST

START_TEST(sums_of_masked_operands_stay_exact)
{
    static const size_t any[] = {1, 64, 137, 274}, deep[] = {768, RING_GEMM_MASKED_DEEP},
                        deeper[] = {3072, 4096, 5000};
    for (size_t i = 0; i < 4; i++) {
        check_masked(5, any[i], 50, largest_mask, largest_mask);
        check_masked(5, any[i], 50, smallest_mask, largest_mask);
        check_masked(5, any[i], 50, smallest_mask, smallest_mask);
        if (any[i] <= 137) {
            check_masked(5, any[i], 50, smallest, largest_mask);
            check_masked(5, any[i], 50, largest_mask, smallest);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        check_masked(9, deep[i], 50, smallest, masked);
        check_masked(9, deep[i], 50, awkward, masked);
        check_masked(9, deep[i], 50, largest_mask, mask_twice_negative);
    }
    for (size_t i = 0; i < 3; i++) {
        check_masked(9, deeper[i], 50, largest_mask, masked);
        check_masked(9, deeper[i], 50, masked, masked);
    }
}
END_TEST

/* Of these a kernel may keep a part as it is: at the edge between both parts, over several blocks and several slices. */
START_TEST(large_masked_matrices_equal_the_reference)
{
    check_masked(140, 700, 400, masked, masked);
    check_masked(3, 4200, 131, largest_mask, masked);
    check_masked(130, 1030, 290, awkward, masked);
    struct problem p = problem_make(5, 800, 390, masked, masked);
    p.masked = p.transposed = true;
    p.ldb = p.k;
    check_problem(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm");
    TCase *tests = tcase_create("gemm");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, the_reference_multiplies_modulo_2_to_the_80);
    tcase_add_test(tests, kernels_equal_the_reference_on_every_small_shape);
    tcase_add_test(tests, kernels_equal_the_reference_around_the_size_of_a_tile);
    tcase_add_test(tests, kernels_equal_the_reference_at_any_inner_dimension);
    tcase_add_test(tests, kernels_equal_the_reference_on_one_row_and_one_column);
    tcase_add_test(tests, kernels_equal_the_reference_over_several_blocks);
    tcase_add_test(tests, kernels_equal_the_reference_on_random_shapes);
    tcase_add_test(tests, rows_may_be_longer_than_the_matrix);
    tcase_add_test(tests, sums_of_extreme_operands_stay_exact);
    tcase_add_test(tests, the_bound_of_the_portable_kernel_is_exact);
    tcase_add_test(tests, sums_of_extreme_limbs_stay_exact);
    tcase_add_test(tests, sums_of_extreme_remainders_stay_exact);
    tcase_add_test(tests, sums_of_extreme_words_stay_exact);
    tcase_add_test(tests, sums_of_masked_operands_stay_exact);
    tcase_add_test(tests, large_masked_matrices_equal_the_reference);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
