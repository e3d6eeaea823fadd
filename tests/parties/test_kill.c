/* Parties killed with SIGKILL at random moments of both phases, restarted, and gone on with. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "ring/threads.h"
#include "tests/parties/parties.h"
#include "tests/run.h"

#define KILLS 200
#define BUCKET 8
#define TAKEN_MAX 65536
#define LATEST_MS 250 /* most of the work below is done by then: kills fall before, into and after each step */

static struct parties parties;
static struct model model;
static struct folded folded;
static struct description description;
static unsigned char id[MODEL_ID_BYTES];

static void wait_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- what is interrupted ---- */

static enum status deal_some(uint32_t count, uint32_t *dealt)
{
    struct client *client = NULL;
    struct deal_request r = {.model = id, .bucket = BUCKET, .batch = 1, .count = count};
    enum status status = client_open(&client, &parties.config[PARTY_OWNER], NULL);
    if (status == STATUS_OK)
        status = client_deal(client, &description, &r);
    client_close(&client);
    if (dealt)
        *dealt = r.dealt;
    return status;
}

/* A wrong answer would mean spoilt material: the logits must be those of the fixed-point walk. */
static enum status ask_one(void)
{
    struct client *client = NULL;
    struct question q;
    float logits[2], fixed[2];
    threads_set(1); /* a team of threads would not survive the forks of this test */
    question_make(&q, &model, 3 + randombytes_uniform(BUCKET - 3), BUCKET);
    struct inference i = {.model = id, .bucket = BUCKET, .batch = 1, .embeddings = q.embeddings, .length = &q.length,
                          .logits = logits};
    enum status status = client_open(&client, &parties.config[PARTY_OWNER], NULL);
    if (status == STATUS_OK)
        status = client_infer(client, &description, &i);
    client_close(&client);
    if (status == STATUS_OK) {
        question_fixed(&q, &description, &folded, fixed);
        for (int j = 0; j < 2; j++)
            ck_assert_msg(fabsf(logits[j] - fixed[j]) < 0.02f, "logit %d is %f, not %f", j, (double)logits[j],
                          (double)fixed[j]);
    }
    question_clear(&q);
    return status;
}

static void *work(void *argument)
{
    int *answers = argument;
    /* Failures are what a kill causes; wrong answers are caught in ask_one. A kill burns what its party had ready. */
    if (deal_some(4, NULL) != STATUS_OK)
        return NULL;
    for (int i = 0; i < 3; i++)
        if (ask_one() == STATUS_OK)
            ++*answers;
    return NULL;
}

/* ---- the record of what was taken ---- */

/* No party may have logged the same bundle twice: the line is written after the take and before anything is sent. */
static int count_taken(int party)
{
    static char nonce[TAKEN_MAX][24];
    char path[300], line[1400];
    int taken = 0;
    snprintf(path, sizeof path, "%s/P%d.log", parties.folder, party);
    FILE *log = fopen(path, "r");
    ck_assert_ptr_nonnull(log);
    while (fgets(line, sizeof line, log)) {
        const char *at = strstr(line, "took bundle ");
        if (!at || taken == TAKEN_MAX)
            continue;
        ck_assert_ptr_nonnull(at = strstr(at, "nonce "));
        snprintf(nonce[taken], sizeof nonce[taken], "%.16s", at + 6);
        for (int i = 0; i < taken; i++)
            ck_assert_str_ne(nonce[i], nonce[taken]);
        taken++;
    }
    fclose(log);
    return taken;
}

static void share_model(void)
{
    struct client *client = NULL;
    parties_tiny_model(&model, 1, 11);
    ck_ok(model_fold(&model, &folded));
    parties_calibrate(&model, &folded, BUCKET, &description);
    ck_ok(client_open(&client, &parties.config[PARTY_OWNER], NULL));
    ck_ok(client_share(client, &description, &folded, NULL, NULL, id));
    client_close(&client);
}

/* The parties find each other again within a second or so. */
static void until_it_works(void)
{
    enum status status = STATUS_TIMEOUT;
    for (int tries = 0; tries < 20 && status != STATUS_OK; tries++) {
        status = deal_some(1, NULL);
        if (status == STATUS_OK)
            status = ask_one();
    }
    ck_assert_msg(status == STATUS_OK, "the parties do not recover: %s", status_message());
}

START_TEST(no_bundle_is_used_twice_and_none_half_written_is_ready_when_parties_are_killed)
{
    parties_init(&parties, 3000, false);
    for (int i = 0; i < 3; i++)
        parties_start(&parties, i);
    share_model();
    int answers = 0;
    for (int kills = 0; kills < KILLS; kills++) {
        const int victim = (int)randombytes_uniform(3);
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, work, &answers), 0);
        wait_ms(randombytes_uniform(LATEST_MS));
        parties_kill(&parties, victim);
        parties_start(&parties, victim);
        pthread_join(thread, NULL);
        if (kills % 20 == 19)
            until_it_works();
    }
    until_it_works();
    ck_assert_int_gt(answers, KILLS / 10);
    /* Everything that is called ready is whole: all of it can be spent, and the answers are right. */
    enum status status = STATUS_OK;
    int spent = 0;
    while (status == STATUS_OK) {
        status = ask_one();
        spent += status == STATUS_OK;
    }
    ck_assert_msg(status == STATUS_EMPTY, "%s: %s", status_name(status), status_message());
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(parties_stop(&parties, i), 0);
        ck_assert_int_gt(count_taken(i), 10);
    }
    description_clear(&description);
    folded_clear(&folded);
    model_clear(&model);
    parties_clear(&parties);
}
END_TEST

