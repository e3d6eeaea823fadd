#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "model/embeddings.h"
#include "parties/calibration.h"
#include "parties/client.h"
#include "parties/progress.h"

struct arguments {
    struct command_place place;
    const char *model, *calibration, *name, *export;
    char own[sizeof((struct description *)0)->name]; /* the name if none was said */
    bool overwrite;
};

enum { OVERWRITE = 256 };

static const struct argp_option options[] = {
    {"model", 'm', "FOLDER", 0, "The model: a Hugging Face folder with the weights", 0},
    {"calibration", 't', "FILE", 0, "Texts like those to be classified, one a line, a tab between a pair", 0},
    {"name", 'n', "NAME", 0, "What the model is to be called (the name of the folder)", 0},
    {"export", 'e', "DIR", 0, "Also write the public part of the model for clients", 0},
    {"overwrite", OVERWRITE, NULL, 0, "Export even where DIR holds a model", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->place;
        return 0;
    case 'm':
        arguments->model = argument;
        return 0;
    case 't':
        arguments->calibration = argument;
        return 0;
    case 'n':
        if (description_check_name(argument) != STATUS_OK)
            argp_error(state, "--name: %s", status_message());
        arguments->name = argument;
        return 0;
    case 'e':
        arguments->export = argument;
        return 0;
    case OVERWRITE:
        arguments->overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        if (!arguments->model)
            argp_error(state, "--model FOLDER is missing");
        command_place_check(&arguments->place, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&command_place_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    options,
    parse,
    NULL,
    "Shares a model with the parties: each gets shares that tell it nothing, and keeps them in its store. "
    "Calibration runs texts through the model in the clear, here, and chooses the fixed-point scales; "
    "without "
    "--calibration the file calibration.txt of the folder is used, or the program's own sample texts.\v"
    "The parties learn the model's shape and the largest values calibration saw, no weight. Clients need the "
    "folder "
    "that --export writes: vocabulary and embedding tables.",
    children,
    NULL,
    NULL};

/* Names that the parties would refuse are refused before the texts are run. */
static enum status choose_name(struct arguments *arguments)
{
    if (arguments->name)
        return STATUS_OK;
    calibrated_name(arguments->own, sizeof arguments->own, arguments->model);
    arguments->name = arguments->own;
    enum status status = description_check_name(arguments->name);
    return status ? status_prefix(status, "%s: choose another name with --name: ", arguments->model)
                  : STATUS_OK;
}

static enum status share(struct client *client, const struct calibrated *model, char hex[MODEL_ID_TEXT_BYTES])
{
    unsigned char id[MODEL_ID_BYTES];
    struct progress progress;
    progress_start(&progress, "sharing");
    enum status status =
        client_share(client, &model->description, &model->folded, progress_update, &progress, id);
    progress_end(&progress);
    if (!status)
        printf("%s %s\n", sodium_bin2hex(hex, MODEL_ID_TEXT_BYTES, id, sizeof id), model->description.name);
    return status;
}

/* Before anything is shared. The owner's weights stand nowhere else. */
static enum status check_export(const struct arguments *arguments)
{
    if (!arguments->export)
        return STATUS_OK;
    if (files_same(arguments->export, arguments->model))
        return status_fail(
            STATUS_INPUT,
            "--export %s is the folder of the model itself, whose weights it would replace: name "
            "another folder",
            arguments->export);
    enum status status = arguments->overwrite ? STATUS_OK : model_check_free(arguments->export);
    return status ? status : files_make_folder(arguments->export);
}

static enum status write_public(const struct calibrated *model, const struct arguments *arguments,
                                const char *id)
{
    enum status status = model_write_embeddings(&model->model, arguments->export, arguments->model, id);
    return status ? status_prefix(status, "the model is shared, but its public part was not written: ")
                  : STATUS_OK;
}

int command_share(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config config;
    struct calibrated model = {0};
    struct client *client = NULL;
    char id[MODEL_ID_TEXT_BYTES];
    command_parse(&argp, argc, argv, &arguments);
    enum status status = config_load_caller(&config, arguments.place.path);
    if (status)
        return command_fail(argv[0]);
    status = choose_name(&arguments);
    if (!status)
        status = check_export(&arguments);
    command_threads(0);
    if (!status)
        status = calibrated_open(&model, arguments.model, arguments.calibration, arguments.name);
    command_threads(1);
    if (!status)
        status = client_open(&client, &config, NULL);
    if (!status)
        status = share(client, &model, id);
    if (!status && arguments.export)
        status = write_public(&model, &arguments, id);
    client_close(&client);
    calibrated_clear(&model);
    config_unload(&config);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
