#include "layers/fold.h"

#include <string.h>

enum status fold_dense(struct folded *out, const struct dense *d, const struct affine *affine, const float *row_scale,
                       const float *column_scale)
{
    float *w = folded_next(out, (size_t)d->in * d->out), *b = folded_next(out, d->out);
    if (!w || !b)
        return status_fail(STATUS_MEMORY, "out of memory for the folded weights");
    for (size_t o = 0; o < d->out; o++) {
        const double column = column_scale ? (double)column_scale[o] : 1.0;
        double bias = d->bias ? (double)d->bias[o] : 0.0;
        for (size_t i = 0; i < d->in; i++) {
            const double v = (double)d->weight[o * d->in + i] * (row_scale ? (double)row_scale[i] : 1.0);
            w[o * d->in + i] = (float)(v * (affine ? (double)affine->gamma[i] : 1.0) * column);
            if (affine)
                bias += v * (double)affine->beta[i];
        }
        b[o] = (float)(bias * column);
    }
    return STATUS_OK;
}

void fold_add(struct folded *out, uint32_t back, const float *v, size_t n)
{
    float *w = out->weight[out->count - 1 - back];
    for (size_t i = 0; i < n; i++)
        w[i] += v[i];
}

enum status fold_vector(struct folded *out, const float *v, size_t n)
{
    float *w = folded_next(out, n);
    if (!w)
        return status_fail(STATUS_MEMORY, "out of memory for the folded weights");
    memcpy(w, v, n * sizeof *w);
    return STATUS_OK;
}
