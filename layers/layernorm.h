/* LayerNorm without its gamma and beta, which fold into the static weights that follow.
 *
 * math    c = x - mean(x) (local);  v = sum c^2 + hidden * eps, of a scaled-down copy of c;  n = c (v / hidden)^-1/2
 * shape   x [rows][hidden] opened, not centred; returns n [rows][hidden]
 * cost    five rounds; 5 rows + rows * hidden elements; one table key a row */
#ifndef TREFOIL_LAYERS_LAYERNORM_H
#define TREFOIL_LAYERS_LAYERNORM_H

#include "layers/schedule.h"

uint32_t layer_norm(struct schedule *schedule, uint32_t x, double epsilon, const char *name);

#endif
