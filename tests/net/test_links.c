/* Sessions, rounds and requests over tcp with CURVE, ipc and inproc. */
#include "ring/clock.h"
#include "tests/net/cluster.h"
#include "tests/run.h"

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
    char endpoint[128];
    cluster_ipc(&cluster, P1);
    strcpy(endpoint, cluster.members[P1].bind);
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

START_TEST(parties_that_call_each_other_exchange_rounds)
{
    cluster_init(&cluster);
    cluster_ipc(&cluster, P1);
    cluster_ipc(&cluster, P2);
    p1 = cluster_open(&cluster, P1, 1u << P2);
    p2 = cluster_open(&cluster, P2, 1u << P1);
    run_rounds(50, 5000);
    close_pair();
}
END_TEST

START_TEST(rounds_exchange_their_parts_over_ipv6)
{
    cluster_init(&cluster);
    strcpy(cluster.members[P1].bind, "tcp://[::1]:*");
    struct net_options options = cluster_options(&cluster, P1, 0);
    if (net_hub_open(&p1, NULL, &options) != STATUS_OK)
        return; /* this machine has none */
    snprintf(cluster.members[P1].bind, sizeof cluster.members[P1].bind, "%s", net_hub_endpoint(p1));
    p2 = cluster_open(&cluster, P2, 1u << P1);
    run_rounds(5, 100);
    close_pair();
}
END_TEST

enum { SESSIONS = 12 };

START_TEST(sessions_run_side_by_side)
{
    struct net_session *on_p1[SESSIONS], *on_p2[SESSIONS];
    struct evaluator sides[2 * SESSIONS];
    pthread_t threads[2 * SESSIONS];
    open_pair(_i == 0 ? "tcp://127.0.0.1:*" : "inproc://p1");
    for (int i = 0; i < SESSIONS; i++) {
        session_pair(p1, p2, &on_p1[i], &on_p2[i]);
        uint8_t a = (uint8_t)(3 * i), b = (uint8_t)(5 * i + 1);
        sides[2 * i] = (struct evaluator){
            on_p1[i], net_hub_peer(p1, NET_ROLE_P2), 20, 100u * (unsigned)i, a, b, false, ""};
        sides[2 * i + 1] = (struct evaluator){
            on_p2[i], net_hub_peer(p2, NET_ROLE_P1), 20, 100u * (unsigned)i, b, a, false, ""};
    }
    for (int i = 0; i < 2 * SESSIONS; i++)
        pthread_create(&threads[i], NULL, evaluate, &sides[i]);
    for (int i = 0; i < 2 * SESSIONS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(sides[i].good, "%s", sides[i].message);
    }
    for (int i = 0; i < SESSIONS; i++) {
        net_session_close(&on_p1[i]);
        net_session_close(&on_p2[i]);
    }
    close_pair();
}
END_TEST

enum { AHEAD = 40, CHUNK = 1 << 20 };

/* Sends ten times as much as the reader's limit, as fast as it may. */
static void *send_ahead(void *argument)
{
    struct evaluator *self = argument;
    char *data = malloc(CHUNK);
    memset(data, self->mine, CHUNK);
    self->good = true;
    for (uint32_t i = 0; self->good && i < AHEAD; i++)
        self->good = net_send(self->session, self->peer, NET_DEAL, i, data, CHUNK) == STATUS_OK;
    status_copy(self->message, sizeof self->message);
    free(data);
    return NULL;
}

static void open_narrow(void)
{
    cluster_init(&cluster);
    cluster.frame_max = 4 * CHUNK;
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    p1 = cluster_open(&cluster, P1, 0);
    p2 = cluster_open(&cluster, P2, 1u << P1);
}

START_TEST(a_fast_sender_waits_for_a_slow_reader)
{
    struct net_session *on_p1, *on_p2;
    pthread_t thread;
    char *data = malloc(CHUNK);
    open_narrow();
    session_pair(p1, p2, &on_p1, &on_p2);
    struct evaluator sender = {on_p2, net_hub_peer(p2, NET_ROLE_P1), 0, 0, 9, 0, false, ""};
    pthread_create(&thread, NULL, send_ahead, &sender);
    usleep(200000);
    for (uint32_t i = 0; i < AHEAD; i++) {
        ck_ok(net_receive(on_p1, net_hub_peer(p1, NET_ROLE_P2), NET_DEAL, i, data, CHUNK));
        ck_assert_int_eq(data[CHUNK - 1], 9);
    }
    pthread_join(thread, NULL);
    ck_assert_msg(sender.good, "%s", sender.message);
    free(data);
    net_session_close(&on_p1);
    net_session_close(&on_p2);
    close_pair();
}
END_TEST

START_TEST(empty_frames_are_not_sent_ahead_without_end)
{
    struct net_session *on_p1, *on_p2;
    open_narrow();
    session_pair(p1, p2, &on_p1, &on_p2);
    net_session_timeout(on_p2, 300);
    uint32_t sent = 0;
    while (sent < 100000 &&
           net_send(on_p2, net_hub_peer(p2, NET_ROLE_P1), NET_DEAL, sent, NULL, 0) == STATUS_OK)
        sent++;
    ck_assert_uint_lt(sent, 100000);
    for (uint32_t i = 0; i < sent; i++)
        ck_ok(net_receive(on_p1, net_hub_peer(p1, NET_ROLE_P2), NET_DEAL, i, NULL, 0));
    net_session_close(&on_p1);
    net_session_close(&on_p2);
    close_pair();
}
END_TEST

