/* AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019) and clipping of the gradient's norm.
 *
 * math   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *        w = w - rate * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * w)
 * with the rate of the step times that of the tensor (struct distill_tensor).
 * Decay acts on the matrices of the encoder and the head, not on biases, LayerNorms, embeddings and learned
 * coefficients. Rows of the word embedding that no batch has used yet have m = v = 0 and would not move: they
 * are skipped, which is exact and saves most of the work on a large vocabulary. */
#ifndef TREFOIL_DISTILL_ADAMW_H
#define TREFOIL_DISTILL_ADAMW_H

#include "distill/batch.h"
#include "distill/weights.h"

/* |a| of a learned quadratic stays at least this: under shares the neuron is a square that is divided by a.
 */
#define DISTILL_QUAD_LEAST 1e-3f

struct distill_adamw {
    double beta1, beta2, eps, decay, clip; /* clip 0: none */
    uint64_t steps;                        /* taken */
    size_t count, vocabulary;
    float *m, *v;    /* [count] */
    uint8_t *used;   /* [vocabulary]: 1 if the row was ever in a batch */
    uint8_t *listed; /* [vocabulary]: 1 if it is in `row` */
    uint32_t *row;   /* the rows that have a gradient now */
    size_t rows;
};

/* betas 0.9 and 0.999, eps 1e-8, decay 0.01, clip 1. */
STATUS_MUST_USE enum status distill_adamw_init(struct distill_adamw *adamw,
                                               const struct distill_weights *weights);
void distill_adamw_clear(struct distill_adamw *adamw);
/* Forgets the past: moments and step count, for a new stage. */
void distill_adamw_reset(struct distill_adamw *adamw);
/* Notes which word rows a backward pass over this batch gives a gradient. */
void distill_adamw_note(struct distill_adamw *adamw, const struct distill_batch *batch);
/* One step. The gradients are zero again afterwards. Returns the norm they had before clipping; if that is
 * not a finite number nothing is changed but the gradients, which are dropped. */
double distill_adamw_step(struct distill_adamw *adamw, struct distill_weights *weights,
                          struct distill_weights *gradients, double rate);

#endif
