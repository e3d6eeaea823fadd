#include "parties/client_session.h"
#include "ring/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

/* Work at the parties may take minutes (a large model to load); a party that is gone is noticed by the link. */
#define PATIENCE 30

/* Between requests that found no place: from AGAIN_MS on, doubled up to AGAIN_DOUBLED times. */
#define AGAIN_MS 50
#define AGAIN_DOUBLED 5

enum status client_open(struct client **out, const struct config *config, void *context)
{
    static const enum net_role roles[3] = {NET_ROLE_P0, NET_ROLE_P1, NET_ROLE_P2};
    struct client *c = calloc(1, sizeof *c);
    *out = c;
    if (!c)
        return status_fail(STATUS_MEMORY, "out of memory");
    pthread_mutex_init(&c->ask, NULL);
    c->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : 20000;
    enum status status = config_hub(config, context, &c->hub);
    for (int i = 0; status == STATUS_OK && i < 3; i++) {
        c->party[i] = net_hub_peer(c->hub, roles[i]);
        if (c->party[i] < 0)
            status = status_fail(STATUS_INPUT, "the configuration names no peer with the role P%d", i);
    }
    if (status != STATUS_OK)
        client_close(out);
    return status;
}

void client_close(struct client **client)
{
    if (!*client)
        return;
    net_hub_close(&(*client)->hub);
    pthread_mutex_destroy(&(*client)->ask);
    free(*client);
    *client = NULL;
}

/* ---- asking ---- */

enum status client_ask(struct client *c, unsigned parties, json_t *request, struct net_session **session)
{
    enum status status = net_session_open(session, c->hub, NULL);
    if (status == STATUS_OK)
        net_session_timeout(*session, c->timeout_ms * PATIENCE);
    pthread_mutex_lock(&c->ask);
    for (int i = 0; status == STATUS_OK && i < 3; i++)
        if (parties & 1u << i)
            status = message_send(*session, c->party[i], NET_REQUEST, json_incref(request));
    pthread_mutex_unlock(&c->ask);
    json_decref(request);
    return status;
}

bool client_again(struct client *c, enum status status, double start, unsigned *tries)
{
    const double now = clock_seconds();
    pthread_mutex_lock(&c->ask);
    if (status == STATUS_OK)
        c->served = now;
    const double since = c->served > start ? c->served : start;
    pthread_mutex_unlock(&c->ask);
    if (status != STATUS_BUSY || 1e3 * (now - since) >= c->timeout_ms)
        return false;
    const uint32_t most = (uint32_t)AGAIN_MS << (*tries < AGAIN_DOUBLED ? (*tries)++ : AGAIN_DOUBLED);
    /* Not all that were refused together come back together. */
    const long ms = (long)(most / 2 + randombytes_uniform(most / 2 + 1));
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    return true;
}

enum status client_reply(struct client *c, struct net_session *session, int party, json_t **out)
{
    return message_receive(session, c->party[party], NET_REPLY, out);
}

enum status client_number(const struct client *c, const json_t *reply, int party, const char *field, uint64_t *out)
{
    return message_number(reply, net_hub_peer_name(c->hub, c->party[party]), field, INT64_MAX, out);
}

enum status client_status(struct client *c, enum net_role party, char **json)
{
    const int number = party == NET_ROLE_P0 ? 0 : party == NET_ROLE_P1 ? 1 : 2;
    struct net_session *session = NULL;
    json_t *reply = NULL;
    *json = NULL;
    enum status status = client_ask(c, 1u << number, json_pack("{s:s}", "op", "status"), &session);
    if (status == STATUS_OK)
        net_session_timeout(session, c->timeout_ms);
    if (status == STATUS_OK)
        status = client_reply(c, session, number, &reply);
    if (status == STATUS_OK) {
        *json = json_dumps(reply, JSON_COMPACT | JSON_SORT_KEYS);
        if (!*json)
            status = status_fail(STATUS_MEMORY, "out of memory");
    }
    json_decref(reply);
    net_session_close(&session);
    return status;
}
