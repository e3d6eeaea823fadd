/* Bundles dealt at three parties in one process: several requests at once, and over a slow line. */
#include <pthread.h>
#include <string.h>

#include <sodium.h>

#include "parties/job.h"
#include "tests/parties/services.h"
#include "tests/run.h"

static void *ask(void *argument)
{
    struct client *client = NULL;
    struct config config = parties.config[PARTY_OWNER];
    struct inference i;
    (void)argument;
    ck_ok(client_open(&client, &config, context));
    for (int n = 0; n < 3; n++)
        services_infer(client, 8, 1, TUNE_WAN, &i);
    client_close(&client);
    return NULL;
}

START_TEST(dealing_and_inferring_go_on_side_by_side)
{
    struct deal_request dealt;
    pthread_t asking;
    services_deal(8, 1, TUNE_WAN, 4, &dealt);
    ck_assert_int_eq(pthread_create(&asking, NULL, ask, NULL), 0);
    struct inference i;
    services_deal(16, 1, TUNE_WAN, 2, &dealt);
    services_infer(owner, 16, 1, TUNE_WAN, &i);
    services_infer(owner, 8, 1, TUNE_WAN, &i);
    pthread_join(asking, NULL);
}
END_TEST

static void *deal_at_most_four(void *argument)
{
    struct client *client = NULL;
    struct config config = parties.config[PARTY_OWNER];
    struct deal_request r = {.model = id, .bucket = 8, .batch = 1, .tune = TUNE_WAN, .count = 4};
    ck_ok(client_open(&client, &config, context));
    ck_ok(client_deal(client, &description, &r));
    client_close(&client);
    *(uint32_t *)argument = r.dealt;
    return NULL;
}

START_TEST(requests_that_deal_one_shape_at_once_give_way_to_each_other)
{
    pthread_t dealing[3];
    uint32_t each[3];
    struct deal_request dealt;
    struct inference i;
    for (int t = 0; t < 3; t++)
        ck_assert_int_eq(pthread_create(&dealing[t], NULL, deal_at_most_four, &each[t]), 0);
    services_deal(16, 1, TUNE_WAN, 5, &dealt);
    for (int t = 0; t < 3; t++) {
        pthread_join(dealing[t], NULL);
        ck_assert_uint_eq(each[t], 4);
    }
    services_deal(8, 1, TUNE_WAN, 1, &dealt);
    ck_assert_uint_eq(dealt.ready, 13);
    for (int n = 0; n < 13; n++)
        services_infer(owner, 8, 1, TUNE_WAN, &i);
    ck_assert_uint_eq(i.serial, 13);
}
END_TEST

START_TEST(requests_that_deal_at_once_keep_to_the_lowest_limit_together)
{
    pthread_t dealing[3];
    uint32_t dealt[3], sum = 0;
    parties.config[PARTY_P2].bundles_max = 5;
    for (int t = 0; t < 3; t++)
        ck_assert_int_eq(pthread_create(&dealing[t], NULL, deal_at_most_four, &dealt[t]), 0);
    for (int t = 0; t < 3; t++) {
        pthread_join(dealing[t], NULL);
        sum += dealt[t];
    }
    ck_assert_uint_eq(sum, 5);
    struct inference i;
    deal_at_most_four(&sum);
    ck_assert_uint_eq(sum, 0);
    services_infer(owner, 8, 1, TUNE_WAN, &i);
    deal_at_most_four(&sum);
    ck_assert_uint_eq(sum, 1);
}
END_TEST

/* ---- a model removed while bundles are dealt for it ---- */

struct removal {
    pthread_t thread;
    enum status status;
    char message[512];
    bool removed;
};

static void remove_at_the_second(void *argument, uint64_t done, uint64_t count)
{
    struct removal *r = argument;
    struct client *client = NULL;
    (void)count;
    if (done != 2 || r->removed)
        return;
    r->removed = true;
    ck_ok(client_open(&client, &parties.config[PARTY_OWNER], context));
    ck_ok(client_remove(client, id));
    client_close(&client);
}

static void *deal_and_note(void *argument)
{
    struct removal *r = argument;
    struct client *client = NULL;
    struct deal_request request = {.model = id,
                                   .bucket = 8,
                                   .batch = 1,
                                   .tune = TUNE_WAN,
                                   .count = 12,
                                   .progress = remove_at_the_second,
                                   .context = r};
    ck_ok(client_open(&client, &parties.config[PARTY_OWNER], context));
    r->status = client_deal(client, &description, &request);
    status_copy(r->message, sizeof r->message);
    client_close(&client);
    return NULL;
}

static void add_bundles(void *argument, const struct store_count *count)
{
    *(uint64_t *)argument += count->ready + count->filling;
}

/* Requests end some time after their answers. */
static void expect_no_bundles(void)
{
    for (int party = 0; party < 3; party++) {
        uint64_t bundles = 1;
        for (int tries = 0; tries < 200 && bundles; tries++) {
            services_pause(tries ? 50 : 200);
            bundles = 0;
            ck_ok(store_bundle_list(service[party]->store, add_bundles, &bundles));
        }
        ck_assert_msg(!bundles, "P%d holds %llu bundles of a removed model", party,
                      (unsigned long long)bundles);
    }
}

