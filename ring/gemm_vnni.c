/* The VNNI kernel: when it can run, and how the work is cut up. gemm_vnni.h explains the arithmetic. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#ifdef _OPENMP
#include <omp.h>
#endif

#define PRODUCTS_A_THREAD 3e5 /* fewer, about 30 us of work, are not worth waking a thread for */

/* Rows of C that are multiplied by a panel of B before the next one is fetched; their sums, 432 KiB, and the panel's bytes of one
 * modulus stay in a second-level cache of 1 MiB. */
#define BLOCK 128
#define SUMS_BYTES ((size_t)MODULI * BLOCK * PANEL * sizeof(int32_t))

/* Where panels have to be made, the blocks that share one (making it costs a fortieth of their products then), and the depth of a
 * slice: memory counts there. */
#define SMALL_BLOCKS 8
#define SMALL_DEPTH 1024

_Static_assert(BLOCK == RING_GEMM_BAND, "so that bands are finished one by one");

#define AHEAD 4 /* rows of C that are asked for before they are needed */

struct product {
    struct ring_wide c;
    size_t ldc, k, n;
    const int64_t *a;
    size_t lda;
    const struct ring_gemm_matrix *b;
    const struct gemm_vnni_constants *constants;
    bool add;
    struct gemm_progress *progress;
    size_t steps; /* of the whole inner dimension */
    size_t chunk; /* rows of A that are packed at a time */
    int8_t *left; /* these rows of a slice: [moduli][tiles][groups][8][4] */
    char *work;   /* for each thread work_bytes: sums, and if B is small a panel of it for a slice */
    size_t work_bytes;
};

/* Steps step..step + steps of the inner dimension. */
struct slice {
    size_t step, steps;
};

static bool available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

/* ---- B ---- */

static size_t panel_width(size_t n, size_t column)
{
    return gemm_min(PANEL, gemm_blocks(n - column, VECTOR) * VECTOR);
}

static const struct gemm_vnni_constants *constants_of(const struct ring_gemm_matrix *b)
{
    return gemm_vnni_constants(b->masked);
}

static bool bytes(size_t *out, const struct ring_gemm_matrix *b)
{
    if (b->small)
        return gemm_plain_bytes(out, b);
    return b->k < SIZE_MAX / (2 * VNNI_STEP * ROWS * MODULI) &&
           !__builtin_mul_overflow(gemm_blocks(b->k, VNNI_STEP) * VNNI_STEP * constants_of(b)->count * VECTOR,
                                   gemm_blocks(b->n, VECTOR), out);
}

/* out: the panel of width columns, of which columns exist; b points to the first one. */
static void pack_panel(uint8_t *out, const struct gemm_vnni_constants *constants, size_t width, size_t steps,
                       const int64_t *b, size_t ldb, size_t columns, size_t depth, bool transposed)
{
    for (size_t column = 0; column < columns; column += VECTOR)
        gemm_vnni_pack_columns(out, constants, width, column, steps, b + column * (transposed ? ldb : 1), ldb,
                               gemm_min(VECTOR, columns - column), depth, transposed);
}

static void pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed)
{
    const struct gemm_vnni_constants *constants = constants_of(out);
    const size_t steps = gemm_blocks(out->k, VNNI_STEP);
    if (out->small) {
        gemm_plain_pack(out, b, ldb, transposed);
        return;
    }
    for (size_t column = 0; column < out->n; column += PANEL) {
        const size_t width = panel_width(out->n, column);
        pack_panel((uint8_t *)out->data + column * steps * VNNI_STEP * constants->count, constants, width,
                   steps, b + column * (transposed ? ldb : 1), ldb, gemm_min(width, out->n - column), out->k,
                   transposed);
    }
}

/* ---- the product ---- */

/* Rows of A that are packed together, the tiles that they fill, and the bytes of one modulus. */
struct rows {
    size_t first, end, tiles, plane;
};

