/* Reading fields of a JSON file with jansson: every message names the file and the field, what was found and
 * what was expected. The first failure sticks: later calls do nothing, so a list of fields is read without a
 * check in between and reader.status is looked at once. */
#ifndef TREFOIL_MODEL_JSON_H
#define TREFOIL_MODEL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ring/status.h"

struct json_reader {
    const char *path;
    json_t *root;
    enum status status;
};

/* Loads an object from a file of at most limit bytes; json_reader_clear in any case. */
STATUS_MUST_USE enum status json_reader_load(struct json_reader *out, const char *path, size_t limit);
void json_reader_clear(struct json_reader *reader);

/* The field is there and not null. */
bool json_reader_has(const struct json_reader *reader, const char *field);

/* Sets the status: FILE: "FIELD" is VALUE; EXPECTED. */
void json_reader_refuse(struct json_reader *reader, const char *field, const char *expected);

/* Each leaves *out alone if the field is missing or null, unless it is required. */
void json_reader_whole(struct json_reader *reader, uint32_t *out, const char *field, uint32_t low,
                       uint32_t high, bool required);
void json_reader_number(struct json_reader *reader, float *out, const char *field, double low, double high);
void json_reader_flag(struct json_reader *reader, bool *out, const char *field);
/* One of the NULL-terminated words; *out is its index. */
void json_reader_word(struct json_reader *reader, unsigned *out, const char *field, const char *const *words);

#endif
