/* The demonstration model, whole: private logits against those of its reference, in batches, and what
 * BERT-base costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/description.h"
#include "tests/layers/student.h"
#include "tests/run.h"

#define ROWS 872
#define TOKENS 128
#define BUCKET 64

/* models/sst2-tiny/reference.tsv: ids, label, logits of the student in float by another program. */
struct row {
    uint32_t id[TOKENS], length;
    double logits[2];
};

static struct model model;
static struct student student;
static struct row row[ROWS];
static int rows;

static void read_rows(const char *path)
{
    static char line[8192];
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s is missing", path);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
    for (rows = 0; rows < ROWS && fgets(line, sizeof line, file); rows++) {
        struct row *r = &row[rows];
        char *p = line;
        for (r->length = 0; r->length < TOKENS && (r->length == 0 || *p == ' '); r->length++)
            r->id[r->length] = (uint32_t)strtoul(p, &p, 10);
        strtol(p, &p, 10); /* the gold label */
        r->logits[0] = strtod(p, &p);
        r->logits[1] = strtod(p, &p);
    }
    fclose(file);
    ck_assert_int_eq(rows, ROWS);
}

static void start(void)
{
    const char *source = getenv("TREFOIL_SOURCE");
    char path[4096];
    struct sample sample[64];
    three_seed(81);
    snprintf(path, sizeof path, "%s/models/sst2-tiny", source ? source : ".");
    ck_ok(model_read(&model, path));
    strcat(path, "/reference.tsv");
    read_rows(path);
    for (int i = 0; i < 64; i++)
        sample[i] = (struct sample){row[i * 13].id, NULL, row[i * 13].length};
    student_calibrate(&student, &model, sample, 64);
}

static void stop(void)
{
    student_close(&student);
    model_clear(&model);
}

static struct sample text_of(int i)
{
    return (struct sample){row[i].id, NULL, row[i].length};
}

static double off_by(const double *got, const double *want)
{
    return fmax(fabs(got[0] - want[0]), fabs(got[1] - want[1]));
}

/* None of these rows was calibrated on. */
START_TEST(private_logits_are_those_of_the_reference)
{
    double worst = 0;
    int done = 0;
    student_compile(&student, BUCKET, 1, TUNE_WAN);
    for (int i = 1; i < ROWS && done < 40; i += 21, done++) {
        double got[2], fixed[2];
        while (i % 13 == 0 || row[i].length > BUCKET)
            i++;
        const struct sample text = text_of(i);
        student_embed(&student, &text);
        student_private(&student, got);
        student_fixed(&student, fixed);
        worst = fmax(worst, off_by(got, row[i].logits));
        ck_assert_msg(off_by(got, row[i].logits) < 0.02, "row %d: off by %g", i, off_by(got, row[i].logits));
        ck_assert_msg(off_by(fixed, row[i].logits) < 0.02, "row %d: fixed point off by %g", i,
                      off_by(fixed, row[i].logits));
        ck_assert_int_eq(got[1] > got[0], row[i].logits[1] > row[i].logits[0]);
    }
    ck_assert_int_eq(done, 40);
    if (getenv("TREFOIL_SHOW"))
        printf("%d rows, off by %g at most\n", done, worst);
}
END_TEST

START_TEST(both_tunes_give_the_logits_of_the_reference)
{
    student_compile(&student, BUCKET, 1, TUNE_LAN);
    for (int i = 5; i < ROWS; i += 173) {
        double got[2];
        const struct sample text = text_of(i);
        student_embed(&student, &text);
        student_private(&student, got);
        ck_assert_msg(off_by(got, row[i].logits) < 0.02, "row %d: off by %g", i, off_by(got, row[i].logits));
    }
}
END_TEST

