/* The subcommands of trefoil. Each stands in a file of its own, parses its options with argp and returns an
 * exit status; argv[0] is the full name ("trefoil infer"), which argp puts in front of its messages. */
#ifndef TREFOIL_PARTIES_COMMAND_H
#define TREFOIL_PARTIES_COMMAND_H

#include <argp.h>

#include "model/files.h"
#include "ring/status.h"

/* What every command returns. */
enum { COMMAND_OK = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2 };

int command_bench(int argc, char **argv);
int command_count(int argc, char **argv);
int command_eval(int argc, char **argv);
int command_infer(int argc, char **argv);
int command_keygen(int argc, char **argv);
int command_offline(int argc, char **argv);
int command_party(int argc, char **argv);
int command_random_model(int argc, char **argv);
int command_remove(int argc, char **argv);
int command_share(int argc, char **argv);
int command_status(int argc, char **argv);
int command_tokenize(int argc, char **argv);
/* In distill/. */
int command_distill(int argc, char **argv);
int command_finetune(int argc, char **argv);

/* Keeps keys, masks, shares, weights and texts out of core files for the rest of this process and of those it forks. A core_pattern that
 * pipes to a program asks for no limit, so the process is made undumpable, too; then /proc/PID/mem and the like belong to root,
 * and debuggers of others cannot attach. */
void command_forbid_core_files(void);

/* Prints "NAME: message of the failure" on standard error; returns COMMAND_FAILED. */
int command_fail(const char *name);

/* Parses; does not return on --help or a wrong option (exit status 2). */
void command_parse(const struct argp *argp, int argc, char **argv, void *input);

/* A whole number of an option; argp_error if it is none or out of range. */
unsigned long command_number(const char *text, const char *option, unsigned long low, unsigned long high,
                             struct argp_state *state);

/* Products in the clear use every processor from here on (0), or that many threads. */
void command_threads(int threads);

/* A path as a shell takes it: in quotes where it needs them. For commands in messages. */
#define COMMAND_QUOTED (4 * FILES_PATH_BYTES + 3)
const char *command_quote(char out[COMMAND_QUOTED], const char *path);

/* Flushes standard output: STATUS_FULL or STATUS_IO if anything since the last call could not be written. The program calls it at
 * its end, and fails then. */
STATUS_MUST_USE enum status command_flush(void);

/* --cluster DIR or --config FILE: where the configuration of a client, owner or operator is. Also
 * TREFOIL_CONFIG in the environment. A child parser; its input is a struct command_place. */
struct command_place {
    char path[FILES_PATH_BYTES]; /* "" if nothing was said */
};
extern const struct argp command_place_argp;
/* argp_error if nothing was said. For ARGP_KEY_END. */
void command_place_check(struct command_place *place, struct argp_state *state);

#endif
