/* How the work of kernels by remainders is cut up. gemm_residue.h explains the arithmetic. */
#include "ring/gemm_residue.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* Rows of C that are multiplied by a panel of B before the next one is fetched; their sums (VNNI: 432 KiB; AVX2: 132 KiB of each of the
 * panels that take turns) and the panel's bytes of one modulus are meant for a second-level cache. */
#define BLOCK 128

/* Where panels have to be made, the blocks that share one (making it costs a fortieth of their products then), and the depth of a
 * slice: memory counts there. */
#define SMALL_BLOCKS 8
#define SMALL_DEPTH 1024

_Static_assert(BLOCK == RING_GEMM_BAND, "so that bands are finished one by one");

#define PLAIN_ELEMENTS ((size_t)1 << 18) /* of a matrix, for which memory counts */

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
    size_t steps;    /* of the whole inner dimension */
    size_t chunk;    /* rows of A that are packed at a time */
    char *left;      /* these rows of a slice */
    size_t packed;   /* columns of B, see packed_columns */
    size_t together; /* panels of a group */
    char *
        work; /* for each thread work_bytes: sums, and panels that have to be made, of a slice, made_bytes each */
    size_t work_bytes, made_bytes;
};

/* Steps step..step + steps of the inner dimension. */
struct slice {
    size_t step, steps;
};

struct residue_factor residue_factor(const int32_t *moduli, size_t count, size_t i)
{
    struct residue_factor out = {1, 1};
    int64_t remainder = 1;
    for (size_t j = 0; j < count; j++)
        if (j != i) {
            out.others *= (ring_u128)moduli[j];
            remainder = remainder * moduli[j] % moduli[i];
        }
    while (out.inverse * remainder % moduli[i] != 1)
        out.inverse++;
    return out;
}

/* ---- B ---- */

static size_t panel_width(const struct gemm_residue *kind, size_t n, size_t column)
{
    return gemm_min(kind->panel, gemm_blocks(n - column, kind->vector) * kind->vector);
}

/* The columns that lie packed, whole panels or all; the others lie behind them as they are, [k][n - packed], and are made when
 * they are multiplied. */
static size_t packed_columns(const struct ring_gemm_matrix *b)
{
    const struct gemm_residue *kind = b->kernel->residue;
    const size_t panels = gemm_blocks(b->n, kind->panel);
    if (b->small)
        return 0;
    if (!b->masked || kind->plain == 0 || panels < kind->plain || b->k < PLAIN_ELEMENTS / b->n)
        return b->n;
    return (panels - panels / kind->plain) * kind->panel;
}

static size_t packed_bytes(const struct ring_gemm_matrix *b, size_t columns)
{
    const struct gemm_residue *kind = b->kernel->residue;
    return columns * gemm_blocks(b->k, kind->step) * RESIDUE_STEP_BYTES * kind->constants(b->masked)->count;
}

