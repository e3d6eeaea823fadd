#include "tests/net/cluster.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[MEMBERS] = {"P0", "P1", "P2", "owner", "client"};
static const enum net_role roles[MEMBERS] = {NET_ROLE_P0, NET_ROLE_P1, NET_ROLE_P2, NET_ROLE_OWNER,
                                             NET_ROLE_CLIENT};

static char directory[] = "/tmp/trefoil-net-XXXXXX";

void cluster_directory_make(void)
{
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        exit(1);
    }
}

void cluster_directory_remove(void)
{
    DIR *entries = opendir(directory);
    if (entries == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    rmdir(directory);
}

void cluster_ipc(struct cluster *cluster, int member)
{
    char *bind = cluster->members[member].bind;
    snprintf(bind, sizeof cluster->members[member].bind, "ipc://%s/%d-%d", directory, (int)getpid(), member);
}

void cluster_init(struct cluster *cluster)
{
    memset(cluster, 0, sizeof *cluster);
    cluster->timeout_ms = 3000;
    for (int i = 0; i < MEMBERS; i++)
        ck_ok(net_keygen(cluster->members[i].public_key, cluster->members[i].secret_key));
}

struct net_options cluster_options(struct cluster *cluster, int member, unsigned calls)
{
    struct net_options options = {.name = names[member],
                                  .role = roles[member],
                                  .bind =
                                      cluster->members[member].bind[0] ? cluster->members[member].bind : NULL,
                                  .peers = cluster->peers,
                                  .timeout_ms = cluster->timeout_ms,
                                  .frame_max = cluster->frame_max,
                                  .fast_links = cluster->fast_links[member],
                                  .fast_bind = cluster->fast_bind,
                                  .link_rate = cluster->link_rate,
                                  .link_delay_ms = cluster->link_delay_ms};
    memcpy(options.public_key, cluster->members[member].public_key, NET_KEY_TEXT);
    memcpy(options.secret_key, cluster->members[member].secret_key, NET_KEY_TEXT);
    for (int i = 0; i < MEMBERS; i++) {
        if (i == member)
            continue;
        struct net_peer *peer = &cluster->peers[options.peer_count++];
        memset(peer, 0, sizeof *peer);
        snprintf(peer->name, sizeof peer->name, "%s", names[i]);
        memcpy(peer->public_key, cluster->members[i].public_key, NET_KEY_TEXT);
        peer->role = roles[i];
        if (calls & (1u << i))
            peer->endpoint = cluster->members[i].bind;
    }
    return options;
}

struct net_hub *cluster_open(struct cluster *cluster, int member, unsigned calls)
{
    struct net_options options = cluster_options(cluster, member, calls);
    struct net_hub *hub = NULL;
    ck_ok(net_hub_open(&hub, cluster->context, &options));
    if (options.bind != NULL)
        snprintf(cluster->members[member].bind, sizeof cluster->members[member].bind, "%s",
                 net_hub_endpoint(hub));
    return hub;
}

void session_pair(struct net_hub *a, struct net_hub *b, struct net_session **on_a, struct net_session **on_b)
{
    ck_ok(net_session_open(on_a, a, NULL));
    struct net_session_id id = net_session_id(*on_a);
    ck_ok(net_session_open(on_b, b, &id));
}

bool wait_up(struct net_hub *hub, int peer)
{
    for (int i = 0; i < 1000 && !net_hub_peer_up(hub, peer); i++)
        usleep(5000);
    return net_hub_peer_up(hub, peer);
}
