/* Whether what was opened lies where a value in range lies: one bit, the same for both evaluators, and nothing else.
 *
 * shape    x [n], opened in the round before; d roots a_1 < ... < a_d, integers; a shift k
 * passes   for each element, c = (m >> k) - ((l1 + l2) >> k) is one of the roots. c is floor(x / 2^k) or one more, which of the
 *          two depends on the masks; it is x itself if k = 0. Sums of elements are judged alike, as x = m - l1 - l2 is linear
 * formula  K_e: coefficients of rho (M - R - a_1) ... (M - R - a_d) as a polynomial in M = m >> k, where R = (l1 + l2) >> k and
 *          rho, fresh for each element, are P0's. Evaluators hold K_e = K_e1 + K_e2 modulo p = 2^64 - 59 (ring/prime.h) and form
 *
 *              u_i = sum over elements j of chi^(n - 1 - j) sum over e of M_j^e K_eij
 *
 *          which adds up to 0 if every c is a root. If one is not: uniform to whoever lacks rho, which are both
 *          evaluators, so 0 once in p; and 0 for at most n of p chi, which P0 lacks.
 * dealt    K_e2, e < d, to P2: 8 d bytes an element. P1 makes K_e1, and each its own part of rho = K_d, from streams
 * opens    u_1 + u_2, in the round after that of x: eight bytes. 0, or random. Nothing that depends on x but y0 of a table, which
 *          is as large as its entries, or sums of squares of a client's own inputs, is opened before it is known
 * source   DESIGN section 5, "inputs are checked"; a product with a random factor that is zero where it should be is the usual
 *          test of zero in MACs and sketches (Boneh and others, 2019) */
#ifndef TREFOIL_LAYERS_GATE_CHECK_H
#define TREFOIL_LAYERS_GATE_CHECK_H

#include "layers/walk.h"

/* What is dealt to P2; what an evaluator has in memory. */
size_t check_dealt_bytes(const struct check *check);
size_t check_share_bytes(const struct check *check);

STATUS_MUST_USE enum status check_deal(struct dealer *dealer, uint32_t gate);
/* P2 receives and keeps; P1 has nothing to do. */
STATUS_MUST_USE enum status check_prepare(struct evaluator *evaluator, uint32_t gate);
STATUS_MUST_USE enum status check_warm(struct evaluator *evaluator, uint32_t gate);
/* u_i, below p. */
uint64_t check_share(const struct evaluator *evaluator, const struct gate *gate);
/* Whether u_1 + u_2 is 0. theirs: any word. */
bool check_passes(uint64_t own, uint64_t theirs);

#endif
