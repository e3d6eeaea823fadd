/* The tensors of a model as a list, in the order they are written: for reading, writing and training, which
 * treat all of them alike. */
#ifndef TREFOIL_MODEL_MODEL_TENSORS_H
#define TREFOIL_MODEL_MODEL_TENSORS_H

#include "model/model.h"

#define MODEL_TENSOR_NAME_BYTES 80

struct model_tensor {
    char name[MODEL_TENSOR_NAME_BYTES]; /* as in the file, with the prefix "bert." where it belongs */
    size_t rows, columns;               /* columns 0: a vector of rows elements */
    float **data;                       /* the pointer inside struct model or struct model_layer */
};

/* Lists every tensor the config calls for; pooler and head if asked. model->layer must be set, the weights
 * need not be. Free the list. STATUS_MEMORY only. */
STATUS_MUST_USE enum status model_tensors(struct model_tensor **out, size_t *count, struct model *model,
                                          bool pooler, bool head);

static inline size_t model_tensor_elements(const struct model_tensor *tensor)
{
    return tensor->rows * (tensor->columns ? tensor->columns : 1);
}

#endif
