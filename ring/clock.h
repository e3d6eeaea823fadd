/* Seconds of the monotonic clock, for what takes how long. */
#ifndef TREFOIL_RING_CLOCK_H
#define TREFOIL_RING_CLOCK_H

#include <time.h>

static inline double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
