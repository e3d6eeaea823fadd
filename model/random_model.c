#include "model/random_model.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/files.h"
#include "model/model_tensors.h"

#define CHUNK 4096 /* values drawn at a time */

/* What the values of a tensor are like: mean + deviation * normal, deviation divided by sqrt(columns) if it
 * is a gain. */
struct kind {
    const char *end; /* of the tensor's name; the first that fits counts */
    float mean, deviation;
    bool gain;
};

static const struct kind kinds[] = {
    {"word_embeddings.weight", 0, 0.6f, false},
    {"position_embeddings.weight", 0, 0.3f, false},
    {"token_type_embeddings.weight", 0, 0.1f, false},
    {"LayerNorm.weight", 1, 0.05f, false},
    {"LayerNorm.bias", 0, 0.05f, false},
    {"query.weight", 0, 0.8f, true},
    {"key.weight", 0, 0.8f, true},
    {"quad_c", 5, 0.1f, false},
    {"value.weight", 0, 1.5f, true},
    {"attention.output.dense.weight", 0, 1.5f, true},
    {"classifier.weight", 0, 3.0f, true},
    {".weight", 0, 0.7f, true},
    {".bias", 0, 0.02f, false},
};

static const struct kind *kind_of(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t tail = strlen(kinds[i].end);
        if (length >= tail && strcmp(name + length - tail, kinds[i].end) == 0)
            return &kinds[i];
    }
    return NULL;
}

/* Four uniform 16-bit numbers added: close to normal, never beyond 3.5 deviations, the same on every machine.
 */
static float normal(uint64_t bits)
{
    int32_t sum = (int32_t)(bits & 0xffff) + (int32_t)(bits >> 16 & 0xffff) + (int32_t)(bits >> 32 & 0xffff) +
                  (int32_t)(bits >> 48) - 2 * 0xffff;
    return (float)sum * (1 / 37837.2f); /* 2^16 / sqrt(3) */
}

/* out[count], from the stream of (seed, tensor, chunk). */
static void draw(float *out, size_t count, uint64_t seed, uint32_t tensor)
{
    unsigned char key[randombytes_SEEDBYTES] = {0}, bytes[8 * CHUNK];
    for (size_t done = 0, chunk = 0; done < count; done += CHUNK, chunk++) {
        size_t now = count - done < CHUNK ? count - done : CHUNK;
        for (int i = 0; i < 8; i++) {
            key[i] = (unsigned char)(seed >> 8 * i);
            key[8 + i] = (unsigned char)((uint64_t)tensor >> 8 * i);
            key[16 + i] = (unsigned char)((uint64_t)chunk >> 8 * i);
        }
        randombytes_buf_deterministic(bytes, 8 * now, key);
        for (size_t i = 0; i < now; i++) {
            uint64_t bits = 0;
            for (int b = 0; b < 8; b++)
                bits |= (uint64_t)bytes[8 * i + (size_t)b] << 8 * b;
            out[done + i] = normal(bits);
        }
    }
}

static void fill(const struct model_tensor *tensor, uint64_t seed, uint32_t index)
{
    static const float quad[3] = {0.125f, 0.25f, 0.5f};
    size_t columns = tensor->columns ? tensor->columns : 1;
    const struct kind *kind = kind_of(tensor->name);
    float *out = *tensor->data;
    draw(out, tensor->rows * columns, seed, index);
    for (size_t row = 0; row < tensor->rows; row++)
        for (size_t column = 0; column < columns; column++) {
            float *value = &out[row * columns + column];
            if (!kind) /* intermediate.quad: near the fixed coefficients */
                *value = quad[row] * (1 + 0.05f * *value);
            else
                *value = kind->mean +
                         *value * (kind->gain ? kind->deviation / sqrtf((float)columns) : kind->deviation);
        }
}

enum status random_model_make(struct model *out, const struct model_config *config, uint64_t seed)
{
    struct model_tensor *tensor;
    size_t count;
    enum status status = model_allocate(out, config, true);
    if (status)
        return status;
    status = model_tensors(&tensor, &count, out, true, true);
    if (status) {
        model_clear(out);
        return status;
    }
    for (size_t i = 0; i < count; i++)
        fill(&tensor[i], seed, (uint32_t)i);
    free(tensor);
    return STATUS_OK;
}

/* The index-th word of one, two, ... open syllables. */
static void make_word(char out[16], size_t index)
{
    static const char consonants[] = "bcdfghjklmnprstvwxyz", vowels[] = "aeiou";
    size_t syllables = 1, of_this_length = 100;
    while (index >= of_this_length) {
        index -= of_this_length;
        of_this_length *= 100;
        syllables++;
    }
    out[2 * syllables] = 0;
    for (; syllables > 0; syllables--, index /= 100) {
        out[2 * syllables - 2] = consonants[index % 100 / 5];
        out[2 * syllables - 1] = vowels[index % 5];
    }
}

/* The piece of an id. Capitals are left out where text is lower-cased: a piece no text can reach. */
static void make_piece(char out[24], size_t id, bool lower_case)
{
    static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    char alone[96], word[16];
    size_t letters = 0, specials_count = sizeof specials / sizeof *specials;
    for (char c = '!'; c <= '~'; c++)
        if (!lower_case || c < 'A' || c > 'Z')
            alone[letters++] = c;
    if (id < specials_count) {
        snprintf(out, 24, "%s", specials[id]);
        return;
    }
    id -= specials_count;
    if (id < 2 * letters) {
        snprintf(out, 24, "%s%c", id < letters ? "" : "##", alone[id % letters]);
        return;
    }
    id -= 2 * letters;
    make_word(word, id / 2);
    snprintf(out, 24, "%s%s", id % 2 ? "##" : "", word);
}

static enum status write_vocabulary(const char *folder, const struct model_config *config)
{
    char path[FILES_PATH_BYTES], piece[24];
    struct files_new file = FILES_NEW_NONE;
    char *text = malloc((size_t)config->vocabulary * (sizeof piece + 1) + 1);
    if (!text)
        return status_fail(STATUS_MEMORY, "%s: no memory for its vocabulary", folder);
    size_t used = 0;
    for (size_t id = 0; id < config->vocabulary; id++) {
        make_piece(piece, id, config->lower_case);
        used += (size_t)sprintf(text + used, "%s\n", piece);
    }
    enum status status = files_join(path, folder, "vocab.txt");
    if (!status)
        status = files_new_open(&file, path);
    if (!status)
        status = files_new_write(&file, text, used);
    if (!status)
        status = files_new_sync(&file);
    if (!status)
        status = files_new_rename(&file);
    files_new_discard(&file);
    free(text);
    return status ? status : files_sync_folder(folder);
}

enum status random_model_write(const char *folder, const struct model_config *config, uint64_t seed)
{
    struct model model;
    if (config->vocabulary < RANDOM_MODEL_VOCABULARY_MIN)
        return status_fail(STATUS_INPUT,
                           "\"vocab_size\" is %u; a vocabulary holds at least the %d special tokens",
                           config->vocabulary, RANDOM_MODEL_VOCABULARY_MIN);
    enum status status = random_model_make(&model, config, seed);
    if (status)
        return status;
    status = model_write(&model, folder, MODEL_F16, NULL);
    model_clear(&model);
    return status ? status : write_vocabulary(folder, config);
}
