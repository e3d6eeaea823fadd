/* Kernels whose instructions are emulated, against the plain loops: they are no kernels of the library's, and packed here. */
#ifndef TREFOIL_TESTS_RING_GEMM_EMULATED_H
#define TREFOIL_TESTS_RING_GEMM_EMULATED_H

#include <check.h>

#include "ring/gemm_kernel.h"

/* For a suite of the name: its tests, with the kernel; 0 if all of them passed. */
int run_emulated(const struct gemm_kernel *kernel, const char *name);

#endif
