/* Labelled text as token batches, and the development metric of a task. */
#ifndef TREFOIL_DISTILL_DATA_H
#define TREFOIL_DISTILL_DATA_H

#include "distill/batch.h"
#include "model/model.h"
#include "model/task.h"
#include "model/tokenizer.h"

struct distill_data {
    struct distill_batch set;
    size_t shortened;  /* texts that were longer than the limit */
    size_t skipped;    /* torn rows */
    size_t unlabelled; /* of the examples, the last ones */
    bool named;        /* config has each of the file's labels by its name */
};

/* Reads and tokenises a labelled file. Texts are cut to `length` tokens, of a pair the longer one first, as
 * training usually does. STATUS_INPUT: an unlabelled or empty file, a label the model does not have. config:
 * labels == 0 takes number, names and kind of the labels from the file (and sets them); fewer than two classes
 * are STATUS_INPUT then. strict: a label that config does not name is refused with its line, even if it knows
 * none of them (else they count in the file's order, as task_data_fit has it). */
STATUS_MUST_USE enum status distill_data_read(struct distill_data *out, struct model_config *config,
                                              const struct task *task, const char *path,
                                              const struct tokenizer *tokenizer, size_t length, bool strict);
/* Adds the texts of a file, whatever labels they have, as examples without one. */
STATUS_MUST_USE enum status distill_data_add_unlabelled(struct distill_data *out, const struct task *task,
                                                        const char *path, const struct tokenizer *tokenizer,
                                                        size_t length);
void distill_data_clear(struct distill_data *data);

/* A distill_measure; context is the struct task. Returns the metric the task is known by. */
double distill_data_measure(const float *logits, const struct distill_batch *set,
                            const struct model_config *config, void *context, char *text, size_t text_bytes);

#endif
