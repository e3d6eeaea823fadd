/* The allow-list of ZeroMQ's CURVE servers.
 *
 * ZeroMQ asks one handler per context (ZAP, RFC 27) about every key that connects. Several hubs may share a
 * context, so one handler thread serves them all, each hub under a domain of its own. Keys it admits become
 * the "User-Id" of every message of that connection, as Z85 text; everything else is refused with status 400.
 */
#ifndef TREFOIL_NET_ZAP_H
#define TREFOIL_NET_ZAP_H

#include <stdbool.h>

#include "net/net.h"

#define NET_ZAP_DOMAIN 32

struct net_zap;

/* Registers a domain in this context, starting the handler with the first one; domain receives its unique
 * name for ZMQ_ZAP_DOMAIN. allow is called in the handler's thread until net_zap_close returns. */
STATUS_MUST_USE enum status net_zap_open(struct net_zap **out, void *context, char domain[NET_ZAP_DOMAIN],
                                         bool (*allow)(void *hub, const char *key), void *hub);
/* Takes NULL. The last domain of a context ends its handler. */
void net_zap_close(struct net_zap **zap);

#endif
