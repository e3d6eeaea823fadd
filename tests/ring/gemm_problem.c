#include "tests/ring/gemm_problem.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ring/parameters.h"

static uint64_t state = 88172645463325252u;

uint64_t random_word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 2685821657736338717u;
}

int64_t random_operand(void)
{
    return (int64_t)random_word();
}

int64_t smallest(void)
{
    return INT64_MIN;
}

int64_t largest(void)
{
    return INT64_MAX;
}

/* Every carry and every sign of digits and limbs. */
int64_t awkward(void)
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

/* A value behind a sum of four masks. */
int64_t masked(void)
{
    int64_t sum = (int64_t)(random_word() % (2 * RING_RANGE)) - RING_RANGE;
    for (int i = 0; i < 4; i++)
        sum += (int64_t)(random_word() >> (63 - RING_MASK_BITS)) - ((int64_t)1 << RING_MASK_BITS);
    return sum;
}

void fill(int64_t *out, size_t n, int64_t (*source)(void))
{
    for (size_t i = 0; i < n; i++)
        out[i] = source();
}

struct problem problem_make(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void))
{
    struct problem p = {.m = m, .k = k, .n = n, .lda = k, .ldb = n, .ldc = n, .mode = RING_GEMM_SET};
    p.a = malloc((m * k + 1) * sizeof *p.a);
    p.b = malloc((k * n + 1) * sizeof *p.b);
    ck_assert(p.a != NULL && p.b != NULL);
    fill(p.a, m * k, left);
    fill(p.b, k * n, right);
    return p;
}

struct ring_wide wide_make(size_t n)
{
    const struct ring_wide wide = {malloc(n * sizeof *wide.lo + 1), malloc(n * sizeof *wide.hi + 1)};
    ck_assert(wide.lo != NULL && wide.hi != NULL);
    return wide;
}

void wide_free(struct ring_wide wide)
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

/* What narrowing makes of the sum, which has what before had between its rows; beside C, or in place of its low plane. */
static void check_narrow(const struct problem *p, enum ring_gemm_kernel kernel, struct ring_wide before,
                         struct ring_wide sum, bool in_place)
{
    const size_t ldt = in_place ? p->ldc : p->n + random_word() % 3, size = p->m * ldt,
                 planes = p->m * p->ldc;
    struct ring_wide c = wide_make(planes);
    uint64_t *beside = malloc((size + 1) * sizeof *beside),
             *untouched = malloc((size + 1) * sizeof *untouched);
    struct ring_gemm_matrix *b = NULL;
    memcpy(c.lo, before.lo, planes * sizeof *c.lo);
    memcpy(c.hi, before.hi, planes * sizeof *c.hi);
    uint64_t *t = in_place ? c.lo : beside;
    for (size_t i = 0; i < size; i++) {
        beside[i] = random_word();
        untouched[i] = t[i];
    }
    const struct ring_narrow end = {t, (ring_u128)random_word() << 64 | random_word(),
                                    (int)(random_word() % 17)};
    ck_assert_int_eq(p->masked
                         ? ring_gemm_pack_masked(&b, kernel, p->k, p->n, p->b, p->ldb, p->transposed, false)
                         : ring_gemm_pack(&b, kernel, p->k, p->n, p->b, p->ldb, p->transposed),
                     STATUS_OK);
    ck_assert_int_eq(ring_gemm_narrow(&end, ldt, c, p->ldc, p->m, p->a, p->lda, b, NULL), STATUS_OK);
    ring_gemm_close(&b);
    for (size_t i = 0; i < size; i++) {
        const size_t row = i / ldt, column = i % ldt;
        uint64_t wanted = untouched[i];
        if (column < p->n) {
            const ring_u128 z =
                (ring_wide_get(sum, row * p->ldc + column) + end.add) & (((ring_u128)1 << 80) - 1);
            wanted = (uint64_t)(z >> end.shift);
        }
        if (t[i] != wanted)
            ck_abort_msg("%s, %zu x %zu x %zu narrowed by %d: element (%zu, %zu)", ring_gemm_name(kernel),
                         p->m, p->k, p->n, end.shift, row, column);
    }
    free(beside);
    free(untouched);
    wide_free(c);
}

/* Multiplies with every kernel that runs here, compares, and frees the operands. */
void check_problem(struct problem p)
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
            check_narrow(&p, (enum ring_gemm_kernel)kernel, before, sum, false);
            check_narrow(&p, (enum ring_gemm_kernel)kernel, before, sum, true);
        }
    free(b);
    wide_free(sum);
    wide_free(before);
    wide_free(wanted);
    free(p.a);
    free(p.b);
}

void check_masked(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void))
{
    struct problem p = problem_make(m, k, n, left, right);
    p.masked = true;
    check_problem(p);
}

void check_shape(size_t m, size_t k, size_t n)
{
    check_problem(problem_make(m, k, n, random_operand, random_operand));
    check_masked(m, k, n, masked, masked);
}
