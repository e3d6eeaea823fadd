/* The kernels of the ring GEMM against the plain loops, bit for bit. */
#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ring/gemm.h"
#include "ring/gemm_kernel.h"
#include "ring/parameters.h"
#include "ring/threads.h"

/* Rows of the operands and the result may be longer than their matrix; what lies between must stay. */
struct problem {
    size_t m, k, n;
    size_t lda, ldb, ldc;
    bool transposed, masked;
    enum ring_gemm_mode mode;
    int64_t *a, *b; /* b: [k][n], or [n][k] if transposed */
};

static uint64_t state = 88172645463325252u;

static uint64_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 2685821657736338717u;
}

static int64_t random_operand(void)
{
    return (int64_t)random_word();
}

static int64_t smallest(void)
{
    return INT64_MIN;
}

static int64_t largest(void)
{
    return INT64_MAX;
}

/* Every carry and every sign of digits and limbs. */
static int64_t awkward(void)
{
    static const int64_t values[] = {
        0,
        1,
        -1,
        INT64_MIN,
        INT64_MAX,
        INT64_MIN + 1,
        0x00ff00ff00ff00ff,
        (int64_t)0xff00ff00ff00ff00u,
        (int64_t)0x8080808080808080u,
        0x7f7f7f7f7f7f7f7f,
        ((int64_t)1 << 20) - 1,
        (int64_t)1 << 20,
        ((int64_t)1 << 41) + ((int64_t)1 << 20),
        ((int64_t)1 << 41) - ((int64_t)1 << 20) - 1,
        INT64_MAX - ((int64_t)1 << 20),
        INT64_MAX - ((int64_t)1 << 41) - ((int64_t)1 << 20) + 1,
    };
    return values[random_word() % (sizeof values / sizeof *values)];
}

/* A value behind a sum of four masks, and the largest. */
static int64_t masked(void)
{
    int64_t sum = (int64_t)(random_word() % (2 * RING_RANGE)) - RING_RANGE;
    for (int i = 0; i < 4; i++)
        sum += (int64_t)(random_word() >> (63 - RING_MASK_BITS)) - ((int64_t)1 << RING_MASK_BITS);
    return sum;
}

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

static void fill(int64_t *out, size_t n, int64_t (*source)(void))
{
    for (size_t i = 0; i < n; i++)
        out[i] = source();
}

static struct problem problem_make(size_t m, size_t k, size_t n, int64_t (*left)(void),
                                   int64_t (*right)(void))
{
    struct problem p = {.m = m, .k = k, .n = n, .lda = k, .ldb = n, .ldc = n, .mode = RING_GEMM_SET};
    p.a = malloc((m * k + 1) * sizeof *p.a);
    p.b = malloc((k * n + 1) * sizeof *p.b);
    ck_assert(p.a != NULL && p.b != NULL);
    fill(p.a, m * k, left);
    fill(p.b, k * n, right);
    return p;
}

static struct ring_wide wide_make(size_t n)
{
    const struct ring_wide wide = {malloc(n * sizeof *wide.lo + 1), malloc(n * sizeof *wide.hi + 1)};
    ck_assert(wide.lo != NULL && wide.hi != NULL);
    return wide;
}

static void wide_free(struct ring_wide wide)
{
    free(wide.lo);
    free(wide.hi);
}

/* The reference knows no transposed B. */
static int64_t *plain(const struct problem *p)
{
    int64_t *out = malloc((p->k * p->n + 1) * sizeof *out);
    ck_assert(out != NULL);
    for (size_t row = 0; row < p->k; row++)
        for (size_t column = 0; column < p->n; column++)
            out[row * p->n + column] =
                p->transposed ? p->b[column * p->ldb + row] : p->b[row * p->ldb + column];
    return out;
}

