/* The VNNI kernel on processors without AVX-512: its own code, with the instructions done by loops
 * (tests/ring/emulated/immintrin.h). Beside test_gemm, which runs the real ones where they are. */
#include "config.h"

#ifdef __x86_64__ /* for other processors there is no such kernel, and no such header */
#include <immintrin.h>
#endif

#include "ring/gemm_vnni.h"

#if defined GEMM_VNNI && defined EMULATED_AVX512

/* Nothing of it may become an instruction that this processor lacks. */
#undef GEMM_VNNI_TARGET
#define GEMM_VNNI_TARGET
#define NARROW_AVX512 static inline
#define __builtin_cpu_supports(feature) 1

/* The library has these names already. (Its constants will do.) */
#define gemm_vnni emulated
#define gemm_vnni_pack_rows emulated_pack_rows
#define gemm_vnni_pack_columns emulated_pack_columns
#define gemm_vnni_multiply emulated_multiply
#define gemm_vnni_combine emulated_combine
extern const struct gemm_kernel emulated;
void emulated_pack_rows(int8_t *, const struct gemm_vnni_constants *, size_t, size_t, const int64_t *, size_t,
                        size_t, size_t);
void emulated_pack_columns(uint8_t *, const struct gemm_vnni_constants *, size_t, size_t, size_t,
                           const int64_t *, size_t, size_t, size_t, bool);
void emulated_multiply(int32_t *, size_t, size_t, const int8_t *, const uint8_t *, size_t);
void emulated_combine(struct ring_wide, const struct gemm_vnni_constants *, const int32_t *, size_t, bool,
                      const struct ring_narrow *);

#define multiply multiply_tile /* two files have functions of these names */
#include "ring/gemm_vnni_tile.c"
#undef multiply
#define combine combine_row
#include "ring/gemm_vnni_combine.c"
#undef combine
#include "ring/gemm_vnni_pack.c"
#include "ring/gemm_vnni.c"

#include "tests/ring/gemm_emulated.h"

int main(void)
{
    return run_emulated(&emulated, "gemm_vnni");
}

#else

int main(void)
{
    return 77; /* SIMDe is not there */
}

#endif
