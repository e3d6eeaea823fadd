#include "parties/clear.h"

#include <stdlib.h>
#include <string.h>

#include "model/embeddings.h"

enum status clear_model_read(struct model *model, struct folded *folded, const char *folder)
{
    char id[MODEL_ID_TEXT_BYTES];
    enum status status = model_read_id(id, folder);
    if (!status && id[0])
        return status_fail(STATUS_INPUT,
                           "%s is the public part of a model, as `trefoil share --export` wrote it: this needs the "
                           "folder of the whole model",
                           folder);
    if (!status)
        status = model_read(model, folder);
    if (!status && model_is_private(&model->config))
        status = status_prefix(STATUS_INPUT, "%s/", folder);
    return status ? status : model_fold(model, folded);
}

enum status clear_model_open(struct clear_model *out, const char *folder)
{
    memset(out, 0, sizeof *out);
    const enum status status = clear_model_read(&out->model, &out->folded, folder);
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
