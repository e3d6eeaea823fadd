/* How many threads the kernels use in the calling thread. Builds with the thread sanitizer have no OpenMP: its runtime is not
 * instrumented. */
#ifndef TREFOIL_RING_THREADS_H
#define TREFOIL_RING_THREADS_H

#ifdef _OPENMP
#include <omp.h>
#endif

static inline void threads_set(int count)
{
#ifdef _OPENMP
    omp_set_num_threads(count > 0 ? count : 1);
#else
    (void)count;
#endif
}

#endif
