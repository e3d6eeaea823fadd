/* Lines of text. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/embeddings.h"
#include "parties/calibration.h"
#include "parties/texts.h"
#include "tests/run.h"

static struct tokenizer *tokenizer;

static void set_up(void)
{
    char folder[500];
    const char *source = getenv("TREFOIL_SOURCE");
    snprintf(folder, sizeof folder, "%s/models/sst2-tiny", source ? source : ".");
    ck_assert_int_eq(tokenizer_open(&tokenizer, folder), STATUS_OK);
}

static void tear_down(void)
{
    tokenizer_close(&tokenizer);
}

static bool next(struct text_line *line, FILE *file)
{
    bool more;
    ck_assert_int_eq(text_line_read(&more, line, file), STATUS_OK);
    return more;
}

START_TEST(a_line_may_hold_a_pair_and_may_lack_its_end)
{
    struct text_line line = {0};
    char text[] = "one two\r\nthree\tfour\n\nfive";
    FILE *file = fmemopen(text, strlen(text), "r");
    ck_assert(next(&line, file));
    ck_assert_str_eq(line.text, "one two");
    ck_assert_ptr_null(line.pair);
    ck_assert(next(&line, file));
    ck_assert_str_eq(line.text, "three");
    ck_assert_str_eq(line.pair, "four");
    ck_assert_uint_eq(line.text_length, 5);
    ck_assert_uint_eq(line.pair_length, 4);
    ck_assert(next(&line, file));
    ck_assert_uint_eq(line.text_length, 0);
    ck_assert(next(&line, file));
    ck_assert_str_eq(line.text, "five");
    ck_assert_uint_eq(line.number, 4);
    ck_assert(!next(&line, file));
    text_line_clear(&line);
    fclose(file);
}
END_TEST

START_TEST(a_line_that_is_too_long_is_named)
{
    struct texts texts = {0};
    ck_assert_int_eq(texts_parse(&texts, tokenizer, "good\n\na b c d e f\n", "the file", 6), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "the file:3: "));
    texts_clear(&texts);
}
END_TEST

/* A line of the most bytes, two of one more, the last of them without an end. */
START_TEST(a_line_without_bound_is_passed_over_and_not_kept)
{
    struct text_line line = {0};
    struct texts texts = {0};
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    fputs("good\n", file);
    for (int n = 0; n < 3; n++) {
        for (size_t i = 0; i < TEXT_LINE_MAX + (n > 0); i++)
            putc('a', file);
        fputs(n == 2 ? "" : n == 1 ? "\nfine\n" : "\n", file);
    }
    rewind(file);
    while (next(&line, file)) {
        const bool good = line.number != 3 && line.number != 5;
        ck_assert_uint_le(line.number, 5);
        ck_assert(line.too_long == !good);
        ck_assert(!text_line_blank(&line));
        ck_assert_uint_eq(line.text_length, line.number == 2 ? TEXT_LINE_MAX : good ? 4 : 0);
        ck_assert_int_eq(texts_add_line(&texts, tokenizer, &line), good ? STATUS_OK : STATUS_INPUT);
    }
    ck_assert_uint_eq(line.number, 5);
    ck_assert_uint_eq(texts.count, 3);
    ck_assert_str_eq(texts.text[2], "fine");
    ck_assert_uint_eq(texts.line[2], 4);
    texts_clear(&texts);
    text_line_clear(&line);
    fclose(file);
}
END_TEST

START_TEST(a_folder_in_place_of_a_file_is_named)
{
    struct texts texts = {0};
    ck_assert_int_eq(texts_read(&texts, tokenizer, "/tmp", 0), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(status_message(), "/tmp: "));
    texts_clear(&texts);
}
END_TEST

START_TEST(a_line_with_a_zero_byte_is_refused_and_not_cut)
{
    struct text_line line = {0};
    struct texts texts = {0};
    char text[] = "good\nnot\0 good\nnot\tgood\0 at all\nfine";
    FILE *file = fmemopen(text, sizeof text - 1, "r");
    while (next(&line, file)) {
        const bool good = line.number == 1 || line.number == 4;
        ck_assert_int_eq(texts_add_line(&texts, tokenizer, &line), good ? STATUS_OK : STATUS_INPUT);
    }
    ck_assert_uint_eq(texts.count, 2);
    ck_assert_uint_eq(texts.line[0], 1);
    ck_assert_uint_eq(texts.line[1], 4);
    texts_drop(&texts);
    ck_assert_uint_eq(texts.count, 1);
    ck_assert_str_eq(texts.text[0], "good");
    texts_clear(&texts);
    text_line_clear(&line);
    fclose(file);
}
END_TEST

