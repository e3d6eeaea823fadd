/* The two commands on files a test can write: from an encoder to a teacher to a student, and what they
 * refuse. */
#include <check.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "distill/command.h"
#include "model/model.h"
#include "tests/model/folder.h"
#include "tests/run.h"

static const char *const words[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad",
                                    "film",  "a",     "the",   "plot",  "was",    "dull", "bright"};
#define WORDS (sizeof words / sizeof *words)

static void must(enum status status)
{
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
}

static const char *kept(const char *name)
{
    static char path[8][FILES_PATH_BYTES];
    static unsigned next;
    char *out = path[next++ % 8];
    must(files_join(out, folder, name));
    return out;
}

static void write_text(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
}

/* An encoder of random weights over the words above; the first of them may be another. */
static void write_encoder(const char *name, const char *first_word, bool with_head)
{
    struct model_config config = {.hidden = 16,
                                  .layers = 1,
                                  .heads = 2,
                                  .ffn = 32,
                                  .vocabulary = WORDS,
                                  .positions = 32,
                                  .types = 2,
                                  .labels = 2,
                                  .layer_norm_eps = 1e-12f,
                                  .softmax_c = 5,
                                  .dropout = 0.1f,
                                  .attention_dropout = 0.1f,
                                  .lower_case = true,
                                  .label = {"negative", "positive"}};
    char vocabulary[512] = "";
    struct model model;
    for (size_t i = 0; i < WORDS; i++) {
        strcat(vocabulary, i == WORDS - 1 ? first_word : words[i]);
        strcat(vocabulary, "\n");
    }
    write_text("words.txt", vocabulary);
    must(model_allocate(&model, &config, with_head));
    unsigned drawn = 1;
    float *all[] = {model.word,
                    model.position,
                    model.layer[0].query_w,
                    model.layer[0].value_w,
                    model.layer[0].ffn1_w,
                    model.layer[0].ffn2_w,
                    model.layer[0].output_w};
    size_t size[] = {WORDS * 16, 32 * 16, 256, 256, 512, 512, 256};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (size_t j = 0; j < size[i]; j++)
            all[i][j] = (float)((drawn = drawn * 1664525u + 1013904223u) >> 8) / (float)(1 << 24) - 0.5f;
    for (int i = 0; i < 16; i++)
        model.norm_g[i] = model.layer[0].norm1_g[i] = model.layer[0].norm2_g[i] = 1;
    must(model_write(&model, kept(name), MODEL_F32, kept("words.txt")));
    model_clear(&model);
}

static void write_data(const char *name, size_t rows)
{
    char text[16384] = "sentence\tlabel\n";
    for (size_t i = 0; i < rows; i++) {
        char line[128];
        snprintf(line, sizeof line, "%s %s was %s\t%zu\n", i % 3 ? "the" : "a", i % 5 ? "film" : "plot",
                 i % 2 ? "good" : "bad", i % 2);
        strcat(text, line);
    }
    write_text(name, text);
}

static const char *task, *epochs, *second_option;

static void setup(void)
{
    folder_setup();
    task = "sst-2";
    epochs = "6";
    second_option = "--quiet";
    must(files_make_folder(kept("base")));
    write_encoder("base", "bright", false);
    write_data("train.tsv", 120);
    write_data("dev.tsv", 20);
}

static int finetune(const char *model, const char *train, const char *dev, const char *out)
{
    const char *argv[] = {"finetune",  "--model", kept(model), "--task",  task,      "--train",
                          kept(train), "--dev",   kept(dev),   "--out",   kept(out), "--epochs",
                          epochs,      "--rate",  "5e-3",      "--batch", "8",       "--length",
                          "16",        "--quiet", "--threads", "1",       NULL};
    return command_finetune((int)(sizeof argv / sizeof *argv) - 1, (char **)argv);
}

static int distill(const char *teacher, const char *from, const char *out, const char *option)
{
    const char *argv[] = {"distill",
                          "--teacher",
                          kept(teacher),
                          "--task",
                          "sst-2",
                          "--train",
                          kept("train.tsv"),
                          "--dev",
                          kept("dev.tsv"),
                          "--out",
                          kept(out),
                          "--epochs-1",
                          "4",
                          "--rate-1",
                          "1e-3",
                          "--epochs-2",
                          "3",
                          "--rate-2",
                          "1e-3",
                          "--batch",
                          "8",
                          "--length",
                          "16",
                          "--quiet",
                          "--threads",
                          "1",
                          option,
                          second_option,
                          "--from",
                          strcmp(from, "teacher") == 0 || strcmp(from, "scratch") == 0 ? from : kept(from),
                          NULL};
    return command_distill((int)(sizeof argv / sizeof *argv) - 1, (char **)argv);
}

