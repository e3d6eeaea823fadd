/* Options that `trefoil finetune` and `trefoil distill` share, and what both do around a run. */
#ifndef TREFOIL_DISTILL_OPTIONS_H
#define TREFOIL_DISTILL_OPTIONS_H

#include <argp.h>

#include "distill/data.h"
#include "distill/train.h"

#define DISTILL_UNLABELLED_MAX 16

struct distill_options {
    const char *task, *train, *dev, *out;
    const char *unlabelled[DISTILL_UNLABELLED_MAX]; /* "FILE" of the task, or "TASK:FILE" */
    size_t unlabelled_files;
    size_t length;
    int threads;
    size_t batch;
    double warmup;
    enum distill_decay decay;
    struct distill_run run; /* seed, weight decay, clip, log, checkpoints, ... */
};

/* A child parser for argp; its input is a struct distill_options. */
extern const struct argp distill_options_argp;
void distill_options_init(struct distill_options *options);

/* Numbers for option parsers: on nonsense argp_error, which ends the program with a usage message. */
double distill_option_number(const char *text, double least, double most, struct argp_state *state,
                             const char *name);
size_t distill_option_count(const char *text, size_t least, struct argp_state *state, const char *name);

/* What a command holds while it runs. */
struct distill_job {
    const struct task *task;
    struct tokenizer *tokenizer;
    struct distill_data train, dev;
    char vocabulary[4096], title[256];
};

/* Opens the task, the tokenizer of a model folder and both files; config as in distill_data_read. */
STATUS_MUST_USE enum status distill_job_open(struct distill_job *job, const struct distill_options *options,
                                             const char *folder, struct model_config *config);
/* Fills run from job and options, trains, and prints the outcome. SIGINT and SIGTERM end it with a
 * checkpoint. */
STATUS_MUST_USE enum status distill_job_run(struct distill_job *job, struct distill_options *options,
                                            struct distill_weights *weights, const char *command);
/* STATUS_INPUT if the output folder is that of an input: the model in it would be lost. option: how the user named
 * that one. */
STATUS_MUST_USE enum status distill_job_apart(const struct distill_options *options, const char *option,
                                              const char *folder);
void distill_job_close(struct distill_job *job);
/* Prints a failure and returns the program's exit status: 1, or 130 if a signal stopped the run, as a shell has it. */
int distill_job_exit(enum status status, const char *command);

#endif
