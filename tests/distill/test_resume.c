/* Runs that end before their time, in every way, go on to the same result, or say why they do not. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "distill/adamw.h"
#include "distill/checkpoint.h"
#include "distill/gemm.h"
#include "model/files.h"
#include "tests/distill/small_run.h"
#include "tests/run.h"

START_TEST(a_run_that_was_stopped_goes_on_to_the_same_result)
{
    struct distill_outcome whole, resumed;
    must(small_run_again(&whole));
    uint64_t first = small_run_digest();
    small_run_folder("stopped");
    small_run.stop_at = 2;
    ck_assert_int_eq(small_run_again(&resumed), STATUS_STOPPED);
    ck_assert(first != small_run_digest());
    small_run.stop_at = -1;
    must(small_run_again(&resumed));
    ck_assert(first == small_run_digest());
    ck_assert_double_eq(whole.best, resumed.best);
    ck_assert_uint_eq(whole.best_step, resumed.best_step);
}
END_TEST

static void tear(const char *name)
{
    char path[FILES_PATH_BYTES];
    must(files_join(path, small_run.run.folder, name));
    ck_assert_int_eq(truncate(path, 4000), 0);
}

START_TEST(a_torn_checkpoint_is_passed_over_for_the_one_before_it)
{
    struct distill_outcome whole, resumed;
    must(small_run_again(&whole));
    uint64_t first = small_run_digest();
    small_run_folder("torn");
    small_run.stop_at = 2; /* the newest of two checkpoints is number 11, at step 48, in checkpoint-1 */
    ck_assert_int_eq(small_run_again(&resumed), STATUS_STOPPED);
    small_run.stop_at = -1;
    tear("checkpoint-1");
    must(small_run_again(&resumed));
    ck_assert(first == small_run_digest());
}
END_TEST

START_TEST(checkpoints_are_for_their_owner_alone)
{
    struct distill_outcome out;
    struct stat about;
    umask(0);
    small_run.stop_at = 2;
    ck_assert_int_eq(small_run_again(&out), STATUS_STOPPED);
    for (unsigned i = 0; i < 2; i++) {
        char path[FILES_PATH_BYTES];
        must(files_join(path, small_run.run.folder, i ? "checkpoint-1" : "checkpoint-0"));
        ck_assert_int_eq(stat(path, &about), 0);
        ck_assert_uint_eq(about.st_mode & 0777, 0600);
    }
}
END_TEST

START_TEST(with_no_whole_checkpoint_a_run_says_so)
{
    struct distill_outcome out;
    small_run.stop_at = 2;
    ck_assert_int_eq(small_run_again(&out), STATUS_STOPPED);
    small_run.stop_at = -1;
    tear("checkpoint-0");
    tear("checkpoint-1");
    ck_assert_int_eq(small_run_again(&out), STATUS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(status_message(), "torn"));
    small_run.run.overwrite = true;
    must(small_run_again(&out));
}
END_TEST

/* A checkpoint with another 64-bit word in it, and the hash that such a file has. */
static void forge(const char *name, size_t offset, uint64_t value)
{
    char path[FILES_PATH_BYTES], *bytes;
    size_t size;
    must(files_join(path, small_run.run.folder, name));
    must(files_read(&bytes, &size, path, 1 << 20));
    const size_t hashed = size - crypto_generichash_BYTES;
    memcpy(bytes + offset, &value, sizeof value);
    crypto_generichash((unsigned char *)bytes + hashed, crypto_generichash_BYTES,
                       (const unsigned char *)bytes, hashed, NULL, 0);
    FILE *file = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
    free(bytes);
}

#define POSITION (21 + DISTILL_FINGERPRINT_BYTES)
#define FIELD(name) (POSITION + offsetof(struct distill_position, name))

