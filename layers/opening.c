#include "layers/opening.h"

/* r_i: halves that make the sum of two floors unbiased. */
static inline ring_u128 rounding(int shift, int party)
{
    return shift ? ((ring_u128)1 << (shift - 1)) - (party == 2) : 0;
}

/* ((hi : lo) + r) >> shift modulo 2^64; hi has 16 bits, shift at most 16. */
static inline uint64_t shifted(struct ring_wide z, size_t i, int shift, ring_u128 r)
{
    const ring_u128 v = ((ring_u128)z.hi[i] << 64 | z.lo[i]) + r;
    /* A carry out of bit 80 is dropped with the high plane's upper bits: shift <= 16 brings them to bit 64 or above. */
    return (uint64_t)(v >> shift);
}

void opening_share(uint64_t *t, struct ring_wide z, size_t n, int shift, int party, const int64_t *mask,
                   const uint64_t *after)
{
    const ring_u128 r = rounding(shift, party);
    for (size_t i = 0; i < n; i++)
        t[i] = shifted(z, i, shift, r);
    if (mask)
        for (size_t i = 0; i < n; i++)
            t[i] += (uint64_t)mask[i];
    if (after)
        for (size_t i = 0; i < n; i++)
            t[i] += after[i];
}

void opening_index(uint16_t *d, struct ring_wide z, const struct lookup *lookup, int party)
{
    const uint64_t cells = ((uint64_t)1 << lookup->bits) - 1;
    const uint64_t start = party == 1 ? (uint64_t)lookup->offset + ((uint64_t)1 << lookup->shift) - 1 : 0;
    /* v < 2^(shift + bits) <= 2^60: the low plane is enough. */
    for (size_t i = 0; i < lookup->count; i++)
        d[i] = (uint16_t)((((z.lo[i] + start) >> lookup->shift) + d[i]) & cells);
}

void opening_output(uint32_t *o, struct ring_wide z, size_t n, int shift, int party)
{
    const ring_u128 r = rounding(shift, party);
    for (size_t i = 0; i < n; i++)
        o[i] = (uint32_t)shifted(z, i, shift, r);
}
