#include "layers/layernorm.h"

#include <stdio.h>

#include "layers/inverse.h"
#include "layers/scale.h"

/* Ranged openings, in the order emitted. */
enum { VARIANCE, RESULT };

uint32_t layer_norm(struct schedule *s, uint32_t x, double epsilon, const char *name)
{
    char text[SCHEDULE_NAME];
    const uint32_t hidden = s->tensor[x].cols;
    const int x_frac = s->tensor[x].frac;
    const int n_frac = scale_fit(schedule_range(s, RESULT).largest, SCALE_USUAL);
    struct inverse plan = {.function = FUNCTION_INVERSE_ROOT, .parameter = hidden,
                           .v = schedule_range(s, VARIANCE)};
    inverse_plan(&plan, 2 * x_frac, RING_SHIFT_MAX + n_frac - x_frac);

    snprintf(text, sizeof text, "%s centred", name);
    const uint32_t centred = gate_centre(s, x, text);
    /* v starts from twice the fraction bits of the copy, and can lose at most 16 of them. */
    snprintf(text, sizeof text, "%s scaled", name);
    const int copy_frac = scale_least(x_frac, (RING_SHIFT_MAX + plan.v_frac) / 2);
    const uint32_t copy = gate_shift(s, centred, copy_frac, text);
    snprintf(text, sizeof text, "%s variance", name);
    const uint32_t v = gate_square_sum(s, copy, epsilon * hidden, scale_least(plan.v_frac, 2 * copy_frac), text);
    snprintf(text, sizeof text, "%s root", name);
    const uint32_t y = layer_inverse(s, &plan, v, text);
    const struct multiply product = {.x = centred, .y = y, .spread = GATE_ROW, .add = SCHEDULE_NONE,
                                     .lookup = SCHEDULE_NONE, .frac = n_frac};
    return gate_multiply(s, &product, name);
}
