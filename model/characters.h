/* Text as BERT's tokenizer sees it before it cuts it into words: Unicode characters, cleaned and folded.
 *
 *     clean      control and format characters, private use and U+FFFD go; white space becomes a space; an
 * ideograph gets a space on either side. Bytes that are no UTF-8 stand for U+FFFD, so they go as well. strip
 * canonical decomposition (NFD), then nonspacing marks go lower      each character to lower case, by itself
 *
 * The Unicode tables are utf8proc's, with one correction. The reference tokenizer (Hugging Face tokenizers)
 * asks tables of Unicode 8 what a character is, so one that came later is never punctuation, mark or format
 * to it, and ids would differ; characters_class answers as those tables do. */
#ifndef TREFOIL_MODEL_CHARACTERS_H
#define TREFOIL_MODEL_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

enum characters_class {
    CHARACTERS_OTHER,
    CHARACTERS_SPACE,
    CHARACTERS_PUNCTUATION,
    CHARACTERS_MARK,
    CHARACTERS_CONTROL
};

enum characters_class characters_class(int32_t character);

/* Secret text: growing and clearing wipe what is given back. */
struct characters {
    int32_t *at;
    size_t count, capacity;
};

struct characters_options {
    bool lower;     /* to lower case */
    bool strip;     /* remove accents */
    bool ideograph; /* spaces around ideographs */
};

/* out = the cleaned and folded characters of text[length]; what out held before is replaced. STATUS_MEMORY
 * only. */
STATUS_MUST_USE enum status characters_read(struct characters *out, const char *text, size_t length,
                                            const struct characters_options *options);
void characters_clear(struct characters *characters);

/* Names and labels go to terminals and into JSON: UTF-8 throughout, without control characters. */
bool characters_are_printable(const char *text);

#endif
