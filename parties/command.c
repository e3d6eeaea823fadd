#include <config.h>

#include "parties/command.h"

#include <cblas.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#ifdef _OPENMP
#include <omp.h>
#endif

void command_forbid_core_files(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
#ifndef TREFOIL_SANITIZER /* the leak sanitizer attaches to its own process */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

int command_fail(const char *name)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", name, status_message());
    return COMMAND_FAILED;
}

void command_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    error_t error = argp_parse(argp, argc, argv, 0, NULL, input);
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", argv[0], strerror(error));
    exit(COMMAND_USAGE);
}

unsigned long command_number(const char *text, const char *option, unsigned long low, unsigned long high,
                             struct argp_state *state)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || errno || strchr(text, '-') || value < low || value > high)
        argp_error(state, "--%s takes a whole number from %lu to %lu, not %s", option, low, high, text);
    return value;
}

void command_threads(int threads)
{
#ifdef _OPENMP
    if (threads < 1)
        threads = omp_get_num_procs();
#endif
    openblas_set_num_threads(threads > 0 ? threads : 1);
}

const char *command_quote(char out[COMMAND_QUOTED], const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-";
    if (*path && path[strspn(path, plain)] == '\0') {
        snprintf(out, COMMAND_QUOTED, "%s", path);
        return out;
    }
    char *to = out;
    *to++ = '\'';
    for (; *path && to - out < COMMAND_QUOTED - 6; path++) {
        if (*path == '\'')
            to = stpcpy(to, "'\\'");
        *to++ = *path;
    }
    strcpy(to, "'");
    return out;
}

enum status command_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return STATUS_OK;
    clearerr(stdout);
    if (errno == ENOSPC)
        return status_fail(STATUS_FULL, "cannot write the output: the disk is full");
    return status_fail(STATUS_IO, "cannot write the output: %s",
                       errno ? strerror(errno) : "an earlier write failed");
}

/* ---- where the configuration is ---- */

static const struct argp_option place_options[] = {
    {"cluster", 'd', "DIR", 0, "Talk to the parties of DIR, which scripts/cluster.sh made (DIR/client.conf)",
     -2},
    {"config", 'c', "FILE", 0, "Talk to the parties as this configuration says (or set TREFOIL_CONFIG)", -2},
    {0},
};

static void set_place(struct command_place *place, struct argp_state *state, const char *text,
                      const char *file)
{
    if (place->path[0])
        argp_error(state, "say either --cluster or --config, and only once");
    if ((size_t)snprintf(place->path, sizeof place->path, "%s%s", text, file) >= sizeof place->path)
        argp_error(state, "the name of the configuration is too long");
}

static error_t parse_place(int key, char *argument, struct argp_state *state)
{
    struct command_place *place = state->input;
    if (key == 'd')
        set_place(place, state, argument, "/client.conf");
    else if (key == 'c')
        set_place(place, state, argument, "");
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

const struct argp command_place_argp = {.options = place_options, .parser = parse_place};

void command_place_check(struct command_place *place, struct argp_state *state)
{
    const char *usual = getenv("TREFOIL_CONFIG");
    if (!place->path[0] && usual)
        set_place(place, state, usual, "");
    if (!place->path[0])
        argp_error(state, "where are the parties? Say --cluster DIR or --config FILE");
}
