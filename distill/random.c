#include "distill/random.h"

#include <math.h>

double distill_random_normal(uint64_t key, uint32_t index)
{
    double radius = sqrt(-2 * log(1 - distill_random_uniform(key, 2 * index)));
    return radius * cos(2 * M_PI * distill_random_uniform(key, 2 * index + 1));
}

void distill_random_shuffle(uint32_t *order, size_t n, uint64_t key)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(distill_random_uniform(key, (uint32_t)i) * (double)i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}
