/* Peers that are strange, silent, killed, restarted or leaving, and what the sessions with them say. */
#include "net/hub.h"
#include "tests/net/cluster.h"
#include "tests/run.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#define LONG_MS 30000 /* a deadline that a passing test never reaches */

static struct cluster cluster;

/* What a party does in a process of its own: answers requests with a text until it is killed. It begins when
 * it can read from the descriptor go, if that is one: all processes are forked before the first thread is
 * started. */
static pid_t serve(int member, unsigned calls, const char *answer, int go)
{
    pid_t child = fork();
    char byte;
    if (child != 0)
        return child;
    if (go >= 0 && read(go, &byte, 1) != 1)
        _exit(1);
    struct net_hub *hub = cluster_open(&cluster, member, calls);
    for (;;) {
        struct net_session *session;
        const char *text;
        int peer;
        if (net_hub_accept(hub, &session, &peer, &text, -1) != STATUS_OK)
            _exit(1);
        if (strcmp(text, "die") == 0)
            kill(getpid(), SIGKILL);
        if (strcmp(text, "be silent") == 0)
            continue;
        if (net_send(session, peer, NET_REPLY, 0, answer, strlen(answer)) != STATUS_OK)
            _exit(1);
        net_session_close(&session);
    }
}

static void end(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static enum status ask(struct net_hub *hub, int peer, const char *text, char **reply)
{
    struct net_session *session;
    *reply = NULL;
    ck_ok(net_session_open(&session, hub, NULL));
    enum status status = net_send(session, peer, NET_REQUEST, 0, text, strlen(text));
    if (status == STATUS_OK)
        status = net_receive_text(session, peer, NET_REPLY, reply, 1000);
    net_session_close(&session);
    return status;
}

/* Just after a kill the first may still be bound to the dead process. */
static void ask_ok(struct net_hub *hub, int peer, const char *expected)
{
    char *reply;
    enum status status = STATUS_STOPPED;
    for (int i = 0; i < 20 && status == STATUS_STOPPED; i++)
        status = ask(hub, peer, "hello", &reply);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    ck_assert_str_eq(reply, expected);
    free(reply);
}

START_TEST(a_key_that_is_not_on_the_allow_list_is_refused_and_told_so)
{
    struct net_session *session;
    const char *text;
    char *reply;
    int peer;
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    struct net_hub *p1 = cluster_open(&cluster, P1, 0);
    ck_ok(net_keygen(cluster.members[CLIENT].public_key, cluster.members[CLIENT].secret_key));
    struct net_hub *foreign = cluster_open(&cluster, CLIENT, 1u << P1);
    ck_fails(ask(foreign, net_hub_peer(foreign, NET_ROLE_P1), "hello", &reply), STATUS_REFUSED,
             "P1 at tcp://");
    ck_assert_ptr_nonnull(strstr(status_message(), "allow-list"));
    ck_fails(net_hub_accept(p1, &session, &peer, &text, 0), STATUS_TIMEOUT, "no request");
    ck_assert_uint_gt(net_hub_refused(p1), 0);
    net_hub_close(&foreign);
    net_hub_close(&p1);
}
END_TEST

START_TEST(listeners_in_one_context_keep_their_own_allow_lists)
{
    char right[NET_KEY_TEXT], other[NET_KEY_TEXT], *reply;
    struct net_session *asking, *asked;
    const char *text;
    int peer;
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster.context = zmq_ctx_new();
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    strcpy(cluster.members[P2].bind, "tcp://127.0.0.1:*");
    struct net_hub *p1 = cluster_open(&cluster, P1, 0);
    memcpy(right, cluster.members[CLIENT].public_key, sizeof right);
    ck_ok(net_keygen(cluster.members[CLIENT].public_key, other));
    struct net_hub *p2 = cluster_open(&cluster, P2, 0);
    memcpy(cluster.members[CLIENT].public_key, right, sizeof right);
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1 | 1u << P2);
    ck_fails(ask(client, net_hub_peer(client, NET_ROLE_P2), "hello", &reply), STATUS_REFUSED, "P2 at");
    ck_ok(net_session_open(&asking, client, NULL));
    ck_ok(net_send(asking, net_hub_peer(client, NET_ROLE_P1), NET_REQUEST, 0, "{}", 2));
    ck_ok(net_hub_accept(p1, &asked, &peer, &text, LONG_MS));
    ck_assert_uint_eq(net_hub_refused(p1), 0);
    ck_assert_uint_gt(net_hub_refused(p2), 0);
    net_session_close(&asking);
    net_session_close(&asked);
    net_hub_close(&client);
    net_hub_close(&p2);
    net_hub_close(&p1);
    zmq_ctx_term(cluster.context);
}
END_TEST