static void check_kernel(const struct problem *p, enum ring_gemm_kernel kernel, bool small,
                         struct ring_wide before, struct ring_wide wanted)
{
    const size_t size = p->m * p->ldc;
    struct ring_wide c = wide_make(size);
    memcpy(c.lo, before.lo, size * sizeof *c.lo);
    memcpy(c.hi, before.hi, size * sizeof *c.hi);
    struct ring_gemm_matrix *b = NULL;
    ck_assert_int_eq(p->masked
                         ? ring_gemm_pack_masked(&b, kernel, p->k, p->n, p->b, p->ldb, p->transposed, small)
                         : ring_gemm_pack(&b, kernel, p->k, p->n, p->b, p->ldb, p->transposed),
                     STATUS_OK);
    ck_assert_int_eq(ring_gemm(c, p->ldc, p->m, p->a, p->lda, b, p->mode), STATUS_OK);
    ring_gemm_close(&b);
    for (size_t i = 0; i < size; i++)
        if (c.lo[i] != wanted.lo[i] || c.hi[i] != wanted.hi[i])
            ck_abort_msg("%s, %zu x %zu x %zu: element (%zu, %zu) is %04x %016llx, should be %04x %016llx",
                         ring_gemm_name(kernel), p->m, p->k, p->n, i / p->ldc, i % p->ldc, c.hi[i],
                         (unsigned long long)c.lo[i], wanted.hi[i], (unsigned long long)wanted.lo[i]);
    wide_free(c);
}

/* What narrowing makes of the sum; sum has what before had between its rows. */
static void check_narrow(const struct problem *p, enum ring_gemm_kernel kernel, struct ring_wide before,
                         struct ring_wide sum)
{
    const size_t ldt = p->n + random_word() % 3, size = p->m * ldt + 1, planes = p->m * p->ldc;
    struct ring_wide c = wide_make(planes);
    int64_t *mask = malloc(size * sizeof *mask);
    uint64_t *t = malloc(size * sizeof *t), *untouched = malloc(size * sizeof *t);
    struct ring_gemm_matrix *b = NULL;
    memcpy(c.lo, before.lo, planes * sizeof *c.lo);
    memcpy(c.hi, before.hi, planes * sizeof *c.hi);
    fill(mask, size, awkward);
    for (size_t i = 0; i < size; i++)
        t[i] = untouched[i] = random_word();
    const struct ring_narrow end = {t, mask, (ring_u128)random_word() << 64 | random_word(),
                                    (int)(random_word() % 17)};
    ck_assert_int_eq(p->masked
                         ? ring_gemm_pack_masked(&b, kernel, p->k, p->n, p->b, p->ldb, p->transposed, false)
                         : ring_gemm_pack(&b, kernel, p->k, p->n, p->b, p->ldb, p->transposed),
                     STATUS_OK);
    ck_assert_int_eq(ring_gemm_narrow(&end, ldt, c, p->ldc, p->m, p->a, p->lda, b), STATUS_OK);
    ring_gemm_close(&b);
    for (size_t i = 0; i < size; i++) {
        const size_t row = i / (ldt ? ldt : 1), column = ldt ? i % ldt : 0;
        uint64_t wanted = untouched[i];
        if (row < p->m && column < p->n) {
            const ring_u128 z =
                (ring_wide_get(sum, row * p->ldc + column) + end.add) & (((ring_u128)1 << 80) - 1);
            wanted = (uint64_t)(z >> end.shift) + (uint64_t)mask[i];
        }
        if (t[i] != wanted)
            ck_abort_msg("%s, %zu x %zu x %zu narrowed by %d: element (%zu, %zu)", ring_gemm_name(kernel),
                         p->m, p->k, p->n, end.shift, row, column);
    }
    free(mask);
    free(t);
    free(untouched);
    wide_free(c);
}