bool gemm_residue_bytes(size_t *out, const struct ring_gemm_matrix *b)
{
    const struct gemm_residue *kind = b->kernel->residue;
    const size_t packed = packed_columns(b), largest = 2 * RESIDUE_STEP_BYTES * kind->moduli;
    if (b->k > SIZE_MAX / largest - largest || b->n > SIZE_MAX / largest / (b->k + largest) - kind->vector)
        return false;
    *out = packed_bytes(b, gemm_blocks(packed, kind->vector) * kind->vector) +
           b->k * (b->n - packed) * sizeof(int64_t);
    return true;
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
    const size_t packed = packed_columns(out), next = transposed ? ldb : 1;
    for (size_t column = 0; column < packed; column += kind->panel) {
        const size_t width = panel_width(kind, out->n, column);
        pack_panel((char *)out->data + packed_bytes(out, column), kind, constants, width,
                   gemm_blocks(out->k, kind->step), b + column * next, ldb, gemm_min(width, out->n - column),
                   out->k, transposed);
    }
    if (packed < out->n)
        gemm_plain_copy((int64_t *)(void *)((char *)out->data + packed_bytes(out, packed)), out->k,
                        out->n - packed, b + packed * next, ldb, transposed);
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

/* Panels that take turns, and how the steps of a slice are cut for them. */
struct group {
    struct panel panel[RESIDUE_TOGETHER];
    size_t count, steps, chunk, chunks;
};

/* Of a block. */
static size_t sums_bytes(const struct gemm_residue *kind)
{
    return kind->moduli * BLOCK * kind->panel * sizeof(int32_t);
}

/* made: where it is made, if it has to be. */
static struct panel panel_of(const struct product *p, const struct slice *s, char *made, size_t column)
{
    struct panel out = {.column = column, .width = panel_width(p->kind, p->n, column)};
    const size_t step_bytes = RESIDUE_STEP_BYTES * out.width;
    out.columns = gemm_min(out.width, p->n - column);
    if (column >= p->packed) {
        const size_t first = s->step * p->kind->step, plain = p->n - p->packed;
        const int64_t *b =
            (const int64_t *)(const void *)((const char *)p->b->data + packed_bytes(p->b, p->packed));
        pack_panel(made, p->kind, p->constants, out.width, s->steps, b + first * plain + column - p->packed,
                   plain, out.columns, p->k - first, false);
        out.data = made;
        out.plane = s->steps * step_bytes;
    } else {
        out.data = (const char *)p->b->data + packed_bytes(p->b, column) + s->step * step_bytes;
        out.plane = p->steps * step_bytes;
    }
    return out;
}

/* So many panels from this one on; work holds their sums, and what has to be made. */
static struct group group_of(const struct product *p, const struct slice *s, char *work, size_t panel,
                             size_t count)
{
    struct group g;
    g.count = count;
    g.steps = s->steps;
    g.chunk = gemm_blocks(s->steps, gemm_blocks(s->steps, p->kind->chunk)); /* of even size */
    g.chunks = gemm_blocks(s->steps, g.chunk);
    for (size_t j = 0; j < count; j++)
        g.panel[j] = panel_of(p, s, work + p->together * sums_bytes(p->kind) + j * p->made_bytes,
                              (panel + j) * p->kind->panel);
    return g;
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

/* Rows first..first + count of C, of those that are packed. */
struct block {
    const struct slice *slice;
    const struct rows *packed;
    size_t first, count;
};

/* A part of a panel: some steps of one modulus. */
struct piece {
    size_t modulus, step, steps;
    const struct panel *panel;
};

static const char *piece_data(const struct piece *piece)
{
    const struct panel *b = piece->panel;
    return b->data + piece->modulus * b->plane + piece->step * RESIDUE_STEP_BYTES * b->width;
}

/* The sums of a block times a piece. next: what is multiplied after it. */
static void multiply_piece(const struct product *p, const struct block *block, int32_t *sums,
                           const struct piece *piece, const struct piece *next)
{
    const struct gemm_residue *kind = p->kind;
    const size_t row_bytes = block->slice->steps * RESIDUE_STEP_BYTES, i = piece->modulus;
    const char *left = p->left + i * block->packed->plane +
                       (block->first - block->packed->first) * row_bytes +
                       piece->step * RESIDUE_STEP_BYTES * kind->rows;
    const char *right = piece_data(piece), *ahead = piece_data(next);
    const size_t bytes = next->steps * RESIDUE_STEP_BYTES * next->panel->width,
                 each = gemm_blocks(bytes, gemm_blocks(block->count, kind->rows));
    for (size_t row = 0; row < block->count; row += kind->rows, ahead += each) {
        fetch_ahead(ahead, each);
        kind->multiply(sums + (row * kind->moduli + i) * kind->panel, kind->moduli * kind->panel,
                       piece->panel->width, left + row * row_bytes, right, piece->steps, p->constants, i,
                       piece->step == 0);
    }
}

/* What the sums make of C. */
static void combine_rows(const struct product *p, const struct block *block, const int32_t *sums,
                         const struct panel *b)
{
    const struct gemm_residue *kind = p->kind;
    const struct slice *s = block->slice;
    const bool in_place = p->progress != NULL && p->progress->in_place && s->step + s->steps == p->steps;
    for (size_t i = 0; i < block->count; i++) {
        if (i + AHEAD < block->count)
            fetch(p, block->first + i + AHEAD, b);
        kind->combine(ring_wide_at(p->c, (block->first + i) * p->ldc + b->column), p->constants,
                      sums + i * kind->moduli * kind->panel, b->columns, p->add || s->step != 0,
                      in_place ? &p->progress->end : NULL);
    }
}

/* Piece number `at` of a group of panels: all panels before the next steps, all steps before the next modulus. */
static struct piece piece_at(const struct group *g, size_t at)
{
    const size_t step = at / g->count % g->chunks * g->chunk;
    return (struct piece){at / g->count / g->chunks, step, gemm_min(g->chunk, g->steps - step),
                          &g->panel[at % g->count]};
}

/* A block times a group of panels: a chunk of what is packed of it, of one modulus, is fetched once for all of them. */
static void multiply_block(const struct product *p, const struct block *block, int32_t *sums,
                           const struct group *g)
{
    const size_t each = sums_bytes(p->kind) / sizeof *sums,
                 pieces = p->constants->count * g->chunks * g->count;
    struct piece piece = piece_at(g, 0);
    for (size_t at = 0; at < pieces; at++) {
        const struct piece next = at + 1 < pieces ? piece_at(g, at + 1) : piece;
        multiply_piece(p, block, sums + at % g->count * each, &piece, &next);
        piece = next;
    }
    for (size_t j = 0; j < g->count; j++)
        combine_rows(p, block, sums + j * each, &g->panel[j]);
}

/* The panel after those that end with the strip in which this one begins, if somebody waits for it and it is finished here. */
static size_t strip_end(const struct product *p, const struct slice *s, const struct rows *r, size_t panel)
{
    const size_t width = p->kind->panel;
    if (p->progress == NULL || r->end - r->first > BLOCK || s->step + s->steps < p->steps)
        return gemm_blocks(p->n, width);
    return gemm_blocks(gemm_progress_strip(p->progress, panel * width), width);
}

/* One thread's part of some rows of a slice. A unit is a block and a group of panels; all blocks, if panels have to be made. */
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
    const size_t height = p->b->small ? r->end - r->first : BLOCK,
                 units = gemm_blocks(r->end - r->first, height);
    const size_t panels = gemm_blocks(p->n, kind->panel);
    for (size_t panel = 0, stop; panel < panels; panel = stop) {
        stop = strip_end(p, s, r, panel); /* all of them if there are several blocks */
#pragma omp for schedule(dynamic)
        for (size_t index = 0; index < gemm_blocks(stop - panel, p->together) * units; index++) {
            const size_t at = panel + index / units * p->together, row = r->first + index % units * height;
            const struct group g = group_of(p, s, work, at, gemm_min(p->together, stop - at));
            for (size_t first = row; first < gemm_min(row + height, r->end); first += BLOCK) {
                const struct block block = {s, r, first, gemm_min(BLOCK, r->end - first)};
                multiply_block(p, &block, (int32_t *)(void *)work, &g);
            }
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
    p.packed = packed_columns(b);
    const size_t slices = gemm_blocks(p.steps, (b->small ? SMALL_DEPTH : RESIDUE_DEPTH) / kind->step),
                 depth = gemm_blocks(p.steps, slices);
    /* As few blocks of A at a time as give the threads enough to do: they stay in the outer cache while the panels pass by. Many, if
     * panels have to be made for them. */
    const size_t blocks =
        b->small ? SMALL_BLOCKS : gemm_blocks(GEMM_UNITS_A_THREAD * threads, gemm_blocks(p.n, kind->panel));
    p.chunk = gemm_min(m, BLOCK * blocks);
    const size_t left_bytes = plane_bytes(kind, p.chunk, depth) * p.constants->count;
    p.together =
        gemm_min(kind->together, gemm_blocks(gemm_blocks(p.n, kind->panel), GEMM_UNITS_A_THREAD * threads));
    p.made_bytes = p.packed < p.n ? depth * RESIDUE_STEP_BYTES * kind->panel * kind->moduli : 0;
    p.work_bytes = p.together * (sums_bytes(kind) + p.made_bytes);
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
