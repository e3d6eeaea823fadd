/* Models at three parties in one process: shared, loaded, named, missing at one, removed. */
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "model/random_model.h"
#include "parties/client_session.h"
#include "parties/job.h"
#include "ring/clock.h"
#include "tests/parties/services.h"
#include "tests/run.h"

/* ---- the logs of all three ---- */

static struct {
    pthread_mutex_t lock;
    char expected[200];
    unsigned parties; /* bit i: P_i has written that line */
    int lines;        /* such lines, whatever they call the model */
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

void __wrap_journal(const char *party, const char *format, ...) __attribute__((format(printf, 2, 3)));

void __wrap_journal(const char *party, const char *format, ...)
{
    char line[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&logged.lock);
    if (*logged.expected && strcmp(line, logged.expected) == 0)
        logged.parties |= 1u << (party[1] - '0');
    logged.lines += *logged.expected && strncmp(line, logged.expected, strcspn(logged.expected, "(") - 1) == 0;
    pthread_mutex_unlock(&logged.lock);
}

static void expect(const char *did, const unsigned char which[MODEL_ID_BYTES])
{
    char hex[13];
    pthread_mutex_lock(&logged.lock);
    snprintf(logged.expected, sizeof logged.expected, "owner %s model %s (%s)", did,
             sodium_bin2hex(hex, sizeof hex, which, 6), description.name);
    logged.parties = 0;
    logged.lines = 0;
    pthread_mutex_unlock(&logged.lock);
}

static void was_logged(unsigned by)
{
    pthread_mutex_lock(&logged.lock);
    ck_assert_uint_eq(logged.parties, by);
    ck_assert_int_eq(logged.lines, (by & 1) + (by >> 1 & 1) + (by >> 2));
    pthread_mutex_unlock(&logged.lock);
}

START_TEST(who_shares_and_who_removes_a_model_is_in_the_log_of_each_party)
{
    unsigned char other[MODEL_ID_BYTES];
    description.nonce[0] ^= 1;
    strcpy(description.name, "another");
    ck_ok(description_id(&description, other));
    expect("shared", other);
    ck_ok(client_share(owner, &description, &folded, NULL, NULL, other));
    was_logged(7);
    expect("removed", other);
    ck_ok(store_model_remove(service[1]->store, other)); /* not by request, and not logged */
    ck_ok(client_remove(owner, other));
    was_logged(5);
    ck_assert_int_eq(client_remove(owner, other), STATUS_INPUT);
    was_logged(5);
}
END_TEST

/* Requests end some time after their answers, and what was warmed ahead after that. */
static void until_loaded(uint32_t count)
{
    for (int party = 0; party < 3; party++) {
        for (int tries = 0; tries < 200 && models_loaded(service[party]->models) != count; tries++)
            services_pause(50);
        ck_assert_uint_eq(models_loaded(service[party]->models), count);
    }
}

START_TEST(a_removed_model_is_gone_at_every_party)
{
    struct description again;
    unsigned char found[MODEL_ID_BYTES];
    ck_ok(client_describe(owner, NULL, &again, found));
    ck_assert_mem_eq(found, id, sizeof found);
    description_clear(&again);
    ck_ok(client_remove(owner, id));
    ck_assert_int_eq(client_describe(owner, NULL, &again, found), STATUS_INPUT);
    struct deal_request r = {.model = id, .bucket = 8, .batch = 1, .count = 1};
    ck_assert_int_ne(client_deal(owner, &description, &r), STATUS_OK);
}
END_TEST

START_TEST(a_removed_model_is_not_shared_again_under_its_id)
{
    unsigned char again[MODEL_ID_BYTES];
    ck_ok(client_remove(owner, id));
    ck_assert_int_eq(client_share(owner, &description, &folded, NULL, NULL, again), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "was removed from"));
    description.nonce[0]++;
    ck_ok(client_share(owner, &description, &folded, NULL, NULL, again));
    ck_assert_mem_ne(again, id, sizeof again);
}
END_TEST

