#include "parties/command.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "parties/classify.h"
#include "parties/clear.h"
#include "parties/in_flight.h"
#include "parties/print.h"
#include "parties/texts.h"

struct arguments {
    struct command_place place;
    const char *model, *name, *text, *pair, *file;
    unsigned in_flight;
    bool json, clear;
};

static const struct argp_option options[] = {
    {"text", 't', "TEXT", 0, "The text to classify", 0},
    {"pair", 'p', "TEXT", 0, "The second text of a pair", 0},
    {"file", 'f', "FILE", 0, "Classify each line of a file; a tab parts the texts of a pair", 0},
    {"in-flight", 'i', "N", 0, "Lines of a file at a time (1); more are faster behind slow lines", 0},
    {"model", 'm', "FOLDER", 0, "The client's part of the model (or the configuration's model)", 0},
    {"name", 'n', "NAME", 0, "Name or id of the shared model (the one shared last)", 0},
    {"clear", 'C', NULL, 0, "Also run the clear model, for comparison; FOLDER must be a whole model", 0},
    {"json", 'j', NULL, 0, "Print a JSON object a text", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->place;
        return 0;
    case 't':
        arguments->text = argument;
        return 0;
    case 'p':
        arguments->pair = argument;
        return 0;
    case 'f':
        arguments->file = argument;
        return 0;
    case 'i':
        arguments->in_flight = (unsigned)command_number(argument, "in-flight", 1, IN_FLIGHT_MAX, state);
        return 0;
    case 'm':
        arguments->model = argument;
        return 0;
    case 'n':
        arguments->name = argument;
        return 0;
    case 'C':
        arguments->clear = true;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s; say --text TEXT", argument);
        return 0;
    case ARGP_KEY_END:
        command_place_check(&arguments->place, state);
        if (arguments->pair && !arguments->text)
            argp_error(state, "--pair needs --text");
        if (arguments->text && arguments->file)
            argp_error(state, "--text and --file exclude each other");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&command_place_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {options,
                                 parse,
                                 NULL,
                                 "Classifies texts privately: --text, the lines of --file, or else those of "
                                 "standard input. Each spends a bundle "
                                 "of its padded length; `trefoil offline` deals more.",
                                 children,
                                 NULL,
                                 NULL};

struct session {
    const struct arguments *arguments;
    struct classifier classifier;
    struct clear_model clear;
};

static json_t *numbers_json(const double *number, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(array, json_real(number[i]));
    return array;
}

static enum status print_answer_json(const struct session *session, const struct answer *answer,
                                     const struct answer *clear)
{
    const struct model_config *config = &session->classifier.description.config;
    double logits[MODEL_LABELS_MAX];
    char label[MODEL_LABEL_BYTES];
    for (uint32_t i = 0; i < answer->labels; i++)
        logits[i] = (double)answer->logit[i];
    answer_label(answer, config, label, sizeof label);
    json_t *json = json_pack("{s:s, s:o, s:o, s:f, s:I, s:I}", "label", label, "probabilities",
                             numbers_json(answer->probability, answer->regression ? 0 : answer->labels),
                             "logits", numbers_json(logits, answer->labels), "online_ms", answer->online_ms,
                             "rounds", (json_int_t)answer->rounds, "bytes", (json_int_t)answer->bytes);
    if (clear) {
        for (uint32_t i = 0; i < clear->labels; i++)
            logits[i] = (double)clear->logit[i];
        json_object_set_new(json, "clear_logits", numbers_json(logits, clear->labels));
    }
    return print_json(json);
}

static void print_label(const struct answer *answer, const struct model_config *config)
{
    char label[MODEL_LABEL_BYTES];
    answer_label(answer, config, label, sizeof label);
    printf("%-10s", label);
    for (uint32_t i = 0; !answer->regression && i < answer->labels; i++)
        printf(" %s %.1f %%%s", config->label[i], 100 * answer->probability[i],
               i + 1 < answer->labels ? "," : "");
}

static void print_answer(const struct session *session, const char *text, const struct answer *answer,
                         const struct answer *clear)
{
    const struct model_config *config = &session->classifier.description.config;
    char bytes[PRINT_SIZE];
    printf("%s\n  private  ", text);
    print_label(answer, config);
    if (clear) {
        printf("\n  clear    ");
        print_label(clear, config);
    }
    printf("\n  online   %.0f ms, %llu rounds, %s each way (%u tokens in a bucket of %u)\n",
           answer->online_ms, (unsigned long long)answer->rounds, print_bytes(bytes, answer->bytes),
           answer->tokens, answer->bucket);
}

/* What to do when the bundles of a bucket are spent: a client may not deal them itself. */
static enum status explain_empty(const struct session *session, uint32_t bucket)
{
    if (session->classifier.config.role == NET_ROLE_CLIENT)
        return status_fail(
            STATUS_EMPTY,
            "no bundle of %u tokens or more is left; ask an operator of the parties for more (trefoil offline "
            "--bucket %u --bundles 10)",
            bucket, bucket);
    return status_fail(
        STATUS_EMPTY,
        "no bundle of %u tokens or more is left; deal more with: trefoil offline --config %s --bucket %u "
        "--bundles 10",
        bucket, session->arguments->place.path, bucket);
}

struct result {
    struct answer answer, clear; /* clear: if it was asked for */
    bool there;
};

static enum status find_answer(struct session *session, const struct tokens *tokens, struct result *out)
{
    float logit[MODEL_LABELS_MAX];
    uint32_t bucket = 0;
    enum status status = classifier_answer(&session->classifier, tokens, &out->answer);
    if (status == STATUS_EMPTY && classifier_bucket(&session->classifier, tokens->count, &bucket) == STATUS_OK)
        return explain_empty(session, bucket);
    const struct sample sample = tokens_sample(tokens);
    if (!status && session->arguments->clear)
        status = clear_model_run(&session->clear, &sample, logit);
    if (!status && session->arguments->clear)
        answer_of_logits(&out->clear, &session->clear.model.config, logit);
    return status;
}

static enum status print_result(const struct session *session, const char *text, const struct result *result)
{
    const struct answer *beside = session->arguments->clear ? &result->clear : NULL;
    enum status status = STATUS_OK;
    if (session->arguments->json)
        status = print_answer_json(session, &result->answer, beside);
    else
        print_answer(session, text, &result->answer, beside);
    return status ? status : command_flush();
}

static enum status classify(struct session *session, const char *text, const struct tokens *tokens)
{
    struct result result;
    const enum status status = find_answer(session, tokens, &result);
    return status ? status : print_result(session, text, &result);
}

/* The lines of a file, several at a time; printed in their order. */
struct lines {
    struct session *session;
    const struct texts *texts;
    struct result *result;
    pthread_mutex_t lock; /* all below, and there */
    size_t printed;
};

static enum status classify_line(void *context, size_t index)
{
    struct lines *l = context;
    enum status status = find_answer(l->session, &l->texts->tokens[index], &l->result[index]);
    if (status)
        return status;
    pthread_mutex_lock(&l->lock);
    l->result[index].there = true;
    for (; !status && l->printed < l->texts->count && l->result[l->printed].there; l->printed++)
        status = print_result(l->session, l->texts->text[l->printed], &l->result[l->printed]);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* All are checked before the first bundle is spent. */
static enum status classify_all(struct session *session, const struct texts *texts)
{
    struct lines lines = {.session = session, .texts = texts, .result = calloc(texts->count + 1, sizeof *lines.result)};
    enum status status = lines.result ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for the answers");
    for (size_t i = 0; !status && i < texts->count; i++)
        status = classifier_check(&session->classifier, &texts->tokens[i]);
    pthread_mutex_init(&lines.lock, NULL);
    if (!status)
        status = in_flight_run(session->arguments->in_flight, texts->count, classify_line, &lines);
    pthread_mutex_destroy(&lines.lock);
    if (lines.result)
        sodium_memzero(lines.result, texts->count * sizeof *lines.result);
    free(lines.result);
    return status;
}

/* Line by line, as they come; a line that cannot be classified is told and left out. */
static enum status classify_input(struct session *session)
{
    struct text_line line = {0};
    struct texts texts = {0};
    enum status status = STATUS_OK;
    unsigned long refused = 0;
    while (!status && text_line_read(&line, stdin)) {
        status = texts_add(&texts, session->classifier.tokenizer, line.text, line.pair);
        if (!status)
            status = classifier_check(&session->classifier, texts.tokens);
        if (status == STATUS_INPUT) {
            fprintf(stderr, "standard input:%lu: %s\n", line.number, status_message());
            refused++;
            status = STATUS_OK;
        } else if (!status) {
            status = classify(session, texts.text[0], texts.tokens);
        }
        texts_clear(&texts);
    }
    if (!status && ferror(stdin))
        status = status_fail(STATUS_IO, "standard input: %s", strerror(errno));
    if (!status && refused)
        status = status_fail(STATUS_INPUT, "%lu of %lu lines could not be classified", refused, line.number);
    if (!status && !line.number)
        status = status_fail(STATUS_INPUT, "no text: say --text, --file, or give lines on standard input");
    text_line_clear(&line);
    return status;
}

static enum status run(struct session *session)
{
    const struct arguments *arguments = session->arguments;
    const char *folder = arguments->model ? arguments->model : session->classifier.config.model;
    struct texts texts = {0};
    enum status status = STATUS_OK;
    if (arguments->clear)
        status = clear_model_open(&session->clear, folder);
    if (status)
        return status;
    if (!arguments->text && !arguments->file) {
        if (isatty(STDIN_FILENO))
            fprintf(stderr, "One text a line; end with Ctrl-D.\n");
        return classify_input(session);
    }
    if (arguments->text)
        status = texts_add(&texts, session->classifier.tokenizer, arguments->text, arguments->pair);
    else
        status = texts_read(&texts, session->classifier.tokenizer, arguments->file,
                            session->classifier.description.config.positions);
    if (!status && !texts.count)
        status = status_fail(STATUS_INPUT, "%s holds no text", arguments->file);
    if (!status)
        status = classify_all(session, &texts);
    texts_clear(&texts);
    return status;
}

int command_infer(int argc, char **argv)
{
    struct arguments arguments = {.in_flight = 1};
    command_parse(&argp, argc, argv, &arguments);
    struct session session = {.arguments = &arguments};
    enum status status =
        classifier_open(&session.classifier, arguments.place.path, arguments.model, arguments.name);
    if (status)
        return command_fail(argv[0]);
    status = run(&session);
    clear_model_close(&session.clear);
    classifier_close(&session.classifier);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