/* A phase is an index, and a step, a row or a byte of the log a count: the newest checkpoint stands at step 48 of 72. */
START_TEST(a_position_that_the_run_cannot_have_is_refused)
{
    static const struct {
        size_t offset;
        uint64_t last; /* the greatest that is taken */
    } field[] = {
        {FIELD(phase), 0},
        {FIELD(step), 72},
        {FIELD(best_phase), 0},
        {FIELD(sum_steps), 48},
        {FIELD(log_bytes), INT64_MAX},
        {POSITION + sizeof(struct distill_position), 48}, /* the optimiser's steps */
    };
    struct distill_outcome out;
    small_run.stop_at = 2;
    ck_assert_int_eq(small_run_again(&out), STATUS_STOPPED);
    small_run.stop_at = -1;
    const uint64_t beyond[] = {field[_i].last + 1, 1ull << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        if (beyond[i] <= field[_i].last)
            continue;
        forge("checkpoint-1", field[_i].offset, beyond[i]);
        ck_assert_msg(small_run_again(&out) == STATUS_CORRUPT, "field %d, %llu", _i,
                      (unsigned long long)beyond[i]);
        ck_assert_ptr_nonnull(strstr(status_message(), "/checkpoint-1: "));
        ck_assert_ptr_nonnull(strstr(status_message(), "--overwrite"));
    }
    forge("checkpoint-1", field[_i].offset, field[_i].last);
    must(small_run_again(&out));
    ck_assert_uint_lt(out.best_phase, small_run.run.phases);
}
END_TEST

/* Trains in a process of its own, which dies in an evaluation, before the model of that one is kept. */
static void train_until_killed(int evaluation)
{
    int how;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct distill_outcome out;
        small_run.evaluations = 0;
        small_run.kill_at = evaluation;
        _exit(distill_train(&out, &small_run.weights, &small_run.run));
    }
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

START_TEST(a_run_killed_before_its_first_regular_checkpoint_goes_on_to_the_same_result)
{
    struct distill_outcome whole, resumed;
    small_run.run.checkpoint_steps = 1000;
    must(small_run_again(&whole));
    uint64_t first = small_run_digest();
    small_run_folder("killed");
    distill_weights_random(&small_run.weights, 3);
    train_until_killed(2); /* the model of the first evaluation is in the folder */
    must(small_run_again(&resumed));
    ck_assert(first == small_run_digest());
    ck_assert_double_eq(whole.best, resumed.best);
    ck_assert_uint_eq(whole.best_step, resumed.best_step);
}
END_TEST

static void change(int what)
{
    switch (what) {
    case 0:
        small_run.run.phase[0].rate.peak *= 2;
        break;
    case 1:
        small_run.weights.config.softmax_c = 4;
        break;
    case 2:
        small_run.weights.config.layer_norm_eps = 1e-5f;
        break;
    case 3:
        strcpy(small_run.weights.config.label[0], "nay");
        break;
    case 4:
        small_run.run.metric = "F1";
        break;
    case 5:
        small_run_write("vocab.txt", "a\nc\n");
        break;
    default:
        distill_threads_set(2);
    }
}

START_TEST(a_checkpoint_of_other_options_is_refused)
{
    struct distill_outcome out;
    char vocabulary[FILES_PATH_BYTES];
    snprintf(vocabulary, sizeof vocabulary, "%s", small_run_path("vocab.txt"));
    small_run_write("vocab.txt", "a\nb\n");
    small_run.run.vocabulary = vocabulary;
    small_run.weights.config.attention = MODEL_2QUAD;
    small_run.stop_at = 1;
    ck_assert_int_eq(small_run_again(&out), STATUS_STOPPED);
    small_run.stop_at = -1;
    change(_i);
    if (_i == 6 && distill_threads() == 1)
        return; /* a build without OpenMP has no other number */
    ck_assert_msg(small_run_again(&out) == STATUS_FOREIGN, "change %d is not seen", _i);
    ck_assert(_i < 6 || strstr(status_message(), "--threads 1") != NULL);
}
END_TEST

START_TEST(a_finished_model_is_not_overwritten_unasked)
{
    struct distill_outcome out;
    must(small_run_again(&out));
    ck_assert_int_eq(small_run_again(&out), STATUS_INPUT);
    small_run.run.overwrite = true;
    must(small_run_again(&out));
}
END_TEST

