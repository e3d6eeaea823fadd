#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/files.h"
#include "model/model_tensors.h"
#include "model/safetensors.h"

#define ALIGNMENT 64 /* bytes: a cache line, and the widest vector register */

/* The tensors of a model whose weights are not there yet. */
struct plan {
    struct model_tensor *tensor;
    size_t count;
};

static enum status plan_make(struct plan *out, struct model *model, const struct model_config *config,
                             bool pooler, bool head)
{
    *out = (struct plan){0};
    *model = (struct model){.config = *config};
    enum status status = model_config_check(config);
    if (status)
        return status;
    model->layer = calloc(config->layers, sizeof *model->layer);
    if (!model->layer)
        return status_fail(STATUS_MEMORY, "no memory for a model of %u layers", config->layers);
    return model_tensors(&out->tensor, &out->count, model, pooler, head);
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* One block holds all weights. The limits of model/config.h keep its size far below 2^63. */
static enum status plan_allocate(const struct plan *plan, struct model *model)
{
    size_t bytes = ALIGNMENT;
    for (size_t i = 0; i < plan->count; i++)
        bytes += aligned(model_tensor_elements(&plan->tensor[i]) * sizeof(float));
    model->memory = calloc(1, bytes);
    if (!model->memory)
        return status_fail(STATUS_MEMORY, "no memory for a model of %zu bytes", bytes);
    char *at = (char *)aligned((uintptr_t)model->memory);
    for (size_t i = 0; i < plan->count; i++) {
        *plan->tensor[i].data = (float *)at;
        at += aligned(model_tensor_elements(&plan->tensor[i]) * sizeof(float));
    }
    return STATUS_OK;
}

enum status model_allocate(struct model *out, const struct model_config *config, bool with_head)
{
    struct plan plan;
    enum status status = plan_make(&plan, out, config, with_head, with_head);
    if (!status)
        status = plan_allocate(&plan, out);
    free(plan.tensor);
    if (status)
        model_clear(out);
    return status;
}

void model_clear(struct model *model)
{
    free(model->layer);
    free(model->memory);
    *model = (struct model){0};
}

/* A tensor under its name, without "bert.", or with the names LayerNorm had in older files. */
static const struct safetensors_tensor *find(const struct safetensors *file, const char *name)
{
    char old[MODEL_TENSOR_NAME_BYTES];
    const char *bare = strncmp(name, "bert.", 5) == 0 ? name + 5 : name;
    const struct safetensors_tensor *found = safetensors_find(file, name);
    if (!found)
        found = safetensors_find(file, bare);
    const char *norm = strstr(name, "LayerNorm.");
    if (found || !norm)
        return found;
    snprintf(old, sizeof old, "%.*sLayerNorm.%s", (int)(norm - name), name,
             norm[10] == 'w' ? "gamma" : "beta");
    found = safetensors_find(file, old);
    return found ? found : safetensors_find(file, old + (bare - name));
}

static void print_shape(char *out, size_t size, const uint64_t *shape, size_t rank)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (size_t i = 0; i < rank && used < size; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

static enum status check_tensor(const struct safetensors *file, const struct model_tensor *wanted,
                                const char *path)
{
    const struct safetensors_tensor *found = find(file, wanted->name);
    if (!found)
        return status_fail(STATUS_INPUT,
                           "%s: tensor \"%s\" is missing; the file does not fit its config.json", path,
                           wanted->name);
    uint64_t shape[2] = {wanted->rows, wanted->columns};
    size_t rank = wanted->columns ? 2 : 1;
    if (found->rank == rank && memcmp(found->shape, shape, rank * sizeof *shape) == 0)
        return STATUS_OK;
    char is[200], should[60];
    print_shape(is, sizeof is, found->shape, found->rank);
    print_shape(should, sizeof should, shape, rank);
    return status_fail(STATUS_INPUT, "%s: tensor \"%s\" has the shape %s; config.json asks for %s", path,
                       wanted->name, is, should);
}

/* Weights that change the arithmetic but that config.json does not mention would be dropped silently:
 * refused. */
static enum status check_extra(const struct safetensors *file, const struct model_config *config,
                               const char *path)
{
    char name[MODEL_TENSOR_NAME_BYTES];
    if (!config->learned_c && find(file, "bert.encoder.layer.0.attention.self.quad_c"))
        return status_fail(STATUS_INPUT,
                           "%s: has learned c, but config.json lacks \"softmax_2quad_learned\": true", path);
    if (!config->learned_quad && find(file, "bert.encoder.layer.0.intermediate.quad"))
        return status_fail(STATUS_INPUT,
                           "%s: has learned quadratics, but config.json lacks \"hidden_act_learned\": true",
                           path);
    snprintf(name, sizeof name, "bert.encoder.layer.%u.output.dense.weight", config->layers);
    if (find(file, name))
        return status_fail(STATUS_INPUT, "%s: has more layers than the %u that config.json says", path,
                           config->layers);
    return STATUS_OK;
}

static enum status read_weights(struct model *out, const struct model_config *config,
                                const struct safetensors *file, const char *path)
{
    struct plan plan;
    bool head = find(file, "classifier.weight") != NULL;
    bool pooler = head || find(file, "bert.pooler.dense.weight") != NULL;
    enum status status = check_extra(file, config, path);
    if (status)
        return status;
    status = plan_make(&plan, out, config, pooler, head);
    /* Every shape is compared with the file before memory of the size config.json asks for is taken. */
    for (size_t i = 0; !status && i < plan.count; i++)
        status = check_tensor(file, &plan.tensor[i], path);
    if (!status)
        status = plan_allocate(&plan, out);
    for (size_t i = 0; !status && i < plan.count; i++)
        status = safetensors_read(file, find(file, plan.tensor[i].name), *plan.tensor[i].data);
    free(plan.tensor);
    return status;
}

/* What to do when the one file that is read is not there. */
static enum status explain_missing(const char *folder, const char *path)
{
    char other[FILES_PATH_BYTES];
    if (!files_join(other, folder, "model.safetensors.index.json") && files_exist(other))
        return status_fail(
            STATUS_INPUT,
            "%s: the weights are split over several files; save them as one (shards are not read)", other);
    if (!files_join(other, folder, "pytorch_model.bin") && files_exist(other))
        return status_fail(STATUS_INPUT,
                           "%s: pickled weights are not read; save the model as model.safetensors", other);
    return status_fail(STATUS_INPUT,
                       "%s: no such file; a model folder holds config.json, model.safetensors and vocab.txt",
                       path);
}

enum status model_read(struct model *out, const char *folder)
{
    struct model_config config;
    struct safetensors *file = NULL;
    char path[FILES_PATH_BYTES];
    *out = (struct model){0};
    enum status status = model_config_read(&config, folder);
    if (!status)
        status = files_join(path, folder, "model.safetensors");
    if (!status && !files_exist(path))
        status = explain_missing(folder, path);
    if (!status)
        status = safetensors_open(&file, path);
    if (!status)
        status = read_weights(out, &config, file, path);
    safetensors_close(&file);
    if (status)
        model_clear(out);
    return status;
}
