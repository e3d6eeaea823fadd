#include "distill/train_step.h"

#include <stdlib.h>
#include <string.h>

#include "distill/order.h"

#define MATCH_BATCH 32

static size_t largest_batch(const struct distill_run *run)
{
    size_t largest = MATCH_BATCH;
    for (size_t i = 0; i < run->phases; i++)
        largest = run->phase[i].batch > largest ? run->phase[i].batch : largest;
    return largest;
}

static struct distill_batch labelled(const struct distill_run *run)
{
    return distill_batch_first(run->train, run->train->sequences - run->unlabelled);
}

const struct distill_batch *distill_trainer_set(const struct distill_trainer *trainer,
                                                const struct distill_phase *phase)
{
    return phase->objective == DISTILL_LOGITS ? trainer->run->train : &trainer->labelled;
}

enum status distill_trainer_init(struct distill_trainer *trainer, const struct distill_run *run,
                                 struct distill_weights *weights)
{
    size_t labels = weights->config.labels, examples = run->train->sequences;
    *trainer = (struct distill_trainer){.run = run, .weights = weights};
    distill_batch_init(&trainer->batch);
    trainer->labelled = labelled(run);
    trainer->order = calloc(examples, sizeof *trainer->order);
    trainer->teacher_logits = calloc(examples * labels, sizeof(float));
    trainer->batch_logits = calloc(largest_batch(run) * labels, sizeof(float));
    enum status status = STATUS_OK;
    if (trainer->order == NULL || trainer->teacher_logits == NULL || trainer->batch_logits == NULL)
        status = status_fail(STATUS_MEMORY, "no memory for %zu examples", examples);
    if (status == STATUS_OK)
        status = distill_weights_allocate(&trainer->gradients, &weights->config);
    if (status == STATUS_OK)
        status = distill_adamw_init(&trainer->adamw, weights);
    for (size_t i = 0; i < weights->tensors; i++) {
        const char *end = strrchr(weights->tensor[i].name, '.');
        if (strcmp(end, ".quad_c") == 0)
            weights->tensor[i].rate = run->rate_c;
        else if (strcmp(end, ".quad") == 0)
            weights->tensor[i].rate = run->rate_quad;
    }
    trainer->adamw.decay = run->decay;
    trainer->adamw.clip = run->clip;
    return status;
}

void distill_trainer_clear(struct distill_trainer *trainer)
{
    distill_weights_clear(&trainer->gradients);
    distill_adamw_clear(&trainer->adamw);
    distill_state_clear(&trainer->student);
    distill_state_clear(&trainer->teacher);
    distill_recall_clear(&trainer->recall);
    distill_batch_clear(&trainer->batch);
    free(trainer->order);
    free(trainer->teacher_logits);
    free(trainer->batch_logits);
    *trainer = (struct distill_trainer){0};
}

bool distill_trainer_keeps_teacher(const struct distill_run *run)
{
    const struct distill_batch set = labelled(run);
    return run->teacher != NULL && distill_recall_bytes(&run->teacher->config, &set) <= run->teacher_bytes;
}

enum status distill_trainer_keep_teacher(struct distill_trainer *trainer)
{
    const struct distill_run *run = trainer->run;
    if (!distill_trainer_keeps_teacher(run))
        return STATUS_OK;
    return distill_recall_make(&trainer->recall, run->teacher, &trainer->labelled);
}

enum status distill_trainer_ask_teacher(struct distill_trainer *trainer)
{
    return distill_predict(trainer->teacher_logits, trainer->run->teacher, trainer->run->train);
}

/* The loss of the head, with its gradient in the state. */
static double head_loss(struct distill_trainer *trainer, const struct distill_phase *phase)
{
    struct distill_state *s = &trainer->student;
    const struct distill_batch *batch = &trainer->batch;
    const struct model_config *config = &trainer->weights->config;
    bool taught = phase->objective == DISTILL_LOGITS;
    int labels = (int)config->labels;
    if (config->regression)
        return distill_loss_squared(s->dlogits, s->logits, taught ? trainer->batch_logits : NULL,
                                    1 - phase->gold, batch, 1);
    if (!taught)
        return distill_loss_cross_entropy(s->dlogits, s->logits, batch, labels, 1);
    if (phase->gold <= 0)
        return distill_loss_soft(s->dlogits, s->logits, trainer->batch_logits, batch->sequences, labels, 1);
    float *part = s->dpooled; /* free until the backward pass, and at least as large */
    size_t n = batch->sequences * config->labels;
    double loss = distill_loss_cross_entropy(part, s->logits, batch, labels, phase->gold);
    loss += distill_loss_soft(s->dlogits, s->logits, trainer->batch_logits, batch->sequences, labels,
                              1 - phase->gold);
    for (size_t i = 0; i < n; i++)
        s->dlogits[i] += part[i];
    return loss;
}

/* The price on wide rows: added to the loss; its gradient comes in on the way back. NULL without one. */
static const struct distill_spread *price(struct distill_spread *out, struct distill_trainer *trainer,
                                          const struct distill_phase *phase, struct distill_report *report)
{
    if (phase->spread <= 0)
        return NULL;
    *out = (struct distill_spread){phase->spread / (double)trainer->batch.sequences, phase->spread_limit};
    report->spread = distill_loss_spread(&trainer->student, &trainer->batch, out);
    report->loss += report->spread;
    return out;
}

