/* What the files of the client share. */
#ifndef TREFOIL_PARTIES_CLIENT_SESSION_H
#define TREFOIL_PARTIES_CLIENT_SESSION_H

#include <pthread.h>

#include "parties/client.h"
#include "parties/messages.h"

struct client {
    struct net_hub *hub;
    int party[3]; /* the hub's numbers of P0, P1, P2 */
    int timeout_ms;
    pthread_mutex_t ask; /* requests of several threads reach all parties in one order; and below */
    double served;       /* when the last request was, clock_seconds */
};

/* Opens a session and sends the request (released) to the parties whose bits are set. The session is to be closed in any
 * case. */
STATUS_MUST_USE enum status client_ask(struct client *client, unsigned parties, json_t *request,
                                       struct net_session **session);
/* Whether to ask once more: STATUS_BUSY, for which it waits first, a little longer each time, until timeout_ms have passed since
 * start (clock_seconds) and since any request of this client was served. One party that gives no place is enough for nothing to be begun at the others: no bundle is taken or
 * dealt without all three. tries: 0 at first. */
bool client_again(struct client *client, enum status status, double start, unsigned *tries);
STATUS_MUST_USE enum status client_reply(struct client *client, struct net_session *session, int party, json_t **out);
STATUS_MUST_USE enum status client_number(const struct client *client, const json_t *reply, int party,
                                          const char *field, uint64_t *out);
/* {"op", "model", "bucket", "batch", "tune", "schedule"}: a request about one shape of a model. */
json_t *client_shape_request(const char *op, const unsigned char *model, const struct schedule *schedule,
                             enum tune tune);

#endif
