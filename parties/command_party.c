#include "parties/command.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "parties/config.h"
#include "parties/service.h"

struct arguments {
    const char *config;
    bool check;
};

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "The configuration of this party: trefoil.conf(5)", 0},
    {"check", 'n', NULL, 0, "Only check the configuration", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config = argument;
        return 0;
    case 'n':
        arguments->check = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        if (!arguments->config)
            argp_error(state, "--config FILE is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {options,
                                 parse,
                                 NULL,
                                 "Runs a party in the foreground until SIGTERM or SIGINT. It prints one line "
                                 "on standard output when it is "
                                 "ready, and its log on standard error.",
                                 NULL,
                                 NULL,
                                 NULL};

/* Set before the handlers are, and never changed while they are. */
static struct service *running;

static void stop(int signal_number)
{
    int error = errno;
    (void)signal_number;
    service_stop(running);
    errno = error;
}

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static enum status run(const struct config *config)
{
    enum status status = service_open(&running, config, NULL);
    if (status)
        return status;
    handle(stop);
    printf("P%d listening on %s\n", (int)config->role, service_endpoint(running));
    status = command_flush();
    if (!status)
        status = service_run(running);
    handle(SIG_IGN);
    service_close(&running);
    return status;
}

int command_party(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config config;
    command_parse(&argp, argc, argv, &arguments);
    enum status status = config_load(&config, arguments.config);
    if (status)
        return command_fail(argv[0]);
    if ((int)config.role > (int)NET_ROLE_P2)
        status = status_fail(STATUS_INPUT,
                             "%s: the role of a party is P0, P1 or P2; this is the configuration of a "
                             "process that calls parties",
                             arguments.config);
    else if (arguments.check)
        printf("%s: a valid configuration of P%d\n", arguments.config, (int)config.role);
    else
        status = run(&config);
    config_unload(&config);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