START_TEST(a_refused_caller_tries_again_until_the_allow_list_is_put_right)
{
    char *reply, right[NET_KEY_TEXT], other[NET_KEY_TEXT];
    int go[2];
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster_ipc(&cluster, P1);
    ck_assert_int_eq(pipe(go), 0);
    memcpy(right, cluster.members[CLIENT].public_key, sizeof right);
    ck_ok(net_keygen(cluster.members[CLIENT].public_key, other));
    pid_t first = serve(P1, 0, "one", -1);
    memcpy(cluster.members[CLIENT].public_key, right, sizeof right);
    pid_t second = serve(P1, 0, "two", go[0]);
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    int p1 = net_hub_peer(client, NET_ROLE_P1);
    for (int i = 0; i < 3; i++)
        ck_fails(ask(client, p1, "hello", &reply), STATUS_REFUSED, "refused our key");
    end(first);
    ck_assert_int_eq((int)write(go[1], "!", 1), 1);
    ck_assert(wait_up(client, p1));
    ask_ok(client, p1, "two");
    end(second);
    net_hub_close(&client);
}
END_TEST

START_TEST(a_listener_with_another_key_than_expected_is_not_talked_to)
{
    char other[NET_KEY_TEXT], *reply;
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    struct net_hub *p1 = cluster_open(&cluster, P1, 0);
    ck_ok(net_keygen(cluster.members[P1].public_key, other));
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    ck_fails(ask(client, net_hub_peer(client, NET_ROLE_P1), "hello", &reply), STATUS_REFUSED,
             "the right one");
    net_hub_close(&client);
    net_hub_close(&p1);
}
END_TEST

START_TEST(a_peer_that_is_not_running_is_named_after_the_deadline)
{
    char *reply;
    cluster_init(&cluster);
    cluster.timeout_ms = 300;
    cluster_ipc(&cluster, P1);
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    ck_assert(!net_hub_peer_up(client, net_hub_peer(client, NET_ROLE_P1)));
    ck_fails(ask(client, net_hub_peer(client, NET_ROLE_P1), "hello", &reply), STATUS_TIMEOUT,
             "P1 at ipc:///");
    net_hub_close(&client);
}
END_TEST

START_TEST(a_patient_session_gives_up_an_absent_peer_after_the_hubs_time)
{
    char *reply;
    cluster_init(&cluster);
    cluster.timeout_ms = 300;
    cluster_ipc(&cluster, P1);
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    int p1 = net_hub_peer(client, NET_ROLE_P1);
    struct net_session *session;
    ck_ok(net_session_open(&session, client, NULL));
    net_session_timeout(session, 3600 * 1000);
    ck_ok(net_send(session, p1, NET_REQUEST, 0, "hello", 5));
    ck_fails(net_receive_text(session, p1, NET_REPLY, &reply, 10), STATUS_TIMEOUT, "cannot be reached");
    net_session_close(&session);
    net_hub_close(&client);
}
END_TEST

START_TEST(a_silent_peer_is_named_after_the_deadline)
{
    char *reply;
    cluster_init(&cluster);
    cluster_ipc(&cluster, P1);
    pid_t child = serve(P1, 0, "one", -1);
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    int p1 = net_hub_peer(client, NET_ROLE_P1);
    ask_ok(client, p1, "one");
    ck_assert(net_hub_peer_up(client, p1));
    struct net_session *session;
    ck_ok(net_session_open(&session, client, NULL));
    net_session_timeout(session, 200);
    ck_ok(net_send(session, p1, NET_REQUEST, 0, "be silent", 9));
    ck_fails(net_receive_text(session, p1, NET_REPLY, &reply, 10), STATUS_TIMEOUT,
             "P1 was silent for 200 ms");
    kill(child, SIGSTOP);
    ck_fails(net_receive_text(session, p1, NET_REPLY, &reply, 10), STATUS_TIMEOUT,
             "P1 was silent for 200 ms");
    net_session_close(&session);
    end(child);
    net_hub_close(&client);
}
END_TEST

