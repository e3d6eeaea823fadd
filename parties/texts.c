#include "parties/texts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/* Up to the end of the line or the file; whichever it was. *length counts what did not fit, too. */
static int read_to_end(char *text, size_t *length, FILE *file)
{
    size_t n = 0;
    int c;
    flockfile(file);
    for (; (c = getc_unlocked(file)) != EOF && c != '\n'; n++)
        if (n < TEXT_LINE_MAX)
            text[n] = (char)c;
    funlockfile(file);
    *length = n;
    return c;
}

enum status text_line_read(bool *more, struct text_line *line, FILE *file)
{
    size_t n;
    *more = false;
    if (!line->text && !(line->text = malloc(TEXT_LINE_MAX + 1)))
        return status_fail(STATUS_MEMORY, "out of memory for a line");
    const int end = read_to_end(line->text, &n, file);
    if (end == EOF && ferror(file))
        return status_fail(STATUS_IO, "%s", strerror(errno));
    if (end == EOF && n == 0)
        return STATUS_OK;
    *more = true;
    line->number++;
    line->too_long = n > TEXT_LINE_MAX;
    if (line->too_long)
        n = 0;
    while (n > 0 && line->text[n - 1] == '\r')
        n--;
    line->text[n] = '\0';
    line->text_length = n;
    line->pair = memchr(line->text, '\t', n);
    line->pair_length = 0;
    if (line->pair) {
        *line->pair++ = '\0';
        line->pair_length = (size_t)(line->text + n - line->pair);
        line->text_length = (size_t)(line->pair - line->text) - 1;
    }
    return STATUS_OK;
}

enum status text_line_check(const struct text_line *line)
{
    if (line->too_long)
        return status_fail(STATUS_INPUT, "the line has more than %u bytes: it is too long for a text",
                           TEXT_LINE_MAX);
    return STATUS_OK;
}

bool text_line_blank(const struct text_line *line)
{
    return !line->too_long && strspn(line->text, " ") == line->text_length && !line->pair;
}

void text_line_clear(struct text_line *line)
{
    if (line->text)
        sodium_memzero(line->text, TEXT_LINE_MAX + 1);
    free(line->text);
    *line = (struct text_line){0};
}

static enum status grow(struct texts *texts)
{
    const size_t capacity = texts->capacity ? 2 * texts->capacity : 64;
    struct tokens *tokens = realloc(texts->tokens, capacity * sizeof *tokens);
    if (tokens)
        texts->tokens = tokens;
    char **lines = realloc(texts->text, capacity * sizeof *lines);
    if (lines)
        texts->text = lines;
    unsigned long *numbers = realloc(texts->line, capacity * sizeof *numbers);
    if (numbers)
        texts->line = numbers;
    if (!tokens || !lines || !numbers)
        return status_fail(STATUS_MEMORY, "out of memory for the texts");
    texts->capacity = capacity;
    return STATUS_OK;
}

enum status texts_add(struct texts *texts, const struct tokenizer *tokenizer, const char *text,
                      const char *pair)
{
    if (texts->count == texts->capacity && grow(texts) != STATUS_OK)
        return STATUS_MEMORY;
    struct tokens *tokens = &texts->tokens[texts->count];
    *tokens = (struct tokens){0};
    texts->line[texts->count] = 0;
    char *copy;
    if (asprintf(&copy, "%s%s%s", text, pair ? "\t" : "", pair ? pair : "") < 0)
        return status_fail(STATUS_MEMORY, "out of memory for the texts");
    texts->text[texts->count++] = copy;
    return tokenizer_encode(tokenizer, text, pair, tokens);
}

enum status texts_add_line(struct texts *texts, const struct tokenizer *tokenizer,
                           const struct text_line *line)
{
    enum status status = text_line_check(line);
    if (status)
        return status;
    if (strlen(line->text) != line->text_length || (line->pair && strlen(line->pair) != line->pair_length))
        return status_fail(STATUS_INPUT, "the line holds a byte of value 0: it is no text");
    status = texts_add(texts, tokenizer, line->text, line->pair);
    if (!status)
        texts->line[texts->count - 1] = line->number;
    return status;
}

static void wipe(struct texts *texts, size_t i)
{
    tokens_clear(&texts->tokens[i]);
    sodium_memzero(texts->text[i], strlen(texts->text[i]));
    free(texts->text[i]);
}

void texts_drop(struct texts *texts)
{
    wipe(texts, --texts->count);
}

static enum status add_checked(struct texts *texts, const struct tokenizer *tokenizer,
                               const struct text_line *line, size_t limit)
{
    if (text_line_blank(line))
        return STATUS_OK;
    enum status status = texts_add_line(texts, tokenizer, line);
    if (!status && limit)
        status = tokens_check(&texts->tokens[texts->count - 1], limit);
    return status;
}

static enum status read_lines(struct texts *texts, const struct tokenizer *tokenizer, FILE *file,
                              const char *name, size_t limit)
{
    struct text_line line = {0};
    enum status status = STATUS_OK;
    for (bool more = true; !status && more;) {
        status = text_line_read(&more, &line, file);
        if (status)
            status = status_prefix(status, "%s: ", name);
        else if (more && (status = add_checked(texts, tokenizer, &line, limit)))
            status = status_prefix(status, "%s:%lu: ", name, line.number);
    }
    text_line_clear(&line);
    return status;
}

enum status texts_read(struct texts *texts, const struct tokenizer *tokenizer, const char *path, size_t limit)
{
    if (strcmp(path, "-") == 0)
        return read_lines(texts, tokenizer, stdin, "standard input", limit);
    FILE *file = fopen(path, "r");
    if (!file)
        return status_fail(STATUS_INPUT, "%s: %s", path, strerror(errno));
    enum status status = read_lines(texts, tokenizer, file, path, limit);
    fclose(file);
    return status;
}

enum status texts_parse(struct texts *texts, const struct tokenizer *tokenizer, const char *lines,
                        const char *name, size_t limit)
{
    FILE *file = fmemopen((void *)(uintptr_t)lines, strlen(lines), "r");
    if (!file)
        return status_fail(STATUS_MEMORY, "%s: %s", name, strerror(errno));
    enum status status = read_lines(texts, tokenizer, file, name, limit);
    fclose(file);
    return status;
}

void texts_clear(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        wipe(texts, i);
    free(texts->tokens);
    free(texts->text);
    free(texts->line);
    *texts = (struct texts){0};
}

struct sample tokens_sample(const struct tokens *tokens)
{
    return (struct sample){.id = tokens->id, .type = tokens->type, .length = (uint32_t)tokens->count};
}
