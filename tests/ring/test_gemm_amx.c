/* The AMX kernel on processors without AMX: its own code, with the tile instructions done by loops. Beside test_gemm, which runs the
 * real ones where they are. */
#include "config.h"

#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include <immintrin.h>
#include <string.h>

/* ---- the tile registers of a thread ---- */

static _Thread_local uint8_t registers[8][16][64];

/* Loops over what is the thread's own: sanitizers would only make them slow. */
#define PLAIN __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))

static void tile_load(int reg, const void *from, size_t stride)
{
    for (size_t row = 0; row < 16; row++)
        memcpy(registers[reg][row], (const char *)from + row * stride, 64);
}

static void tile_store(int reg, void *to, size_t stride)
{
    for (size_t row = 0; row < 16; row++)
        memcpy((char *)to + row * stride, registers[reg][row], 64);
}

/* Whether the bytes of x, of y, are signed. */
PLAIN static void tile_multiply(int sum, int x, int y, bool signed_x, bool signed_y)
{
    for (size_t row = 0; row < 16; row++)
        for (size_t column = 0; column < 16; column++) {
            int32_t all;
            memcpy(&all, registers[sum][row] + 4 * column, sizeof all);
            for (size_t i = 0; i < 64; i++) {
                const uint8_t a = registers[x][row][i], b = registers[y][i / 4][4 * column + i % 4];
                all += (signed_x ? (int8_t)a : a) * (signed_y ? (int8_t)b : b);
            }
            memcpy(registers[sum][row] + 4 * column, &all, sizeof all);
        }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbuud
#undef _tile_dpbsud
#undef _tile_dpbusd
#define _tile_zero(reg) memset(registers[reg], 0, sizeof registers[reg])
#define _tile_loadd(reg, from, stride) tile_load(reg, from, stride)
#define _tile_stored(reg, to, stride) tile_store(reg, to, stride)
#define _tile_dpbuud(sum, x, y) tile_multiply(sum, x, y, false, false)
#define _tile_dpbsud(sum, x, y) tile_multiply(sum, x, y, true, false)
#define _tile_dpbusd(sum, x, y) tile_multiply(sum, x, y, false, true)
#define ring_amx_permitted() true
#define ring_amx_begin() memset(registers, 0xa5, sizeof registers) /* nothing is left from before */
#define ring_amx_end() (void)0

/* The library has these names already. */
#define gemm_amx emulated
#define gemm_amx_multiply emulated_multiply
#define gemm_amx_finish emulated_finish
#define gemm_amx_limbs_of_rows emulated_limbs_of_rows
#define gemm_amx_limbs_of_columns emulated_limbs_of_columns
extern const struct gemm_kernel emulated;
void emulated_multiply(struct gemm_amx_work *, const struct gemm_amx_tile *, const uint8_t *, const uint8_t *,
                       size_t, const struct gemm_amx_ahead *);
void emulated_finish(struct gemm_amx_work *);
void emulated_limbs_of_rows(uint8_t *, size_t, const int64_t *, size_t, size_t, size_t);
void emulated_limbs_of_columns(uint8_t *, size_t, const int64_t *, size_t, size_t, size_t, bool);

#include "ring/gemm_amx.c"
#include "ring/gemm_amx_pack.c"
#include "ring/gemm_amx_tile.c"

#include <check.h>
#include <stdlib.h>

#include "ring/threads.h"
#include "tests/ring/gemm_parts.h"

/* B, packed by the emulation; the caller frees data. */
static struct ring_gemm_matrix packed(const struct problem *p)
{
    struct ring_gemm_matrix b = {.kernel = &emulated, .k = p->k, .n = p->n};
    ck_assert(emulated.bytes(&b.bytes, &b));
    b.data = gemm_allocate(b.bytes);
    ck_assert_ptr_nonnull(b.data);
    emulated.pack(&b, p->b, p->ldb, p->transposed);
    return b;
}

static void check_product(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void))
{
    const struct problem p = problem_make(m, k, n, left, right);
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
        check_product(shapes[i].m, shapes[i].k, shapes[i].n, random_operand, random_operand);
        check_product(shapes[i].m, shapes[i].k, shapes[i].n, awkward, awkward);
    }
    check_product(16, 64, 16, smallest, smallest);
    check_product(16, 64, 16, smallest, largest);
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
            const struct problem p = deep ? problem_make(128, 800, 100, masked, masked)
                                          : problem_make(rows[i], 20, 200, masked, masked);
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

int main(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512vbmi"))
        return 77; /* what is between the tiles cannot run */
    Suite *suite = suite_create("gemm_amx");
    TCase *tests = tcase_create("gemm_amx");
    tcase_set_timeout(tests, 240);
    tcase_add_test(tests, products_equal_the_reference);
    tcase_add_test(tests, parts_are_finished_and_in_order);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#else

int main(void)
{
    return 77;
}

#endif