START_TEST(starting_over_removes_the_model_before_the_first_step)
{
    struct distill_outcome out;
    must(small_run_again(&out));
    small_run.run.overwrite = true;
    small_run.stop = 1; /* after the first step, and before an evaluation */
    ck_assert_int_eq(distill_train(&out, &small_run.weights, &small_run.run), STATUS_STOPPED);
    ck_assert(!files_exist(small_run_path("out/config.json")) &&
              !files_exist(small_run_path("out/model.safetensors")));
}
END_TEST

START_TEST(what_a_kill_left_of_a_checkpoint_goes_with_it)
{
    static const char *const names[] = {"out/checkpoint-0", "out/checkpoint-1", "out/checkpoint-0.tmp",
                                        "out/checkpoint-1.tmp"};
    must(files_make_folder(small_run.run.folder));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        FILE *file = fopen(small_run_path(names[i]), "w");
        ck_assert(file != NULL && fclose(file) == 0);
    }
    distill_checkpoint_remove(small_run.run.folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(!files_exist(small_run_path(names[i])), "%s", names[i]);
}
END_TEST

START_TEST(a_folder_in_which_another_process_trains_is_refused)
{
    struct distill_outcome out;
    must(files_make_folder(small_run.run.folder));
    int other = open(small_run.run.folder, O_RDONLY);
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    ck_assert_int_eq(small_run_again(&out), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "another process"));
    close(other);
    must(small_run_again(&out));
}
END_TEST

/* The log goes missing, or is shorter than the checkpoint says: a run goes on all the same. */
START_TEST(a_log_that_is_gone_or_short_does_not_stop_a_run)
{
    struct distill_outcome out;
    small_run.stop_at = 2;
    ck_assert_int_eq(small_run_again(&out), STATUS_STOPPED);
    small_run.stop_at = -1;
    const char *log = small_run_path("out/log.tsv");
    ck_assert_int_eq(_i < 0 ? unlink(log) : truncate(log, _i), 0);
    must(small_run_again(&out));
    ck_assert_uint_eq(small_run_count("log.tsv", "phase\tepoch"), 1);
    char *text;
    size_t size;
    must(files_read(&text, &size, small_run_path("out/log.tsv"), 1 << 20));
    ck_assert_uint_eq(strlen(text), size); /* no zeros */
    free(text);
}
END_TEST

START_TEST(a_full_disk_leaves_the_last_good_checkpoint)
{
    struct distill_outcome out;
    struct distill_adamw adamw;
    struct distill_position position = {.step = 7}, found;
    unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES] = {1};
    (void)out;
    must(files_make_folder(small_run.run.folder));
    must(distill_adamw_init(&adamw, &small_run.weights));
    ck_assert_int_ne(
        distill_checkpoint_write("/dev/null/none", &position, fingerprint, &small_run.weights, &adamw),
        STATUS_OK);
    ck_assert_ptr_nonnull(strstr(status_message(), "there is none before it"));
    must(distill_checkpoint_write(small_run.run.folder, &position, fingerprint, &small_run.weights, &adamw));
    struct rlimit limit = {8192, RLIM_INFINITY}; /* stands in for the disk's end */
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    position.step = 8;
    for (int i = 0; i < 2; i++)
        ck_assert_int_ne(distill_checkpoint_write(small_run.run.folder, &position, fingerprint,
                                                  &small_run.weights, &adamw),
                         STATUS_OK);
    ck_assert_ptr_nonnull(strstr(status_message(), "the one before it is kept"));
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    const struct distill_reach reach = {.phases = 1, .steps = (const uint64_t[]){8}};
    must(distill_checkpoint_read(small_run.run.folder, &found, fingerprint, &reach, &small_run.weights,
                                 &adamw));
    ck_assert_uint_eq(found.step, 7);
    distill_adamw_clear(&adamw);
}
END_TEST