/* Waits until the log of a party has said so, the number of times. */
static void wait_for_log(int party, const char *what, int times)
{
    for (int tries = 0; tries < 200000; tries++) {
        char path[300], line[2000];
        int found = 0;
        snprintf(path, sizeof path, "%s/P%d.log", parties.folder, party);
        FILE *log = fopen(path, "r");
        while (log && fgets(line, sizeof line, log))
            found += strstr(line, what) != NULL;
        if (log)
            fclose(log);
        if (found >= times)
            return;
        usleep(100);
    }
    ck_abort_msg("P%d never says: %s", party, what);
}

START_TEST(bundles_that_one_party_lost_make_room_for_new_ones)
{
    uint32_t dealt = 0;
    parties_init(&parties, 3000, false);
    for (int i = 0; i < 3; i++) {
        parties.config[i].bundles_max = 3;
        parties_start(&parties, i);
    }
    share_model();
    ck_ok(deal_some(5, &dealt));
    ck_assert_uint_eq(dealt, 3);
    for (int victim = 0; victim < 3; victim++) {
        parties_kill(&parties, victim);
        parties_start(&parties, victim);
        dealt = 0;
        for (int tries = 0; tries < 20 && !dealt; tries++)
            (void)!deal_some(3, &dealt);
        ck_assert_uint_eq(dealt, 3);
        ck_ok(ask_one());
        ck_ok(deal_some(1, &dealt));
        ck_assert_uint_eq(dealt, 1);
        wait_for_log(victim, "because it was not closed cleanly", 1);
        wait_for_log(victim == 1 ? 2 : 1, "another party lacks them", 1);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(parties_stop(&parties, i), 0);
    description_clear(&description);
    folded_clear(&folded);
    model_clear(&model);
    parties_clear(&parties);
}
END_TEST

START_TEST(a_party_that_is_stopped_while_it_starts_ends_cleanly_and_keeps_its_bundles)
{
    uint32_t dealt = 0;
    parties_init(&parties, 3000, false);
    for (int i = 0; i < 3; i++)
        parties_start(&parties, i);
    share_model();
    ck_ok(deal_some(3, &dealt));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(parties_stop(&parties, i), 0);
    for (int n = 0; n < 24; n++) {
        parties_start(&parties, 1);
        wait_for_log(1, "starts", n + 2);
        if (n < 8)
            usleep((unsigned)n * 3000);
        ck_assert_int_eq(n < 8 ? parties_stop(&parties, 1) : parties_stop_by_many(&parties, 1), 0);
    }
    parties_start(&parties, 1);
    wait_for_log(1, "as it was closed; ready bundles: 3; models: 1", 25);
    ck_assert_int_eq(parties_stop(&parties, 1), 0);
    wait_for_log(1, "is closed cleanly", 26);
    description_clear(&description);
    folded_clear(&folded);
    model_clear(&model);
    parties_clear(&parties);
}
END_TEST

START_TEST(a_lost_terminal_and_its_keys_end_a_party_cleanly)
{
    static const int signals[] = {SIGHUP, SIGQUIT, SIGINT, SIGTERM};
    parties_init(&parties, 3000, false);
    signal(SIGHUP, SIG_DFL); /* the tests themselves may run under nohup */
    for (int n = 0; n < 4; n++) {
        parties_start(&parties, 0);
        wait_for_log(0, "listening", n + 1);
        ck_assert_int_eq(parties_stop_by(&parties, 0, signals[n]), 0);
        wait_for_log(0, "is closed cleanly", n + 1);
    }
    parties_clear(&parties);
}
END_TEST

START_TEST(an_end_that_loses_bundles_is_an_error)
{
    parties_init(&parties, 3000, false);
    parties_start(&parties, 0);
    wait_for_log(0, "listening", 1);
    char path[400];
    snprintf(path, sizeof path, "%s/stamp", parties.config[PARTY_P0].store);
    ck_assert_int_eq(unlink(path), 0);
    strcat(path, ".new"); /* where it would write another */
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(parties_stop(&parties, 0), 1);
    wait_for_log(0, "is not closed cleanly", 1);
    ck_assert_int_eq(rmdir(path), 0);
    parties_start(&parties, 0);
    wait_for_log(0, "listening", 2);
    ck_assert_int_eq(parties_stop(&parties, 0), 0);
    parties_clear(&parties);
}
END_TEST

START_TEST(a_party_under_nohup_outlives_its_terminal)
{
    parties_init(&parties, 3000, false);
    signal(SIGHUP, SIG_IGN);
    parties_start(&parties, 0);
    signal(SIGHUP, SIG_DFL);
    wait_for_log(0, "listening", 1);
    ck_assert_int_eq(kill(parties.process[0], SIGHUP), 0);
    usleep(500000);
    ck_assert_int_eq(waitpid(parties.process[0], NULL, WNOHANG), 0);
    ck_assert_int_eq(parties_stop(&parties, 0), 0);
    parties_clear(&parties);
}
END_TEST

START_TEST(a_party_whose_output_is_full_or_closed_starts_all_the_same)
{
    static const char *const out[] = {"/dev/full", NULL};
    char log[300];
    parties_init(&parties, 3000, false);
    snprintf(log, sizeof log, "%s/P0.log", parties.folder);
    for (int n = 0; n < 2; n++) {
        parties_start_to(&parties, 0, out[n], log);
        wait_for_log(0, "nobody is told: cannot write the output", n + 1);
        ck_assert_int_eq(parties_stop(&parties, 0), 0);
        wait_for_log(0, "is closed cleanly", n + 1);
    }
    parties_clear(&parties);
}
END_TEST

START_TEST(a_log_that_is_closed_goes_into_nothing_else)
{
    char log[300], path[40], file[40] = "";
    parties_init(&parties, 3000, false);
    snprintf(log, sizeof log, "%s/P0.log", parties.folder);
    parties_start_to(&parties, 0, log, NULL);
    wait_for_log(0, "listening", 1);
    snprintf(path, sizeof path, "/proc/%d/fd/2", (int)parties.process[0]);
    /* Only root looks into a process that leaves no core file. */
    if (readlink(path, file, sizeof file - 1) >= 0 || errno != EACCES)
        ck_assert_str_eq(file, "/dev/null");
    ck_assert_int_eq(parties_stop(&parties, 0), 0);
    parties_clear(&parties);
}
END_TEST

START_TEST(a_party_whose_files_may_not_grow_is_not_killed)
{
    char command[700];
    parties_init(&parties, 3000, false);
    parties_start(&parties, 0);
    wait_for_log(0, "listening", 1);
    ck_assert_int_eq(parties_stop(&parties, 0), 0);
    snprintf(command, sizeof command, "rm -r %s/P0; ulimit -f 0; exec \"$TREFOIL_PROGRAM\" party --config %s/P0.conf 2>/dev/null",
             parties.folder, parties.folder);
    const int result = system(command);
    ck_assert_msg(WIFEXITED(result) && WEXITSTATUS(result) == 1, "%d", result);
    parties_clear(&parties);
}
END_TEST

START_TEST(a_party_says_which_others_come_and_go_and_that_callers_are_refused)
{
    struct config stranger;
    struct client *client = NULL;
    char *status = NULL;
    parties_init(&parties, 3000, false);
    for (int i = 0; i < 3; i++)
        parties_start(&parties, i);
    for (int i = 0; i < 2; i++)
        wait_for_log(i, "P2 is up", 1);
    wait_for_log(2, "P1 is up", 1);
    parties_kill(&parties, 2);
    for (int i = 0; i < 2; i++)
        wait_for_log(i, "P2 is gone", 1);
    parties_start(&parties, 2);
    for (int i = 0; i < 2; i++)
        wait_for_log(i, "P2 is another process now", 1);
    stranger = parties.config[PARTY_OWNER];
    ck_ok(net_keygen(stranger.public_key, stranger.secret_key));
    ck_ok(client_open(&client, &stranger, NULL));
    ck_assert_int_eq(client_status(client, NET_ROLE_P1, &status), STATUS_REFUSED);
    wait_for_log(1, "calls refused, as their keys are not on the allow-list (peers): ", 1);
    client_close(&client);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(parties_stop(&parties, i), 0);
    parties_clear(&parties);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("parties killed");
    TCase *tcase = tcase_create("SIGKILL");
    tcase_set_timeout(tcase, 900);
    tcase_add_test(tcase, no_bundle_is_used_twice_and_none_half_written_is_ready_when_parties_are_killed);
    tcase_add_test(tcase, bundles_that_one_party_lost_make_room_for_new_ones);
    tcase_add_test(tcase, a_party_that_is_stopped_while_it_starts_ends_cleanly_and_keeps_its_bundles);
    tcase_add_test(tcase, a_party_says_which_others_come_and_go_and_that_callers_are_refused);
#ifndef __SANITIZE_THREAD__ /* whose runtime writes a file of its own before there is a main */
    tcase_add_test(tcase, a_party_whose_files_may_not_grow_is_not_killed);
#else
    (void)a_party_whose_files_may_not_grow_is_not_killed;
#endif
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("terminals and outputs");
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, a_lost_terminal_and_its_keys_end_a_party_cleanly);
    tcase_add_test(tcase, an_end_that_loses_bundles_is_an_error);
    tcase_add_test(tcase, a_party_under_nohup_outlives_its_terminal);
    tcase_add_test(tcase, a_party_whose_output_is_full_or_closed_starts_all_the_same);
    tcase_add_test(tcase, a_log_that_is_closed_goes_into_nothing_else);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
