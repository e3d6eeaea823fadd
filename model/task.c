#include "model/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/task_table.h"

static const struct task tasks[] = {
    {.name = "sst-2",
     .header = true,
     .text = "sentence",
     .target = "label",
     .labels = 2,
     .label = {"negative", "positive"},
     .metric = {METRIC_ACCURACY}},
    {.name = "cola",
     .text_at = 3,
     .target_at = 1,
     .labels = 2,
     .label = {"unacceptable", "acceptable"},
     .metric = {METRIC_MATTHEWS, METRIC_ACCURACY}},
    {.name = "mrpc",
     .header = true,
     .text = "#1 String",
     .pair = "#2 String",
     .target = "Quality",
     .labels = 2,
     .label = {"not_equivalent", "equivalent"},
     .metric = {METRIC_F1, METRIC_ACCURACY}},
    {.name = "rte",
     .header = true,
     .text = "sentence1",
     .pair = "sentence2",
     .target = "label",
     .named = true,
     .labels = 2,
     .label = {"entailment", "not_entailment"},
     .metric = {METRIC_ACCURACY}},
    {.name = "sts-b",
     .header = true,
     .text = "sentence1",
     .pair = "sentence2",
     .target = "score",
     .regression = true,
     .labels = 1,
     .metric = {METRIC_PEARSON, METRIC_SPEARMAN}},
    {.name = "qnli",
     .header = true,
     .text = "question",
     .pair = "sentence",
     .target = "label",
     .named = true,
     .labels = 2,
     .label = {"entailment", "not_entailment"},
     .metric = {METRIC_ACCURACY}},
    {.name = "mnli",
     .header = true,
     .text = "sentence1",
     .pair = "sentence2",
     .target = "gold_label",
     .named = true,
     .labels = 3,
     .label = {"entailment", "neutral", "contradiction"},
     .metric = {METRIC_ACCURACY}},
    {.name = "qqp",
     .header = true,
     .text = "question1",
     .pair = "question2",
     .target = "is_duplicate",
     .torn_rows = true,
     .labels = 2,
     .label = {"not_duplicate", "duplicate"},
     .metric = {METRIC_F1, METRIC_ACCURACY}},
    {.name = "imdb",
     .header = true,
     .text = "text",
     .target = "label",
     .labels = 2,
     .label = {"negative", "positive"},
     .metric = {METRIC_ACCURACY}},
    {.name = "tsv", .own = true, .metric = {METRIC_ACCURACY}},
};

const struct task *task_find(const char *name)
{
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (strcmp(name, tasks[i].name) == 0)
            return &tasks[i];
    return NULL;
}

const char *task_names(void)
{
    return "sst-2, cola, mrpc, rte, sts-b, qnli, mnli, qqp, imdb, tsv";
}

const char *task_name(const struct task *task)
{
    return task->name;
}

enum metric task_metric(const struct task *task, bool regression, int which)
{
    static const enum metric numbers[2] = {METRIC_PEARSON, METRIC_SPEARMAN};
    return regression ? numbers[which] : task->metric[which];
}

void task_data_clear(struct task_data *data)
{
    free(data->example);
    free(data->text);
    *data = (struct task_data){0};
}

uint32_t task_data_seen(const struct task_data *data, bool seen[MODEL_LABELS_MAX])
{
    uint32_t count = 0;
    memset(seen, 0, MODEL_LABELS_MAX * sizeof *seen);
    for (size_t i = 0; data->labelled && !data->regression && i < data->count; i++) {
        bool *mark = &seen[data->example[i].label];
        count += !*mark;
        *mark = true;
    }
    return count;
}

enum status task_data_need_labels(const struct task_data *data, const char *path)
{
    if (data->labelled)
        return STATUS_OK;
    return status_fail(STATUS_INPUT,
                       "%s: has no labels: line 1 of a table of your own must name a column \"sentence\" (or \"text\") and "
                       "one \"label\" or \"score\", parted by tabs",
                       path);
}

/* The model's number of a label; config->labels if it has none. */
static uint32_t number_of(const char *label, const struct model_config *config)
{
    uint32_t exact = 0, folded = 0;
    while (exact < config->labels && strcmp(label, config->label[exact]) != 0)
        exact++;
    while (folded < config->labels && strcasecmp(label, config->label[folded]) != 0)
        folded++;
    return exact < config->labels ? exact : folded;
}

/* The model's number of each label that occurs; how many of them the model knows by name, and one it does not. */
static uint32_t match_names(uint32_t to[MODEL_LABELS_MAX], uint32_t *unknown, const struct task_data *data,
                            const bool seen[MODEL_LABELS_MAX], const struct model_config *config)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < data->labels; i++) {
        if (!seen[i])
            continue;
        to[i] = number_of(data->label[i], config);
        if (to[i] < config->labels)
            known++;
        else
            *unknown = i;
    }
    return known;
}

/* Whether each name is its number, behind so much text. */
static bool are_numbers(const char label[][MODEL_LABEL_BYTES], uint32_t labels, const char *before)
{
    for (uint32_t i = 0; i < labels; i++) {
        char plain[MODEL_LABEL_BYTES];
        snprintf(plain, sizeof plain, "%s%u", before, i);
        if (strcmp(label[i], plain) != 0)
            return false;
    }
    return true;
}

static enum status check_count(const struct task_data *data, const struct model_config *config)
{
    if (data->labels <= config->labels)
        return STATUS_OK;
    return status_fail(STATUS_INPUT, "the data have %u labels, the model %u", data->labels, config->labels);
}

/* Whether the data's order, where the model knows none of the names, can be its own. */
static enum status check_order(const struct task_data *data, uint32_t unknown, const struct model_config *config)
{
    const enum status status = check_count(data, config);
    if (status)
        return status;
    if (!data->own || are_numbers(data->label, data->labels, "") ||
        are_numbers(config->label, config->labels, "LABEL_"))
        return STATUS_OK;
    return status_fail(STATUS_INPUT,
                       "the label \"%s\" of the data is none of the model's, nor are the others: name them as the model "
                       "does (%s, %s%s), or number them from 0 in its order",
                       data->label[unknown], config->label[0], config->label[1],
                       config->labels > 2 ? ", ..." : "");
}

enum status task_data_fit(struct task_data *data, const struct model_config *config)
{
    uint32_t to[MODEL_LABELS_MAX] = {0}, unknown = 0;
    bool seen[MODEL_LABELS_MAX];
    if (!data->labelled)
        return STATUS_OK;
    if (data->regression != config->regression)
        return status_fail(STATUS_INPUT, "the data have %s, but the model gives %s",
                           data->regression ? "scores" : "classes",
                           config->regression ? "a score" : "classes");
    if (data->regression)
        return STATUS_OK;
    enum status status = data->own ? STATUS_OK : check_count(data, config);
    if (status)
        return status;
    const uint32_t count = task_data_seen(data, seen), known = match_names(to, &unknown, data, seen, config);
    if (known > 0 && known < count)
        return status_fail(STATUS_INPUT, "the label \"%s\" of the data is none of the model's",
                           data->label[unknown]);
    status = known > 0 ? STATUS_OK : check_order(data, unknown, config);
    if (status)
        return status;
    for (size_t i = 0; known > 0 && i < data->count; i++) {
        data->example[i].label = to[data->example[i].label];
        data->example[i].score = (float)data->example[i].label;
    }
    data->labels = config->labels;
    memcpy(data->label, config->label, sizeof data->label);
    return STATUS_OK;
}
