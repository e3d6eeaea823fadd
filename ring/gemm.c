#include "ring/gemm.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "ring/clock.h"
#include "ring/gemm_kernel.h"

static const struct gemm_kernel *const kernels[RING_GEMM_KERNELS] = {
    [RING_GEMM_PORTABLE] = &gemm_portable,
    [RING_GEMM_AVX2] = &gemm_avx2,
    [RING_GEMM_VNNI] = &gemm_vnni,
    [RING_GEMM_AMX] = &gemm_amx,
};

/* ---- the watch ---- */

static _Thread_local double *watched;

void ring_gemm_watch(double *seconds)
{
    watched = seconds;
}

static double watch(void)
{
    return watched ? clock_seconds() : 0;
}

static void unwatch(double since)
{
    if (watched)
        *watched += watch() - since;
}

/* ---- the choice ---- */

static bool is_kernel(enum ring_gemm_kernel kernel)
{
    return (unsigned)kernel < RING_GEMM_KERNELS && kernel != RING_GEMM_AUTO;
}

/* What TREFOIL_GEMM asks for; AUTO if it is not set, RING_GEMM_KERNELS if it names no kernel. */
static enum ring_gemm_kernel requested(void)
{
    const char *name = getenv("TREFOIL_GEMM");
    if (name == NULL || name[0] == '\0')
        return RING_GEMM_AUTO;
    for (int i = RING_GEMM_AUTO + 1; i < RING_GEMM_KERNELS; i++)
        if (strcmp(name, kernels[i]->name) == 0)
            return (enum ring_gemm_kernel)i;
    return RING_GEMM_KERNELS;
}

enum ring_gemm_kernel ring_gemm_default(void)
{
    const enum ring_gemm_kernel wish = requested();
    if (ring_gemm_available(wish))
        return wish;
    enum ring_gemm_kernel best = RING_GEMM_AMX;
    while (!ring_gemm_available(best)) /* slower and slower; the portable one always is */
        best--;
    return best;
}

bool ring_gemm_available(enum ring_gemm_kernel kernel)
{
    return is_kernel(kernel) && kernels[kernel]->available();
}

const char *ring_gemm_name(enum ring_gemm_kernel kernel)
{
    if (kernel == RING_GEMM_AUTO)
        kernel = ring_gemm_default();
    return is_kernel(kernel) ? kernels[kernel]->name : "unknown";
}

/* out: the kernel to pack for. */
static enum status choose(const struct gemm_kernel **out, enum ring_gemm_kernel kernel)
{
    if (kernel == RING_GEMM_AUTO) {
        const enum ring_gemm_kernel wish = requested();
        if (wish == RING_GEMM_KERNELS)
            return status_fail(
                STATUS_INPUT, "TREFOIL_GEMM=%s names no kernel: use portable, avx2, vnni or amx, or unset it",
                getenv("TREFOIL_GEMM"));
        kernel = wish == RING_GEMM_AUTO ? ring_gemm_default() : wish;
    }
    if (!ring_gemm_available(kernel))
        return status_fail(STATUS_INPUT,
                           "the %s kernel cannot run here: the processor or the operating system "
                           "lacks what it needs; use TREFOIL_GEMM=portable or unset it",
                           ring_gemm_name(kernel));
    *out = kernels[kernel];
    return STATUS_OK;
}

static enum status pack(struct ring_gemm_matrix **out, enum ring_gemm_kernel kernel, size_t k, size_t n,
                        const int64_t *b, size_t ldb, bool transposed, bool masked, bool small)
{
    *out = NULL;
    const struct gemm_kernel *chosen = NULL;
    const enum status status = choose(&chosen, kernel);
    if (status != STATUS_OK)
        return status;
    struct ring_gemm_matrix *matrix = calloc(1, sizeof *matrix);
    if (matrix == NULL)
        return status_fail(STATUS_MEMORY, "no memory for a packed matrix");
    matrix->kernel = chosen;
    matrix->k = k;
    matrix->n = n;
    matrix->masked = masked;
    matrix->small = small;
    if (k != 0 && n != 0) {
        if (!chosen->bytes(&matrix->bytes, matrix) || (matrix->data = gemm_allocate(matrix->bytes)) == NULL) {
            free(matrix);
            return status_fail(STATUS_MEMORY, "no memory for a packed matrix of %zu x %zu elements", k, n);
        }
        const double start = watch();
        chosen->pack(matrix, b, ldb, transposed);
        unwatch(start);
    }
    *out = matrix;
    return STATUS_OK;
}

enum status ring_gemm_pack(struct ring_gemm_matrix **out, enum ring_gemm_kernel kernel, size_t k, size_t n,
                           const int64_t *b, size_t ldb, bool transposed)
{
    return pack(out, kernel, k, n, b, ldb, transposed, false, false);
}

