#include "tests/model/folder.h"

#include <math.h>

#include "model/task.h"
#include "model/tokenizer.h"
#include "tests/run.h"

static struct task_data data;

static void setup(void)
{
    folder_setup();
}

static void teardown(void)
{
    task_data_clear(&data);
    folder_teardown();
}

static enum status read_text(const char *task, const char *text)
{
    const struct task *found = task_find(task);
    ck_assert_ptr_nonnull(found);
    task_data_clear(&data);
    folder_write_text("data.tsv", text);
    return task_read(&data, found, folder_path("data.tsv"));
}

static void assert_example(size_t index, const char *text, const char *pair, uint32_t label)
{
    ck_assert_uint_lt(index, data.count);
    ck_assert_str_eq(data.example[index].text, text);
    ck_assert_int_eq(data.example[index].pair != NULL, pair != NULL);
    if (pair)
        ck_assert_str_eq(data.example[index].pair, pair);
    ck_assert_uint_eq(data.example[index].label, label);
}

START_TEST(every_task_reads_its_own_file)
{
    ck_assert_works(read_text("sst-2", "sentence\tlabel\nit 's \"good\" \t1\nbad \t0\n"));
    assert_example(0, "it 's \"good\" ", NULL, 1);
    ck_assert_works(read_text("cola", "gj04\t1\t\tThe boat sank.\ngj04\t0\t*\tSank boat the."));
    assert_example(1, "Sank boat the.", NULL, 0);
    ck_assert_works(read_text(
        "mrpc", "\xef\xbb\xbfQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\t\" a\tb \"\r\n"));
    assert_example(0, "\" a", "b \"", 1);
    ck_assert_works(read_text(
        "rte", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n1\tc\td\tentailment\n"));
    assert_example(0, "a", "b", 1);
    assert_example(1, "c", "d", 0);
    ck_assert_works(read_text("qnli", "index\tquestion\tsentence\tlabel\n0\ta?\tb\tentailment\n"));
    assert_example(0, "a?", "b", 0);
    ck_assert_works(read_text(
        "mnli", "index\tsentence1\tx\tsentence2\tlabel1\tgold_label\n0\ta\t\tb\tneutral\tcontradiction\n"));
    assert_example(0, "a", "b", 2);
    ck_assert_uint_eq(data.labels, 3);
    ck_assert_works(
        read_text("qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t1\n1\t2\n"));
    assert_example(0, "a", "b", 1);
    ck_assert_uint_eq(data.skipped, 1);
    ck_assert_works(read_text("imdb", "label\trating\tid\ttext\n0\t4\t9\tbad film\n"));
    assert_example(0, "bad film", NULL, 0);
}
END_TEST

START_TEST(sts_b_is_a_regression)
{
    ck_assert_works(read_text("sts-b", "index\tsentence1\tsentence2\tscore\n0\ta\tb\t3.750\n1\ta\tb\t5\n"));
    ck_assert(data.regression);
    ck_assert_uint_eq(data.labels, 1);
    ck_assert(data.example[0].score == 3.75f);
    ck_assert_fails(read_text("sts-b", "sentence1\tsentence2\tscore\na\tb\t5.1\n"), STATUS_INPUT, "line 2",
                    "5.1");
    ck_assert_fails(read_text("sts-b", "sentence1\tsentence2\tscore\na\tb\tnan\n"), STATUS_INPUT, "line 2",
                    "nan");
    ck_assert_fails(read_text("sts-b", "sentence1\tsentence2\tscore\na\tb\t\n"), STATUS_INPUT, "line 2");
}
END_TEST

START_TEST(bad_rows_are_named_by_line)
{
    ck_assert_fails(read_text("sst-2", "sentence\tlabel\ngood\t1\n\nbad\t2\n"), STATUS_INPUT, "data.tsv",
                    "line 4", "\"2\"", "0 or 1");
    ck_assert_fails(read_text("sst-2", "sentence\tlabel\ngood\t1\nbad\n"), STATUS_INPUT, "line 3",
                    "1 column;", "2");
    ck_assert_fails(read_text("rte", "sentence1\tsentence2\tlabel\na\tb\tmaybe\n"), STATUS_INPUT, "line 2",
                    "maybe", "entailment, not_entailment");
    ck_assert_fails(read_text("mnli", "sentence1\tsentence2\tgold_label\na\tb\t-\n"), STATUS_INPUT, "line 2",
                    "or contradiction");
    ck_assert_fails(read_text("rte", "sentence1\tlabel\na\tentailment\n"), STATUS_INPUT, "\"sentence2\"",
                    "rte");
    ck_assert_fails(read_text("sst-2", "a long sentence of secrets and more\tb\n"), STATUS_INPUT,
                    "\"sentence\"");
    ck_assert_fails(read_text("cola", "x\ta long sentence of secrets and more\t\ty\n"), STATUS_INPUT,
                    "line 1", "a longer text");
    ck_assert_ptr_null(data.example);
}
END_TEST

START_TEST(files_that_hold_no_text_are_refused)
{
    char path[FILES_PATH_BYTES];
    ck_assert_fails(read_text("sst-2", ""), STATUS_INPUT, "empty");
    ck_assert_fails(read_text("sst-2", "\xef\xbb\xbf"), STATUS_INPUT, "empty");
    ck_assert_fails(read_text("sst-2", "sentence\tlabel\n"), STATUS_INPUT, "no rows");
    ck_assert_fails(read_text("tsv", "sentence\tlabel\n"), STATUS_INPUT, "no rows");
    ck_assert_fails(read_text("tsv", "\n\n"), STATUS_INPUT, "no rows");
    ck_assert_fails(read_text("imdb", "\xfd"
                                      "7zXZ"),
                    STATUS_INPUT, "compressed", "xz -dk");
    folder_write("zero.tsv", "a\0b", 3);
    snprintf(path, sizeof path, "%s", folder_path("zero.tsv"));
    ck_assert_fails(task_read(&data, task_find("tsv"), path), STATUS_INPUT, "zero bytes");
    ck_assert_fails(task_read(&data, task_find("tsv"), folder), STATUS_INPUT, "not an ordinary file");
    ck_assert_fails(task_read(&data, task_find("tsv"), "/nowhere"), STATUS_INPUT, "/nowhere", "no such file");
    ck_assert_ptr_null(task_find("sst2"));
    ck_assert_ptr_nonnull(strstr(task_names(), "sts-b"));
}
END_TEST

START_TEST(an_own_table_says_in_its_header_what_it_holds)
{
    ck_assert_works(read_text("tsv", "label\tsentence\n2\ta\n0\tb\n"));
    assert_example(0, "a", NULL, 2);
    ck_assert_uint_eq(data.labels, 3);
    ck_assert_works(read_text("tsv", "sentence1\tsentence2\tlabel\na\tb\tspam\nc\td\tham\n"));
    assert_example(0, "a", "b", 1);
    assert_example(1, "c", "d", 0);
    ck_assert_str_eq(data.label[0], "ham");
    ck_assert_works(read_text("tsv", "text\tscore\na\t-1.5\n"));
    ck_assert(data.regression && data.labelled && data.example[0].score == -1.5f);
    ck_assert_works(read_text("tsv", "just a text\nfirst\tsecond\r\nlast"));
    ck_assert(!data.labelled);
    ck_assert_uint_eq(data.count, 3);
    assert_example(0, "just a text", NULL, 0);
    assert_example(1, "first", "second", 0);
    assert_example(2, "last", NULL, 0);
    ck_assert_fails(read_text("tsv", "label\treview\n1\tx\n"), STATUS_INPUT, "sentence");
    ck_assert_fails(read_text("tsv", "text\tscore\na\tx\n"), STATUS_INPUT, "line 2", "score");
    ck_assert_fails(read_text("tsv", "text\tlabel\na\t\n"), STATUS_INPUT, "line 2", "label");
    ck_assert_fails(read_text("tsv", "text\tlabel\na\n"), STATUS_INPUT, "line 2", "1 column;");
    ck_assert_works(read_text("tsv", "Sentence\tLABEL\na\t x y \nb\tx y\n \t \nc\tz\n"));
    ck_assert(data.labelled && data.count == 3 && data.labels == 2);
    ck_assert_str_eq(data.label[0], "x y");
    ck_assert_fails(read_text("tsv", "text\tlabel\na\tYes\nb\tyes\n"), STATUS_INPUT, "line 3", "case");
    char *wide = calloc(1, 4100);
    strcpy(wide, "text\tlabel\t");
    memset(wide + strlen(wide), 'x', 4000);
    strcat(wide, "\na\t1\tx\nb\t0\tx\n");
    ck_assert_works(read_text("tsv", wide));
    free(wide);
    ck_assert(data.labelled && data.count == 2);
}
END_TEST

static enum status fit_text(const char *text, const struct model_config *config)
{
    const enum status status = read_text("tsv", text);
    return status ? status : task_data_fit(&data, config);
}

START_TEST(labels_of_an_own_table_are_the_models_or_numbers)
{
    static const char *const refused[] = {"text\tlabel\na\tfavourable\nb\tunfavourable\n",
                                          "text\tlabel\na\tpositive\nb\tunfavourable\n",
                                          "text\tlabel\na\t0\nb\t3\n"};
    struct model_config config = small_config();
    bool seen[MODEL_LABELS_MAX];
    strcpy(config.label[0], "negative");
    strcpy(config.label[1], "positive");
    strcpy(config.label[2], "Positive");
    ck_assert_fails(fit_text(refused[0], &config), STATUS_INPUT, "favourable", "negative, positive, ...");
    ck_assert_fails(fit_text(refused[1], &config), STATUS_INPUT, "unfavourable");
    ck_assert_fails(fit_text(refused[2], &config), STATUS_INPUT, "4 labels", "3");
    ck_assert_works(fit_text("text\tlabel\na\t2\nb\t0\n", &config));
    ck_assert_uint_eq(data.example[0].label, 2);
    /* As they are spelt before in another case; and what does not occur need not be known. */
    ck_assert_works(fit_text("text\tlabel\na\tPositive\n", &config));
    ck_assert_uint_eq(data.example[0].label, 2);
    for (int i = 0; i < 3; i++)
        snprintf(config.label[i], MODEL_LABEL_BYTES, "%d", i + 1);
    ck_assert_works(read_text("tsv", "text\tlabel\na\t3\nb\t1\nc\t3\n"));
    ck_assert_uint_eq(task_data_seen(&data, seen), 2);
    ck_assert(!seen[0] && seen[1] && !seen[2] && seen[3]);
    ck_assert_works(task_data_fit(&data, &config));
    ck_assert_uint_eq(data.example[0].label, 2);
    ck_assert_uint_eq(data.example[1].label, 0);
}
END_TEST

START_TEST(a_label_that_is_not_printable_utf_8_is_refused_with_its_line)
{
    static const char *const bad[] = {"sch\xf6n",
                                      "\xc3",
                                      "\xed\xa0\x80",
                                      "\xc0\xafx",
                                      "\xf5\x80\x80\x80",
                                      "a\x1b[31m",
                                      "a\x7f",
                                      "a\xc2\x9b[31m"};
    char text[128];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "text\tlabel\na\tgood\nb\t%s\n", bad[i]);
        ck_assert_fails(read_text("tsv", text), STATUS_INPUT, "data.tsv", "line 3", "UTF-8");
    }
    ck_assert_works(read_text("tsv", "text\tlabel\na\tsch\xc3\xb6n\nb\t\xf0\x9f\x98\x80\n"));
    ck_assert_str_eq(data.label[0], "sch\xc3\xb6n");
}
END_TEST

