#include "model/tokenizer.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/characters.h"
#include "model/config.h"
#include "model/files.h"
#include "model/vocabulary.h"

#define WORD_BYTES (4 * TOKENIZER_WORD_MAX)

enum { UNKNOWN, START, SEPARATOR, PADDING, MASK, SPECIALS };
static const char *const specials[SPECIALS] = {
    [UNKNOWN] = "[UNK]", [START] = "[CLS]", [SEPARATOR] = "[SEP]", [PADDING] = "[PAD]", [MASK] = "[MASK]"};

struct tokenizer {
    struct vocabulary *vocabulary;
    struct characters_options options;
    uint32_t special[SPECIALS]; /* VOCABULARY_NONE: the vocabulary lacks it (only padding and mask may be
                                   missing) */
};

static enum status read_options(struct tokenizer *tokenizer, const char *folder)
{
    struct model_config config;
    model_config_default(&config);
    const enum status status = model_config_read_tokenizer(&config, folder);
    tokenizer->options = (struct characters_options){.lower = config.lower_case,
                                                     .strip = config.lower_case != config.accents_differ,
                                                     .ideograph = !config.ideographs_joined};
    return status;
}

static enum status read_vocabulary(struct tokenizer *tokenizer, const char *folder)
{
    char path[FILES_PATH_BYTES];
    enum status status = files_join(path, folder, "vocab.txt");
    if (!status && !files_exist(path))
        status =
            status_fail(STATUS_INPUT,
                        "%s: no such file; the tokenizer needs the vocabulary the model was trained with, "
                        "as a list (a tokenizer.json is not read)",
                        path);
    if (!status)
        status = vocabulary_open(&tokenizer->vocabulary, path);
    for (int i = 0; !status && i < SPECIALS; i++) {
        tokenizer->special[i] = vocabulary_find(tokenizer->vocabulary, specials[i], strlen(specials[i]));
        if (tokenizer->special[i] == VOCABULARY_NONE && i <= SEPARATOR)
            status = status_fail(STATUS_INPUT, "%s: has no line \"%s\"; not the vocabulary of a BERT model",
                                 path, specials[i]);
    }
    return status;
}

static enum status check_size(const struct tokenizer *tokenizer, const char *folder)
{
    char path[FILES_PATH_BYTES];
    struct model_config config;
    enum status status = files_join(path, folder, "config.json");
    if (status || !files_exist(path))
        return status;
    status = model_config_read(&config, folder);
    if (!status && vocabulary_count(tokenizer->vocabulary) > config.vocabulary)
        status =
            status_fail(STATUS_INPUT, "%s/vocab.txt: %zu pieces, but \"vocab_size\" in config.json is %u",
                        folder, vocabulary_count(tokenizer->vocabulary), config.vocabulary);
    return status;
}

enum status tokenizer_open(struct tokenizer **out, const char *folder)
{
    struct tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    *out = NULL;
    if (!tokenizer)
        return status_fail(STATUS_MEMORY, "%s: no memory for its tokenizer", folder);
    enum status status = read_options(tokenizer, folder);
    if (!status)
        status = read_vocabulary(tokenizer, folder);
    if (!status)
        status = check_size(tokenizer, folder);
    if (status)
        tokenizer_close(&tokenizer);
    *out = tokenizer;
    return status;
}

void tokenizer_close(struct tokenizer **tokenizer)
{
    if (!*tokenizer)
        return;
    vocabulary_close(&(*tokenizer)->vocabulary);
    free(*tokenizer);
    *tokenizer = NULL;
}

size_t tokenizer_count(const struct tokenizer *tokenizer)
{
    return vocabulary_count(tokenizer->vocabulary);
}

const char *tokenizer_piece(const struct tokenizer *tokenizer, uint32_t id)
{
    return vocabulary_piece(tokenizer->vocabulary, id);
}

