#include "layers/inverse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "layers/scale.h"

/* Tables reach a factor of two below the least value seen before they saturate. */
#define LOWER_MARGIN 2.0
/* What is inverted has to stay away from zero by at least this, or no table could reach it. */
#define LEAST_INVERTED 1e-9

static bool is_root(const struct inverse *p)
{
    return p->function == FUNCTION_INVERSE_ROOT;
}

/* |e| at the least v is at most 2^-this: tables of cells half as wide are twice as long. */
#define FIRST_ERROR 6
#define FIRST_ERROR_COARSE 3
#define TABLE_BITS_MAX 16

/* A table ends at 2^this: what is checked to lie within it may be four times the largest value. */
static int reach_exponent(const struct inverse *p)
{
    return scale_exponent(p->v.largest * SCALE_MARGIN / CHECK_BELOW_PART);
}

/* Cells that reach so far, each at most 2^-first_error of the least value. */
static int table_bits(const struct inverse *p, int first_error)
{
    const double reach = ldexp(1.0, reach_exponent(p));
    return scale_most(3, first_error + (int)ceil(log2(reach / fmax(p->v.smallest, LEAST_INVERTED))));
}

/* e = 1 - v y0 (or 1 - v q) starts from v_frac + q_frac bits, y from y_frac + e_frac (+ 1 for the half): both
 * shifts are at most 16, so v_frac + q_frac <= 16 + e_frac with e_frac = 16, or 15 for the root. Within that,
 * v at its smallest and 1 / v at its smallest get the same number of significant bits. */
void inverse_plan(struct inverse *p, int v_frac_most, int y_frac_most)
{
    const double low = fmax(p->v.smallest, LEAST_INVERTED), high = fmax(p->v.largest, low);
    p->coarse = !is_root(p) && (p->tune == TUNE_LAN || table_bits(p, FIRST_ERROR) > TABLE_BITS_MAX);
    p->e_frac = is_root(p) ? RING_SHIFT_MAX - 1 : RING_SHIFT_MAX;
    const int total = RING_SHIFT_MAX + p->e_frac;
    const int v_fit = scale_least(scale_fit(high, 40), v_frac_most);
    const int q_fit = RING_RANGE_BITS - scale_exponent(LOWER_MARGIN / low);
    p->v_frac = scale_least(v_fit, (int)floor((total - log2(low * high)) / 2));
    p->q_frac = scale_least(q_fit, total - p->v_frac);
    if (is_root(p)) {
        const double largest = sqrt(p->parameter * LOWER_MARGIN / low);
        p->y_frac = scale_least(RING_RANGE_BITS - scale_exponent(largest), y_frac_most);
    } else {
        p->y_frac = p->q_frac = scale_least(p->q_frac, y_frac_most);
    }
}

/* T[i] = f(the middle of the cell), saturating below low. A value in the last cell may be read one cell further, which is cell 0: it holds what the
 * end of the table would. Values that small, less than an eighth of the least one seen, get too small an inverse. */
static int64_t *fill(const struct inverse *p, int bits, double cell, int table, int frac)
{
    int64_t *t = malloc(((size_t)1 << bits) * sizeof *t);
    const double low = p->v.smallest / LOWER_MARGIN;
    for (size_t i = 0; t && i < (size_t)1 << bits; i++) {
        const double v = fmax(i ? (double)i * cell : ldexp(cell, bits), low);
        const double y = is_root(p) && table == 0 ? sqrt(p->parameter / v) : 1.0 / v;
        t[i] = (int64_t)llround(ldexp(y, frac));
    }
    return t;
}

/* An index beyond the table is taken modulo its length: a value out there would be taken for a small one, and its inverse, far too large,
 * would bring what is multiplied with it beyond what masks hide. Known before anything is. */