START_TEST(a_65th_label_is_refused)
{
    char text[4096] = "text\tlabel\n";
    for (int i = 0; i < 65; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "x\tname%d\n", i);
    ck_assert_fails(read_text("tsv", text), STATUS_INPUT, "line 66", "64");
    *strrchr(text, 'x') = 0;
    ck_assert_works(read_text("tsv", text));
    ck_assert_uint_eq(data.labels, 64);
}
END_TEST

START_TEST(classes_are_numbered_as_the_model_does)
{
    struct model_config config = small_config();
    const char *text = "sentence1\tsentence2\tgold_label\na\tb\tcontradiction\na\tb\tneutral\n";
    ck_assert_works(read_text("mnli", text));
    ck_assert_works(task_data_fit(&data, &config)); /* LABEL_0 ...: the task's order */
    ck_assert_uint_eq(data.example[0].label, 2);
    strcpy(config.label[0], "CONTRADICTION");
    strcpy(config.label[1], "entailment");
    strcpy(config.label[2], "Neutral");
    ck_assert_works(read_text("mnli", text));
    ck_assert_works(task_data_fit(&data, &config));
    ck_assert_uint_eq(data.example[0].label, 0);
    ck_assert_uint_eq(data.example[1].label, 2);
    strcpy(config.label[2], "other");
    ck_assert_works(read_text("mnli", text));
    ck_assert_fails(task_data_fit(&data, &config), STATUS_INPUT, "neutral");
    config.labels = 2;
    ck_assert_fails(task_data_fit(&data, &config), STATUS_INPUT, "3 labels", "2");
    config.labels = 1;
    config.regression = true;
    ck_assert_fails(task_data_fit(&data, &config), STATUS_INPUT, "classes", "a score");
}
END_TEST