void tokens_clear(struct tokens *tokens)
{
    if (tokens->id)
        sodium_memzero(tokens->id, tokens->capacity * sizeof *tokens->id);
    free(tokens->id);
    free(tokens->type);
    *tokens = (struct tokens){0};
}

static enum status grow(struct tokens *tokens)
{
    size_t capacity = tokens->capacity ? 2 * tokens->capacity : 128;
    uint32_t *id = calloc(capacity, sizeof *id);
    uint8_t *type = calloc(capacity, sizeof *type);
    if (!id || !type) {
        free(id);
        free(type);
        return status_fail(STATUS_MEMORY, "no memory for a text of %zu tokens", capacity);
    }
    struct tokens wider = {id, type, tokens->count, capacity, tokens->pieces};
    if (tokens->count > 0) {
        memcpy(id, tokens->id, tokens->count * sizeof *id);
        memcpy(type, tokens->type, tokens->count * sizeof *type);
    }
    tokens_clear(tokens);
    *tokens = wider;
    return STATUS_OK;
}

static enum status push(struct tokens *tokens, uint32_t id, uint8_t type)
{
    enum status status = tokens->count == tokens->capacity ? grow(tokens) : STATUS_OK;
    if (status)
        return status;
    tokens->id[tokens->count] = id;
    tokens->type[tokens->count++] = type;
    return STATUS_OK;
}

/* The longest piece at word[begin...]; *begin moves behind it. edge[k] is true where a character ends after k
 * bytes. */
static uint32_t longest_piece(const struct vocabulary *vocabulary, const char *word, size_t length,
                              const bool *edge, size_t *begin)
{
    char piece[2 + WORD_BYTES] = "##";
    uint64_t hash[2 + WORD_BYTES + 1];
    size_t prefix = *begin > 0 ? 2 : 0, end = prefix + length - *begin;
    size_t most = vocabulary_longest(vocabulary);
    memcpy(piece + prefix, word + *begin, length - *begin);
    end = end < most ? end : most;
    hash[0] = VOCABULARY_HASH;
    for (size_t i = 0; i < end; i++)
        hash[i + 1] = vocabulary_mix(hash[i], piece[i]);
    uint32_t id = VOCABULARY_NONE;
    for (; end > prefix && id == VOCABULARY_NONE; end--)
        if (edge[*begin + end - prefix])
            id = vocabulary_find_hashed(vocabulary, piece, end, hash[end]);
    *begin += end + 1 - prefix;
    sodium_memzero(piece, sizeof piece);
    sodium_memzero(hash, sizeof hash);
    return id;
}

/* Cuts one word into pieces, or into [UNK]. */
static enum status push_word(const struct tokenizer *tokenizer, const int32_t *character, size_t count,
                             uint8_t type, struct tokens *out)
{
    char word[WORD_BYTES];
    bool edge[WORD_BYTES + 1] = {false};
    size_t length = 0, before = out->count;
    if (count > TOKENIZER_WORD_MAX)
        return push(out, tokenizer->special[UNKNOWN], type);
    for (size_t i = 0; i < count; i++) {
        length += (size_t)utf8proc_encode_char(character[i], (unsigned char *)word + length);
        edge[length] = true;
    }
    enum status status = STATUS_OK;
    for (size_t begin = 0; !status && begin < length;) {
        uint32_t id = longest_piece(tokenizer->vocabulary, word, length, edge, &begin);
        if (id == VOCABULARY_NONE) {
            out->count = before;
            status = push(out, tokenizer->special[UNKNOWN], type);
            break;
        }
        status = push(out, id, type);
    }
    sodium_memzero(word, sizeof word);
    return status;
}

