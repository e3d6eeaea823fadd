/* What happens often is counted, and the log says it now and then. */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "parties/journal.h"
#include "parties/notices.h"

static struct notices notices;
static time_t now;
static int unaccepted, lines;
static char last[400]; /* line of the log */

void __wrap_journal(const char *party, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_net_hub_unaccepted(struct net_hub *hub);

void __wrap_journal(const char *party, const char *format, ...)
{
    va_list arguments;
    ck_assert_str_eq(party, "P1");
    va_start(arguments, format);
    vsnprintf(last, sizeof last, format, arguments);
    va_end(arguments);
    lines++;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    (void)id;
    *out = (struct timespec){.tv_sec = now};
    return 0;
}

int __wrap_net_hub_unaccepted(struct net_hub *hub)
{
    (void)hub;
    return unaccepted;
}

static void setup(void)
{
    now = 100;
    unaccepted = lines = 0;
    last[0] = '\0';
    notices_init(&notices, "P1");
}

static void teardown(void)
{
    notices_clear(&notices);
}

static void poll_after(int seconds)
{
    for (int s = 0; s < seconds; s++) {
        now++;
        notices_poll(&notices, NULL);
    }
}

static void failures(enum status status, int times)
{
    for (int n = 0; n < times; n++)
        notices_failure(&notices, "client", status_fail(status, "P1 has %d", n));
}

START_TEST(the_first_request_without_a_place_is_a_line_and_the_others_are_one_a_minute)
{
    failures(STATUS_BUSY, 1);
    ck_assert_str_eq(last, "a request of client failed (busy): P1 has 0");
    for (int minute = 1; minute <= 3; minute++) {
        for (int n = 0; n < 59; n++) {
            failures(STATUS_BUSY, 10);
            poll_after(1);
        }
        ck_assert_int_eq(lines, minute);
        poll_after(1);
        ck_assert_int_eq(lines, minute + 1);
        ck_assert_str_eq(last, "more requests that failed (busy): 590");
    }
    poll_after(200);
    ck_assert_int_eq(lines, 4);
    failures(STATUS_BUSY, 1); /* after a while without, it is the first again */
    ck_assert_int_eq(lines, 5);
    ck_assert_str_eq(last, "a request of client failed (busy): P1 has 0");
}
END_TEST

START_TEST(requests_without_a_bundle_are_counted_by_themselves_and_other_failures_not_at_all)
{
    failures(STATUS_BUSY, 3);
    failures(STATUS_EMPTY, 3);
    ck_assert_int_eq(lines, 2);
    failures(STATUS_TIMEOUT, 3);
    ck_assert_int_eq(lines, 5);
    poll_after(60);
    ck_assert_int_eq(lines, 7);
    ck_assert_str_eq(last, "more requests that failed (no bundle): 2");
}
END_TEST

START_TEST(what_was_counted_is_said_at_the_end)
{
    failures(STATUS_BUSY, 8);
    ck_assert_int_eq(lines, 1);
    notices_end(&notices);
    ck_assert_int_eq(lines, 2);
    ck_assert_str_eq(last, "more requests that failed (busy): 7");
    notices_end(&notices);
    ck_assert_int_eq(lines, 2);
}
END_TEST

START_TEST(connections_that_cannot_be_accepted_are_one_line_a_minute)
{
    unaccepted = EMFILE;
    poll_after(60);
    ck_assert_int_eq(lines, 1);
    ck_assert_ptr_nonnull(strstr(last, "LimitNOFILE"));
    poll_after(1);
    ck_assert_int_eq(lines, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("notices");
    TCase *tests = tcase_create("notices");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_first_request_without_a_place_is_a_line_and_the_others_are_one_a_minute);
    tcase_add_test(tests, requests_without_a_bundle_are_counted_by_themselves_and_other_failures_not_at_all);
    tcase_add_test(tests, what_was_counted_is_said_at_the_end);
    tcase_add_test(tests, connections_that_cannot_be_accepted_are_one_line_a_minute);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
