#include "parties/rates.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "parties/gemm_rates.h"

#define SHAPES_MAX 32

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

struct shape {
    size_t m, k, n;
    uint64_t times;
    struct gemm_rates rates;
};

struct shapes {
    struct shape shape[SHAPES_MAX];
    size_t count;
};

static void find_shapes(struct shapes *all, const struct schedule *s)
{
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        if (g->kind != GATE_LINEAR)
            continue;
        const struct tensor *x = &s->tensor[g->x], *y = &s->tensor[g->out];
        size_t at = 0;
        while (at < all->count &&
               (all->shape[at].m != x->rows || all->shape[at].k != x->cols || all->shape[at].n != y->cols))
            at++;
        if (at == SHAPES_MAX)
            continue;
        if (at == all->count)
            all->shape[all->count++] = (struct shape){.m = x->rows, .k = x->cols, .n = y->cols};
        all->shape[at].times++;
    }
}

/* ---- the report ---- */

static void add_entry(json_t *list, const struct shape *s, const char *kernel, double rate, double fraction,
                      double alone)
{
    char text[80];
    snprintf(text, sizeof text, "%zux%zux%zu", s->m, s->k, s->n);
    json_t *entry =
        json_pack("{s:s, s:s, s:I, s:f, s:o}", "kernel", kernel, "shape", text, "times", (json_int_t)s->times,
                  "gmacs", rate / 1e9, "peak_fraction", fraction > 0 ? json_real(fraction) : json_null());
    if (alone > 0)
        json_object_set_new(entry, "alone_peak_fraction", json_real(alone));
    json_array_append_new(list, entry);
}

static json_t *gemm_new(const struct shapes *all)
{
    json_t *list = json_array();
    for (size_t i = 0; i < all->count; i++) {
        const struct shape *s = &all->shape[i];
        const struct gemm_rates *r = &s->rates;
        for (int kernel = RING_GEMM_KERNELS - 1; kernel > RING_GEMM_AUTO; kernel--)
            if (r->ring[kernel] > 0)
                add_entry(list, s, ring_gemm_name((enum ring_gemm_kernel)kernel), r->ring[kernel], r->of_peak[kernel],
                          r->peak_alone[kernel] > 0 ? r->ring[kernel] / r->peak_alone[kernel] : 0);
        add_entry(list, s, "sgemm", r->sgemm, 0, 0);
        add_entry(list, s, "dgemm", r->dgemm, 0, 0);
    }
    return list;
}

/* number: of what the unit multiplies. */
static json_t *unit_new(const struct shapes *all, enum ring_gemm_kernel kernel, const char *number)
{
    double beside[SHAPES_MAX], alone[SHAPES_MAX];
    for (size_t i = 0; i < all->count; i++) {
        beside[i] = all->shape[i].rates.peak_beside[kernel];
        alone[i] = all->shape[i].rates.peak_alone[kernel];
    }
    const double peak = rates_median(beside, all->count);
    const double products = gemm_rates_products(kernel) / 1e9;
    json_t *unit = json_pack("{s:b, s:f}", "available", ring_gemm_available(kernel), "ring_gmacs", peak / 1e9);
    char name[40];
    snprintf(name, sizeof name, "%s_gmacs", number);
    json_object_set_new(unit, name, json_real(peak * products));
    snprintf(name, sizeof name, "alone_%s_gmacs", number);
    json_object_set_new(unit, name, json_real(rates_median(alone, all->count) * products));
    return unit;
}

/* What SGEMM would need for all static products, as one rate. */
static double sgemm_rate(const struct shapes *all)
{
    double products = 0, seconds = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct shape *s = &all->shape[i];
        const double these = (double)s->m * (double)s->k * (double)s->n * (double)s->times;
        products += these;
        seconds += these / s->rates.sgemm;
    }
    return seconds > 0 ? products / seconds : 0;
}

enum status rates_measure(json_t *report, const struct schedule *schedule, int threads, int turns)
{
    struct shapes all = {.count = 0};
    find_shapes(&all, schedule);
    for (size_t i = 0; i < all.count; i++) {
        struct shape *s = &all.shape[i];
        const enum status status = gemm_rates_measure(&s->rates, s->m, s->k, s->n, threads, turns);
        if (status != STATUS_OK)
            return status;
    }
    json_object_set_new(report, "amx", unit_new(&all, RING_GEMM_AMX, "byte"));
    json_object_set_new(report, "vnni", unit_new(&all, RING_GEMM_VNNI, "byte"));
    json_object_set_new(report, "avx2", unit_new(&all, RING_GEMM_AVX2, "word"));
    json_object_set_new(report, "sgemm_gmacs", json_real(sgemm_rate(&all) / 1e9));
    json_object_set_new(report, "gemm", gemm_new(&all));
    return STATUS_OK;
}
