#include "model/metrics.h"

#include <math.h>
#include <stdlib.h>

const char *metric_name(enum metric metric)
{
    static const char *const names[] = {
        [METRIC_NONE] = "none",         [METRIC_ACCURACY] = "accuracy", [METRIC_F1] = "f1",
        [METRIC_MATTHEWS] = "matthews", [METRIC_PEARSON] = "pearson",   [METRIC_SPEARMAN] = "spearman"};
    return names[metric];
}

bool metric_takes_classes(enum metric metric)
{
    return metric == METRIC_ACCURACY || metric == METRIC_F1 || metric == METRIC_MATTHEWS;
}

double metrics_accuracy(const uint32_t *predicted, const uint32_t *gold, size_t count)
{
    size_t right = 0;
    for (size_t i = 0; i < count; i++)
        right += predicted[i] == gold[i];
    return count ? (double)right / (double)count : 0;
}

/* How often class 1 was predicted and was so, predicted but not so, missed, and neither. */
struct confusion {
    double hit, alarm, miss, calm;
};

static struct confusion confuse(const uint32_t *predicted, const uint32_t *gold, size_t count)
{
    struct confusion out = {0};
    for (size_t i = 0; i < count; i++) {
        bool is = gold[i] == 1, said = predicted[i] == 1;
        out.hit += is && said;
        out.alarm += !is && said;
        out.miss += is && !said;
        out.calm += !is && !said;
    }
    return out;
}

double metrics_f1(const uint32_t *predicted, const uint32_t *gold, size_t count)
{
    struct confusion c = confuse(predicted, gold, count);
    double sum = 2 * c.hit + c.alarm + c.miss;
    return sum > 0 ? 2 * c.hit / sum : 0;
}

double metrics_matthews(const uint32_t *predicted, const uint32_t *gold, size_t count)
{
    struct confusion c = confuse(predicted, gold, count);
    double product = (c.hit + c.alarm) * (c.hit + c.miss) * (c.calm + c.alarm) * (c.calm + c.miss);
    return product > 0 ? (c.hit * c.calm - c.alarm * c.miss) / sqrt(product) : 0;
}

double metrics_pearson(const float *predicted, const float *gold, size_t count)
{
    double n = (double)count, mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < count; i++) {
        mean_x += (double)predicted[i] / n;
        mean_y += (double)gold[i] / n;
    }
    for (size_t i = 0; i < count; i++) {
        double x = (double)predicted[i] - mean_x, y = (double)gold[i] - mean_y;
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    /* A constant column may keep a trace of rounding in its mean: compared with its size, not with zero. */
    bool flat = xx <= 1e-24 * n * mean_x * mean_x || yy <= 1e-24 * n * mean_y * mean_y;
    return flat ? 0 : xy / sqrt(xx * yy);
}

struct ranked {
    float value;
    size_t index;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* rank[i], from 1; half ranks are exact in a float up to 2^23 values. */
static void rank_values(float *rank, const float *value, struct ranked *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct ranked){value[i], i};
    qsort(sorted, count, sizeof *sorted, compare_ranked);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && sorted[end].value == sorted[begin].value;)
            end++;
        for (size_t i = begin; i < end; i++)
            rank[sorted[i].index] = (float)(begin + 1 + end) / 2;
    }
}

enum status metrics_spearman(double *out, const float *predicted, const float *gold, size_t count)
{
    struct ranked *sorted = calloc(count + 1, sizeof *sorted);
    float *rank = calloc(2 * count + 1, sizeof *rank);
    enum status status = STATUS_OK;
    if (sorted && rank) {
        rank_values(rank, predicted, sorted, count);
        rank_values(rank + count, gold, sorted, count);
        *out = metrics_pearson(rank, rank + count, count);
    } else {
        status = status_fail(STATUS_MEMORY, "no memory to rank %zu values", count);
    }
    free(sorted);
    free(rank);
    return status;
}

double metrics_of_classes(enum metric metric, const uint32_t *predicted, const uint32_t *gold, size_t count)
{
    switch (metric) {
    case METRIC_ACCURACY:
        return metrics_accuracy(predicted, gold, count);
    case METRIC_F1:
        return metrics_f1(predicted, gold, count);
    case METRIC_MATTHEWS:
        return metrics_matthews(predicted, gold, count);
    default:
        return 0;
    }
}

enum status metrics_of_numbers(double *out, enum metric metric, const float *predicted, const float *gold,
                               size_t count)
{
    if (metric == METRIC_SPEARMAN)
        return metrics_spearman(out, predicted, gold, count);
    *out = metric == METRIC_PEARSON ? metrics_pearson(predicted, gold, count) : 0;
    return STATUS_OK;
}

uint32_t metrics_argmax(const float *logit, size_t count)
{
    uint32_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (logit[i] > logit[best])
            best = (uint32_t)i;
    return best;
}
