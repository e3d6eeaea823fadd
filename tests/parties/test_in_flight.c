/* Calls that run at a time: each once, in their order, no more than allowed, and the first failure ends them. */
#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "parties/in_flight.h"
#include "tests/run.h"

#define CALLS 40

struct calls {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned now, most,
        wait_for; /* under way; the most that ever were; how many to wait for before one ends */
    unsigned count[CALLS];
    size_t begun, fails_at;
};

static struct calls calls_make(unsigned wait_for)
{
    return (struct calls){.lock = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER,
                          .wait_for = wait_for,
                          .fails_at = CALLS};
}

static enum status one(void *context, size_t index)
{
    struct calls *c = context;
    struct timespec late;
    clock_gettime(CLOCK_REALTIME, &late);
    late.tv_sec += 20;
    pthread_mutex_lock(&c->lock);
    c->count[index]++;
    c->begun++;
    c->most = ++c->now > c->most ? c->now : c->most;
    pthread_cond_broadcast(&c->changed);
    while (c->most < c->wait_for && pthread_cond_timedwait(&c->changed, &c->lock, &late) == 0)
        continue;
    c->now--;
    pthread_mutex_unlock(&c->lock);
    return index == c->fails_at ? status_fail(STATUS_PEER, "call %zu went wrong", index) : STATUS_OK;
}

START_TEST(each_call_is_made_once_and_as_many_at_a_time_as_allowed)
{
    for (unsigned most = 1; most <= 5; most++) {
        struct calls c = calls_make(most);
        ck_assert_int_eq(in_flight_run(most, CALLS, one, &c), STATUS_OK);
        for (size_t i = 0; i < CALLS; i++)
            ck_assert_uint_eq(c.count[i], 1);
        ck_assert_uint_eq(c.most, most);
        ck_assert_uint_eq(c.now, 0);
    }
}
END_TEST

START_TEST(nothing_to_do_is_done_at_once_and_few_calls_need_few_threads)
{
    struct calls none = calls_make(0), two = calls_make(2);
    ck_assert_int_eq(in_flight_run(4, 0, one, &none), STATUS_OK);
    ck_assert_uint_eq(none.begun, 0);
    ck_assert_int_eq(in_flight_run(IN_FLIGHT_MAX, 2, one, &two), STATUS_OK);
    ck_assert_uint_eq(two.most, 2);
}
END_TEST

START_TEST(the_first_failure_is_told_and_nothing_begins_after_it)
{
    for (unsigned most = 1; most <= 3; most++) {
        struct calls c = calls_make(most);
        c.fails_at = 5;
        ck_assert_int_eq(in_flight_run(most, CALLS, one, &c), STATUS_PEER);
        ck_assert_str_eq(status_message(), "call 5 went wrong");
        ck_assert_uint_ge(c.begun, 6);
        ck_assert_uint_eq(c.now, 0);
        if (most == 1) /* others may have gone far before it is known */
            ck_assert_uint_eq(c.begun, 6);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("in_flight");
    TCase *tests = tcase_create("in_flight");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, each_call_is_made_once_and_as_many_at_a_time_as_allowed);
    tcase_add_test(tests, nothing_to_do_is_done_at_once_and_few_calls_need_few_threads);
    tcase_add_test(tests, the_first_failure_is_told_and_nothing_begins_after_it);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