START_TEST(the_sample_texts_are_many_and_hold_pairs)
{
    struct texts texts = {0};
    size_t pairs = 0, longest = 0;
    ck_assert_int_eq(texts_parse(&texts, tokenizer, calibration_texts, "samples", 0), STATUS_OK);
    for (size_t i = 0; i < texts.count; i++) {
        pairs += strchr(texts.text[i], '\t') != NULL;
        longest = texts.tokens[i].count > longest ? texts.tokens[i].count : longest;
    }
    ck_assert_uint_ge(texts.count, 100);
    ck_assert_uint_ge(pairs, 10);
    ck_assert_uint_ge(longest, 100);
    texts_clear(&texts);
}
END_TEST

START_TEST(the_public_part_of_a_model_is_what_a_client_needs_and_no_more)
{
    char folder[] = "/tmp/trefoil-public-XXXXXX", from[500], command[600];
    struct model whole, public, refused;
    snprintf(from, sizeof from, "%s/models/sst2-tiny", getenv("TREFOIL_SOURCE") ? getenv("TREFOIL_SOURCE") : ".");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(model_read(&whole, from), STATUS_OK);
    ck_assert_int_eq(model_check_free(from), STATUS_INPUT);
    ck_assert_int_eq(model_check_free(folder), STATUS_OK);
    static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char own[MODEL_ID_TEXT_BYTES];
    umask(0);
    ck_assert_int_eq(model_read_id(own, from), STATUS_OK);
    ck_assert_str_eq(own, ""); /* of a whole model: none */
    ck_assert_int_eq(model_write_embeddings(&whole, folder, from, id), STATUS_OK);
    ck_assert_int_eq(model_read_id(own, folder), STATUS_OK);
    ck_assert_str_eq(own, id);
    struct stat weights;
    snprintf(command, sizeof command, "%s/model.safetensors", folder);
    ck_assert(stat(command, &weights) == 0 && (weights.st_mode & 0777) == 0666); /* to be handed on */
    ck_assert_int_eq(model_check_free(folder), STATUS_OK); /* public: nothing is lost */
    ck_assert_int_eq(model_read_embeddings(&public, folder), STATUS_OK);
    const size_t hidden = whole.config.hidden;
    ck_assert_mem_eq(public.word, whole.word, whole.config.vocabulary * hidden * sizeof(float));
    ck_assert_mem_eq(public.position, whole.position, whole.config.positions * hidden * sizeof(float));
    ck_assert_mem_eq(public.type, whole.type, whole.config.types * hidden * sizeof(float));
    ck_assert_str_eq(public.config.label[1], "positive");
    ck_assert_int_ne(model_read(&refused, folder), STATUS_OK); /* no other weight left the owner */
    unsigned char digest[2][MODEL_TABLES_BYTES];
    ck_assert_int_eq(model_tables_digest(digest[0], &whole, from), STATUS_OK);
    ck_assert_int_eq(model_tables_digest(digest[1], &public, folder), STATUS_OK);
    ck_assert_mem_eq(digest[0], digest[1], sizeof digest[0]);
    float *const last[] = {&public.word[whole.config.vocabulary * hidden - 1],
                           &public.position[whole.config.positions * hidden - 1],
                           &public.type[whole.config.types * hidden - 1]};
    for (int i = 0; i < 3; i++) {
        const float kept = *last[i];
        *last[i] += 1;
        ck_assert_int_eq(model_tables_digest(digest[1], &public, folder), STATUS_OK);
        ck_assert_mem_ne(digest[0], digest[1], sizeof digest[0]);
        *last[i] = kept;
    }
    model_clear(&whole);
    model_clear(&public);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parties/texts");
    TCase *tests = tcase_create("texts");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60); /* whole tables are hashed, by sanitizers as well */
    tcase_add_test(tests, a_line_may_hold_a_pair_and_may_lack_its_end);
    tcase_add_test(tests, a_line_that_is_too_long_is_named);
    tcase_add_test(tests, a_line_with_a_zero_byte_is_refused_and_not_cut);
    tcase_add_test(tests, a_line_without_bound_is_passed_over_and_not_kept);
    tcase_add_test(tests, a_folder_in_place_of_a_file_is_named);
    tcase_add_test(tests, the_sample_texts_are_many_and_hold_pairs);
    tcase_add_test(tests, the_public_part_of_a_model_is_what_a_client_needs_and_no_more);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
