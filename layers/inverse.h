/* 1 / v and (v / parameter)^-1/2 of a secret v: a table, then one corrected step.
 *
 * math    {v, d} -> y0 = T[d] (and q = y0^2 / parameter = 1 / v for the root) -> e = 1 - v y0, or 1 - v q
 *         -> y = y0 + y0 e, or y0 + y0 e / 2
 * source  DESIGN section 3; Newton's iteration for both functions
 * cost    four rounds with the one that opens v; the elements of v four times (root: five)
 * error   about e^2 for 1 / v and 3/8 e^2 for the root, |e| at most 2^-6 at the least v the calibration saw
 * margin  v up to four times the largest seen; down to half the smallest seen, where the table saturates. Beyond its end the index would
 *         wrap: y would be far too large, and what is computed with it could leave what masks hide. A check ends the walk before e is
 *         opened (layers/gate_check.h; doc/security.md, "Beyond the range")
 * opens   d beside v (perfectly hidden), y0, q, e, y under masks; beside y0 whether v is in range
 *
 * Coarse, for 1 / v with tune lan, or where v has so wide a range that 2^16 cells would not do: the table is eight times
 * smaller, |e| at most 2^-3, and y0 (1 + e) (1 + e^2) takes its place: one round and one opening an element more. */
#ifndef TREFOIL_LAYERS_INVERSE_H
#define TREFOIL_LAYERS_INVERSE_H

#include "layers/schedule.h"

enum tune { TUNE_WAN, TUNE_LAN };

struct inverse {
    enum function function; /* FUNCTION_INVERSE or FUNCTION_INVERSE_ROOT */
    double parameter;       /* root only */
    struct range v;         /* what v can be, without margin */
    enum tune tune;         /* FUNCTION_INVERSE only */
    bool coarse;            /* chosen by inverse_plan */
    int v_frac;             /* to be used for v's opening */
    int y_frac;             /* of y0 and the result */
    int q_frac, e_frac;
};

/* Chooses the scales. v_frac_most, y_frac_most: what the gates around allow. */
void inverse_plan(struct inverse *inverse, int v_frac_most, int y_frac_most);

/* Emits the gates after v was opened with plan.v_frac; returns y, of v's shape. */
uint32_t layer_inverse(struct schedule *schedule, const struct inverse *plan, uint32_t v, const char *name);

#endif
