/* A whole model for tests: calibrated, shared by three parties, asked about texts.
 *
 *     student_open, student_ask, ..., student_close */
#ifndef TREFOIL_TESTS_LAYERS_STUDENT_H
#define TREFOIL_TESTS_LAYERS_STUDENT_H

#include "model/calibrate.h"
#include "model/model.h"
#include "tests/layers/three.h"

struct student {
    const struct model *model;
    struct folded folded;
    struct description description;
    struct schedule schedule;
    int64_t **weight;
    struct three three;
    float *embeddings, *mask; /* what the client shares, as numbers */
    int64_t *input[2];        /* as integers */
};

/* Texts of random ids; id must hold length. */
void student_random_text(const struct model *model, uint32_t *id, uint32_t length);

/* A small random model with Quad and 2Quad and two labels, of the sizes in shape, calibrated with random texts of two to all of its
 * positions. */
void student_random(struct student *out, struct model *model, const struct model_config *shape);
/* Folds and calibrates. samples: texts that show the ranges. */
void student_calibrate(struct student *out, const struct model *model, const struct sample *samples,
                       size_t count);
/* The schedule of a bucket, its weights shared. A student can be compiled again. */
void student_compile(struct student *student, uint32_t bucket, uint32_t batch, enum tune tune);
/* Makes the inputs of the schedule's batch of texts. */
void student_embed(struct student *student, const struct sample *texts);
/* Logits [batch][labels] of the inputs, by each walk. */
void student_private(struct student *student, double *logits);
void student_fixed(struct student *student, double *logits);
void student_clear(struct student *student, double *logits);
void student_close(struct student *student);

#endif
