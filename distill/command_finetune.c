/* trefoil finetune: a pretrained encoder and a labelled file in, a classifier out. */
#include <stdio.h>
#include <stdlib.h>

#include "distill/command.h"
#include "distill/options.h"

enum key { KEY_EPOCHS = 0x2000, KEY_RATE, KEY_DROPOUT };

struct finetune {
    struct distill_options common;
    const char *model;
    double epochs, rate, dropout;
};

static const struct argp_option entries[] = {
    {0, 0, 0, 0, "Model", 1},
    {"model", 'm', "FOLDER", 0, "Pretrained encoder: config.json, model.safetensors, vocab.txt", 1},
    {"epochs", KEY_EPOCHS, "N", 0, "Passes over the training file (3)", 4},
    {"rate", KEY_RATE, "X", 0, "Highest learning rate (3e-5)", 4},
    {"dropout", KEY_DROPOUT, "X", 0, "Instead of what the model's config says", 4},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct finetune *f = state->input;
    switch (key) {
    case 'm':
        f->model = argument;
        break;
    case KEY_EPOCHS:
        f->epochs = distill_option_number(argument, 0.001, 10000, state, "epochs");
        break;
    case KEY_RATE:
        f->rate = distill_option_number(argument, 0, 1, state, "rate");
        break;
    case KEY_DROPOUT:
        f->dropout = distill_option_number(argument, 0, 0.9, state, "dropout");
        break;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &f->common;
        break;
    case ARGP_KEY_END:
        if (f->model == NULL)
            argp_error(state, "--model is needed");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static enum status run(struct finetune *f)
{
    struct model model;
    struct distill_job job = {0};
    struct distill_weights weights = {0};
    enum status status = distill_job_apart(&f->common, "--model", f->model);
    if (status == STATUS_OK)
        status = model_read(&model, f->model);
    if (status != STATUS_OK)
        return status;
    struct model_config config = model.config;
    config.labels = 0; /* the file says which there are */
    status = distill_job_open(&job, &f->common, f->model, &config);
    if (status == STATUS_OK)
        status = distill_weights_from_model(&weights, &model, &config, f->common.run.seed);
    if (status == STATUS_OK && !f->common.run.quiet && model.pooler_w == NULL)
        fprintf(stderr, "%s has no pooler: it begins as a random one\n", f->model);
    model_clear(&model);
    f->common.run.phases = 1;
    f->common.run.phase[0] = (struct distill_phase){
        .name = "task",
        .objective = DISTILL_TASK,
        .epochs = f->epochs,
        .batch = f->common.batch,
        .rate = {f->rate, f->common.warmup, f->common.decay},
        .rate_option = "--rate",
        .dropout = f->dropout >= 0 ? f->dropout : (double)config.dropout,
        .attention_dropout = f->dropout >= 0 ? f->dropout : (double)config.attention_dropout,
    };
    if (status == STATUS_OK)
        status = distill_job_run(&job, &f->common, &weights, "finetune");
    distill_weights_clear(&weights);
    distill_job_close(&job);
    return status;
}

int command_finetune(int argc, char **argv)
{
    static const struct argp_child children[] = {{&distill_options_argp, 0, 0, 0}, {0}};
    static const struct argp argp = {
        entries,
        parse,
        "",
        "Trains a pretrained encoder on a task.\v"
        "The best model by the development file is left in the output folder, with log.tsv and "
        "curves.svg. A run that was stopped goes on when the same command is given again.",
        children,
        0,
        0};
    struct finetune f = {.epochs = 3, .rate = 3e-5, .dropout = -1};
    distill_options_init(&f.common);
    argp_err_exit_status = 2; /* a wrong option, as of every other command */
    argp_parse(&argp, argc, argv, 0, 0, &f);
    return distill_job_exit(run(&f), "finetune");
}