/* Multiplies with every kernel that runs here, compares, and frees the operands. */
static void check_problem(struct problem p)
{
    const size_t size = p.m * p.ldc;
    struct ring_wide before = wide_make(size), wanted = wide_make(size), sum = wide_make(size);
    for (size_t i = 0; i < size; i++) {
        before.lo[i] = wanted.lo[i] = sum.lo[i] = random_word();
        before.hi[i] = wanted.hi[i] = sum.hi[i] = (uint16_t)random_word();
    }
    int64_t *b = plain(&p);
    ring_gemm_reference(wanted, p.ldc, p.m, p.k, p.n, p.a, p.lda, b, p.n, p.mode);
    ring_gemm_reference(sum, p.ldc, p.m, p.k, p.n, p.a, p.lda, b, p.n, RING_GEMM_ADD);
    for (int kernel = RING_GEMM_AUTO; kernel < RING_GEMM_KERNELS; kernel++)
        if (kernel == RING_GEMM_AUTO || ring_gemm_available((enum ring_gemm_kernel)kernel)) {
            check_kernel(&p, (enum ring_gemm_kernel)kernel, false, before, wanted);
            if (p.masked)
                check_kernel(&p, (enum ring_gemm_kernel)kernel, true, before, wanted);
            check_narrow(&p, (enum ring_gemm_kernel)kernel, before, sum);
        }
    free(b);
    wide_free(sum);
    wide_free(before);
    wide_free(wanted);
    free(p.a);
    free(p.b);
}

static void check_masked(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void))
{
    struct problem p = problem_make(m, k, n, left, right);
    p.masked = true;
    check_problem(p);
}

static void check_shape(size_t m, size_t k, size_t n)
{
    check_problem(problem_make(m, k, n, random_operand, random_operand));
    check_masked(m, k, n, masked, masked);
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

START_TEST(a_packed_matrix_takes_8_17_or_18_bytes_an_element)
{
    const size_t k = 768, n = 768;
    struct problem p = problem_make(1, k, n, random_operand, random_operand);
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++) {
        struct ring_gemm_matrix *b = NULL;
        if (!ring_gemm_available((enum ring_gemm_kernel)kernel))
            continue;
        ck_assert_int_eq(ring_gemm_pack(&b, (enum ring_gemm_kernel)kernel, k, n, p.b, n, false), STATUS_OK);
        const size_t wanted = kernel == RING_GEMM_VNNI ? k * n * 18 : k * n * 8;
        ck_assert_uint_ge(ring_gemm_bytes(b), wanted);
        ck_assert_uint_le(ring_gemm_bytes(b), wanted + 4096);
        ring_gemm_close(&b);
        for (int small = 0; small < 2; small++) {
            const size_t masked = kernel == RING_GEMM_VNNI && !small ? k * n * 17 : k * n * 8;
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
    if (ring_gemm_available(RING_GEMM_VNNI)) {
        ck_assert_int_eq(setenv("TREFOIL_GEMM", "vnni", 1), 0);
        ck_assert_int_eq(ring_gemm_default(), RING_GEMM_VNNI);
    }
    ck_assert_int_eq(setenv("TREFOIL_GEMM", "amx", 1), 0);
    const bool amx = ring_gemm_available(RING_GEMM_AMX);
    ck_assert_int_eq(ring_gemm_default(), best);
    ck_assert(best == RING_GEMM_AMX || !amx);
    ck_assert(best != RING_GEMM_PORTABLE || !ring_gemm_available(RING_GEMM_VNNI));
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
    tcase_add_test(tests, sums_of_masked_operands_stay_exact);
    tcase_add_test(tests, threads_multiply_beside_each_other);
    tcase_add_test(tests, kernels_equal_the_reference_on_several_threads);
    tcase_add_test(tests, kernels_equal_the_reference_inside_a_parallel_region);
    tcase_add_test(tests, an_empty_inner_dimension_gives_zero);
    tcase_add_test(tests, a_packed_matrix_takes_8_17_or_18_bytes_an_element);
    tcase_add_test(tests, the_environment_chooses_the_kernel);
    tcase_add_test(tests, a_kernel_that_does_not_exist_is_refused_by_name);
    tcase_add_test(tests, a_matrix_beyond_the_address_space_is_an_error);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