START_TEST(a_sender_gives_up_on_a_reader_that_never_reads)
{
    struct net_session *on_p1, *on_p2;
    open_narrow();
    session_pair(p1, p2, &on_p1, &on_p2);
    net_session_timeout(on_p2, 300);
    struct evaluator sender = {on_p2, net_hub_peer(p2, NET_ROLE_P1), 0, 0, 9, 0, true, ""};
    send_ahead(&sender);
    ck_assert(!sender.good);
    ck_assert_msg(strstr(sender.message, "P1 has not read") != NULL, "%s", sender.message);
    net_session_close(&on_p1);
    net_session_close(&on_p2);
    close_pair();
}
END_TEST

static int released;

static void release(void *data, void *hint)
{
    free(data);
    __atomic_add_fetch((int *)hint, 1, __ATOMIC_SEQ_CST);
}

START_TEST(owned_data_is_released_exactly_once)
{
    struct net_session *on_p1, *on_p2;
    static const size_t sizes[] = {0, 10, 100000, 3u << 20};
    char *data = malloc(3u << 20);
    open_narrow();
    session_pair(p1, p2, &on_p1, &on_p2);
    int to = net_hub_peer(p2, NET_ROLE_P1);
    for (uint32_t i = 0; i < 4; i++) {
        char *mine = malloc(sizes[i] + 1);
        memset(mine, 'a' + (int)i, sizes[i] + 1);
        ck_ok(net_send_owned(on_p2, to, NET_WEIGHT, i, mine, sizes[i], release, &released));
        ck_ok(net_receive(on_p1, net_hub_peer(p1, NET_ROLE_P2), NET_WEIGHT, i, data, sizes[i]));
        ck_assert(sizes[i] == 0 || data[sizes[i] - 1] == 'a' + (int)i);
    }
    /* Refused sends release, too. */
    enum status status = net_send_owned(on_p2, to, NET_WEIGHT, 9, malloc(1), 5 << 20, release, &released);
    ck_assert_int_eq(status, STATUS_INPUT);
    status = net_send_owned(on_p2, MEMBERS, NET_WEIGHT, 9, malloc(1), 1, release, &released);
    ck_assert_int_eq(status, STATUS_INPUT);
    free(data);
    net_session_close(&on_p1);
    net_session_close(&on_p2);
    close_pair();
    ck_assert_int_eq(__atomic_load_n(&released, __ATOMIC_SEQ_CST), 6);
}
END_TEST

START_TEST(payloads_of_every_size_around_a_piece_arrive)
{
    static const size_t sizes[] = {(512 << 10) - 1, 512 << 10, (512 << 10) + 1, 1 << 20, (1 << 20) + 1};
    struct net_session *on_p1, *on_p2;
    open_narrow();
    session_pair(p1, p2, &on_p1, &on_p2);
    for (uint32_t i = 0; i < 5; i++) {
        unsigned char *out = malloc(sizes[i]), *in = malloc(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            out[j] = (unsigned char)(j ^ (j >> 8) ^ (j >> 16));
        ck_ok(net_send(on_p1, net_hub_peer(p1, NET_ROLE_P2), NET_DEAL, i, out, sizes[i]));
        ck_ok(net_receive(on_p2, net_hub_peer(p2, NET_ROLE_P1), NET_DEAL, i, in, sizes[i]));
        ck_assert(memcmp(in, out, sizes[i]) == 0);
        free(out);
        free(in);
    }
    net_session_close(&on_p1);
    net_session_close(&on_p2);
    close_pair();
}
END_TEST

/* A lower bound only: what makes it later is none of the line's business. */
START_TEST(a_shaped_link_is_as_slow_as_it_is_told)
{
    const size_t bytes = 20000;
    cluster_init(&cluster);
    cluster.link_rate = 16e6; /* 10 ms a frame of 20,000 bytes */
    cluster.link_delay_ms = 5;
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    p1 = cluster_open(&cluster, P1, 0);
    p2 = cluster_open(&cluster, P2, 1u << P1);
    ck_assert(wait_up(p1, net_hub_peer(p1, NET_ROLE_P2)));
    const double start = clock_seconds();
    run_rounds(10, bytes);
    ck_assert_double_ge(clock_seconds() - start, 10 * (8 * (double)bytes / 16e6 + 5e-3));
    close_pair();
}
END_TEST

int main(void)
{
    cluster_directory_make();
    Suite *suite = suite_create("links");
    TCase *tests = tcase_create("links");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, rounds_exchange_their_parts_over_tcp);
    tcase_add_test(tests, rounds_exchange_their_parts_over_ipc);
    tcase_add_test(tests, rounds_exchange_their_parts_over_inproc);
    tcase_add_test(tests, large_rounds_arrive_whole);
    tcase_add_test(tests, a_request_opens_a_session_and_is_answered);
    tcase_add_test(tests, frames_wait_for_a_session_that_is_opened_later);
    tcase_add_test(tests, parties_that_call_each_other_exchange_rounds);
    tcase_add_test(tests, rounds_exchange_their_parts_over_ipv6);
    tcase_add_loop_test(tests, sessions_run_side_by_side, 0, 2);
    tcase_add_test(tests, a_fast_sender_waits_for_a_slow_reader);
    tcase_add_test(tests, empty_frames_are_not_sent_ahead_without_end);
    tcase_add_test(tests, a_sender_gives_up_on_a_reader_that_never_reads);
    tcase_add_test(tests, owned_data_is_released_exactly_once);
    tcase_add_test(tests, payloads_of_every_size_around_a_piece_arrive);
    tcase_add_test(tests, a_shaped_link_is_as_slow_as_it_is_told);
    suite_add_tcase(suite, tests);
    const int result = run_suite(suite);
    cluster_directory_remove();
    return result;
}
