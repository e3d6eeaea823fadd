#include "parties/gemm_rates.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cblas.h>
#include <sodium.h>

#include "parties/rates.h"
#include "ring/pool.h"
#include "ring/threads.h"

#define COLD_BYTES ((size_t)128 << 20) /* of weights that take turns */
#define WEIGHTS_MOST 64
#define SLICE_SECONDS 0.0001
#define ALONE_SECONDS 0.1
#define LEAST_SECONDS 0.002 /* of a turn: small products are repeated */

enum { SGEMM = RING_GEMM_KERNELS, SGEMM_TRANSPOSED, DGEMM, WAYS };

struct operands {
    size_t m, k, n, weights;
    int threads;
    int64_t *a;
    struct ring_wide c;
    struct ring_gemm_matrix *packed[RING_GEMM_KERNELS][WEIGHTS_MOST];
    float *a_single, *b_single, *c_single;
    double *a_double, *b_double, *c_double;
};

/* One thread's own time: what other programs take of the processor does not count. */
static double seconds_now(int threads)
{
    struct timespec now;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void clear(struct operands *o)
{
    const size_t left = o->m * o->k, right = o->k * o->n * o->weights, out = o->m * o->n;
    for (int kernel = 0; kernel < RING_GEMM_KERNELS; kernel++)
        for (size_t i = 0; i < WEIGHTS_MOST; i++)
            ring_gemm_close(&o->packed[kernel][i]);
    pool_give_public(o->a, left * sizeof *o->a);
    pool_give_public(o->c.lo, out * sizeof *o->c.lo);
    pool_give_public(o->c.hi, out * sizeof *o->c.hi);
    pool_give_public(o->a_single, left * sizeof *o->a_single);
    pool_give_public(o->b_single, right * sizeof *o->b_single);
    pool_give_public(o->c_single, out * sizeof *o->c_single);
    pool_give_public(o->a_double, left * sizeof *o->a_double);
    pool_give_public(o->b_double, right * sizeof *o->b_double);
    pool_give_public(o->c_double, out * sizeof *o->c_double);
    pool_trim();
}

static enum status pack_weights(struct operands *o)
{
    int64_t *b = malloc(o->k * o->n * sizeof *b);
    enum status status = b != NULL ? STATUS_OK : status_fail(STATUS_MEMORY, "no memory for the benchmark");
    for (size_t i = 0; status == STATUS_OK && i < o->weights; i++) {
        randombytes_buf(b, o->k * o->n * sizeof *b); /* larger than masked ones: results may be wrong, and nobody looks */
        for (int kernel = RING_GEMM_AUTO + 1; status == STATUS_OK && kernel < RING_GEMM_KERNELS; kernel++)
            if (ring_gemm_available((enum ring_gemm_kernel)kernel))
                status = ring_gemm_pack_masked(&o->packed[kernel][i], (enum ring_gemm_kernel)kernel, o->k, o->n, b,
                                               o->n, false, false);
    }
    free(b);
    return status;
}

static enum status prepare(struct operands *o, size_t m, size_t k, size_t n, int threads)
{
    const size_t left = m * k, out = m * n;
    *o = (struct operands){.m = m, .k = k, .n = n, .threads = threads};
    o->weights = COLD_BYTES / (k * n * sizeof(int64_t)) + 1;
    if (o->weights > WEIGHTS_MOST)
        o->weights = WEIGHTS_MOST;
    const size_t right = k * n * o->weights;
    o->a = pool_take(left * sizeof *o->a);
    o->c.lo = pool_take_zero(out * sizeof *o->c.lo);
    o->c.hi = pool_take_zero(out * sizeof *o->c.hi);
    o->a_single = pool_take(left * sizeof *o->a_single);
    o->b_single = pool_take(right * sizeof *o->b_single);
    o->c_single = pool_take_zero(out * sizeof *o->c_single);
    o->a_double = pool_take(left * sizeof *o->a_double);
    o->b_double = pool_take(right * sizeof *o->b_double);
    o->c_double = pool_take_zero(out * sizeof *o->c_double);
    if (!o->a || !o->c.lo || !o->c.hi || !o->a_single || !o->b_single || !o->c_single || !o->a_double ||
        !o->b_double || !o->c_double)
        return status_fail(STATUS_MEMORY, "no memory for the benchmark");
    randombytes_buf(o->a, left * sizeof *o->a);
    for (size_t i = 0; i < left; i++)
        o->a_single[i] = (float)(o->a_double[i] = (double)(o->a[i] >> 43));
    for (size_t i = 0; i < right; i++)
        o->b_single[i] = (float)(o->b_double[i] = (double)(i * 2654435761u % 2000001) - 1000000);
    return pack_weights(o);
}

static enum status multiply(struct operands *o, int way, size_t weight)
{
    const int m = (int)o->m, k = (int)o->k, n = (int)o->n;
    const size_t right = weight * o->k * o->n;
    if (way == SGEMM)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, o->a_single, k,
                    o->b_single + right, n, 0, o->c_single, n);
    else if (way == SGEMM_TRANSPOSED)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, o->a_single, k, o->b_single + right,
                    k, 0, o->c_single, n);
    else if (way == DGEMM)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, o->a_double, k,
                    o->b_double + right, n, 0, o->c_double, n);
    else
        return ring_gemm(o->c, o->n, o->m, o->a, o->k, o->packed[way][weight], RING_GEMM_SET);
    return STATUS_OK;
}

