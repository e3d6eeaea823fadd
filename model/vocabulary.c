#include "model/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/files.h"

struct piece {
    const char *text;
    size_t length;
};

struct vocabulary {
    char *text; /* the file; line ends replaced by zeros */
    struct piece *piece;
    size_t count, longest;
    uint32_t *slot; /* open addressing: id, or VOCABULARY_NONE */
    size_t mask;    /* number of slots less one; at most half of them are taken */
};

static size_t count_lines(const char *text, size_t size)
{
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines + (size > 0 && text[size - 1] != '\n');
}

static void split_lines(struct vocabulary *vocabulary, size_t size)
{
    char *at = vocabulary->text, *end = at + size;
    for (size_t i = 0; i < vocabulary->count; i++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        size_t length = (size_t)(stop - at);
        if (length > 0 && at[length - 1] == '\r')
            length--;
        *stop = 0; /* the byte behind the file is there too */
        at[length] = 0;
        vocabulary->piece[i] = (struct piece){at, length};
        vocabulary->longest = length > vocabulary->longest ? length : vocabulary->longest;
        at = stop < end ? stop + 1 : end;
    }
}

static uint64_t hash_of(const char *piece, size_t length)
{
    uint64_t hash = VOCABULARY_HASH;
    for (size_t i = 0; i < length; i++)
        hash = vocabulary_mix(hash, piece[i]);
    return hash;
}

/* The slot that holds the piece, or the free one where it would go. */
static uint32_t *slot_of(const struct vocabulary *vocabulary, const char *piece, size_t length, uint64_t hash)
{
    size_t at = (size_t)(hash ^ hash >> 32) & vocabulary->mask;
    for (;; at = (at + 1) & vocabulary->mask) {
        uint32_t id = vocabulary->slot[at];
        if (id == VOCABULARY_NONE)
            return &vocabulary->slot[at];
        const struct piece *there = &vocabulary->piece[id];
        if (there->length == length && memcmp(there->text, piece, length) == 0)
            return &vocabulary->slot[at];
    }
}

static enum status index_pieces(struct vocabulary *vocabulary, const char *path)
{
    size_t slots = 16;
    while (slots < 2 * vocabulary->count)
        slots *= 2;
    vocabulary->slot = malloc(slots * sizeof *vocabulary->slot);
    if (!vocabulary->slot)
        return status_fail(STATUS_MEMORY, "%s: no memory for %zu pieces", path, vocabulary->count);
    memset(vocabulary->slot, 0xff, slots * sizeof *vocabulary->slot);
    vocabulary->mask = slots - 1;
    for (size_t i = 0; i < vocabulary->count; i++) {
        const struct piece *piece = &vocabulary->piece[i];
        *slot_of(vocabulary, piece->text, piece->length, hash_of(piece->text, piece->length)) = (uint32_t)i;
    }
    return STATUS_OK;
}

enum status vocabulary_open(struct vocabulary **out, const char *path)
{
    size_t size;
    struct vocabulary *vocabulary = calloc(1, sizeof *vocabulary);
    *out = NULL;
    if (!vocabulary)
        return status_fail(STATUS_MEMORY, "%s: no memory", path);
    enum status status = files_read(&vocabulary->text, &size, path, VOCABULARY_FILE_BYTES);
    if (status)
        goto out;
    vocabulary->count = count_lines(vocabulary->text, size);
    if (vocabulary->count == 0 || vocabulary->count > CONFIG_VOCABULARY_MAX) {
        status =
            status_fail(STATUS_INPUT, "%s: %zu lines; expected a vocabulary of 1 to %d pieces, one a line",
                        path, vocabulary->count, CONFIG_VOCABULARY_MAX);
        goto out;
    }
    vocabulary->piece = calloc(vocabulary->count, sizeof *vocabulary->piece);
    if (!vocabulary->piece) {
        status = status_fail(STATUS_MEMORY, "%s: no memory for %zu pieces", path, vocabulary->count);
        goto out;
    }
    split_lines(vocabulary, size);
    status = index_pieces(vocabulary, path);
out:
    if (status)
        vocabulary_close(&vocabulary);
    *out = vocabulary;
    return status;
}

void vocabulary_close(struct vocabulary **vocabulary)
{
    if (!*vocabulary)
        return;
    free((*vocabulary)->text);
    free((*vocabulary)->piece);
    free((*vocabulary)->slot);
    free(*vocabulary);
    *vocabulary = NULL;
}

size_t vocabulary_count(const struct vocabulary *vocabulary)
{
    return vocabulary->count;
}

size_t vocabulary_longest(const struct vocabulary *vocabulary)
{
    return vocabulary->longest;
}

const char *vocabulary_piece(const struct vocabulary *vocabulary, uint32_t id)
{
    return id < vocabulary->count ? vocabulary->piece[id].text : NULL;
}

uint32_t vocabulary_find_hashed(const struct vocabulary *vocabulary, const char *piece, size_t length,
                                uint64_t hash)
{
    return *slot_of(vocabulary, piece, length, hash);
}

uint32_t vocabulary_find(const struct vocabulary *vocabulary, const char *piece, size_t length)
{
    return vocabulary_find_hashed(vocabulary, piece, length, hash_of(piece, length));
}
