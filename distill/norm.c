#include "distill/norm.h"

#include "distill/linear.h"

#define COLUMNS 64

DISTILL_CLONES static void drop_row(real *out, const real *a, uint64_t key, uint32_t threshold, real scale,
                                    uint32_t first, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = distill_random_bits(key, first + (uint32_t)i) >= threshold ? a[i] * scale : 0;
}

void distill_dropout_apply(real *a, const struct distill_dropout *drop, size_t rows, int n)
{
    if (drop->rate <= 0)
        return;
    uint32_t threshold = distill_dropout_threshold(drop);
    real scale = (real)(1 / (1 - drop->rate));
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (size_t row = 0; row < rows; row++)
        drop_row(a + row * (size_t)n, a + row * (size_t)n, drop->key, threshold, scale,
                 (uint32_t)(row * (size_t)n), n);
}

DISTILL_CLONES static void add_rows(real *z, const real *a, const real *b, int n)
{
    for (int i = 0; i < n; i++)
        z[i] = a[i] + b[i];
}

DISTILL_CLONES static real mean_row(const real *z, int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += z[i];
    return sum / (real)n;
}

DISTILL_CLONES static real variance_row(const real *z, real mean, int n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += (z[i] - mean) * (z[i] - mean);
    return sum / (real)n;
}

DISTILL_CLONES static void scale_row(real *y, real *hat, real mean, real inverse, const real *gamma,
                                     const real *beta, int n)
{
    for (int i = 0; i < n; i++) {
        real value = (hat[i] - mean) * inverse;
        hat[i] = value;
        y[i] = value * gamma[i] + beta[i];
    }
}

void distill_norm_forward(real *y, real *hat, real *inverse, const real *a, const real *bias, const real *x,
                          const real *gamma, const real *beta, double eps, const struct distill_dropout *drop,
                          size_t rows, int n)
{
    bool dropping = drop != NULL && drop->rate > 0;
    uint32_t threshold = dropping ? distill_dropout_threshold(drop) : 0;
    real scale = dropping ? (real)(1 / (1 - drop->rate)) : 1;
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (size_t row = 0; row < rows; row++) {
        size_t at = row * (size_t)n;
        real *z = hat + at;
        const real *source = a + at;
        if (bias != NULL) {
            add_rows(z, source, bias, n);
            source = z;
        }
        if (dropping) {
            drop_row(z, source, drop->key, threshold, scale, (uint32_t)at, n);
            source = z;
        }
        if (x != NULL)
            add_rows(z, source, x + at, n);
        else if (source != z)
            for (int i = 0; i < n; i++)
                z[i] = source[i];
        real mean = mean_row(z, n);
        inverse[row] = 1 / (real)sqrt((double)variance_row(z, mean, n) + eps);
        scale_row(y + at, z, mean, inverse[row], gamma, beta, n);
    }
}

/* The two means that the gradient of a normalisation subtracts: of gamma dy, and of gamma dy hat. */
DISTILL_CLONES static void gradient_means(real *plain, real *weighted, const real *dy, const real *hat,
                                          const real *gamma, int n)
{
    real first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
    for (int i = 0; i < n; i++) {
        real g = dy[i] * gamma[i];
        first += g;
        second += g * hat[i];
    }
    *plain = first / (real)n;
    *weighted = second / (real)n;
}

DISTILL_CLONES static void gradient_row(real *dz, const real *dy, const real *hat, const real *gamma,
                                        real plain, real weighted, real inverse, int n)
{
    for (int i = 0; i < n; i++)
        dz[i] = inverse * (dy[i] * gamma[i] - plain - hat[i] * weighted);
}

/* dgamma += sum of dy hat, dbeta += sum of dy, for `width` columns. */
DISTILL_CLONES static void gradient_columns(real *dgamma, real *dbeta, const real *dy, const real *hat,
                                            size_t rows, int n, int width)
{
    real g[COLUMNS] = {0}, b[COLUMNS] = {0};
    for (size_t row = 0; row < rows; row++)
        for (int i = 0; i < width; i++) {
            real d = dy[row * (size_t)n + (size_t)i];
            b[i] += d;
            g[i] += d * hat[row * (size_t)n + (size_t)i];
        }
    for (int i = 0; i < width; i++) {
        dgamma[i] += g[i];
        dbeta[i] += b[i];
    }
}

/* d z of the price is inverse * hat times this. */
static real spread_slope(const struct distill_spread *spread, real inverse, int n)
{
    const double u = 1 / ((double)inverse * (double)inverse);
    return u > spread->limit ? (real)(4 * spread->weight * log(u / spread->limit) / n) : 0;
}

void distill_norm_backward(real *dz, real *da, real *dgamma, real *dbeta, real *dbias, const real *dy,
                           const real *hat, const real *inverse, const real *gamma,
                           const struct distill_dropout *drop, const struct distill_spread *spread,
                           size_t rows, int n)
{
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (int first = 0; first < n; first += COLUMNS)
        gradient_columns(dgamma + first, dbeta + first, dy + first, hat + first, rows, n,
                         n - first < COLUMNS ? n - first : COLUMNS);
    bool dropping = drop != NULL && drop->rate > 0;
    uint32_t threshold = dropping ? distill_dropout_threshold(drop) : 0;
    real scale = dropping ? (real)(1 / (1 - drop->rate)) : 1;
#pragma omp parallel for schedule(static) if (rows * (size_t)n >= DISTILL_PARALLEL_FROM)
    for (size_t row = 0; row < rows; row++) {
        size_t at = row * (size_t)n;
        real plain, weighted;
        gradient_means(&plain, &weighted, dy + at, hat + at, gamma, n);
        if (spread != NULL)
            weighted -= spread_slope(spread, inverse[row], n);
        gradient_row(dz + at, dy + at, hat + at, gamma, plain, weighted, inverse[row], n);
        if (da != NULL)
            drop_row(da + at, dz + at, dropping ? drop->key : 0, threshold, scale, (uint32_t)at, n);
    }
    if (dbias != NULL)
        distill_column_sum(dbias, da != NULL ? da : dz, rows, n);
}