static void message_has(const char *text)
{
    ck_assert_msg(strstr(status_message(), text) != NULL, "'%s' is not in: %s", text, status_message());
}

START_TEST(an_encoder_becomes_a_teacher_and_then_a_student)
{
    struct model model;
    ck_assert_msg(finetune("base", "train.tsv", "dev.tsv", "teacher") == 0, "%s", status_message());
    ck_assert_msg(distill("teacher", "teacher", "student", "--learned-quad") == 0, "%s", status_message());
    must(model_read(&model, kept("student")));
    ck_assert(model.config.activation == MODEL_QUAD && model.config.attention == MODEL_2QUAD);
    ck_assert(model.config.learned_quad && !model.config.learned_c);
    ck_assert_str_eq(model.config.label[1], "positive");
    model_clear(&model);
    ck_assert(files_exist(kept("student/log.tsv")) && files_exist(kept("student/curves.svg")));
    ck_assert(!files_exist(kept("student/checkpoint-0")) && !files_exist(kept("student/checkpoint-1")));
    second_option = "--learned-quad";
    ck_assert_msg(distill("teacher", "student", "further", "--learned-c") == 0, "%s", status_message());
    second_option = "--quiet";
    ck_assert_msg(distill("teacher", "scratch", "ablation", "--no-distill") == 0, "%s", status_message());
}
END_TEST

static long size_of(const char *name)
{
    struct stat file;
    ck_assert_int_eq(stat(kept(name), &file), 0);
    return (long)file.st_size;
}

START_TEST(texts_without_labels_are_learned_from)
{
    write_text("more.tsv", "sentence\nthe plot was good\nthe film was bad\n");
    ck_assert_int_eq(finetune("base", "train.tsv", "dev.tsv", "teacher"), 0);
    char own[FILES_PATH_BYTES + 16], other[FILES_PATH_BYTES + 32];
    snprintf(own, sizeof own, "--unlabelled=%s", kept("dev.tsv"));
    ck_assert_msg(distill("teacher", "teacher", "student", own) == 0, "%s", status_message());
    snprintf(other, sizeof other, "--unlabelled=tsv:%s", kept("more.tsv"));
    ck_assert_msg(distill("teacher", "teacher", "student-2", other) == 0, "%s", status_message());
    ck_assert_int_eq(distill("teacher", "teacher", "student-3", "--unlabelled=missing.tsv"), 1);
    message_has("missing.tsv");
    write_text("more.tsv", "sentence\n");
    ck_assert_int_eq(distill("teacher", "teacher", "student-4", other), 1);
    message_has("has no rows");
}
END_TEST

START_TEST(a_student_in_half_precision_takes_half_the_room)
{
    struct model single, half;
    ck_assert_msg(finetune("base", "train.tsv", "dev.tsv", "teacher") == 0, "%s", status_message());
    ck_assert_msg(distill("teacher", "teacher", "single", "--save=f32") == 0, "%s", status_message());
    ck_assert_msg(distill("teacher", "teacher", "half", "--save=f16") == 0, "%s", status_message());
    must(model_read(&single, kept("single")));
    must(model_read(&half, kept("half")));
    ck_assert_int_lt(2 * size_of("half/model.safetensors") - size_of("single/model.safetensors"), 4096);
    for (size_t i = 0; i < WORDS * 16; i++)
        ck_assert_float_eq_tol(half.word[i], single.word[i], 1e-3f);
    model_clear(&single);
    model_clear(&half);
}
END_TEST

START_TEST(a_label_the_task_does_not_have_is_named)
{
    write_text("odd.tsv", "sentence\tlabel\na good film\t1\na bad film\t7\n");
    ck_assert_int_eq(finetune("base", "odd.tsv", "dev.tsv", "teacher"), 1);
    message_has("odd.tsv");
    message_has("3");
    message_has("7");
}
END_TEST

