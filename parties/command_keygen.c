#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>

#include "parties/key_file.h"

struct arguments {
    const char *file;
    bool show;
};

static const struct argp_option options[] = {
    {"show", 's', NULL, 0, "Only print the public key that belongs to the secret key in FILE", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 's':
        arguments->show = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->file)
            argp_error(state, "one FILE is enough");
        arguments->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->file)
            argp_error(state, "FILE is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    "FILE",
    "Makes the key pair of one process: FILE gets the secret key, readable by its owner only, and FILE.pub "
    "the "
    "public key, which the peers' configurations name. Existing files are never written over.",
    NULL,
    NULL,
    NULL};

int command_keygen(int argc, char **argv)
{
    struct arguments arguments = {0};
    char public_key[NET_KEY_TEXT];
    command_parse(&argp, argc, argv, &arguments);
    enum status status = arguments.show ? key_file_read(arguments.file, public_key, NULL)
                                        : key_file_make(arguments.file, public_key);
    if (status)
        return command_fail(argv[0]);
    printf("%s\n", public_key);
    return COMMAND_OK;
}
