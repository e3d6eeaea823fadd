/* Rates of the ring GEMM: bench_gemm [THREADS [TURNS [MxKxN ...]]] */
#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "parties/gemm_rates.h"

static enum status print(size_t m, size_t k, size_t n, int threads, int turns)
{
    struct gemm_rates rates;
    const enum status status = gemm_rates_measure(&rates, m, k, n, threads, turns);
    if (status != STATUS_OK)
        return status;
    char shape[80];
    snprintf(shape, sizeof shape, "%zux%zux%zu", m, k, n);
    printf("%-15s", shape);
    for (int kernel = RING_GEMM_KERNELS - 1; kernel > RING_GEMM_AUTO; kernel--)
        printf("  %8.2f %6.1f %5.2f", rates.ring[kernel] / 1e9, rates.peak_beside[kernel] / 1e9,
               rates.of_peak[kernel]);
    printf("  %7.1f %7.1f\n", rates.dgemm / 1e9, rates.sgemm / 1e9);
    return STATUS_OK;
}

int main(int count, char **argument)
{
    static const size_t shapes[][3] = {{128, 768, 768}, {128, 768, 3072}, {128, 3072, 768}, {512, 768, 3072},
                                       {128, 64, 128},  {128, 128, 64},   {128, 384, 1536}, {1, 768, 768}};
    const int threads = count > 1 ? atoi(argument[1]) : 1, turns = count > 2 ? atoi(argument[2]) : 21;
    enum status status = STATUS_OK;
    if (threads < 1 || turns < 1 || turns > GEMM_RATES_TURNS || sodium_init() < 0) {
        fprintf(stderr, "usage: bench_gemm [THREADS [TURNS [MxKxN ...]]]; at most %d turns\n",
                GEMM_RATES_TURNS);
        return EXIT_FAILURE;
    }
    printf("G multiply-adds a second, %d thread%s, medians of %d turns; of kernels also the peak beside them "
           "(byte products / 49 and / 17,\n"
           "word products / 10, DGEMM / 8), and what they reach of it\n%-15s",
           threads, threads == 1 ? "" : "s", turns, "shape");
    for (int kernel = RING_GEMM_KERNELS - 1; kernel > RING_GEMM_AUTO; kernel--)
        printf("  %8s %6s %5s", ring_gemm_name((enum ring_gemm_kernel)kernel), "peak", "of");
    printf("  %7s %7s\n", "dgemm", "sgemm");
    for (size_t i = 0; status == STATUS_OK && count <= 3 && i < sizeof shapes / sizeof *shapes; i++)
        status = print(shapes[i][0], shapes[i][1], shapes[i][2], threads, turns);
    for (int i = 3; status == STATUS_OK && i < count; i++) {
        size_t m, k, n;
        if (sscanf(argument[i], "%zux%zux%zu", &m, &k, &n) != 3 || m == 0 || k == 0 || n == 0) {
            fprintf(stderr, "not a shape: %s; write 128x768x3072\n", argument[i]);
            return EXIT_FAILURE;
        }
        status = print(m, k, n, threads, turns);
    }
    if (status != STATUS_OK)
        fprintf(stderr, "%s\n", status_message());
    return status == STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
