/* Predictions over a task's examples, private and in the clear, and how far they are apart. */
#ifndef TREFOIL_PARTIES_EVALUATION_H
#define TREFOIL_PARTIES_EVALUATION_H

#include "model/task.h"
#include "parties/classify.h"
#include "parties/clear.h"
#include "parties/texts.h"

struct evaluation {
    const struct task *task;
    struct task_data data;
    struct texts texts; /* the tokens of each example */
    struct model_config config;
    float *clear, *private; /* [examples][labels]; private NULL if it was not asked for */
    /* of the private run */
    double online_ms;
    uint64_t rounds, bytes; /* of the last inference */
    uint64_t inferences, dealt;
    double seconds; /* of all of it, dealing included */
};

/* Reads the data and tokenizes it. cut: shorten what is too long for limit tokens; else that is an error. */
STATUS_MUST_USE enum status evaluation_read(struct evaluation *out, const struct task *task, const char *path,
                                            size_t examples_max, const struct model_config *config,
                                            const struct tokenizer *tokenizer, size_t limit, bool cut);
void evaluation_clear(struct evaluation *evaluation);

STATUS_MUST_USE enum status evaluation_run_clear(struct evaluation *evaluation,
                                                 const struct clear_model *clear);
/* The same for a model that does not run privately, such as a teacher. STATUS_INPUT: it has no classifier. */
STATUS_MUST_USE enum status evaluation_run_trained(struct evaluation *evaluation, const struct model *model);
/* batch sequences an inference, in_flight inferences at a time (parties/in_flight.h); asks for bundles as it goes. */
STATUS_MUST_USE enum status evaluation_run_private(struct evaluation *evaluation, struct classifier *classifier,
                                                   uint32_t batch, unsigned in_flight);

/* The task's metric (which 0 or 1) of one kind of predictions; METRIC_NONE and 0 if there is no second. */
STATUS_MUST_USE enum status evaluation_metric(const struct evaluation *evaluation, const float *logits,
                                              int which, enum metric *metric, double *value);
/* How many examples get the same label from both (regression: scores at most EVALUATION_CLOSE apart). */
#define EVALUATION_CLOSE 0.02
size_t evaluation_agree(const struct evaluation *evaluation);
double evaluation_distance(const struct evaluation *evaluation);

#endif
