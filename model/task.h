/* Labelled text: the files of GLUE as they ship, IMDb, and a table of the user's own.
 *
 *     name    columns (by the header's names)            label                              metrics
 *     sst-2   sentence, label                            0 negative, 1 positive             accuracy
 *     cola    no header: 4th is the sentence, 2nd label  0 unacceptable, 1 acceptable       Matthews
 *     mrpc    #1 String, #2 String, Quality              0 not_equivalent, 1 equivalent     F1, accuracy
 *     rte     sentence1, sentence2, label                entailment, not_entailment         accuracy
 *     sts-b   sentence1, sentence2, score                a number from 0 to 5               Pearson, Spearman
 *     qnli    question, sentence, label                  entailment, not_entailment         accuracy
 *     mnli    sentence1, sentence2, gold_label           entailment, neutral, contradiction accuracy
 *     qqp     question1, question2, is_duplicate         0 not_duplicate, 1 duplicate       F1, accuracy
 *     imdb    text, label                                0 negative, 1 positive             accuracy
 *     tsv     sentence (or text, sentence1); perhaps sentence2 and label, or score
 *                                                        numbers from 0, or names           accuracy, or Pearson
 *
 * A tsv file whose first line names no such column, in letters of either case, has no header: a text a line, a
 * tab before a second one. Spaces around its labels do not count, and two that differ by case alone are refused.
 *
 * Columns are parted by tabs; quotes are plain characters. A byte-order mark, carriage returns, a missing
 * last newline and blank lines are allowed. In qqp, rows with too few columns are counted and left out: the
 * file has some. Any other row that does not fit is an error with its line number. Compressed files are
 * refused: unpack them first. */
#ifndef TREFOIL_MODEL_TASK_H
#define TREFOIL_MODEL_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/metrics.h"
#include "model/model.h"
#include "ring/status.h"

#define TASK_FILE_BYTES ((size_t)1 << 30)

struct task;

/* The task of a name above, or NULL. */
const struct task *task_find(const char *name);
/* All names, separated by commas, for messages and help. */
const char *task_names(void);
const char *task_name(const struct task *task);
/* The metric the task is known by (first) and the one reported beside it; METRIC_NONE if there is no second.
 */
enum metric task_metric(const struct task *task, bool regression, int which);

struct task_example {
    const char *text;
    const char *pair; /* or NULL */
    uint32_t label;   /* a class, unless the data are regression */
    float score;      /* the gold number; of a class, its index */
    size_t line;      /* of the file, from 1 */
};

struct task_data {
    struct task_example *example;
    size_t count;
    size_t skipped; /* torn rows left out */
    bool labelled, regression;
    bool own;        /* a table of the user's own */
    uint32_t labels; /* how many classes, of numbers one more than the largest; 1 for regression, 0 if not labelled */
    char label[MODEL_LABELS_MAX][MODEL_LABEL_BYTES];
    char *text; /* what the examples point into */
};

/* STATUS_INPUT names the file, the line and the label or column; the contents of a text are never in a
 * message. */
STATUS_MUST_USE enum status task_read(struct task_data *out, const struct task *task, const char *path);
void task_data_clear(struct task_data *data);

/* Which classes the examples have; how many. */
uint32_t task_data_seen(const struct task_data *data, bool seen[MODEL_LABELS_MAX]);

/* STATUS_INPUT if there are no labels, which says what a file needs to have some. */
STATUS_MUST_USE enum status task_data_need_labels(const struct task_data *data, const char *path);

/* Numbers the classes as the model does. Where the model knows the names (id2label) of those that occur, as they are spelt or
 * in letters of another case, they are exchanged. Where it knows none of them they count in the task's order, but names of an own
 * table, which has none, only if they are numbers or the model's are LABEL_0 and so on. STATUS_INPUT if the model
 * has fewer labels than the data use, or is a regression where the data are not. */
STATUS_MUST_USE enum status task_data_fit(struct task_data *data, const struct model_config *config);

#endif
