#include "distill/rate.h"

#include <math.h>

double distill_rate_at(const struct distill_rate *rate, uint64_t step, uint64_t steps)
{
    double warm = floor(rate->warmup * (double)steps), at = (double)step;
    if (at < warm)
        return rate->peak * (at + 1) / (warm + 1);
    if (rate->decay == DISTILL_CONSTANT)
        return rate->peak;
    double left = ((double)steps - at) / ((double)steps - warm);
    return rate->peak * (rate->decay == DISTILL_LINEAR ? left : 0.5 - 0.5 * cos(M_PI * left));
}
