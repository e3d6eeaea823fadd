/* One training step, and what the steps of a run share. Used by distill/train.c and the benchmark. */
#ifndef TREFOIL_DISTILL_TRAIN_STEP_H
#define TREFOIL_DISTILL_TRAIN_STEP_H

#include "distill/adamw.h"
#include "distill/encoder.h"
#include "distill/recall.h"
#include "distill/train.h"

struct distill_trainer {
    const struct distill_run *run;
    struct distill_weights *weights;
    struct distill_weights gradients;
    struct distill_adamw adamw;
    struct distill_state student, teacher;
    struct distill_batch batch;
    struct distill_batch labelled; /* the examples of run->train with labels */
    uint32_t *order;               /* [examples] of the present epoch */
    struct distill_recall recall;  /* stage 1; empty: the teacher runs in each step */
    float *teacher_logits;         /* [examples][labels], stage 2 */
    float *batch_logits;           /* [batch][labels] of them */
};

/* What a step had to say. */
struct distill_report {
    double loss, embedding, hidden, score, spread, norm, rate; /* spread: its price, part of loss */
};

STATUS_MUST_USE enum status distill_trainer_init(struct distill_trainer *trainer,
                                                 const struct distill_run *run,
                                                 struct distill_weights *weights);
void distill_trainer_clear(struct distill_trainer *trainer);
/* The examples of a phase. */
const struct distill_batch *distill_trainer_set(const struct distill_trainer *trainer,
                                                const struct distill_phase *phase);
/* Keeps the teacher's side of stage 1 of the labelled examples, if it fits run->teacher_bytes. */
STATUS_MUST_USE enum status distill_trainer_keep_teacher(struct distill_trainer *trainer);
/* Whether it fits. */
bool distill_trainer_keeps_teacher(const struct distill_run *run);
/* The teacher's logits of the whole training set, always made in the same batches. */
STATUS_MUST_USE enum status distill_trainer_ask_teacher(struct distill_trainer *trainer);
/* Runs examples[0..n) forward and backward and moves the weights. key: of this step, for dropout. */
STATUS_MUST_USE enum status distill_trainer_step(struct distill_trainer *trainer,
                                                 const struct distill_phase *phase, const uint32_t *example,
                                                 size_t n, uint64_t key, double rate,
                                                 struct distill_report *report);
/* The layer-wise loss of a set, with no dropout: the mean over its batches, weighted by their tokens. */
STATUS_MUST_USE enum status distill_trainer_match(struct distill_trainer *trainer,
                                                  const struct distill_phase *phase,
                                                  const struct distill_batch *set, double *loss);

#endif
