/* A party of another version: its schedules are not ours. Here the test itself stands in for P2. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "parties/messages.h"
#include "tests/parties/parties.h"

#define BUCKET 8

static struct parties parties;
static struct model model;
static struct folded folded;
static struct description description;
static unsigned char id[MODEL_ID_BYTES];

static void set_up(void)
{
    parties_init(&parties, 5000, false);
    for (int i = 0; i < 3; i++)
        parties_start(&parties, i);
    parties_tiny_model(&model, 1, 7);
    ck_ok(model_fold(&model, &folded));
    parties_calibrate(&model, &folded, BUCKET, &description);
}

static void tear_down(void)
{
    description_clear(&description);
    folded_clear(&folded);
    model_clear(&model);
    parties_clear(&parties);
}

static enum status infer(struct client *client)
{
    struct question q;
    float logits[MODEL_LABELS_MAX];
    question_make(&q, &model, 5, BUCKET);
    struct inference inference = {.model = id,
                                  .bucket = BUCKET,
                                  .batch = 1,
                                  .embeddings = q.embeddings,
                                  .length = &q.length,
                                  .logits = logits};
    const enum status status = client_infer(client, &description, &inference);
    question_clear(&q);
    return status;
}

static const char *failed; /* what went wrong in the other thread */

/* Answers one request as a P2 would that compiled something else from the same description. */
static void *offer_another_schedule(void *argument)
{
    static const unsigned char other[SCHEDULE_HASH_BYTES] = {1, 2, 3};
    struct net_hub *hub = argument;
    struct net_session *session = NULL;
    const char *request;
    char *text = NULL;
    int peer;
    if (net_hub_accept(hub, &session, &peer, &request, 20000) != STATUS_OK) {
        failed = "no request came";
        return NULL;
    }
    const int leader = net_hub_peer(hub, NET_ROLE_P1);
    json_t *offer = json_pack("{s:o, s:o, s:i, s:i}", "model", message_hex_new(id, sizeof id), "schedule",
                              message_hex_new(other, sizeof other), "next", 1, "count", 1);
    if (message_send(session, leader, NET_CONTROL, offer) != STATUS_OK)
        failed = "the offer was not sent";
    /* P1 refuses: an error comes, and never a "take". */
    else if (net_receive_text(session, leader, NET_CONTROL, &text, 1000) != STATUS_FOREIGN)
        failed = "P1 did not refuse";
    free(text);
    net_session_close(&session);
    return NULL;
}

START_TEST(a_foreign_schedule_is_refused_by_name_and_costs_no_bundle)
{
    struct client *client = NULL;
    struct net_hub *hub = NULL;
    pthread_t thread;
    ck_ok(client_open(&client, &parties.config[PARTY_OWNER], NULL));
    ck_ok(client_share(client, &description, &folded, NULL, NULL, id));
    struct deal_request deal = {.model = id, .bucket = BUCKET, .batch = 1, .count = 1};
    ck_ok(client_deal(client, &description, &deal));
    ck_assert_int_eq(parties_stop(&parties, PARTY_P2), 0);

    ck_ok(config_hub(&parties.config[PARTY_P2], NULL, &hub));
    ck_assert_int_eq(pthread_create(&thread, NULL, offer_another_schedule, hub), 0);
    ck_assert_int_eq(infer(client), STATUS_FOREIGN);
    ck_assert_ptr_nonnull(strstr(status_message(), "P2 has another schedule for this model"));
    pthread_join(thread, NULL);
    ck_assert_msg(failed == NULL, "%s", failed);
    net_hub_close(&hub);

    parties_start(&parties, PARTY_P2);
    ck_ok(infer(client)); /* on the one bundle there is */
    client_close(&client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parties/foreign");
    TCase *tests = tcase_create("foreign");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_foreign_schedule_is_refused_by_name_and_costs_no_bundle);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int count = srunner_ntests_failed(runner);
    srunner_free(runner);
    return count == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
