/* How a bundle's items are numbered in the store. */
#ifndef TREFOIL_PARTIES_BUNDLE_ITEMS_H
#define TREFOIL_PARTIES_BUNDLE_ITEMS_H

#include "layers/walk.h"

#define BUNDLE_ITEM_SEED 0 /* the secret this evaluator shares with P0 for this bundle */

static inline uint32_t bundle_item(uint32_t gate, enum part part)
{
    return 1 + PARTS * gate + (uint32_t)part;
}

#endif
