#include "config.h"

#include "distill/order.h"

#include <stdbool.h>
#include <stdlib.h>

#include "distill/random.h"

#define POOL 32      /* batches sorted together, at most */
#define POOL_SHARE 8 /* pools in an epoch, at least: or the same examples would always meet */

/* What is compared: lengths, and where they are equal a number that each epoch draws anew. */
struct sorting {
    const struct distill_batch *set;
    uint64_t key;
    bool drawn; /* else the example's own number */
};

static size_t length_of(const struct distill_batch *set, uint32_t example)
{
    return set->start[example + 1] - set->start[example];
}

static int by_length(const void *left, const void *right, void *sorting)
{
    const struct sorting *s = sorting;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    size_t one = length_of(s->set, a), other = length_of(s->set, b);
    if (one != other)
        return one < other ? -1 : 1;
    uint64_t mine = s->drawn ? distill_random_key(s->key, a) : a;
    uint64_t theirs = s->drawn ? distill_random_key(s->key, b) : b;
    return (mine > theirs) - (mine < theirs);
}

static void sort(uint32_t *order, size_t n, const struct sorting *sorting)
{
    qsort_r(order, n, sizeof *order, by_length, (void *)sorting);
}

/* Examples in a pool of whole batches. */
static size_t pool_of(size_t n, size_t size)
{
    size_t batches = n / size / POOL_SHARE;
    return size * (batches < 1 ? 1 : batches > POOL ? POOL : batches);
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
    size_t n = set->sequences, pool = pool_of(n, size);
    const struct sorting sorting = {set, distill_random_key(key, 3), true};
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    distill_random_shuffle(order, n, distill_random_key(key, 1));
    for (size_t first = 0; first < n; first += pool)
        sort(order + first, n - first < pool ? n - first : pool, &sorting);
    uint64_t draw = distill_random_key(key, 2);
    for (size_t i = n / size; i > 1; i--) {
        size_t j = (size_t)(distill_random_uniform(draw, (uint32_t)i) * (double)i);
        if (j != i - 1)
            swap_batches(order + (i - 1) * size, order + j * size, size);
    }
}

void distill_order_sorted(uint32_t *order, const struct distill_batch *set)
{
    const struct sorting sorting = {.set = set};
    for (size_t i = 0; i < set->sequences; i++)
        order[i] = (uint32_t)i;
    sort(order, set->sequences, &sorting);
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
