/* The AMX kernel: when it can run, and how the work is cut up. gemm_amx.h explains the arithmetic. */
#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include <cpuid.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#define PRODUCTS_A_THREAD 1e6 /* fewer, about 25 us of work, are not worth waking a thread for */

/* What is worked on at a time, so that it stays in a second-level cache of 2 MiB: limbs of A of ROW_TILES
 * rows of tiles and at most A_BYTES; GROUP columns of tiles of B as deep; and the diagonals of all their
 * tiles, if the inner dimension is deeper than that. */
#define ROW_TILES 8
#define A_BYTES ((size_t)800 << 10)
#define GROUP 4

struct product {
    struct ring_wide c;
    size_t ldc, m, n;
    const uint8_t *a, *b; /* limbs */
    size_t steps;         /* in all, of a column of tiles of b */
    size_t depth;         /* steps of this product, */
    size_t block;         /* of which so many at a time */
    size_t height, width; /* tiles of a unit of work */
    bool add;
};

static bool permitted(void)
{
    enum { GET_PERMISSION = 0x1022, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned long features = 0;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 &&
           syscall(SYS_arch_prctl, GET_PERMISSION, &features) == 0 && (features >> TILE_DATA & 1) != 0;
}

/* Bits of CPUID leaf 7 and of XCR0, as the processor's manual numbers them. */
static bool processor_has_it(void)
{
    const unsigned want_b =
        1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  /* AVX2, AVX-512 F DQ BW VL */
    const unsigned want_c = 1u << 1;                          /* AVX-512 VBMI */
    const unsigned want_d = 1u << 24 | 1u << 25;              /* AMX TILE INT8 */
    const unsigned want_state = 7u << 17 | 7u << 5 | 3u << 1; /* tiles; wide, AVX and SSE registers */
    unsigned a, b, c, d, low, high;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c >> 27 & 1) == 0 ||
        __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (b & want_b) == want_b && (c & want_c) == want_c && (d & want_d) == want_d &&
           (low & (want_state & ~(1u << 19))) == (want_state & ~(1u << 19));
}

static bool usable;

static void detect(void)
{
    usable = processor_has_it() && permitted();
}

static bool available(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, detect) == 0 && usable;
}

static bool bytes(size_t *out, size_t k, size_t n)
{
    return !__builtin_mul_overflow(gemm_blocks(k, STEP) * STEP_BYTES, gemm_blocks(n, SIDE), out) &&
           k < SIZE_MAX / (2 * LIMBS * SIDE);
}

static void pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed)
{
    const size_t steps = gemm_blocks(out->k, STEP);
    for (size_t column = 0; column < out->n; column += SIDE)
        gemm_amx_limbs_of_columns((uint8_t *)out->data + column / SIDE * steps * STEP_BYTES, steps,
                                  b + column * (transposed ? ldb : 1), ldb, gemm_min(SIDE, out->n - column),
                                  out->k, transposed);
}

/* One unit of C, tiles [row..row + rows) x [column..column + columns). spill: the diagonals of so many tiles.
 */
static void unit(const struct product *p, struct gemm_amx_work *work, char *spill, size_t row, size_t rows,
                 size_t column, size_t columns)
{
    for (size_t step = 0; step < p->depth; step += p->block) {
        const size_t steps = gemm_min(p->block, p->depth - step);
        const bool last = step + steps == p->depth;
        for (size_t i = 0; i < rows * columns; i++) {
            const size_t r = row + i % rows, c = column + i / rows;
            int32_t *kept = (int32_t *)(spill + i * SUMS_BYTES);
            gemm_amx_tile(work, last ? work->sums[0] : kept, step != 0 ? kept : NULL,
                          p->a + (r * p->depth + step) * STEP_BYTES,
                          p->b + (c * p->steps + step) * STEP_BYTES, steps);
            if (!last)
                continue;
            work->finish = (struct gemm_amx_finish){
                .sums = work->sums[0],
                .c = ring_wide_at(p->c, r * SIDE * p->ldc + c * SIDE),
                .ldc = p->ldc,
                .rows = (unsigned)gemm_min(SIDE, p->m - r * SIDE),
                .columns = (unsigned)gemm_min(SIDE, p->n - c * SIDE),
                .add = p->add,
            };
            work->sums[0] = work->sums[1];
            work->sums[1] = (int32_t *)work->finish.sums;
        }
    }
}

