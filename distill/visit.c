#include "distill/visit.h"

#include <stdlib.h>
#include <string.h>

#include "distill/encoder.h"
#include "distill/gemm.h"
#include "distill/order.h"
#include "distill/train.h"

#define TOKENS 4096 /* of a batch, about */

/* How many examples from `first` on fit a batch; at least one. */
static size_t fitting(const struct distill_batch *set, const uint32_t *order, size_t first)
{
    size_t tokens = 0, n = 0;
    while (first + n < set->sequences) {
        tokens += set->start[order[first + n] + 1] - set->start[order[first + n]];
        if (n > 0 && tokens > TOKENS)
            break;
        n++;
    }
    return n;
}

enum status distill_visit(const struct distill_weights *weights, const struct distill_batch *set, bool head,
                          distill_visitor *visitor, void *context)
{
    struct distill_batch batch;
    struct distill_state state = {0};
    struct distill_noise none = {0};
    uint32_t *order = calloc(set->sequences + 1, sizeof *order);
    enum status status = STATUS_OK;
    if (order == NULL)
        return status_fail(STATUS_MEMORY, "no memory for the order of %zu examples", set->sequences);
    bool half = distill_half_set(false); /* evaluation is always float */
    distill_batch_init(&batch);
    distill_order_sorted(order, set);
    for (size_t first = 0, n; first < set->sequences && status == STATUS_OK; first += n) {
        n = fitting(set, order, first);
        status = distill_order_pick(&batch, set, order + first, n);
        if (status == STATUS_OK)
            status = distill_state_reserve(&state, &weights->config, &batch, false);
        if (status != STATUS_OK)
            break;
        distill_encoder_forward(&state, weights, &batch, &none);
        if (head)
            distill_head_forward(&state, weights, &batch, &none);
        visitor(context, &state, &batch, order + first);
    }
    distill_half_set(half);
    distill_state_clear(&state);
    distill_batch_clear(&batch);
    free(order);
    return status;
}

struct prediction {
    float *logits;
    size_t labels;
};

static void take_logits(void *context, const struct distill_state *state, const struct distill_batch *batch,
                        const uint32_t *example)
{
    struct prediction *p = context;
    for (size_t i = 0; i < batch->sequences; i++)
        memcpy(p->logits + example[i] * p->labels, state->logits + i * p->labels,
               p->labels * sizeof *p->logits);
}

enum status distill_predict(float *logits, const struct distill_weights *weights,
                            const struct distill_batch *set)
{
    struct prediction prediction = {logits, weights->config.labels};
    return distill_visit(weights, set, true, take_logits, &prediction);
}
