/* Rounds of honest evaluators on fast links, and what happens when there can be none. */
#include "tests/net/evaluators.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/road.h"
#include "ring/clock.h"
#include "tests/run.h"

#define WORDS_OF_A_RECORD (NET_ROAD_RECORD / 8)
#define LARGE ((size_t)3 << 20) /* words: more than both sockets' buffers hold */

static struct evaluators e;
static struct pair p;

static void open_fast(void)
{
    evaluators_open(&e);
    pair_open(&p, &e);
    ck_assert_msg(p.session[0]->road != NULL && p.session[1]->road != NULL, "%s / %s", p.why[0], p.why[1]);
    ck_assert_str_eq(p.why[0], "");
    ck_assert_str_eq(p.why[1], "");
}

static void close_all(void)
{
    pair_close(&p);
    evaluators_close(&e);
}

START_TEST(rounds_of_every_size_around_a_record_are_equal)
{
    static const size_t words[] = {
        0, 1, 2, WORDS_OF_A_RECORD - 1, WORDS_OF_A_RECORD, WORDS_OF_A_RECORD + 1, 3 * WORDS_OF_A_RECORD + 5};
    static const size_t indices[] = {
        0, 1, 3, NET_ROAD_RECORD / 2 - 1, NET_ROAD_RECORD / 2, NET_ROAD_RECORD / 2 + 1};
    uint32_t number = 0;
    uint64_t bytes = 0;
    open_fast();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (size_t j = 0; j < sizeof indices / sizeof *indices; j++) {
            pair_round(&p, number++, indices[j], words[i], 0, 0);
            bytes += 8 * words[i] + 2 * indices[j];
        }
    for (int s = 0; s < 2; s++) {
        const struct net_counters *counters = net_session_counters(p.session[s]);
        const enum net_role role = s ? NET_ROLE_P1 : NET_ROLE_P2;
        ck_assert_uint_eq(counters->rounds, number);
        ck_assert_uint_eq(counters->sent[role], bytes);
        ck_assert_uint_eq(counters->received[role], bytes);
        ck_assert_uint_eq(counters->sent_kind[NET_ROUND], bytes);
        ck_assert_uint_eq(counters->received_kind[NET_ROUND], bytes);
        ck_assert_uint_eq(counters->sent_kind[NET_ROAD], 0);
        ck_assert_int_gt(net_session_times(p.session[s])->sealing, 0);
    }
    close_all();
}
END_TEST

START_TEST(the_sides_may_cut_a_round_into_different_parts)
{
    open_fast();
    pair_round(&p, 5, 3, 100000, 0, 771);
    pair_round(&p, 6, 0, 100000, 30000, 16385);
    pair_round(&p, 7, 77, 5000, 1, 0);
    close_all();
}
END_TEST

START_TEST(rounds_larger_than_all_buffers_go_both_ways_at_once)
{
    open_fast();
    pair_round(&p, 0, 1, LARGE, 0, 0);
    pair_round(&p, 1, 0, LARGE, 100000, 50000);
    close_all();
}
END_TEST

START_TEST(what_is_queued_leaves_before_the_round_is_run)
{
    struct side early, late;
    struct net_round round;
    open_fast();
    side_init(&early, &p, 0, 3, 0, 2 * WORDS_OF_A_RECORD + 8, 0);
    side_init(&late, &p, 1, 3, 0, 2 * WORDS_OF_A_RECORD + 8, 0);
    net_round_init(&round, p.session[0], p.peer[0], 3);
    const uint64_t before = p.session[0]->road->out.number;
    ck_ok(net_round_queue_sum(&round, early.value, 2 * WORDS_OF_A_RECORD + 4));
    ck_assert_uint_eq(p.session[0]->road->out.number, before + 2);
    ck_ok(net_round_queue_sum(&round, early.value + 2 * WORDS_OF_A_RECORD + 4, 4));
    ck_assert_uint_eq(p.session[0]->road->out.number, before + 2);
    pthread_t thread;
    pthread_create(&thread, NULL, side_run, &late);
    ck_ok(net_round_run(&round));
    pthread_join(thread, NULL);
    ck_assert_msg(late.status == STATUS_OK, "%s", late.message);
    for (size_t i = 0; i < late.words; i++)
        ck_assert_uint_eq(late.value[i], early.value[i]);
    net_round_clear(&round);
    side_clear(&early);
    side_clear(&late);
    close_all();
}
END_TEST

