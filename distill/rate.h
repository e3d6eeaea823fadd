/* The learning rate of a step: a linear warm-up, then a decay to zero. */
#ifndef TREFOIL_DISTILL_RATE_H
#define TREFOIL_DISTILL_RATE_H

#include <stdint.h>

enum distill_decay { DISTILL_LINEAR, DISTILL_COSINE, DISTILL_CONSTANT };

struct distill_rate {
    double peak;
    double warmup; /* share of all steps */
    enum distill_decay decay;
};

/* step counts from 0; the first is never zero. */
double distill_rate_at(const struct distill_rate *rate, uint64_t step, uint64_t steps);

#endif
