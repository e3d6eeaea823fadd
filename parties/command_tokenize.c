#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>

#include "parties/texts.h"

static const struct argp_option options[] = {
    {"model", 'm', "FOLDER", 0, "The model's folder: vocab.txt, tokenizer_config.json", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    const char **model = state->input;
    if (key == 'm')
        *model = argument;
    else if (key == ARGP_KEY_ARG)
        argp_error(state, "unexpected argument %s; texts come from standard input", argument);
    else if (key == ARGP_KEY_END && !*model)
        argp_error(state, "--model FOLDER is missing");
    else if (key != ARGP_KEY_END)
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp argp = {options,
                                 parse,
                                 NULL,
                                 "Prints a line of token ids for each line of standard input. A tab parts "
                                 "the texts of a pair. Nothing is cut "
                                 "off.",
                                 NULL,
                                 NULL,
                                 NULL};

static void print_ids(const struct tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        printf(i ? " %u" : "%u", tokens->id[i]);
    putchar('\n');
}

static enum status encode(const struct tokenizer *tokenizer, const struct text_line *line, struct tokens *out)
{
    const enum status status = text_line_check(line);
    return status ? status
                  : tokenizer_encode_bytes(tokenizer, line->text, line->text_length, line->pair,
                                           line->pair_length, out);
}

int command_tokenize(int argc, char **argv)
{
    const char *model = NULL;
    struct tokenizer *tokenizer;
    struct text_line line = {0};
    struct tokens tokens = {0};
    command_parse(&argp, argc, argv, &model);
    enum status status = tokenizer_open(&tokenizer, model);
    if (status)
        return command_fail(argv[0]);
    for (bool more = true; !status && more;) {
        status = text_line_read(&more, &line, stdin);
        if (status)
            status = status_prefix(status, "standard input: ");
        else if (more && (status = encode(tokenizer, &line, &tokens)))
            status = status_prefix(status, "standard input:%lu: ", line.number);
        else if (more)
            print_ids(&tokens);
    }
    tokens_clear(&tokens);
    text_line_clear(&line);
    tokenizer_close(&tokenizer);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
