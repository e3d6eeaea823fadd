/* All weights of a classifier as one flat array, and a table of what lies where.
 *
 * The optimiser, the gradients (the same struct, filled with derivatives), checkpoints and tests see the
 * array and the table; the encoder sees pointers. q, k and v of a layer stand one after the other, so that
 * they are one product. Between float and struct model the tensors are copied (distill/weights_model.c). */
#ifndef TREFOIL_DISTILL_WEIGHTS_H
#define TREFOIL_DISTILL_WEIGHTS_H

#include "distill/real.h"
#include "model/model.h"

#define distill_weights DISTILL_REAL(distill_weights)
#define distill_layer DISTILL_REAL(distill_layer)
#define distill_weights_allocate DISTILL_REAL(distill_weights_allocate)
#define distill_weights_clear DISTILL_REAL(distill_weights_clear)

struct distill_tensor {
    char name[80]; /* as in the file, without the prefix "bert." */
    size_t offset; /* of its first element in the array */
    size_t rows, columns;
    double rate; /* its learning rate, as a multiple of the run's: 1 but for learned coefficients */
    bool decay;  /* whether weight decay acts on it: the matrices, but not the embeddings */
    bool sparse; /* rows are used one at a time: most have no gradient in a step */
};

struct distill_layer {
    real *qkv_w, *qkv_b;       /* [3 H][H], [3 H] */
    real *output_w, *output_b; /* [H][H], [H] */
    real *norm1_g, *norm1_b;   /* [H] */
    real *ffn1_w, *ffn1_b;     /* [F][H], [F] */
    real *ffn2_w, *ffn2_b;     /* [H][F], [H] */
    real *norm2_g, *norm2_b;   /* [H] */
    real *quad_c;              /* [heads] or NULL */
    real *quad;                /* [3][F] or NULL */
};

struct distill_weights {
    struct model_config config;
    real *value; /* [count] */
    size_t count;
    struct distill_tensor *tensor; /* [tensors], in the order of the array */
    size_t tensors;
    real *word, *position, *type; /* [V][H], [P][H], [T][H] */
    real *norm_g, *norm_b;        /* [H] */
    struct distill_layer *layer;  /* [layers] */
    real *pooler_w, *pooler_b;    /* [H][H], [H] */
    real *head_w, *head_b;        /* [labels][H], [labels] */
};

/* Zeroed weights of a shape. */
STATUS_MUST_USE enum status distill_weights_allocate(struct distill_weights *out,
                                                     const struct model_config *config);
void distill_weights_clear(struct distill_weights *weights);

#ifndef DISTILL_DOUBLE
/* Copies a model in. What the model lacks (pooler, classifier; learned coefficients where out's config asks
 * for them) is initialised: normal with deviation 0.02 from the seed, coefficients at the fixed ones. Shapes
 * must agree. */
STATUS_MUST_USE enum status distill_weights_from_model(struct distill_weights *out, const struct model *model,
                                                       const struct model_config *config, uint64_t seed);
/* Random weights, as BERT starts: normal 0.02, LayerNorm 1 and 0. */
void distill_weights_random(struct distill_weights *weights, uint64_t seed);
/* Copies out into a fresh model, to be written with model_write and cleared with model_clear. */
STATUS_MUST_USE enum status distill_weights_to_model(struct model *out,
                                                     const struct distill_weights *weights);
#endif

#endif
