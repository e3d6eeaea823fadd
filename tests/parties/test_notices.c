/* What happens often is counted, and the log says it now and then. */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "parties/journal.h"
#include "parties/notices.h"
#include "tests/run.h"

static struct notices notices;
static time_t now;
static int unaccepted, lines;
static unsigned long refused;
static uint64_t process[3]; /* that is up */
static const int peer[3] = {4, -1, 6};
static char last[400]; /* line of the log */

void __wrap_journal(const char *party, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_net_hub_unaccepted(struct net_hub *hub);
unsigned long __wrap_net_hub_refused(const struct net_hub *hub);
uint64_t __wrap_net_hub_peer_process(const struct net_hub *hub, int number);
const char *__wrap_net_hub_peer_name(const struct net_hub *hub, int number);

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

unsigned long __wrap_net_hub_refused(const struct net_hub *hub)
{
    (void)hub;
    return refused;
}

uint64_t __wrap_net_hub_peer_process(const struct net_hub *hub, int number)
{
    (void)hub;
    ck_assert(number == peer[0] || number == peer[2]);
    return process[number == peer[0] ? 0 : 2];
}

const char *__wrap_net_hub_peer_name(const struct net_hub *hub, int number)
{
    (void)hub;
    return number == peer[0] ? "P0" : "P2";
}

static void setup(void)
{
    refused = 0;
    process[0] = process[2] = 0;
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
        notices_poll(&notices, NULL, peer);
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

START_TEST(keys_that_are_refused_are_counted_once_a_minute)
{
    refused = 1;
    poll_after(1);
    ck_assert_int_eq(lines, 1);
    ck_assert_str_eq(last, "calls refused, as their keys are not on the allow-list (peers): 1");
    refused = 60;
    poll_after(59);
    ck_assert_int_eq(lines, 1);
    poll_after(1);
    ck_assert_int_eq(lines, 2);
    ck_assert_str_eq(last, "calls refused, as their keys are not on the allow-list (peers): 59");
    poll_after(200);
    ck_assert_int_eq(lines, 2);
}
END_TEST

static void process_is(uint64_t present, const char *line)
{
    const int before = lines;
    process[2] = present;
    poll_after(20);
    ck_assert_int_eq(lines, before + (line != NULL));
    if (line)
        ck_assert_str_eq(last, line);
}

START_TEST(parties_that_come_and_go_are_a_line_each_time)
{
    process_is(0, NULL);
    process_is(7, "P2 is up");
    process_is(7, NULL);
    process_is(0, "P2 is gone");
    process_is(7, "P2 is up again");
    process_is(8, "P2 is another process now");
    process_is(0, "P2 is gone");
    process_is(9, "P2 is another process now");
    process[0] = 9;
    poll_after(1);
    ck_assert_str_eq(last, "P0 is up");
}
END_TEST

START_TEST(two_processes_that_take_turns_do_not_fill_the_log)
{
    for (int s = 0; s < 240; s++) {
        process[2] = (uint64_t)(7 + s % 2);
        poll_after(1);
        ck_assert_int_eq(lines, s < 6 ? s + 1 : 6 + s / 60);
    }
    ck_assert_str_eq(last,
                     "P2 came, went or began anew 60 times, and is up now: do two processes have its key?");
    poll_after(60);
    ck_assert_int_eq(lines, 10); /* the changes of the last minute */
    poll_after(60);
    process_is(0, "P2 is gone");
    process_is(7, "P2 is another process now");
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
    tcase_add_test(tests, keys_that_are_refused_are_counted_once_a_minute);
    tcase_add_test(tests, parties_that_come_and_go_are_a_line_each_time);
    tcase_add_test(tests, two_processes_that_take_turns_do_not_fill_the_log);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
