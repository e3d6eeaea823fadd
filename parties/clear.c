#include "parties/clear.h"

#include <stdlib.h>
#include <string.h>

enum status clear_model_open(struct clear_model *out, const char *folder)
{
    memset(out, 0, sizeof *out);
    enum status status = model_read(&out->model, folder);
    if (!status)
        status = model_is_private(&out->model.config);
    if (!status)
        status = model_fold(&out->model, &out->folded);
    if (status)
        clear_model_close(out);
    return status;
}

void clear_model_close(struct clear_model *clear)
{
    folded_clear(&clear->folded);
    model_clear(&clear->model);
}

enum status clear_model_run(const struct clear_model *clear, const struct sample *sample, float *logit)
{
    struct schedule schedule;
    enum status status = model_compile_clear(&clear->model.config, sample->length, 1, &schedule);
    if (status)
        return status;
    float *x = malloc((size_t)sample->length * clear->model.config.hidden * sizeof *x);
    float *mask = malloc(sample->length * sizeof *mask);
    if (!x || !mask)
        status = status_fail(STATUS_MEMORY, "out of memory for the clear model");
    for (uint32_t i = 0; !status && i < sample->length; i++)
        mask[i] = 1.0f;
    if (!status)
        status = model_embed(&clear->model, sample, sample->length, x);
    const float *const input[2] = {x, mask};
    if (!status)
        status = walk_clear(&schedule, &clear->folded, input, logit, NULL);
    free(x);
    free(mask);
    schedule_clear(&schedule);
    return status;
}