static void expect_ended(const struct removal *r)
{
    ck_assert_msg(r->status == STATUS_STATE && strstr(r->message, "no bundles are dealt"), "%s: %s",
                  status_name(r->status), r->message);
    expect_no_bundles();
}

/* As after a request that ended between the evaluators' "kept" and P0's own. */
START_TEST(what_p0_lacks_the_evaluators_drop_when_more_is_dealt)
{
    struct schedule s;
    struct deal_request dealt;
    struct inference i;
    ck_ok(description_compile(&description, 8, 1, TUNE_WAN, &s));
    services_deal(8, 1, TUNE_WAN, 6, &dealt);
    uint64_t serial[3], mark, count[3];
    ck_ok(store_bundle_next(service[0]->store, id, s.hash, &serial[0], &mark, &count[0]));
    for (uint64_t n = 1; n < 6; n += 2)
        ck_ok(store_bundle_drop(service[0]->store, id, s.hash, serial[0] + n));
    services_infer(owner, 8, 1, TUNE_WAN, &i);
    services_deal(8, 1, TUNE_WAN, 1, &dealt);
    ck_assert_uint_eq(dealt.ready, 3);
    for (int p = 0; p < 3; p++) {
        struct store_bundle *bundle;
        ck_ok(store_bundle_next(service[p]->store, id, s.hash, &serial[p], &mark, &count[p]));
        ck_assert_msg(count[p] == 3 && serial[p] == serial[0], "P%d has %d, from %d on", p, (int)count[p], (int)serial[p]);
        ck_assert_int_eq(store_bundle_peek(service[p]->store, id, s.hash, serial[0] + 1, &bundle), STATUS_EMPTY);
    }
    for (int n = 0; n < 3; n++)
        services_infer(owner, 8, 1, TUNE_WAN, &i);
    schedule_clear(&s);
}
END_TEST

START_TEST(a_deal_that_waits_while_its_model_is_removed_deals_nothing)
{
    struct turn *deal = &service[0]->deal;
    struct removal r = {.removed = true};
    turn_begin(deal);
    ck_assert_int_eq(pthread_create(&r.thread, NULL, deal_and_note, &r), 0);
    for (int turns = 0; turns < 2; turns++) {
        while (!turn_wanted(deal))
            services_pause(1);
        if (turns)
            break;
        /* How many is agreed on; this is the turn before the one in which they are dealt. */
        turn_end(deal);
        turn_begin(deal);
    }
    ck_ok(client_remove(owner, id));
    turn_end(deal);
    pthread_join(r.thread, NULL);
    expect_ended(&r);
}
END_TEST

START_TEST(a_deal_whose_model_is_removed_ends_and_leaves_no_bundles)
{
    struct removal r = {0};
    deal_and_note(&r);
    ck_assert(r.removed);
    expect_ended(&r);
}
END_TEST

#define SLOW_TIMEOUT_MS 700

/* P0's line takes three times as long for a bundle as a party waits. */
static void start_slow(void)
{
    struct schedule s;
    struct cost cost;
    services_model();
    ck_ok(description_compile(&description, SERVICES_BUCKET, 1, TUNE_WAN, &s));
    walk_count(&s, &cost);
    schedule_clear(&s);
    parties_init(&parties, SLOW_TIMEOUT_MS, true);
    parties.config[PARTY_P0].link_rate = 8e3 * (double)cost.offline_p2 / (3 * SLOW_TIMEOUT_MS);
    services_open();
}

START_TEST(a_bundle_may_take_longer_on_the_line_than_a_party_waits)
{
    struct deal_request dealt;
    services_deal(SERVICES_BUCKET, 1, TUNE_WAN, 3, &dealt);
    ck_assert_double_gt(dealt.seconds, 1e-3 * 3 * SLOW_TIMEOUT_MS);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("dealing");
    TCase *tcase = tcase_create("three parties in one process");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, services_start, services_stop);
    tcase_add_test(tcase, dealing_and_inferring_go_on_side_by_side);
    tcase_add_test(tcase, requests_that_deal_one_shape_at_once_give_way_to_each_other);
    tcase_add_test(tcase, requests_that_deal_at_once_keep_to_the_lowest_limit_together);
    tcase_add_test(tcase, what_p0_lacks_the_evaluators_drop_when_more_is_dealt);
    tcase_add_test(tcase, a_deal_that_waits_while_its_model_is_removed_deals_nothing);
    tcase_add_test(tcase, a_deal_whose_model_is_removed_ends_and_leaves_no_bundles);
    suite_add_tcase(suite, tcase);
    TCase *slow = tcase_create("a slow line");
    tcase_set_timeout(slow, 300);
    tcase_add_checked_fixture(slow, start_slow, services_stop);
    tcase_add_test(slow, a_bundle_may_take_longer_on_the_line_than_a_party_waits);
    suite_add_tcase(suite, slow);
    return run_suite(suite);
}
