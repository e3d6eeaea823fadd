#include "tests/layers/trial.h"

#include <stdlib.h>
#include <string.h>

#include "ring/parameters.h"

/* Gates choose no scale by ranges, but a schedule with ranges has its bounds checked. */
static const struct range some_range = {1, 1};

void trial_start(struct trial *t, uint32_t bucket, uint32_t batch)
{
    memset(t, 0, sizeof *t);
    schedule_init(&t->schedule, bucket, batch);
    t->schedule.range = &some_range;
    t->schedule.weight_frac = t->frac;
    t->schedule.weight_count = TRIAL_MOST;
}

uint32_t trial_input(struct trial *t, uint32_t rows, uint32_t cols, int frac, int64_t bound)
{
    const size_t n = (size_t)rows * cols;
    int64_t *value = malloc(n * sizeof *value);
    ck_assert_ptr_nonnull(value);
    for (size_t i = 0; i < n; i++)
        value[i] = three_integer(bound);
    t->input[t->inputs++] = value;
    return gate_input(&t->schedule, rows, cols, frac, "input");
}

int64_t *trial_values(struct trial *t)
{
    return t->input[t->inputs - 1];
}

/* The largest weight of which n products with values below 2^bits stay below 2^limit; less where a weight
 * cannot be larger. */
static int64_t largest(int limit, int bits, size_t n)
{
    int room = limit - bits;
    while (n >> 1) {
        room--;
        n = (n + 1) / 2;
    }
    return room <= 0 ? 0 : room < RING_RANGE_BITS ? ((int64_t)1 << room) - 1 : RING_RANGE - 1;
}

/* Scales and bounds of matrix, bias and diagonal, in the order a linear gate declares them. */
static void plan(struct trial *t, uint32_t x, uint32_t residual, int frac, const int less[3], int x_bits)
{
    const uint32_t w = t->schedule.weights;
    const struct tensor *in = &t->schedule.tensor[x];
    t->frac[w] = frac + RING_SHIFT_MAX - in->frac - less[0];
    const int bits_in = in->frac + t->frac[w], limit = RING_RANGE_BITS + bits_in - frac;
    t->frac[w + 1] = (bits_in < frac + 4 ? bits_in : frac + 4) - less[1];
    t->bound[w] = largest(limit - 1, x_bits, in->cols);
    t->bound[w + 1] = largest(limit - 2, bits_in - t->frac[w + 1], 1);
    if (residual == SCHEDULE_NONE)
        return;
    t->frac[w + 2] = bits_in - t->schedule.tensor[residual].frac - less[2];
    t->bound[w + 2] = largest(limit - 2, x_bits + less[2], 1);
}

uint32_t trial_linear(struct trial *t, const struct linear *l, const int less[3], int x_bits,
                      const char *name)
{
    plan(t, l->x, l->residual, l->frac, less, x_bits);
    return gate_linear(&t->schedule, l, name);
}

uint32_t trial_output(struct trial *t, uint32_t x, uint32_t cols, int frac, int x_bits)
{
    static const int less[3] = {3, 5, 0};
    plan(t, x, SCHEDULE_NONE, frac, less, x_bits);
    return gate_output(&t->schedule, x, cols, frac, "logits");
}

void trial_finish(struct trial *t)
{
    t->schedule.ranges = t->schedule.ranged;
    ck_ok(schedule_finish(&t->schedule));
    for (uint32_t i = 0; i < t->schedule.weights; i++) {
        const size_t n = weight_size(&t->schedule.weight[i]);
        t->weight[i] = malloc(n * sizeof(int64_t));
        for (size_t j = 0; j < n; j++)
            t->weight[i][j] = three_integer(t->bound[i]);
    }
    three_open(&t->three, &t->schedule, (const int64_t *const *)t->weight);
}

void trial_run(struct trial *t)
{
    const int64_t *const *input = (const int64_t *const *)t->input;
    three_offline(&t->three);
    three_online(&t->three, input, t->private_logits);
    three_fixed(&t->three, input, t->fixed_logits);
}

void trial_check(struct trial *t)
{
    const int64_t *const *input = (const int64_t *const *)t->input;
    trial_run(t);
    reference_check(&t->three, REFERENCE_PRIVATE, input, t->private_logits);
    reference_check(&t->three, REFERENCE_FIXED, input, t->fixed_logits);
    reference_check_clear(&t->three);
}

void trial_end(struct trial *t)
{
    three_close(&t->three);
    for (uint32_t i = 0; i < t->schedule.weights; i++)
        free(t->weight[i]);
    for (uint32_t i = 0; i < t->inputs; i++)
        free(t->input[i]);
    schedule_clear(&t->schedule);
}
