/* Loops that the compiler can vectorise, built for several processors and chosen when the program starts.
 *
 * RING_CLONES in front of a function: on x86-64 with GNU toolchains it is compiled for the baseline, for AVX2 and for AVX-512,
 * and the dynamic linker picks one. Integers only: all of them give the same results. */
#ifndef TREFOIL_RING_CLONES_H
#define TREFOIL_RING_CLONES_H

#include <config.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) && !defined(TREFOIL_SANITIZER)
#define RING_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RING_CLONES
#endif

#endif
