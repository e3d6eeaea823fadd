#include "tests/model/folder.h"

#include <math.h>

#include "model/random_model.h"
#include "model/tokenizer.h"
#include "model/vocabulary.h"
#include "tests/run.h"

static struct model_config config;

static void setup(void)
{
    folder_setup();
    config = small_config();
    config.vocabulary = 700;
    config.attention = MODEL_2QUAD;
    config.activation = MODEL_QUAD;
}

static void teardown(void)
{
    folder_teardown();
}

static const char *part(const char *name)
{
    static char path[FILES_PATH_BYTES];
    ck_assert_works(files_join(path, folder_path(name), ""));
    return path;
}

START_TEST(a_random_folder_reads_and_tokenizes)
{
    struct model model;
    struct tokenizer *tokenizer;
    struct tokens tokens = {0};
    char printable[128] = "";
    for (char c = ' '; c <= '~'; c++)
        printable[strlen(printable)] = c;
    for (int variant = 0; variant < 4; variant++) {
        config.lower_case = (variant & 1) != 0;
        config.learned_c = config.learned_quad = (variant & 2) != 0;
        ck_assert_works(random_model_write(folder, &config, 3));
        ck_assert_works(model_read(&model, folder));
        ck_assert_int_eq(model.config.activation, MODEL_QUAD);
        ck_assert_int_eq(model.config.attention, MODEL_2QUAD);
        ck_assert_ptr_nonnull(model.head_w);
        ck_assert_works(tokenizer_open(&tokenizer, folder));
        ck_assert_uint_eq(tokenizer_count(tokenizer), config.vocabulary);
        ck_assert_works(
            tokenizer_encode(tokenizer, printable, "Quick brown foxes jump over 13 lazy dogs.", &tokens));
        for (size_t i = 0; i < tokens.count; i++)
            ck_assert_uint_ne(tokens.id[i], 1);
        tokens_clear(&tokens);
        tokenizer_close(&tokenizer);
        model_clear(&model);
    }
}
END_TEST

START_TEST(no_piece_of_its_vocabulary_stands_twice)
{
    struct vocabulary *vocabulary;
    config.vocabulary = 30522;
    ck_assert_works(random_model_write(folder, &config, 3));
    ck_assert_works(vocabulary_open(&vocabulary, folder_path("vocab.txt")));
    for (uint32_t id = 0; id < config.vocabulary; id++) {
        const char *piece = vocabulary_piece(vocabulary, id);
        ck_assert_uint_eq(vocabulary_find(vocabulary, piece, strlen(piece)), id);
    }
    vocabulary_close(&vocabulary);
}
END_TEST

START_TEST(the_seed_decides_the_weights)
{
    static const char *const files[] = {"model.safetensors", "vocab.txt", "config.json",
                                        "tokenizer_config.json"};
    char path[FILES_PATH_BYTES];
    const uint64_t seeds[3] = {1, 1, (uint64_t)1 << 63};
    char *text[3];
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        ck_assert_works(random_model_write(folder_path(name), &config, seeds[i]));
    }
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        for (int i = 0; i < 3; i++) {
            char name[2] = {(char)('a' + i), 0};
            snprintf(path, sizeof path, "%.2000s%s", part(name), files[f]);
            ck_assert_works(files_read(&text[i], &size[i], path, 10000000));
        }
        ck_assert_uint_eq(size[0], size[1]);
        ck_assert_mem_eq(text[0], text[1], size[0]);
        ck_assert_int_eq(memcmp(text[0], text[2], size[0]) == 0, f != 0);
        for (int i = 0; i < 3; i++)
            free(text[i]);
    }
}
END_TEST

START_TEST(weights_have_the_spread_they_should)
{
    struct model model;
    double sum = 0, squares = 0;
    size_t count = (size_t)config.vocabulary * config.hidden;
    ck_assert_works(random_model_make(&model, &config, 5));
    for (size_t i = 0; i < count; i++) {
        sum += (double)model.word[i];
        squares += (double)model.word[i] * (double)model.word[i];
    }
    ck_assert_double_eq_tol(sum / (double)count, 0, 0.05);
    ck_assert_double_eq_tol(sqrt(squares / (double)count), 0.6, 0.03);
    for (size_t i = 0; i < config.hidden; i++)
        ck_assert_double_eq_tol((double)model.layer[1].norm2_g[i], 1, 0.25);
    model_clear(&model);
}
END_TEST

START_TEST(a_vocabulary_without_room_for_the_special_tokens_is_refused)
{
    config.vocabulary = 4;
    ck_assert_fails(random_model_write(folder, &config, 3), STATUS_INPUT, "vocab_size", "4");
    config.vocabulary = 5;
    ck_assert_works(random_model_write(folder, &config, 3));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random model");
    TCase *tcase = tcase_create("random model");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_random_folder_reads_and_tokenizes);
    tcase_add_test(tcase, no_piece_of_its_vocabulary_stands_twice);
    tcase_add_test(tcase, the_seed_decides_the_weights);
    tcase_add_test(tcase, weights_have_the_spread_they_should);
    tcase_add_test(tcase, a_vocabulary_without_room_for_the_special_tokens_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
