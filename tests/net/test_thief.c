/* What somebody on the line, a stranger at the door, or a peer that breaks the rules can do to a fast link: nothing but end it. */
#include "tests/net/evaluators.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "net/road.h"
#include "tests/run.h"

#define WORDS (5 * NET_ROAD_RECORD / 16) /* two whole records and a half */

static struct evaluators e;
static struct pair p;

static void close_all(void)
{
    pair_close(&p);
    evaluators_close(&e);
}

/* ---- a thief: P2 connects to it instead of to P1 ---- */

enum theft {
    FLIP_PAYLOAD,
    FLIP_TAG,
    FLIP_ROUND,
    FLIP_LENGTH,
    LENGTHEN,
    SHORTEN,
    REPEAT,
    LEAVE_OUT,
    REPLACE_BY_THE_ONE_BEFORE, /* with the right round in its head */
    CUT_OFF,
    THEFTS,
    NO_THEFT
};

struct direction {
    struct thief *thief;
    int from, to, count;
    unsigned char record[NET_ROAD_WIRE], before[NET_ROAD_WIRE];
    size_t bytes, bytes_before;
    bool stolen;
};

struct thief {
    int listener, real_port;
    enum theft theft;
    bool towards_p1; /* whose records: those of P2, or those of P1 */
    int at;          /* which record of that direction, 0 is the hello */
    bool forge_ticket;
    struct direction way[2]; /* towards P1, towards P2 */
    pthread_t thread, back;
};

