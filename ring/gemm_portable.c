/* The portable kernel: exact products of 64-bit integers out of OpenBLAS' DGEMM.
 *
 *     a = a_0 + a_1 2^21 + a_2 2^42,   a_0, a_1 in [-2^20, 2^20),   a_2 in [-2^21, 2^21]
 *     a b = sum over s = 0..3 of 2^(21 s) sum over i + j = s of a_i b_j   modulo 2^80
 *
 * since 2^(21 * 4) is 0 modulo 2^80: eight digit products. A product of whole numbers in doubles is exact as
 * long as no sum in it leaves (-2^53, 2^53), in whatever order the library adds. The largest sum is that of s
 * = 2:
 *
 *     |a_0 b_2 + a_1 b_1 + a_2 b_0| <= 2^20 2^21 + 2^20 2^20 + 2^21 2^20 = 5 * 2^40
 *
 * so an inner dimension of GEMM_PORTABLE_EXACT = 1638 is exact (5 * 1638 = 8190 < 2^13), and DEPTH keeps
 * below it.
 *
 * The sum over i + j = s costs no addition of its own: with the digits of A laid side by side, [a_0 a_1 a_2],
 * and those of B one below the other in the opposite order, [b_2; b_1; b_0], it is one product of a longer
 * inner dimension, from digit max(0, s - 2) of A and digit max(0, 2 - s) of this B on.
 *
 * The packed B is the plain matrix, eight bytes an element; blocks of it become digits just before they are
 * used, which costs a few percent of a product with 128 rows. */
#include "ring/gemm_kernel.h"

#include <pthread.h>
#include <string.h>

#include <cblas.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define DIGITS 3
#define SUMS 4 /* i + j = 0..3 */
#define DIGIT_BITS 21

#define DEPTH 384  /* inner dimension, */
#define WIDTH 384  /* columns, and */
#define HEIGHT 256 /* rows, of the blocks that are worked on at a time */

#define PRODUCTS_A_THREAD 1e5 /* fewer, about 25 us of work, are not worth waking a thread for */

_Static_assert(DEPTH <= GEMM_PORTABLE_EXACT && 5 * GEMM_PORTABLE_EXACT < 1 << 13,
               "sums of digit products must stay below 2^53");

struct product {
    struct ring_wide c;
    size_t ldc, m, k, n;
    const int64_t *a, *b;
    size_t lda;
    enum ring_gemm_mode mode;
    size_t width; /* of a block of columns */
};

/* One OpenMP thread's part of the scratch. */
struct workspace {
    double *b;    /* [DIGITS * depth][columns], digits in the order 2, 1, 0 */
    double *sums; /* [SUMS][rows][columns] */
};

static bool available(void)
{
    return true;
}

/* All parallelism here is OpenMP's: products run beside each other, each on one thread. OpenBLAS with threads
 * of its own would start as many again for every one of them. */
static void keep_blas_single(void)
{
#ifdef _OPENMP
    const int threads = omp_get_max_threads();
#endif
    openblas_set_num_threads(1);
#ifdef _OPENMP
    omp_set_num_threads(threads); /* an OpenBLAS built on OpenMP has just set this one, too */
#endif
}

/* The double of the whole number x - offset, for 0 <= x < 2^52, by placing x in the mantissa of 2^52: unlike
 * a conversion this vectorises on every processor. */
static inline double whole(uint64_t x, double offset)
{
    const uint64_t bits = x | (uint64_t)1075 << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value - (0x1p52 + offset);
}

/* digit[0..2][n]: the signed digits of a[n]; successive digits of an element are stride apart. */
static void split(double *restrict digit, ptrdiff_t stride, const int64_t *restrict a, size_t n)
{
    const uint64_t half = (uint64_t)1 << (DIGIT_BITS - 1), mask = 2 * half - 1;
    const uint64_t low = ((uint64_t)1 << 2 * DIGIT_BITS) - 1;
    const uint64_t sign = (uint64_t)1 << 63;
    for (size_t i = 0; i < n; i++) {
        /* Half a digit is added to the lower ones and taken off again, so that they become signed and their
         * carry goes up; the sign bit is turned for the same purpose. */
        const uint64_t u = (uint64_t)a[i] ^ sign;
        const uint64_t lower = (u & low) + half + (half << DIGIT_BITS);
        digit[i] = whole(lower & mask, (double)half);
        digit[i + stride] = whole(lower >> DIGIT_BITS & mask, (double)half);
        digit[i + 2 * stride] = whole((u >> 2 * DIGIT_BITS) + (lower >> 2 * DIGIT_BITS), 0x1p21);
    }
}

/* c [columns] = or += the four sums with their weights; each sum is below 2^53, so nothing overflows 128
 * bits. */
static void combine(struct ring_wide c, const double *restrict sums, size_t plane, size_t columns, bool add)
{
    for (size_t i = 0; i < columns; i++) {
        const ring_i128 low = (int64_t)sums[i] + (ring_i128)(int64_t)sums[i + plane] * (1 << DIGIT_BITS);
        const ring_i128 high =
            (int64_t)sums[i + 2 * plane] + (ring_i128)(int64_t)sums[i + 3 * plane] * (1 << DIGIT_BITS);
        const ring_u128 value = (ring_u128)low + ((ring_u128)high << 2 * DIGIT_BITS);
        if (add)
            ring_wide_add(c, i, value);
        else
            ring_wide_set(c, i, value);
    }
}

