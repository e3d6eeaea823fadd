/* Texts to classify or calibrate on: a text a line, a tab before the second one of a pair; and their tokens.
 */
#ifndef TREFOIL_PARTIES_TEXTS_H
#define TREFOIL_PARTIES_TEXTS_H

#include <stdbool.h>
#include <stdio.h>

#include "model/calibrate.h"
#include "model/tokenizer.h"
#include "ring/status.h"

#define TEXT_LINE_MAX (1u << 20) /* bytes: far beyond what any model takes, and tokenized within a second */

/* One line, without its end. */
struct text_line {
    char *text; /* owned; [TEXT_LINE_MAX + 1] */
    char *pair; /* inside text, or NULL */
    size_t text_length, pair_length;
    unsigned long number; /* from 1 */
    bool too_long;        /* of more bytes than that: it was read to its end, nothing of it is here */
};
/* Reads the next line into it; *more is false at the end of the file. Start with {0}. */
STATUS_MUST_USE enum status text_line_read(bool *more, struct text_line *line, FILE *file);
/* STATUS_INPUT if it was too long. */
STATUS_MUST_USE enum status text_line_check(const struct text_line *line);
/* Nothing to read: spaces only. */
bool text_line_blank(const struct text_line *line);
void text_line_clear(struct text_line *line);

/* Many texts, tokenized. */
struct texts {
    struct tokens *tokens; /* [count] */
    char **text;           /* [count] the lines themselves */
    unsigned long *line;   /* [count] their numbers; 0: of no line */
    size_t count, capacity;
};
/* Appends one text. */
STATUS_MUST_USE enum status texts_add(struct texts *texts, const struct tokenizer *tokenizer,
                                      const char *text, const char *pair);
/* Appends a line. STATUS_INPUT if it was too long, or holds a byte of value 0: a text ends there. */
STATUS_MUST_USE enum status texts_add_line(struct texts *texts, const struct tokenizer *tokenizer,
                                           const struct text_line *line);
/* Takes the last one back. */
void texts_drop(struct texts *texts);
/* Appends the lines of a file ("-": standard input), checked against a limit of tokens (0: none); empty lines
 * are left out. Messages name file and line. */
STATUS_MUST_USE enum status texts_read(struct texts *texts, const struct tokenizer *tokenizer,
                                       const char *path, size_t limit);
/* The same of lines in memory. name: for messages. */
STATUS_MUST_USE enum status texts_parse(struct texts *texts, const struct tokenizer *tokenizer,
                                        const char *lines, const char *name, size_t limit);
/* Wipes and frees. */
void texts_clear(struct texts *texts);

struct sample tokens_sample(const struct tokens *tokens);

#endif
