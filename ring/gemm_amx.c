/* The AMX kernel: when it can run, and how the work is cut up. gemm_amx.h explains the arithmetic. */
#include "ring/gemm_amx.h"

#ifdef GEMM_AMX

#include <cpuid.h>
#include <pthread.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#define PRODUCTS_A_THREAD 1e6 /* fewer, about 25 us of work, are not worth waking a thread for */

/* A round of work: limbs of A of some blocks of up to BLOCK rows of tiles and A_BYTES each, which bounds the
 * inner dimension, so that one block of A and a column of B stay in a second-level cache of 2 MiB. What is
 * deeper is added to C in further rounds. A unit is one such block against one column of tiles of B. */
#define BLOCK 8
#define A_BYTES ((size_t)800 << 10)
_Static_assert(BLOCK *SIDE == RING_GEMM_BAND, "a unit has no more rows than a band");

struct product {
    struct ring_wide c;
    size_t ldc, m, k, n;
    const int64_t *a;
    size_t lda;
    const uint8_t *b; /* limbs */
    bool add;
    struct gemm_progress *progress;
    size_t threads;
    size_t row_tiles, column_tiles, steps; /* of C, and of the inner dimension */
    size_t block;                          /* rows of tiles in a unit */
    size_t height, depth;                  /* rows of tiles, and steps, in a round */
    uint8_t *limbs;                        /* of A, of a round: [height][depth][STEP_BYTES] */
    char *work;                            /* for each thread WORK_BYTES */
};

#define WORK_BYTES (SUMS_BYTES + TILE)

/* Rows of tiles row..row + rows, and steps step..step + steps. */
struct round {
    size_t row, rows, step, steps;
};

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
    usable = processor_has_it() && ring_amx_permitted();
}

static bool available(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, detect) == 0 && usable;
}

static bool bytes(size_t *out, const struct ring_gemm_matrix *b)
{
    return !__builtin_mul_overflow(gemm_blocks(b->k, STEP) * STEP_BYTES, gemm_blocks(b->n, SIDE), out) &&
           b->k < SIZE_MAX / (2 * LIMBS * SIDE);
}

static void pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed)
{
    const size_t steps = gemm_blocks(out->k, STEP);
    for (size_t column = 0; column < out->n; column += SIDE)
        gemm_amx_limbs_of_columns((uint8_t *)out->data + column / SIDE * steps * STEP_BYTES, steps,
                                  b + column * (transposed ? ldb : 1), ldb, gemm_min(SIDE, out->n - column),
                                  out->k, transposed);
}

/* The limbs of B that unit index of a round needs; of the next round if index is beyond this one, NULL if
 * there is none. */
static const uint8_t *columns_of(const struct product *p, const struct round *r, size_t index)
{
    const size_t units = gemm_blocks(r->rows, p->block) * p->column_tiles;
    size_t step = r->step;
    if (index >= units) {
        step = step + r->steps < p->steps ? step + r->steps : 0;
        if (step == 0 && r->row + r->rows == p->row_tiles)
            return NULL;
        index -= units;
    }
    return p->b + (index % p->column_tiles * p->steps + step) * STEP_BYTES;
}

static void unit(const struct product *p, const struct round *r, struct gemm_amx_work *work, size_t index)
{
    const size_t column = index % p->column_tiles * SIDE, row = index / p->column_tiles * p->block;
    const size_t rows = gemm_min(p->block, r->rows - row);
    const uint8_t *b = columns_of(p, r, index);
    /* What this thread will come to next, if all are equally fast. */
    const uint8_t *later = columns_of(p, r, index + p->threads);
    struct gemm_amx_ahead ahead = {.b = b, .far = b};
    if (later != NULL) {
        ahead.far = later;
        ahead.far_bytes = gemm_blocks(r->steps * STEP_BYTES, rows);
    }
    struct gemm_amx_tile tile = {.ldc = p->ldc, .add = p->add || r->step != 0};
    tile.columns = (unsigned)gemm_min(SIDE, p->n - column);
    if (p->progress != NULL && p->progress->in_place && r->step + r->steps == p->steps)
        tile.end = &p->progress->end;
    for (size_t i = row; i < row + rows; i++) {
        const size_t at = (r->row + i) * SIDE;
        tile.c = ring_wide_at(p->c, at * p->ldc + column);
        tile.rows = (unsigned)gemm_min(SIDE, p->m - at);
        if (i + 1 == row + rows && later != NULL)
            ahead.b = later;
        gemm_amx_multiply(work, &tile, p->limbs + i * r->steps * STEP_BYTES, b, r->steps, &ahead);
        ahead.far += ahead.far_bytes;
    }
}

/* The column of tiles after those that end with the strip in which this one begins, if somebody waits for it and it is finished
 * here: rows of one unit, that are a whole band. */
