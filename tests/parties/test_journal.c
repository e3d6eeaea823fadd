/* Lines of the log: whole, one an event, whatever a peer put into the texts they quote. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parties/journal.h"
#include "tests/run.h"

/* What journal writes to standard error. */
static void written(char *out, size_t size, const char *text)
{
    int ends[2];
    const int kept = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    journal("P1", "holds no model \"%s\"", text);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    const ssize_t got = read(ends[0], out, size - 1);
    ck_assert_int_gt(got, 0);
    out[got] = '\0';
    close(ends[0]);
}

START_TEST(a_text_of_a_peer_begins_no_line_and_steers_no_terminal)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {{"a\n2026-01-01T00:00:00.000Z P1: stopped", "a?2026-01-01T00:00:00.000Z P1: stopped"},
                 {"\r\033[2Jb\x7f", "??[2Jb?"},
                 {"\xc2\x9b"
                  "31m",
                  "\xc2?31m"},
                 {"\xc3\xa9t\xc3\xa9 \xc2\xa0", "\xc3\xa9t\xc3\xa9 \xc2\xa0"}};
    char line[2000], tail[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        written(line, sizeof line, cases[i].text);
        snprintf(tail, sizeof tail, "Z P1: holds no model \"%s\"\n", cases[i].shown);
        ck_assert_uint_eq(strlen(line), strlen("2026-01-01T00:00:00.000") + strlen(tail));
        ck_assert_str_eq(line + strlen(line) - strlen(tail), tail);
    }
}
END_TEST

START_TEST(a_long_text_is_cut_and_the_line_still_ends)
{
    char text[3000], line[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    written(line, sizeof line, text);
    ck_assert_uint_lt(strlen(line), sizeof text);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal");
    TCase *tests = tcase_create("journal");
    tcase_add_test(tests, a_text_of_a_peer_begins_no_line_and_steers_no_terminal);
    tcase_add_test(tests, a_long_text_is_cut_and_the_line_still_ends);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
