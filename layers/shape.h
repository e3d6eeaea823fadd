/* The public shape of a model and of one schedule of it, and the weights a layer folds. */
#ifndef TREFOIL_LAYERS_SHAPE_H
#define TREFOIL_LAYERS_SHAPE_H

#include "layers/inverse.h"
#include "layers/schedule.h"

struct shape {
    uint32_t hidden, heads, ffn, layers, labels;
    uint32_t bucket, batch; /* tokens of a padded sequence; sequences */
    double epsilon;         /* of LayerNorm */
    double c;               /* of 2Quad, unless learned */
    bool learned_c;
    enum tune tune;
};

/* gamma and beta of the LayerNorm whose n a layer reads. */
struct affine {
    const float *gamma, *beta; /* [hidden] */
};

#endif
