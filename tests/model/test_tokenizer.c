#include "tests/model/folder.h"

#include <jansson.h>

#include "model/tokenizer.h"
#include "tests/run.h"

static struct tokenizer *tokenizer;
static struct tokens tokens;

static void setup(void)
{
    folder_setup();
}

static void teardown(void)
{
    tokens_clear(&tokens);
    tokenizer_close(&tokenizer);
    folder_teardown();
}

static void source_path(char out[FILES_PATH_BYTES], const char *variable, const char *name)
{
    ck_assert_msg(getenv(variable) != NULL, "%s is not set; run this test by make check", variable);
    ck_assert_works(files_join(out, getenv(variable), name));
}

/* The folder of this test with the demo's vocabulary, cased or not. */
static void open_demo(bool lower)
{
    char vocabulary[FILES_PATH_BYTES];
    source_path(vocabulary, "TREFOIL_SOURCE", "models/sst2-tiny/vocab.txt");
    ck_assert_int_eq(symlink(vocabulary, folder_path("vocab.txt")), 0);
    folder_write_text("tokenizer_config.json",
                      lower ? "{\"do_lower_case\": true}" : "{\"do_lower_case\": false}");
    ck_assert_works(tokenizer_open(&tokenizer, folder));
}

/* A vocabulary of the special tokens, ids 0 to 4, and then the words given. */
static void open_words(const char *words)
{
    char text[4096];
    snprintf(text, sizeof text, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n%s", words);
    folder_write_text("vocab.txt", text);
    ck_assert_works(tokenizer_open(&tokenizer, folder));
}

static void assert_ids(const char *text, size_t count, const uint32_t *id)
{
    ck_assert_works(tokenizer_encode(tokenizer, text, NULL, &tokens));
    ck_assert_uint_eq(tokens.count, count + 2);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(tokens.id[i + 1] == id[i], "token %zu of \"%s\" is %u, not %u", i, text,
                      tokens.id[i + 1], id[i]);
}
#define ck_assert_ids(text, ...) \
    assert_ids(text, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (const uint32_t[]){__VA_ARGS__})

static void check_row(const json_t *row, const char *file, size_t line)
{
    const json_t *text = json_object_get(row, "text"), *pair = json_object_get(row, "pair");
    const json_t *id = json_object_get(row, "ids"), *type = json_object_get(row, "types");
    type = type ? type : json_object_get(row, "type_ids");
    ck_assert_works(tokenizer_encode_bytes(tokenizer, json_string_value(text), json_string_length(text),
                                           json_string_value(pair), json_string_length(pair), &tokens));
    ck_assert_msg(tokens.count == json_array_size(id), "%s:%zu: %zu tokens, not %zu", file, line,
                  tokens.count, json_array_size(id));
    for (size_t i = 0; i < tokens.count; i++) {
        ck_assert_msg(tokens.id[i] == json_integer_value(json_array_get(id, i)), "%s:%zu: token %zu is %u",
                      file, line, i, tokens.id[i]);
        ck_assert_msg(tokens.type[i] == (type ? json_integer_value(json_array_get(type, i)) : 0),
                      "%s:%zu: type %zu is %u", file, line, i, tokens.type[i]);
    }
}

/* Checks every line of a file, and counts them. */
static size_t check_rows(const char *path)
{
    size_t lines = 0, capacity = 0;
    char *line = NULL;
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot read %s", path);
    for (ssize_t length; (length = getline(&line, &capacity, file)) > 0;) {
        json_t *row = json_loadb(line, (size_t)length, JSON_ALLOW_NUL, NULL);
        ck_assert_ptr_nonnull(row);
        check_row(row, path, ++lines);
        json_decref(row);
    }
    free(line);
    fclose(file);
    return lines;
}

START_TEST(edge_texts_give_the_reference_ids)
{
    char path[FILES_PATH_BYTES];
    open_demo(_i == 0);
    source_path(path, "TREFOIL_SOURCE",
                _i == 0 ? "tests/model/data/edge_uncased.jsonl" : "tests/model/data/edge_cased.jsonl");
    ck_assert_uint_gt(check_rows(path), 70);
}
END_TEST

START_TEST(every_row_of_the_shared_reference_is_equal)
{
    static const char *const names[] = {"data/tokenizer/bert_uncased.jsonl",
                                        "data/tokenizer/bert_uncased_pairs.jsonl"};
    static const size_t rows[] = {700, 180};
    char path[FILES_PATH_BYTES];
    source_path(path, "TREFOIL_SHARED", names[_i]);
    open_demo(true);
    ck_assert_uint_eq(check_rows(path), rows[_i]);
}
END_TEST

START_TEST(words_are_cut_into_the_longest_pieces)
{
    open_words("un\nunaff\n##aff\n##able\n##ab\n##le\n!\n");
    ck_assert_ids("unaffable", 6, 8);
    ck_assert_ids("unable!", 5, 8, 11);
    ck_assert_ids("unaffx", 1);
    ck_assert_ids("UN un", 5, 5);
    ck_assert_ids("x", 1);
}
END_TEST

START_TEST(a_word_of_101_characters_is_unknown)
{
    char word[128];
    open_words("a\n##a\n");
    memset(word, 'a', sizeof word);
    word[100] = 0;
    ck_assert_works(tokenizer_encode(tokenizer, word, NULL, &tokens));
    ck_assert_uint_eq(tokens.count, 102);
    word[100] = 'a';
    word[101] = 0;
    ck_assert_ids(word, 1);
}
END_TEST

START_TEST(special_tokens_stand_where_they_are_written)
{
    open_words("a\n##b\nb\n[\n]\nmask\n");
    ck_assert_ids("a[MASK]b", 5, 4, 7);
    ck_assert_ids("[[SEP]]", 8, 3, 9);
    ck_assert_ids("[mask]", 8, 10, 9);
    ck_assert_ids("[CLS", 8, 1);
}
END_TEST

START_TEST(pairs_have_type_one_from_their_second_text_on)
{
    open_words("a\nb\n");
    ck_assert_works(tokenizer_encode(tokenizer, "a", "b b", &tokens));
    ck_assert_mem_eq(tokens.id, ((uint32_t[]){2, 5, 3, 6, 6, 3}), 6 * sizeof(uint32_t));
    ck_assert_mem_eq(tokens.type, ((uint8_t[]){0, 0, 0, 1, 1, 1}), 6);
    ck_assert_uint_eq(tokens.count, 6);
    ck_assert_uint_eq(tokens.pieces, 3);
    ck_assert_str_eq(tokenizer_piece(tokenizer, 6), "b");
    ck_assert_ptr_null(tokenizer_piece(tokenizer, 7));
}
END_TEST

START_TEST(bytes_that_are_no_utf8_are_dropped)
{
    static const char *const bad[] = {"a\xff"
                                      "b",
                                      "a\xc3"
                                      "b",
                                      "a\xe4\xb8"
                                      "b",
                                      "a\xf0\x9f\x98"
                                      "b",
                                      "a\xc0\xaf"
                                      "b",
                                      "a\xed\xa0\x80"
                                      "b",
                                      "a\x80\x80"
                                      "b",
                                      "a\xf4\x90\x80\x80"
                                      "b",
                                      "ab\xe2\x82",
                                      "\xfe"
                                      "ab",
                                      "a\xf8\x88\x80\x80\x80"
                                      "b"};
    open_words("ab\n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_ids(bad[i], 5);
}
END_TEST

START_TEST(any_bytes_at_all_are_a_text)
{
    unsigned state = 1;
    char text[64];
    open_demo(true);
    for (int round = 0; round < 20000; round++) {
        size_t length = (state >> 16) % sizeof text;
        for (size_t i = 0; i < length; i++) {
            state = state * 1103515245u + 12345u;
            text[i] = (char)(state >> 16);
        }
        ck_assert_works(tokenizer_encode_bytes(tokenizer, text, length, text, length / 2, &tokens));
        ck_assert_uint_ge(tokens.count, 3);
        for (size_t i = 0; i < tokens.count; i++)
            ck_assert_uint_lt(tokens.id[i], tokenizer_count(tokenizer));
    }
}
END_TEST

START_TEST(a_text_of_nothing_but_marks_is_no_trouble)
{
    enum { MARKS = 200000 };
    char *text = malloc(2 * MARKS + 1);
    open_words("a\n");
    for (size_t i = 0; i < MARKS; i++)
        memcpy(text + 2 * i, i % 2 ? "\xcc\x96" : "\xcc\x95", 2);
    text[2 * MARKS] = 0;
    ck_assert_works(tokenizer_encode(tokenizer, text, NULL, &tokens));
    ck_assert_uint_eq(tokens.pieces, 0);
    free(text);
}
END_TEST

START_TEST(empty_and_too_long_texts_are_refused_by_number)
{
    open_words("a\n");
    ck_assert_works(tokenizer_encode(tokenizer, " \t\n", NULL, &tokens));
    ck_assert_fails(tokens_check(&tokens, 8), STATUS_INPUT, "empty");
    ck_assert_works(tokenizer_encode(tokenizer, "a a a", NULL, &tokens));
    ck_assert_works(tokens_check(&tokens, 5));
    ck_assert_fails(tokens_check(&tokens, 4), STATUS_INPUT, "5 tokens", "at most 4");
}
END_TEST

START_TEST(cutting_keeps_both_ends_and_shortens_the_longer_text)
{
    open_demo(true);
    ck_assert_works(tokenizer_encode(tokenizer, "a b c d e f", "g h", &tokens));
    ck_assert_uint_eq(tokens.count, 11);
    const uint32_t cls = tokens.id[0], sep = tokens.id[10], a = tokens.id[1], b = tokens.id[2],
                   g = tokens.id[8], h = tokens.id[9];
    tokens_cut(&tokens, 7);
    const uint32_t expected[7] = {cls, a, b, sep, g, h, sep};
    const uint8_t types[7] = {0, 0, 0, 0, 1, 1, 1};
    ck_assert_uint_eq(tokens.count, 7);
    ck_assert_mem_eq(tokens.id, expected, sizeof expected);
    ck_assert_mem_eq(tokens.type, types, sizeof types);
    tokens_cut(&tokens, 7);
    ck_assert_uint_eq(tokens.count, 7);
}
END_TEST

START_TEST(a_single_text_is_cut_to_any_limit)
{
    open_demo(true);
    for (size_t limit = 2; limit < 12; limit++) {
        ck_assert_works(tokenizer_encode(tokenizer, "a b c d e f g h", NULL, &tokens));
        const uint32_t end = tokens.id[tokens.count - 1];
        tokens_cut(&tokens, limit);
        ck_assert_uint_eq(tokens.count, limit < 10 ? limit : 10);
        ck_assert_uint_eq(tokens.id[tokens.count - 1], end);
    }
}
END_TEST

START_TEST(settings_of_the_folder_are_used)
{
    folder_write_text("tokenizer_config.json", "{\"do_lower_case\": true, \"strip_accents\": false}");
    open_words("\xc3\xa9\ne\ni\xcc\x87\n");
    ck_assert_ids("\xc3\x89", 5);
    ck_assert_ids("\xc4\xb0", 7);
    tokenizer_close(&tokenizer);
    folder_write_text("tokenizer_config.json",
                      "{\"do_lower_case\": false, \"tokenize_chinese_chars\": false}");
    open_words("\xe4\xb8\xad\xe4\xb8\xad\ne\n");
    ck_assert_ids("\xe4\xb8\xad\xe4\xb8\xad", 5);
    ck_assert_ids("E \xc3\xa9", 1, 1);
}
END_TEST

START_TEST(line_ends_and_repeated_pieces_are_read_as_elsewhere)
{
    folder_write_text("vocab.txt", "[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\nb\r\na");
    ck_assert_works(tokenizer_open(&tokenizer, folder));
    ck_assert_uint_eq(tokenizer_count(tokenizer), 6);
    ck_assert_ids("a b [MASK]", 5, 4, 0, 0, 0);
}
END_TEST

START_TEST(a_vocabulary_that_cannot_be_used_is_named)
{
    ck_assert_fails(tokenizer_open(&tokenizer, folder), STATUS_INPUT, "vocab.txt", "no such file");
    folder_write_text("vocab.txt", "");
    ck_assert_fails(tokenizer_open(&tokenizer, folder), STATUS_INPUT, "vocab.txt", "0 lines");
    folder_write_text("vocab.txt", "[UNK]\n[CLS]\na\n");
    ck_assert_fails(tokenizer_open(&tokenizer, folder), STATUS_INPUT, "vocab.txt", "[SEP]");
    folder_write_text("tokenizer_config.json", "{\"do_lower_case\": \"yes\"}");
    ck_assert_fails(tokenizer_open(&tokenizer, folder), STATUS_INPUT, "tokenizer_config.json",
                    "do_lower_case", "yes");
    ck_assert_ptr_null(tokenizer);
}
END_TEST

START_TEST(a_vocabulary_larger_than_the_model_is_refused)
{
    struct model_config config = small_config();
    config.vocabulary = 5;
    char *text = model_config_format(&config, true, MODEL_F32);
    folder_write_text("config.json", text);
    free(text);
    open_words("");
    tokenizer_close(&tokenizer);
    folder_write_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
    ck_assert_fails(tokenizer_open(&tokenizer, folder), STATUS_INPUT, "vocab.txt", "6 pieces", "vocab_size");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokenizer");
    TCase *tcase = tcase_create("tokenizer");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, edge_texts_give_the_reference_ids, 0, 2);
    if (folder_is_shared("data/tokenizer"))
        tcase_add_loop_test(tcase, every_row_of_the_shared_reference_is_equal, 0, 2);
    tcase_add_test(tcase, words_are_cut_into_the_longest_pieces);
    tcase_add_test(tcase, a_word_of_101_characters_is_unknown);
    tcase_add_test(tcase, special_tokens_stand_where_they_are_written);
    tcase_add_test(tcase, pairs_have_type_one_from_their_second_text_on);
    tcase_add_test(tcase, bytes_that_are_no_utf8_are_dropped);
    tcase_add_test(tcase, any_bytes_at_all_are_a_text);
    tcase_add_test(tcase, a_text_of_nothing_but_marks_is_no_trouble);
    tcase_add_test(tcase, empty_and_too_long_texts_are_refused_by_number);
    tcase_add_test(tcase, cutting_keeps_both_ends_and_shortens_the_longer_text);
    tcase_add_test(tcase, a_single_text_is_cut_to_any_limit);
    tcase_add_test(tcase, settings_of_the_folder_are_used);
    tcase_add_test(tcase, line_ends_and_repeated_pieces_are_read_as_elsewhere);
    tcase_add_test(tcase, a_vocabulary_that_cannot_be_used_is_named);
    tcase_add_test(tcase, a_vocabulary_larger_than_the_model_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
