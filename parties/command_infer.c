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
    {"name", 'n', "NAME", 0, "Name or id of the shared model (the folder's, or the one shared last)", 0},
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
        if (arguments->text)
            argp_error(state, "--text: say it once; several texts are lines of --file or standard input");
        arguments->text = argument;
        return 0;
    case 'p':
        if (arguments->pair)
            argp_error(state, "--pair: say it once");
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

static enum status print_answer_json(const struct session *session, unsigned long line,
                                     const struct answer *answer, const struct answer *clear)
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
    if (line)
        json_object_set_new(json, "line", json_integer((json_int_t)line));
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
    const struct arguments *arguments = session->arguments;
    char path[COMMAND_QUOTED], name[32] = "", id[MODEL_ID_TEXT_BYTES];
    const bool client = session->classifier.config.role == NET_ROLE_CLIENT;
    if (client || arguments->name || arguments->model) /* perhaps not the one that offline would deal for */
        snprintf(name, sizeof name, " --name %.12s",
                 sodium_bin2hex(id, sizeof id, session->classifier.id, sizeof session->classifier.id));
    if (client)
        return status_fail(STATUS_EMPTY,
                           "no bundle of %u tokens or more is left; ask an operator of the parties for more "
                           "(trefoil offline --bucket %u --bundles 10%s)",
                           bucket, bucket, name);
    return status_fail(
        STATUS_EMPTY,
        "no bundle of %u tokens or more is left; deal more with: trefoil offline --config %s --bucket %u "
        "--bundles 10%s",
        bucket, command_quote(path, arguments->place.path), bucket, name);
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
    if (status == STATUS_EMPTY &&
        classifier_bucket(&session->classifier, tokens->count, &bucket) == STATUS_OK)
        return explain_empty(session, bucket);
    const struct sample sample = tokens_sample(tokens);
    if (!status && session->arguments->clear)
        status = clear_model_run(&session->clear, &sample, logit);
    if (!status && session->arguments->clear)
        answer_of_logits(&out->clear, &session->clear.model.config, logit);
    return status;
}

/* The texts of a command, or of one line; several at a time, printed in their order. */
struct work {
    struct session *session;
    const struct texts *texts;
    const char *name; /* of the file, for messages */
    struct result *result;
    pthread_mutex_t lock; /* all below, and there */
    size_t printed;
};

static enum status print_result(const struct work *w, size_t index)
{
    const struct arguments *arguments = w->session->arguments;
    const struct result *result = &w->result[index];
    const struct answer *beside = arguments->clear ? &result->clear : NULL;
    enum status status = STATUS_OK;
    if (arguments->json)
        status = print_answer_json(w->session, w->texts->line[index], &result->answer, beside);
    else
        print_answer(w->session, w->texts->text[index], &result->answer, beside);
    return status ? status : command_flush();
}

