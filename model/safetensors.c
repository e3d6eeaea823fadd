#include "model/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/files.h"
#include "model/half.h"

#define CHUNK_BYTES 65536

struct safetensors {
    char path[FILES_PATH_BYTES];
    int file;
    uint64_t data; /* where the tensor data starts */
    uint64_t data_bytes;
    json_t *header; /* owns the names */
    struct safetensors_tensor *tensor;
    size_t count;
};

static const struct {
    const char *name;
    unsigned bits;
    enum safetensors_type type;
} types[] = {
    {"F32", 32, SAFETENSORS_F32},   {"F16", 16, SAFETENSORS_F16},   {"BF16", 16, SAFETENSORS_BF16},
    {"BOOL", 8, SAFETENSORS_OTHER}, {"U8", 8, SAFETENSORS_OTHER},   {"I8", 8, SAFETENSORS_OTHER},
    {"U16", 16, SAFETENSORS_OTHER}, {"I16", 16, SAFETENSORS_OTHER}, {"U32", 32, SAFETENSORS_OTHER},
    {"I32", 32, SAFETENSORS_OTHER}, {"U64", 64, SAFETENSORS_OTHER}, {"I64", 64, SAFETENSORS_OTHER},
    {"F64", 64, SAFETENSORS_OTHER},
};

static enum status tensor_fail(const struct safetensors *file, enum status code, const char *name,
                               const char *what)
{
    char shown[FILES_SHOWN_BYTES];
    files_show(shown, name);
    return status_fail(code, "%s: tensor \"%s\": %s", file->path, shown, what);
}

static enum status parse_shape(const struct safetensors *file, struct safetensors_tensor *tensor,
                               const json_t *shape)
{
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_RANK_MAX)
        return tensor_fail(file, STATUS_INPUT, tensor->name, "shape is not a list of at most 8 numbers");
    tensor->rank = json_array_size(shape);
    tensor->elements = 1;
    for (size_t i = 0; i < tensor->rank; i++) {
        const json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return tensor_fail(file, STATUS_INPUT, tensor->name,
                               "shape has an entry that is not a whole number");
        tensor->shape[i] = (uint64_t)json_integer_value(size);
        if (__builtin_mul_overflow(tensor->elements, tensor->shape[i], &tensor->elements))
            return tensor_fail(file, STATUS_INPUT, tensor->name, "shape is too large");
    }
    return STATUS_OK;
}

static enum status parse_range(const struct safetensors *file, struct safetensors_tensor *tensor,
                               const json_t *range)
{
    const json_t *begin = json_array_get(range, 0), *end = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return tensor_fail(file, STATUS_INPUT, tensor->name, "data_offsets is not a pair [begin, end]");
    tensor->begin = (uint64_t)json_integer_value(begin);
    tensor->end = (uint64_t)json_integer_value(end);
    if (tensor->end > file->data_bytes)
        return tensor_fail(file, STATUS_CORRUPT, tensor->name,
                           "reaches beyond the end of the file, which is cut short");
    return STATUS_OK;
}

static enum status parse_tensor(const struct safetensors *file, struct safetensors_tensor *tensor,
                                const char *name, const json_t *entry)
{
    *tensor = (struct safetensors_tensor){.name = name, .type = SAFETENSORS_OTHER};
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    if (!type)
        return tensor_fail(file, STATUS_INPUT, name, "has no dtype");
    enum status status = parse_shape(file, tensor, json_object_get(entry, "shape"));
    if (!status)
        status = parse_range(file, tensor, json_object_get(entry, "data_offsets"));
    if (status)
        return status;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i].name) != 0)
            continue;
        tensor->type = types[i].type;
        uint64_t bytes;
        if (__builtin_mul_overflow(tensor->elements, types[i].bits / 8, &bytes) ||
            bytes != tensor->end - tensor->begin)
            return tensor_fail(file, STATUS_CORRUPT, name, "its data_offsets do not fit its shape and dtype");
    }
    return STATUS_OK;
}

static int compare_begin(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static enum status check_layout(const struct safetensors *file)
{
    uint64_t reached = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *tensor = &file->tensor[i];
        if (tensor->begin != reached)
            return tensor_fail(file, STATUS_CORRUPT, tensor->name,
                               tensor->begin < reached ? "overlaps another tensor"
                                                       : "a gap lies before its data");
        reached = tensor->end;
    }
    if (reached != file->data_bytes)
        return status_fail(STATUS_CORRUPT, "%s: %llu bytes behind the last tensor belong to nothing",
                           file->path, (unsigned long long)(file->data_bytes - reached));
    return STATUS_OK;
}

