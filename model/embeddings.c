#include "model/embeddings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "model/config.h"
#include "model/files.h"
#include "model/half.h"
#include "model/safetensors.h"
#include "model/vocabulary.h"

#define TABLES 3
#define ID_FILE "trefoil_model_id"

struct table {
    const char *name;
    size_t rows;
    float **data;
};

static void tables_of(struct table out[TABLES], struct model *model)
{
    const struct model_config *c = &model->config;
    out[0] = (struct table){"bert.embeddings.word_embeddings.weight", c->vocabulary, &model->word};
    out[1] = (struct table){"bert.embeddings.position_embeddings.weight", c->positions, &model->position};
    out[2] = (struct table){"bert.embeddings.token_type_embeddings.weight", c->types, &model->type};
}

static enum status find(const struct safetensors_tensor **out, const struct safetensors *file,
                        const struct table *table, size_t hidden, const char *path)
{
    *out = safetensors_find(file, table->name);
    if (!*out)
        *out = safetensors_find(file, table->name + strlen("bert."));
    if (!*out)
        return status_fail(STATUS_INPUT,
                           "%s: tensor \"%s\" is missing; the file does not fit its config.json", path,
                           table->name);
    if ((*out)->rank != 2 || (*out)->shape[0] != table->rows || (*out)->shape[1] != hidden)
        return status_fail(STATUS_INPUT,
                           "%s: tensor \"%s\" has not the shape [%zu, %zu] that config.json asks for", path,
                           table->name, table->rows, hidden);
    return STATUS_OK;
}

/* Shapes are compared with the file before memory is taken for them. */
static enum status read_tables(struct model *model, const struct safetensors *file, const char *path)
{
    const struct safetensors_tensor *found[TABLES];
    struct table table[TABLES];
    const size_t hidden = model->config.hidden;
    size_t elements = 0;
    enum status status = STATUS_OK;
    tables_of(table, model);
    for (int i = 0; !status && i < TABLES; i++) {
        status = find(&found[i], file, &table[i], hidden, path);
        elements += table[i].rows * hidden;
    }
    if (status)
        return status;
    float *at = malloc(elements * sizeof *at);
    model->memory = at;
    if (!at)
        return status_fail(STATUS_MEMORY, "no memory for the embeddings of a model");
    for (int i = 0; !status && i < TABLES; i++) {
        *table[i].data = at;
        status = safetensors_read(file, found[i], at);
        at += table[i].rows * hidden;
    }
    return status;
}

enum status model_read_embeddings(struct model *out, const char *folder)
{
    struct safetensors *file = NULL;
    char path[FILES_PATH_BYTES];
    *out = (struct model){0};
    enum status status = model_config_read(&out->config, folder);
    if (!status)
        status = files_join(path, folder, "model.safetensors");
    if (!status)
        status = safetensors_open(&file, path);
    if (!status)
        status = read_tables(out, file, path);
    safetensors_close(&file);
    if (status)
        model_clear(out);
    return status;
}

/* ---- writing ---- */

static bool is_public(const char *path)
{
    struct safetensors *file = NULL;
    struct table table[TABLES];
    struct model none = {0};
    tables_of(table, &none);
    bool all = safetensors_open(&file, path) == STATUS_OK && safetensors_count(file) == TABLES;
    for (int i = 0; all && i < TABLES; i++)
        all = safetensors_find(file, table[i].name) != NULL;
    safetensors_close(&file);
    return all;
}

enum status model_check_free(const char *folder)
{
    char weights[FILES_PATH_BYTES], config[FILES_PATH_BYTES];
    enum status status = files_join(weights, folder, "model.safetensors");
    if (!status)
        status = files_join(config, folder, "config.json");
    if (status || (!files_exist(weights) && !files_exist(config)) || is_public(weights))
        return status;
    return status_fail(STATUS_INPUT, "%s holds a model already: name another folder, or pass --overwrite",
                       folder);
}

static bool fits_half(const float *value, size_t count)
{
    uint16_t half;
    for (size_t i = 0; i < count; i++)
        if (!half_encode_f16(&half, value[i]) || half_decode_f16(half) != value[i])
            return false;
    return true;
}

static enum status write_text(struct files_new *file, const char *folder, const char *name, const char *text)
{
    char path[FILES_PATH_BYTES];
    enum status status = files_join(path, folder, name);
    if (!status && !text)
        status = status_fail(STATUS_MEMORY, "out of memory while writing %s", path);
    if (!status)
        status = files_new_open(file, path);
    if (!status)
        status = files_new_write(file, text, strlen(text));
    return status ? status : files_new_sync(file);
}

static enum status write_copy(struct files_new *file, const char *folder, const char *name, const char *from)
{
    char path[FILES_PATH_BYTES];
    char *text = NULL;
    size_t size;
    enum status status = files_join(path, from, name);
    if (!status)
        status = files_read(&text, &size, path, VOCABULARY_FILE_BYTES);
    if (!status)
        status = write_text(file, folder, name, text);
    free(text);
    return status;
}

