/* Inferences at three parties in one process: what they send, wait for, refuse and end. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "net/hub.h"
#include "parties/client_session.h"
#include "parties/job.h"
#include "ring/parameters.h"
#include "ring/stream.h"
#include "tests/parties/services.h"
#include "tests/run.h"

START_TEST(what_is_counted_is_what_a_run_sends)
{
    static const struct {
        uint32_t bucket, batch;
        enum tune tune;
    } shape[] = {{16, 1, TUNE_WAN}, {8, 3, TUNE_WAN}, {16, 2, TUNE_LAN}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        struct schedule s;
        struct cost cost;
        struct deal_request dealt;
        struct inference inference;
        ck_ok(description_compile(&description, shape[i].bucket, shape[i].batch, shape[i].tune, &s));
        walk_count(&s, &cost);
        services_deal(shape[i].bucket, shape[i].batch, shape[i].tune, 1, &dealt);
        services_infer(owner, shape[i].bucket, shape[i].batch, shape[i].tune, &inference);
        ck_assert_uint_eq(inference.rounds, cost.rounds);
        ck_assert_uint_eq(inference.bytes, cost.online_bytes);
        ck_assert_uint_eq(dealt.bytes_p1, cost.offline_p1);
        ck_assert_uint_eq(dealt.bytes_p2, cost.offline_p2);
        schedule_clear(&s);
    }
}
END_TEST

START_TEST(a_profile_accounts_for_the_whole_online_time)
{
    struct walk_profile profile[2];
    struct deal_request dealt;
    struct inference i = {.model = id, .bucket = 16, .batch = 1, .length = (uint32_t[]){4}, .profile = profile};
    float *embeddings = calloc((size_t)16 * model.config.hidden, sizeof *embeddings), logits[2];
    i.embeddings = embeddings;
    i.logits = logits;
    services_deal(16, 1, TUNE_WAN, 1, &dealt);
    ck_ok(client_infer(owner, &description, &i));
    double most = 0;
    for (int party = 0; party < 2; party++) {
        double sum = 0, gemm = 0;
        ck_assert_uint_eq(profile[party].rounds, i.rounds);
        for (uint32_t g = 0; g < profile[party].gates; g++) {
            ck_assert_double_ge(profile[party].gemm[g], 0);
            ck_assert_double_le(profile[party].gemm[g], profile[party].compute[g]);
            sum += profile[party].compute[g];
            gemm += profile[party].gemm[g];
        }
        for (uint32_t r = 0; r < profile[party].rounds; r++)
            sum += profile[party].wait[r];
        ck_assert_double_gt(gemm, 0);
        ck_assert_double_gt(profile[party].warm, 0);
        most = sum > most ? sum : most;
        walk_profile_clear(&profile[party]);
    }
    ck_assert_double_le(1e3 * most, i.online_ms);
    free(embeddings);
}
END_TEST

START_TEST(an_inference_without_a_bundle_says_so_and_loses_nothing)
{
    struct deal_request dealt;
    struct inference i = {.model = id, .bucket = 16, .batch = 1, .length = (uint32_t[]){4}};
    float *embeddings = calloc((size_t)16 * model.config.hidden, sizeof *embeddings), logits[2];
    i.embeddings = embeddings;
    i.logits = logits;
    ck_assert_int_eq(client_infer(owner, &description, &i), STATUS_EMPTY);
    ck_assert_ptr_nonnull(strstr(status_message(), "trefoil offline"));
    services_deal(16, 1, TUNE_WAN, 2, &dealt);
    ck_assert_uint_eq(dealt.ready, 2);
    services_infer(owner, 16, 1, TUNE_WAN, &i);
    services_infer(owner, 16, 1, TUNE_WAN, &i);
    free(embeddings);
}
END_TEST

/* ---- the shares of an answer ---- */

/* The first two logits: as the walk of each evaluator left them, and as they were sent. */
static struct {
    pthread_mutex_t lock;
    uint32_t walked[2][2], sent[2][2];
} answer = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum status __real_walk_online(struct evaluator *e, const struct ring_wide *inputs, uint32_t *output);
enum status __wrap_walk_online(struct evaluator *e, const struct ring_wide *inputs, uint32_t *output);
enum status __real_net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label, const void *data,
                            size_t bytes);
enum status __wrap_net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label, const void *data,
                            size_t bytes);