START_TEST(a_removed_model_leaves_the_memory_with_its_last_user)
{
    const struct party_model *used = NULL;
    struct deal_request dealt;
    struct inference i;
    services_deal(8, 1, TUNE_WAN, 3, &dealt);
    services_infer(owner, 8, 1, TUNE_WAN, &i);
    until_loaded(1);
    ck_ok(models_get(service[1]->models, id, &used));
    ck_ok(client_remove(owner, id));
    services_pause(300);
    ck_assert_uint_eq(models_loaded(service[1]->models), 1);
    ck_assert_uint_eq(used->description.weights, description.weights);
    models_done(service[1]->models, used);
    until_loaded(0);
}
END_TEST

static void *load(void *argument)
{
    const struct party_model *loaded = NULL;
    ck_ok(models_get(service[1]->models, argument, &loaded));
    return (void *)loaded;
}

START_TEST(nobody_waits_while_a_model_is_loaded_but_who_wants_it)
{
    struct model_config c = {.hidden = 256, .layers = 6, .heads = 2, .ffn = 1024, .vocabulary = 200, .positions = 32,
                             .types = 2, .labels = 2, .layer_norm_eps = 1e-12f, .softmax_c = 5.0f,
                             .activation = MODEL_QUAD, .attention = MODEL_2QUAD};
    unsigned char large[MODEL_ID_BYTES];
    pthread_t loading[2];
    void *loaded[2];
    folded_clear(&folded);
    description_clear(&description);
    model_clear(&model);
    strcpy(c.label[0], "no");
    strcpy(c.label[1], "yes");
    ck_ok(random_model_make(&model, &c, 6));
    ck_ok(model_fold(&model, &folded));
    parties_calibrate(&model, &folded, SERVICES_BUCKET, &description);
    ck_ok(client_share(owner, &description, &folded, NULL, NULL, large));

    const double start = clock_seconds();
    double longest = 0;
    for (int t = 0; t < 2; t++)
        ck_assert_int_eq(pthread_create(&loading[t], NULL, load, large), 0);
    bool done = false;
    for (int t = 0; t < 2; t++, done = false)
        while (!done) {
            const double before = clock_seconds();
            models_loaded(service[1]->models);
            longest = fmax(longest, clock_seconds() - before);
            services_pause(1);
            done = pthread_tryjoin_np(loading[t], &loaded[t]) == 0;
        }
    const double all = clock_seconds() - start;
    ck_assert_ptr_eq(loaded[0], loaded[1]);
    ck_assert_msg(longest < all / 2, "waited %.3f of %.3f seconds", longest, all);
    for (int t = 0; t < 2; t++)
        models_done(service[1]->models, loaded[t]);
    struct party_model const *none = NULL;
    large[0] ^= 1;
    ck_assert_int_eq(models_get(service[1]->models, large, &none), STATUS_INPUT);
    ck_assert_uint_eq(models_loaded(service[1]->models), 1);
}
END_TEST

/* How many of them a party says it holds. */
static size_t listed_at(enum net_role party, const char *what)
{
    char *text = NULL;
    ck_ok(client_status(owner, party, &text));
    json_t *status = json_loads(text, 0, NULL);
    const size_t count = json_array_size(json_object_get(status, what));
    json_decref(status);
    free(text);
    return count;
}

static size_t models_at(enum net_role party)
{
    return listed_at(party, "models");
}

static void count_lines(void *lines, const struct store_count *count)
{
    ck_assert_mem_eq(count->model, id, sizeof id);
    ck_assert_uint_gt(count->mark, 0);
    ++*(size_t *)lines;
}

START_TEST(bundles_of_a_removed_model_are_listed_until_they_are_gone_and_their_marks_are_kept)
{
    struct deal_request dealt;
    struct inference i;
    services_deal(8, 1, TUNE_WAN, 1, &dealt);
    services_deal(16, 1, TUNE_WAN, 2, &dealt);
    services_infer(owner, 8, 1, TUNE_WAN, &i);
    for (int party = 0; party < 3; party++)
        ck_assert_uint_eq(listed_at((enum net_role)party, "bundles"), 2); /* one of them with nothing but a mark */
    ck_ok(client_remove(owner, id));
    for (int party = 0; party < 3; party++) {
        size_t lines = 0;
        for (int tries = 0; tries < 200 && listed_at((enum net_role)party, "bundles") > 0; tries++)
            services_pause(50);
        ck_assert_uint_eq(listed_at((enum net_role)party, "bundles"), 0);
        ck_ok(store_bundle_list(service[party]->store, count_lines, &lines));
        ck_assert_uint_eq(lines, 2);
    }
}
END_TEST