/* The block of C at [row..row + rows)[column..column + columns): adds the inner dimension from first on. a is
 * [rows][DIGITS * depth]. */
static void block(const struct product *p, const struct workspace *own, const double *a, size_t row,
                  size_t rows, size_t column, size_t columns, size_t first, size_t depth)
{
    const size_t plane = rows * columns;
    for (size_t i = 0; i < depth; i++)
        split(own->b + ((DIGITS - 1) * depth + i) * columns, -(ptrdiff_t)(depth * columns),
              p->b + (first + i) * p->n + column, columns);
    for (size_t s = 0; s < SUMS; s++) {
        const size_t first_a = s < DIGITS ? 0 : s - (DIGITS - 1);
        const size_t first_b = s < DIGITS ? DIGITS - 1 - s : 0;
        const size_t pairs = DIGITS - first_a - first_b;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)columns,
                    (blasint)(pairs * depth), 1.0, a + first_a * depth, (blasint)(DIGITS * depth),
                    own->b + first_b * depth * columns, (blasint)columns, 0.0, own->sums + s * plane,
                    (blasint)columns);
    }
    const bool add = p->mode == RING_GEMM_ADD || first != 0;
    for (size_t i = 0; i < rows; i++)
        combine(ring_wide_at(p->c, (row + i) * p->ldc + column), own->sums + i * columns, plane, columns,
                add);
}

/* Adds the inner dimension first..first + depth to all of C. a: [m][DIGITS * depth], to be filled; work: one
 * workspace a thread. */
static void slice(const struct product *p, double *a, const struct workspace *work, int threads, size_t first,
                  size_t depth)
{
    const size_t row_blocks = gemm_blocks(p->m, HEIGHT), column_blocks = gemm_blocks(p->n, p->width);
    (void)threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (size_t row = 0; row < p->m; row++)
            split(a + row * DIGITS * depth, (ptrdiff_t)depth, p->a + row * p->lda + first, depth);
#ifdef _OPENMP
        const struct workspace *own = work + omp_get_thread_num();
#else
        const struct workspace *own = work;
#endif
#pragma omp for schedule(dynamic)
        for (size_t unit = 0; unit < row_blocks * column_blocks; unit++) {
            const size_t row = unit / column_blocks * HEIGHT, column = unit % column_blocks * p->width;
            block(p, own, a + row * DIGITS * depth, row, gemm_min(HEIGHT, p->m - row), column,
                  gemm_min(p->width, p->n - column), first, depth);
        }
    }
}

/* Columns of a block: all of WIDTH if that gives every thread some, else an even part of whole cache lines.
 */
static size_t block_width(size_t m, size_t n, int threads)
{
    const size_t wanted = gemm_blocks((size_t)threads, gemm_blocks(m, HEIGHT));
    const size_t even = gemm_blocks(n, gemm_blocks(n, WIDTH) < wanted ? wanted : gemm_blocks(n, WIDTH));
    return gemm_min(gemm_blocks(even, 8) * 8, n);
}

enum status gemm_portable_multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                                   const struct ring_gemm_matrix *b, enum ring_gemm_mode mode, size_t most)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, keep_blas_single);
    const int threads = gemm_threads((double)m * (double)b->k * (double)b->n / PRODUCTS_A_THREAD);
    const struct product p = {c, ldc, m, b->k, b->n, a, b->data, lda, mode, block_width(m, b->n, threads)};
    const size_t slices = gemm_blocks(p.k, most), depth = gemm_blocks(p.k, slices);
    const size_t a_size = DIGITS * m * depth, b_size = DIGITS * depth * p.width;
    const size_t sums_size = SUMS * gemm_min(m, HEIGHT) * p.width;
    double *scratch = gemm_scratch((a_size + (size_t)threads * (b_size + sums_size)) * sizeof(double));
    struct workspace work[GEMM_THREADS];
    if (scratch == NULL)
        return status_fail(STATUS_MEMORY, "no memory to multiply %zu x %zu by %zu x %zu", m, p.k, p.k, p.n);
    for (int i = 0; i < threads; i++) {
        work[i].b = scratch + a_size + (size_t)i * (b_size + sums_size);
        work[i].sums = work[i].b + b_size;
    }
    for (size_t first = 0; first < p.k; first += depth)
        slice(&p, scratch, work, threads, first, gemm_min(depth, p.k - first));
    return STATUS_OK;
}

static enum status multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                            struct gemm_progress *progress)
{
    (void)progress; /* parts of C may wait for the end: products take nearly all of the time here */
    return gemm_portable_multiply(c, ldc, m, a, lda, b, mode, DEPTH);
}

const struct gemm_kernel gemm_portable = {.name = "portable",
                                          .available = available,
                                          .bytes = gemm_plain_bytes,
                                          .pack = gemm_plain_pack,
                                          .multiply = multiply};