/* A panel of B for a slice; what belongs to successive moduli lies plane bytes apart. */
struct panel {
    const uint8_t *data;
    size_t column, width, columns, plane;
};

static struct panel panel_of(const struct product *p, const struct slice *s, char *work, size_t column)
{
    struct panel out = {.column = column, .width = panel_width(p->n, column)};
    out.columns = gemm_min(out.width, p->n - column);
    if (p->b->small) {
        uint8_t *made = (uint8_t *)work + SUMS_BYTES;
        const size_t first = s->step * VNNI_STEP;
        pack_panel(made, p->constants, out.width, s->steps,
                   (const int64_t *)p->b->data + first * p->n + column, p->n, out.columns, p->k - first,
                   false);
        out.data = made;
        out.plane = s->steps * VNNI_STEP * out.width;
    } else {
        out.data = (const uint8_t *)p->b->data + column * p->steps * VNNI_STEP * p->constants->count +
                   s->step * VNNI_STEP * out.width;
        out.plane = p->steps * VNNI_STEP * out.width;
    }
    return out;
}

/* Asks for a row of C in a panel, which is short and far from the one before: processors do not foresee it. */
static void fetch(const struct product *p, size_t row, const struct panel *b)
{
    const struct ring_wide c = ring_wide_at(p->c, row * p->ldc + b->column);
    for (size_t i = 0; i < b->columns; i += GEMM_ALIGNMENT / sizeof *c.lo)
        __builtin_prefetch(c.lo + i, 1);
    for (size_t i = 0; i < b->columns; i += GEMM_ALIGNMENT / sizeof *c.hi)
        __builtin_prefetch(c.hi + i, 1);
}

/* A block of up to BLOCK rows of C from row on, of the packed rows first..end, times a panel. */
static void block(const struct product *p, const struct slice *s, const struct rows *packed, int32_t *sums,
                  size_t row, const struct panel *b)
{
    const size_t rows = gemm_min(BLOCK, packed->end - row), tiles = gemm_blocks(rows, ROWS),
                 first = (row - packed->first) / ROWS, stride = MODULI * PANEL;
    const size_t left_bytes = s->steps * VNNI_STEP * ROWS;
    const bool in_place = p->progress != NULL && p->progress->in_place && s->step + s->steps == p->steps;
    for (size_t i = 0; i < p->constants->count; i++)
        for (size_t tile = 0; tile < tiles; tile++)
            gemm_vnni_multiply(sums + tile * ROWS * stride + i * PANEL, stride, b->width,
                               p->left + i * packed->plane + (first + tile) * left_bytes,
                               b->data + i * b->plane, 2 * s->steps);
    for (size_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows)
            fetch(p, row + i + AHEAD, b);
        gemm_vnni_combine(ring_wide_at(p->c, (row + i) * p->ldc + b->column), p->constants, sums + i * stride,
                          b->columns, p->add || s->step != 0, in_place ? &p->progress->end : NULL);
    }
}

/* The panel after those that end with the strip in which this one begins, if somebody waits for it and it is finished here. */
static size_t strip_end(const struct product *p, const struct slice *s, const struct rows *r, size_t panel)
{
    if (p->progress == NULL || r->end - r->first > BLOCK || s->step + s->steps < p->steps)
        return gemm_blocks(p->n, PANEL);
    return gemm_blocks(gemm_progress_strip(p->progress, panel * PANEL), PANEL);
}