/* One turn: multiply-adds a second. */
static enum status turn(double *rate, struct operands *o, int way, size_t *weight)
{
    enum status status = STATUS_OK;
    double spent = 0;
    int count = 0;
    openblas_set_num_threads(way >= SGEMM ? o->threads : 1);
    threads_set(o->threads); /* an OpenBLAS built on OpenMP has just changed it */
    for (const double start = seconds_now(o->threads); status == STATUS_OK && spent < LEAST_SECONDS;
         count++) {
        *weight = (*weight + 1) % o->weights;
        status = multiply(o, way, *weight);
        spent = seconds_now(o->threads) - start;
    }
    openblas_set_num_threads(1);
    threads_set(o->threads);
    *rate = (double)count * (double)o->m * (double)o->k * (double)o->n / spent;
    return status;
}

/* Of all threads together, in ring products. */
static double peak(enum ring_gemm_kernel kernel, int threads, double seconds)
{
    double sum = 0;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) reduction(+ : sum)
#endif
    sum += ring_gemm_peak(kernel, seconds);
    return sum / gemm_rates_products(kernel);
}

/* What was measured, a value a turn. */
struct series {
    double rate[WAYS][GEMM_RATES_TURNS], peak[RING_GEMM_KERNELS][GEMM_RATES_TURNS],
        of_peak[RING_GEMM_KERNELS][GEMM_RATES_TURNS];
};

static enum status one_turn(struct series *all, struct operands *o, int i, size_t *weight)
{
    enum status status = STATUS_OK;
    for (int way = RING_GEMM_AUTO + 1; status == STATUS_OK && way < WAYS; way++) {
        if (way < RING_GEMM_KERNELS && !ring_gemm_available((enum ring_gemm_kernel)way))
            continue;
        status = turn(&all->rate[way][i], o, way, weight);
        if (way < RING_GEMM_KERNELS)
            all->peak[way][i] = peak((enum ring_gemm_kernel)way, o->threads, SLICE_SECONDS);
    }
    all->peak[RING_GEMM_PORTABLE][i] = all->rate[DGEMM][i] / gemm_rates_products(RING_GEMM_PORTABLE);
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++)
        all->of_peak[kernel][i] = all->peak[kernel][i] > 0 ? all->rate[kernel][i] / all->peak[kernel][i] : 0;
    return status;
}

static void take_medians(struct gemm_rates *out, struct series *all, size_t turns)
{
    for (int kernel = RING_GEMM_AUTO + 1; kernel < RING_GEMM_KERNELS; kernel++) {
        out->ring[kernel] = rates_median(all->rate[kernel], turns);
        out->peak_beside[kernel] = rates_median(all->peak[kernel], turns);
        out->of_peak[kernel] = rates_median(all->of_peak[kernel], turns);
    }
    const double plain = rates_median(all->rate[SGEMM], turns);
    const double transposed = rates_median(all->rate[SGEMM_TRANSPOSED], turns);
    out->sgemm = plain > transposed ? plain : transposed;
    out->dgemm = rates_median(all->rate[DGEMM], turns);
}

enum status gemm_rates_measure(struct gemm_rates *out, size_t m, size_t k, size_t n, int threads, int turns)
{
    size_t weight = 0;
    struct operands o;
    threads_set(threads);
    enum status status = prepare(&o, m, k, n, threads);
    struct series *all = calloc(1, sizeof *all);
    *out = (struct gemm_rates){0};
    if (turns > GEMM_RATES_TURNS)
        turns = GEMM_RATES_TURNS;
    if (status == STATUS_OK && all == NULL)
        status = status_fail(STATUS_MEMORY, "no memory for the benchmark");
    for (int kernel = RING_GEMM_AUTO + 1; status == STATUS_OK && kernel < RING_GEMM_KERNELS; kernel++)
        out->peak_alone[kernel] = peak((enum ring_gemm_kernel)kernel, threads, ALONE_SECONDS);
    for (int i = 0; status == STATUS_OK && i < turns; i++)
        status = one_turn(all, &o, i, &weight);
    clear(&o);
    if (status == STATUS_OK)
        take_medians(out, all, (size_t)turns);
    free(all);
    return status;
}