static size_t strip_end(const struct product *p, const struct round *r, size_t tile)
{
    const size_t row = r->row * SIDE, end = gemm_min(row + r->rows * SIDE, p->m);
    if (p->progress == NULL || r->rows > p->block || r->step + r->steps < p->steps ||
        row % RING_GEMM_BAND != 0 || end < gemm_min(row + RING_GEMM_BAND, p->m))
        return p->column_tiles;
    return gemm_blocks(gemm_progress_strip(p->progress, tile * SIDE), SIDE);
}

/* One thread's part of a round. Its tile registers are in use. */
static void share(const struct product *p, const struct round *r, struct gemm_amx_work *work)
{
    const size_t done = r->step * STEP;
#pragma omp for schedule(static)
    for (size_t i = 0; i < r->rows; i++) {
        const size_t at = (r->row + i) * SIDE;
        gemm_amx_limbs_of_rows(p->limbs + i * r->steps * STEP_BYTES, r->steps, p->a + at * p->lda + done,
                               p->lda, gemm_min(SIDE, p->m - at), p->k - done);
    }
    const size_t blocks = gemm_blocks(r->rows, p->block);
    for (size_t tile = 0, stop; tile < p->column_tiles; tile = stop) {
        stop = strip_end(p, r, tile); /* all of them if there are several blocks */
#pragma omp for schedule(dynamic) nowait
        for (size_t i = tile; i < stop * blocks; i++)
            unit(p, r, work, i);
        gemm_amx_finish(work);
#pragma omp barrier
        if (p->progress != NULL && r->step + r->steps == p->steps) {
#pragma omp master
            gemm_progress(p->progress, (stop < p->column_tiles ? r->row : r->row + r->rows) * SIDE,
                          stop < p->column_tiles ? stop * SIDE : 0);
        }
    }
}

static void all_rounds(const struct product *p)
{
#ifdef _OPENMP
    char *own = p->work + (size_t)omp_get_thread_num() * WORK_BYTES;
#else
    char *own = p->work;
#endif
    struct gemm_amx_work work = {.sums = (int32_t *)own, .dummy = (int32_t *)(own + SUMS_BYTES)};
    ring_amx_begin();
    for (size_t row = 0; row < p->row_tiles; row += p->height)
        for (size_t step = 0; step < p->steps; step += p->depth) {
            const struct round r = {row, gemm_min(p->height, p->row_tiles - row), step,
                                    gemm_min(p->depth, p->steps - step)};
            share(p, &r, &work);
        }
    ring_amx_end();
}

static void cut(struct product *p)
{
    p->row_tiles = gemm_blocks(p->m, SIDE);
    p->column_tiles = gemm_blocks(p->n, SIDE);
    p->steps = gemm_blocks(p->k, STEP);
    const size_t blocks = gemm_blocks(p->row_tiles, BLOCK);
    p->block = gemm_blocks(p->row_tiles, blocks);
    p->height = p->block * gemm_min(blocks, gemm_blocks(GEMM_UNITS_A_THREAD * p->threads, p->column_tiles));
    const size_t most = gemm_min(A_BYTES / (p->block * STEP_BYTES), GEMM_AMX_DEPTH / STEP);
    p->depth = gemm_blocks(p->steps, gemm_blocks(p->steps, most));
}

static enum status multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                            struct gemm_progress *progress)
{
    struct product p = {.c = c, .ldc = ldc, .m = m, .k = b->k, .n = b->n, .a = a, .lda = lda, .b = b->data};
    p.progress = progress;
    p.add = mode == RING_GEMM_ADD;
    p.threads = (size_t)gemm_threads((double)m * (double)b->k * (double)b->n / PRODUCTS_A_THREAD);
    cut(&p);
    const size_t limbs_bytes = p.height * p.depth * STEP_BYTES;
    p.limbs = gemm_scratch(limbs_bytes + p.threads * WORK_BYTES);
    if (p.limbs == NULL)
        return status_fail(STATUS_MEMORY, "no memory to multiply %zu x %zu by %zu x %zu", m, b->k, b->k,
                           b->n);
    p.work = (char *)p.limbs + limbs_bytes;
    /* Also for one thread: inside a parallel region of the caller's, loops must not be shared with its team. */
#pragma omp parallel num_threads(p.threads)
    all_rounds(&p);
    return STATUS_OK;
}

const struct gemm_kernel gemm_amx = {.name = "amx",
                                     .available = available,
                                     .bytes = bytes,
                                     .pack = pack,
                                     .multiply = multiply,
                                     .narrows = true};

#else

static bool available(void)
{
    return false;
}

const struct gemm_kernel gemm_amx = {.name = "amx", .available = available};

#endif