/* Our hub called the peer, or was called by it, or both: 0, 1, 2. */
START_TEST(a_killed_peer_ends_the_wait_at_once)
{
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster_ipc(&cluster, P1);
    if (_i != 0)
        cluster_ipc(&cluster, P2);
    pid_t child = serve(P1, _i == 0 ? 0 : 1u << P2, "one", -1);
    struct net_hub *p2 = cluster_open(&cluster, P2, _i == 1 ? 0 : 1u << P1);
    int p1 = net_hub_peer(p2, NET_ROLE_P1);
    char *reply;
    ask_ok(p2, p1, "one");
    ck_fails(ask(p2, p1, "die", &reply), STATUS_STOPPED, "P1 closed its connection");
    ck_assert(!net_hub_peer_up(p2, p1));
    end(child);
    net_hub_close(&p2);
}
END_TEST

START_TEST(a_restarted_peer_ends_old_sessions_and_serves_new_ones)
{
    int go[2];
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster_ipc(&cluster, P1);
    if (_i != 0)
        cluster_ipc(&cluster, P2);
    ck_assert_int_eq(pipe(go), 0);
    unsigned calls = _i == 0 ? 0 : 1u << P2;
    pid_t first = serve(P1, calls, "one", -1), second = serve(P1, calls, "two", go[0]);
    struct net_hub *p2 = cluster_open(&cluster, P2, _i == 1 ? 0 : 1u << P1);
    int p1 = net_hub_peer(p2, NET_ROLE_P1);
    struct net_session *old;
    char *reply;
    ask_ok(p2, p1, "one");
    uint64_t process = net_hub_peer_process(p2, p1);
    ck_assert(process != 0 && net_hub_peer_process(p2, p1) == process);
    ck_ok(net_session_open(&old, p2, NULL));
    ck_ok(net_send(old, p1, NET_REQUEST, 0, "be silent", 9));
    usleep(100000);
    end(first);
    ck_assert_int_eq((int)write(go[1], "!", 1), 1);
    ask_ok(p2, p1, "two");
    ck_fails(net_receive_text(old, p1, NET_REPLY, &reply, 10), STATUS_STOPPED, "P1");
    ck_fails(net_send(old, p1, NET_CONTROL, 0, "x", 1), STATUS_STOPPED, "P1");
    net_session_close(&old);
    ask_ok(p2, p1, "two");
    ck_assert(net_hub_peer_process(p2, p1) != 0 && net_hub_peer_process(p2, p1) != process);
    end(second);
    for (int i = 0; i < 500 && net_hub_peer_process(p2, p1) != 0; i++)
        usleep(10000);
    ck_assert_uint_eq(net_hub_peer_process(p2, p1), 0);
    net_hub_close(&p2);
}
END_TEST

struct closing {
    struct net_hub *hub;
    bool stop; /* else close */
};

static void *close_soon(void *argument)
{
    struct closing *closing = argument;
    usleep(100000);
    if (closing->stop)
        net_hub_stop(closing->hub);
    else
        net_hub_close(&closing->hub);
    return NULL;
}

