/* How the work of kernels by remainders is cut up. gemm_residue.h explains the arithmetic. */
#include "ring/gemm_residue.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* Rows of C that are multiplied by a panel of B before the next one is fetched; their sums, 432 or 132 KiB, and the panel's bytes of one
 * modulus stay in a second-level cache. */
#define BLOCK 128

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
    const struct gemm_residue *kind;
    const struct residue_constants *constants;
    bool add;
    struct gemm_progress *progress;
    size_t steps; /* of the whole inner dimension */
    size_t chunk; /* rows of A that are packed at a time */
    char *left;   /* these rows of a slice */
    char *work;   /* for each thread work_bytes: sums, and if B is small a panel of it for a slice */
    size_t work_bytes;
};

/* Steps step..step + steps of the inner dimension. */
struct slice {
    size_t step, steps;
};

/* ---- B ---- */

static size_t panel_width(const struct gemm_residue *kind, size_t n, size_t column)
{
    return gemm_min(kind->panel, gemm_blocks(n - column, kind->vector) * kind->vector);
}

bool gemm_residue_bytes(size_t *out, const struct ring_gemm_matrix *b)
{
    const struct gemm_residue *kind = b->kernel->residue;
    if (b->small)
        return gemm_plain_bytes(out, b);
    return b->k < SIZE_MAX / (2 * RESIDUE_STEP_BYTES * kind->rows * kind->moduli) &&
           !__builtin_mul_overflow(gemm_blocks(b->k, kind->step) * RESIDUE_STEP_BYTES *
                                       kind->constants(b->masked)->count * kind->vector,
                                   gemm_blocks(b->n, kind->vector), out);
}

/* out: the panel of width columns, of which columns exist; b points to the first one. */
static void pack_panel(char *out, const struct gemm_residue *kind, const struct residue_constants *constants,
                       size_t width, size_t steps, const int64_t *b, size_t ldb, size_t columns, size_t depth,
                       bool transposed)
{
    for (size_t column = 0; column < columns; column += kind->vector)
        kind->pack_columns(out, constants, width, column, steps, b + column * (transposed ? ldb : 1), ldb,
                           gemm_min(kind->vector, columns - column), depth, transposed);
}

void gemm_residue_pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed)
{
    const struct gemm_residue *kind = out->kernel->residue;
    const struct residue_constants *constants = kind->constants(out->masked);
    const size_t steps = gemm_blocks(out->k, kind->step);
    if (out->small) {
        gemm_plain_pack(out, b, ldb, transposed);
        return;
    }
    for (size_t column = 0; column < out->n; column += kind->panel) {
        const size_t width = panel_width(kind, out->n, column);
        pack_panel((char *)out->data + column * steps * RESIDUE_STEP_BYTES * constants->count, kind,
                   constants, width, steps, b + column * (transposed ? ldb : 1), ldb,
                   gemm_min(width, out->n - column), out->k, transposed);
    }
}

/* ---- the product ---- */

/* Rows of A that are packed together, the tiles that they fill, and the bytes of one modulus. */
struct rows {
    size_t first, end, tiles, plane;
};

/* A panel of B for a slice; what belongs to successive moduli lies plane bytes apart. */
struct panel {
    const char *data;
    size_t column, width, columns, plane;
};

/* Of a block. */
static size_t sums_bytes(const struct gemm_residue *kind)
{
    return kind->moduli * BLOCK * kind->panel * sizeof(int32_t);
}

