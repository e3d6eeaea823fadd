/* Sessions, rounds and requests over tcp with CURVE, ipc and inproc. */
#include "tests/net/cluster.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zmq.h>

static struct cluster cluster;
static struct net_hub *p1, *p2;

/* P1 listens, P2 calls. */
static void open_pair(const char *endpoint)
{
    cluster_init(&cluster);
    if (strncmp(endpoint, "inproc", 6) == 0)
        cluster.context = zmq_ctx_new();
    strcpy(cluster.members[P1].bind, endpoint);
    p1 = cluster_open(&cluster, P1, 0);
    p2 = cluster_open(&cluster, P2, 1u << P1);
}

static void close_pair(void)
{
    net_hub_close(&p1);
    net_hub_close(&p2);
    ck_assert_ptr_null(p1);
    if (cluster.context != NULL)
        zmq_ctx_term(cluster.context);
}

struct evaluator {
    struct net_session *session;
    int peer, rounds;
    size_t bytes;
    uint8_t mine, theirs;
    bool good;
    char message[256];
};

/* Rounds of three parts of different sizes, each filled with a byte that both sides can foretell. */
static void *evaluate(void *argument)
{
    struct evaluator *self = argument;
    size_t sizes[3] = {8, self->bytes, 1};
    uint8_t *out = malloc(self->bytes + 9), *in = malloc(self->bytes + 9);
    struct net_round round;
    self->good = true;
    for (int r = 0; self->good && r < self->rounds; r++) {
        net_round_init(&round, self->session, self->peer, (uint32_t)r);
        memset(out, self->mine + r, self->bytes + 9);
        size_t at = 0;
        for (int i = 0; i < 3; at += sizes[i++])
            self->good &= net_round_queue(&round, out + at, in + at, sizes[i]) == STATUS_OK;
        self->good &= net_round_run(&round) == STATUS_OK;
        if (!self->good)
            status_copy(self->message, sizeof self->message);
        for (size_t i = 0; i < self->bytes + 9; i++)
            self->good &= in[i] == (uint8_t)(self->theirs + r);
        net_round_clear(&round);
    }
    free(out);
    free(in);
    return NULL;
}

static void run_rounds(int rounds, size_t bytes)
{
    struct net_session *on_p1, *on_p2;
    session_pair(p1, p2, &on_p1, &on_p2);
    struct evaluator a = {on_p1, net_hub_peer(p1, NET_ROLE_P2), rounds, bytes, 1, 101, false, ""};
    struct evaluator b = {on_p2, net_hub_peer(p2, NET_ROLE_P1), rounds, bytes, 101, 1, false, ""};
    pthread_t thread;
    pthread_create(&thread, NULL, evaluate, &a);
    evaluate(&b);
    pthread_join(thread, NULL);
    ck_assert_msg(a.good && b.good, "%s / %s", a.message, b.message);
    const struct net_counters *counters = net_session_counters(on_p1);
    uint64_t total = (uint64_t)rounds * (bytes + 9);
    ck_assert_uint_eq(counters->rounds, (uint64_t)rounds);
    ck_assert_uint_eq(counters->sent[NET_ROLE_P2], total);
    ck_assert_uint_eq(counters->received[NET_ROLE_P2], total);
    ck_assert_uint_eq(counters->sent_kind[NET_ROUND], total);
    ck_assert_uint_eq(counters->sent[NET_ROLE_P0], 0);
    net_session_close(&on_p1);
    net_session_close(&on_p2);
}

START_TEST(rounds_exchange_their_parts_over_tcp)
{
    open_pair("tcp://127.0.0.1:*");
    run_rounds(50, 1000);
    close_pair();
}
END_TEST

START_TEST(rounds_exchange_their_parts_over_ipc)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/trefoil-test-%d", (int)getpid());
    open_pair(endpoint);
    run_rounds(50, 1000);
    close_pair();
}
END_TEST

START_TEST(rounds_exchange_their_parts_over_inproc)
{
    open_pair("inproc://p1");
    run_rounds(50, 1000);
    close_pair();
}
END_TEST

START_TEST(large_rounds_arrive_whole)
{
    open_pair("tcp://127.0.0.1:*");
    run_rounds(2, 20u << 20);
    close_pair();
}
END_TEST

START_TEST(a_request_opens_a_session_and_is_answered)
{
    struct net_session *asking, *asked;
    const char *text;
    char *reply;
    int peer;
    cluster_init(&cluster);
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    p1 = cluster_open(&cluster, P1, 0);
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    int to = net_hub_peer(client, NET_ROLE_P1);
    ck_ok(net_session_open(&asking, client, NULL));
    ck_ok(net_send(asking, to, NET_REQUEST, 0, "{\"op\":1}", 8));
    ck_ok(net_send(asking, to, NET_INPUT, 7, "shares", 6));
    ck_ok(net_hub_accept(p1, &asked, &peer, &text, 2000));
    ck_assert_str_eq(text, "{\"op\":1}");
    ck_assert_int_eq(net_hub_peer_role(p1, peer), NET_ROLE_CLIENT);
    ck_assert_str_eq(net_hub_peer_name(p1, peer), "client");
    char input[6];
    ck_ok(net_receive(asked, peer, NET_INPUT, 7, input, sizeof input));
    ck_assert_mem_eq(input, "shares", 6);
    ck_ok(net_send(asked, peer, NET_REPLY, 0, "done", 4));
    ck_ok(net_receive_text(asking, to, NET_REPLY, &reply, 100));
    ck_assert_str_eq(reply, "done");
    free(reply);
    net_session_close(&asking);
    net_session_close(&asked);
    net_hub_close(&client);
    net_hub_close(&p1);
}
END_TEST

START_TEST(frames_wait_for_a_session_that_is_opened_later)
{
    struct net_session *early, *late;
    char got[5];
    open_pair("tcp://127.0.0.1:*");
    ck_ok(net_session_open(&early, p2, NULL));
    struct net_session_id id = net_session_id(early);
    for (uint32_t i = 0; i < 3; i++)
        ck_ok(net_send(early, net_hub_peer(p2, NET_ROLE_P1), NET_DEAL, i, "hello", 5));
    usleep(100000);
    ck_ok(net_session_open(&late, p1, &id));
    for (uint32_t i = 0; i < 3; i++)
        ck_ok(net_receive(late, net_hub_peer(p1, NET_ROLE_P2), NET_DEAL, i, got, 5));
    net_session_close(&early);
    net_session_close(&late);
    close_pair();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("links");
    TCase *tests = tcase_create("links");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, rounds_exchange_their_parts_over_tcp);
    tcase_add_test(tests, rounds_exchange_their_parts_over_ipc);
    tcase_add_test(tests, rounds_exchange_their_parts_over_inproc);
    tcase_add_test(tests, large_rounds_arrive_whole);
    tcase_add_test(tests, a_request_opens_a_session_and_is_answered);
    tcase_add_test(tests, frames_wait_for_a_session_that_is_opened_later);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