/* The fixed-point walk rounds the same in a batch as alone; the private one within its own rounding. */
START_TEST(a_batch_gives_what_its_sequences_give_alone)
{
    struct sample text[3];
    double alone[3][2], fixed[6], private[6];
    for (int b = 0; b < 3; b++)
        text[b] = text_of(100 + 200 * b);
    student_compile(&student, BUCKET, 1, TUNE_WAN);
    for (int b = 0; b < 3; b++) {
        student_embed(&student, &text[b]);
        student_fixed(&student, alone[b]);
    }
    student_compile(&student, BUCKET, 3, TUNE_WAN);
    student_embed(&student, text);
    student_fixed(&student, fixed);
    student_private(&student, private);
    for (int b = 0; b < 3; b++) {
        ck_assert_mem_eq(&fixed[2 * b], alone[b], sizeof alone[b]);
        ck_assert_double_lt(off_by(&private[2 * b], alone[b]), 0.02);
        ck_assert_double_lt(off_by(&private[2 * b], row[100 + 200 * b].logits), 0.02);
    }
}
END_TEST

/* ---- BERT-base, without its weights ---- */

/* Ranges, or scales, of a model with more layers than it was calibrated with: its first layer's stand for all
 * but the last. ends: how many come before the first and after the last layer. */
#define STRETCH(type, array, count, before, after, layers, out_count)                                  \
    do {                                                                                               \
        const uint32_t each_ = ((count) - (before) - (after)) / 2;                                     \
        type *longer_ = malloc(((before) + (after) + (layers)*each_) * sizeof *longer_);               \
        memcpy(longer_, (array), (before) * sizeof *longer_);                                          \
        for (uint32_t l_ = 0; l_ < (layers); l_++)                                                     \
            memcpy(longer_ + (before) + l_ * each_, (array) + (before) + (l_ + 1 == (layers)) * each_, \
                   each_ * sizeof *longer_);                                                           \
        memcpy(longer_ + (before) + (layers)*each_, (array) + (before) + 2 * each_,                    \
               (after) * sizeof *longer_);                                                             \
        free(array);                                                                                   \
        (array) = longer_;                                                                             \
        (out_count) = (before) + (after) + (layers)*each_;                                             \
    } while (0)

START_TEST(bert_base_stays_within_the_budgets)
{
    struct description *d = &student.description;
    struct schedule s;
    struct cost cost;
    STRETCH(struct range, d->range, d->ranges, 4, 2, 12, d->ranges);
    STRETCH(int, d->weight_frac, d->weights, 0, 4, 12, d->weights);
    d->config.layers = 12;
    d->config.hidden = 768;
    d->config.heads = 12;
    d->config.ffn = 3072;
    for (enum tune tune = TUNE_WAN; tune <= TUNE_LAN; tune++) {
        ck_ok(description_compile(d, 128, 1, tune, &s));
        walk_count(&s, &cost);
        if (getenv("TREFOIL_SHOW"))
            printf("BERT-base, tune %d: %llu rounds, %.1f M openings, %.4f GB online, %.4f GB offline, %.1f "
                   "G products\n",
                   (int)tune, (unsigned long long)cost.rounds, (double)cost.openings / 1e6,
                   (double)cost.online_bytes / 1e9, (double)cost.offline_bytes / 1e9,
                   (double)cost.products / 1e9);
        ck_assert_uint_le(cost.rounds,
                          tune == TUNE_WAN ? 275 : 287); /* a smaller table costs a round a layer */
        ck_assert_uint_le(cost.openings, 26500000);
        ck_assert_uint_le(cost.online_bytes, 215000000);
        ck_assert_uint_le(cost.offline_bytes, 280000000);
        ck_assert_uint_le(cost.products, 11600000000);
        schedule_clear(&s);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("whole model");
    TCase *tests = tcase_create("whole model");
    tcase_set_timeout(tests, 240);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, private_logits_are_those_of_the_reference);
    tcase_add_test(tests, both_tunes_give_the_logits_of_the_reference);
    tcase_add_test(tests, a_batch_gives_what_its_sequences_give_alone);
    tcase_add_test(tests, bert_base_stays_within_the_budgets);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
