#include "distill/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum key {
    KEY_BATCH = 0x1000,
    KEY_WARMUP,
    KEY_SCHEDULE,
    KEY_WEIGHT_DECAY,
    KEY_CLIP,
    KEY_LOG_STEPS,
    KEY_CHECKPOINT_STEPS,
    KEY_EVALUATIONS,
    KEY_OVERWRITE,
    KEY_PRECISION,
    KEY_SAVE,
};

static const struct argp_option entries[] = {
    {0, 0, 0, 0, "Data", 2},
    {"task", 't', "NAME", 0,
     "sst-2, cola, mrpc, rte, sts-b, qnli, mnli, qqp, imdb, or tsv for a table of your own", 2},
    {"train", 'r', "FILE", 0, "Labelled examples to train on", 2},
    {"dev", 'd', "FILE", 0, "Labelled examples to choose the best model by", 2},
    {"out", 'o', "FOLDER", 0, "Where the model, log.tsv, curves.svg and checkpoints go", 2},
    {"length", 'l', "TOKENS", 0, "Cut longer texts (128)", 2},
    {"save", KEY_SAVE, "KIND", 0, "Write the model's weights as f32, or f16 in half the room (f32)", 2},
    {0, 0, 0, 0, "Training", 4},
    {"batch", KEY_BATCH, "N", 0, "Texts in a step (32)", 4},
    {"warmup", KEY_WARMUP, "SHARE", 0, "Share of the steps in which the learning rate rises (0.1)", 4},
    {"schedule", KEY_SCHEDULE, "KIND", 0,
     "How the rate falls afterwards: linear, cosine or constant (linear)", 4},
    {"weight-decay", KEY_WEIGHT_DECAY, "X", 0, "Decoupled weight decay (0.01)", 4},
    {"clip", KEY_CLIP, "NORM", 0, "Largest norm of a gradient, 0 for any (1)", 4},
    {"precision", KEY_PRECISION, "KIND", 0,
     "float, or bf16: products of training steps in bfloat16 where the processor has AMX or AVX512-BF16, about "
     "twice as fast or more "
     "(float)",
     4},
    {"seed", 's', "N", 0, "Same seed, same run (1)", 4},
    {"threads", 'j', "N", 0, "Processor cores to use (all)", 4},
    {0, 0, 0, 0, "Keeping track", 5},
    {"log-steps", KEY_LOG_STEPS, "N", 0, "A row of log.tsv every N steps (20)", 5},
    {"evaluations", KEY_EVALUATIONS, "N", 0, "Looks at the development file in an epoch (1)", 5},
    {"checkpoint-steps", KEY_CHECKPOINT_STEPS, "N", 0, "A checkpoint every N steps (200)", 5},
    {"overwrite", KEY_OVERWRITE, 0, 0, "Start over, whatever the folder holds", 5},
    {"quiet", 'q', 0, 0, "No progress", 5},
    {0},
};

double distill_option_number(const char *text, double least, double most, struct argp_state *state,
                             const char *name)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(value >= least && value <= most))
        argp_error(state, "--%s: '%s' is not a number from %g to %g", name, text, least, most);
    return value;
}

size_t distill_option_count(const char *text, size_t least, struct argp_state *state, const char *name)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || text[0] == '-' || value < least || value > 1000000000)
        argp_error(state, "--%s: '%s' is not a whole number from %zu to 1000000000", name, text, least);
    return (size_t)value;
}

static enum distill_decay decay_named(const char *text, struct argp_state *state)
{
    if (strcmp(text, "cosine") == 0)
        return DISTILL_COSINE;
    if (strcmp(text, "constant") == 0)
        return DISTILL_CONSTANT;
    if (strcmp(text, "linear") != 0)
        argp_error(state, "--schedule: '%s' is none of linear, cosine, constant", text);
    return DISTILL_LINEAR;
}

static void check(const struct distill_options *o, struct argp_state *state)
{
    if (o->task == NULL || o->train == NULL || o->dev == NULL || o->out == NULL)
        argp_error(state, "--task, --train, --dev and --out are needed");
}

static error_t parse_training(struct distill_options *o, int key, const char *argument,
                              struct argp_state *state)
{
    switch (key) {
    case KEY_BATCH:
        o->batch = distill_option_count(argument, 1, state, "batch");
        break;
    case KEY_WARMUP:
        o->warmup = distill_option_number(argument, 0, 1, state, "warmup");
        break;
    case KEY_SCHEDULE:
        o->decay = decay_named(argument, state);
        break;
    case KEY_WEIGHT_DECAY:
        o->run.decay = distill_option_number(argument, 0, 10, state, "weight-decay");
        break;
    case KEY_CLIP:
        o->run.clip = distill_option_number(argument, 0, 1e9, state, "clip");
        break;
    case KEY_LOG_STEPS:
        o->run.log_steps = distill_option_count(argument, 1, state, "log-steps");
        break;
    case KEY_CHECKPOINT_STEPS:
        o->run.checkpoint_steps = distill_option_count(argument, 1, state, "checkpoint-steps");
        break;
    case KEY_EVALUATIONS:
        o->run.evaluations = distill_option_count(argument, 1, state, "evaluations");
        break;
    case KEY_PRECISION:
        if (strcmp(argument, "float") != 0 && strcmp(argument, "bf16") != 0)
            argp_error(state, "--precision: '%s' is neither float nor bf16", argument);
        o->run.half = strcmp(argument, "bf16") == 0;
        break;
    case KEY_SAVE:
        if (strcmp(argument, "f32") != 0 && strcmp(argument, "f16") != 0)
            argp_error(state, "--save: '%s' is neither f32 nor f16", argument);
        o->run.save = strcmp(argument, "f16") == 0 ? MODEL_F16 : MODEL_F32;
        break;
    case KEY_OVERWRITE:
        o->run.overwrite = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct distill_options *o = state->input;
    switch (key) {
    case 't':
        o->task = argument;
        break;
    case 'r':
        o->train = argument;
        break;
    case 'd':
        o->dev = argument;
        break;
    case 'o':
        o->out = argument;
        break;
    case 'l':
        o->length = distill_option_count(argument, 4, state, "length");
        break;
    case 's':
        o->run.seed = distill_option_count(argument, 0, state, "seed");
        break;
    case 'j':
        o->threads = (int)distill_option_count(argument, 1, state, "threads");
        break;
    case 'q':
        o->run.quiet = true;
        break;
    case ARGP_KEY_END:
        check(o, state);
        break;
    default:
        return parse_training(o, key, argument, state);
    }
    return 0;
}

const struct argp distill_options_argp = {.options = entries, .parser = parse};

void distill_options_init(struct distill_options *options)
{
    *options = (struct distill_options){
        .length = 128,
        .batch = 32,
        .warmup = 0.1,
        .run =
            {.seed = 1, .decay = 0.01, .clip = 1, .log_steps = 20, .checkpoint_steps = 200, .evaluations = 1},
    };
}
