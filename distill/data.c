#include "distill/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/files.h"

static enum status add_example(struct distill_data *out, struct tokens *tokens,
                               const struct tokenizer *tokenizer, const struct task_example *example,
                               double label, size_t length)
{
    uint32_t *type;
    enum status status = tokenizer_encode(tokenizer, example->text, example->pair, tokens);
    if (status != STATUS_OK)
        return status;
    if (tokens->count > length) {
        tokens_cut(tokens, length);
        out->shortened++;
    }
    type = calloc(tokens->count, sizeof *type);
    if (type == NULL)
        return status_fail(STATUS_MEMORY, "no memory for %zu tokens", tokens->count);
    for (size_t i = 0; i < tokens->count; i++)
        type[i] = tokens->type[i];
    status = distill_batch_add(&out->set, tokens->id, type, tokens->count, label);
    free(type);
    return status;
}

static enum status take_labels(struct model_config *config, const struct task_data *data, const char *path)
{
    bool seen[MODEL_LABELS_MAX];
    if (!data->regression && task_data_seen(data, seen) < 2)
        return status_fail(STATUS_INPUT,
                           "%s: all examples have the same label; a classifier needs at least two", path);
    config->labels = data->regression ? 1 : data->labels;
    config->regression = data->regression;
    memset(config->label, 0, sizeof config->label);
    for (uint32_t i = 0; i < config->labels; i++)
        if (data->label[i][0] != '\0')
            memcpy(config->label[i], data->label[i], sizeof config->label[i]);
        else
            snprintf(config->label[i], sizeof config->label[i], "LABEL_%u", i);
    return STATUS_OK;
}

static bool has_name(const struct model_config *config, const char *label)
{
    for (uint32_t i = 0; i < config->labels; i++)
        if (strcasecmp(config->label[i], label) == 0)
            return true;
    return false;
}

static bool all_named(const struct task_data *data, const struct model_config *config)
{
    bool seen[MODEL_LABELS_MAX];
    task_data_seen(data, seen);
    for (uint32_t i = 0; i < data->labels && !data->regression; i++)
        if (seen[i] && !has_name(config, data->label[i]))
            return false;
    return true;
}

/* The first example of a label that config does not name. */
static enum status refuse_label(const struct task_data *data, const struct model_config *config,
                                const char *path)
{
    char shown[FILES_SHOWN_BYTES] = "a longer text"; /* what stands there by mistake may be a sentence */
    size_t i = 0;
    while (i < data->count && has_name(config, data->label[data->example[i].label]))
        i++;
    if (i == data->count)
        return STATUS_OK;
    const char *label = data->label[data->example[i].label];
    return status_fail(STATUS_INPUT, "%s: line %zu: the label \"%s\" is none of the training file's", path,
                       data->example[i].line, strlen(label) <= 24 ? files_show(shown, label) : shown);
}

/* Adds all examples of a file, with their labels or as if they had none. */
static enum status add_examples(struct distill_data *out, const struct task_data *data, const char *path,
                                const struct tokenizer *tokenizer, size_t length, bool labelled)
{
    struct tokens tokens = {0};
    enum status status = STATUS_OK;
    if (data->count == 0)
        status = status_fail(STATUS_INPUT, "%s: the file has no examples", path);
    for (size_t i = 0; i < data->count && status == STATUS_OK; i++) {
        const struct task_example *example = &data->example[i];
        const double label = data->regression ? (double)example->score : (double)example->label;
        status = add_example(out, &tokens, tokenizer, example, labelled ? label : NAN, length);
    }
    out->skipped += data->skipped;
    out->unlabelled += labelled ? 0 : data->count;
    tokens_clear(&tokens);
    return status;
}

enum status distill_data_read(struct distill_data *out, struct model_config *config, const struct task *task,
                              const char *path, const struct tokenizer *tokenizer, size_t length, bool strict)
{
    struct task_data data;
    *out = (struct distill_data){0};
    distill_batch_init(&out->set);
    enum status status = task_read(&data, task, path);
    if (status != STATUS_OK)
        return status;
    status = task_data_need_labels(&data, path);
    if (status == STATUS_OK && config->labels == 0)
        status = take_labels(config, &data, path);
    if (status == STATUS_OK && strict && !data.regression && !config->regression)
        status = refuse_label(&data, config, path);
    if (status == STATUS_OK) {
        out->named = all_named(&data, config);
        status = task_data_fit(&data, config);
        if (status != STATUS_OK)
            status = status_prefix(status, "%s: ", path);
    }
    if (status == STATUS_OK)
        status = add_examples(out, &data, path, tokenizer, length, true);
    task_data_clear(&data);
    return status;
}

enum status distill_data_add_unlabelled(struct distill_data *out, const struct task *task, const char *path,
                                        const struct tokenizer *tokenizer, size_t length)
{
    struct task_data data;
    enum status status = task_read(&data, task, path);
    if (status != STATUS_OK)
        return status;
    status = add_examples(out, &data, path, tokenizer, length, false);
    task_data_clear(&data);
    return status;
}

void distill_data_clear(struct distill_data *data)
{
    distill_batch_clear(&data->set);
}

/* One of the task's metrics; -1 if it cannot be had. */
static double measure(enum metric metric, const uint32_t *predicted, const uint32_t *gold,
                      const float *number, const float *wanted, size_t n)
{
    double value = -1;
    if (metric_takes_classes(metric))
        return metrics_of_classes(metric, predicted, gold, n);
    return metrics_of_numbers(&value, metric, number, wanted, n) == STATUS_OK ? value : -1;
}

double distill_data_measure(const float *logits, const struct distill_batch *set,
                            const struct model_config *config, void *context, char *text, size_t text_bytes)
{
    const struct task *task = context;
    size_t n = set->sequences, labels = config->labels;
    bool regression = config->regression;
    double first = -1;
    uint32_t *predicted = calloc(n, sizeof *predicted), *gold = calloc(n, sizeof *gold);
    float *wanted = calloc(n, sizeof *wanted);
    if (predicted != NULL && gold != NULL && wanted != NULL) {
        for (size_t i = 0; i < n; i++) {
            predicted[i] = metrics_argmax(logits + i * labels, labels);
            gold[i] = regression ? 0 : (uint32_t)set->label[i];
            wanted[i] = (float)set->label[i];
        }
        enum metric metric = task_metric(task, regression, 0), beside = task_metric(task, regression, 1);
        first = measure(metric, predicted, gold, logits, wanted, n);
        int used = snprintf(text, text_bytes, "%s %.4f", metric_name(metric), first);
        if (beside != METRIC_NONE && used > 0 && (size_t)used < text_bytes)
            snprintf(text + used, text_bytes - (size_t)used, ", %s %.4f", metric_name(beside),
                     measure(beside, predicted, gold, logits, wanted, n));
    }
    free(predicted);
    free(gold);
    free(wanted);
    return first;
}