static enum status write_tables(struct files_new *file, const char *folder, struct model *model,
                                enum model_precision precision)
{
    char path[FILES_PATH_BYTES];
    struct safetensors_item item[TABLES];
    struct table table[TABLES];
    tables_of(table, model);
    for (int i = 0; i < TABLES; i++)
        item[i] =
            (struct safetensors_item){table[i].name, table[i].rows, model->config.hidden, *table[i].data};
    enum status status = files_join(path, folder, "model.safetensors");
    if (!status)
        status = files_new_open(file, path);
    if (!status)
        status = safetensors_write(file, item, TABLES, precision);
    return status ? status : files_new_sync(file);
}

/* Numbers the F16 of the source became are written as F16 again; others keep their precision. */
static enum model_precision precision_of(const struct model *model)
{
    const struct model_config *c = &model->config;
    bool half = fits_half(model->word, (size_t)c->vocabulary * c->hidden) &&
                fits_half(model->position, (size_t)c->positions * c->hidden) &&
                fits_half(model->type, (size_t)c->types * c->hidden);
    return half ? MODEL_F16 : MODEL_F32;
}

enum status model_write_embeddings(const struct model *model, const char *folder, const char *from,
                                   const char *id)
{
    enum { WEIGHTS, VOCABULARY, TOKENIZER, ID, CONFIG, FILES };
    struct files_new file[FILES] = {FILES_NEW_NONE, FILES_NEW_NONE, FILES_NEW_NONE, FILES_NEW_NONE,
                                    FILES_NEW_NONE};
    char line[MODEL_ID_TEXT_BYTES + 1];
    snprintf(line, sizeof line, "%s\n", id);
    struct model tables = *model;
    const enum model_precision precision = precision_of(model);
    char *config = model_config_format(&model->config, true, precision);
    char tokenizer[FILES_PATH_BYTES];
    enum status status = files_join(tokenizer, from, "tokenizer_config.json");
    bool copies_tokenizer = !status && files_exist(tokenizer);
    if (!status)
        status = files_make_folder(folder);
    if (!status)
        status = write_tables(&file[WEIGHTS], folder, &tables, precision);
    if (!status)
        status = write_copy(&file[VOCABULARY], folder, "vocab.txt", from);
    if (!status && copies_tokenizer)
        status = write_copy(&file[TOKENIZER], folder, "tokenizer_config.json", from);
    if (!status)
        status = write_text(&file[ID], folder, ID_FILE, line);
    if (!status)
        status = write_text(&file[CONFIG], folder, "config.json", config);
    for (int i = 0; !status && i < FILES; i++)
        if (i != TOKENIZER || copies_tokenizer)
            status = files_new_rename(&file[i]);
    if (!status)
        status = files_sync_folder(folder);
    for (int i = 0; i < FILES; i++)
        files_new_discard(&file[i]);
    free(config);
    return status;
}

enum status model_read_id(char id[MODEL_ID_TEXT_BYTES], const char *folder)
{
    char path[FILES_PATH_BYTES], *text = NULL;
    size_t size;
    id[0] = 0;
    enum status status = files_join(path, folder, ID_FILE);
    if (status || !files_exist(path))
        return status;
    status = files_read(&text, &size, path, MODEL_ID_TEXT_BYTES);
    if (status)
        return status;
    text[strcspn(text, "\n")] = 0;
    if (strlen(text) == MODEL_ID_TEXT_BYTES - 1 &&
        strspn(text, "0123456789abcdef") == MODEL_ID_TEXT_BYTES - 1)
        memcpy(id, text, MODEL_ID_TEXT_BYTES);
    else
        status =
            status_fail(STATUS_INPUT,
                        "%s: this is no id of a model; take the folder anew that `trefoil share --export` "
                        "wrote",
                        path);
    free(text);
    return status;
}

/* Values, not the numbers that hold them: F16 and F32 files of one table agree, and so do machines. */
static void hash_table(crypto_generichash_state *state, const float *table, size_t count)
{
    unsigned char bytes[4096];
    size_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &table[i], sizeof bits);
        for (int j = 0; j < 4; j++)
            bytes[filled++] = (unsigned char)(bits >> 8 * j);
        if (filled == sizeof bytes || i + 1 == count) {
            crypto_generichash_update(state, bytes, filled);
            filled = 0;
        }
    }
}

enum status model_tables_digest(unsigned char digest[MODEL_TABLES_BYTES], const struct model *model,
                                const char *folder)
{
    const struct model_config *c = &model->config;
    char path[FILES_PATH_BYTES], *vocabulary = NULL;
    size_t size = 0;
    crypto_generichash_state state;
    enum status status = files_join(path, folder, "vocab.txt");
    if (status == STATUS_OK)
        status = files_read(&vocabulary, &size, path, VOCABULARY_FILE_BYTES);
    if (status != STATUS_OK)
        return status;
    crypto_generichash_init(&state, NULL, 0, MODEL_TABLES_BYTES);
    hash_table(&state, model->word, (size_t)c->vocabulary * c->hidden);
    hash_table(&state, model->position, (size_t)c->positions * c->hidden);
    hash_table(&state, model->type, (size_t)c->types * c->hidden);
    crypto_generichash_update(&state, (const unsigned char *)vocabulary, size);
    crypto_generichash_final(&state, digest, MODEL_TABLES_BYTES);
    free(vocabulary);
    return STATUS_OK;
}
