/* Hubs for the tests: keys, allow-lists and endpoints of a small deployment in one process. */
#ifndef TREFOIL_TESTS_NET_CLUSTER_H
#define TREFOIL_TESTS_NET_CLUSTER_H

#include <check.h>

#include <string.h>

#include "net/net.h"

#define ck_ok(call)                                                                          \
    do {                                                                                     \
        enum status ck_status_ = (call);                                                     \
        ck_assert_msg(ck_status_ == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status_), \
                      status_message());                                                     \
    } while (0)
#define ck_fails(call, code, part)                                                                           \
    do {                                                                                                     \
        enum status ck_status_ = (call);                                                                     \
        ck_assert_msg(ck_status_ == (code), "%s: %s: %s", #call, status_name(ck_status_), status_message()); \
        ck_assert_msg(strstr(status_message(), (part)) != NULL, "message is: %s", status_message());         \
    } while (0)

enum { P0, P1, P2, OWNER, CLIENT, MEMBERS };

struct member {
    char public_key[NET_KEY_TEXT], secret_key[NET_KEY_TEXT];
    char bind[128]; /* "" if it does not listen */
};

/* Everyone knows everyone's key; who calls whom is the caller's choice. */
struct cluster {
    struct member members[MEMBERS];
    struct net_peer peers[MEMBERS]; /* scratch of cluster_open */
    void *context;                  /* of hubs opened from now on, or NULL */
    int timeout_ms;
    size_t frame_max;
    double link_rate, link_delay_ms;
    bool fast_links[MEMBERS];
    const char *fast_bind;
};

/* A folder for ipc endpoints, made before the tests and removed after them. */
void cluster_directory_make(void);
void cluster_directory_remove(void);
/* Lets a member listen on an ipc endpoint there, which is known before it is opened. */
void cluster_ipc(struct cluster *cluster, int member);

void cluster_init(struct cluster *cluster);
/* Options of a member that calls those whose bit is set in calls. Valid until the next call with this
 * cluster. */
struct net_options cluster_options(struct cluster *cluster, int member, unsigned calls);
/* Opens a member's hub, which calls those whose bit is set; keeps the endpoint it listens on for those after
 * it. */
struct net_hub *cluster_open(struct cluster *cluster, int member, unsigned calls);
/* Two ends of one session: P1's hub and P2's. */
void session_pair(struct net_hub *a, struct net_hub *b, struct net_session **on_a, struct net_session **on_b);
/* Waits up to five seconds for a peer to be up. */
bool wait_up(struct net_hub *hub, int peer);

#endif
