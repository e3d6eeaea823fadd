#include <config.h>

#include "parties/command.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "parties/config.h"
#include "parties/journal.h"
#include "parties/service.h"
#include "ring/signals.h"

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
                                 "Runs a party in the foreground until SIGTERM, SIGINT, SIGHUP or "
                                 "SIGQUIT. It prints one line on standard output when it is ready, and its "
                                 "log on standard error.",
                                 NULL,
                                 NULL,
                                 NULL};

/* The handler may run in any thread, those of OpenBLAS too, and before there is anything to stop. */
static atomic_bool stopped;
static struct service *_Atomic running; /* while it can be stopped */

static void stop(int signal_number)
{
    int error = errno;
    (void)signal_number;
    atomic_store(&stopped, true);
    struct service *service = atomic_load(&running);
    if (service)
        service_stop(service);
    errno = error;
}

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}, before;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
    /* There is nothing to read anew. Under nohup it stays ignored. */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

/* The service opens with signals held back: a call of ZeroMQ that one interrupts fails, and with it the start. Threads that
 * are made meanwhile never take one. */
static enum status open_undisturbed(struct service **service, const struct config *config)
{
    const sigset_t before = signals_hold();
    const enum status status = service_open(service, config, NULL);
    signals_release(before);
    return status;
}

/* Each connection takes a descriptor. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static enum status run(const struct config *config)
{
    struct service *service = NULL;
#ifdef __SANITIZE_THREAD__
    /* GCC 12's thread sanitizer makes the place where a thread keeps its signals when it first blocks, and loses one that
     * comes just then. */
    usleep(1);
#endif
    /* From the moment the store is open only a clean end keeps its bundles: a signal waits until it can be one. */
    handle(stop);
    journal(config->name, "%s starts", PACKAGE_STRING);
    enum status status = open_undisturbed(&service, config);
    if (status)
        return status;
    atomic_store(&running, service);
    if (atomic_load(&stopped))
        service_stop(service);
    printf("P%d listening on %s\n", (int)config->role, service_endpoint(service));
    if (command_flush() != STATUS_OK)
        journal(config->name, "listens on %s, but nobody is told: %s", service_endpoint(service),
                status_message());
    status = service_run(service);
    handle(SIG_IGN);
    atomic_store(&running, NULL);
    if (status)
        journal(config->name, "stops (%s): %s", status_name(status), status_message());
    const enum status closed = service_close(&service); /* which says what was wrong */
    journal(config->name, "stopped");
    return status ? status : closed;
}

int command_party(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config config;
    command_parse(&argp, argc, argv, &arguments);
    allow_descriptors();
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