static enum status classify(void *context, size_t index)
{
    struct work *w = context;
    enum status status = find_answer(w->session, &w->texts->tokens[index], &w->result[index]);
    if (status && w->texts->line[index])
        return status_prefix(status, "%s:%lu: ", w->name, w->texts->line[index]);
    if (status)
        return status;
    pthread_mutex_lock(&w->lock);
    w->result[index].there = true;
    for (; !status && w->printed < w->texts->count && w->result[w->printed].there; w->printed++)
        status = print_result(w, w->printed);
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* Bundles were spent on answers that stand behind one that is missing. */
static enum status print_rest(struct work *w, enum status failure)
{
    char why[512];
    size_t missing = 0;
    enum status status = STATUS_OK;
    status_copy(why, sizeof why);
    for (size_t i = 0; i < w->texts->count; i++)
        missing += !w->result[i].there;
    for (; !status && w->printed < w->texts->count; w->printed++)
        if (w->result[w->printed].there)
            status = print_result(w, w->printed);
    if (missing && w->texts->count > 1)
        return status_fail(failure, "%s; %zu of %zu texts have no answer", why, missing, w->texts->count);
    return status_fail(failure, "%s", why);
}

static enum status classify_all(struct session *session, const struct texts *texts, const char *name)
{
    struct work work = {.session = session,
                        .texts = texts,
                        .name = name,
                        .result = calloc(texts->count + 1, sizeof *work.result)};
    if (!work.result)
        return status_fail(STATUS_MEMORY, "out of memory for the answers");
    pthread_mutex_init(&work.lock, NULL);
    enum status status = in_flight_run(session->arguments->in_flight, texts->count, classify, &work);
    if (status)
        status = print_rest(&work, status);
    pthread_mutex_destroy(&work.lock);
    sodium_memzero(work.result, texts->count * sizeof *work.result);
    free(work.result);
    return status;
}

/* ---- lines ---- */

struct input {
    FILE *file;
    const char *name;
    struct text_line line;
    unsigned long refused, taken;
};

/* Appends the next line that can be classified; none is left if it appends nothing. Blank ones are passed over; one that cannot
 * be classified is told and left out. */
static enum status read_line(const struct session *session, struct input *in, struct texts *texts)
{
    const size_t before = texts->count;
    while (texts->count == before) {
        bool more;
        enum status status = text_line_read(&more, &in->line, in->file);
        if (status)
            return status_prefix(status, "%s: ", in->name);
        if (!more)
            break;
        if (text_line_blank(&in->line))
            continue;
        status = texts_add_line(texts, session->classifier.tokenizer, &in->line);
        if (!status)
            status = classifier_check(&session->classifier, &texts->tokens[texts->count - 1]);
        if (status && texts->count > before)
            texts_drop(texts);
        if (status && status != STATUS_INPUT)
            return status_prefix(status, "%s:%lu: ", in->name, in->line.number);
        if (status)
            fprintf(stderr, "%s:%lu: %s\n", in->name, in->line.number, status_message());
        in->refused += status == STATUS_INPUT;
        in->taken += status == STATUS_OK;
    }
    return STATUS_OK;
}

/* All are read before the first bundle is spent. */
static enum status classify_file(struct session *session, struct input *in)
{
    struct texts texts = {0};
    size_t before;
    enum status status;
    do {
        before = texts.count;
        status = read_line(session, in, &texts);
    } while (!status && texts.count > before);
    if (!status)
        status = classify_all(session, &texts, in->name);
    texts_clear(&texts);
    return status;
}

/* Line by line, as they come. */
static enum status classify_stream(struct session *session, struct input *in)
{
    enum status status = STATUS_OK;
    for (bool more = true; !status && more;) {
        struct texts texts = {0};
        status = read_line(session, in, &texts);
        more = texts.count > 0;
        if (!status && more)
            status = classify_all(session, &texts, in->name);
        texts_clear(&texts);
    }
    return status;
}

static enum status classify_lines(struct session *session, const char *path)
{
    const bool opens = path && strcmp(path, "-") != 0;
    struct input in = {.file = opens ? fopen(path, "r") : stdin, .name = opens ? path : "standard input"};
    if (!in.file)
        return status_fail(STATUS_INPUT, "%s: %s", path, strerror(errno));
    if (!path && isatty(STDIN_FILENO))
        fprintf(stderr, "One text a line; end with Ctrl-D.\n");
    enum status status = path ? classify_file(session, &in) : classify_stream(session, &in);
    if (!status && in.refused)
        status = status_fail(STATUS_INPUT, "%lu of %lu lines could not be classified", in.refused,
                             in.refused + in.taken);
    else if (!status && !in.taken && path)
        status = status_fail(STATUS_INPUT, "%s holds no text", in.name);
    else if (!status && !in.taken)
        status = status_fail(STATUS_INPUT, "no text: say --text, --file, or give lines on standard input");
    text_line_clear(&in.line);
    if (opens)
        fclose(in.file);
    return status;
}

static enum status classify_text(struct session *session, const char *text, const char *pair)
{
    struct texts texts = {0};
    enum status status = texts_add(&texts, session->classifier.tokenizer, text, pair);
    if (!status)
        status = classifier_check(&session->classifier, texts.tokens);
    if (!status)
        status = classify_all(session, &texts, NULL);
    texts_clear(&texts);
    return status;
}

static enum status run(struct session *session)
{
    const struct arguments *arguments = session->arguments;
    const char *folder = arguments->model ? arguments->model : session->classifier.config.model;
    enum status status = STATUS_OK;
    if (arguments->clear)
        status = clear_model_open(&session->clear, folder);
    if (status)
        return status;
    return arguments->text ? classify_text(session, arguments->text, arguments->pair)
                           : classify_lines(session, arguments->file);
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