static void step_layers(struct distill_trainer *trainer, const struct distill_phase *phase,
                        const uint32_t *example, const struct distill_noise *noise,
                        struct distill_report *report)
{
    struct distill_noise none = {0};
    struct distill_spread spread;
    struct distill_match match = {.teacher = &trainer->teacher,
                                  .embedding = phase->embedding,
                                  .hidden = phase->hidden,
                                  .score = phase->score};
    if (trainer->recall.set != NULL)
        distill_recall_batch(&trainer->teacher, &trainer->recall, &trainer->batch, example);
    else
        distill_encoder_forward(&trainer->teacher, trainer->run->teacher, &trainer->batch, &none);
    distill_encoder_forward(&trainer->student, trainer->weights, &trainer->batch, noise);
    distill_encoder_backward(&trainer->gradients, &trainer->student, trainer->weights, &trainer->batch, noise,
                             &match, price(&spread, trainer, phase, report));
    report->embedding = match.embedding_loss;
    report->hidden = match.hidden_loss;
    report->score = match.score_loss;
    report->loss += phase->embedding * match.embedding_loss + phase->hidden * match.hidden_loss +
                    phase->score * match.score_loss;
}

static void step_head(struct distill_trainer *trainer, const struct distill_phase *phase,
                      const uint32_t *example, const struct distill_noise *noise,
                      struct distill_report *report)
{
    size_t labels = trainer->weights->config.labels;
    struct distill_spread spread;
    for (size_t i = 0; i < trainer->batch.sequences; i++)
        memcpy(trainer->batch_logits + i * labels, trainer->teacher_logits + example[i] * labels,
               labels * sizeof(float));
    distill_encoder_forward(&trainer->student, trainer->weights, &trainer->batch, noise);
    distill_head_forward(&trainer->student, trainer->weights, &trainer->batch, noise);
    report->loss = head_loss(trainer, phase);
    distill_head_backward(&trainer->gradients, &trainer->student, trainer->weights, &trainer->batch, noise);
    distill_encoder_backward(&trainer->gradients, &trainer->student, trainer->weights, &trainer->batch, noise,
                             NULL, price(&spread, trainer, phase, report));
}

/* Fills the batch and makes room for it in the states. */
static enum status prepare(struct distill_trainer *trainer, const struct distill_batch *set,
                           const uint32_t *example, size_t n, bool with_teacher)
{
    enum status status = distill_order_pick(&trainer->batch, set, example, n);
    if (status == STATUS_OK)
        status = distill_state_reserve(&trainer->student, &trainer->weights->config, &trainer->batch, true);
    if (status == STATUS_OK && with_teacher)
        status =
            distill_state_reserve(&trainer->teacher, &trainer->run->teacher->config, &trainer->batch, false);
    return status;
}

enum status distill_trainer_step(struct distill_trainer *trainer, const struct distill_phase *phase,
                                 const uint32_t *example, size_t n, uint64_t key, double rate,
                                 struct distill_report *report)
{
    struct distill_noise noise = {key, phase->dropout, phase->attention_dropout};
    bool layers = phase->objective == DISTILL_LAYERS;
    *report =
        (struct distill_report){.embedding = NAN, .hidden = NAN, .score = NAN, .spread = NAN, .rate = rate};
    enum status status = prepare(trainer, trainer->run->train, example, n, layers);
    if (status != STATUS_OK)
        return status;
    if (layers)
        step_layers(trainer, phase, example, &noise, report);
    else
        step_head(trainer, phase, example, &noise, report);
    if (!isfinite(report->loss))
        return status_fail(STATUS_RANGE, "the loss is not a number");
    distill_adamw_note(&trainer->adamw, &trainer->batch);
    report->norm = distill_adamw_step(&trainer->adamw, trainer->weights, &trainer->gradients, rate);
    if (!isfinite(report->norm))
        return status_fail(STATUS_RANGE, "the gradient is not a number");
    return STATUS_OK;
}

enum status distill_trainer_match(struct distill_trainer *trainer, const struct distill_phase *phase,
                                  const struct distill_batch *set, double *loss)
{
    struct distill_noise none = {0};
    double sum = 0;
    uint32_t *order = calloc(set->sequences, sizeof *order);
    if (order == NULL)
        return status_fail(STATUS_MEMORY, "no memory for the order of %zu examples", set->sequences);
    distill_order_sorted(order, set);
    enum status status = STATUS_OK;
    for (size_t first = 0; first < set->sequences && status == STATUS_OK; first += MATCH_BATCH) {
        size_t left = set->sequences - first;
        status = prepare(trainer, set, order + first, left < MATCH_BATCH ? left : MATCH_BATCH, true);
        if (status != STATUS_OK)
            break;
        struct distill_match match = {
            &trainer->teacher, phase->embedding, phase->hidden, phase->score, 0, 0, 0};
        distill_encoder_forward(&trainer->teacher, trainer->run->teacher, &trainer->batch, &none);
        distill_encoder_forward(&trainer->student, trainer->weights, &trainer->batch, &none);
        sum += distill_loss_match(&match, &trainer->student, &trainer->batch) * (double)trainer->batch.tokens;
    }
    *loss = sum / (double)set->tokens;
    free(order);
    return status;
}
