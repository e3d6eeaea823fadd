#include "parties/command.h"

#include <stdio.h>

#include "parties/client.h"

struct arguments {
    struct command_place place;
    const char *name;
};

static const struct argp_option options[] = {
    {"name", 'n', "NAME", 0, "Name or id of the model", 0},
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
        arguments->name = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        command_place_check(&arguments->place, state);
        if (!arguments->name)
            argp_error(state, "--name NAME is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&command_place_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    options,  parse, NULL, "Removes a model, its shares and its bundles at every party that holds it.",
    children, NULL,  NULL};

int command_remove(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config config;
    struct client *client = NULL;
    struct description description = {0};
    unsigned char id[MODEL_ID_BYTES];
    command_parse(&argp, argc, argv, &arguments);
    enum status status = config_load_caller(&config, arguments.place.path);
    if (status)
        return command_fail(argv[0]);
    status = client_open(&client, &config, NULL);
    if (!status)
        status = client_find(client, arguments.name, &description, id);
    if (!status)
        status = client_remove(client, id);
    if (!status)
        printf("removed %s\n", description.name);
    description_clear(&description);
    client_close(&client);
    config_unload(&config);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
