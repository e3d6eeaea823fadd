/* Whole arrays of Z_2^80 as they are stored and sent: the low plane, then the high plane, ten bytes an element. */
#ifndef TREFOIL_LAYERS_WIDE_ARRAY_H
#define TREFOIL_LAYERS_WIDE_ARRAY_H

#include <stdlib.h>

#include "ring/parameters.h"
#include "ring/wide.h"

static inline void *wide_allocate(size_t n)
{
    return malloc((n ? n : 1) * RING_PRODUCT_BYTES);
}

static inline struct ring_wide wide_view(void *data, size_t n)
{
    return (struct ring_wide){data, (uint16_t *)((uint64_t *)data + n)};
}

/* a -= b, modulo 2^80. */
static inline void wide_subtract(struct ring_wide a, struct ring_wide b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t low = a.lo[i] - b.lo[i];
        a.hi[i] = (uint16_t)(a.hi[i] - b.hi[i] - (a.lo[i] < b.lo[i]));
        a.lo[i] = low;
    }
}

#endif