START_TEST(a_label_of_the_development_file_that_the_training_file_lacks_is_named_with_its_line)
{
    static const char *const dev[] = {"sentence\tlabel\nthe film\tspam\na plot\teggs\n",
                                      "sentence\tlabel\n\nthe film\tgood\na plot\tbad\n",
                                      "sentence\tlabel\n\nthe film\t0\na plot\t1\n"};
    task = "tsv";
    write_text("own.tsv", "sentence\tlabel\na good film\tham\na bad film\tspam\n");
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++) {
        write_text("other.tsv", dev[i]);
        ck_assert_int_eq(finetune("base", "own.tsv", "other.tsv", "teacher"), 1);
        message_has("other.tsv: line 3");
        message_has("none of the training file's");
    }
    write_text("other.tsv", "sentence\tlabel\nthe film\tspam\n"); /* some of them are enough */
    ck_assert_msg(finetune("base", "own.tsv", "other.tsv", "teacher") == 0, "%s", status_message());
}
END_TEST

START_TEST(a_table_of_a_single_class_is_refused)
{
    task = "tsv";
    write_text("own.tsv", "sentence\tlabel\na good film\tgood\na fine film\tgood\n");
    ck_assert_int_eq(finetune("base", "own.tsv", "own.tsv", "teacher"), 1);
    message_has("own.tsv");
    message_has("at least two");
    write_text("own.tsv", "sentence\tlabel\na good film\t1\na fine film\t1\n");
    ck_assert_int_eq(finetune("base", "own.tsv", "own.tsv", "teacher"), 1);
    message_has("at least two");
}
END_TEST

START_TEST(a_file_without_examples_is_refused)
{
    write_text("empty.tsv", "");
    write_text("heading.tsv", "sentence\tlabel\n");
    ck_assert_int_eq(finetune("base", "empty.tsv", "dev.tsv", "teacher"), 1);
    message_has("empty.tsv");
    ck_assert_int_eq(finetune("base", "train.tsv", "heading.tsv", "teacher"), 1);
    message_has("heading.tsv");
    ck_assert_int_eq(finetune("base", "missing.tsv", "dev.tsv", "teacher"), 1);
    message_has("missing.tsv");
}
END_TEST

START_TEST(a_teacher_with_another_vocabulary_is_refused)
{
    must(files_make_folder(kept("one")));
    must(files_make_folder(kept("other")));
    write_encoder("one", "bright", true);
    write_encoder("other", "brilliant", true);
    ck_assert_int_eq(distill("one", "other", "student", "--quiet"), 1);
    message_has("vocab.txt");
    message_has("same vocabulary");
}
END_TEST

START_TEST(a_student_goes_on_from_what_another_has)
{
    struct model model;
    ck_assert_msg(finetune("base", "train.tsv", "dev.tsv", "teacher") == 0, "%s", status_message());
    ck_assert_msg(distill("teacher", "teacher", "fixed", "--c=4") == 0, "%s", status_message());
    second_option = "--rate-c=0";
    ck_assert_msg(distill("teacher", "fixed", "learned", "--learned-c") == 0, "%s", status_message());
    must(model_read(&model, kept("learned")));
    ck_assert_float_eq(model.config.softmax_c, 4);
    ck_assert_float_eq(model.layer[0].quad_c[1], 4);
    model_clear(&model);
    ck_assert_int_eq(distill("teacher", "learned", "student", "--quiet"), 1);
    message_has("--learned-c");
    ck_assert_msg(distill("teacher", "fixed", "other", "--c=3") == 0, "%s", status_message());
    must(model_read(&model, kept("other")));
    ck_assert_float_eq(model.config.softmax_c, 3);
    model_clear(&model);
}
END_TEST

START_TEST(a_student_of_other_letters_or_labels_is_no_beginning)
{
    struct model model;
    must(files_make_folder(kept("one")));
    must(files_make_folder(kept("other")));
    write_encoder("one", "bright", true);
    must(model_read(&model, kept("one")));
    model.config.lower_case = false;
    must(model_write(&model, kept("other"), MODEL_F32, kept("words.txt")));
    ck_assert_int_eq(distill("one", "other", "student", "--quiet"), 1);
    message_has("do_lower_case");
    model.config.lower_case = true;
    model.config.ideographs_joined = true;
    must(model_write(&model, kept("other"), MODEL_F32, kept("words.txt")));
    ck_assert_int_eq(distill("one", "other", "student", "--quiet"), 1);
    message_has("tokenize_chinese_chars");
    model.config.ideographs_joined = false;
    strcpy(model.config.label[0], "positive");
    strcpy(model.config.label[1], "negative");
    must(model_write(&model, kept("other"), MODEL_F32, kept("words.txt")));
    ck_assert_int_eq(distill("one", "other", "student", "--quiet"), 1);
    message_has("another order");
    model_clear(&model);
}
END_TEST

