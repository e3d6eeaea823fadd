/* Weight files in the safetensors format.
 *
 *     8 bytes              n, length of the header, little endian
 *     n bytes              JSON: {"NAME": {"dtype": "F16", "shape": [2, 128], "data_offsets": [begin, end]},
 * ...,
 *                                 "__metadata__": {"KEY": "TEXT"}}
 *     the rest             tensor data, little endian, row by row; offsets count from here
 *
 * A file is hostile until checked. After safetensors_open: names are unique; each tensor lies inside the file
 * and is as long as its shape and type say; tensors do not overlap, leave no gap and reach exactly to the end
 * of the file. Nothing is allocated on the word of the header alone. Tensors of types this reader does not
 * decode are allowed (files carry integer tables that no one needs); reading one is an error. */
#ifndef TREFOIL_MODEL_SAFETENSORS_H
#define TREFOIL_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "model/model.h"
#include "ring/status.h"

#define SAFETENSORS_RANK_MAX 8
#define SAFETENSORS_HEADER_MAX (16 << 20) /* the header of BERT-base has 20 thousand bytes */
#define SAFETENSORS_COUNT_MAX 65536

enum safetensors_type { SAFETENSORS_F32, SAFETENSORS_F16, SAFETENSORS_BF16, SAFETENSORS_OTHER };

struct safetensors_tensor {
    const char *name; /* owned by the file */
    enum safetensors_type type;
    size_t rank;
    uint64_t shape[SAFETENSORS_RANK_MAX];
    uint64_t elements;   /* product of the shape */
    uint64_t begin, end; /* bytes, from the start of the data */
};

struct safetensors;

/* Opens and checks. STATUS_CORRUPT: the file is cut short or its offsets do not fit it; STATUS_INPUT: no such
 * file, not a safetensors file, a bad field. The message names the file and the tensor. */
STATUS_MUST_USE enum status safetensors_open(struct safetensors **out, const char *path);
void safetensors_close(struct safetensors **file);

size_t safetensors_count(const struct safetensors *file);
/* In the order of the data. */
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index);
/* NULL if the file has no tensor of that name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* Decodes a whole tensor: out[elements]. STATUS_INPUT if its type is none of F32, F16, BF16 or a value is not
 * finite. */
STATUS_MUST_USE enum status safetensors_read(const struct safetensors *file,
                                             const struct safetensors_tensor *tensor, float *out);

/* A tensor to be written: rows x columns, or a vector of rows elements if columns is 0. */
struct safetensors_item {
    const char *name;
    size_t rows, columns;
    const float *data;
};

struct files_new;
/* Writes a file of these tensors into an open files_new, in the order given. STATUS_RANGE, naming the tensor,
 * if a value is not finite or, in F16, too large (rounded to nearest even; what is too small becomes zero).
 */
STATUS_MUST_USE enum status safetensors_write(struct files_new *out, const struct safetensors_item *item,
                                              size_t count, enum model_precision precision);

#endif
