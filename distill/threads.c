#include <cblas.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "distill/gemm.h"
#include "distill/half.h"

static int count;
static bool half;

void distill_threads_set(int threads)
{
#ifdef _OPENMP
    count = threads > 0 ? threads : omp_get_max_threads();
    omp_set_num_threads(count);
#else
    (void)threads;
    count = 1;
#endif
    openblas_set_num_threads(1);
}

int distill_threads(void)
{
    if (count == 0)
        distill_threads_set(0);
    return count;
}

bool distill_half_set(bool on)
{
    bool before = half;
    half = on && distill_half_available();
    return before;
}

bool distill_half(void)
{
    return half;
}
