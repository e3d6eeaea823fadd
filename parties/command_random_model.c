#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>

#include "model/config.h"
#include "model/embeddings.h"
#include "model/random_model.h"

struct arguments {
    struct model_config config;
    unsigned long seed;
    const char *folder;
    bool overwrite;
};

enum { OVERWRITE = 256 };

static const struct argp_option options[] = {
    {"layers", 'l', "N", 0, "Layers (12)", 0},
    {"hidden", 'h', "N", 0, "Hidden size (768)", 0},
    {"heads", 'a', "N", 0, "Attention heads (12)", 0},
    {"ffn", 'f', "N", 0, "Feed-forward size (3072)", 0},
    {"vocabulary", 'v', "N", 0, "Size of the vocabulary (30522)", 0},
    {"positions", 'p', "N", 0, "Longest sequence (512)", 0},
    {"labels", 'k', "N", 0, "Labels (2); 1: a regression", 0},
    {"seed", 's', "N", 0, "The same seed gives the same model (1)", 0},
    {"overwrite", OVERWRITE, NULL, 0, "Replace the model that DIR holds", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct model_config *config = &arguments->config;
    const struct {
        int key;
        const char *option;
        uint32_t *out;
        unsigned long low, high;
    } numbers[] = {
        {'l', "layers", &config->layers, 1, CONFIG_LAYERS_MAX},
        {'h', "hidden", &config->hidden, 2, CONFIG_HIDDEN_MAX},
        {'a', "heads", &config->heads, 1, 1024},
        {'f', "ffn", &config->ffn, 1, CONFIG_FFN_MAX},
        {'v', "vocabulary", &config->vocabulary, RANDOM_MODEL_VOCABULARY_MIN, CONFIG_VOCABULARY_MAX},
        {'p', "positions", &config->positions, 2, CONFIG_POSITIONS_MAX},
        {'k', "labels", &config->labels, 1, MODEL_LABELS_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].key == key) {
            *numbers[i].out =
                (uint32_t)command_number(argument, numbers[i].option, numbers[i].low, numbers[i].high, state);
            return 0;
        }
    switch (key) {
    case 's':
        arguments->seed = command_number(argument, "seed", 0, ULONG_MAX, state);
        return 0;
    case OVERWRITE:
        arguments->overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->folder)
            argp_error(state, "one DIR is enough");
        arguments->folder = argument;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->folder)
            argp_error(state, "DIR, the folder to write, is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {options,
                                 parse,
                                 "DIR",
                                 "Writes a student of this shape with random weights (Quad, 2Quad): it means "
                                 "nothing, but it counts, shares and "
                                 "runs like a real one of that size. The usual sizes are those of BERT-base.",
                                 NULL,
                                 NULL,
                                 NULL};

int command_random_model(int argc, char **argv)
{
    struct arguments arguments = {.seed = 1};
    model_config_default(&arguments.config);
    arguments.config.activation = MODEL_QUAD;
    arguments.config.attention = MODEL_2QUAD;
    command_parse(&argp, argc, argv, &arguments);
    arguments.config.regression = arguments.config.labels == 1;
    enum status status = arguments.overwrite ? STATUS_OK : model_check_free(arguments.folder);
    if (!status)
        status = random_model_write(arguments.folder, &arguments.config, arguments.seed);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
