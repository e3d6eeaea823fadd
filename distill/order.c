#include "config.h"

#include "distill/order.h"

#include <stdlib.h>

#include "distill/random.h"

#define POOL 32 /* batches sorted together */

static size_t length_of(const struct distill_batch *set, uint32_t example)
{
    return set->start[example + 1] - set->start[example];
}

static int by_length(const void *left, const void *right, void *set)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    size_t one = length_of(set, a), other = length_of(set, b);
    if (one != other)
        return one < other ? -1 : 1;
    return (a > b) - (a < b);
}

static void sort(uint32_t *order, size_t n, const struct distill_batch *set)
{
    qsort_r(order, n, sizeof *order, by_length, (void *)set);
}

static void swap_batches(uint32_t *a, uint32_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint32_t kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

void distill_order_make(uint32_t *order, const struct distill_batch *set, size_t size, uint64_t key)
{
    size_t n = set->sequences, pool = size * POOL;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    distill_random_shuffle(order, n, distill_random_key(key, 1));
    for (size_t first = 0; first < n; first += pool)
        sort(order + first, n - first < pool ? n - first : pool, set);
    uint64_t draw = distill_random_key(key, 2);
    for (size_t i = n / size; i > 1; i--) {
        size_t j = (size_t)(distill_random_uniform(draw, (uint32_t)i) * (double)i);
        if (j != i - 1)
            swap_batches(order + (i - 1) * size, order + j * size, size);
    }
}

void distill_order_sorted(uint32_t *order, const struct distill_batch *set)
{
    for (size_t i = 0; i < set->sequences; i++)
        order[i] = (uint32_t)i;
    sort(order, set->sequences, set);
}

enum status distill_order_pick(struct distill_batch *out, const struct distill_batch *set,
                               const uint32_t *order, size_t n)
{
    distill_batch_reset(out);
    for (size_t i = 0; i < n; i++) {
        size_t first = set->start[order[i]];
        enum status status = distill_batch_add(out, set->id + first, set->type + first,
                                               length_of(set, order[i]), set->label[order[i]]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
