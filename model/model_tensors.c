#include "model/model_tensors.h"

#include <stdio.h>
#include <stdlib.h>

#define OUTSIDE_LAYERS 9 /* five of the embeddings, two of the pooler, two of the head */
#define IN_A_LAYER 18

static void add(struct model_tensor *list, size_t *count, const char *name, size_t rows, size_t columns,
                float **data)
{
    struct model_tensor *tensor = &list[(*count)++];
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->rows = rows;
    tensor->columns = columns;
    tensor->data = data;
}

static void add_layer(struct model_tensor *list, size_t *count, const struct model_config *config,
                      unsigned index, struct model_layer *layer)
{
    size_t h = config->hidden, f = config->ffn;
    const struct {
        const char *name;
        size_t rows, columns;
        float **data;
    } all[IN_A_LAYER] = {
        {"attention.self.query.weight", h, h, &layer->query_w},
        {"attention.self.query.bias", h, 0, &layer->query_b},
        {"attention.self.key.weight", h, h, &layer->key_w},
        {"attention.self.key.bias", h, 0, &layer->key_b},
        {"attention.self.value.weight", h, h, &layer->value_w},
        {"attention.self.value.bias", h, 0, &layer->value_b},
        {"attention.self.quad_c", config->learned_c ? config->heads : 0, 0, &layer->quad_c},
        {"attention.output.dense.weight", h, h, &layer->output_w},
        {"attention.output.dense.bias", h, 0, &layer->output_b},
        {"attention.output.LayerNorm.weight", h, 0, &layer->norm1_g},
        {"attention.output.LayerNorm.bias", h, 0, &layer->norm1_b},
        {"intermediate.dense.weight", f, h, &layer->ffn1_w},
        {"intermediate.dense.bias", f, 0, &layer->ffn1_b},
        {"intermediate.quad", config->learned_quad ? 3 : 0, f, &layer->quad},
        {"output.dense.weight", h, f, &layer->ffn2_w},
        {"output.dense.bias", h, 0, &layer->ffn2_b},
        {"output.LayerNorm.weight", h, 0, &layer->norm2_g},
        {"output.LayerNorm.bias", h, 0, &layer->norm2_b},
    };
    for (size_t i = 0; i < IN_A_LAYER; i++) {
        char name[MODEL_TENSOR_NAME_BYTES];
        if (!all[i].rows)
            continue;
        snprintf(name, sizeof name, "bert.encoder.layer.%u.%s", index, all[i].name);
        add(list, count, name, all[i].rows, all[i].columns, all[i].data);
    }
}

enum status model_tensors(struct model_tensor **out, size_t *count, struct model *model, bool pooler,
                          bool head)
{
    const struct model_config *config = &model->config;
    size_t h = config->hidden;
    struct model_tensor *list = calloc(OUTSIDE_LAYERS + (size_t)config->layers * IN_A_LAYER, sizeof *list);
    if (!list)
        return status_fail(STATUS_MEMORY, "no memory for the list of a model's tensors");
    *count = 0;
    add(list, count, "bert.embeddings.word_embeddings.weight", config->vocabulary, h, &model->word);
    add(list, count, "bert.embeddings.position_embeddings.weight", config->positions, h, &model->position);
    add(list, count, "bert.embeddings.token_type_embeddings.weight", config->types, h, &model->type);
    add(list, count, "bert.embeddings.LayerNorm.weight", h, 0, &model->norm_g);
    add(list, count, "bert.embeddings.LayerNorm.bias", h, 0, &model->norm_b);
    for (unsigned i = 0; i < config->layers; i++)
        add_layer(list, count, config, i, &model->layer[i]);
    if (pooler) {
        add(list, count, "bert.pooler.dense.weight", h, h, &model->pooler_w);
        add(list, count, "bert.pooler.dense.bias", h, 0, &model->pooler_b);
    }
    if (head) {
        add(list, count, "classifier.weight", config->labels, h, &model->head_w);
        add(list, count, "classifier.bias", config->labels, 0, &model->head_b);
    }
    *out = list;
    return STATUS_OK;
}
