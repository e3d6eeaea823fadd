/* What says something by itself is wiped in the sender's memory once it is sent. The test stands between the hub and libzmq, and between
 * the hub and free (the linker's --wrap): a secret goes to libzmq as memory of ours, never as a copy of its own, and is zeros when it
 * is freed. */
#include "tests/net/cluster.h"
#include "tests/run.h"

#include <pthread.h>
#include <stdlib.h>

#include <zmq.h>

int __real_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t bytes, zmq_free_fn *release, void *hint);
int __wrap_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t bytes, zmq_free_fn *release, void *hint);
void __real_free(void *data);
void __wrap_free(void *data);

#define MOST 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    unsigned char *data;
    size_t bytes;
} handed[MOST];
static size_t handed_over, freed, unwiped;
static unsigned char secret[4096];

/* Pieces of a payload are parts of memory that was handed over before. */
int __wrap_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t bytes, zmq_free_fn *release, void *hint)
{
    pthread_mutex_lock(&lock);
    bool known = false;
    for (size_t i = 0; i < handed_over; i++)
        known |= handed[i].data == data;
    if (!known && handed_over < MOST && bytes >= 8 && memcmp(data, secret, 8) == 0) {
        handed[handed_over].data = data;
        handed[handed_over++].bytes = bytes;
    }
    pthread_mutex_unlock(&lock);
    return __real_zmq_msg_init_data(message, data, bytes, release, hint);
}

void __wrap_free(void *data)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; data && i < handed_over; i++) {
        if (handed[i].data != data)
            continue;
        freed++;
        for (size_t k = 0; k < handed[i].bytes; k++)
            if (handed[i].data[k] != 0) {
                unwiped++;
                break;
            }
        handed[i].data = NULL;
    }
    pthread_mutex_unlock(&lock);
    __real_free(data);
}

static const struct {
    enum net_kind kind;
    size_t bytes; /* some short enough for libzmq to keep them within a message */
} sent[] = {{NET_SEED, 32}, {NET_INPUT, 32}, {NET_INPUT, 4000}, {NET_DEAL, 1000}, {NET_OUTPUT, 8}};

#define SECRETS (sizeof sent / sizeof *sent)

static void send_all(const char *endpoint, bool inproc)
{
    struct cluster cluster;
    struct net_session *on_p1, *on_p2;
    unsigned char got[sizeof secret];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)(1 + i % 251);
    cluster_init(&cluster);
    cluster.context = inproc ? zmq_ctx_new() : NULL;
    strcpy(cluster.members[P1].bind, endpoint);
    struct net_hub *p1 = cluster_open(&cluster, P1, 0), *p2 = cluster_open(&cluster, P2, 1u << P1);
    session_pair(p1, p2, &on_p1, &on_p2);
    for (uint32_t i = 0; i < SECRETS; i++)
        ck_ok(net_send(on_p2, net_hub_peer(p2, NET_ROLE_P1), sent[i].kind, i, secret, sent[i].bytes));
    for (uint32_t i = 0; i < SECRETS; i++) {
        ck_ok(net_receive(on_p1, net_hub_peer(p1, NET_ROLE_P2), sent[i].kind, i, got, sent[i].bytes));
        ck_assert_mem_eq(got, secret, sent[i].bytes);
    }
    /* Never sent: too long for the hub, or to nobody. */
    ck_assert_int_ne(net_send(on_p2, -1, NET_SEED, 0, secret, 32), STATUS_OK);
    net_session_close(&on_p1);
    net_session_close(&on_p2);
    net_hub_close(&p2);
    net_hub_close(&p1);
    if (inproc)
        zmq_ctx_term(cluster.context);
    ck_assert_uint_eq(handed_over, SECRETS);
    ck_assert_uint_eq(freed, SECRETS);
    ck_assert_uint_eq(unwiped, 0);
}

START_TEST(secrets_are_wiped_where_they_were_sent_from)
{
    send_all("tcp://127.0.0.1:*", false);
}
END_TEST

START_TEST(secrets_within_a_process_are_wiped_once_they_were_read)
{
    send_all("inproc://wipe", true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wipe");
    TCase *tests = tcase_create("wipe");
    tcase_set_timeout(tests, 30);
    tcase_add_test(tests, secrets_are_wiped_where_they_were_sent_from);
    tcase_add_test(tests, secrets_within_a_process_are_wiped_once_they_were_read);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
