/* The training loop on a model small enough for a test: it learns, repeats, and survives what goes wrong. What ends before its time is in
 * test_resume.c. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distill/encoder.h"
#include "distill/gemm.h"
#include "distill/half.h"
#include "model/files.h"
#include "tests/distill/small_run.h"
#include "tests/run.h"

START_TEST(the_float_pass_gives_the_reference_logits_of_a_real_student)
{
    char path[FILES_PATH_BYTES], *line = NULL;
    size_t room = 0;
    struct model model;
    struct distill_state state = {0};
    struct distill_noise none = {0};
    struct distill_batch batch;
    snprintf(path, sizeof path, "%s/models/sst2-tiny", getenv("TREFOIL_SOURCE"));
    must(model_read(&model, path));
    distill_weights_clear(&small_run.weights);
    must(distill_weights_from_model(&small_run.weights, &model, &model.config, 0));
    snprintf(path, sizeof path, "%s/models/sst2-tiny/reference.tsv", getenv("TREFOIL_SOURCE"));
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    distill_batch_init(&batch);
    ck_assert(getline(&line, &room, file) > 0);
    double wanted[2 * 40];
    for (size_t row = 0; row < 40; row++) {
        uint32_t id[128];
        size_t n = 0;
        ck_assert(getline(&line, &room, file) > 0);
        char *rest = line, *ids = strsep(&rest, "\t");
        for (char *word; (word = strsep(&ids, " ")) != NULL;)
            id[n++] = (uint32_t)strtoul(word, NULL, 10);
        double label = strtod(strsep(&rest, "\t"), NULL);
        wanted[2 * row] = strtod(strsep(&rest, "\t"), NULL);
        wanted[2 * row + 1] = strtod(rest, NULL);
        must(distill_batch_add(&batch, id, NULL, n, label));
    }
    must(distill_state_reserve(&state, &small_run.weights.config, &batch, false));
    distill_encoder_forward(&state, &small_run.weights, &batch, &none);
    distill_head_forward(&state, &small_run.weights, &batch, &none);
    for (size_t i = 0; i < 80; i++)
        ck_assert_double_eq_tol((double)state.logits[i], wanted[i], 2e-5);
    free(line);
    fclose(file);
    distill_batch_clear(&batch);
    distill_state_clear(&state);
    model_clear(&model);
}
END_TEST

START_TEST(a_run_learns_its_task)
{
    struct distill_outcome out;
    small_run.run.phase[0].epochs = 20;
    small_run.run.phase[0].rate.peak = 1e-2;
    must(small_run_again(&out));
    ck_assert_double_gt(out.best, 0.9);
    struct model model;
    must(model_read(&model, small_run.run.folder));
    ck_assert_str_eq(model.config.label[1], "yes");
    model_clear(&model);
}
END_TEST

START_TEST(the_curves_have_a_line_for_the_loss_and_one_for_the_metric)
{
    struct distill_outcome out;
    must(small_run_again(&out));
    ck_assert_uint_eq(small_run_count("curves.svg", "<polyline"), 2);
    ck_assert_uint_eq(small_run_count("curves.svg", "<circle"), 3); /* an evaluation in each epoch */
}
END_TEST

START_TEST(the_same_seed_gives_the_same_run_twice)
{
    struct distill_outcome out;
    must(small_run_again(&out));
    uint64_t first = small_run_digest();
    small_run_folder("other");
    must(small_run_again(&out));
    ck_assert(first == small_run_digest());
    small_run.run.seed++;
    small_run_folder("third");
    must(small_run_again(&out));
    ck_assert(first != small_run_digest());
}
END_TEST

START_TEST(a_loss_that_is_no_number_stops_the_run_and_names_the_step)
{
    struct distill_outcome out;
    small_run.run.phase[0].rate = (struct distill_rate){1e36, 0, DISTILL_CONSTANT};
    ck_assert_int_eq(small_run_again(&out), STATUS_RANGE);
    ck_assert_msg(strstr(status_message(), "phase task, step ") != NULL, "%s", status_message());
}
END_TEST

START_TEST(a_distilled_student_answers_like_its_teacher)
{
    struct distill_outcome out;
    small_run_teacher();
    small_run_student(MODEL_QUAD, MODEL_2QUAD, true);
    must(distill_train(&out, &small_run.weights, &small_run.run));
    ck_assert_double_gt(out.best, 0.85);
    struct model model;
    must(model_read(&model, small_run.run.folder));
    ck_assert(model.config.learned_c && model.config.learned_quad);
    ck_assert_ptr_nonnull(model.layer[0].quad);
    model_clear(&model);
}
END_TEST

START_TEST(what_the_first_stage_leaves_may_be_the_best)
{
    struct distill_outcome out;
    small_run_teacher();
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    small_run.evaluations = 0;
    small_run.run.phase[1].epochs = 1;
    small_run.run.phase[1].rate.peak =
        0; /* nothing changes any more: the earlier of two equal ones is kept */
    must(distill_train(&out, &small_run.weights, &small_run.run));
    ck_assert_int_eq(small_run.evaluations, 2);
    ck_assert_uint_eq(out.best_phase, 1);
    ck_assert_uint_eq(out.best_step, 0);
}
END_TEST

