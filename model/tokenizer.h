/* The BERT tokenizer, cased and uncased: text to ids.
 *
 *     one text   [CLS] text [SEP]              types 0
 *     a pair     [CLS] text [SEP] pair [SEP]   types 0, then 1 from the first token of pair on
 *
 * Text is cleaned and folded (model/characters.h), cut at spaces and around punctuation, and each word cut
 * into the longest pieces the vocabulary has, from the left; a word with no such cut, or of more than 100
 * characters, is [UNK]. The words [PAD] [UNK] [CLS] [SEP] [MASK], written like that in a text, become the
 * special tokens of that name: this is what the reference tokenizer does, so a client can place them. Ids
 * equal those of the reference on every text.
 *
 * Nothing is cut off unasked: whoever has a limit calls tokens_check or tokens_cut. Malformed UTF-8 is
 * dropped, never an error. A tokenizer is read-only after it is opened; several threads may use one. */
#ifndef TREFOIL_MODEL_TOKENIZER_H
#define TREFOIL_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define TOKENIZER_WORD_MAX 100 /* characters; a longer word is [UNK] */

struct tokenizer;

/* What a text became. Start with {0}; each tokenizer_encode replaces the content and keeps the memory. */
struct tokens {
    uint32_t *id;
    uint8_t *type;
    size_t count, capacity;
    size_t pieces; /* how many of them come from the text: 0 if it was empty or held nothing but spaces */
};

/* Opens FOLDER/vocab.txt with the settings of FOLDER/tokenizer_config.json, if there is one: do_lower_case
 * (true), strip_accents (as do_lower_case), tokenize_chinese_chars (true). Where FOLDER/config.json is there,
 * the vocabulary must fit its vocab_size. STATUS_INPUT names the file. */
STATUS_MUST_USE enum status tokenizer_open(struct tokenizer **out, const char *folder);
void tokenizer_close(struct tokenizer **tokenizer);

/* How many ids there are. */
size_t tokenizer_count(const struct tokenizer *tokenizer);
/* The piece of an id, or NULL if there is none. */
const char *tokenizer_piece(const struct tokenizer *tokenizer, uint32_t id);

/* pair may be NULL. STATUS_MEMORY only; the length is not limited here. */
STATUS_MUST_USE enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text,
                                             const char *pair, struct tokens *out);

/* The same of texts with a length: a zero byte inside is a control character like others, and goes. */
STATUS_MUST_USE enum status tokenizer_encode_bytes(const struct tokenizer *tokenizer, const char *text,
                                                   size_t text_length, const char *pair, size_t pair_length,
                                                   struct tokens *out);

/* STATUS_INPUT if the text was empty, or has more tokens than limit (a model's positions, a bucket): says how
 * many. */
STATUS_MUST_USE enum status tokens_check(const struct tokens *tokens, size_t limit);
/* Shortens tokens to a limit, as training usually does: a text at its end; of a pair one token at a time the
 * longer text, or else the second. [CLS] and each [SEP] stay, even if a lower limit has no room for them. */
void tokens_cut(struct tokens *tokens, size_t limit);
/* Wipes and frees. */
void tokens_clear(struct tokens *tokens);

#endif