static struct panel panel_of(const struct product *p, const struct slice *s, char *work, size_t column)
{
    struct panel out = {.column = column, .width = panel_width(p->kind, p->n, column)};
    const size_t step_bytes = RESIDUE_STEP_BYTES * out.width;
    out.columns = gemm_min(out.width, p->n - column);
    if (p->b->small) {
        char *made = work + sums_bytes(p->kind);
        const size_t first = s->step * p->kind->step;
        pack_panel(made, p->kind, p->constants, out.width, s->steps,
                   (const int64_t *)p->b->data + first * p->n + column, p->n, out.columns, p->k - first,
                   false);
        out.data = made;
        out.plane = s->steps * step_bytes;
    } else {
        out.data = (const char *)p->b->data + column * p->steps * RESIDUE_STEP_BYTES * p->constants->count +
                   s->step * step_bytes;
        out.plane = p->steps * step_bytes;
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

/* Asks for some bytes of B before they are needed. */
static void fetch_ahead(const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += GEMM_ALIGNMENT)
        __builtin_prefetch(from + i, 0, 2);
}

/* The sums of so many tiles of packed rows, from tile first on, times a panel, modulo modulus i. */
static void multiply_tiles(const struct product *p, const struct slice *s, size_t plane, int32_t *sums,
                           size_t first, size_t tiles, const struct panel *b, size_t i)
{
    const struct gemm_residue *kind = p->kind;
    const size_t stride = kind->moduli * kind->panel, tile_bytes = s->steps * RESIDUE_STEP_BYTES * kind->rows;
    const size_t chunk = gemm_blocks(s->steps, gemm_blocks(s->steps, kind->chunk));
    for (size_t step = 0; step < s->steps; step += chunk) {
        const size_t done = step * RESIDUE_STEP_BYTES, steps = gemm_min(chunk, s->steps - step);
        const char *right = b->data + i * b->plane + done * b->width;
        const size_t bytes = steps * RESIDUE_STEP_BYTES * b->width, part = gemm_blocks(bytes, tiles);
        for (size_t tile = 0; tile < tiles; tile++) {
            fetch_ahead(right + bytes + tile * part, part);
            kind->multiply(sums + tile * kind->rows * stride + i * kind->panel, stride, b->width,
                           p->left + i * plane + (first + tile) * tile_bytes + done * kind->rows, right,
                           steps, p->constants, i, step == 0);
        }
    }
}

/* A block of up to BLOCK rows of C from row on, of the packed rows first..end, times a panel. */
static void block(const struct product *p, const struct slice *s, const struct rows *packed, int32_t *sums,
                  size_t row, const struct panel *b)
{
    const struct gemm_residue *kind = p->kind;
    const size_t rows = gemm_min(BLOCK, packed->end - row), tiles = gemm_blocks(rows, kind->rows);
    const bool in_place = p->progress != NULL && p->progress->in_place && s->step + s->steps == p->steps;
    for (size_t i = 0; i < p->constants->count; i++)
        multiply_tiles(p, s, packed->plane, sums, (row - packed->first) / kind->rows, tiles, b, i);
    for (size_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows)
            fetch(p, row + i + AHEAD, b);
        kind->combine(ring_wide_at(p->c, (row + i) * p->ldc + b->column), p->constants,
                      sums + i * kind->moduli * kind->panel, b->columns, p->add || s->step != 0,
                      in_place ? &p->progress->end : NULL);
    }
}

/* The panel after those that end with the strip in which this one begins, if somebody waits for it and it is finished here. */
static size_t strip_end(const struct product *p, const struct slice *s, const struct rows *r, size_t panel)
{
    const size_t width = p->kind->panel;
    if (p->progress == NULL || r->end - r->first > BLOCK || s->step + s->steps < p->steps)
        return gemm_blocks(p->n, width);
    return gemm_blocks(gemm_progress_strip(p->progress, panel * width), width);
}

