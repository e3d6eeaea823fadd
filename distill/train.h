/* The training loop: phases of epochs of steps, with evaluation, the choice of the best model, a log,
 * checkpoints.
 *
 * What a run leaves in its folder:
 *     config.json, model.safetensors, ...   the best model by the development metric so far
 *     log.tsv, curves.svg                   distill/runlog.h
 *     checkpoint-0, checkpoint-1            while it is not finished
 * The first checkpoint is written before the first step, so a model without one is of another run or a finished
 * one. A run whose folder has checkpoints goes on from them, to the same result as if it had not stopped. */
#ifndef TREFOIL_DISTILL_TRAIN_H
#define TREFOIL_DISTILL_TRAIN_H

#include <signal.h>
#include <stdbool.h>

#include "distill/batch.h"
#include "distill/rate.h"
#include "distill/weights.h"

#define DISTILL_PHASES_MAX 4

enum distill_objective {
    DISTILL_TASK,   /* the task's labels: cross entropy, or squared error */
    DISTILL_LAYERS, /* stage 1: distill_match */
    DISTILL_LOGITS, /* stage 2: the teacher's logits */
};

struct distill_phase {
    const char *name; /* in the log: "task", "layers", "logits" */
    enum distill_objective objective;
    double epochs; /* may be a fraction */
    size_t batch;  /* sequences */
    struct distill_rate rate;
    const char *rate_option; /* what the user sets it by, for messages; or NULL */
    double dropout, attention_dropout;
    double embedding, hidden, score; /* weights of the parts of stage 1 */
    double spread,
        spread_limit; /* distill_loss_spread: price for each sequence's rows, from which variance */
    double gold;      /* stage 2: share of the task's own loss (regression: of the gold score) */
};

/* The development metric of predictions: logits[sequences][config->labels] in the order of the set. Higher is
 * better. text: a line for the user. */
typedef double distill_measure(const float *logits, const struct distill_batch *set,
                               const struct model_config *config, void *context, char *text,
                               size_t text_bytes);

struct distill_run {
    const char *folder, *title, *metric;
    const char *vocabulary;    /* path of the vocab.txt to put beside the model, or NULL */
    enum model_precision save; /* of the model in the folder */
    uint64_t seed;
    double decay, clip; /* AdamW */
    double rate_c, rate_quad; /* learning rates of learned coefficients, as multiples of the others': a step of Adam is about as long as
                               * the rate, whatever the gradient, and c is 5 where a weight is 0.05 */
    struct distill_phase phase[DISTILL_PHASES_MAX];
    size_t phases;
    size_t log_steps, checkpoint_steps; /* a row, a checkpoint every so many */
    size_t evaluations;                 /* of the development set, in an epoch (at least 1) */
    size_t teacher_bytes;               /* memory for what the teacher says in stage 1 (distill/recall.h) */
    bool half;                          /* training steps in bfloat16 (distill/half.h) */
    bool overwrite;                     /* start over; what an earlier run left is removed first */
    bool quiet;                         /* no progress line */
    const volatile sig_atomic_t
        *stop; /* set by a signal: write a checkpoint and return STATUS_STOPPED; or NULL */
    const struct distill_batch *train, *dev;
    size_t unlabelled; /* so many of the last examples of train have no label: DISTILL_LOGITS alone takes them */
    const struct distill_weights *teacher; /* NULL where no phase needs it */
    distill_measure *measure;
    void *measure_context;
};

struct distill_outcome {
    double best; /* development metric of the model in the folder */
    uint64_t best_phase, best_step;
    char text[256]; /* what measure said of it */
};

/* Trains weights and leaves the best ones in the folder. weights are the last ones afterwards. STATUS_RANGE:
 * the loss is no longer a number; the folder keeps the best model and the last checkpoint. STATUS_STATE: another
 * process has the folder, which is locked (flock) for as long as this runs. */
STATUS_MUST_USE enum status distill_train(struct distill_outcome *out, struct distill_weights *weights,
                                          const struct distill_run *run);
/* Logits of a whole set (distill/visit.h): logits[sequences][labels], in its order. */
STATUS_MUST_USE enum status distill_predict(float *logits, const struct distill_weights *weights,
                                            const struct distill_batch *set);

#endif