START_TEST(a_teacher_kept_in_memory_teaches_the_same)
{
    uint64_t digest[2];
    small_run_teacher();
    small_run.run.phases = 1;
    small_run.run.phase[0].epochs = 2;
    small_run.run.phase[0].dropout = 0.1;
    double asked = small_run_first_stage(0, "asked", &digest[0]),
           kept = small_run_first_stage(1 << 20, "kept", &digest[1]);
    ck_assert_double_eq_tol(asked, kept, 1e-5);
}
END_TEST

START_TEST(examples_without_labels_are_for_the_second_stage)
{
    struct distill_outcome out;
    small_run_teacher();
    for (size_t i = SMALL_RUN_EXAMPLES / 2; i < SMALL_RUN_EXAMPLES; i++)
        small_run.train.label[i] = NAN;
    small_run.run.unlabelled = SMALL_RUN_EXAMPLES / 2;
    small_run.run.teacher_bytes = 1 << 20;
    small_run.run.phase[0].epochs = small_run.run.phase[1].epochs = 6;
    small_run.run.phase[1].gold = 0.5; /* the loss stays a number */
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &small_run.weights, &small_run.run));
    ck_assert_double_gt(out.best, 0.6);
    char *log;
    size_t size;
    must(files_read(&log, &size, small_run_path("student/log.tsv"), 1 << 20));
    ck_assert_ptr_nonnull(strstr(log, "\nlayers\t6.0000\t72\t"));
    ck_assert_ptr_nonnull(strstr(log, "\nlogits\t6.0000\t144\t"));
    free(log);
}
END_TEST

START_TEST(a_score_without_a_label_is_the_teachers)
{
    struct distill_batch batch;
    float logits[2] = {1, 1}, teacher[2] = {3, 3}, gradient[2];
    uint32_t id = 1;
    distill_batch_init(&batch);
    must(distill_batch_add(&batch, &id, NULL, 1, 5));
    must(distill_batch_add(&batch, &id, NULL, 1, NAN));
    double loss = distill_loss_squared(gradient, logits, teacher, 0.5, &batch, 1);
    ck_assert_double_eq(loss, (9.0 + 4.0) / 2); /* (1 - (3 + 5) / 2)^2 and (1 - 3)^2 */
    ck_assert_float_eq(gradient[0], -3);
    ck_assert_float_eq(gradient[1], -2);
    distill_batch_clear(&batch);
}
END_TEST

START_TEST(products_in_bfloat16_are_near_those_in_float)
{
    static const int shape[][3] = {{70, 65, 33}, {64, 96, 384}, {33, 48, 1000}, {16, 16, 32}};
    for (size_t i = 0; distill_half_available() && i < sizeof shape / sizeof *shape; i++)
        for (int turned = 0; turned < 4; turned++) {
            int m = shape[i][0], n = shape[i][1], k = shape[i][2];
            size_t sizes[4] = {(size_t)(m * k), (size_t)(n * k), (size_t)(m * n), (size_t)(m * n)};
            float *x[4];
            for (int j = 0; j < 4; j++) {
                x[j] = calloc(sizes[j], sizeof(float));
                for (size_t at = 0; at < sizes[j]; at++)
                    x[j][at] = (float)distill_random_normal(j == 3 ? 2 : (uint64_t)j, (uint32_t)at);
            }
            struct distill_matrix a = {x[0], turned & 1 ? m : k, turned & 1};
            struct distill_matrix b = {x[1], turned & 2 ? k : n, turned & 2};
            bool add = i % 2;
            ck_assert(distill_half_gemm(x[2], n, m, n, k, a, b, add));
            distill_gemm_single(x[3], n, m, n, k, a, b, 1, add ? 1 : 0);
            double off = 0, norm = 0;
            for (size_t at = 0; at < sizes[2]; at++) {
                off += (double)((x[2][at] - x[3][at]) * (x[2][at] - x[3][at]));
                norm += (double)(x[3][at] * x[3][at]);
            }
            ck_assert_double_lt(off, 1e-5 * norm); /* 2^-9 a factor, twice */
            for (int j = 0; j < 4; j++)
                free(x[j]);
        }
}
END_TEST

START_TEST(a_phase_without_a_step_is_refused)
{
    struct distill_outcome out;
    small_run.run.phase[0].epochs = 0.01;
    ck_assert_int_eq(small_run_again(&out), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "phase task: 0.01 epochs of 24 steps"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train");
    TCase *cases = tcase_create("loop");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, small_run_setup, small_run_teardown);
    tcase_add_test(cases, the_float_pass_gives_the_reference_logits_of_a_real_student);
    tcase_add_test(cases, a_run_learns_its_task);
    tcase_add_test(cases, the_curves_have_a_line_for_the_loss_and_one_for_the_metric);
    tcase_add_test(cases, the_same_seed_gives_the_same_run_twice);
    tcase_add_test(cases, a_loss_that_is_no_number_stops_the_run_and_names_the_step);
    tcase_add_test(cases, a_distilled_student_answers_like_its_teacher);
    tcase_add_test(cases, what_the_first_stage_leaves_may_be_the_best);
    tcase_add_test(cases, a_teacher_kept_in_memory_teaches_the_same);
    tcase_add_test(cases, examples_without_labels_are_for_the_second_stage);
    tcase_add_test(cases, a_score_without_a_label_is_the_teachers);
    tcase_add_test(cases, products_in_bfloat16_are_near_those_in_float);
    tcase_add_test(cases, a_phase_without_a_step_is_refused);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
