#include "ring/pool.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sodium.h>

#include <config.h>

#define ALIGNMENT 64
/* Smaller buffers are malloc's business. Larger ones are rounded up to one of eight sizes an octave, so that a buffer serves
 * again for tensors of about its size; 15 2^k, what is dealt for a product of powers of two and 3, is one of them. */
#define LEAST ((size_t)1 << 18)
#define STEPS 8u
#define CLASSES (40 * STEPS)
#define LARGE_PAGE ((size_t)2 << 20)
#define SLAB ((size_t)64 << 20) /* mapped at a time; what is not used yet takes no memory */

/* A free buffer's first bytes: the next one of its class. */
struct idle {
    struct idle *next;
};

static struct {
    pthread_mutex_t lock;
    struct idle *idle[CLASSES];
    size_t kept, limit;
    char *slab; /* not cut yet: */
    size_t left;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = (size_t)2 << 30};

#ifdef TREFOIL_SANITIZER
#define POOLED 0
#else
#define POOLED 1
#endif

/* Eight steps an octave: 8, 9, ... 15 times a power of two. */
static unsigned class_of(size_t bytes, size_t *rounded)
{
    size_t unit = LEAST / STEPS;
    unsigned octave = 0;
    while (2 * STEPS * unit < bytes && octave < CLASSES / STEPS - 2) {
        unit *= 2;
        octave++;
    }
    size_t steps = (bytes + unit - 1) / unit;
    if (steps < STEPS)
        steps = STEPS;
    *rounded = steps * unit;
    return STEPS * octave + (unsigned)(steps - STEPS); /* 16 steps are the first of the next octave */
}

/* Aligned to a large page: what does not fill one gets small ones, each with a fault and a place in the TLB. */
static char *map_aligned(size_t bytes)
{
    char *p = mmap(NULL, bytes + LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *first = p + (LARGE_PAGE - (uintptr_t)p % LARGE_PAGE) % LARGE_PAGE, *end = p + bytes + LARGE_PAGE;
    if (first != p)
        munmap(p, (size_t)(first - p));
    if (first + bytes != end)
        munmap(first + bytes, (size_t)(end - first) - bytes);
    madvise(first, bytes, MADV_HUGEPAGE); /* fewer and larger pages where the kernel has them */
    madvise(first, bytes, MADV_DONTDUMP); /* a core dump must not hold shares */
    return first;
}

/* The lock is held. Buffers are cut from slabs, and go back to the system one by one. */
static void *map(size_t bytes)
{
    if (bytes > pool.left) {
        const size_t slab = bytes > SLAB ? (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE : SLAB;
        char *p = map_aligned(slab);
        if (!p)
            return NULL;
        if (pool.left)
            munmap(pool.slab, pool.left);
        pool.slab = p;
        pool.left = slab;
    }
    void *p = pool.slab;
    pool.slab += bytes;
    pool.left -= bytes;
    return p;
}

void *pool_take(size_t bytes)
{
    size_t rounded;
    if (!POOLED || bytes < LEAST)
        return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
    const unsigned class = class_of(bytes, &rounded);
    pthread_mutex_lock(&pool.lock);
    struct idle *found = pool.idle[class];
    if (found) {
        pool.idle[class] = found->next;
        pool.kept -= rounded;
    }
    void *p = found ? (void *)found : map(rounded);
    pthread_mutex_unlock(&pool.lock);
    return p;
}

void *pool_take_zero(size_t bytes)
{
    void *p = pool_take(bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void pool_give(void *buffer, size_t bytes)
{
    if (buffer)
        sodium_memzero(buffer, bytes);
    pool_give_public(buffer, bytes);
}

void pool_give_public(void *buffer, size_t bytes)
{
    size_t rounded;
    if (!buffer)
        return;
    if (!POOLED || bytes < LEAST) {
        free(buffer);
        return;
    }
    const unsigned class = class_of(bytes, &rounded);
    pthread_mutex_lock(&pool.lock);
    const int keep = pool.kept + rounded <= pool.limit;
    if (keep) {
        struct idle *entry = buffer;
        entry->next = pool.idle[class];
        pool.idle[class] = entry;
        pool.kept += rounded;
    }
    pthread_mutex_unlock(&pool.lock);
    if (!keep)
        munmap(buffer, rounded);
}

void pool_trim(void)
{
    pthread_mutex_lock(&pool.lock);
    for (unsigned class = 0; class < CLASSES; class++) {
        const size_t rounded = (STEPS + class % STEPS) * (LEAST / STEPS << class / STEPS);
        while (pool.idle[class]) {
            struct idle *entry = pool.idle[class];
            pool.idle[class] = entry->next;
            munmap(entry, rounded);
        }
    }
    pool.kept = 0;
    pthread_mutex_unlock(&pool.lock);
}

void pool_limit(size_t bytes)
{
    pthread_mutex_lock(&pool.lock);
    pool.limit = bytes;
    pthread_mutex_unlock(&pool.lock);
}