static void tune_at(struct service *at, enum tune wanted)
{
    enum tune tune;
    struct models *fresh = NULL; /* as after a restart: nothing is loaded or compiled */
    struct schedule s;
    ck_ok(description_compile(&description, 8, 2, wanted, &s));
    ck_ok(models_open(&fresh, at->store, at->party));
    for (int i = 0; i < 2; i++) {
        ck_assert(models_tune(fresh, id, s.hash, 8, 2, &tune));
        ck_assert_int_eq(tune, wanted);
    }
    ck_assert_uint_eq(models_loaded(fresh), 0);
    s.hash[0] ^= 1;
    ck_assert(!models_tune(fresh, id, s.hash, 8, 2, &tune));
    models_close(&fresh);
    schedule_clear(&s);
}

START_TEST(the_tune_of_bundles_is_known_before_their_schedule_is_used)
{
    for (int party = 0; party < 3; party++) {
        tune_at(service[party], TUNE_WAN);
        tune_at(service[party], TUNE_LAN);
    }
}
END_TEST

/* Another upload of the same model, as a text. */
static char *upload_called(const char *name, unsigned char other[MODEL_ID_BYTES])
{
    char *text = NULL;
    description.nonce[0]++;
    snprintf(description.name, sizeof description.name, "%s", name);
    ck_ok(description_id(&description, other));
    ck_ok(description_write(&description, &text));
    return text;
}

static char *another_upload(unsigned char other[MODEL_ID_BYTES])
{
    return upload_called("half", other);
}

START_TEST(a_share_that_is_interrupted_leaves_nothing_behind)
{
    static const unsigned char seeds[64] = {1};
    unsigned char other[MODEL_ID_BYTES];
    struct net_session *session = NULL;
    char *text = another_upload(other);
    ck_ok(client_ask(owner, 7, json_pack("{s:s, s:s}", "op", "share", "description", text), &session));
    free(text);
    for (int party = 0; party < 3; party++) {
        json_t *reply = NULL;
        ck_ok(client_reply(owner, session, party, &reply));
        json_decref(reply);
        ck_ok(net_send(session, owner->party[party], NET_SEED, 0, seeds, party == 0 ? 64 : 32));
    }
    json_t *received = NULL;
    ck_ok(client_reply(owner, session, 0, &received)); /* P0 has all it will get */
    json_decref(received);
    ck_assert_uint_eq(models_at(NET_ROLE_P0), 1);
    for (int party = 0; party < 3; party++)
        net_send_error(session, owner->party[party], status_fail(STATUS_STOPPED, "interrupted"));
    net_session_close(&session);
    services_pause(300);
    for (int party = 0; party < 3; party++)
        ck_assert_uint_eq(models_at((enum net_role)party), 1);
}
END_TEST

/* A party holds a model that the others lack. */
static void leave_remains(int party, const unsigned char other[MODEL_ID_BYTES], const char *text)
{
    struct store_model *remains = NULL;
    ck_ok(store_model_create(service[party]->store, other, &remains));
    ck_ok(store_model_put(remains, MODEL_ITEM_DESCRIPTION, text, strlen(text)));
    ck_ok(store_model_ready(remains));
    store_model_close(&remains);
}