enum status __wrap_walk_online(struct evaluator *e, const struct ring_wide *inputs, uint32_t *output)
{
    const enum status status = __real_walk_online(e, inputs, output);
    pthread_mutex_lock(&answer.lock);
    memcpy(answer.walked[e->party - 1], output, sizeof answer.walked[0]);
    pthread_mutex_unlock(&answer.lock);
    return status;
}

enum status __wrap_net_send(struct net_session *session, int peer, enum net_kind kind, uint32_t label, const void *data,
                            size_t bytes)
{
    if (kind == NET_OUTPUT) {
        pthread_mutex_lock(&answer.lock);
        memcpy(answer.sent[session->hub == service[2]->hub], data, sizeof answer.sent[0]);
        pthread_mutex_unlock(&answer.lock);
    }
    return __real_net_send(session, peer, kind, label, data, bytes);
}

/* With what the dealer knows, the walk's shares would tell it about weights and text, were it the client, too. */
START_TEST(shares_of_an_answer_are_covered_by_what_the_dealer_does_not_know)
{
    struct deal_request dealt;
    struct inference i;
    uint32_t cover[2][2];
    services_deal(16, 1, TUNE_WAN, 2, &dealt);
    for (int n = 0; n < 2; n++) {
        services_infer(owner, 16, 1, TUNE_WAN, &i);
        pthread_mutex_lock(&answer.lock);
        for (int k = 0; k < 2; k++) {
            cover[n][k] = answer.sent[0][k] - answer.walked[0][k];
            ck_assert_uint_ne(cover[n][k], 0);
            ck_assert_uint_eq(answer.walked[1][k] - answer.sent[1][k], cover[n][k]);
        }
        pthread_mutex_unlock(&answer.lock);
        ck_assert_uint_ne(cover[n][0], cover[n][1]);
    }
    ck_assert_uint_ne(cover[0][0], cover[1][0]);
    ck_assert_uint_ne(cover[0][1], cover[1][1]);
}
END_TEST

/* ---- inputs beyond what calibration saw ---- */

START_TEST(a_client_does_not_send_a_text_far_from_those_of_calibration)
{
    struct deal_request dealt;
    struct question q;
    float logits[2];
    services_deal(16, 1, TUNE_WAN, 1, &dealt);
    question_make(&q, &model, 9, 16);
    struct inference i = {.model = id, .bucket = 16, .batch = 1, .embeddings = q.embeddings, .length = &q.length, .logits = logits};
    const size_t n = (size_t)16 * model.config.hidden;
    float *given = malloc(n * sizeof *given);
    memcpy(given, q.embeddings, n * sizeof *given);
    /* A value by itself; many that are in range each, and not their squares' sum; one that is no number. */
    q.embeddings[n - 1] = 1000 * (float)description.range[0].largest;
    ck_assert_int_eq(client_infer(owner, &description, &i), STATUS_RANGE);
    ck_assert_ptr_nonnull(strstr(status_message(), "not sent"));
    for (uint32_t c = 0; c < model.config.hidden; c++)
        q.embeddings[c] = (float)description.range[0].largest * (c & 1 ? 3.9f : -3.9f);
    q.embeddings[n - 1] = given[n - 1];
    ck_assert_int_eq(client_infer(owner, &description, &i), STATUS_RANGE);
    memcpy(q.embeddings, given, n * sizeof *given);
    q.embeddings[5] = NAN;
    ck_assert_int_eq(client_infer(owner, &description, &i), STATUS_RANGE);
    memcpy(q.embeddings, given, n * sizeof *given);
    ck_ok(client_infer(owner, &description, &i)); /* the bundle is still there */
    free(given);
    question_clear(&q);
}
END_TEST

