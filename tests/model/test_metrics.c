#include <check.h>

#include "model/metrics.h"
#include "model/task.h"
#include "tests/run.h"

#define ck_assert_near(x, y) ck_assert_double_eq_tol(x, y, 1e-7)

/* Expected values by hand, from the definitions. */
static const uint32_t gold[10] = {1, 1, 1, 0, 0, 0, 1, 0, 1, 1};
static const uint32_t said[10] = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0};

START_TEST(class_metrics_follow_their_definitions)
{
    /* 4 hits, 1 alarm, 2 misses, 3 calm */
    ck_assert_near(metrics_accuracy(said, gold, 10), 0.7);
    ck_assert_near(metrics_f1(said, gold, 10), 8.0 / 11.0);
    ck_assert_near(metrics_matthews(said, gold, 10), 10.0 / 24.494897427831781); /* sqrt(5 * 6 * 4 * 5) */
    ck_assert_near(metrics_of_classes(METRIC_F1, said, gold, 10), 8.0 / 11.0);
}
END_TEST

START_TEST(a_constant_or_empty_prediction_scores_zero)
{
    static const uint32_t none[10] = {0};
    static const float flat[4] = {0.1f, 0.1f, 0.1f, 0.1f}, numbers[4] = {1, 2, 3, 4};
    double value = 1;
    ck_assert_near(metrics_matthews(none, gold, 10), 0);
    ck_assert_near(metrics_f1(none, none, 10), 0);
    ck_assert_near(metrics_accuracy(none, gold, 0), 0);
    ck_assert_near(metrics_pearson(flat, numbers, 4), 0);
    ck_assert_near(metrics_pearson(numbers, flat, 4), 0);
    ck_assert(!metrics_spearman(&value, numbers, flat, 4));
    ck_assert_near(value, 0);
    ck_assert(!metrics_spearman(&value, numbers, flat, 0));
    ck_assert_near(value, 0);
}
END_TEST

START_TEST(pearson_follows_its_definition)
{
    static const float x[5] = {1, 2, 3, 4, 5}, y[5] = {2, 1, 4, 3, 5}, z[5] = {5, 4, 3, 2, 1};
    ck_assert_near(metrics_pearson(x, y, 5), 0.8);
    ck_assert_near(metrics_pearson(x, z, 5), -1);
}
END_TEST

START_TEST(spearman_shares_the_ranks_of_equal_values)
{
    /* ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5) */
    static const float x[4] = {1, 7, 7, 900}, y[4] = {-3, 5, 4, 6};
    double value;
    ck_assert(!metrics_of_numbers(&value, METRIC_SPEARMAN, x, y, 4));
    ck_assert_near(value, 0.9486832980505138);
    ck_assert(!metrics_of_numbers(&value, METRIC_PEARSON, y, y, 4));
    ck_assert_near(value, 1);
}
END_TEST

START_TEST(every_task_has_its_metric)
{
    ck_assert_int_eq(task_metric(task_find("mrpc"), false, 0), METRIC_F1);
    ck_assert_int_eq(task_metric(task_find("mrpc"), false, 1), METRIC_ACCURACY);
    ck_assert_int_eq(task_metric(task_find("cola"), false, 0), METRIC_MATTHEWS);
    ck_assert_int_eq(task_metric(task_find("sts-b"), true, 0), METRIC_PEARSON);
    ck_assert_int_eq(task_metric(task_find("sts-b"), true, 1), METRIC_SPEARMAN);
    ck_assert_int_eq(task_metric(task_find("tsv"), true, 0), METRIC_PEARSON);
    ck_assert_int_eq(task_metric(task_find("rte"), false, 1), METRIC_NONE);
    ck_assert_str_eq(metric_name(METRIC_SPEARMAN), "spearman");
    ck_assert(metric_takes_classes(METRIC_MATTHEWS) && !metric_takes_classes(METRIC_PEARSON));
}
END_TEST

START_TEST(argmax_takes_the_first_of_equals)
{
    ck_assert_uint_eq(metrics_argmax((const float[]){-2, 3, 3}, 3), 1);
    ck_assert_uint_eq(metrics_argmax((const float[]){-2}, 1), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tcase = tcase_create("metrics");
    tcase_add_test(tcase, class_metrics_follow_their_definitions);
    tcase_add_test(tcase, a_constant_or_empty_prediction_scores_zero);
    tcase_add_test(tcase, pearson_follows_its_definition);
    tcase_add_test(tcase, spearman_shares_the_ranks_of_equal_values);
    tcase_add_test(tcase, every_task_has_its_metric);
    tcase_add_test(tcase, argmax_takes_the_first_of_equals);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
