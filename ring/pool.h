/* Large buffers that are used again: a walk allocates the same sizes for every inference, and pages that the kernel must
 * clear cost as much as the arithmetic.
 *
 * Buffers are wiped when they are given back, so a buffer in the pool holds no secret. Thread safe. In builds with a
 * sanitizer every buffer is malloc'ed and freed, so that overflows and uses after the end are found. */
#ifndef TREFOIL_RING_POOL_H
#define TREFOIL_RING_POOL_H

#include <stddef.h>

/* At least bytes, aligned to 64 bytes, content undefined; NULL if out of memory. */
void *pool_take(size_t bytes);
/* Zeroed. */
void *pool_take_zero(size_t bytes);
/* Wipes and gives back; bytes as taken. NULL is ignored. */
void pool_give(void *buffer, size_t bytes);
/* The same without wiping: for what tells nothing by itself, such as masked values. */
void pool_give_public(void *buffer, size_t bytes);
/* Returns what is not in use to the system. */
void pool_trim(void);
/* Most bytes kept while not in use; what is given back beyond it goes to the system. Default 2 GiB. */
void pool_limit(size_t bytes);

#endif
