#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/files.h"
#include "model/task_table.h"

enum status task_table_fail(const struct task_table *table, const char *what)
{
    return status_fail(STATUS_INPUT, "%s: line %zu: %s", table->path, table->line, what);
}

/* Columns beyond TASK_COLUMNS_MAX stay in the last. */
bool task_table_next(struct task_table *table)
{
    while (table->at) {
        char *line = table->at, *end = strchr(line, '\n');
        table->at = end && end[1] ? end + 1 : NULL;
        table->line++;
        size_t length = end ? (size_t)(end - line) : strlen(line);
        if (length > 0 && line[length - 1] == '\r')
            length--;
        line[length] = 0;
        if (strspn(line, " \t") == length)
            continue;
        table->columns = 0;
        while (line && table->columns < TASK_COLUMNS_MAX) {
            table->column[table->columns++] = line;
            line = strchr(line, '\t');
            if (line)
                *line++ = 0;
        }
        return true;
    }
    return false;
}

int task_table_find(const struct task_table *table, const char *name)
{
    for (int i = 0; name && i < table->columns; i++)
        if ((table->task->own ? strcasecmp : strcmp)(table->column[i], name) == 0)
            return i;
    return -1;
}

static enum status need_column(const struct task_table *table, int at, const char *name)
{
    if (at >= 0)
        return STATUS_OK;
    return status_fail(STATUS_INPUT, "%s: line 1 names no column \"%s\"; a file of the task %s has one",
                       table->path, name, table->task->name);
}

static enum status read_header(struct task_table *table)
{
    const struct task *task = table->task;
    table->text = task->text_at;
    table->pair = -1;
    table->target = task->target_at;
    if (!task->header)
        return STATUS_OK;
    if (!task_table_next(table))
        return status_fail(STATUS_INPUT, "%s: has no rows", table->path);
    table->text = task_table_find(table, task->text);
    table->pair = task_table_find(table, task->pair);
    table->target = task_table_find(table, task->target);
    enum status status = need_column(table, table->text, task->text);
    if (!status && task->pair)
        status = need_column(table, table->pair, task->pair);
    return status ? status : need_column(table, table->target, task->target);
}

static enum status label_fail(const struct task_table *table, const char *word)
{
    char shown[FILES_SHOWN_BYTES] = "a longer text", expected[128];
    const struct task *task = table->task;
    /* What stands in the label column by mistake may be a sentence, which a message must not carry. */
    if (strlen(word) <= 24)
        files_show(shown, word);
    if (task->regression)
        snprintf(expected, sizeof expected, "a number from 0 to 5");
    else if (task->named)
        snprintf(expected, sizeof expected, "%s, %s%s%s", task->label[0], task->label[1],
                 task->labels > 2 ? " or " : "", task->labels > 2 ? task->label[2] : "");
    else
        snprintf(expected, sizeof expected, "0 or 1");
    return status_fail(STATUS_INPUT, "%s: line %zu: \"%s\" is no label of the task %s; expected %s",
                       table->path, table->line, shown, task->name, expected);
}

bool task_parse_number(float *out, const char *word)
{
    char *end;
    double number = strtod(word, &end);
    *out = (float)number;
    return end != word && *end == 0 && isfinite(*out);
}

static enum status read_label(const struct task_table *table, struct task_example *out, const char *word)
{
    const struct task *task = table->task;
    if (task->regression) {
        if (!task_parse_number(&out->score, word) || out->score < 0 || out->score > 5)
            return label_fail(table, word);
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < task->labels; i++) {
        const char number[2] = {(char)('0' + i), 0};
        if (strcmp(word, task->named ? task->label[i] : number) == 0) {
            out->label = i;
            out->score = (float)i;
            return STATUS_OK;
        }
    }
    return label_fail(table, word);
}

static enum status read_row(struct task_table *table, struct task_data *out)
{
    int last = table->text > table->target ? table->text : table->target;
    if (table->pair > last && !table->pair_optional)
        last = table->pair;
    if (table->columns <= last && table->task->torn_rows) {
        out->skipped++;
        return STATUS_OK;
    }
    if (table->columns <= last) {
        char what[64];
        snprintf(what, sizeof what, "%d column%s; expected at least %d, parted by tabs", table->columns,
                 table->columns == 1 ? "" : "s", last + 1);
        return task_table_fail(table, what);
    }
    struct task_example *example = &out->example[out->count];
    *example = (struct task_example){.text = table->column[table->text], .line = table->line};
    if (table->pair >= 0 && table->columns > table->pair)
        example->pair = table->column[table->pair];
    enum status status = STATUS_OK;
    if (table->target >= 0)
        status = table->task->own ? task_own_label(table, out, example, table->column[table->target])
                                  : read_label(table, example, table->column[table->target]);
    out->count += !status;
    return status;
}

/* What is no plain text: compressed, UTF-16, zero bytes. */
static enum status check_text(const char *text, size_t size, const char *path)
{
    static const struct {
        const char *start;
        size_t length;
        const char *command;
    } packed[] = {
        {"\xfd"
         "7zXZ",
         5, "xz -dk"},
        {"\x1f\x8b", 2, "gzip -dk"},
        {"\x28\xb5\x2f\xfd", 4, "zstd -d"},
        {"BZh", 3, "bzip2 -dk"},
        {"PK\x03\x04", 4, "unzip"},
    };
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        if (size >= packed[i].length && memcmp(text, packed[i].start, packed[i].length) == 0)
            return status_fail(STATUS_INPUT, "%s: is compressed; unpack it first (%s %s)", path,
                               packed[i].command, path);
    if (memchr(text, 0, size))
        return status_fail(STATUS_INPUT, "%s: has zero bytes; expected a text file in UTF-8", path);
    return STATUS_OK;
}

static size_t count_lines(const char *text)
{
    size_t lines = 1;
    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

static enum status read_table(struct task_table *table, struct task_data *out)
{
    const struct task *task = table->task;
    out->own = task->own;
    out->labelled = !task->own;
    out->regression = task->regression;
    enum status status = task->own ? task_own_header(table, out) : read_header(table);
    if (status)
        return status;
    for (uint32_t i = 0; !task->own && !task->regression && i < task->labels; i++)
        snprintf(out->label[i], MODEL_LABEL_BYTES, "%s", task->label[i]);
    out->labels = task->labels;
    while (!status && task_table_next(table))
        status = read_row(table, out);
    if (!status && out->count == 0)
        status = status_fail(STATUS_INPUT, "%s: has no rows", table->path);
    if (!status && task->own && out->labelled && !out->regression)
        task_own_number(out);
    if (out->regression)
        out->labels = 1;
    return status;
}

enum status task_read(struct task_data *out, const struct task *task, const char *path)
{
    size_t size;
    *out = (struct task_data){0};
    enum status status = files_read(&out->text, &size, path, TASK_FILE_BYTES);
    if (!status)
        status = check_text(out->text, size, path);
    if (status)
        goto out;
    bool marked = strncmp(out->text, "\xef\xbb\xbf", 3) == 0;
    struct task_table table = {.task = task, .path = path, .at = out->text + (marked ? 3 : 0)};
    if (!table.at[0]) {
        status = status_fail(STATUS_INPUT, "%s: is empty", path);
        goto out;
    }
    out->example = calloc(count_lines(out->text), sizeof *out->example);
    status = out->example ? read_table(&table, out)
                          : status_fail(STATUS_MEMORY, "%s: no memory for its rows", path);
out:
    if (status)
        task_data_clear(out);
    return status;
}
