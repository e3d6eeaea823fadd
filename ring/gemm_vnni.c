/* The VNNI kernel: when it can run, and what it is made of. gemm_vnni.h explains the arithmetic. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

static bool available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static const struct residue_constants *constants(bool masked)
{
    return &gemm_vnni_constants(masked)->all;
}

/* The constants are the first member of the kernel's. */
static const struct gemm_vnni_constants *own(const struct residue_constants *all)
{
    return (const struct gemm_vnni_constants *)(const void *)all;
}

static void pack_rows(void *out, const struct residue_constants *all, size_t plane, size_t steps,
                      const int64_t *a, size_t lda, size_t rows, size_t depth)
{
    gemm_vnni_pack_rows(out, own(all), plane, steps, a, lda, rows, depth);
}

static void pack_columns(void *out, const struct residue_constants *all, size_t width, size_t first,
                         size_t steps, const int64_t *b, size_t ldb, size_t columns, size_t depth,
                         bool transposed)
{
    gemm_vnni_pack_columns(out, own(all), width, first, steps, b, ldb, columns, depth, transposed);
}

/* There is one chunk: sums of a slice fit 32 bits. */
static void multiply(int32_t *sums, size_t stride, size_t width, const void *a, const void *b, size_t steps,
                     const struct residue_constants *all, size_t i, bool first)
{
    (void)all, (void)i, (void)first;
    gemm_vnni_multiply(sums, stride, width, a, b, 2 * steps);
}

static void combine(struct ring_wide c, const struct residue_constants *all, const int32_t *sums,
                    size_t columns, bool add, const struct ring_narrow *end)
{
    gemm_vnni_combine(c, own(all), sums, columns, add, end);
}

static const struct gemm_residue residue = {.moduli = MODULI,
                                            .step = VNNI_STEP,
                                            .rows = ROWS,
                                            .vector = VECTOR,
                                            .panel = PANEL,
                                            .together = 1,
                                            .chunk = RESIDUE_DEPTH / VNNI_STEP,
                                            .products_a_thread = 3e5,
                                            .constants = constants,
                                            .pack_rows = pack_rows,
                                            .pack_columns = pack_columns,
                                            .multiply = multiply,
                                            .combine = combine};

const struct gemm_kernel gemm_vnni = {.name = "vnni",
                                      .available = available,
                                      .bytes = gemm_residue_bytes,
                                      .pack = gemm_residue_pack,
                                      .multiply = gemm_residue_multiply,
                                      .narrows = true,
                                      .residue = &residue};

#else

static bool available(void)
{
    return false;
}

const struct gemm_kernel gemm_vnni = {.name = "vnni", .available = available};

#endif