static void *run_round(void *round)
{
    ck_ok(net_round_run(round));
    return NULL;
}

/* What has come is added to what was sealed, before the round is run. */
START_TEST(what_came_is_taken_while_more_is_queued)
{
    enum { EARLY = NET_ROUND_EARLY / 8, REST = 100 };
    struct side side[2];
    struct net_round round[2];
    pthread_t thread;
    int there = 0;
    open_fast();
    for (int s = 0; s < 2; s++) {
        side_init(&side[s], &p, s, 3, 0, EARLY + REST, 0);
        net_round_init(&round[s], p.session[s], p.peer[s], 3);
    }
    ck_ok(net_round_queue_sum(&round[1], side[1].value, EARLY));
    for (int i = 0; i < 5000 && there < (int)(NET_ROAD_HEAD + NET_ROUND_EARLY + NET_SEAL_TAG); i++) {
        usleep(1000);
        ck_assert_int_eq(ioctl(p.session[0]->road->fd, FIONREAD, &there), 0);
    }
    ck_ok(net_round_queue_sum(&round[0], side[0].value, EARLY / 2));
    ck_assert_uint_eq(round[0].taken.bytes, 0); /* its words were not sealed here */
    ck_ok(net_round_queue_sum(&round[0], side[0].value + EARLY / 2, EARLY / 2));
    ck_assert_uint_eq(round[0].taken.bytes, NET_ROUND_EARLY);
    for (int s = 0; s < 2; s++)
        ck_ok(net_round_queue_sum(&round[s], side[s].value + EARLY, REST));
    pthread_create(&thread, NULL, run_round, &round[1]);
    ck_ok(net_round_run(&round[0]));
    pthread_join(thread, NULL);
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < EARLY + REST; i++)
            if (side[s].value[i] != side_word(0, 3, i) + side_word(1, 3, i))
                ck_abort_msg("word %zu of P%d", i, s + 1);
        net_round_clear(&round[s]);
        side_clear(&side[s]);
    }
    close_all();
}
END_TEST

/* P2 puts a record on the line, changed by somebody there. */
static void put_record(uint32_t number, size_t bytes, unsigned char change)
{
    struct net_road *road = p.session[1]->road;
    unsigned char *data = calloc(1, bytes + 1);
    ck_assert(net_road_begin(road, p.session[1], number, bytes) && net_road_add(road, data, bytes) &&
              net_road_end(road));
    road->sealed[road->sealed_bytes - 1] ^= change;
    while (net_road_push(road) == NET_ROAD_BUSY)
        usleep(1000);
    free(data);
}

/* What comes of it when P1 queues two parts and runs the round. */
static enum status meet_records(uint32_t number, uint64_t *value, size_t words)
{
    struct net_round round;
    net_round_init(&round, p.session[0], p.peer[0], number);
    ck_ok(net_round_queue_sum(&round, value, words));
    ck_ok(net_round_queue_sum(&round, value + words, words));
    const enum status status = net_round_run(&round);
    net_round_clear(&round);
    return status;
}

