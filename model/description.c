#include "model/description.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "model/characters.h"
#include "model/config.h"

#define FORMAT "trefoil model 1"

void description_clear(struct description *d)
{
    free(d->range);
    free(d->weight_frac);
    memset(d, 0, sizeof *d);
}

/* ---- writing ---- */

/* NULL if a label is not UTF-8. */
static json_t *labels_json(const struct model_config *c)
{
    json_t *labels = json_array();
    for (uint32_t i = 0; i < c->labels; i++)
        if (json_array_append_new(labels, json_string(c->label[i])) != 0) {
            json_decref(labels);
            return NULL;
        }
    return labels;
}

static json_t *ranges_json(const struct description *d)
{
    json_t *ranges = json_array();
    for (uint32_t i = 0; i < d->ranges; i++)
        json_array_append_new(ranges, json_pack("[ff]", d->range[i].largest, d->range[i].smallest));
    return ranges;
}

static json_t *weights_json(const struct description *d)
{
    json_t *weights = json_array();
    for (uint32_t i = 0; i < d->weights; i++)
        json_array_append_new(weights, json_integer(d->weight_frac[i]));
    return weights;
}

enum status description_check_name(const char *name)
{
    const size_t most = sizeof((struct description *)0)->name - 1;
    const bool good = *name && strlen(name) <= most && characters_are_printable(name);
    return good ? STATUS_OK
                : status_fail(STATUS_INPUT, "the name of a model is UTF-8 text of 1 to %zu bytes without control characters",
                              most);
}

enum status description_write(const struct description *d, char **text)
{
    const struct model_config *c = &d->config;
    char nonce[2 * sizeof d->nonce + 1], tables[2 * sizeof d->tables + 1];
    sodium_bin2hex(nonce, sizeof nonce, d->nonce, sizeof d->nonce);
    sodium_bin2hex(tables, sizeof tables, d->tables, sizeof d->tables);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:b, s:b, s:b, s:o, s:o, s:o}", "format",
        FORMAT, "name", d->name, "nonce", nonce, "tables", tables, "hidden", (int)c->hidden, "layers", (int)c->layers, "heads",
        (int)c->heads, "ffn", (int)c->ffn, "vocabulary", (int)c->vocabulary, "positions", (int)c->positions, "types",
        (int)c->types, "pad_id", (int)c->pad_id, "epsilon", (double)c->layer_norm_eps, "c", (double)c->softmax_c,
        "learned_c", (int)c->learned_c, "learned_quad", (int)c->learned_quad, "lower_case", (int)c->lower_case,
        "regression", (int)c->regression, "labels", labels_json(c), "ranges", ranges_json(d), "weights",
        weights_json(d));
    if (c->accents_differ)
        json_object_set_new(json, "accents_differ", json_true());
    if (c->ideographs_joined)
        json_object_set_new(json, "ideographs_joined", json_true());
    *text = NULL;
    if (!json && (description_check_name(d->name) != STATUS_OK || model_config_check(c) != STATUS_OK))
        return STATUS_INPUT;
    *text = json ? json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(json);
    return *text ? STATUS_OK : status_fail(STATUS_MEMORY, "the model's description could not be written");
}

enum status description_id(const struct description *d, unsigned char id[MODEL_ID_BYTES])
{
    char *text;
    const enum status status = description_write(d, &text);
    if (status != STATUS_OK)
        return status;
    crypto_generichash(id, MODEL_ID_BYTES, (const unsigned char *)text, strlen(text), NULL, 0);
    free(text);
    return STATUS_OK;
}

/* ---- reading: every field is hostile ---- */

static enum status bad(const char *field)
{
    return status_fail(STATUS_FOREIGN, "the model's description has no usable field \"%s\"", field);
}

static enum status read_count(const json_t *json, const char *field, uint32_t least, uint32_t most, uint32_t *out)
{
    const json_t *value = json_object_get(json, field);
    const json_int_t v = json_integer_value(value);
    if (!json_is_integer(value) || v < least || v > most)
        return bad(field);
    *out = (uint32_t)v;
    return STATUS_OK;
}

static enum status read_real(const json_t *json, const char *field, double most, float *out)
{
    const json_t *value = json_object_get(json, field);
    const double v = json_number_value(value);
    if (!json_is_number(value) || !isfinite(v) || fabs(v) > most)
        return bad(field);
    *out = (float)v;
    return STATUS_OK;
}

static enum status read_flag(const json_t *json, const char *field, bool *out)
{
    const json_t *value = json_object_get(json, field);
    if (!json_is_boolean(value))
        return bad(field);
    *out = json_is_true(value);
    return STATUS_OK;
}

static enum status read_labels(const json_t *json, struct model_config *c)
{
    const json_t *labels = json_object_get(json, "labels");
    if (!json_is_array(labels) || json_array_size(labels) < 1 || json_array_size(labels) > MODEL_LABELS_MAX)
        return bad("labels");
    c->labels = (uint32_t)json_array_size(labels);
    for (uint32_t i = 0; i < c->labels; i++) {
        const char *label = json_string_value(json_array_get(labels, i));
        if (!label || strlen(label) >= MODEL_LABEL_BYTES)
            return bad("labels");
        strcpy(c->label[i], label);
    }
    return STATUS_OK;
}