START_TEST(the_shared_files_have_the_rows_they_should)
{
    static const struct {
        const char *task, *path;
        size_t rows;
    } files[] = {
        {"sst-2", "SST-2/train.tsv", 67349}, {"sst-2", "SST-2/dev.tsv", 872},
        {"cola", "CoLA/train.tsv", 8551},    {"cola", "CoLA/dev.tsv", 1043},
        {"mrpc", "MRPC/train.tsv", 3667},    {"mrpc", "MRPC/dev.tsv", 408},
        {"rte", "RTE/train.tsv", 2490},      {"rte", "RTE/dev.tsv", 277},
        {"sts-b", "STS-B/train.tsv", 5749},  {"sts-b", "STS-B/dev.tsv", 1500},
        {"qnli", "QNLI/dev.tsv", 5463},
    };
    char base[FILES_PATH_BYTES], path[FILES_PATH_BYTES];
    ck_assert_works(files_join(base, getenv("TREFOIL_SHARED"), "data/glue"));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        task_data_clear(&data);
        ck_assert_works(files_join(path, base, files[i].path));
        ck_assert_works(task_read(&data, task_find(files[i].task), path));
        ck_assert_uint_eq(data.count, files[i].rows);
        ck_assert_uint_eq(data.skipped, 0);
    }
}
END_TEST

