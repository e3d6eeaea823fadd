#include "tests/model/folder.h"
#include "tests/run.h"

#include <jansson.h>

static struct model_config config;

static void setup(void)
{
    folder_setup();
}

static void teardown(void)
{
    folder_teardown();
}

/* A good config with one field set to a JSON value; NULL: taken out. */
static enum status read_with(const char *field, const char *value)
{
    struct model_config small = small_config();
    char *text = model_config_format(&small, true, MODEL_F32);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    ck_assert_ptr_nonnull(root);
    if (field && value) {
        json_t *parsed = json_loads(value, JSON_DECODE_ANY, NULL);
        ck_assert_ptr_nonnull(parsed);
        json_object_set_new(root, field, parsed);
    } else if (field) {
        json_object_del(root, field);
    }
    text = json_dumps(root, 0);
    folder_write_text("config.json", text);
    free(text);
    json_decref(root);
    return model_config_read(&config, folder);
}

START_TEST(a_written_config_reads_back)
{
    ck_assert_works(read_with(NULL, NULL));
    struct model_config small = small_config();
    ck_assert_uint_eq(config.hidden, small.hidden);
    ck_assert_uint_eq(config.vocabulary, small.vocabulary);
    ck_assert_uint_eq(config.labels, 3);
    ck_assert_str_eq(config.label[2], "LABEL_2");
    ck_assert(config.dropout == 0.1f && config.layer_norm_eps == 1e-12f);
}
END_TEST

START_TEST(absent_fields_have_the_defaults_of_bert)
{
    folder_write_text("config.json",
                      "{\"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
                      "\"intermediate_size\": 4, \"vocab_size\": 10, \"max_position_embeddings\": 6, "
                      "\"pad_token_id\": null, \"id2label\": null}");
    ck_assert_works(model_config_read(&config, folder));
    ck_assert_uint_eq(config.types, 2);
    ck_assert_uint_eq(config.labels, 2);
    ck_assert_str_eq(config.label[1], "LABEL_1");
    ck_assert_int_eq(config.activation, MODEL_GELU);
    ck_assert_int_eq(config.attention, MODEL_SOFTMAX);
    ck_assert(config.softmax_c == 5 && config.lower_case && !config.regression);
}
END_TEST