START_TEST(a_first_stage_with_its_teacher_in_memory_goes_on_to_the_same_result)
{
    struct distill_outcome out;
    uint64_t whole, resumed;
    small_run_teacher();
    small_run.run.phases = 1;
    small_run_first_stage(1 << 20, "whole", &whole);
    small_run_folder("parts");
    small_run.stop = 1; /* after the first step */
    small_run_student(MODEL_QUAD, MODEL_2QUAD, true);
    ck_assert_int_eq(distill_train(&out, &small_run.weights, &small_run.run), STATUS_STOPPED);
    small_run.stop = 0;
    small_run_first_stage(1 << 20, "parts", &resumed);
    ck_assert(whole == resumed);
}
END_TEST

START_TEST(a_distillation_stopped_in_its_second_stage_goes_on_to_the_same_result)
{
    struct distill_outcome out;
    small_run_teacher();
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &small_run.weights, &small_run.run));
    uint64_t first = small_run_digest();
    small_run_folder("again");
    small_run.evaluations = 0;
    small_run.stop_at = 2; /* only the second stage measures, first what the stage before leaves */
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    ck_assert_int_eq(distill_train(&out, &small_run.weights, &small_run.run), STATUS_STOPPED);
    small_run.stop = 0;
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &small_run.weights, &small_run.run));
    ck_assert(first == small_run_digest());
}
END_TEST

START_TEST(a_distillation_killed_in_its_second_stage_does_not_repeat_the_first)
{
    struct distill_outcome out;
    small_run_teacher();
    small_run.run.checkpoint_steps = 1000;
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &small_run.weights, &small_run.run));
    uint64_t first = small_run_digest();
    small_run_folder("killed");
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    train_until_killed(2); /* the first measures what the layers' stage leaves */
    char *checkpoint;
    size_t size;
    struct distill_position at;
    must(files_read(&checkpoint, &size, small_run_path("killed/checkpoint-0"), 1 << 20));
    memcpy(&at, checkpoint + 21 + DISTILL_FINGERPRINT_BYTES, sizeof at);
    free(checkpoint);
    ck_assert(at.generation == 2 && at.phase == 1 && at.step == 0);
    small_run_student(MODEL_QUAD, MODEL_2QUAD, false);
    small_run.evaluations = 0;
    must(distill_train(&out, &small_run.weights, &small_run.run));
    ck_assert(first == small_run_digest());
    ck_assert_uint_eq(small_run_count("log.tsv", "\nlayers\t6.0000\t144\t"),
                      2); /* its last row, and its evaluation */
    ck_assert_uint_eq(small_run_count("log.tsv", "\nlogits\t0.0000\t0\t"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resume");
    TCase *cases = tcase_create("loop");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, small_run_setup, small_run_teardown);
    tcase_add_test(cases, a_run_that_was_stopped_goes_on_to_the_same_result);
    tcase_add_test(cases, a_torn_checkpoint_is_passed_over_for_the_one_before_it);
    tcase_add_test(cases, checkpoints_are_for_their_owner_alone);
    tcase_add_test(cases, with_no_whole_checkpoint_a_run_says_so);
    tcase_add_loop_test(cases, a_position_that_the_run_cannot_have_is_refused, 0, 6);
    tcase_add_test(cases, a_run_killed_before_its_first_regular_checkpoint_goes_on_to_the_same_result);
    tcase_add_loop_test(cases, a_checkpoint_of_other_options_is_refused, 0, 7);
    tcase_add_test(cases, a_finished_model_is_not_overwritten_unasked);
    tcase_add_test(cases, what_a_kill_left_of_a_checkpoint_goes_with_it);
    tcase_add_test(cases, starting_over_removes_the_model_before_the_first_step);
    tcase_add_test(cases, a_folder_in_which_another_process_trains_is_refused);
    for (int length = -1; length < 200; length += 100) /* none, inside the heading, inside a row */
        tcase_add_loop_test(cases, a_log_that_is_gone_or_short_does_not_stop_a_run, length, length + 1);
    tcase_add_test(cases, a_full_disk_leaves_the_last_good_checkpoint);
    tcase_add_test(cases, a_first_stage_with_its_teacher_in_memory_goes_on_to_the_same_result);
    tcase_add_test(cases, a_distillation_stopped_in_its_second_stage_goes_on_to_the_same_result);
    tcase_add_test(cases, a_distillation_killed_in_its_second_stage_does_not_repeat_the_first);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