START_TEST(sst_2_development_sentences_have_the_ids_of_the_demos_reference)
{
    char path[FILES_PATH_BYTES], *line = NULL;
    size_t capacity = 0;
    struct tokenizer *tokenizer;
    struct tokens tokens = {0};
    ck_assert_works(files_join(path, getenv("TREFOIL_SHARED"), "data/glue/SST-2/dev.tsv"));
    ck_assert_works(task_read(&data, task_find("sst-2"), path));
    ck_assert_works(files_join(path, getenv("TREFOIL_SOURCE"), "models/sst2-tiny"));
    ck_assert_works(tokenizer_open(&tokenizer, path));
    ck_assert_works(files_join(path, getenv("TREFOIL_SOURCE"), "models/sst2-tiny/reference.tsv"));
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(getline(&line, &capacity, file), 0);
    for (size_t i = 0; i < data.count; i++) {
        ck_assert_int_gt(getline(&line, &capacity, file), 0);
        ck_assert_works(tokenizer_encode(tokenizer, data.example[i].text, NULL, &tokens));
        char *at = line;
        for (size_t j = 0; j < tokens.count; j++)
            ck_assert_uint_eq(tokens.id[j], strtoul(at, &at, 10));
        ck_assert_int_eq(*at, '\t');
        ck_assert_uint_eq(data.example[i].label, strtoul(at, &at, 10));
    }
    fclose(file);
    free(line);
    tokens_clear(&tokens);
    tokenizer_close(&tokenizer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task");
    TCase *tcase = tcase_create("task");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_task_reads_its_own_file);
    tcase_add_test(tcase, sts_b_is_a_regression);
    tcase_add_test(tcase, bad_rows_are_named_by_line);
    tcase_add_test(tcase, files_that_hold_no_text_are_refused);
    tcase_add_test(tcase, an_own_table_says_in_its_header_what_it_holds);
    tcase_add_test(tcase, labels_of_an_own_table_are_the_models_or_numbers);
    tcase_add_test(tcase, a_label_that_is_not_printable_utf_8_is_refused_with_its_line);
    tcase_add_test(tcase, a_65th_label_is_refused);
    tcase_add_test(tcase, classes_are_numbered_as_the_model_does);
    if (folder_is_shared("data/glue")) {
        tcase_add_test(tcase, the_shared_files_have_the_rows_they_should);
        tcase_add_test(tcase, sst_2_development_sentences_have_the_ids_of_the_demos_reference);
    }
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
