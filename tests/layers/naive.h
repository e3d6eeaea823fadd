/* The student in real numbers, from the equations and the weights of its file: the reference of layers and
 * models. Nothing of it is shared with layers/ or distill/. */
#ifndef TREFOIL_TESTS_LAYERS_NAIVE_H
#define TREFOIL_TESTS_LAYERS_NAIVE_H

#include "model/model.h"

/* logits [labels] of one text without padding. */
void naive_logits(const struct model *model, const uint32_t *id, uint32_t length, double *logits);

/* out [rows][hidden]: LayerNorm of each row; gamma and beta may be NULL. */
void naive_norm(double *out, const double *x, uint32_t rows, uint32_t hidden, const float *gamma,
                const float *beta, double epsilon);

#endif
