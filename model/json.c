#include "model/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/files.h"

enum status json_reader_load(struct json_reader *out, const char *path, size_t limit)
{
    *out = (struct json_reader){.path = path};
    char *text;
    size_t size;
    out->status = files_read(&text, &size, path, limit);
    if (out->status)
        return out->status;
    json_error_t error;
    char shown[FILES_SHOWN_BYTES];
    out->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!out->root)
        out->status = status_fail(STATUS_INPUT, "%s: line %d: not JSON: %s", path, error.line,
                                  files_show(shown, error.text));
    else if (!json_is_object(out->root))
        out->status = status_fail(STATUS_INPUT, "%s: not a JSON object", path);
    return out->status;
}

void json_reader_clear(struct json_reader *reader)
{
    json_decref(reader->root);
    reader->root = NULL;
}

bool json_reader_has(const struct json_reader *reader, const char *field)
{
    const json_t *value = json_object_get(reader->root, field);
    return value && !json_is_null(value);
}

void json_reader_refuse(struct json_reader *reader, const char *field, const char *expected)
{
    char shown[FILES_SHOWN_BYTES];
    const json_t *value = json_object_get(reader->root, field);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    reader->status = status_fail(STATUS_INPUT, "%s: \"%s\" is %s; %s", reader->path, field,
                                 text ? files_show(shown, text) : "missing", expected);
    free(text);
}

/* The value to look at, or NULL if there is nothing to do. */
static const json_t *field_value(struct json_reader *reader, const char *field)
{
    return reader->status || !json_reader_has(reader, field) ? NULL : json_object_get(reader->root, field);
}

void json_reader_whole(struct json_reader *reader, uint32_t *out, const char *field, uint32_t low,
                       uint32_t high, bool required)
{
    char expected[80];
    const json_t *value = field_value(reader, field);
    if (reader->status || (!value && !required))
        return;
    json_int_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= low && number <= high) {
        *out = (uint32_t)number;
        return;
    }
    snprintf(expected, sizeof expected, "expected a whole number from %u to %u", low, high);
    json_reader_refuse(reader, field, expected);
}

void json_reader_number(struct json_reader *reader, float *out, const char *field, double low, double high)
{
    char expected[80];
    const json_t *value = field_value(reader, field);
    if (!value)
        return;
    double number = json_number_value(value);
    if (json_is_number(value) && number >= low && number <= high) {
        *out = (float)number;
        return;
    }
    snprintf(expected, sizeof expected, "expected a number from %g to %g", low, high);
    json_reader_refuse(reader, field, expected);
}

void json_reader_flag(struct json_reader *reader, bool *out, const char *field)
{
    const json_t *value = field_value(reader, field);
    if (value && json_is_boolean(value))
        *out = json_is_true(value);
    else if (value)
        json_reader_refuse(reader, field, "expected true or false");
}

void json_reader_word(struct json_reader *reader, unsigned *out, const char *field, const char *const *words)
{
    const json_t *value = field_value(reader, field);
    if (!value)
        return;
    char expected[160] = "expected";
    size_t used = strlen(expected);
    for (unsigned i = 0; words[i]; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), words[i]) == 0) {
            *out = i;
            return;
        }
        used +=
            (size_t)snprintf(expected + used, sizeof expected - used, "%s \"%s\"", i ? " or" : "", words[i]);
        if (used >= sizeof expected)
            used = sizeof expected - 1;
    }
    json_reader_refuse(reader, field, expected);
}