START_TEST(what_is_wrong_with_an_early_record_ends_the_round_when_it_is_run)
{
    enum { EARLY = NET_ROUND_EARLY / 8 };
    static uint64_t value[2 * EARLY], before[2 * EARLY];
    static const struct {
        size_t bytes;
        unsigned char change;
        int count;
        const char *message;
    } wrong[] = {
        {NET_ROUND_EARLY, 1, 1, "does not verify"},
        {0, 0, 3,
         "sent 0 bytes"}, /* behind a good one: nobody waits for empty records while there are some */
        {2 * NET_ROUND_EARLY, 0, 1, "sent 524288 bytes"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        open_fast();
        for (size_t j = 0; j < 2 * EARLY; j++)
            value[j] = before[j] = j;
        if (wrong[i].change == 0)
            put_record(1, NET_ROUND_EARLY, 0);
        for (int n = 0; n < wrong[i].count; n++)
            put_record(1, wrong[i].bytes, wrong[i].change);
        usleep(50000);
        ck_assert_int_eq(meet_records(1, value, EARLY), STATUS_PEER);
        ck_assert_msg(strstr(status_message(), wrong[i].message) != NULL, "%s", status_message());
        ck_assert_mem_eq(value, before, sizeof value); /* P2 sent zeros */
        close_all();
    }
}
END_TEST

/* P1's words lie in a matrix, P2's in a row; rows are cut by records. */
static void check_rows(uint32_t number, size_t rows, size_t columns, size_t stride)
{
    struct side side[2];
    struct net_round round;
    pthread_t thread;
    side_init(&side[0], &p, 0, number, 0, rows * stride, 0);
    side_init(&side[1], &p, 1, number, 0, rows * columns, 0);
    net_round_init(&round, p.session[0], p.peer[0], number);
    pthread_create(&thread, NULL, side_run, &side[1]);
    ck_ok(net_round_queue(&round, NULL, NULL, 0)); /* no indices */
    ck_ok(net_round_queue_sums(&round, side[0].value, rows / 3, columns, stride));
    ck_ok(net_round_queue_sums(&round, side[0].value + rows / 3 * stride, rows - rows / 3, columns, stride));
    ck_ok(net_round_run(&round));
    pthread_join(thread, NULL);
    ck_assert_msg(side[1].status == STATUS_OK, "%s", side[1].message);
    for (size_t i = 0; i < rows * stride; i++) {
        const size_t row = i / stride, column = i % stride, at = row * columns + column;
        const uint64_t own = side_word(0, number, i);
        const uint64_t wanted = column < columns ? own + side_word(1, number, at) : own;
        if (side[0].value[i] != wanted || (column < columns && side[1].value[at] != wanted))
            ck_abort_msg("%zu rows of %zu: word (%zu, %zu)", rows, columns, row, column);
    }
    net_round_clear(&round);
    side_clear(&side[0]);
    side_clear(&side[1]);
}

static void check_all_rows(void)
{
    check_rows(0, 4, 5, 7);
    check_rows(1, 300, 1000, 1000);
    check_rows(2, 128, 3001, 4000);
    check_rows(3, 3, WORDS_OF_A_RECORD - 1, WORDS_OF_A_RECORD + 1);
}

START_TEST(rows_of_a_matrix_travel_as_if_they_lay_together)
{
    open_fast();
    check_all_rows();
    close_all();
    evaluators_open(&e);
    pair_open_slow(&p, &e);
    check_all_rows();
    close_all();
}
END_TEST

/* ---- several at once ---- */

#define SESSIONS 4

static void *run_many(void *pair)
{
    for (uint32_t i = 0; i < 20; i++)
        pair_round(pair, i, i, 1000 * i + 1, 0, 333);
    return NULL;
}

START_TEST(sessions_have_fast_links_of_their_own)
{
    struct pair pairs[SESSIONS];
    pthread_t threads[SESSIONS];
    evaluators_open(&e);
    for (int i = 0; i < SESSIONS; i++) {
        pair_open(&pairs[i], &e);
        ck_assert_str_eq(pairs[i].why[0], "");
    }
    for (int i = 0; i < SESSIONS; i++)
        pthread_create(&threads[i], NULL, run_many, &pairs[i]);
    for (int i = 0; i < SESSIONS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SESSIONS; i++)
        pair_close(&pairs[i]);
    evaluators_close(&e);
}
END_TEST

START_TEST(the_one_that_is_not_called_may_be_either)
{
    cluster_init(&e.cluster);
    e.cluster.timeout_ms = 10000;
    e.cluster.fast_links[P1] = e.cluster.fast_links[P2] = true;
    strcpy(e.cluster.members[P2].bind, "tcp://127.0.0.1:*");
    e.hub[1] = cluster_open(&e.cluster, P2, 0);
    e.hub[0] = cluster_open(&e.cluster, P1, 1u << P2);
    pair_open(&p, &e);
    ck_assert_ptr_nonnull(p.session[0]->road);
    pair_round(&p, 0, 1, 1000, 0, 0);
    close_all();
}
END_TEST

START_TEST(a_fast_link_listens_where_it_is_told_to)
{
    cluster_init(&e.cluster);
    e.cluster.timeout_ms = 10000;
    e.cluster.fast_links[P1] = e.cluster.fast_links[P2] = true;
    e.cluster.fast_bind = _i ? "tcp://[::1]:*" : "tcp://127.0.0.2:*";
    strcpy(e.cluster.members[P1].bind, "tcp://127.0.0.1:*");
    evaluators_open(&e);
    ck_assert_str_eq(e.hub[0]->door.host, _i ? "::1" : "127.0.0.2");
    pair_open(&p, &e);
    ck_assert_ptr_nonnull(p.session[0]->road);
    pair_round(&p, 0, 1, 1000, 0, 0);
    close_all();
}
END_TEST

/* ---- none ---- */

START_TEST(without_the_option_rounds_go_over_curve)
{
    cluster_init(&e.cluster);
    e.cluster.timeout_ms = 10000;
    e.cluster.fast_links[_i ? P1 : P2] = true;
    strcpy(e.cluster.members[P1].bind, "tcp://127.0.0.1:*");
    evaluators_open(&e);
    pair_open(&p, &e);
    ck_assert_ptr_null(p.session[0]->road);
    ck_assert_ptr_null(p.session[1]->road);
    ck_assert_ptr_nonnull(strstr(p.why[_i ? 1 : 0], "off here"));
    ck_assert_ptr_nonnull(strstr(p.why[_i ? 0 : 1], "off there"));
    pair_round(&p, 0, 3, 1000, 0, 0);
    ck_assert_uint_eq(net_session_counters(p.session[0])->sent_kind[NET_ROUND], 8006);
    ck_assert_uint_eq(net_session_counters(p.session[0])->sent[NET_ROLE_P2], 8006);
    close_all();
}
END_TEST

START_TEST(a_port_that_cannot_be_reached_costs_the_speed_and_is_not_tried_again_at_once)
{
    struct pair second;
    evaluators_open(&e);
    e.hub[0]->door.port = 1; /* nobody listens there */
    pair_open(&p, &e);
    ck_assert_ptr_nonnull(strstr(p.why[1], "cannot be reached"));
    ck_assert_ptr_nonnull(strstr(p.why[0], "cannot reach the port"));
    pair_round(&p, 0, 3, 1000, 0, 0);
    pair_open(&second, &e);
    ck_assert_ptr_nonnull(strstr(second.why[1], "could not be reached before"));
    ck_assert_ptr_nonnull(strstr(second.why[0], "offers no fast link"));
    pair_round(&second, 0, 3, 1000, 0, 0);
    pair_close(&second);
    close_all();
}
END_TEST

/* ---- ends ---- */

START_TEST(a_peer_that_stays_silent_is_named_after_the_deadline)
{
    struct side side;
    open_fast();
    net_session_timeout(p.session[0], 300);
    side_init(&side, &p, 0, 4, 0, _i ? LARGE : 10, 0);
    side_run(&side);
    ck_assert_int_eq(side.status, STATUS_TIMEOUT);
    ck_assert_msg(strstr(side.message, "round 4: P2 was silent for 300 ms") != NULL, "%s", side.message);
    side_clear(&side);
    close_all();
}
END_TEST

static void *fail_later(void *unused)
{
    (void)unused;
    usleep(50000);
    status_fail(STATUS_FULL, "the disk is full");
    net_send_error(p.session[1], p.peer[1], STATUS_FULL);
    net_session_close(&p.session[1]);
    return NULL;
}

START_TEST(what_a_peer_says_before_it_leaves_is_the_reason)
{
    struct side side;
    pthread_t thread;
    open_fast();
    side_init(&side, &p, 0, 4, 0, 10, 0);
    pthread_create(&thread, NULL, fail_later, NULL);
    const double start = clock_seconds();
    side_run(&side);
    ck_assert_double_lt(clock_seconds() - start, 5);
    pthread_join(thread, NULL);
    ck_assert_int_eq(side.status, STATUS_FULL);
    ck_assert_msg(strstr(side.message, "P2: the disk is full") != NULL, "%s", side.message);
    ck_assert_ptr_null(p.session[0]->road);
    side_clear(&side);
    close_all();
}
END_TEST

static void *stop_later(void *hub)
{
    usleep(50000);
    net_hub_stop(hub);
    return NULL;
}

START_TEST(a_stop_ends_a_waiting_round)
{
    struct side side;
    pthread_t thread;
    open_fast();
    side_init(&side, &p, 0, 4, 0, 10, 0);
    pthread_create(&thread, NULL, stop_later, e.hub[0]);
    const double start = clock_seconds();
    side_run(&side);
    ck_assert_double_lt(clock_seconds() - start, 5);
    pthread_join(thread, NULL);
    ck_assert_int_eq(side.status, STATUS_STOPPED);
    ck_assert_ptr_nonnull(strstr(side.message, "shutting down"));
    side_clear(&side);
    close_all();
}
END_TEST

START_TEST(the_last_round_of_a_peer_that_shuts_down_is_still_read)
{
    struct side late, early;
    struct net_round round;
    open_fast();
    side_init(&late, &p, 0, 1, 0, WORDS_OF_A_RECORD, 0);
    side_init(&early, &p, 1, 1, 0, WORDS_OF_A_RECORD, 0);
    net_round_init(&round, p.session[0], p.peer[0], 1);
    ck_ok(net_round_queue_sum(&round, late.value, late.words)); /* which is all that P2 needs */
    side_run(&early);
    ck_assert_msg(early.status == STATUS_OK, "%s", early.message);
    net_session_close(&p.session[1]);
    net_hub_close(&e.hub[1]);
    ck_ok(net_round_run(&round));
    for (size_t i = 0; i < late.words; i++)
        ck_assert_uint_eq(late.value[i], early.value[i]);
    net_round_clear(&round);
    side_clear(&late);
    side_clear(&early);
    close_all();
}
END_TEST

/* ---- processes ---- */

/* P2 in a process of its own, which dies in its second round. */
static _Noreturn void be_mortal(const int *from)
{
    struct net_session_id id = {.bytes = {42}};
    struct side side;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(from[0], e.cluster.members[P1].bind, sizeof e.cluster.members[P1].bind) <= 0)
        _exit(1);
    e.hub[1] = cluster_open(&e.cluster, P2, 1u << P1);
    p = (struct pair){.owner = &e, .peer[1] = net_hub_peer(e.hub[1], NET_ROLE_P1)};
    ck_ok(net_session_open(&p.session[1], e.hub[1], &id));
    ck_ok(net_session_fast(p.session[1], p.peer[1], &p.why[1]));
    side_init(&side, &p, 1, 0, 0, 1000, 0);
    side_run(&side);
    struct net_round round;
    net_round_init(&round, p.session[1], p.peer[1], 1);
    side_init(&side, &p, 1, 1, 0, LARGE, 0);
    if (net_round_queue_sum(&round, side.value, LARGE) == STATUS_OK)
        raise(SIGKILL);
    _exit(1);
}

