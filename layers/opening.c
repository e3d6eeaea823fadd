#include "layers/opening.h"

/* r_i: halves that make the sum of two floors unbiased. */
static inline uint64_t rounding(int shift, int party)
{
    return shift ? ((uint64_t)1 << (shift - 1)) - (party == 2) : 0;
}

/* ((hi : lo) + r) >> shift modulo 2^64, 1 <= shift <= 16. The carry out of bit 80 falls to bit 64 or above, and is lost with
 * what the high plane shifts out. */
static inline uint64_t shifted(uint64_t lo, uint64_t hi, int shift, uint64_t r)
{
    const uint64_t sum = lo + r, carried = hi + (sum < lo);
    return sum >> shift | carried << (64 - shift);
}

enum status opening_out_of_range(void)
{
    return status_fail(STATUS_RANGE, "a value left its range: the text is unlike those of calibration");
}

void opening_mask(struct ring_wide z, const int64_t *mask, int shift, size_t n)
{
    ring_join(z, mask, shift, n);
}

struct ring_narrow opening_end(uint64_t *t, int shift, int party)
{
    return (struct ring_narrow){.t = t, .add = rounding(shift, party), .shift = shift};
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
    for (size_t i = 0; i < n; i++)
        o[i] = (uint32_t)(shift ? shifted(z.lo[i], z.hi[i], shift, rounding(shift, party)) : z.lo[i]);
}