static void check_reach(struct schedule *s, const struct inverse *p, uint32_t v, const char *name)
{
    char text[SCHEDULE_NAME];
    const int bits = reach_exponent(p) + s->tensor[v].frac;
    snprintf(text, sizeof text, "%s check", name);
    if (schedule_calibrated(s) && bits < CHECK_BELOW_BITS)
        schedule_fail(s, STATUS_RANGE, "%s has only %d bits: the values of this model do not fit",
                      s->tensor[v].name, bits);
    gate_check_below(s, v, bits, text);
}

static uint32_t index_of(struct schedule *s, const struct inverse *p, uint32_t v, const char *name)
{
    const int bits_in = gate_bits_in(s, v);
    if (!(p->v.smallest >= LEAST_INVERTED)) {
        schedule_fail(s, STATUS_RANGE,
                      "%s comes as near to zero as %g, and is inverted: the values of this model "
                      "do not fit",
                      s->tensor[v].name, p->v.smallest);
        return SCHEDULE_NONE;
    }
    const int total = reach_exponent(p) + bits_in;
    const int first_error = p->coarse ? FIRST_ERROR_COARSE : FIRST_ERROR;
    const int bits = table_bits(p, first_error);
    if (schedule_calibrated(s) && bits > TABLE_BITS_MAX) {
        schedule_fail(
            s, STATUS_RANGE,
            "%s goes from %g to %g, more than tables of inverses cover: the values of this model do not "
            "fit (trefoil distill --weight-spread keeps those of a student together)",
            s->tensor[v].name, p->v.smallest, p->v.largest);
        return SCHEDULE_NONE;
    }
    const uint32_t lookup = gate_index(s, v, bits, total - bits, 0.0, p->function, p->parameter);
    if (lookup !=
        SCHEDULE_NONE) /* a block is at most as wide for its distance as a cell is at the smallest v */
        s->lookup[lookup].reach = 5u << (first_error - 3);
    check_reach(s, p, v, name);
    if (!schedule_calibrated(s) || s->failed != STATUS_OK)
        return lookup;
    const double cell = ldexp(1.0, total - bits - bits_in);
    lookup_table(s, lookup, p->y_frac, fill(p, bits, cell, 0, p->y_frac));
    if (is_root(p))
        lookup_table(s, lookup, p->q_frac, fill(p, bits, cell, 1, p->q_frac));
    return lookup;
}

uint32_t layer_inverse(struct schedule *s, const struct inverse *p, uint32_t v, const char *name)
{
    char text[SCHEDULE_NAME];
    const uint32_t rows = s->tensor[v].rows, cols = s->tensor[v].cols;
    const uint32_t lookup = index_of(s, p, v, name);
    s->derived = true;
    snprintf(text, sizeof text, "%s y0", name);
    const uint32_t y0 = gate_table(s, lookup, 0, rows, cols, text);
    uint32_t q = y0;
    if (is_root(p)) {
        snprintf(text, sizeof text, "%s q", name);
        q = gate_table(s, lookup, 1, rows, cols, text);
    }
    const struct multiply error = {.x = v,
                                   .y = q,
                                   .negate = true,
                                   .constant = 1.0,
                                   .add = SCHEDULE_NONE,
                                   .lookup = SCHEDULE_NONE,
                                   .frac = p->e_frac};
    snprintf(text, sizeof text, "%s e", name);
    const uint32_t e = gate_multiply(s, &error, text);
    const struct multiply step = {
        .x = y0, .y = e, .halvings = is_root(p), .add = y0, .lookup = SCHEDULE_NONE, .frac = p->y_frac};
    const bool again = p->coarse;
    uint32_t square = 0;
    if (again) {
        snprintf(text, sizeof text, "%s e squared", name);
        square = gate_square(s, e, 0, RING_SHIFT_MAX, text);
    }
    snprintf(text, sizeof text, again ? "%s y1" : "%s y", name);
    uint32_t y = gate_multiply(s, &step, text);
    if (again) {
        const struct multiply second = {
            .x = y, .y = square, .add = y, .lookup = SCHEDULE_NONE, .frac = p->y_frac};
        snprintf(text, sizeof text, "%s y", name);
        y = gate_multiply(s, &second, text);
    }
    s->derived = false;
    return y;
}