START_TEST(a_model_that_one_party_lacks_is_passed_over_and_can_be_removed)
{
    for (int party = 0; party < 3; party++) {
        struct description found;
        unsigned char other[MODEL_ID_BYTES], which[MODEL_ID_BYTES];
        char *text = another_upload(other), hex[2 * MODEL_ID_BYTES + 1];
        sodium_bin2hex(hex, sizeof hex, other, sizeof other);
        leave_remains(party, other, text);
        free(text);
        ck_ok(client_describe(owner, NULL, &found, which));
        ck_assert_mem_eq(which, id, sizeof id);
        description_clear(&found);
        ck_assert_int_ne(client_describe(owner, hex, &found, which), STATUS_OK);
        ck_ok(client_find(owner, NULL, &found, which));
        ck_assert_mem_eq(which, id, sizeof id);
        description_clear(&found);
        ck_ok(client_find(owner, party == 0 ? hex : "half", &found, which));
        ck_assert_mem_eq(which, other, sizeof other);
        description_clear(&found);
        ck_ok(client_remove(owner, other));
        ck_assert_int_eq(client_remove(owner, other), STATUS_INPUT);
        ck_assert_int_eq(client_find(owner, "half", &found, which), STATUS_INPUT);
    }
}
END_TEST

START_TEST(parties_without_a_model_in_common_are_told_what_each_holds)
{
    struct description found;
    unsigned char which[MODEL_ID_BYTES];
    ck_ok(store_model_remove(service[1]->store, id));
    char *text = another_upload(which);
    leave_remains(1, which, text);
    free(text);
    ck_assert_int_eq(client_describe(owner, NULL, &found, which), STATUS_FOREIGN);
    ck_assert_ptr_nonnull(strstr(status_message(), "P1 holds half ("));
    ck_assert_ptr_nonnull(strstr(status_message(), "P2 holds "));
}
END_TEST

static void expect_found(const char *name, const unsigned char wanted[MODEL_ID_BYTES])
{
    struct description found;
    unsigned char which[MODEL_ID_BYTES];
    ck_ok(client_find(owner, name, &found, which));
    description_clear(&found);
    ck_assert_msg(memcmp(which, wanted, sizeof which) == 0, "\"%s\" is found to be another model", name);
    ck_ok(client_describe(owner, name, &found, which));
    description_clear(&found);
    ck_assert_mem_eq(which, wanted, sizeof which);
}

START_TEST(a_name_that_begins_the_id_of_a_newer_model_is_a_name)
{
    for (int digits = 1; digits <= 12; digits += 11) {
        unsigned char newer[MODEL_ID_BYTES], older[MODEL_ID_BYTES];
        char hex[2 * MODEL_ID_BYTES + 1], name[13];
        char *newer_text = another_upload(newer);
        sodium_bin2hex(hex, sizeof hex, newer, sizeof newer);
        snprintf(name, sizeof name, "%.*s", digits, hex);
        char *older_text = upload_called(name, older);
        for (int party = 0; party < 3; party++) {
            leave_remains(party, older, older_text);
            leave_remains(party, newer, newer_text);
        }
        free(newer_text);
        free(older_text);
        expect_found(name, digits < 12 ? older : newer);
        expect_found(hex, newer);
        hex[12] = 0;
        expect_found(hex, newer);
        hex[11] = 0;
        struct description found;
        ck_assert_int_eq(client_find(owner, hex, &found, newer), STATUS_INPUT);
    }
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("models");
    TCase *tcase = tcase_create("three parties in one process");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, services_start, services_stop);
    tcase_add_test(tcase, who_shares_and_who_removes_a_model_is_in_the_log_of_each_party);
    tcase_add_test(tcase, a_removed_model_is_gone_at_every_party);
    tcase_add_test(tcase, a_removed_model_is_not_shared_again_under_its_id);
    tcase_add_test(tcase, bundles_of_a_removed_model_are_listed_until_they_are_gone_and_their_marks_are_kept);
    tcase_add_test(tcase, a_removed_model_leaves_the_memory_with_its_last_user);
    tcase_add_test(tcase, nobody_waits_while_a_model_is_loaded_but_who_wants_it);
    tcase_add_test(tcase, the_tune_of_bundles_is_known_before_their_schedule_is_used);
    tcase_add_test(tcase, a_share_that_is_interrupted_leaves_nothing_behind);
    tcase_add_test(tcase, a_model_that_one_party_lacks_is_passed_over_and_can_be_removed);
    tcase_add_test(tcase, parties_without_a_model_in_common_are_told_what_each_holds);
    tcase_add_test(tcase, a_name_that_begins_the_id_of_a_newer_model_is_a_name);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
