#include "parties/rates.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "layers/wide_array.h"
#include "ring/gemm.h"
#include "ring/parameters.h"
#include "ring/threads.h"

#define SHAPES_MAX 32
#define PEAK_SECONDS 0.05
#define LEAST_SECONDS 0.05             /* of one measurement */
#define RIGHT_BYTES ((size_t)64 << 20) /* of right operands that take turns */
#define RIGHT_MOST 32

double rates_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double rates_median(double *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- shapes ---- */

struct shape_rates {
    size_t m, k, n;
    uint64_t times;
    double *rate[4], *fraction[4]; /* by kernel: one a run, multiply-adds a second; of the peak */
};

enum { AMX, PORTABLE, SGEMM, DGEMM, KERNELS, SGEMM_TRANSPOSED = KERNELS };
static const char *const kernel_name[KERNELS] = {"amx", "portable", "sgemm", "dgemm"};

struct rates {
    struct shape_rates shape[SHAPES_MAX];
    size_t shapes;
    double *peak; /* one a shape and run */
    int threads, runs;
};

static double shape_products(const struct shape_rates *s)
{
    return (double)s->m * (double)s->k * (double)s->n;
}

static enum status find_shapes(struct rates *r, const struct schedule *s)
{
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        if (g->kind != GATE_LINEAR)
            continue;
        const struct tensor *x = &s->tensor[g->x], *y = &s->tensor[g->out];
        size_t at = 0;
        while (at < r->shapes &&
               (r->shape[at].m != x->rows || r->shape[at].k != x->cols || r->shape[at].n != y->cols))
            at++;
        if (at == SHAPES_MAX)
            continue;
        if (at == r->shapes)
            r->shape[r->shapes++] = (struct shape_rates){.m = x->rows, .k = x->cols, .n = y->cols};
        r->shape[at].times++;
    }
    r->peak = calloc(r->shapes * (size_t)r->runs + 1, sizeof *r->peak);
    bool good = r->peak != NULL;
    for (size_t i = 0; i < r->shapes; i++)
        for (int kernel = 0; kernel < KERNELS; kernel++) {
            r->shape[i].rate[kernel] = calloc((size_t)r->runs, sizeof(double));
            r->shape[i].fraction[kernel] = calloc((size_t)r->runs, sizeof(double));
            good = good && r->shape[i].rate[kernel] && r->shape[i].fraction[kernel];
        }
    return good ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for measurements");
}

static void rates_clear(struct rates *r)
{
    for (size_t i = 0; i < r->shapes; i++)
        for (int kernel = 0; kernel < KERNELS; kernel++) {
            free(r->shape[i].rate[kernel]);
            free(r->shape[i].fraction[kernel]);
        }
    free(r->peak);
}

/* ---- operands of one shape ---- */

struct operands {
    size_t rights;
    int64_t *a;
    struct ring_wide c;
    void *c_data;
    struct ring_gemm_matrix *packed[2][RIGHT_MOST]; /* amx, portable */
    float *a_single, *b_single, *c_single;
    double *a_double, *b_double, *c_double;
};

static void operands_clear(struct operands *o)
{
    for (size_t i = 0; i < RIGHT_MOST; i++) {
        ring_gemm_close(&o->packed[AMX][i]);
        ring_gemm_close(&o->packed[PORTABLE][i]);
    }
    free(o->a);
    free(o->c_data);
    free(o->a_single);
    free(o->b_single);
    free(o->c_single);
    free(o->a_double);
    free(o->b_double);
    free(o->c_double);
}

static enum status pack_rights(struct operands *o, const struct shape_rates *s)
{
    static const enum ring_gemm_kernel kernel[2] = {[AMX] = RING_GEMM_AMX, [PORTABLE] = RING_GEMM_PORTABLE};
    int64_t *b = malloc(s->k * s->n * sizeof *b);
    enum status status = b ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for measurements");
    for (size_t i = 0; status == STATUS_OK && i < o->rights; i++) {
        randombytes_buf(b, s->k * s->n * sizeof *b);
        for (int j = 0; status == STATUS_OK && j < 2; j++)
            if (ring_gemm_available(kernel[j]))
                status = ring_gemm_pack(&o->packed[j][i], kernel[j], s->k, s->n, b, s->n, false);
    }
    free(b);
    return status;
}

static enum status operands_init(struct operands *o, const struct shape_rates *s)
{
    const size_t left = s->m * s->k, right = s->k * s->n, out = s->m * s->n;
    memset(o, 0, sizeof *o);
    o->rights = RIGHT_BYTES / (right * sizeof(int64_t)) + 1;
    if (o->rights > RIGHT_MOST)
        o->rights = RIGHT_MOST;
    o->a = malloc(left * sizeof *o->a);
    o->c_data = calloc(out, RING_PRODUCT_BYTES);
    o->a_single = malloc(left * sizeof *o->a_single);
    o->b_single = malloc(o->rights * right * sizeof *o->b_single);
    o->c_single = calloc(out, sizeof *o->c_single);
    o->a_double = malloc(left * sizeof *o->a_double);
    o->b_double = malloc(o->rights * right * sizeof *o->b_double);
    o->c_double = calloc(out, sizeof *o->c_double);
    if (!o->a || !o->c_data || !o->a_single || !o->b_single || !o->c_single || !o->a_double || !o->b_double ||
        !o->c_double)
        return status_fail(STATUS_MEMORY, "out of memory for measurements");
    o->c = wide_view(o->c_data, out);
    randombytes_buf(o->a, left * sizeof *o->a);
    for (size_t i = 0; i < left; i++)
        o->a_single[i] = (float)(o->a_double[i] = (double)(o->a[i] >> 40));
    for (size_t i = 0; i < o->rights * right; i++)
        o->b_single[i] = (float)(o->b_double[i] = (double)(i * 2654435761u % 1999) / 999 - 1);
    return pack_rights(o, s);
}

