/* What leaves an evaluator: the one opening, the table index, and the client's logit shares (DESIGN sections 3, 9).
 *
 *   opening   t_i = ((z_i + r_i) >> f) + c_i + lout_i mod 2^64;  m = t_1 + t_2 read as int64
 *             r_1 = 2^(f-1), r_2 = 2^(f-1) - 1, both 0 if f = 0
 *   shows     m = x + l1 + l2 to P1 and P2, and never to P0, which knows l1 + l2. P_i knows l_i, so x is hidden by
 *             the other mask, a sum of two uniform 61-bit numbers that is used for this opening alone:
 *             statistical distance at most |x| / 2^61.
 *   rounding  the shift of a share modulo 2^80 down to 64 bits loses the wrap-around by construction
 *             (2^80 >> f is 0 modulo 2^64 for f <= 16): no error but the rounding, below one unit, unbiased; a
 *             multiple of 2^f is exact. Needs |z| < 2^(22 + f).
 *   index     d = (z_1' >> s) + (z_2 >> s) + rho mod 2^n, z_1' = z_1 + offset + 2^s - 1;  rho is uniform, known to P0 alone as
 *             a sum of two shares, and used once: d is perfectly hidden.
 *   check     u_1 + u_2 of a range check: 0, or random (layers/gate_check.h).
 *   output    o_i = ((z_i + r_i) >> f) mod 2^32, to the client only: shares of the logits, which are the client's. */
#ifndef TREFOIL_LAYERS_OPENING_H
#define TREFOIL_LAYERS_OPENING_H

#include "layers/schedule.h"
#include "ring/elementwise.h"
#include "ring/parameters.h"
#include "ring/status.h"

/* What is opened fits so many bits, m in [-2^62, 2^62), while x is in range: l1 + l2 adds up four uniform numbers of 61 bits, and comes
 * within 2^22 of the ends with probability below 2^-150. */
#define OPENING_BITS (RING_MASK_BITS + 3)

/* STATUS_RANGE, and one message whatever it was and wherever: both evaluators see m and end alike, but whoever hears of it besides is told
 * no more than that a value was too large. */
STATUS_MUST_USE enum status opening_out_of_range(void);

/* The same mask ahead of the shift, z += 2^shift lout: ((z + r + 2^f lout) >> f) = ((z + r) >> f) + lout modulo 2^64, as what wraps at
 * 2^80 is 0 modulo 2^64 after the shift. So the mask joins what was dealt before there is an input. */
void opening_mask(struct ring_wide z, const int64_t *mask, int shift, size_t n);

/* How a share z that is masked already becomes the message t = (z + r_i) >> shift: for ring_narrow, and for what ends with it. A gate's
 * product constants join at `add`; c_i, already at the output's scale, is added to t afterwards. shift in 0..16, party 1 or 2. */
struct ring_narrow opening_end(uint64_t *t, int shift, int party);

/* d [count]: this party's summand, with its share rho_i [count] of the offset already in d. */
void opening_index(uint16_t *d, struct ring_wide z, const struct lookup *lookup, int party);

/* o [n]. */
void opening_output(uint32_t *o, struct ring_wide z, size_t n, int shift, int party);

#endif