/* Text without special tokens. */
static enum status push_plain(const struct tokenizer *tokenizer, const char *text, size_t length,
                              uint8_t type, struct characters *scratch, struct tokens *out)
{
    enum status status = characters_read(scratch, text, length, &tokenizer->options);
    size_t begin = 0;
    for (size_t i = 0; !status && i <= scratch->count; i++) {
        enum characters_class class =
            i < scratch->count ? characters_class(scratch->at[i]) : CHARACTERS_SPACE;
        if (class != CHARACTERS_SPACE && class != CHARACTERS_PUNCTUATION)
            continue;
        if (i > begin)
            status = push_word(tokenizer, scratch->at + begin, i - begin, type, out);
        if (!status && class == CHARACTERS_PUNCTUATION)
            status = push_word(tokenizer, scratch->at + i, 1, type, out);
        begin = i + 1;
    }
    return status;
}

/* The special token that text[length] starts with, or VOCABULARY_NONE; *used: its bytes. */
static uint32_t special_at(const struct tokenizer *tokenizer, const char *text, size_t length, size_t *used)
{
    for (int i = 0; i < SPECIALS; i++) {
        *used = strlen(specials[i]);
        if (*used <= length && memcmp(text, specials[i], *used) == 0)
            return tokenizer->special[i];
    }
    return VOCABULARY_NONE;
}

static enum status push_text(const struct tokenizer *tokenizer, const char *text, size_t length, uint8_t type,
                             struct characters *scratch, struct tokens *out)
{
    enum status status = STATUS_OK;
    while (!status && length > 0) {
        size_t plain = 0, used = 0;
        uint32_t special = VOCABULARY_NONE;
        for (; plain < length; plain++) {
            if (text[plain] == '[')
                special = special_at(tokenizer, text + plain, length - plain, &used);
            if (special != VOCABULARY_NONE)
                break;
        }
        status = push_plain(tokenizer, text, plain, type, scratch, out);
        if (!status && special != VOCABULARY_NONE) {
            status = push(out, special, type);
            plain += used;
        }
        text += plain;
        length -= plain;
    }
    return status;
}

enum status tokenizer_encode_bytes(const struct tokenizer *tokenizer, const char *text, size_t text_length,
                                   const char *pair, size_t pair_length, struct tokens *out)
{
    struct characters scratch = {0};
    out->count = out->pieces = 0;
    enum status status = push(out, tokenizer->special[START], 0);
    if (!status)
        status = push_text(tokenizer, text, text_length, 0, &scratch, out);
    if (!status)
        status = push(out, tokenizer->special[SEPARATOR], 0);
    if (!status && pair)
        status = push_text(tokenizer, pair, pair_length, 1, &scratch, out);
    if (!status && pair)
        status = push(out, tokenizer->special[SEPARATOR], 1);
    if (!status)
        out->pieces = out->count - (pair ? 3 : 2);
    characters_clear(&scratch);
    return status;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, const char *pair,
                             struct tokens *out)
{
    return tokenizer_encode_bytes(tokenizer, text, strlen(text), pair, pair ? strlen(pair) : 0, out);
}

enum status tokens_check(const struct tokens *tokens, size_t limit)
{
    if (tokens->pieces == 0)
        return status_fail(STATUS_INPUT, "the text is empty; there is nothing to classify");
    if (tokens->count > limit)
        return status_fail(STATUS_INPUT, "the text has %zu tokens, at most %zu fit; shorten it",
                           tokens->count, limit);
    return STATUS_OK;
}

void tokens_cut(struct tokens *tokens, size_t limit)
{
    size_t first = 0;
    while (first < tokens->count && tokens->type[first] == 0)
        first++;
    size_t second = tokens->count - first, a = first, b = second;
    while (a + b > limit && (a > 2 || b > 1)) {
        if (b > 1 && b >= a)
            b--;
        else if (a > 2)
            a--;
        else
            b--;
    }
    if (a + b == tokens->count)
        return;
    tokens->id[a - 1] = tokens->id[first - 1];
    if (second) {
        uint32_t end = tokens->id[tokens->count - 1];
        memmove(tokens->id + a, tokens->id + first, b * sizeof *tokens->id);
        memmove(tokens->type + a, tokens->type + first, b);
        tokens->id[a + b - 1] = end;
    }
    tokens->count = a + b;
}
