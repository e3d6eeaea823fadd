/* Whole arrays of Z_2^80 as they are stored and sent: the low plane, then the high plane, ten bytes an element. */
#ifndef TREFOIL_LAYERS_WIDE_ARRAY_H
#define TREFOIL_LAYERS_WIDE_ARRAY_H

#include "ring/parameters.h"
#include "ring/wide.h"

static inline struct ring_wide wide_view(void *data, size_t n)
{
    return (struct ring_wide){data, (uint16_t *)((uint64_t *)data + n)};
}

#endif