START_TEST(a_peer_that_shuts_down_says_so)
{
    struct net_session *session;
    pthread_t thread;
    char byte;
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster.context = _i == 0 ? NULL : zmq_ctx_new();
    strcpy(cluster.members[P1].bind, _i == 0 ? "tcp://127.0.0.1:*" : "inproc://p1");
    struct closing closing = {cluster_open(&cluster, P1, 0), false};
    struct net_hub *p2 = cluster_open(&cluster, P2, 1u << P1);
    int p1 = net_hub_peer(p2, NET_ROLE_P1);
    ck_assert(wait_up(p2, p1));
    ck_ok(net_session_open(&session, p2, NULL));
    pthread_create(&thread, NULL, close_soon, &closing);
    ck_fails(net_receive(session, p1, NET_ROUND, 0, &byte, 1), STATUS_STOPPED, "P1 was shut down");
    pthread_join(thread, NULL);
    net_session_close(&session);
    /* Its successor is called and serves new sessions. */
    struct net_hub *next = cluster_open(&cluster, P1, 0);
    struct net_session *theirs;
    session_pair(p2, next, &session, &theirs);
    ck_ok(net_send(session, p1, NET_ROUND, 0, "!", 1));
    ck_ok(net_receive(theirs, net_hub_peer(next, NET_ROLE_P2), NET_ROUND, 0, &byte, 1));
    net_session_close(&session);
    net_session_close(&theirs);
    net_hub_close(&p2);
    net_hub_close(&next);
    if (cluster.context != NULL)
        zmq_ctx_term(cluster.context);
}
END_TEST

START_TEST(a_stop_from_another_thread_ends_every_wait)
{
    struct net_session *session, *none;
    pthread_t thread;
    const char *text;
    char byte;
    int peer;
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    struct closing closing = {cluster_open(&cluster, P1, 0), true};
    ck_ok(net_session_open(&session, closing.hub, NULL));
    pthread_create(&thread, NULL, close_soon, &closing);
    if (_i == 0)
        ck_fails(net_receive(session, 0, NET_ROUND, 0, &byte, 1), STATUS_STOPPED, "P1 is shutting down");
    ck_fails(net_hub_accept(closing.hub, &none, &peer, &text, -1), STATUS_STOPPED, "P1 is shutting down");
    pthread_join(thread, NULL);
    net_session_close(&session);
    net_hub_close(&closing.hub);
}
END_TEST

static struct net_hub *to_stop;

static void on_alarm(int number)
{
    (void)number;
    net_hub_stop(to_stop);
}

