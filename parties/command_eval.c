#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>

#include "parties/evaluation.h"
#include "parties/in_flight.h"
#include "parties/print.h"

struct arguments {
    struct command_place place;
    const struct task *task;
    const char *data, *model, *name;
    unsigned long limit;
    uint32_t batch;
    unsigned in_flight;
    bool json, clear_only, truncate;
};

static const struct argp_option options[] = {
    {"task", 't', "TASK", 0, "The task: sst-2, cola, mrpc, rte, sts-b, qnli, mnli, qqp, imdb or tsv", 0},
    {"data", 'D', "FILE", 0, "Its file, as GLUE ships it; for tsv a table of your own", 0},
    {"model", 'm', "FOLDER", 0, "The whole model (or the configuration's model)", 0},
    {"name", 'n', "NAME", 0, "Name or id of the shared model (the folder's, or the one shared last)", 0},
    {"float", 'F', NULL, 0, "Only the clear model, a student or any other: no parties are needed", 0},
    {"limit", 'l', "N", 0, "Only the first N examples", 0},
    {"batch", 'b', "N", 0, "Sequences of one inference (1)", 0},
    {"in-flight", 'i', "N", 0, "Inferences at a time (1); more are faster behind slow lines", 0},
    {"truncate", 'T', NULL, 0, "Cut texts that are too long for the model", 0},
    {"json", 'j', NULL, 0, "Print a JSON object", 0},
    {0},
};

