/* How fast this machine multiplies: the ring GEMM of each kernel beside SGEMM and DGEMM at the shapes of a
 * schedule's static products, and the most its AMX units can do. */
#ifndef TREFOIL_PARTIES_RATES_H
#define TREFOIL_PARTIES_RATES_H

#include <jansson.h>

#include "layers/schedule.h"

#define RATES_LIMB_PRODUCTS 49    /* byte products of one ring product */
#define RATES_PORTABLE_PRODUCTS 8 /* products of doubles of one ring product */

/* Adds to report:
 *     "amx": {"available", "byte_gmacs", "ring_gmacs"}      medians over all runs; the second is the first /
 * 49 "gemm": [{"kernel", "shape": "128x768x3072", "times": products of this shape in the schedule, "gmacs",
 *               "peak_fraction": of ring_gmacs (amx), of DGEMM / 8 (portable), null otherwise}]
 *     "sgemm_gmacs": over all static products of the schedule, each as often as it occurs
 * A run measures everything once, one kernel right after the other, since clocks move with the load; medians
 * of runs. Peaks are compared within a run. SGEMM takes its right operand as it lies or transposed, whichever
 * is faster. Operands are random, right ones so many that they do not stay in the inner caches. OpenBLAS is
 * left with one thread. */
STATUS_MUST_USE enum status rates_measure(json_t *report, const struct schedule *schedule, int threads,
                                          int runs);

/* The middle one of count values, which are sorted; the mean of two. */
double rates_median(double *values, size_t count);
double rates_seconds(void);

#endif
