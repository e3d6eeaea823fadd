#include "parties/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parties/progress.h"

#define DEAL_MOST 16 /* bundles asked for at a time */

static enum status add_example(struct evaluation *e, const struct tokenizer *tokenizer, size_t index,
                               size_t limit, bool cut)
{
    const struct task_example *example = &e->data.example[index];
    enum status status = texts_add(&e->texts, tokenizer, example->text, example->pair);
    if (status)
        return status;
    struct tokens *tokens = &e->texts.tokens[index];
    if (cut)
        tokens_cut(tokens, limit);
    /* An empty text of a data set is classified all the same: it has its two special tokens. */
    if (tokens->count > limit)
        return status_fail(STATUS_INPUT,
                           "example %zu has %zu tokens, and %zu fit; --truncate cuts such texts", index + 1,
                           tokens->count, limit);
    return STATUS_OK;
}

enum status evaluation_read(struct evaluation *out, const struct task *task, const char *path,
                            size_t examples_max, const struct model_config *config,
                            const struct tokenizer *tokenizer, size_t limit, bool cut)
{
    memset(out, 0, sizeof *out);
    out->task = task;
    out->config = *config;
    enum status status = task_read(&out->data, task, path);
    if (!status && !out->data.labelled)
        status = status_fail(STATUS_INPUT, "%s has no labels to evaluate against", path);
    if (!status)
        status = task_data_fit(&out->data, config);
    if (!status && examples_max && out->data.count > examples_max)
        out->data.count = examples_max;
    for (size_t i = 0; !status && i < out->data.count; i++)
        status = add_example(out, tokenizer, i, limit, cut);
    if (!status)
        out->clear = calloc(out->data.count * config->labels + 1, sizeof *out->clear);
    if (!status && !out->clear)
        status = status_fail(STATUS_MEMORY, "out of memory for the predictions");
    if (status)
        evaluation_clear(out);
    return status;
}

void evaluation_clear(struct evaluation *evaluation)
{
    texts_clear(&evaluation->texts);
    task_data_clear(&evaluation->data);
    free(evaluation->clear);
    free(evaluation->private);
    evaluation->clear = evaluation->private = NULL;
}

enum status evaluation_run_clear(struct evaluation *e, const struct clear_model *clear)
{
    struct progress progress;
    enum status status = STATUS_OK;
    progress_start(&progress, "clear");
    for (size_t i = 0; !status && i < e->data.count; i++) {
        const struct sample sample = tokens_sample(&e->texts.tokens[i]);
        status = clear_model_run(clear, &sample, e->clear + i * e->config.labels);
        progress_update(&progress, i + 1, e->data.count);
    }
    progress_end(&progress);
    return status;
}

/* ---- private ---- */

struct place {
    uint32_t bucket;
    size_t example;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return x->example < y->example ? -1 : x->example > y->example;
}

/* The examples in the order they are run: by bucket, so that bundles can be asked for many at a time. */
static enum status order(struct place **out, const struct evaluation *e, const struct classifier *classifier)
{
    struct place *places = calloc(e->data.count + 1, sizeof *places);
    enum status status = STATUS_OK;
    *out = places;
    if (!places)
        return status_fail(STATUS_MEMORY, "out of memory for the predictions");
    for (size_t i = 0; !status && i < e->data.count; i++) {
        places[i].example = i;
        status = classifier_bucket(classifier, e->texts.tokens[i].count, &places[i].bucket);
        if (status)
            status = status_prefix(status, "example %zu: ", i + 1);
    }
    qsort(places, e->data.count, sizeof *places, compare_places);
    return status;
}

/* One inference; deals bundles if none is left. more: inferences of this bucket still to come, this one
 * included. */
static enum status run_one(struct evaluation *e, struct classifier *classifier,
                           const struct tokens *const *tokens, uint32_t batch, uint32_t bucket, size_t more,
                           struct answer *answer)
{
    enum status status = classifier_run(classifier, tokens, batch, bucket, answer);
    if (status != STATUS_EMPTY)
        return status;
    uint32_t dealt;
    status =
        classifier_deal(classifier, bucket, batch, (uint32_t)(more < DEAL_MOST ? more : DEAL_MOST), &dealt);
    if (status)
        return status;
    e->dealt += dealt;
    return classifier_run(classifier, tokens, batch, bucket, answer);
}