/* ---- one run ---- */

static enum status multiply(struct operands *o, const struct shape_rates *s, int kernel, size_t right)
{
    const int m = (int)s->m, k = (int)s->k, n = (int)s->n;
    if (kernel == SGEMM)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0f, o->a_single, k,
                    o->b_single + right * s->k * s->n, n, 0.0f, o->c_single, n);
    else if (kernel == SGEMM_TRANSPOSED)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, o->a_single, k,
                    o->b_single + right * s->k * s->n, k, 0.0f, o->c_single, n);
    else if (kernel == DGEMM)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0, o->a_double, k,
                    o->b_double + right * s->k * s->n, n, 0.0, o->c_double, n);
    else
        return ring_gemm(o->c, s->n, s->m, o->a, s->k, o->packed[kernel][right], RING_GEMM_SET);
    return STATUS_OK;
}

/* Multiply-adds a second. */
static enum status measure(double *rate, struct operands *o, const struct shape_rates *s, int kernel,
                           int threads)
{
    openblas_set_num_threads(kernel >= SGEMM ? threads : 1);
    enum status status = multiply(o, s, kernel, 0);
    size_t count = 0;
    double spent = 0;
    for (const double start = rates_seconds(); status == STATUS_OK && spent < LEAST_SECONDS; count++) {
        status = multiply(o, s, kernel, (count + 1) % o->rights);
        spent = rates_seconds() - start;
    }
    openblas_set_num_threads(1);
    *rate = spent > 0 ? (double)count * shape_products(s) / spent : 0;
    return status;
}

static double measure_peak(int threads)
{
    double sum = 0;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) reduction(+ : sum)
#endif
    sum += ring_gemm_peak(PEAK_SECONDS);
    return sum;
}

static enum status measure_shape(struct rates *r, size_t number)
{
    struct shape_rates *s = &r->shape[number];
    struct operands o;
    enum status status = operands_init(&o, s);
    for (int run = 0; status == STATUS_OK && run < r->runs; run++) {
        const double peak = r->peak[number * (size_t)r->runs + (size_t)run] = measure_peak(r->threads);
        for (int kernel = 0; status == STATUS_OK && kernel < KERNELS; kernel++)
            if (kernel != AMX || ring_gemm_available(RING_GEMM_AMX))
                status = measure(&s->rate[kernel][run], &o, s, kernel, r->threads);
        double transposed = 0; /* the better one counts */
        if (status == STATUS_OK)
            status = measure(&transposed, &o, s, SGEMM_TRANSPOSED, r->threads);
        if (transposed > s->rate[SGEMM][run])
            s->rate[SGEMM][run] = transposed;
        s->fraction[AMX][run] = peak > 0 ? s->rate[AMX][run] * RATES_LIMB_PRODUCTS / peak : 0;
        s->fraction[PORTABLE][run] = s->rate[PORTABLE][run] * RATES_PORTABLE_PRODUCTS / s->rate[DGEMM][run];
    }
    operands_clear(&o);
    return status;
}

/* ---- the report ---- */

static json_t *gemm_new(struct rates *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->shapes; i++)
        for (int kernel = 0; kernel < KERNELS; kernel++) {
            struct shape_rates *s = &r->shape[i];
            char shape[80];
            if (kernel == AMX && !ring_gemm_available(RING_GEMM_AMX))
                continue;
            snprintf(shape, sizeof shape, "%zux%zux%zu", s->m, s->k, s->n);
            const double rate = rates_median(s->rate[kernel], (size_t)r->runs);
            const double fraction = rates_median(s->fraction[kernel], (size_t)r->runs);
            json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:f, s:o}", "kernel", kernel_name[kernel],
                                                  "shape", shape, "times", (json_int_t)s->times, "gmacs",
                                                  rate / 1e9, "peak_fraction",
                                                  kernel < SGEMM ? json_real(fraction) : json_null()));
        }
    return list;
}

/* What SGEMM would need for all static products, as one rate. */
static double sgemm_rate(struct rates *r)
{
    double products = 0, seconds = 0;
    for (size_t i = 0; i < r->shapes; i++) {
        const double all = shape_products(&r->shape[i]) * (double)r->shape[i].times;
        products += all;
        seconds += all / rates_median(r->shape[i].rate[SGEMM], (size_t)r->runs);
    }
    return seconds > 0 ? products / seconds : 0;
}

enum status rates_measure(json_t *report, const struct schedule *schedule, int threads, int runs)
{
    struct rates r = {.threads = threads, .runs = runs};
    threads_set(threads);
    enum status status = find_shapes(&r, schedule);
    for (size_t i = 0; status == STATUS_OK && i < r.shapes; i++)
        status = measure_shape(&r, i);
    if (status == STATUS_OK) {
        const double peak = rates_median(r.peak, r.shapes * (size_t)runs);
        json_object_set_new(report, "amx",
                            json_pack("{s:b, s:f, s:f}", "available", ring_gemm_available(RING_GEMM_AMX),
                                      "byte_gmacs", peak / 1e9, "ring_gmacs",
                                      peak / RATES_LIMB_PRODUCTS / 1e9));
        json_object_set_new(report, "sgemm_gmacs", json_real(sgemm_rate(&r) / 1e9));
        json_object_set_new(report, "gemm", gemm_new(&r));
    }
    rates_clear(&r);
    return status;
}