enum status ring_gemm_pack_masked(struct ring_gemm_matrix **out, enum ring_gemm_kernel kernel, size_t k,
                                  size_t n, const int64_t *b, size_t ldb, bool transposed, bool small)
{
    return pack(out, kernel, k, n, b, ldb, transposed, true, small);
}

void ring_gemm_close(struct ring_gemm_matrix **matrix)
{
    if (*matrix == NULL)
        return;
    if ((*matrix)->data != NULL)
        sodium_memzero((*matrix)->data, (*matrix)->bytes);
    free((*matrix)->data);
    free(*matrix);
    *matrix = NULL;
}

size_t ring_gemm_bytes(const struct ring_gemm_matrix *matrix)
{
    return sizeof *matrix + matrix->bytes;
}

static enum status multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                            struct gemm_progress *progress)
{
    const double start = watch();
    enum status status = STATUS_OK;
    if (m != 0 && b->k != 0 && b->n != 0)
        status = b->kernel->multiply(c, ldc, m, a, lda, b, mode, progress);
    else if (mode == RING_GEMM_SET) /* an empty sum, or no element at all */
        for (size_t row = 0; row < m; row++) {
            memset(c.lo + row * ldc, 0, b->n * sizeof *c.lo);
            memset(c.hi + row * ldc, 0, b->n * sizeof *c.hi);
        }
    if (status == STATUS_OK && progress != NULL)
        gemm_progress(progress, m, 0);
    unwatch(start);
    return status;
}

enum status ring_gemm(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                      const struct ring_gemm_matrix *b, enum ring_gemm_mode mode)
{
    return multiply(c, ldc, m, a, lda, b, mode, NULL);
}

/* ---- the product on its way into a message ---- */

/* Of kernels that do not do it themselves. Beside C it would cost more there than here, since the rows of a tile lie far apart, and
 * the multiplier waits for them. */
static void narrow(const struct gemm_progress *p, size_t rows, size_t columns)
{
    const size_t c = p->row * p->ldc + p->column, t = p->row * p->ldt + p->column;
    const bool dense = p->ldc == columns && p->ldt == columns;
    for (size_t row = 0; row < (dense ? 1 : rows); row++) {
        const struct ring_narrow at = ring_narrow_at(p->end, t + row * p->ldt);
        ring_narrow(&at, ring_wide_at(p->c, c + row * p->ldc), dense ? rows * columns : columns);
    }
}

size_t gemm_progress_strip(const struct gemm_progress *p, size_t column)
{
    const size_t rest = p->n - column, within = column % p->parts.columns;
    return column + gemm_min(rest, p->parts.columns - within);
}

void gemm_progress(struct gemm_progress *p, size_t row, size_t column)
{
    const double start = watch();
    while (p->row < p->m) {
        const size_t rows = gemm_min(RING_GEMM_BAND, p->m - p->row), stop = gemm_progress_strip(p, p->column);
        if (p->row + rows > row && (p->row != row || stop > column))
            break;
        if (!p->in_place)
            narrow(p, rows, stop - p->column);
        if (p->parts.ready != NULL)
            p->parts.ready(p->parts.context, p->row, rows, p->column, stop - p->column);
        p->column = stop;
        if (stop == p->n) {
            p->column = 0;
            p->row += rows;
        }
    }
    if (watched) /* it counts as no product, and is inside of one */
        *watched -= watch() - start;
}

enum status ring_gemm_narrow(const struct ring_narrow *end, size_t ldt, struct ring_wide c, size_t ldc,
                             size_t m, const int64_t *a, size_t lda, const struct ring_gemm_matrix *b,
                             const struct ring_gemm_parts *parts)
{
    struct gemm_progress p = {.end = *end, .c = c, .ldt = ldt, .ldc = ldc, .m = b->n == 0 ? 0 : m, .n = b->n};
    p.in_place = b->kernel->narrows && b->k != 0 && end->t == c.lo && ldt == ldc;
    p.parts = parts != NULL ? *parts : (struct ring_gemm_parts){.columns = b->n};
    return multiply(c, ldc, m, a, lda, b, RING_GEMM_ADD, &p);
}

void ring_gemm_reference(struct ring_wide c, size_t ldc, size_t m, size_t k, size_t n, const int64_t *a,
                         size_t lda, const int64_t *b, size_t ldb, enum ring_gemm_mode mode)
{
    for (size_t row = 0; row < m; row++)
        for (size_t column = 0; column < n; column++) {
            const size_t at = row * ldc + column;
            ring_u128 sum = mode == RING_GEMM_ADD ? ring_wide_get(c, at) : 0;
            for (size_t i = 0; i < k; i++)
                sum += (ring_u128)((ring_i128)a[row * lda + i] * b[i * ldb + column]);
            ring_wide_set(c, at, sum);
        }
}
