#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/config.h"
#include "model/task_table.h"

/* A table of the user's own: the header, if there is one, says what it holds. */
enum status task_own_header(struct task_table *table, struct task_data *out)
{
    static const char *const texts[] = {"sentence", "text", "sentence1", "question1", "question"};
    /* The first line is cut up only if it is a header, so it is looked at in a copy. */
    char *first = strndup(table->at, strcspn(table->at, "\n"));
    if (!first)
        return status_fail(STATUS_MEMORY, "%s: no memory for its first line", table->path);
    struct task_table look = {.task = table->task, .at = first};
    int text = -1, label = -1, score = -1;
    if (task_table_next(&look)) {
        for (size_t i = 0; text < 0 && i < sizeof texts / sizeof *texts; i++)
            text = task_table_find(&look, texts[i]);
        label = task_table_find(&look, "label");
        score = task_table_find(&look, "score");
    }
    free(first);
    table->text = 0;
    table->pair = 1;
    table->pair_optional = true;
    table->target = -1;
    if (text < 0 && label >= 0)
        return status_fail(STATUS_INPUT, "%s: line 1 names a label but no column \"sentence\" or \"text\"",
                           table->path);
    if (text < 0)
        return STATUS_OK;
    task_table_next(table);
    table->text = text;
    table->pair = task_table_find(table, "sentence2");
    table->pair_optional = false;
    table->target = label >= 0 ? label : score;
    out->labelled = table->target >= 0;
    out->regression = label < 0 && score >= 0;
    return STATUS_OK;
}

/* The labels of a user's own table, in the order they are met: numbered when all are known. */
enum status task_own_label(const struct task_table *table, struct task_data *data, struct task_example *out,
                           const char *word)
{
    if (data->regression)
        return task_parse_number(&out->score, word) ? STATUS_OK
                                                    : task_table_fail(table, "the score is not a number");
    char label[MODEL_LABEL_BYTES + 1]; /* one more than fits: longer ones are not good */
    word += strspn(word, " ");
    size_t length = strlen(word);
    while (length > 0 && word[length - 1] == ' ')
        length--;
    snprintf(label, sizeof label, "%.*s", length < sizeof label ? (int)length : MODEL_LABEL_BYTES, word);
    for (out->label = 0; out->label < data->labels; out->label++) {
        if (strcmp(data->label[out->label], label) == 0)
            return STATUS_OK;
        if (strcasecmp(data->label[out->label], label) == 0)
            return task_table_fail(table, "the label differs from an earlier one by the case of its letters alone");
    }
    if (data->labels == MODEL_LABELS_MAX)
        return task_table_fail(table, "more than 64 different labels; is the label column right?");
    if (!model_config_label_is_good(label))
        return task_table_fail(table, "the label is empty, not printable UTF-8 or longer than 63 bytes");
    memcpy(data->label[data->labels++], label, MODEL_LABEL_BYTES);
    return STATUS_OK;
}

/* True if every label is a number below 64 written plainly. */
static bool labels_are_numbers(const struct task_data *data, uint32_t *most)
{
    *most = 0;
    for (uint32_t i = 0; i < data->labels; i++) {
        char plain[16];
        unsigned long number = strtoul(data->label[i], NULL, 10);
        snprintf(plain, sizeof plain, "%lu", number < 1000 ? number : 1000);
        if (number >= MODEL_LABELS_MAX || strcmp(plain, data->label[i]) != 0)
            return false;
        *most = number > *most ? (uint32_t)number : *most;
    }
    return true;
}

/* Gives the labels of an own table their numbers: themselves, or their place in the alphabet. */
void task_own_number(struct task_data *data)
{
    uint32_t most, number[MODEL_LABELS_MAX];
    char sorted[MODEL_LABELS_MAX][MODEL_LABEL_BYTES] = {{0}};
    bool numbers = labels_are_numbers(data, &most);
    for (uint32_t i = 0; i < data->labels; i++) {
        number[i] = numbers ? (uint32_t)strtoul(data->label[i], NULL, 10) : 0;
        for (uint32_t j = 0; !numbers && j < data->labels; j++)
            number[i] += strcmp(data->label[j], data->label[i]) < 0;
    }
    for (size_t i = 0; i < data->count; i++) {
        data->example[i].label = number[data->example[i].label];
        data->example[i].score = (float)data->example[i].label;
    }
    for (uint32_t i = 0; i < data->labels; i++)
        memcpy(sorted[number[i]], data->label[i], MODEL_LABEL_BYTES);
    data->labels = numbers ? most + 1 : data->labels;
    for (uint32_t i = 0; i < data->labels; i++)
        if (numbers)
            snprintf(sorted[i], MODEL_LABEL_BYTES, "%u", i);
    memcpy(data->label, sorted, sizeof sorted);
}