static void check(struct arguments *arguments, struct argp_state *state)
{
    if (!arguments->task)
        argp_error(state, "--task TASK is missing");
    if (!arguments->data)
        argp_error(state, "--data FILE is missing");
    if (arguments->clear_only && !arguments->model && !arguments->place.path[0])
        argp_error(state, "--float needs --model FOLDER");
    if (!arguments->clear_only)
        command_place_check(&arguments->place, state);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->place;
        return 0;
    case 't':
        arguments->task = task_find(argument);
        if (!arguments->task)
            argp_error(state, "there is no task %s; there are: %s", argument, task_names());
        return 0;
    case 'D':
        arguments->data = argument;
        return 0;
    case 'm':
        arguments->model = argument;
        return 0;
    case 'n':
        arguments->name = argument;
        return 0;
    case 'F':
        arguments->clear_only = true;
        return 0;
    case 'l':
        arguments->limit = command_number(argument, "limit", 1, 1ul << 40, state);
        return 0;
    case 'b':
        arguments->batch = (uint32_t)command_number(argument, "batch", 1, 1024, state);
        return 0;
    case 'i':
        arguments->in_flight = (unsigned)command_number(argument, "in-flight", 1, IN_FLIGHT_MAX, state);
        return 0;
    case 'T':
        arguments->truncate = true;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        check(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&command_place_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {options,
                                 parse,
                                 NULL,
                                 "Classifies every example of a labelled file privately, asking the parties "
                                 "for bundles as it goes, and in the "
                                 "clear, and prints the task's metric of both, how many labels agree and the "
                                 "largest difference of a logit.",
                                 children,
                                 NULL,
                                 NULL};

/* metric, private and float stand at the top; "second" holds the other metric of tasks that have two. */
static enum status report_json(const struct evaluation *e, const enum metric metric[2], double value[2][2])
{
    const bool both = e->private != NULL;
    json_t *json =
        json_pack("{s:I, s:s, s:o, s:f, s:o, s:o}", "n", (json_int_t)e->data.count, "metric",
                  metric_name(metric[0]), "private", both ? json_real(value[0][0]) : json_null(), "float",
                  value[0][1], "agree", both ? json_integer((json_int_t)evaluation_agree(e)) : json_null(),
                  "max_logit_diff", both ? json_real(evaluation_distance(e)) : json_null());
    if (both)
        json_object_set_new(json, "seconds", json_real(e->seconds));
    if (metric[1] != METRIC_NONE)
        json_object_set_new(json, "second",
                            json_pack("{s:s, s:o, s:f}", "metric", metric_name(metric[1]), "private",
                                      both ? json_real(value[1][0]) : json_null(), "float", value[1][1]));
    return print_json(json);
}

static void report_text(const struct evaluation *e, const enum metric metric[2], double value[2][2])
{
    char bytes[PRINT_SIZE];
    printf("%s, %zu examples", task_name(e->task), e->data.count);
    if (e->data.skipped)
        printf(" (%zu torn rows left out)", e->data.skipped);
    printf("\n%-12s %10s %10s\n", "", e->private ? "private" : "", "float");
    for (int i = 0; i < 2 && metric[i] != METRIC_NONE; i++) {
        printf("%-12s ", metric_name(metric[i]));
        if (e->private)
            printf("%10.4f %10.4f\n", value[i][0], value[i][1]);
        else
            printf("%10s %10.4f\n", "", value[i][1]);
    }
    if (!e->private)
        return;
    printf("%zu of %zu agree, logits at most %.5f apart\n", evaluation_agree(e), e->data.count,
           evaluation_distance(e));
    printf("%llu inferences in %.1f s, %.0f ms online each, %llu bundles dealt; the last took %llu rounds and %s each "
           "way\n",
           (unsigned long long)e->inferences, e->seconds, e->inferences ? e->online_ms / (double)e->inferences : 0.0,
           (unsigned long long)e->dealt, (unsigned long long)e->rounds, print_bytes(bytes, e->bytes));
}

static enum status report(const struct evaluation *e, bool json)
{
    enum metric metric[2];
    double value[2][2] = {{0}};
    enum status status = STATUS_OK;
    for (int i = 0; !status && i < 2; i++) {
        status = evaluation_metric(e, e->clear, i, &metric[i], &value[i][1]);
        if (!status && e->private)
            status = evaluation_metric(e, e->private, i, &metric[i], &value[i][0]);
    }
    if (status)
        return status;
    if (json)
        return report_json(e, metric, value);
    report_text(e, metric, value);
    return STATUS_OK;
}

static enum status run_private(const struct arguments *arguments)
{
    struct classifier classifier;
    struct clear_model clear = {0};
    struct evaluation e = {0};
    enum status status =
        classifier_open(&classifier, arguments->place.path, arguments->model, arguments->name);
    if (status)
        return status;
    status = clear_model_open(&clear, arguments->model ? arguments->model : classifier.config.model);
    if (!status)
        status = evaluation_read(&e, arguments->task, arguments->data, arguments->limit,
                                 &classifier.description.config, classifier.tokenizer,
                                 classifier.bucket[classifier.buckets - 1], arguments->truncate);
    if (!status)
        status = evaluation_run_clear(&e, &clear);
    if (!status)
        status = evaluation_run_private(&e, &classifier, arguments->batch, arguments->in_flight);
    if (!status)
        status = report(&e, arguments->json);
    evaluation_clear(&e);
    clear_model_close(&clear);
    classifier_close(&classifier);
    return status;
}

/* The folder of the configuration, if --model was not said. malloc'ed by config_load, kept in *config. */
static enum status folder_of(const struct arguments *arguments, struct config *config, const char **folder)
{
    *folder = arguments->model;
    if (*folder)
        return STATUS_OK;
    enum status status = config_load(config, arguments->place.path);
    *folder = config->model;
    if (!status && !*folder)
        status = status_fail(STATUS_INPUT, "%s: model is missing; say --model FOLDER", arguments->place.path);
    return status;
}

/* A student runs as it would privately, any other model as in training. */
static enum status predict_clear(struct evaluation *e, const char *folder)
{
    struct clear_model clear = {0};
    struct model model = {0};
    const bool student = model_is_private(&e->config) == STATUS_OK;
    enum status status = student ? clear_model_open(&clear, folder) : model_read(&model, folder);
    if (!status)
        status = student ? evaluation_run_clear(e, &clear) : evaluation_run_trained(e, &model);
    model_clear(&model);
    clear_model_close(&clear);
    return status;
}

static enum status run_clear(const struct arguments *arguments)
{
    struct config config = {0};
    struct model_config shape;
    struct tokenizer *tokenizer = NULL;
    struct evaluation e = {0};
    const char *folder;
    enum status status = folder_of(arguments, &config, &folder);
    if (!status)
        status = model_config_read(&shape, folder);
    if (!status)
        status = tokenizer_open(&tokenizer, folder);
    if (!status)
        status = evaluation_read(&e, arguments->task, arguments->data, arguments->limit, &shape, tokenizer,
                                 shape.positions, arguments->truncate);
    command_threads(0);
    if (!status)
        status = predict_clear(&e, folder);
    if (!status)
        status = report(&e, arguments->json);
    evaluation_clear(&e);
    tokenizer_close(&tokenizer);
    config_unload(&config);
    return status;
}

int command_eval(int argc, char **argv)
{
    struct arguments arguments = {.batch = 1, .in_flight = 1};
    command_parse(&argp, argc, argv, &arguments);
    enum status status = arguments.clear_only ? run_clear(&arguments) : run_private(&arguments);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
