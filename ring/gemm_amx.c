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

/* What is worked on at a time, so that it stays in a second-level cache of 2 MiB: limbs of A of up to
 * ROW_TILES rows of tiles, and A_BYTES in all, which bounds the inner dimension. Against them go the tiles of
 * columns of B one after the other; what is deeper is added to C in further rounds. */
#define ROW_TILES 8
#define A_BYTES ((size_t)800 << 10)

struct product {
    struct ring_wide c;
    size_t ldc, m, k, n;
    const int64_t *a;
    size_t lda;
    const uint8_t *b; /* limbs */
    bool add;
    int threads;
    size_t height;       /* tiles of a unit of work, a block of rows against one column */
    size_t steps, depth; /* of the inner dimension in all, and in one round */
    uint8_t *limbs;      /* of A, for one round: [row tiles][depth][STEP_BYTES] */
    char *work;          /* for each thread WORK_BYTES */
};

#define WORK_BYTES (SUMS_BYTES + TILE)

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

/* Tiles [row..row + rows) of one column of tiles of C, over the steps first..first + steps. */
static void unit(const struct product *p, struct gemm_amx_work *work, size_t row, size_t rows, size_t column,
                 size_t first, size_t steps)
{
    const size_t column_bytes = p->steps * STEP_BYTES;
    const uint8_t *b = p->b + column * column_bytes + first * STEP_BYTES;
    /* The thread will come to this column next, if all are equally fast. */
    const bool more = column + (size_t)p->threads < gemm_blocks(p->n, SIDE);
    const uint8_t *later = more ? b + (size_t)p->threads * column_bytes : b;
    struct gemm_amx_ahead ahead = {.b = b, .far_bytes = more ? gemm_blocks(steps * STEP_BYTES, rows) : 0};
    struct gemm_amx_tile tile = {.ldc = p->ldc, .add = p->add || first != 0};
    tile.columns = (unsigned)gemm_min(SIDE, p->n - column * SIDE);
    for (size_t i = 0; i < rows; i++) {
        const size_t at = (row + i) * SIDE;
        tile.c = ring_wide_at(p->c, at * p->ldc + column * SIDE);
        tile.rows = (unsigned)gemm_min(SIDE, p->m - at);
        ahead.far = later + i * ahead.far_bytes;
        if (i + 1 == rows)
            ahead.b = later;
        gemm_amx_multiply(work, &tile, p->limbs + (row + i) * steps * STEP_BYTES, b, steps, &ahead);
    }
}

/* One thread's part of a product. */
static void share(const struct product *p)
{
#ifdef _OPENMP
    char *own = p->work + (size_t)omp_get_thread_num() * WORK_BYTES;
#else
    char *own = p->work;
#endif
    const size_t row_tiles = gemm_blocks(p->m, SIDE), column_tiles = gemm_blocks(p->n, SIDE);
    const size_t units = gemm_blocks(row_tiles, p->height) * column_tiles;
    struct gemm_amx_work work = {.sums = (int32_t *)own, .dummy = (int32_t *)(own + SUMS_BYTES)};
    gemm_amx_begin();
    for (size_t first = 0; first < p->steps; first += p->depth) {
        const size_t steps = gemm_min(p->depth, p->steps - first), done = first * STEP;
#pragma omp for schedule(static)
        for (size_t row = 0; row < row_tiles; row++)
            gemm_amx_limbs_of_rows(p->limbs + row * steps * STEP_BYTES, steps,
                                   p->a + row * SIDE * p->lda + done, p->lda,
                                   gemm_min(SIDE, p->m - row * SIDE), p->k - done);
#pragma omp for schedule(dynamic) nowait
        for (size_t i = 0; i < units; i++) {
            const size_t row = i / column_tiles * p->height;
            unit(p, &work, row, gemm_min(p->height, row_tiles - row), i % column_tiles, first, steps);
        }
        gemm_amx_finish(&work);
#pragma omp barrier
    }
    gemm_amx_end();
}

static enum status multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode)
{
    const size_t row_tiles = gemm_blocks(m, SIDE);
    struct product p = {.c = c, .ldc = ldc, .m = m, .k = b->k, .n = b->n, .a = a, .lda = lda, .b = b->data};
    p.add = mode == RING_GEMM_ADD;
    p.threads = gemm_threads((double)m * (double)b->k * (double)b->n / PRODUCTS_A_THREAD);
    p.height = gemm_blocks(row_tiles, gemm_blocks(row_tiles, ROW_TILES));
    p.steps = gemm_blocks(b->k, STEP);
    const size_t most = gemm_min(A_BYTES / (p.height * STEP_BYTES), GEMM_AMX_DEPTH / STEP);
    p.depth = gemm_blocks(p.steps, gemm_blocks(p.steps, most));
    const size_t limbs_bytes = row_tiles * p.depth * STEP_BYTES;
    p.limbs = gemm_scratch(limbs_bytes + (size_t)p.threads * WORK_BYTES);
    if (p.limbs == NULL)
        return status_fail(STATUS_MEMORY, "no memory to multiply %zu x %zu by %zu x %zu", m, b->k, b->k,
                           b->n);
    p.work = (char *)p.limbs + limbs_bytes;
#pragma omp parallel num_threads(p.threads) if (p.threads > 1)
    share(&p);
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