/* A batch that is not full repeats its last text. */
static enum status run_batch(struct evaluation *e, struct classifier *classifier, const struct place *place,
                             size_t count, uint32_t batch, size_t more)
{
    const struct tokens **tokens = calloc(batch, sizeof *tokens);
    struct answer *answer = calloc(batch, sizeof *answer);
    enum status status = STATUS_OK;
    if (!tokens || !answer)
        status = status_fail(STATUS_MEMORY, "out of memory for the predictions");
    for (uint32_t i = 0; !status && i < batch; i++)
        tokens[i] = &e->texts.tokens[place[i < count ? i : count - 1].example];
    if (!status)
        status = run_one(e, classifier, tokens, batch, place->bucket, more, answer);
    for (size_t i = 0; !status && i < count; i++)
        memcpy(e->private + place[i].example * e->config.labels, answer[i].logit,
               e->config.labels * sizeof *e->private);
    if (!status) {
        e->online_ms += answer->online_ms;
        e->rounds = answer->rounds;
        e->bytes = answer->bytes;
        e->inferences++;
    }
    free(tokens);
    free(answer);
    return status;
}

enum status evaluation_run_private(struct evaluation *e, struct classifier *classifier, uint32_t batch)
{
    struct progress progress;
    struct place *place;
    const size_t count = e->data.count;
    enum status status = order(&place, e, classifier);
    e->private = calloc(count * e->config.labels + 1, sizeof *e->private);
    if (!status && !e->private)
        status = status_fail(STATUS_MEMORY, "out of memory for the predictions");
    progress_start(&progress, "private");
    for (size_t i = 0, end = 0; !status && i < count;) {
        while (end < count && place[end].bucket == place[i].bucket)
            end++;
        const size_t n = end - i < batch ? end - i : batch;
        status = run_batch(e, classifier, &place[i], n, batch, (end - i + batch - 1) / batch);
        i += n;
        progress_update(&progress, i, count);
    }
    progress_end(&progress);
    free(place);
    return status;
}

/* ---- figures ---- */

static enum status metric_of_classes(const struct evaluation *e, const float *logits, enum metric metric,
                                     double *value)
{
    uint32_t *predicted = calloc(e->data.count + 1, sizeof *predicted);
    uint32_t *gold = calloc(e->data.count + 1, sizeof *gold);
    if (!predicted || !gold) {
        free(predicted);
        free(gold);
        return status_fail(STATUS_MEMORY, "out of memory for the metric");
    }
    for (size_t i = 0; i < e->data.count; i++) {
        predicted[i] = metrics_argmax(logits + i * e->config.labels, e->config.labels);
        gold[i] = e->data.example[i].label;
    }
    *value = metrics_of_classes(metric, predicted, gold, e->data.count);
    free(predicted);
    free(gold);
    return STATUS_OK;
}

static enum status metric_of_numbers(const struct evaluation *e, const float *logits, enum metric metric,
                                     double *value)
{
    float *predicted = calloc(e->data.count + 1, sizeof *predicted),
          *gold = calloc(e->data.count + 1, sizeof *gold);
    enum status status = STATUS_OK;
    if (!predicted || !gold)
        status = status_fail(STATUS_MEMORY, "out of memory for the metric");
    for (size_t i = 0; !status && i < e->data.count; i++) {
        predicted[i] = logits[i * e->config.labels];
        gold[i] = e->data.example[i].score;
    }
    if (!status)
        status = metrics_of_numbers(value, metric, predicted, gold, e->data.count);
    free(predicted);
    free(gold);
    return status;
}

enum status evaluation_metric(const struct evaluation *e, const float *logits, int which, enum metric *metric,
                              double *value)
{
    *metric = task_metric(e->task, e->data.regression, which);
    *value = 0;
    if (*metric == METRIC_NONE)
        return STATUS_OK;
    return metric_takes_classes(*metric) ? metric_of_classes(e, logits, *metric, value)
                                         : metric_of_numbers(e, logits, *metric, value);
}

size_t evaluation_agree(const struct evaluation *e)
{
    const uint32_t labels = e->config.labels;
    size_t agree = 0;
    for (size_t i = 0; i < e->data.count; i++) {
        const float *a = e->clear + i * labels, *b = e->private + i * labels;
        if (e->data.regression)
            agree += fabs((double)a[0] - (double)b[0]) <= EVALUATION_CLOSE;
        else
            agree += metrics_argmax(a, labels) == metrics_argmax(b, labels);
    }
    return agree;
}

double evaluation_distance(const struct evaluation *e)
{
    double most = 0;
    for (size_t i = 0; i < e->data.count * e->config.labels; i++)
        most = fmax(most, fabs((double)e->clear[i] - (double)e->private[i]));
    return most;
}
