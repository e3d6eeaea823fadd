/* How fast this machine multiplies at the shapes of a schedule's static products (parties/gemm_rates.h), as a report; and the
 * clock and the median that all measurements share. */
#ifndef TREFOIL_PARTIES_RATES_H
#define TREFOIL_PARTIES_RATES_H

#include <jansson.h>

#include "layers/schedule.h"

/* Adds to report:
 *     "amx", "vnni": {"available", "byte_gmacs", "ring_gmacs", "alone_byte_gmacs"}
 *            the peak of byte products between the kernel's runs, at the clock that they leave; by 49 (amx) or 17 (vnni); and alone
 *     "avx2": the same of words, "word_gmacs" and "alone_word_gmacs", by 10
 *     "gemm": [{"kernel": "amx", "vnni", "avx2", "portable", "sgemm" or "dgemm", "shape": "128x768x3072", "times": products of this shape in
 *             the schedule, "gmacs", "peak_fraction": of ring_gmacs (amx, vnni, avx2), of DGEMM / 8 (portable), null otherwise,
 *             "alone_peak_fraction": of the peak alone (the same)}]
 *     "sgemm_gmacs": over all static products of the schedule, each as often as it occurs
 * turns: of each measurement at each shape. */
STATUS_MUST_USE enum status rates_measure(json_t *report, const struct schedule *schedule, int threads, int turns);

/* The middle one of count values, which are sorted; the mean of two. */
double rates_median(double *values, size_t count);

#endif