static bool read_all(int fd, void *data, size_t bytes)
{
    return recv(fd, data, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

static void write_all(int fd, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    while (bytes > 0) {
        const ssize_t went = send(fd, at, bytes, MSG_NOSIGNAL);
        if (went <= 0)
            return;
        at += went;
        bytes -= (size_t)went;
    }
}

static void hang_up(struct direction *way)
{
    shutdown(way->from, SHUT_RDWR);
    shutdown(way->to, SHUT_RDWR);
}

/* Passes the record on in its own way. */
static void steal(struct direction *way)
{
    unsigned char *record = way->record;
    size_t bytes = way->bytes;
    way->stolen = true;
    switch (way->thief->theft) {
    case FLIP_PAYLOAD:
        record[NET_ROAD_HEAD + bytes / 2] ^= 0x10;
        break;
    case FLIP_TAG:
        record[bytes - 1] ^= 1;
        break;
    case FLIP_ROUND:
        record[4] ^= 1;
        break;
    case FLIP_LENGTH:
        record[0] ^= 8;
        break;
    case LENGTHEN:
        record[3] = 0xff;
        break;
    case SHORTEN:
        net_put(record, net_get(record, 4) - 8, 4);
        bytes -= 8;
        break;
    case REPEAT:
        write_all(way->to, record, bytes);
        break;
    case LEAVE_OUT:
        bytes = 0;
        break;
    case REPLACE_BY_THE_ONE_BEFORE:
        memcpy(way->before + 4, record + 4, 4);
        memcpy(record, way->before, way->bytes_before);
        bytes = way->bytes_before;
        break;
    case CUT_OFF:
        write_all(way->to, record, bytes / 2);
        hang_up(way);
        bytes = 0;
        break;
    default:
        break;
    }
    write_all(way->to, record, bytes);
}

static void *pass_on(void *argument)
{
    struct direction *way = argument;
    const struct thief *thief = way->thief;
    const bool mine = thief->theft != NO_THEFT && (way == &thief->way[0]) == thief->towards_p1;
    for (; read_all(way->from, way->record, NET_ROAD_HEAD); way->count++) {
        const size_t length = net_get(way->record, 4);
        if (length > NET_ROAD_RECORD ||
            !read_all(way->from, way->record + NET_ROAD_HEAD, length + NET_SEAL_TAG))
            break;
        way->bytes = NET_ROAD_HEAD + length + NET_SEAL_TAG;
        if (mine && way->count == thief->at)
            steal(way);
        else
            write_all(way->to, way->record, way->bytes);
        memcpy(way->before, way->record, way->bytes);
        way->bytes_before = way->bytes;
    }
    hang_up(way);
    return NULL;
}

static int call_port(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void *be_thief(void *argument)
{
    struct thief *t = argument;
    unsigned char ticket[NET_TICKET];
    const int caller = accept(t->listener, NULL, NULL);
    if (caller < 0)
        return NULL;
    const int real = call_port(t->real_port);
    t->way[0] = (struct direction){.thief = t, .from = caller, .to = real};
    t->way[1] = (struct direction){.thief = t, .from = real, .to = caller};
    if (read_all(caller, ticket, sizeof ticket)) {
        ticket[3] ^= t->forge_ticket;
        write_all(real, ticket, sizeof ticket);
        pthread_create(&t->back, NULL, pass_on, &t->way[1]);
        pass_on(&t->way[0]);
        pthread_join(t->back, NULL);
    }
    close(caller);
    close(real);
    return NULL;
}

static void thief_open(struct thief *t)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    t->listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(t->listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(t->listener, 4), 0);
    ck_assert_int_eq(getsockname(t->listener, (struct sockaddr *)&address, &bytes), 0);
    t->real_port = (int)e.hub[0]->door.port;
    e.hub[0]->door.port = ntohs(address.sin_port);
    pthread_create(&t->thread, NULL, be_thief, t);
}

static void thief_close(struct thief *t)
{
    shutdown(t->listener, SHUT_RDWR);
    pthread_join(t->thread, NULL);
    close(t->listener);
}

/* Tells the other of a failure, as a party does. */
static void *run_and_tell(void *argument)
{
    struct side *side = argument;
    side_run(side);
    if (side->status != STATUS_OK)
        net_send_error(p.session[side->which], p.peer[side->which], side->status);
    return NULL;
}

static void run_both(struct side side[2])
{
    pthread_t thread;
    pthread_create(&thread, NULL, run_and_tell, &side[1]);
    run_and_tell(&side[0]);
    pthread_join(thread, NULL);
}

static void check_untouched(const struct side *side, size_t from)
{
    size_t touched = 0;
    for (size_t i = from; i < side->words; i++)
        touched += side->value[i] != side_word(side->which, side->number, i);
    ck_assert_uint_eq(touched, 0);
}

/* Round 0 goes by; then the first record of round 1, or the second. */
START_TEST(nothing_that_was_changed_on_the_way_is_taken)
{
    const int victim = _i % 2, second = _i / 2 % 2;
    static struct thief t;
    t = (struct thief){.theft = (enum theft)(_i / 4), .towards_p1 = victim == 0, .at = 2 + second};
    struct side side[2];
    evaluators_open(&e);
    thief_open(&t);
    pair_open(&p, &e);
    ck_assert_str_eq(p.why[0], "");
    pair_round(&p, 0, 0, 100, 0, 0);
    for (int s = 0; s < 2; s++)
        side_init(&side[s], &p, s, 1, 0, WORDS, 0);
    run_both(side);
    ck_assert(t.way[victim].stolen);
    ck_assert_msg(side[victim].status == (t.theft == CUT_OFF ? STATUS_STOPPED : STATUS_PEER), "%s",
                  side[victim].message);
    ck_assert_msg(strstr(side[victim].message, victim ? "round 1: P1" : "round 1: P2") != NULL, "%s",
                  side[victim].message);
    ck_assert_ptr_null(p.session[victim]->road);
    if (t.theft != REPEAT) /* what came before was in order */
        check_untouched(&side[victim], (size_t)second * NET_ROAD_RECORD / 8);
    else
        check_untouched(&side[victim], (size_t)(1 + second) * NET_ROAD_RECORD / 8);
    pair_try(&p, 2, 10);
    ck_assert_int_ne(p.status[victim], STATUS_OK);
    for (int s = 0; s < 2; s++)
        side_clear(&side[s]);
    close_all();
    thief_close(&t);
}
END_TEST

START_TEST(an_honest_thief_is_not_noticed)
{
    static struct thief t;
    t = (struct thief){.theft = NO_THEFT};
    evaluators_open(&e);
    thief_open(&t);
    pair_open(&p, &e);
    ck_assert_str_eq(p.why[0], "");
    for (uint32_t i = 0; i < 3; i++)
        pair_round(&p, i, 0, WORDS, 0, 0);
    close_all();
    thief_close(&t);
}
END_TEST

/* A forged ticket; forged first records of the caller, of the listener. */
START_TEST(a_connection_that_is_not_the_peers_is_not_used)
{
    static struct thief t;
    t = (struct thief){
        .theft = _i ? FLIP_TAG : NO_THEFT, .towards_p1 = _i == 1, .at = 0, .forge_ticket = _i == 0};
    evaluators_open(&e);
    thief_open(&t);
    pair_open(&p, &e);
    ck_assert_ptr_null(p.session[0]->road);
    ck_assert_ptr_null(p.session[1]->road);
    ck_assert_ptr_nonnull(strstr(p.why[1], "cannot be reached"));
    pair_round(&p, 0, 2, 1000, 0, 0);
    close_all();
    thief_close(&t);
}
END_TEST

/* ---- strangers ---- */

START_TEST(strangers_at_the_door_are_sent_away_and_hold_nobody_up)
{
    enum { STRANGERS = 3 * NET_CALLERS };
    int fd[STRANGERS];
    unsigned char noise[64];
    evaluators_open(&e);
    for (int i = 0; i < STRANGERS; i++) {
        fd[i] = call_port((int)e.hub[0]->door.port);
        randombytes_buf(noise, sizeof noise);
        const size_t bytes = (size_t)(i % 3) * 16 - (i % 3 == 2) * 7; /* nothing, a ticket of nobody, more */
        ck_assert_int_eq(send(fd[i], noise, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
    }
    pair_open(&p, &e);
    ck_assert_str_eq(p.why[0], "");
    pair_round(&p, 0, 0, 1000, 0, 0);
    const struct timeval patience = {.tv_sec = 8};
    for (int i = 0; i < STRANGERS; i++) {
        setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ck_assert(recv(fd[i], noise, 1, 0) == 0 || errno == ECONNRESET);
        close(fd[i]);
    }
    pair_round(&p, 1, 0, 1000, 0, 0);
    close_all();
}
END_TEST

/* ---- a peer with the keys that breaks the rules ---- */

enum breach {
    CUTS_A_WORD,
    SENDS_MORE,
    SENDS_NOTHING,
    SENDS_ANOTHER_ROUND,
    OF_ANOTHER_SESSION,
    OF_ANOTHER_BUNDLE,
    TOO_LONG,
    BREACHES
};

static const char *const complaints[BREACHES] = {"does not verify", "where 800 were due", "sent 0 bytes",
                                                 "of round 9",      "does not verify",    "does not verify",
                                                 "at most"};

static void break_rules(enum breach breach, struct net_session *other)
{
    unsigned char data[816] = {0};
    struct net_road *road = p.session[1]->road;
    const struct net_session *session = breach == OF_ANOTHER_SESSION ? other : p.session[1];
    const size_t bytes = breach == CUTS_A_WORD     ? 12
                         : breach == SENDS_MORE    ? 808
                         : breach == SENDS_NOTHING ? 0
                                                   : 800;
    if (breach == OF_ANOTHER_BUNDLE)
        net_session_bundle(p.session[1], 8);
    ck_assert(net_road_begin(road, session, breach == SENDS_ANOTHER_ROUND ? 9 : 1, bytes));
    ck_assert(net_road_add(road, data, bytes));
    ck_assert(net_road_end(road));
    if (breach == TOO_LONG)
        net_put(road->sealed, NET_ROAD_RECORD + 1, 4);
    ck_assert_int_eq(net_road_push(road), NET_ROAD_DONE);
}

START_TEST(a_peer_that_breaks_the_rules_is_refused_by_name)
{
    struct pair other;
    struct side side;
    evaluators_open(&e);
    pair_open(&p, &e);
    pair_open(&other, &e);
    pair_round(&p, 0, 0, 100, 0, 0);
    side_init(&side, &p, 0, 1, 0, 100, 0);
    break_rules((enum breach)_i, other.session[1]);
    side_run(&side);
    ck_assert_int_eq(side.status, STATUS_PEER);
    ck_assert_msg(strstr(side.message, "round 1: P2 sent") != NULL, "%s", side.message);
    ck_assert_msg(strstr(side.message, complaints[_i]) != NULL, "%s", side.message);
    check_untouched(&side, 0);
    pair_round(&other, 0, 0, 100, 0, 0);
    side_clear(&side);
    pair_close(&other);
    close_all();
}
END_TEST

/* ---- the arrangement ---- */

static void *answer_badly(void *fresh)
{
    unsigned char card[40 + NET_ROAD_HOST] = {1 | 2 | 4 | 8};
    memcpy(card + 8, fresh, NET_ROAD_PUBLIC);
    ck_ok(net_send(p.session[1], p.peer[1], NET_ROAD, 0, card, sizeof card));
    ck_ok(net_send(p.session[1], p.peer[1], NET_ROAD, 1, "\1", 1));
    return NULL;
}

/* A fresh key of all zeros would make the keys known to everyone; and a link that does not stand cannot be claimed. */
START_TEST(an_arrangement_that_makes_no_sense_ends_the_session)
{
    unsigned char fresh[NET_ROAD_PUBLIC] = {0};
    evaluators_open(&e);
    pair_open_slow(&p, &e);
    fresh[0] = _i ? 9 : 0;
    answer_badly(fresh);
    ck_fails(net_session_fast(p.session[0], p.peer[0], &p.why[0]), STATUS_PEER,
             _i ? "a fast link stands which does not" : "a fresh key that is none");
    ck_assert_ptr_null(p.session[0]->road);
    pair_close(&p);
    pair_open(&p, &e);
    pair_round(&p, 0, 0, 100, 0, 0);
    close_all();
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("thief");
    TCase *tests = tcase_create("thief");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, nothing_that_was_changed_on_the_way_is_taken, 0, 4 * THEFTS);
    tcase_add_test(tests, an_honest_thief_is_not_noticed);
    tcase_add_loop_test(tests, a_connection_that_is_not_the_peers_is_not_used, 0, 3);
    tcase_add_test(tests, strangers_at_the_door_are_sent_away_and_hold_nobody_up);
    tcase_add_loop_test(tests, a_peer_that_breaks_the_rules_is_refused_by_name, 0, BREACHES);
    tcase_add_loop_test(tests, an_arrangement_that_makes_no_sense_ends_the_session, 0, 2);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