static size_t workspace_bytes(const struct product *p)
{
    return 2 * SUMS_BYTES + TILE + (p->block < p->depth ? p->height * p->width * SUMS_BYTES : 0);
}

/* All of C, by one thread of however many there are. a: the limbs of A, to be filled. */
static void share(const struct product *p, uint8_t *packed, const int64_t *a, size_t lda, size_t k,
                  char *scratch)
{
#ifdef _OPENMP
    scratch += (size_t)omp_get_thread_num() * workspace_bytes(p);
#endif
    struct gemm_amx_work work = {.sums = {(int32_t *)scratch, (int32_t *)(scratch + SUMS_BYTES)},
                                 .dummy = (int32_t *)(scratch + 2 * SUMS_BYTES)};
    const size_t row_tiles = gemm_blocks(p->m, SIDE), column_tiles = gemm_blocks(p->n, SIDE);
    const size_t row_units = gemm_blocks(row_tiles, p->height),
                 column_units = gemm_blocks(column_tiles, p->width);
#pragma omp for schedule(static)
    for (size_t row = 0; row < row_tiles; row++)
        gemm_amx_limbs_of_rows(packed + row * p->depth * STEP_BYTES, p->depth, a + row * SIDE * lda, lda,
                               gemm_min(SIDE, p->m - row * SIDE), k);
    gemm_amx_begin();
#pragma omp for schedule(dynamic) nowait
    for (size_t i = 0; i < row_units * column_units; i++) {
        const size_t row = i / column_units * p->height, column = i % column_units * p->width;
        unit(p, &work, scratch + 2 * SUMS_BYTES + TILE, row, gemm_min(p->height, row_tiles - row), column,
             gemm_min(p->width, column_tiles - column));
    }
    gemm_amx_finish(&work);
    gemm_amx_end();
}

static void cut(struct product *p, int threads)
{
    const size_t row_tiles = gemm_blocks(p->m, SIDE), column_tiles = gemm_blocks(p->n, SIDE);
    p->height = gemm_blocks(row_tiles, gemm_blocks(row_tiles, ROW_TILES));
    const size_t most = A_BYTES / (p->height * STEP_BYTES);
    p->block = gemm_blocks(p->depth, gemm_blocks(p->depth, most));
    const size_t fair = gemm_blocks(row_tiles, p->height) * column_tiles / (size_t)threads;
    p->width = fair < 1 ? 1 : gemm_min(fair, GROUP);
}

static enum status multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode)
{
    const int threads = gemm_threads((double)m * (double)b->k * (double)b->n / PRODUCTS_A_THREAD);
    const size_t row_tiles = gemm_blocks(m, SIDE), steps = gemm_blocks(b->k, STEP);
    for (size_t step = 0; step < steps; step += GEMM_AMX_DEPTH / STEP) {
        struct product p = {.c = c, .ldc = ldc, .m = m, .n = b->n, .steps = steps};
        p.b = (const uint8_t *)b->data + step * STEP_BYTES;
        p.depth = gemm_min(GEMM_AMX_DEPTH / STEP, steps - step);
        p.add = mode == RING_GEMM_ADD || step != 0;
        cut(&p, threads);
        const size_t a_bytes = row_tiles * p.depth * STEP_BYTES;
        uint8_t *scratch = gemm_scratch(a_bytes + (size_t)threads * workspace_bytes(&p));
        if (scratch == NULL)
            return status_fail(STATUS_MEMORY, "no memory to multiply %zu x %zu by %zu x %zu", m, b->k, b->k,
                               b->n);
        p.a = scratch;
        const size_t done = step * STEP, left = b->k - done;
#pragma omp parallel num_threads(threads) if (threads > 1)
        share(&p, scratch, a + done, lda, left, (char *)scratch + a_bytes);
    }
    return STATUS_OK;
}

const struct gemm_kernel gemm_amx = {"amx", available, bytes, pack, multiply};

#else

static bool available(void)
{
    return false;
}

const struct gemm_kernel gemm_amx = {.name = "amx", .available = available};

#endif