START_TEST(an_input_is_never_the_output_folder)
{
    must(files_make_folder(kept("one")));
    write_encoder("one", "bright", true);
    ck_assert_int_eq(symlink(kept("one"), kept("same")), 0);
    ck_assert_int_eq(distill("one", "teacher", "same", "--overwrite"), 1);
    message_has("--teacher");
    ck_assert_int_eq(distill("one", "same", "one", "--overwrite"), 1);
    ck_assert_int_eq(finetune("one", "train.tsv", "dev.tsv", "same"), 1);
    message_has("--model");
    must(files_make_folder(kept("two")));
    ck_assert_int_eq(distill("one", "two", "two", "--overwrite"), 1);
    message_has("--from");
    ck_assert(files_exist(kept("one/model.safetensors")));
}
END_TEST

START_TEST(a_rate_that_is_too_large_is_named_by_its_option)
{
    struct model model;
    must(files_make_folder(kept("one")));
    write_encoder("one", "bright", true);
    must(model_read(&model, kept("one")));
    for (size_t i = 0; i < 512; i++)
        model.layer[0].ffn1_w[i] *= 1e30f; /* its square is no float */
    must(model_write(&model, kept("one"), MODEL_F32, NULL));
    model_clear(&model);
    ck_assert_int_eq(distill("one", "teacher", "student", "--quiet"), 1);
    ck_assert_msg(strstr(status_message(), "a smaller --rate-1 helps, with --overwrite") != NULL, "%s",
                  status_message());
    ck_assert_ptr_null(strstr(status_message(), "best model"));
}
END_TEST

/* The first checkpoint is written before the first step of very many. */
START_TEST(a_run_stopped_by_a_signal_ends_with_130)
{
    int how;
    epochs = "10000";
    second_option = "--epochs-1=10000";
    must(files_make_folder(kept("one")));
    write_encoder("one", "bright", true);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(_i == 0 ? finetune("one", "train.tsv", "dev.tsv", "stopped")
                      : distill("one", "teacher", "stopped", "--quiet"));
    while (!files_exist(kept("stopped/checkpoint-1")) && waitpid(child, &how, WNOHANG) == 0)
        usleep(1000);
    ck_assert_int_eq(kill(child, _i == 0 ? SIGINT : SIGTERM), 0);
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert(WIFEXITED(how));
    ck_assert_int_eq(WEXITSTATUS(how), 130);
    ck_assert(files_exist(kept("stopped/checkpoint-1")));
}
END_TEST

START_TEST(a_teacher_without_a_classifier_is_refused)
{
    ck_assert_int_eq(distill("base", "teacher", "student", "--quiet"), 1);
    message_has("no classifier");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("commands");
    TCase *cases = tcase_create("commands");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, setup, folder_teardown);
    tcase_add_test(cases, an_encoder_becomes_a_teacher_and_then_a_student);
    tcase_add_test(cases, texts_without_labels_are_learned_from);
    tcase_add_test(cases, a_student_in_half_precision_takes_half_the_room);
    tcase_add_test(cases, a_label_the_task_does_not_have_is_named);
    tcase_add_test(cases,
                   a_label_of_the_development_file_that_the_training_file_lacks_is_named_with_its_line);
    tcase_add_test(cases, a_table_of_a_single_class_is_refused);
    tcase_add_test(cases, a_file_without_examples_is_refused);
    tcase_add_test(cases, a_teacher_with_another_vocabulary_is_refused);
    tcase_add_test(cases, a_student_goes_on_from_what_another_has);
    tcase_add_test(cases, a_student_of_other_letters_or_labels_is_no_beginning);
    tcase_add_test(cases, an_input_is_never_the_output_folder);
    tcase_add_test(cases, a_rate_that_is_too_large_is_named_by_its_option);
    tcase_add_loop_test(cases, a_run_stopped_by_a_signal_ends_with_130, 0, 2);
    tcase_add_test(cases, a_teacher_without_a_classifier_is_refused);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
