/* Predictions of a model with any of BERT's functions, by the float pass that training evaluates with. */
#include <stdlib.h>

#include "distill/train.h"
#include "parties/evaluation.h"

static enum status fill(struct distill_batch *batch, const struct texts *texts, size_t count)
{
    enum status status = STATUS_OK;
    distill_batch_init(batch);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        const struct sample sample = tokens_sample(&texts->tokens[i]);
        uint32_t *type = malloc((sample.length + 1) * sizeof *type);
        if (!type)
            return status_fail(STATUS_MEMORY, "out of memory for the predictions");
        for (uint32_t j = 0; j < sample.length; j++)
            type[j] = sample.type[j];
        status = distill_batch_add(batch, sample.id, type, sample.length, 0);
        free(type);
    }
    return status;
}

enum status evaluation_run_trained(struct evaluation *e, const struct model *model)
{
    struct distill_weights weights = {0};
    struct distill_batch batch;
    if (!model->head_w)
        return status_fail(STATUS_INPUT,
                           "the model has no classifier: train one first with 'trefoil finetune'");
    enum status status = fill(&batch, &e->texts, e->data.count);
    if (status == STATUS_OK)
        status = distill_weights_from_model(&weights, model, &model->config, 0);
    if (status == STATUS_OK)
        status = distill_predict(e->clear, &weights, &batch);
    distill_weights_clear(&weights);
    distill_batch_clear(&batch);
    return status;
}
