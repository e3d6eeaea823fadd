/* A BERT-like classifier in the clear: a Hugging Face folder read into memory.
 *
 *     config.json        shape and kind            -> struct model_config
 *     model.safetensors  F32, F16 or BF16          -> struct model (always float)
 *     vocab.txt          WordPiece vocabulary      -> model/tokenizer.h
 *
 * Weights keep the orientation of the file: a linear layer's weight is [out][in], y = x W^T + b. */
#ifndef TREFOIL_MODEL_MODEL_H
#define TREFOIL_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define MODEL_LABELS_MAX 64
#define MODEL_LABEL_BYTES 64

enum model_activation { MODEL_GELU, MODEL_QUAD, MODEL_RELU };     /* hidden_act: "gelu", "quad", "relu" */
enum model_attention { MODEL_SOFTMAX, MODEL_2QUAD, MODEL_2RELU }; /* attention_softmax; absent: softmax */

struct model_config {
    uint32_t hidden, layers, heads, ffn;
    uint32_t vocabulary, positions, types, labels;
    uint32_t pad_id;
    float layer_norm_eps;
    float softmax_c; /* softmax_2quad_c, 5 unless said */
    float dropout, attention_dropout;
    enum model_activation activation;
    enum model_attention attention;
    bool learned_c;    /* softmax_2quad_learned: a c for every head, tensor attention.self.quad_c */
    bool learned_quad; /* hidden_act_learned: a x^2 + b x + g for every neuron, tensor intermediate.quad */
    bool lower_case;   /* tokenizer_config.json: do_lower_case */
    bool accents_differ;   /* strip_accents is not as do_lower_case, which it follows unless said otherwise */
    bool ideographs_joined; /* tokenize_chinese_chars is false */
    bool regression;   /* problem_type "regression", or one label */
    char label[MODEL_LABELS_MAX][MODEL_LABEL_BYTES]; /* id2label, or LABEL_0 ... */
};

/* Names in the file are bert.encoder.layer.N.<name below>; the prefix "bert." may be missing. */
struct model_layer {
    float *query_w, *query_b;   /* [H][H], [H]   attention.self.query.weight, .bias */
    float *key_w, *key_b;       /* [H][H], [H] */
    float *value_w, *value_b;   /* [H][H], [H] */
    float *output_w, *output_b; /* [H][H], [H]   attention.output.dense */
    float *norm1_g, *norm1_b;   /* [H]           attention.output.LayerNorm */
    float *ffn1_w, *ffn1_b;     /* [F][H], [F]   intermediate.dense */
    float *ffn2_w, *ffn2_b;     /* [H][F], [H]   output.dense */
    float *norm2_g, *norm2_b;   /* [H]           output.LayerNorm */
    float *quad_c;              /* [heads] or NULL   attention.self.quad_c */
    float *quad;                /* [3][F] or NULL    intermediate.quad: rows a, b, g */
};

struct model {
    struct model_config config;
    float *word;                /* [V][H]  embeddings.word_embeddings.weight */
    float *position;            /* [P][H] */
    float *type;                /* [T][H] */
    float *norm_g, *norm_b;     /* [H]     embeddings.LayerNorm */
    struct model_layer *layer;  /* [layers] */
    float *pooler_w, *pooler_b; /* [H][H], [H]  bert.pooler.dense; NULL in a file without */
    float *head_w, *head_b;     /* [labels][H], [labels]  classifier; NULL if the file has none */
    void *memory;               /* what all weights point into; the list of layers stands apart */
};

/* Reads a folder. STATUS_INPUT names the file, the tensor or the field, what was found and what was expected;
 * STATUS_CORRUPT says the same of a file that is cut short or whose offsets do not fit it. Every shape is
 * compared with the file before memory of that size is taken. Tensors nobody needs (cls.*, position_ids) are
 * ignored; the tensors of a "bare encoder" may lack the prefix, LayerNorm may use its old names gamma and
 * beta. On failure out is cleared. */
STATUS_MUST_USE enum status model_read(struct model *out, const char *folder);
/* Only config.json and tokenizer_config.json. */
STATUS_MUST_USE enum status model_config_read(struct model_config *out, const char *folder);
/* Gives out zeroed weights of a shape, all pointers set (with_head: pooler and classifier too). */
STATUS_MUST_USE enum status model_allocate(struct model *out, const struct model_config *config,
                                           bool with_head);
enum model_precision { MODEL_F32, MODEL_F16 };
/* Writes config.json, tokenizer_config.json and model.safetensors, each to a temporary name, synced, then
 * renamed: a folder that was good before stays good if this fails. vocabulary: a vocab.txt to copy beside
 * them, or NULL. STATUS_RANGE: a weight is not finite, or too large for F16. Without a head the folder holds
 * a bare BertModel. */
STATUS_MUST_USE enum status model_write(const struct model *model, const char *folder,
                                        enum model_precision precision, const char *vocabulary);
void model_clear(struct model *model);

#endif
