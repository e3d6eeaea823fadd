/* The configuration file of a process: one for each party, one for a client, operator or model owner
 * (libconfig).
 *
 * Relative paths are relative to the folder of the file. doc/trefoil.conf.5 describes every setting. */
#ifndef TREFOIL_PARTIES_CONFIG_H
#define TREFOIL_PARTIES_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"
#include "ring/status.h"

struct config {
    char name[NET_NAME_MAX];
    enum net_role role;
    char public_key[NET_KEY_TEXT];
    char
        secret_key[NET_KEY_TEXT]; /* read from key_file, which nobody else may read (mode 0600 or stricter) */
    char *listen;                 /* parties: tcp://address:port */
    char *store;                  /* parties: folder of the store */
    uint64_t store_bytes;         /* parties: size the store may reach */
    char *model; /* clients: folder with vocab.txt, config.json and the embedding table; NULL if not set */
    int timeout_ms;
    int threads;         /* of the kernels, for each request; from 1 */
    int requests_max;    /* parties: served at the same time */
    int warm;            /* evaluators: bundles of a shape in use that are warmed ahead (parties/warm.h) */
    uint64_t memory_bytes; /* parties: what the bundle of one request may take; 0: what the machine has */
    int bundles_max;     /* parties: ready or promised bundles of one schedule; requests for more are cut to it */
    uint32_t bucket[16]; /* clients: padded lengths to choose from, rising; parties: those they accept (none:
                            any) */
    uint32_t buckets;
    bool fast_links;              /* evaluators: openings on a connection of their own; net_options */
    char *fast_listen;            /* where for; NULL: beside listen */
    double link_rate, link_delay_ms; /* parties, for measuring only: net_options */
    bool tune_lan; /* clients: schedules with one more round and smaller tables an attention layer */
    struct net_peer peer[NET_PEERS_MAX]; /* everyone this process talks to; endpoints owned by the config */
    uint32_t peers;
};

/* STATUS_INPUT names file, line and setting; STATUS_REFUSED a key file that others may read. */
/* load, unload: libconfig has a config_read and a config_clear of its own. */
STATUS_MUST_USE enum status config_load(struct config *out, const char *path);
/* The same for those that call parties: STATUS_INPUT if it is the configuration of a party. */
STATUS_MUST_USE enum status config_load_caller(struct config *out, const char *path);
/* Wipes the secret key. */
void config_unload(struct config *config);
/* The hub of this configuration. context: as in net_hub_open. */
STATUS_MUST_USE enum status config_hub(const struct config *config, void *context, struct net_hub **hub);

#endif
