/* Parties and owners that do not do what ours do: of another version, with another bundle, with other weights for one than for the other.
 * Here the test itself stands in for them. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "net/hub.h"
#include "parties/deal_bundle.h"
#include "parties/messages.h"
#include "tests/parties/parties.h"
#include "tests/run.h"

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

/* ---- a P2 whose bundle of the serial agreed on is another one ---- */

enum { OTHER_NONCE, OTHER_DIGEST, THE_SAME };

static struct {
    struct net_hub *hub;
    struct store_name name; /* of the bundle that P2 really has */
    unsigned char digest[STORE_HASH_BYTES];
    bool went; /* P1 went on */
} other;

static void *take_another_bundle(void *argument)
{
    struct net_session *session = NULL;
    const char *request, *result = NULL;
    json_t *message = NULL;
    uint64_t serial = 0;
    int peer;
    (void)argument;
    if (net_hub_accept(other.hub, &session, &peer, &request, 20000) != STATUS_OK) {
        failed = "no request came";
        return NULL;
    }
    const int leader = net_hub_peer(other.hub, NET_ROLE_P1);
    json_t *offer = json_pack("{s:o, s:o, s:i, s:i}", "model", message_hex_new(id, sizeof id), "schedule",
                              message_hex_new(other.name.schedule, STORE_HASH_BYTES), "next",
                              (int)other.name.serial, "count", 1);
    if (message_send(session, leader, NET_CONTROL, offer) != STATUS_OK ||
        message_receive(session, leader, NET_CONTROL, &message) != STATUS_OK ||
        message_number(message, "P1", "serial", INT64_MAX, &serial) != STATUS_OK ||
        serial != other.name.serial)
        failed = "P1 did not ask for the bundle";
    json_decref(message);
    json_t *taken = json_pack("{s:s, s:I, s:o, s:o}", "result", "taken", "serial", (json_int_t)serial,
                              "nonce", message_hex_new(other.name.nonce, STORE_HASH_BYTES), "digest",
                              message_hex_new(other.digest, STORE_HASH_BYTES));
    if (message_send(session, leader, NET_CONTROL, taken) != STATUS_OK)
        failed = "the answer was not sent";
    message = NULL;
    other.went = message_receive(session, leader, NET_CONTROL, &message) == STATUS_OK &&
                 message_text(message, "P1", "result", &result) == STATUS_OK && strcmp(result, "go") == 0;
    json_decref(message);
    net_session_close(&session);
    return NULL;
}

START_TEST(nobody_goes_on_with_another_bundle_of_the_same_serial)
{
    struct client *client = NULL;
    struct store *store = NULL;
    struct store_bundle *bundle = NULL;
    struct schedule s;
    pthread_t thread;
    uint64_t serial, mark, count;
    ck_ok(client_open(&client, &parties.config[PARTY_OWNER], NULL));
    ck_ok(client_share(client, &description, &folded, NULL, NULL, id));
    struct deal_request deal = {.model = id, .bucket = BUCKET, .batch = 1, .count = 1};
    ck_ok(client_deal(client, &description, &deal));
    ck_assert_int_eq(parties_stop(&parties, PARTY_P2), 0);

    const struct store_options options = {.path = parties.config[PARTY_P2].store,
                                          .party = "P2",
                                          .map_bytes = parties.config[PARTY_P2].store_bytes};
    ck_ok(store_open(&store, &options));
    ck_ok(description_compile(&description, BUCKET, 1, TUNE_WAN, &s));
    ck_ok(store_bundle_next(store, id, s.hash, &serial, &mark, &count));
    ck_ok(store_bundle_peek(store, id, s.hash, serial, &bundle));
    other.name = *store_bundle_name(bundle);
    memcpy(other.digest, store_bundle_digest(bundle), STORE_HASH_BYTES);
    other.name.nonce[3] ^= (unsigned char)(_i == OTHER_NONCE);
    other.digest[3] ^= (unsigned char)(_i == OTHER_DIGEST);
    store_bundle_close(&bundle);
    store_close(&store);
    schedule_clear(&s);

    ck_ok(config_hub(&parties.config[PARTY_P2], NULL, &other.hub));
    ck_assert_int_eq(pthread_create(&thread, NULL, take_another_bundle, NULL), 0);
    ck_assert_int_ne(infer(client), STATUS_OK);
    pthread_join(thread, NULL);
    ck_assert_msg(failed == NULL, "%s", failed);
    ck_assert_int_eq(other.went, _i == THE_SAME);
    net_hub_close(&other.hub);
    client_close(&client);
}
END_TEST

/* ---- a P0 that makes a nonce without one party ---- */

START_TEST(a_nonce_without_our_random_bytes_is_refused)
{
    static unsigned char ours[STORE_HASH_BYTES] = {1}, theirs[STORE_HASH_BYTES] = {2};
    struct service service = {.party = PARTY_P1};
    struct job job = {.service = &service};
    struct dealing dealing = {.job = &job};
    json_t *message =
        json_pack("{s:i, s:o, s:o, s:o}", "serial", 1, "p0", message_hex_new(theirs, sizeof theirs), "p1",
                  message_hex_new(theirs, sizeof theirs), "p2", message_hex_new(ours, sizeof ours));
    ck_assert_int_eq(deal_name(&dealing, message, ours), STATUS_PEER);
    ck_assert_ptr_nonnull(strstr(status_message(), "P0 left our random bytes out"));
    json_decref(message);
}
END_TEST

/* ---- an owner whose masked weights are not the same at P1 and P2 ---- */

static int spoiled = -1; /* the weight that P2 gets wrong */

enum status __real_net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                            const void *data, size_t bytes);
enum status __wrap_net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                            const void *data, size_t bytes);

enum status __wrap_net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label,
                            const void *data, size_t bytes)
{
    if (kind != NET_WEIGHT || (int)label != spoiled ||
        strcmp(net_hub_peer_name(session->hub, peer), "P2") != 0)
        return __real_net_send(session, peer, kind, label, data, bytes);
    unsigned char *copy = malloc(bytes);
    memcpy(copy, data, bytes);
    copy[bytes - 1] ^= 1;
    const enum status status = __real_net_send(session, peer, kind, label, copy, bytes);
    free(copy);
    return status;
}

START_TEST(other_weights_at_p2_than_at_p1_are_refused)
{
    struct client *client = NULL;
    ck_ok(client_open(&client, &parties.config[PARTY_OWNER], NULL));
    spoiled = 1;
    ck_assert_int_eq(client_share(client, &description, &folded, NULL, NULL, id), STATUS_PEER);
    ck_assert_ptr_nonnull(strstr(status_message(), "sent other weights to P1 than to P2"));
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
    tcase_add_loop_test(tests, nobody_goes_on_with_another_bundle_of_the_same_serial, OTHER_NONCE,
                        THE_SAME + 1);
    tcase_add_test(tests, a_nonce_without_our_random_bytes_is_refused);
    tcase_add_test(tests, other_weights_at_p2_than_at_p1_are_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
