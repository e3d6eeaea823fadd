/* A training run on a model small enough for a test, for those that run it, stop it and take it apart. */
#ifndef TREFOIL_TESTS_DISTILL_SMALL_RUN_H
#define TREFOIL_TESTS_DISTILL_SMALL_RUN_H

#include "distill/train.h"

#define SMALL_RUN_EXAMPLES 192

struct small_run {
    struct distill_batch train, dev;
    struct distill_weights weights, teacher;
    struct distill_run run;
    volatile sig_atomic_t stop;
    int evaluations, stop_at, kill_at; /* set the flag, or die, in this evaluation */
};
extern struct small_run small_run;
/* The teacher's: two layers of softmax and GeLU, two classes. */
extern const struct model_config small_run_config;

/* A checked fixture: data, random weights and a run of three epochs on the labels, in a folder of its own. */
void small_run_setup(void);
void small_run_teardown(void);

/* Fails the test, with the message, unless it is STATUS_OK. */
void must(enum status status);

/* n texts of random words; the answer is whether word 5 occurs. */
void small_run_set(struct distill_batch *set, size_t n, uint64_t key);
/* A path beneath the temporary folder, in the same buffer every time; writes a file there. */
const char *small_run_path(const char *name);
void small_run_write(const char *name, const char *text);
/* Forgets the weights and trains from the start of the same run. */
STATUS_MUST_USE enum status small_run_again(struct distill_outcome *out);
/* The next run goes to another folder. */
void small_run_folder(const char *name);
uint64_t small_run_digest(void); /* of the weights */
/* How often a file in the run's folder has a text. */
size_t small_run_count(const char *name, const char *text);

/* Trains the teacher; the run becomes a distillation of two stages. */
void small_run_teacher(void);
/* The weights become those of a student of the teacher. */
void small_run_student(enum model_activation activation, enum model_attention attention, bool learned);
/* A weight after stage 1 alone, into another folder, and all of them as a digest. */
double small_run_first_stage(size_t teacher_bytes, const char *name, uint64_t *digest);

#endif
