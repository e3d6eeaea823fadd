/* How good predictions are: the numbers GLUE reports, each from -1 or 0 to 1. Where one is not defined (a
 * constant prediction has no correlation) it is 0. */
#ifndef TREFOIL_MODEL_METRICS_H
#define TREFOIL_MODEL_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

enum metric { METRIC_NONE, METRIC_ACCURACY, METRIC_F1, METRIC_MATTHEWS, METRIC_PEARSON, METRIC_SPEARMAN };

/* "accuracy", "f1", "matthews", "pearson", "spearman". */
const char *metric_name(enum metric metric);

/* Classes: predicted[count], gold[count]. */
double metrics_accuracy(const uint32_t *predicted, const uint32_t *gold, size_t count);
/* Of class 1. */
double metrics_f1(const uint32_t *predicted, const uint32_t *gold, size_t count);
/* Of class 1 against all others. */
double metrics_matthews(const uint32_t *predicted, const uint32_t *gold, size_t count);

/* Numbers: predicted[count], gold[count]. */
double metrics_pearson(const float *predicted, const float *gold, size_t count);
/* Pearson of the ranks; equal values share the mean of their ranks. STATUS_MEMORY only. */
STATUS_MUST_USE enum status metrics_spearman(double *out, const float *predicted, const float *gold,
                                             size_t count);

/* The same by name; each of the first three takes classes, the others numbers. */
double metrics_of_classes(enum metric metric, const uint32_t *predicted, const uint32_t *gold, size_t count);
STATUS_MUST_USE enum status metrics_of_numbers(double *out, enum metric metric, const float *predicted,
                                               const float *gold, size_t count);
bool metric_takes_classes(enum metric metric);

/* The index of the largest of logit[count]; the first of equals. */
uint32_t metrics_argmax(const float *logit, size_t count);

#endif