/* One thread's part of some rows of a slice. A unit is a block and a panel; all blocks of a panel that has to be made. */
static void share(const struct product *p, const struct slice *s, const struct rows *r)
{
#ifdef _OPENMP
    char *work = p->work + (size_t)omp_get_thread_num() * p->work_bytes;
#else
    char *work = p->work;
#endif
    const size_t done = s->step * VNNI_STEP;
#pragma omp for schedule(static)
    for (size_t tile = 0; tile < r->tiles; tile++) {
        const size_t row = r->first + tile * ROWS;
        gemm_vnni_pack_rows(p->left + tile * s->steps * VNNI_STEP * ROWS, p->constants, r->plane, s->steps,
                            p->a + row * p->lda + done, p->lda, gemm_min(ROWS, r->end - row), p->k - done);
    }
    const size_t blocks = gemm_blocks(r->end - r->first, BLOCK), together = p->b->small ? blocks : 1,
                 units = blocks / together;
    const size_t panels = gemm_blocks(p->n, PANEL);
    for (size_t panel = 0, stop; panel < panels; panel = stop) {
        stop = strip_end(p, s, r, panel); /* all of them if there are several blocks */
#pragma omp for schedule(dynamic)
        for (size_t index = panel * units; index < stop * units; index++) {
            const struct panel b = panel_of(p, s, work, index / units * PANEL);
            for (size_t i = 0; i < together; i++)
                block(p, s, r, (int32_t *)(void *)work, r->first + (index % units + i) * BLOCK, &b);
        }
        if (p->progress != NULL && s->step + s->steps == p->steps) {
#pragma omp master
            gemm_progress(p->progress, stop < panels ? r->first : r->end, stop < panels ? stop * PANEL : 0);
        }
    }
}

/* A cache line more than what is in it: see gemm_vnni.h. */
static size_t plane_bytes(size_t rows, size_t steps)
{
    return gemm_blocks(rows, ROWS) * ROWS * steps * VNNI_STEP + GEMM_ALIGNMENT;
}

static enum status multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                            struct gemm_progress *progress)
{
    struct product p = {.c = c, .ldc = ldc, .k = b->k, .n = b->n, .a = a, .lda = lda, .b = b};
    p.progress = progress;
    const size_t threads = (size_t)gemm_threads((double)m * (double)b->k * (double)b->n / PRODUCTS_A_THREAD);
    p.add = mode == RING_GEMM_ADD;
    p.constants = constants_of(b);
    p.steps = gemm_blocks(p.k, VNNI_STEP);
    const size_t slices = gemm_blocks(p.steps, (b->small ? SMALL_DEPTH : GEMM_VNNI_DEPTH) / VNNI_STEP),
                 depth = gemm_blocks(p.steps, slices);
    /* As few blocks of A at a time as give the threads enough to do: they stay in the outer cache while the panels pass by. Many, if
     * panels have to be made for them. */
    const size_t blocks =
        b->small ? SMALL_BLOCKS : gemm_blocks(GEMM_UNITS_A_THREAD * threads, gemm_blocks(p.n, PANEL));
    p.chunk = gemm_min(m, BLOCK * blocks);
    const size_t left_bytes = plane_bytes(p.chunk, depth) * p.constants->count;
    p.work_bytes = SUMS_BYTES + (b->small ? depth * VNNI_STEP * PANEL * MODULI : 0);
    p.left = gemm_scratch(left_bytes + threads * p.work_bytes);
    if (p.left == NULL)
        return status_fail(STATUS_MEMORY, "no memory to multiply %zu x %zu by %zu x %zu", m, p.k, p.k, p.n);
    p.work = (char *)p.left + left_bytes;
    for (size_t step = 0; step < p.steps; step += depth) {
        const struct slice s = {step, gemm_min(depth, p.steps - step)};
        for (size_t row = 0; row < m; row += p.chunk) {
            const size_t rows = gemm_min(p.chunk, m - row);
            const struct rows r = {row, row + rows, gemm_blocks(rows, ROWS), plane_bytes(rows, s.steps)};
            /* Also for one thread: inside a parallel region of the caller's, loops must not be shared with its team. */
#pragma omp parallel num_threads(threads)
            share(&p, &s, &r);
        }
    }
    return STATUS_OK;
}

const struct gemm_kernel gemm_vnni = {"vnni", available, bytes, pack, multiply, true};

#else

static bool available(void)
{
    return false;
}

const struct gemm_kernel gemm_vnni = {.name = "vnni", .available = available};

#endif
