/* One small schedule built by a test, with random inputs and weights: for tests of gates and layers.
 *
 *     trial_start, trial_input, gate_..., trial_linear, trial_finish, trial_run, trial_check, trial_end */
#ifndef TREFOIL_TESTS_LAYERS_TRIAL_H
#define TREFOIL_TESTS_LAYERS_TRIAL_H

#include "tests/layers/reference.h"
#include "tests/layers/three.h"

#define TRIAL_MOST 256 /* weights, inputs and logits of a trial */

struct trial {
    struct schedule schedule;
    int frac[TRIAL_MOST]; /* of the weights, chosen before each is declared */
    int64_t bound[TRIAL_MOST];
    int64_t *weight[TRIAL_MOST], *input[TRIAL_MOST];
    uint32_t inputs;
    struct three three;
    int64_t private_logits[TRIAL_MOST], fixed_logits[TRIAL_MOST];
};

void trial_start(struct trial *out, uint32_t bucket, uint32_t batch);

/* An input with values in [-bound, bound]. */
uint32_t trial_input(struct trial *trial, uint32_t rows, uint32_t cols, int frac, int64_t bound);
/* The values of the last input, to be set by hand. */
int64_t *trial_values(struct trial *trial);

/* x W + b, or with a residual, of which W, b and the diagonal have some bits less than they could; values of
 * x and of the residual are below 2^x_bits. Weights are as large as the range of the result allows. */
uint32_t trial_linear(struct trial *trial, const struct linear *linear, const int less[3], int x_bits,
                      const char *name);
/* The same for the output. */
uint32_t trial_output(struct trial *trial, uint32_t x, uint32_t cols, int frac, int x_bits);

/* Fills the weights, finishes the schedule and shares the weights. */
void trial_finish(struct trial *trial);
/* One bundle, offline and online, and the fixed-point walk. */
void trial_run(struct trial *trial);
/* trial_run, and every gate of both walks and of the clear one against the reference. */
void trial_check(struct trial *trial);
void trial_end(struct trial *trial);

#endif
