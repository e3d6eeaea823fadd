#include "model/task.h"

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

/* The model's number of each label of the data; how many of them the model knows by name, and one it does
 * not. */
static uint32_t match_names(uint32_t to[MODEL_LABELS_MAX], uint32_t *unknown, const struct task_data *data,
                            const struct model_config *config)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < data->labels; i++) {
        for (to[i] = 0; to[i] < config->labels; to[i]++)
            if (strcasecmp(data->label[i], config->label[to[i]]) == 0)
                break;
        if (to[i] < config->labels)
            known++;
        else
            *unknown = i;
    }
    return known;
}

enum status task_data_fit(struct task_data *data, const struct model_config *config)
{
    uint32_t to[MODEL_LABELS_MAX], unknown = 0;
    if (!data->labelled)
        return STATUS_OK;
    if (data->regression != config->regression)
        return status_fail(STATUS_INPUT, "the data have %s, but the model gives %s",
                           data->regression ? "scores" : "classes",
                           config->regression ? "a score" : "classes");
    if (data->regression)
        return STATUS_OK;
    uint32_t known = match_names(to, &unknown, data, config);
    if (data->labels > config->labels)
        return status_fail(STATUS_INPUT, "the data have %u labels, the model %u", data->labels,
                           config->labels);
    if (known > 0 && known < data->labels)
        return status_fail(STATUS_INPUT, "the label \"%s\" of the data is none of the model's",
                           data->label[unknown]);
    for (size_t i = 0; known > 0 && i < data->count; i++) {
        data->example[i].label = to[data->example[i].label];
        data->example[i].score = (float)data->example[i].label;
    }
    data->labels = config->labels;
    memcpy(data->label, config->label, sizeof data->label);
    return STATUS_OK;
}