START_TEST(a_peer_that_dies_in_a_round_ends_it_at_once_and_can_come_back)
{
    struct net_session_id id = {.bytes = {42}};
    struct side side;
    int pipe_ends[2], status;
    cluster_init(&e.cluster);
    e.cluster.timeout_ms = 20000;
    e.cluster.fast_links[P1] = e.cluster.fast_links[P2] = true;
    strcpy(e.cluster.members[P1].bind, "tcp://127.0.0.1:*");
    ck_assert_int_eq(pipe(pipe_ends), 0);
    const pid_t child = fork();
    if (child == 0)
        be_mortal(pipe_ends);
    e.hub[0] = cluster_open(&e.cluster, P1, 0);
    ck_assert_int_gt(write(pipe_ends[1], e.cluster.members[P1].bind, sizeof e.cluster.members[P1].bind), 0);
    p = (struct pair){.owner = &e, .peer[0] = net_hub_peer(e.hub[0], NET_ROLE_P2)};
    ck_ok(net_session_open(&p.session[0], e.hub[0], &id));
    ck_ok(net_session_fast(p.session[0], p.peer[0], &p.why[0]));
    ck_assert_str_eq(p.why[0], "");
    side_init(&side, &p, 0, 0, 0, 1000, 0);
    side_run(&side);
    ck_assert_msg(side.status == STATUS_OK, "%s", side.message);
    side_clear(&side);
    side_init(&side, &p, 0, 1, 0, LARGE, 0);
    const double start = clock_seconds();
    side_run(&side);
    ck_assert_double_lt(clock_seconds() - start, 10);
    ck_assert_int_eq(side.status, STATUS_STOPPED);
    ck_assert_msg(strstr(side.message, "round 1: P2") != NULL, "%s", side.message);
    side_clear(&side);
    waitpid(child, &status, 0);
    net_session_close(&p.session[0]);
    e.hub[1] = cluster_open(&e.cluster, P2, 1u << P1);
    ck_assert(wait_up(e.hub[0], net_hub_peer(e.hub[0], NET_ROLE_P2)));
    pair_open(&p, &e);
    ck_assert_str_eq(p.why[0], "");
    pair_round(&p, 0, 1, 1000, 0, 0);
    close_all();
}
END_TEST