static enum status parse_tensors(struct safetensors *file)
{
    size_t entries = json_object_size(file->header);
    if (entries > SAFETENSORS_COUNT_MAX)
        return status_fail(STATUS_INPUT, "%s: %zu tensors; at most %d are read", file->path, entries,
                           SAFETENSORS_COUNT_MAX);
    file->tensor = calloc(entries + 1, sizeof *file->tensor);
    if (!file->tensor)
        return status_fail(STATUS_MEMORY, "%s: no memory for its list of tensors", file->path);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        enum status status = parse_tensor(file, &file->tensor[file->count], name, entry);
        if (status)
            return status;
        file->count++;
    }
    qsort(file->tensor, file->count, sizeof *file->tensor, compare_begin);
    return check_layout(file);
}

static enum status read_header(struct safetensors *file, uint64_t size)
{
    unsigned char length[8];
    if (size < sizeof length)
        return status_fail(STATUS_CORRUPT, "%s: only %llu bytes; it is cut short", file->path,
                           (unsigned long long)size);
    enum status status = files_read_at(file->file, length, sizeof length, 0, file->path);
    if (status)
        return status;
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | length[i];
    if (n > SAFETENSORS_HEADER_MAX)
        return status_fail(STATUS_INPUT, "%s: not a safetensors file (a header of %llu bytes)", file->path,
                           (unsigned long long)n);
    if (n > size - sizeof length)
        return status_fail(STATUS_CORRUPT, "%s: the file ends inside its header; it is cut short",
                           file->path);
    file->data = sizeof length + n;
    file->data_bytes = size - file->data;
    char *text = malloc((size_t)n + 1);
    if (!text)
        return status_fail(STATUS_MEMORY, "%s: no memory for its header of %llu bytes", file->path,
                           (unsigned long long)n);
    status = files_read_at(file->file, text, (size_t)n, sizeof length, file->path);
    if (!status) {
        json_error_t error;
        file->header = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, &error);
        char shown[FILES_SHOWN_BYTES];
        if (!file->header)
            status = status_fail(STATUS_INPUT, "%s: not a safetensors file: header, byte %d: %s", file->path,
                                 error.position, files_show(shown, error.text));
        else if (!json_is_object(file->header))
            status =
                status_fail(STATUS_INPUT, "%s: not a safetensors file: the header is no object", file->path);
    }
    free(text);
    return status;
}

enum status safetensors_open(struct safetensors **out, const char *path)
{
    struct safetensors *file = calloc(1, sizeof *file);
    if (!file)
        return status_fail(STATUS_MEMORY, "%s: no memory", path);
    file->file = -1;
    snprintf(file->path, sizeof file->path, "%s", path);
    uint64_t size;
    enum status status = files_open(&file->file, &size, path);
    if (!status)
        status = read_header(file, size);
    if (!status)
        status = parse_tensors(file);
    if (status)
        safetensors_close(&file);
    *out = file;
    return status;
}

void safetensors_close(struct safetensors **file)
{
    if (!*file)
        return;
    json_decref((*file)->header);
    free((*file)->tensor);
    if ((*file)->file >= 0)
        close((*file)->file);
    free(*file);
    *file = NULL;
}

size_t safetensors_count(const struct safetensors *file)
{
    return file->count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index)
{
    return &file->tensor[index];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensor[i].name, name) == 0)
            return &file->tensor[i];
    return NULL;
}

/* Decodes count elements; false if one of them is not finite. */
static bool decode(float *out, const unsigned char *bytes, size_t count, enum safetensors_type type)
{
    uint32_t worst = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        if (type == SAFETENSORS_F32) {
            const unsigned char *b = bytes + 4 * i;
            out[i] = half_from_bits(b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
        } else {
            uint16_t half = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
            out[i] = type == SAFETENSORS_F16 ? half_decode_f16(half) : half_decode_bf16(half);
        }
        memcpy(&bits, &out[i], sizeof bits);
        bits &= 0x7fffffffu;
        worst = bits > worst ? bits : worst;
    }
    return worst < 0x7f800000u;
}

