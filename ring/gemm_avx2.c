/* The AVX2 kernel: when it can run, and what it is made of. gemm_avx2.h explains the arithmetic. */
#include "ring/gemm_avx2.h"

#ifdef GEMM_AVX2

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static const struct gemm_residue residue = {.moduli = AVX2_MODULI,
                                            .step = AVX2_STEP,
                                            .rows = AVX2_ROWS,
                                            .vector = AVX2_VECTOR,
                                            .panel = AVX2_PANEL,
                                            .together = 4,
                                            .chunk = AVX2_CHUNK,
                                            .plain = 5,
                                            .products_a_thread = 2e5,
                                            .constants = gemm_avx2_constants,
                                            .pack_rows = gemm_avx2_pack_rows,
                                            .pack_columns = gemm_avx2_pack_columns,
                                            .multiply = gemm_avx2_multiply,
                                            .combine = gemm_avx2_combine};

const struct gemm_kernel gemm_avx2 = {.name = "avx2",
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

const struct gemm_kernel gemm_avx2 = {.name = "avx2", .available = available};

#endif
