/* trefoil: one program, a subcommand for each thing a party, a model owner, a client or an operator does. */
#include <config.h>

#include <cblas.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "parties/command.h"

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
    bool secret; /* holds keys, texts, or weights that are shared: none of it into core files */
};

static const struct command commands[] = {
    {"keygen", "make the key pair of a process", command_keygen, true},
    {"party", "run one of the three parties", command_party, true},
    {"share", "share a model with the parties", command_share, true},
    {"offline", "deal bundles for later inferences", command_offline, true},
    {"infer", "classify texts privately", command_infer, true},
    {"eval", "evaluate a task, privately and in the clear", command_eval, true},
    {"status", "models, bundles and peers of the parties", command_status, true},
    {"remove", "remove a model from the parties", command_remove, true},
    {"count", "rounds, bytes, store and memory of a model, without running it", command_count, false},
    {"bench", "measure this machine, the clear model and the private one side by side", command_bench, true},
    {"tokenize", "texts to token ids", command_tokenize, false},
    {"finetune", "train a pretrained encoder on a task", command_finetune, false},
    {"distill", "distil a trained model into one that is cheap under shares", command_distill, false},
    {"random-model", "write a model of random weights", command_random_model, false},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void print_help(FILE *out)
{
    fprintf(out, "Usage: trefoil COMMAND [OPTION...]\n"
                 "Private inference of a Transformer classifier among three parties.\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n  --help, --version\n\n"
                 "`trefoil COMMAND --help` describes the options of a command; so does trefoil(1).\n"
                 "Exit status: 0 if all went well, 1 if something failed, 2 for a wrong use,\n"
                 "130 if a signal stopped finetune or distill: the same command goes on.\n");
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse(const char *name)
{
    fprintf(stderr, "trefoil: there is no command \"%s\"; trefoil --help lists them\n", name);
    return COMMAND_USAGE;
}

static int run(const struct command *command, int argc, char **argv)
{
    static char name[64]; /* for messages up to the very end */
    snprintf(name, sizeof name, "trefoil %s", command->name);
    argv[0] = name;
    /* glibc's message of a wrong option takes this name instead. */
    program_invocation_name = program_invocation_short_name = name;
    if (command->secret)
        command_forbid_core_files();
    return command->run(argc, argv);
}

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return COMMAND_OK;
    }
    const struct command *command = find(argv[1]);
    char option[] = "--help", *of[] = {argv[1], option, NULL};
    return command ? run(command, 2, of) : refuse(argv[1]);
}

/* A number that is closed at the start would be given to the next file or socket that is opened, and messages would go into it.
 * Opened the wrong way round: reading and writing still fail. */
static bool open_standard_files(void)
{
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) < 0 && open("/dev/null", file == STDIN_FILENO ? O_WRONLY : O_RDONLY) != file)
            return false;
    return true;
}

/* However a command ends, by argp's --help as well. */
static void check_output(void)
{
    if (command_flush() != STATUS_OK)
        _exit(command_fail(program_invocation_short_name));
}

int main(int argc, char **argv)
{
    if (!open_standard_files() || atexit(check_output) != 0)
        return COMMAND_FAILED;
    argp_program_version = PACKAGE_STRING;
    argp_err_exit_status = COMMAND_USAGE;
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk */
    if (sodium_init() < 0) {
        fprintf(stderr, "trefoil: cannot start libsodium\n");
        return COMMAND_FAILED;
    }
    /* The ring's kernels call OpenBLAS from threads of their own; whoever wants its threads asks
     * (command_threads). */
    openblas_set_num_threads(1);
    if (argc < 2) {
        print_help(stderr);
        return COMMAND_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("%s\n", PACKAGE_STRING);
        return COMMAND_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return COMMAND_OK;
    }
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    const struct command *command = find(argv[1]);
    return command ? run(command, argc - 1, argv + 1) : refuse(argv[1]);
}