static enum status read_ranges(const json_t *json, struct description *d)
{
    const json_t *ranges = json_object_get(json, "ranges");
    if (!json_is_array(ranges) || json_array_size(ranges) > 1u << 16)
        return bad("ranges");
    d->ranges = (uint32_t)json_array_size(ranges);
    d->range = calloc(d->ranges + 1, sizeof *d->range);
    if (!d->range)
        return status_fail(STATUS_MEMORY, "out of memory for a model's description");
    for (uint32_t i = 0; i < d->ranges; i++) {
        const json_t *pair = json_array_get(ranges, i);
        d->range[i].largest = json_number_value(json_array_get(pair, 0));
        d->range[i].smallest = json_number_value(json_array_get(pair, 1));
        if (!json_is_array(pair) || !isfinite(d->range[i].largest) || !isfinite(d->range[i].smallest) ||
            d->range[i].largest < 0 || d->range[i].largest > 1e12 || fabs(d->range[i].smallest) > 1e12)
            return bad("ranges");
    }
    return STATUS_OK;
}

static enum status read_weights(const json_t *json, struct description *d)
{
    const json_t *weights = json_object_get(json, "weights");
    if (!json_is_array(weights) || json_array_size(weights) > 1u << 16)
        return bad("weights");
    d->weights = (uint32_t)json_array_size(weights);
    d->weight_frac = calloc(d->weights + 1, sizeof *d->weight_frac);
    if (!d->weight_frac)
        return status_fail(STATUS_MEMORY, "out of memory for a model's description");
    for (uint32_t i = 0; i < d->weights; i++) {
        const json_int_t v = json_integer_value(json_array_get(weights, i));
        if (v < -64 || v > 64)
            return bad("weights");
        d->weight_frac[i] = (int)v;
    }
    return STATUS_OK;
}

static enum status read_config(const json_t *json, struct model_config *c)
{
    const struct {
        const char *field;
        uint32_t least, most, *out;
    } counts[] = {{"hidden", 2, 1u << 14, &c->hidden},        {"layers", 1, 256, &c->layers},
                  {"heads", 1, 1024, &c->heads},              {"ffn", 1, 1u << 16, &c->ffn},
                  {"vocabulary", 1, 1u << 22, &c->vocabulary}, {"positions", 2, 1u << 16, &c->positions},
                  {"types", 1, 1024, &c->types},              {"pad_id", 0, 1u << 22, &c->pad_id}};
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof counts / sizeof *counts; i++)
        status = read_count(json, counts[i].field, counts[i].least, counts[i].most, counts[i].out);
    if (status == STATUS_OK && c->hidden % c->heads != 0)
        status = bad("heads");
    if (status == STATUS_OK)
        status = read_real(json, "epsilon", 1.0, &c->layer_norm_eps);
    if (status == STATUS_OK)
        status = read_real(json, "c", 1000.0, &c->softmax_c);
    if (status == STATUS_OK)
        status = read_flag(json, "learned_c", &c->learned_c);
    if (status == STATUS_OK)
        status = read_flag(json, "learned_quad", &c->learned_quad);
    if (status == STATUS_OK)
        status = read_flag(json, "lower_case", &c->lower_case);
    if (status == STATUS_OK && json_object_get(json, "accents_differ"))
        status = read_flag(json, "accents_differ", &c->accents_differ);
    if (status == STATUS_OK && json_object_get(json, "ideographs_joined"))
        status = read_flag(json, "ideographs_joined", &c->ideographs_joined);
    if (status == STATUS_OK)
        status = read_flag(json, "regression", &c->regression);
    c->activation = MODEL_QUAD;
    c->attention = MODEL_2QUAD;
    if (status == STATUS_OK)
        status = read_labels(json, c);
    /* Labels are printed on terminals: they must be printable, like everything a folder says. */
    if (status == STATUS_OK && model_config_check(c) != STATUS_OK)
        status = status_prefix(STATUS_FOREIGN, "the model's description: ");
    return status;
}

static enum status read_hex(const json_t *json, const char *field, unsigned char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(json, field));
    size_t bytes = 0;
    if (!text || sodium_hex2bin(out, size, text, strlen(text), NULL, &bytes, NULL) != 0 || bytes != size)
        return bad(field);
    return STATUS_OK;
}

static enum status read_names(const json_t *json, struct description *d)
{
    const char *format = json_string_value(json_object_get(json, "format"));
    const char *name = json_string_value(json_object_get(json, "name"));
    if (!format || strcmp(format, FORMAT) != 0)
        return bad("format");
    if (!name || strlen(name) >= sizeof d->name || !characters_are_printable(name))
        return bad("name");
    strcpy(d->name, name);
    const enum status status = read_hex(json, "nonce", d->nonce, sizeof d->nonce);
    return status == STATUS_OK ? read_hex(json, "tables", d->tables, sizeof d->tables) : status;
}

enum status description_read(struct description *out, const char *text)
{
    json_error_t error;
    memset(out, 0, sizeof *out);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(json)) {
        json_decref(json);
        return status_fail(STATUS_FOREIGN, "the model's description is not JSON: %s", error.text);
    }
    enum status status = read_names(json, out);
    if (status == STATUS_OK)
        status = read_config(json, &out->config);
    if (status == STATUS_OK)
        status = read_ranges(json, out);
    if (status == STATUS_OK)
        status = read_weights(json, out);
    json_decref(json);
    if (status != STATUS_OK)
        description_clear(out);
    return status;
}
