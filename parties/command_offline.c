#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>

#include "parties/client.h"
#include "parties/print.h"
#include "parties/progress.h"

struct arguments {
    struct command_place place;
    const char *name;
    uint32_t bundles, bucket, batch;
    bool json;
};

static const struct argp_option options[] = {
    {"bundles", 'n', "N", 0, "How many bundles to deal (1); each serves one inference", 0},
    {"bucket", 's', "TOKENS", 0, "The padded length they are for", 0},
    {"batch", 'b', "N", 0, "The sequences of one inference (1)", 0},
    {"name", 'm', "NAME", 0, "Name or id of the shared model (the folder's, or the one shared last)", 0},
    {"json", 'j', NULL, 0, "Print a JSON object", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->place;
        return 0;
    case 'n':
        arguments->bundles = (uint32_t)command_number(argument, "bundles", 1, 1000000, state);
        return 0;
    case 's':
        arguments->bucket = (uint32_t)command_number(argument, "bucket", 2, 65536, state);
        return 0;
    case 'b':
        arguments->batch = (uint32_t)command_number(argument, "batch", 1, 1024, state);
        return 0;
    case 'm':
        arguments->name = argument;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        command_place_check(&arguments->place, state);
        if (!arguments->bucket)
            argp_error(state, "--bucket TOKENS is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&command_place_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {options,
                                 parse,
                                 NULL,
                                 "The offline phase: the parties deal and store bundles, everything an "
                                 "inference spends but the input. It needs "
                                 "no text and can run at any time before the online phase.",
                                 children,
                                 NULL,
                                 NULL};

static enum status report(const struct deal_request *request, bool json)
{
    char one[PRINT_SIZE], two[PRINT_SIZE];
    if (json)
        return print_json(json_pack("{s:I, s:I, s:f, s:I, s:I}", "dealt", (json_int_t)request->dealt, "ready",
                                    (json_int_t)request->ready, "seconds", request->seconds, "bytes_p1",
                                    (json_int_t)request->bytes_p1, "bytes_p2",
                                    (json_int_t)request->bytes_p2));
    printf("%u bundle%s of %u tokens dealt in %.1f s (%s to P1, %s to P2); %llu ready\n", request->dealt,
           request->dealt == 1 ? "" : "s", request->bucket, request->seconds,
           print_bytes(one, request->bytes_p1), print_bytes(two, request->bytes_p2),
           (unsigned long long)request->ready);
    if (request->dealt < request->count)
        fprintf(stderr, "%u were asked for: the parties keep no more bundles of a shape (bundles_max)\n",
                request->count);
    return STATUS_OK;
}

static enum status deal(struct client *client, const struct config *config, const struct arguments *arguments)
{
    struct description description;
    unsigned char id[MODEL_ID_BYTES];
    struct progress progress;
    enum status status = client_describe_for(client, config->model, arguments->name, &description, id);
    if (status)
        return status;
    struct deal_request request = {.model = id,
                                   .bucket = arguments->bucket,
                                   .batch = arguments->batch,
                                   .tune = config->tune_lan ? TUNE_LAN : TUNE_WAN,
                                   .count = arguments->bundles,
                                   .progress = progress_update,
                                   .context = &progress};
    progress_start(&progress, "dealing");
    status = client_deal(client, &description, &request);
    progress_end(&progress);
    description_clear(&description);
    return status ? status : report(&request, arguments->json);
}

int command_offline(int argc, char **argv)
{
    struct arguments arguments = {.bundles = 1, .batch = 1};
    struct config config;
    struct client *client = NULL;
    command_parse(&argp, argc, argv, &arguments);
    enum status status = config_load_caller(&config, arguments.place.path);
    if (status)
        return command_fail(argv[0]);
    status = client_open(&client, &config, NULL);
    if (!status)
        status = deal(client, &config, &arguments);
    client_close(&client);
    config_unload(&config);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