enum status safetensors_read(const struct safetensors *file, const struct safetensors_tensor *tensor,
                             float *out)
{
    if (tensor->type == SAFETENSORS_OTHER)
        return tensor_fail(file, STATUS_INPUT, tensor->name, "its dtype is none of F32, F16, BF16");
    unsigned char chunk[CHUNK_BYTES];
    size_t width = tensor->type == SAFETENSORS_F32 ? 4 : 2;
    uint64_t done = 0;
    while (done < tensor->elements) {
        uint64_t left = tensor->elements - done;
        size_t count = left < CHUNK_BYTES / width ? (size_t)left : CHUNK_BYTES / width;
        enum status status = files_read_at(file->file, chunk, count * width,
                                           file->data + tensor->begin + done * width, file->path);
        if (status)
            return status;
        if (!decode(out + done, chunk, count, tensor->type))
            return tensor_fail(file, STATUS_INPUT, tensor->name,
                               "has a value that is infinite or not a number");
        done += count;
    }
    return STATUS_OK;
}

/* The header as text, padded with spaces to a multiple of 8 bytes, as the format's writers do. NULL: no
 * memory. */
static char *make_header(size_t *length, const struct safetensors_item *item, size_t count, bool half)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    json_int_t at = 0;
    for (size_t i = 0; header && i < count; i++) {
        size_t columns = item[i].columns ? item[i].columns : 1;
        json_int_t end = at + (json_int_t)(item[i].rows * columns * (half ? 2 : 4));
        json_t *shape = item[i].columns ? json_pack("[I,I]", (json_int_t)item[i].rows, (json_int_t)columns)
                                        : json_pack("[I]", (json_int_t)item[i].rows);
        json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", half ? "F16" : "F32", "shape", shape,
                                  "data_offsets", at, end);
        if (json_object_set_new(header, item[i].name, entry) != 0) {
            json_decref(header);
            header = NULL;
        }
        at = end;
    }
    char *text = header ? json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(header);
    if (!text)
        return NULL;
    size_t used = strlen(text);
    *length = (used + 7) / 8 * 8;
    char *padded = realloc(text, *length + 1);
    if (!padded) {
        free(text);
        return NULL;
    }
    memset(padded + used, ' ', *length - used);
    return padded;
}

/* Encodes count elements, little endian; false if one does not fit. */
static bool encode(unsigned char *out, const float *value, size_t count, bool half)
{
    for (size_t i = 0; i < count; i++) {
        if (half) {
            uint16_t bits;
            if (!half_encode_f16(&bits, value[i]))
                return false;
            out[2 * i] = (unsigned char)bits;
            out[2 * i + 1] = (unsigned char)(bits >> 8);
            continue;
        }
        uint32_t bits;
        memcpy(&bits, &value[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u)
            return false;
        for (int b = 0; b < 4; b++)
            out[4 * i + b] = (unsigned char)(bits >> 8 * b);
    }
    return true;
}

static enum status write_item(struct files_new *out, const struct safetensors_item *item, bool half)
{
    unsigned char chunk[CHUNK_BYTES];
    size_t total = item->rows * (item->columns ? item->columns : 1), width = half ? 2 : 4;
    for (size_t done = 0; done < total;) {
        size_t left = total - done, count = left < CHUNK_BYTES / width ? left : CHUNK_BYTES / width;
        if (!encode(chunk, item->data + done, count, half))
            return status_fail(STATUS_RANGE, "%s: tensor \"%s\": a value is %s", out->path, item->name,
                               half ? "not finite or beyond 65504, the largest in F16; write F32 instead"
                                    : "not finite");
        enum status status = files_new_write(out, chunk, count * width);
        if (status)
            return status;
        done += count;
    }
    return STATUS_OK;
}

enum status safetensors_write(struct files_new *out, const struct safetensors_item *item, size_t count,
                              enum model_precision precision)
{
    size_t length;
    bool half = precision == MODEL_F16;
    char *header = make_header(&length, item, count, half);
    if (!header)
        return status_fail(STATUS_MEMORY, "%s: no memory for its header", out->path);
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)length >> 8 * i);
    enum status status = files_new_write(out, prefix, sizeof prefix);
    if (!status)
        status = files_new_write(out, header, length);
    for (size_t i = 0; !status && i < count; i++)
        status = write_item(out, &item[i], half);
    free(header);
    return status;
}