START_TEST(a_stop_from_a_signal_handler_ends_the_wait)
{
    struct net_session *session;
    const char *text;
    int peer;
    cluster_init(&cluster);
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    to_stop = cluster_open(&cluster, P1, 0);
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_value = {.tv_usec = 100000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    ck_fails(net_hub_accept(to_stop, &session, &peer, &text, -1), STATUS_STOPPED, "shutting down");
    net_hub_close(&to_stop);
}
END_TEST

static void release(void *data, void *hint)
{
    (void)hint;
    free(data);
}

START_TEST(a_final_reply_is_delivered_though_the_hub_closes_behind_it)
{
    enum { BYTES = 30 << 20 };
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster_ipc(&cluster, P1);
    pid_t child = fork();
    if (child == 0) {
        struct net_hub *hub = cluster_open(&cluster, P1, 0);
        struct net_session *session;
        const char *text;
        int peer;
        ck_ok(net_hub_accept(hub, &session, &peer, &text, -1));
        char *data = calloc(1, BYTES);
        memset(data, 7, BYTES);
        ck_ok(net_send_owned(session, peer, NET_OUTPUT, 0, data, BYTES, release, NULL));
        net_session_close(&session);
        net_hub_close(&hub);
        _exit(0);
    }
    struct net_hub *client = cluster_open(&cluster, CLIENT, 1u << P1);
    struct net_session *session;
    char *data = malloc(BYTES);
    int p1 = net_hub_peer(client, NET_ROLE_P1);
    ck_ok(net_session_open(&session, client, NULL));
    ck_ok(net_send(session, p1, NET_REQUEST, 0, "{}", 2));
    ck_ok(net_receive(session, p1, NET_OUTPUT, 0, data, BYTES));
    for (size_t i = 0; i < BYTES; i += 1000)
        ck_assert_int_eq(data[i], 7);
    free(data);
    net_session_close(&session);
    end(child);
    net_hub_close(&client);
}
END_TEST

/* Three parties and a client over inproc; each calls those before it in this order. */
static void open_three(struct net_hub *hubs[MEMBERS], const int order[3])
{
    cluster_init(&cluster);
    cluster.timeout_ms = LONG_MS;
    cluster.context = zmq_ctx_new();
    for (int i = 0; i < 3; i++)
        snprintf(cluster.members[i].bind, sizeof cluster.members[i].bind, "inproc://p%d", i);
    for (int i = 0; i < 3; i++)
        hubs[order[i]] = cluster_open(&cluster, order[i], 7u & ~(1u << order[i]));
    hubs[CLIENT] = cluster_open(&cluster, CLIENT, 7);
}

static void close_all(struct net_hub *hubs[MEMBERS])
{
    for (int i = 0; i < MEMBERS; i++)
        net_hub_close(&hubs[i]);
    zmq_ctx_term(cluster.context);
}

START_TEST(parties_may_start_in_any_order)
{
    static const int orders[3][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
    struct net_hub *hubs[MEMBERS] = {0};
    open_three(hubs, orders[_i]);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++) {
            struct net_session *a, *b;
            char byte = 0;
            if (from == to)
                continue;
            session_pair(hubs[from], hubs[to], &a, &b);
            ck_ok(net_send(a, net_hub_peer(hubs[from], (enum net_role)to), NET_DEAL, 1, "x", 1));
            ck_ok(net_receive(b, net_hub_peer(hubs[to], (enum net_role)from), NET_DEAL, 1, &byte, 1));
            ck_assert_int_eq(byte, 'x');
            net_session_close(&a);
            net_session_close(&b);
        }
    close_all(hubs);
}
END_TEST

START_TEST(an_error_of_one_party_reaches_those_who_wait_for_another)
{
    static const int order[3] = {0, 1, 2};
    struct net_hub *hubs[MEMBERS] = {0};
    struct net_session *on[3];
    char byte;
    open_three(hubs, order);
    session_pair(hubs[P1], hubs[P0], &on[P1], &on[P0]);
    ck_assert_int_eq(status_fail(STATUS_FULL, "the disk of P0 is full"), STATUS_FULL);
    net_send_error(on[P0], net_hub_peer(hubs[P0], NET_ROLE_P1), STATUS_FULL);
    ck_fails(net_receive(on[P1], net_hub_peer(hubs[P1], NET_ROLE_P2), NET_ROUND, 0, &byte, 1), STATUS_FULL,
             "P0: the disk of P0 is full");
    net_session_close(&on[P0]);
    net_session_close(&on[P1]);
    close_all(hubs);
}
END_TEST

/* As callers can cause at a party, under ids that no other party will open. */
START_TEST(errors_of_sessions_nobody_opens_keep_out_no_others)
{
    static const int order[3] = {0, 1, 2};
    struct net_hub *hubs[MEMBERS] = {0};
    struct net_session *session, *on[3];
    char byte;
    open_three(hubs, order);
    const int p0 = net_hub_peer(hubs[P1], NET_ROLE_P0), p1 = net_hub_peer(hubs[P0], NET_ROLE_P1);
    for (int i = 0; i < 3 * NET_PARKED_MAX; i++) {
        ck_ok(net_session_open(&session, hubs[P0], NULL));
        ck_assert_int_eq(status_fail(STATUS_INPUT, "P0 does not know this request"), STATUS_INPUT);
        net_send_error(session, p1, STATUS_INPUT);
        net_session_close(&session);
    }
    ck_ok(net_session_open(&on[P0], hubs[P0], NULL));
    const struct net_session_id id = net_session_id(on[P0]);
    ck_ok(net_send(on[P0], p1, NET_DEAL, 1, "x", 1));
    usleep(300000); /* it comes before anybody opens the session there */
    ck_ok(net_session_open(&on[P1], hubs[P1], &id));
    net_session_timeout(on[P1], 5000);
    ck_ok(net_receive(on[P1], p0, NET_DEAL, 1, &byte, 1));
    net_session_close(&on[P0]);
    net_session_close(&on[P1]);
    close_all(hubs);
}
END_TEST

START_TEST(a_client_that_leaves_does_not_end_what_the_parties_do)
{
    static const int order[3] = {0, 1, 2};
    struct net_hub *hubs[MEMBERS] = {0};
    struct net_session *client, *p1, *p2;
    const char *text;
    char byte;
    int peer;
    open_three(hubs, order);
    ck_ok(net_session_open(&client, hubs[CLIENT], NULL));
    ck_ok(net_send(client, net_hub_peer(hubs[CLIENT], NET_ROLE_P1), NET_REQUEST, 0, "{}", 2));
    ck_ok(net_hub_accept(hubs[P1], &p1, &peer, &text, 5000));
    struct net_session_id id = net_session_id(p1);
    ck_ok(net_session_open(&p2, hubs[P2], &id));
    net_session_close(&client);
    net_hub_close(&hubs[CLIENT]);
    ck_fails(net_receive(p1, peer, NET_INPUT, 0, &byte, 1), STATUS_STOPPED, "client was shut down");
    ck_ok(net_send(p1, net_hub_peer(hubs[P1], NET_ROLE_P2), NET_ROUND, 0, "x", 1));
    ck_ok(net_receive(p2, net_hub_peer(hubs[P2], NET_ROLE_P1), NET_ROUND, 0, &byte, 1));
    ck_fails(net_send(p1, peer, NET_REPLY, 0, "x", 1), STATUS_STOPPED, "client was shut down");
    net_session_close(&p1);
    net_session_close(&p2);
    close_all(hubs);
}
END_TEST

START_TEST(two_processes_with_one_key_are_served_apart)
{
    struct net_hub *clients[2];
    struct net_session *asking[2], *asked[2];
    const char *text;
    char *reply;
    int peers[2];
    cluster_init(&cluster);
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    struct net_hub *p1 = cluster_open(&cluster, P1, 0);
    for (int i = 0; i < 2; i++) {
        clients[i] = cluster_open(&cluster, CLIENT, 1u << P1);
        ck_ok(net_session_open(&asking[i], clients[i], NULL));
        ck_ok(net_send(asking[i], net_hub_peer(clients[i], NET_ROLE_P1), NET_REQUEST, 0, i ? "1" : "0", 1));
        ck_ok(net_hub_accept(p1, &asked[i], &peers[i], &text, 2000));
        ck_assert_int_eq(text[0], '0' + i);
    }
    ck_assert_int_eq(peers[0], peers[1]);
    for (int i = 0; i < 2; i++)
        ck_ok(net_send(asked[i], peers[i], NET_REPLY, 0, i ? "one" : "zero", i ? 3 : 4));
    for (int i = 0; i < 2; i++) {
        ck_ok(net_receive_text(asking[i], net_hub_peer(clients[i], NET_ROLE_P1), NET_REPLY, &reply, 10));
        ck_assert_str_eq(reply, i ? "one" : "zero");
        free(reply);
    }
    net_session_close(&asking[0]);
    net_hub_close(&clients[0]);
    ck_ok(net_send(asked[1], peers[1], NET_OUTPUT, 0, "still", 5));
    char still[5];
    ck_ok(net_receive(asking[1], net_hub_peer(clients[1], NET_ROLE_P1), NET_OUTPUT, 0, still, 5));
    for (int i = 0; i < 2; i++) {
        net_session_close(&asking[i]);
        net_session_close(&asked[i]);
        net_hub_close(&clients[i]);
    }
    net_hub_close(&p1);
}
END_TEST

static void refuses(int member, const char *bind, const char *call, enum status code, const char *part)
{
    struct net_hub *hub = NULL;
    struct net_options options = cluster_options(&cluster, member, 0);
    options.bind = bind;
    cluster.peers[0].endpoint = call;
    ck_fails(net_hub_open(&hub, NULL, &options), code, part);
    ck_assert_ptr_null(hub);
}

START_TEST(configurations_that_cannot_work_are_refused_with_the_reason)
{
    struct net_hub *hub;
    cluster_init(&cluster);
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    struct net_hub *p1 = cluster_open(&cluster, P1, 0);
    refuses(P2, cluster.members[P1].bind, NULL, STATUS_IO, "in use");
    refuses(P2, "tcp://nowhere", NULL, STATUS_INPUT, "tcp://ADDRESS:PORT");
    refuses(P2, "carrier-pigeon://x", NULL, STATUS_INPUT, "not an endpoint");
    refuses(P2, NULL, "tcp://127.0.0.1", STATUS_INPUT, "cannot call");
    struct net_options options = cluster_options(&cluster, P2, 1u << P1);
    strcpy(cluster.peers[0].public_key, "too short");
    ck_fails(net_hub_open(&hub, NULL, &options), STATUS_INPUT, "public key of P0");
    options = cluster_options(&cluster, P2, 1u << P1);
    cluster.peers[1] = cluster.peers[0];
    ck_fails(net_hub_open(&hub, NULL, &options), STATUS_INPUT, "two peers are called P0");
    options = cluster_options(&cluster, P2, 1u << P1);
    cluster.peers[1].role = NET_ROLE_P0;
    ck_fails(net_hub_open(&hub, NULL, &options), STATUS_INPUT, "the same role");
    options = cluster_options(&cluster, P2, 1u << P1);
    memcpy(options.public_key, cluster.members[P0].public_key, NET_KEY_TEXT);
    ck_fails(net_hub_open(&hub, NULL, &options), STATUS_INPUT, "does not belong");
    net_hub_close(&p1);
}
END_TEST

START_TEST(rounds_of_another_bundle_are_refused)
{
    struct net_session *a, *b;
    char byte;
    cluster_init(&cluster);
    strcpy(cluster.members[P1].bind, "tcp://127.0.0.1:*");
    struct net_hub *p1 = cluster_open(&cluster, P1, 0);
    struct net_hub *p2 = cluster_open(&cluster, P2, 1u << P1);
    session_pair(p1, p2, &a, &b);
    net_session_bundle(a, 17);
    net_session_bundle(b, 17);
    ck_ok(net_send(b, net_hub_peer(p2, NET_ROLE_P1), NET_ROUND, 0, "x", 1));
    ck_ok(net_receive(a, net_hub_peer(p1, NET_ROLE_P2), NET_ROUND, 0, &byte, 1));
    net_session_bundle(b, 18);
    ck_ok(net_send(b, net_hub_peer(p2, NET_ROLE_P1), NET_ROUND, 1, "x", 1));
    ck_fails(net_receive(a, net_hub_peer(p1, NET_ROLE_P2), NET_ROUND, 1, &byte, 1), STATUS_PEER, "bundle 18");
    net_session_close(&a);
    net_session_close(&b);
    net_hub_close(&p2);
    net_hub_close(&p1);
}
END_TEST

int main(void)
{
    cluster_directory_make();
    Suite *suite = suite_create("peers");
    TCase *tests = tcase_create("peers");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_key_that_is_not_on_the_allow_list_is_refused_and_told_so);
    tcase_add_test(tests, listeners_in_one_context_keep_their_own_allow_lists);
    tcase_add_test(tests, a_refused_caller_tries_again_until_the_allow_list_is_put_right);
    tcase_add_test(tests, a_listener_with_another_key_than_expected_is_not_talked_to);
    tcase_add_test(tests, a_peer_that_is_not_running_is_named_after_the_deadline);
    tcase_add_test(tests, a_patient_session_gives_up_an_absent_peer_after_the_hubs_time);
    tcase_add_test(tests, a_silent_peer_is_named_after_the_deadline);
    tcase_add_loop_test(tests, a_killed_peer_ends_the_wait_at_once, 0, 3);
    tcase_add_loop_test(tests, a_restarted_peer_ends_old_sessions_and_serves_new_ones, 0, 3);
    tcase_add_loop_test(tests, a_peer_that_shuts_down_says_so, 0, 2);
    tcase_add_loop_test(tests, a_stop_from_another_thread_ends_every_wait, 0, 2);
    tcase_add_test(tests, a_stop_from_a_signal_handler_ends_the_wait);
    tcase_add_test(tests, a_final_reply_is_delivered_though_the_hub_closes_behind_it);
    tcase_add_loop_test(tests, parties_may_start_in_any_order, 0, 3);
    tcase_add_test(tests, an_error_of_one_party_reaches_those_who_wait_for_another);
    tcase_add_test(tests, errors_of_sessions_nobody_opens_keep_out_no_others);
    tcase_add_test(tests, a_client_that_leaves_does_not_end_what_the_parties_do);
    tcase_add_test(tests, two_processes_with_one_key_are_served_apart);
    tcase_add_test(tests, configurations_that_cannot_work_are_refused_with_the_reason);
    tcase_add_test(tests, rounds_of_another_bundle_are_refused);
    suite_add_tcase(suite, tests);
    const int result = run_suite(suite);
    cluster_directory_remove();
    return result;
}
