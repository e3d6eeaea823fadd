/* Inside model/task*.c: what a task is, and a file being read. */
#ifndef TREFOIL_MODEL_TASK_TABLE_H
#define TREFOIL_MODEL_TASK_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "model/task.h"

#define TASK_COLUMNS_MAX 64

struct task {
    const char *name;
    const char *text, *pair, *target; /* the header's names; NULL: no pair */
    int text_at, target_at;           /* where the columns are without a header */
    bool header, own, torn_rows, regression;
    bool named; /* the file spells the labels out; else it has their numbers */
    uint32_t labels;
    const char *label[3];
    enum metric metric[2];
};

/* A file being read. The text is cut in place: lines and columns end in zeros. */
struct task_table {
    const struct task *task;
    const char *path;
    char *at;    /* the next line; NULL at the end */
    size_t line; /* its number, from 1 */
    char *column[TASK_COLUMNS_MAX];
    int columns;
    int text, pair, target; /* which column; -1: none */
    bool pair_optional;     /* a row may end before its pair */
};

/* STATUS_INPUT with file and line. */
enum status task_table_fail(const struct task_table *table, const char *what);
/* Cuts the next line that is not blank into columns; false at the end. */
bool task_table_next(struct task_table *table);
/* Where the present line has that name, of an own table in letters of either case; -1: nowhere, or name is NULL. */
int task_table_find(const struct task_table *table, const char *name);
/* A finite number and nothing behind it. */
bool task_parse_number(float *out, const char *word);

/* The user's own table (model/task_own.c). */
STATUS_MUST_USE enum status task_own_header(struct task_table *table, struct task_data *out);
STATUS_MUST_USE enum status task_own_label(const struct task_table *table, struct task_data *data,
                                           struct task_example *out, const char *word);
/* Gives the labels their numbers when all rows are read. */
void task_own_number(struct task_data *data);

#endif