/* ---- shaped ---- */

START_TEST(a_shaped_fast_link_is_as_slow_as_it_is_told)
{
    const size_t words = 5000;
    cluster_init(&e.cluster);
    e.cluster.timeout_ms = 10000;
    e.cluster.fast_links[P1] = e.cluster.fast_links[P2] = true;
    e.cluster.link_rate = 16e6;
    e.cluster.link_delay_ms = 5;
    strcpy(e.cluster.members[P1].bind, "tcp://127.0.0.1:*");
    evaluators_open(&e);
    pair_open(&p, &e);
    ck_assert_ptr_nonnull(p.session[0]->road);
    const double start = clock_seconds();
    for (uint32_t i = 0; i < 10; i++)
        pair_round(&p, i, 0, words, 0, 0);
    ck_assert_double_ge(clock_seconds() - start, 10 * (8 * 8 * (double)words / 16e6 + 5e-3));
    close_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("road");
    TCase *tests = tcase_create("road");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, rounds_of_every_size_around_a_record_are_equal);
    tcase_add_test(tests, the_sides_may_cut_a_round_into_different_parts);
    tcase_add_test(tests, rounds_larger_than_all_buffers_go_both_ways_at_once);
    tcase_add_test(tests, what_is_queued_leaves_before_the_round_is_run);
    tcase_add_test(tests, what_came_is_taken_while_more_is_queued);
    tcase_add_test(tests, rows_of_a_matrix_travel_as_if_they_lay_together);
    tcase_add_test(tests, what_is_wrong_with_an_early_record_ends_the_round_when_it_is_run);
    tcase_add_test(tests, sessions_have_fast_links_of_their_own);
    tcase_add_test(tests, the_one_that_is_not_called_may_be_either);
    tcase_add_loop_test(tests, a_fast_link_listens_where_it_is_told_to, 0, 2);
    tcase_add_loop_test(tests, without_the_option_rounds_go_over_curve, 0, 2);
    tcase_add_test(tests, a_port_that_cannot_be_reached_costs_the_speed_and_is_not_tried_again_at_once);
    tcase_add_loop_test(tests, a_peer_that_stays_silent_is_named_after_the_deadline, 0, 2);
    tcase_add_test(tests, what_a_peer_says_before_it_leaves_is_the_reason);
    tcase_add_test(tests, a_stop_ends_a_waiting_round);
    tcase_add_test(tests, the_last_round_of_a_peer_that_shuts_down_is_still_read);
    tcase_add_test(tests, a_peer_that_dies_in_a_round_ends_it_at_once_and_can_come_back);
    tcase_add_test(tests, a_shaped_fast_link_is_as_slow_as_it_is_told);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
