/* A WordPiece vocabulary: vocab.txt, one piece a line; the line number, from 0, is the id. A piece that
 * continues a word starts with "##". Where a piece stands twice the later line counts, as in other readers of
 * such files. */
#ifndef TREFOIL_MODEL_VOCABULARY_H
#define TREFOIL_MODEL_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define VOCABULARY_NONE UINT32_MAX
#define VOCABULARY_FILE_BYTES (64 << 20)

struct vocabulary;

/* STATUS_INPUT: no such file, empty, or more pieces than a model may have. */
STATUS_MUST_USE enum status vocabulary_open(struct vocabulary **out, const char *path);
void vocabulary_close(struct vocabulary **vocabulary);

size_t vocabulary_count(const struct vocabulary *vocabulary);
/* The longest piece, in bytes: no longer piece need be looked up. */
size_t vocabulary_longest(const struct vocabulary *vocabulary);
/* The piece of an id below the count, or NULL. */
const char *vocabulary_piece(const struct vocabulary *vocabulary, uint32_t id);
/* The id of a piece, or VOCABULARY_NONE. */
uint32_t vocabulary_find(const struct vocabulary *vocabulary, const char *piece, size_t length);

/* The same in steps, for the prefixes of a word: hash = VOCABULARY_HASH, each byte mixed in, then looked up.
 */
#define VOCABULARY_HASH 14695981039346656037u
static inline uint64_t vocabulary_mix(uint64_t hash, char byte)
{
    return (hash ^ (unsigned char)byte) * 1099511628211u; /* FNV-1a */
}
uint32_t vocabulary_find_hashed(const struct vocabulary *vocabulary, const char *piece, size_t length,
                                uint64_t hash);

#endif