/* One thread's part of some rows of a slice. A unit is a block and a panel; all blocks of a panel that has to be made. */
static void share(const struct product *p, const struct slice *s, const struct rows *r)
{
    const struct gemm_residue *kind = p->kind;
#ifdef _OPENMP
    char *work = p->work + (size_t)omp_get_thread_num() * p->work_bytes;
#else
    char *work = p->work;
#endif
    const size_t done = s->step * kind->step;
#pragma omp for schedule(static)
    for (size_t tile = 0; tile < r->tiles; tile++) {
        const size_t row = r->first + tile * kind->rows;
        kind->pack_rows(p->left + tile * s->steps * RESIDUE_STEP_BYTES * kind->rows, p->constants, r->plane,
                        s->steps, p->a + row * p->lda + done, p->lda, gemm_min(kind->rows, r->end - row),
                        p->k - done);
    }
    const size_t blocks = gemm_blocks(r->end - r->first, BLOCK), together = p->b->small ? blocks : 1,
                 units = blocks / together;
    const size_t panels = gemm_blocks(p->n, kind->panel);
    for (size_t panel = 0, stop; panel < panels; panel = stop) {
        stop = strip_end(p, s, r, panel); /* all of them if there are several blocks */
#pragma omp for schedule(dynamic)
        for (size_t index = panel * units; index < stop * units; index++) {
            const struct panel b = panel_of(p, s, work, index / units * kind->panel);
            for (size_t i = 0; i < together; i++)
                block(p, s, r, (int32_t *)(void *)work, r->first + (index % units + i) * BLOCK, &b);
        }
        if (p->progress != NULL && s->step + s->steps == p->steps) {
#pragma omp master
            gemm_progress(p->progress, stop < panels ? r->first : r->end,
                          stop < panels ? stop * kind->panel : 0);
        }
    }
}

/* A cache line more than what is in it: see gemm_residue.h. */
static size_t plane_bytes(const struct gemm_residue *kind, size_t rows, size_t steps)
{
    return gemm_blocks(rows, kind->rows) * kind->rows * steps * RESIDUE_STEP_BYTES + GEMM_ALIGNMENT;
}

enum status gemm_residue_multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                                  const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                                  struct gemm_progress *progress)
{
    const struct gemm_residue *kind = b->kernel->residue;
    struct product p = {.c = c, .ldc = ldc, .k = b->k, .n = b->n, .a = a, .lda = lda, .b = b, .kind = kind};
    p.progress = progress;
    const size_t threads =
        (size_t)gemm_threads((double)m * (double)b->k * (double)b->n / kind->products_a_thread);
    p.add = mode == RING_GEMM_ADD;
    p.constants = kind->constants(b->masked);
    p.steps = gemm_blocks(p.k, kind->step);
    const size_t slices = gemm_blocks(p.steps, (b->small ? SMALL_DEPTH : RESIDUE_DEPTH) / kind->step),
                 depth = gemm_blocks(p.steps, slices);
    /* As few blocks of A at a time as give the threads enough to do: they stay in the outer cache while the panels pass by. Many, if
     * panels have to be made for them. */
    const size_t blocks =
        b->small ? SMALL_BLOCKS : gemm_blocks(GEMM_UNITS_A_THREAD * threads, gemm_blocks(p.n, kind->panel));
    p.chunk = gemm_min(m, BLOCK * blocks);
    const size_t left_bytes = plane_bytes(kind, p.chunk, depth) * p.constants->count;
    p.work_bytes =
        sums_bytes(kind) + (b->small ? depth * RESIDUE_STEP_BYTES * kind->panel * kind->moduli : 0);
    p.left = gemm_scratch(left_bytes + threads * p.work_bytes);
    if (p.left == NULL)
        return status_fail(STATUS_MEMORY, "no memory to multiply %zu x %zu by %zu x %zu", m, p.k, p.k, p.n);
    p.work = p.left + left_bytes;
    for (size_t step = 0; step < p.steps; step += depth) {
        const struct slice s = {step, gemm_min(depth, p.steps - step)};
        for (size_t row = 0; row < m; row += p.chunk) {
            const size_t rows = gemm_min(p.chunk, m - row);
            const struct rows r = {row, row + rows, gemm_blocks(rows, kind->rows),
                                   plane_bytes(kind, rows, s.steps)};
            /* Also for one thread: inside a parallel region of the caller's, loops must not be shared with its team. */
#pragma omp parallel num_threads(threads)
            share(&p, &s, &r);
        }
    }
    return STATUS_OK;
}