/* Whom a failure was told to, and in which words; reports come from several threads. */
static struct {
    pthread_mutex_t lock;
    int range_errors, to_dealer, other_words, to_parties;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

void __real_net_send_error(struct net_session *session, int peer, enum status code);
void __wrap_net_send_error(struct net_session *session, int peer, enum status code);

void __wrap_net_send_error(struct net_session *session, int peer, enum status code)
{
    pthread_mutex_lock(&told.lock);
    told.to_parties += net_is_party(session->hub->peers[peer].role);
    if (code == STATUS_RANGE) {
        told.range_errors++;
        told.to_dealer += session->hub->peers[peer].role == NET_ROLE_P0;
        told.other_words += strcmp(status_message(), "a value left its range: the text is unlike those of calibration") != 0;
    }
    pthread_mutex_unlock(&told.lock);
    __real_net_send_error(session, peer, code);
}

/* A client of its own making shares any integers: P1's share of each is zero but for its stream, as in client_infer.c. */
static enum status infer_integers(const struct schedule *s, const int64_t *const *x)
{
    struct net_session *session = NULL;
    struct ring_seed seed = {{3}}, key;
    uint32_t number = 0, share[2];
    ck_ok(client_ask(owner, 7, client_shape_request("infer", id, s, TUNE_WAN), &session));
    for (int party = 0; party < 3; party++) {
        json_t *reply = NULL;
        ck_ok(client_reply(owner, session, party, &reply));
        json_decref(reply);
    }
    ck_ok(net_send(session, owner->party[1], NET_INPUT, 0, &seed, sizeof seed));
    const struct net_session_id session_id = net_session_id(session);
    for (uint32_t g = 0; g < s->gates; g++) {
        if (s->gate[g].kind != GATE_INPUT)
            continue;
        const size_t n = tensor_size(&s->tensor[s->gate[g].out]);
        uint64_t *data = malloc(n * RING_PRODUCT_BYTES);
        const struct ring_wide z = {data, (uint16_t *)(data + n)};
        ring_stream_key(&key, &seed, session_id.bytes, sizeof session_id.bytes, number, RING_PURPOSE_INPUT);
        ring_stream_wide(z, n, &key);
        for (size_t k = 0; k < n; k++)
            ring_wide_set(z, k, (ring_u128)(ring_i128)x[number][k] - ring_wide_get(z, k));
        ck_ok(net_send(session, owner->party[2], NET_INPUT, number++, data, n * RING_PRODUCT_BYTES));
        free(data);
    }
    const enum status status = net_receive(session, owner->party[1], NET_OUTPUT, 0, share, sizeof share);
    net_session_close(&session);
    return status;
}

START_TEST(what_ends_for_its_values_is_told_in_one_fixed_text_and_not_to_the_dealer)
{
    struct schedule s;
    struct deal_request dealt;
    int64_t x[16 * 16], mask[16];
    enum status status = STATUS_OK;
    ck_ok(description_compile(&description, 16, 1, TUNE_WAN, &s));
    for (int64_t most = 1 << 10; status == STATUS_OK && most < RING_RANGE; most *= 2) {
        for (int k = 0; k < 16; k++)
            mask[k] = 1;
        for (int k = 0; k < 16 * 16; k++)
            x[k] = (int64_t)randombytes_uniform(2 * (uint32_t)most) - most;
        services_deal(16, 1, TUNE_WAN, 1, &dealt);
        status = infer_integers(&s, (const int64_t *const[2]){x, mask});
    }
    ck_assert_int_eq(status, STATUS_RANGE);
    ck_assert_str_eq(status_message() + strlen("P1: "), "a value left its range: the text is unlike those of calibration");
    for (int waited = 0; waited < 5000; waited += 10) { /* P2 ends a moment later */
        pthread_mutex_lock(&told.lock);
        const int errors = told.range_errors;
        pthread_mutex_unlock(&told.lock);
        if (errors >= 4)
            break;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    pthread_mutex_lock(&told.lock);
    ck_assert_int_eq(told.range_errors, 4); /* two evaluators, to each other and to the client */
    ck_assert_int_eq(told.to_dealer, 0);
    ck_assert_int_eq(told.other_words, 0);
    pthread_mutex_unlock(&told.lock);
    schedule_clear(&s);
}
END_TEST

/* Warming is not waited for by anybody: it is there after a while. */
static void infer_until_ahead(uint32_t bucket)
{
    struct inference i = {.ahead = false};
    for (int tries = 0; tries < 20 && !i.ahead; tries++) {
        services_pause(100);
        services_infer(owner, bucket, 1, TUNE_WAN, &i);
    }
    ck_assert(i.ahead);
}

START_TEST(the_next_bundle_is_warmed_ahead_and_still_ready)
{
    struct deal_request dealt;
    struct inference i;
    services_deal(16, 1, TUNE_WAN, 30, &dealt);
    infer_until_ahead(16);
    services_deal(16, 1, TUNE_WAN, 1, &dealt);
    const uint64_t ready = dealt.ready;
    services_pause(200);
    services_deal(16, 1, TUNE_WAN, 1, &dealt);
    ck_assert_uint_eq(dealt.ready, ready + 1); /* what is warmed counts as ready until it is taken */
    services_infer(owner, 16, 1, TUNE_WAN, &i);
}
END_TEST

/* Under the same serial there may be another bundle: dealt again after a store was restored, with other masks. */
START_TEST(what_was_warmed_ahead_is_claimed_by_its_whole_name)
{
    const struct party_model *shared;
    const struct schedule *schedule;
    struct deal_request dealt;
    uint64_t serial, mark, count;
    double seconds;
    services_deal(16, 1, TUNE_WAN, 24, &dealt);
    infer_until_ahead(16);
    for (int party = 1; party < 3; party++) {
        struct service *s = service[party];
        struct store_bundle *bundle;
        struct evaluator e = {0};
        ck_ok(models_get(s->models, id, &shared));
        ck_ok(models_schedule(s->models, shared, 16, 1, TUNE_WAN, &schedule));
        ck_ok(store_bundle_next(s->store, id, schedule->hash, &serial, &mark, &count));
        ck_ok(store_bundle_peek(s->store, id, schedule->hash, serial, &bundle));
        struct store_name name = *store_bundle_name(bundle);
        store_bundle_close(&bundle);
        name.nonce[STORE_HASH_BYTES - 1] ^= (unsigned char)(party == 1);
        /* It may not be warm yet: P1 is asked for the other one while it becomes so, P2 until it is. */
        bool good = false;
        for (int tries = 0; !good && tries < (party == 1 ? 20 : 100); tries++) {
            good = warm_claim(s->warm, &name, &e, &seconds);
            services_pause(100);
        }
        ck_assert_int_eq(good, party == 2);
        ck_assert_int_eq(e.schedule != NULL, party == 2);
        if (good)
            evaluator_clear(&e);
        models_schedule_done(s->models, schedule);
    }
}
END_TEST

START_TEST(what_was_warmed_ahead_is_dropped_when_another_bundle_is_agreed_on)
{
    unsigned char schedule[SCHEDULE_HASH_BYTES];
    struct deal_request dealt;
    struct inference i;
    struct schedule s;
    uint64_t serial, mark, count;
    services_deal(16, 1, TUNE_WAN, 12, &dealt);
    infer_until_ahead(16);
    services_pause(200);
    ck_ok(description_compile(&description, 16, 1, TUNE_WAN, &s));
    memcpy(schedule, s.hash, sizeof schedule);
    schedule_clear(&s);
    ck_ok(store_bundle_next(service[0]->store, id, schedule, &serial, &mark, &count));
    ck_assert_uint_gt(count, 3);
    ck_ok(store_burn(service[0]->store, id, schedule, serial)); /* P0 loses the one that both evaluators warmed */
    services_infer(owner, 16, 1, TUNE_WAN, &i);
    ck_assert_uint_eq(i.serial, serial + 1);
    ck_assert(!i.ahead);
    services_infer(owner, 16, 1, TUNE_WAN, &i);
    ck_assert_uint_eq(i.serial, serial + 2);
}
END_TEST

static void *ask_ten(void *argument)
{
    struct client *client = NULL;
    struct config config = parties.config[PARTY_OWNER];
    struct inference i;
    uint64_t *serials = argument;
    ck_ok(client_open(&client, &config, context));
    for (int n = 0; n < 10; n++) {
        services_infer(client, 8, 1, TUNE_WAN, &i);
        serials[n] = i.serial;
    }
    client_close(&client);
    return NULL;
}

START_TEST(three_clients_at_once_get_right_answers_from_bundles_of_their_own)
{
    uint64_t serials[3][10];
    bool seen[31] = {false};
    pthread_t asking[3];
    struct deal_request dealt;
    services_deal(8, 1, TUNE_WAN, 30, &dealt);
    for (int t = 0; t < 3; t++)
        ck_assert_int_eq(pthread_create(&asking[t], NULL, ask_ten, serials[t]), 0);
    for (int t = 0; t < 3; t++)
        pthread_join(asking[t], NULL);
    for (int n = 0; n < 30; n++) {
        const uint64_t serial = serials[n / 10][n % 10];
        ck_assert(serial >= 1 && serial <= 30 && !seen[serial]);
        seen[serial] = true;
    }
}
END_TEST

START_TEST(a_bundle_that_needs_more_memory_than_allowed_is_refused_and_not_spent)
{
    struct deal_request r = {.model = id, .bucket = 16, .batch = 1, .count = 1};
    struct inference i;
    services_deal(16, 1, TUNE_WAN, 1, &r);
    parties.config[PARTY_P2].memory_bytes = 1000; /* the service reads its configuration where it lies */
    r.dealt = 0;
    ck_assert_int_eq(client_deal(owner, &description, &r), STATUS_MEMORY);
    ck_assert_ptr_nonnull(strstr(status_message(), "P2"));
    float *embeddings = calloc((size_t)16 * model.config.hidden, sizeof *embeddings), logits[2];
    i = (struct inference){.model = id, .bucket = 16, .batch = 1, .length = (uint32_t[]){4}, .embeddings = embeddings,
                           .logits = logits};
    ck_assert_int_eq(client_infer(owner, &description, &i), STATUS_MEMORY);
    free(embeddings);
    parties.config[PARTY_P2].memory_bytes = 0;
    services_infer(owner, 16, 1, TUNE_WAN, &i);
    ck_assert_uint_eq(i.serial, 1);
}
END_TEST

static void *infer_some(void *argument)
{
    struct inference i;
    for (int n = 0; n < *(int *)argument; n++)
        services_infer(owner, 8, 1, TUNE_WAN, &i);
    return NULL;
}

/* Two at a time where there are two places, which are free only some time after an answer. And one client serves two threads. */
START_TEST(requests_wait_for_a_place)
{
    struct deal_request dealt;
    pthread_t asking;
    int some = 10;
    services_deal(8, 1, TUNE_WAN, 2 * (uint32_t)some, &dealt);
    for (int p = 0; p < 3; p++)
        parties.config[p].requests_max = 2;
    ck_assert_int_eq(pthread_create(&asking, NULL, infer_some, &some), 0);
    infer_some(&some);
    pthread_join(asking, NULL);
}
END_TEST

/* A party that waits for the input of an inference, which never comes, has no place for another; but tells its status. */
static void *close_late(void *argument)
{
    struct net_session **stuck = argument;
    sleep(6); /* a party lets a request wait for a place for 5 seconds */
    net_session_close(stuck);
    return NULL;
}

/* One place at each party from now on; an inference that gets no input has it, until *stuck is closed. */
static void occupy(struct schedule *s, struct net_session **stuck)
{
    struct deal_request dealt;
    ck_ok(description_compile(&description, 8, 1, TUNE_WAN, s));
    services_deal(8, 1, TUNE_WAN, 1, &dealt);
    for (int p = 0; p < 3; p++)
        parties.config[p].requests_max = 1;
    ck_ok(client_ask(owner, 7, client_shape_request("infer", id, s, TUNE_WAN), stuck));
    for (int p = 1; p < 3; p++) {
        json_t *reply = NULL;
        ck_ok(client_reply(owner, *stuck, p, &reply));
        json_decref(reply);
    }
}

START_TEST(a_request_that_finds_no_place_is_refused_and_asked_again_for_a_while)
{
    struct config hasty = parties.config[PARTY_OWNER];
    struct client *client = NULL;
    pthread_t closing;
    struct deal_request more = {.model = id, .bucket = 8, .batch = 1, .tune = TUNE_WAN, .count = 1};
    struct net_session *stuck = NULL;
    struct inference i;
    struct schedule s;
    char *status = NULL;
    occupy(&s, &stuck);
    hasty.timeout_ms = 1000;
    ck_ok(client_open(&client, &hasty, context));
    ck_assert_int_eq(client_deal(client, &description, &more), STATUS_BUSY);
    ck_assert_ptr_nonnull(strstr(status_message(), "requests_max"));
    ck_ok(client_status(owner, NET_ROLE_P1, &status));
    free(status);
    client_close(&client);
    ck_assert_int_eq(pthread_create(&closing, NULL, close_late, &stuck), 0);
    ck_ok(client_deal(owner, &description, &more));
    pthread_join(closing, NULL);
    services_infer(owner, 8, 1, TUNE_WAN, &i);
    ck_assert_uint_eq(i.serial, 2);
    schedule_clear(&s);
}
END_TEST

#define MORE 14

/* P1 and P2 are asked apart: a request that one of them refuses may never reach the other. */
START_TEST(status_is_told_while_all_places_are_taken_and_all_that_may_wait_do)
{
    struct net_session *stuck = NULL, *more[3][MORE];
    struct schedule s;
    json_t *reply = NULL;
    occupy(&s, &stuck);
    for (int n = 0; n < MORE; n++)
        for (int p = 1; p < 3; p++)
            ck_ok(client_ask(owner, 1u << p, client_shape_request("infer", id, &s, TUNE_WAN), &more[p][n]));
    for (enum net_role party = NET_ROLE_P0; party <= NET_ROLE_P2; party++) {
        char *status = NULL;
        ck_ok(client_status(owner, party, &status));
        ck_assert(party == NET_ROLE_P0 || strstr(status, "\"requests\":2,") != NULL);
        free(status);
    }
    for (int p = 1; p < 3; p++) {
        int refused = 0;
        for (int n = 0; n < MORE; n++) { /* one waits, and is refused later than the others */
            const enum status status = client_reply(owner, more[p][n], p, &reply);
            ck_assert_int_eq(status, STATUS_BUSY);
            refused += strstr(status_message(), "has 2 requests already (requests_max)") != NULL;
            net_session_close(&more[p][n]);
        }
        ck_assert_int_eq(refused, MORE - 1);
        pthread_mutex_lock(&service[p]->notices.lock); /* of its log the first is a line */
        ck_assert_uint_ge(service[p]->notices.busy.untold, MORE - 2);
        pthread_mutex_unlock(&service[p]->notices.lock);
    }
    net_session_close(&stuck);
    schedule_clear(&s);
}
END_TEST

START_TEST(what_concerns_one_party_is_told_to_no_other)
{
    static const char *const requests[] = {"{\"op\": \"x\"}", "{\"op\": 1}", "{\"op\": \"describe\", \"model\": \"none of this name\"}", "{}"};
    pthread_mutex_lock(&told.lock);
    const int before = told.to_parties;
    pthread_mutex_unlock(&told.lock);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct net_session *session = NULL;
        json_t *reply = NULL;
        ck_ok(client_ask(owner, 1u << 1, json_loads(requests[i], 0, NULL), &session));
        ck_assert(client_reply(owner, session, 1, &reply) != STATUS_OK);
        net_session_close(&session);
    }
    pthread_mutex_lock(&told.lock);
    ck_assert_int_eq(told.to_parties, before);
    pthread_mutex_unlock(&told.lock);
}
END_TEST

START_TEST(many_shapes_can_be_asked_for_one_after_the_other)
{
    struct deal_request dealt;
    struct inference i;
    for (uint32_t bucket = 3; bucket < 27; bucket++) {
        services_deal(bucket, 1, TUNE_WAN, 1, &dealt);
        services_infer(owner, bucket, 1, TUNE_WAN, &i);
    }
    services_deal(3, 1, TUNE_WAN, 1, &dealt);
    services_infer(owner, 3, 1, TUNE_WAN, &i);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("service");
    TCase *tcase = tcase_create("three parties in one process");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, services_start, services_stop);
    tcase_add_test(tcase, what_is_counted_is_what_a_run_sends);
    tcase_add_test(tcase, a_profile_accounts_for_the_whole_online_time);
    tcase_add_test(tcase, an_inference_without_a_bundle_says_so_and_loses_nothing);
    tcase_add_test(tcase, shares_of_an_answer_are_covered_by_what_the_dealer_does_not_know);
    tcase_add_test(tcase, a_client_does_not_send_a_text_far_from_those_of_calibration);
    tcase_add_test(tcase, what_ends_for_its_values_is_told_in_one_fixed_text_and_not_to_the_dealer);
    tcase_add_test(tcase, the_next_bundle_is_warmed_ahead_and_still_ready);
    tcase_add_test(tcase, what_was_warmed_ahead_is_claimed_by_its_whole_name);
    tcase_add_test(tcase, what_was_warmed_ahead_is_dropped_when_another_bundle_is_agreed_on);
    tcase_add_test(tcase, three_clients_at_once_get_right_answers_from_bundles_of_their_own);
    tcase_add_test(tcase, a_bundle_that_needs_more_memory_than_allowed_is_refused_and_not_spent);
    tcase_add_test(tcase, requests_wait_for_a_place);
    tcase_add_test(tcase, a_request_that_finds_no_place_is_refused_and_asked_again_for_a_while);
    tcase_add_test(tcase, what_concerns_one_party_is_told_to_no_other);
    tcase_add_test(tcase, status_is_told_while_all_places_are_taken_and_all_that_may_wait_do);
    tcase_add_test(tcase, many_shapes_can_be_asked_for_one_after_the_other);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