START_TEST(every_bad_field_is_named)
{
    static const char *const bad[][2] = {
        {"hidden_size", NULL},
        {"hidden_size", "0"},
        {"hidden_size", "-8"},
        {"hidden_size", "8.0"},
        {"hidden_size", "\"8\""},
        {"hidden_size", "16385"},
        {"hidden_size", "7"},
        {"hidden_size", "9223372036854775807"},
        {"num_hidden_layers", NULL},
        {"num_hidden_layers", "257"},
        {"num_attention_heads", NULL},
        {"num_attention_heads", "3"},
        {"num_attention_heads", "16"},
        {"intermediate_size", NULL},
        {"intermediate_size", "1000000"},
        {"vocab_size", NULL},
        {"vocab_size", "4194305"},
        {"max_position_embeddings", NULL},
        {"max_position_embeddings", "true"},
        {"type_vocab_size", "0"},
        {"pad_token_id", "20"},
        {"pad_token_id", "-1"},
        {"model_type", "\"roberta\""},
        {"model_type", "1"},
        {"position_embedding_type", "\"relative_key\""},
        {"is_decoder", "true"},
        {"is_decoder", "\"no\""},
        {"add_cross_attention", "true"},
        {"hidden_act", "\"gelu_new\""},
        {"hidden_act", "{\"name\": \"quad\"}"},
        {"attention_softmax", "\"3quad\""},
        {"softmax_2quad_c", "\"5\""},
        {"softmax_2quad_c", "1001"},
        {"softmax_2quad_learned", "1"},
        {"softmax_2quad_learned", "true"},
        {"hidden_act_learned", "true"},
        {"layer_norm_eps", "0"},
        {"layer_norm_eps", "-1e-12"},
        {"layer_norm_eps", "1"},
        {"hidden_dropout_prob", "1"},
        {"attention_probs_dropout_prob", "-0.1"},
        {"num_labels", "2"},
        {"num_labels", "65"},
        {"id2label", "{}"},
        {"id2label", "[\"a\", \"b\", \"c\"]"},
        {"id2label", "{\"0\": \"a\", \"2\": \"b\"}"},
        {"id2label", "{\"0\": \"a\", \"1\": 7}"},
        {"id2label", "{\"0\": \"a\", \"1\": \"\"}"},
        {"id2label", "{\"0\": \"a\", \"1\": \"\\u001b[31m\"}"},
        {"id2label", "{\"0\": \"0123456789012345678901234567890123456789012345678901234567890123\"}"},
        {"problem_type", "\"multi_label_classification\""},
        {"problem_type", "\"regression\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum status status = read_with(bad[i][0], bad[i][1]);
        ck_assert_msg(status == STATUS_INPUT, "%s %s: %s", bad[i][0], bad[i][1] ? bad[i][1] : "missing",
                      status_name(status));
        ck_assert_msg(strstr(status_message(), bad[i][0]) != NULL, "%s not in: %s", bad[i][0],
                      status_message());
        ck_assert_msg(strstr(status_message(), "config.json") != NULL, "%s", status_message());
    }
}
END_TEST

START_TEST(messages_say_what_was_found_and_what_was_expected)
{
    ck_assert_fails(read_with("hidden_act", "\"swish\\u0007\""), STATUS_INPUT, "\"swish\\u0007\"",
                    "expected \"gelu\" or \"quad\"");
    ck_assert_fails(read_with("num_hidden_layers", "1e3"), STATUS_INPUT, "1000.0", "from 1 to 256");
}
END_TEST

START_TEST(labels_must_be_printable_utf_8)
{
    struct model_config small = small_config();
    strcpy(small.label[0], "sch\xc3\xb6n");
    strcpy(small.label[1], "b");
    strcpy(small.label[2], "c");
    ck_assert_works(model_config_check(&small));
    strcpy(small.label[0], "sch\xf6n");
    ck_assert_fails(model_config_check(&small), STATUS_INPUT, "id2label", "name 0", "UTF-8");
}
END_TEST

START_TEST(one_label_is_a_regression)
{
    ck_assert_works(read_with("id2label", "{\"0\": \"score\"}"));
    ck_assert(config.regression);
    ck_assert_works(read_with("problem_type", "\"single_label_classification\""));
    ck_assert(!config.regression);
}
END_TEST

START_TEST(files_that_are_no_json_are_refused)
{
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "config.json", "no such file");
    folder_write_text("config.json", "{\"hidden_size\": 8,\n,}");
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "config.json", "line 2", "not JSON");
    folder_write_text("config.json", "[1]");
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "config.json", "object");
    folder_write_text("config.json", "{\"hidden_size\": 8, \"hidden_size\": 16}");
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "config.json", "duplicate");
    char *large = malloc(CONFIG_FILE_BYTES + 2);
    memset(large, ' ', CONFIG_FILE_BYTES + 1);
    folder_write("config.json", large, CONFIG_FILE_BYTES + 1);
    free(large);
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "config.json", "at most");
    ck_assert_works(read_with(NULL, NULL));
    folder_write_text("tokenizer_config.json", "{\"do_lower_case\": 1}");
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "tokenizer_config.json",
                    "do_lower_case");
    folder_write_text("tokenizer_config.json", "{\"tokenizer_class\": \"BertJapaneseTokenizer\"}");
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "tokenizer_config.json",
                    "tokenizer_class", "BertTokenizerFast");
    folder_write_text("tokenizer_config.json", "{\"do_basic_tokenize\": false}");
    ck_assert_fails(model_config_read(&config, folder), STATUS_INPUT, "tokenizer_config.json",
                    "do_basic_tokenize");
    folder_write_text("tokenizer_config.json",
                      "{\"strip_accents\": null, \"tokenize_chinese_chars\": true, \"do_basic_tokenize\": true}");
    ck_assert_works(model_config_read(&config, folder));
    ck_assert(!config.accents_differ && !config.ideographs_joined);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_written_config_reads_back);
    tcase_add_test(tcase, absent_fields_have_the_defaults_of_bert);
    tcase_add_test(tcase, every_bad_field_is_named);
    tcase_add_test(tcase, messages_say_what_was_found_and_what_was_expected);
    tcase_add_test(tcase, labels_must_be_printable_utf_8);
    tcase_add_test(tcase, one_label_is_a_regression);
    tcase_add_test(tcase, files_that_are_no_json_are_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
