#include "parties/notices.h"

#include <string.h>

#include "parties/journal.h"
#include "ring/clock.h"

#define SAY_AGAIN_S 60
#define PEER_LINES 6 /* about one party within that time */

/* Whether a line may be written now; it then must be. */
static bool due(struct notice *notice)
{
    const double now = clock_seconds();
    if (notice->said > 0 && now - notice->said < SAY_AGAIN_S)
        return false;
    notice->said = now;
    return true;
}

void notices_init(struct notices *n, const char *party)
{
    *n = (struct notices){.party = party};
    pthread_mutex_init(&n->lock, NULL);
}

void notices_clear(struct notices *n)
{
    pthread_mutex_destroy(&n->lock);
}

/* ---- requests that failed ---- */

void notices_failure(struct notices *n, const char *from, enum status status)
{
    struct notice *often = status == STATUS_BUSY ? &n->busy : status == STATUS_EMPTY ? &n->empty : NULL;
    pthread_mutex_lock(&n->lock);
    const bool now = !often || (often->untold == 0 && due(often));
    if (!now)
        often->untold++;
    pthread_mutex_unlock(&n->lock);
    if (now)
        journal(n->party, "a request of %s failed (%s): %s", from, status_name(status), status_message());
}

static void say_failures(struct notices *n, struct notice *often, enum status status, bool last)
{
    pthread_mutex_lock(&n->lock);
    const unsigned long count = often->untold > 0 && (last || due(often)) ? often->untold : 0;
    often->untold -= count;
    pthread_mutex_unlock(&n->lock);
    if (count > 0)
        journal(n->party, "more requests that failed (%s): %lu", status_name(status), count);
}

/* ---- connections ---- */

/* Where descriptors run out, every attempt fails. */
static void say_unaccepted(struct notices *n, struct net_hub *hub)
{
    const int code = net_hub_unaccepted(hub);
    if (code && due(&n->unaccepted))
        journal(n->party,
                "a connection could not be accepted: %s; is the limit on open files too low (LimitNOFILE)?",
                strerror(code));
}

/* Callers that are shut out try again every second. */
static void say_refused(struct notices *n, struct net_hub *hub)
{
    const unsigned long refused = net_hub_refused(hub);
    if (refused == n->refused_told || !due(&n->refused))
        return;
    journal(n->party, "calls refused, as their keys are not on the allow-list (peers): %lu",
            refused - n->refused_told);
    n->refused_told = refused;
}

/* ---- the other parties ---- */

static void say_change(const struct notices *n, const struct notice_peer *p, const char *name)
{
    if (p->changes > 1)
        journal(n->party,
                "%s came, went or began anew %lu times, and is %s now: do two processes have its key?", name,
                p->changes, p->present ? "up" : "gone");
    else if (!p->present)
        journal(n->party, "%s is gone", name);
    else if (!p->last)
        journal(n->party, "%s is up", name);
    else
        journal(n->party, p->present == p->last ? "%s is up again" : "%s is another process now", name);
}

/* Two processes with one key take each other's place for as long as both run. */
static void watch_peer(struct notices *n, struct notice_peer *p, struct net_hub *hub, int peer)
{
    const double now = clock_seconds();
    const uint64_t process = net_hub_peer_process(hub, peer);
    if (process != p->present) {
        p->present = process;
        p->changes++;
    }
    if (now - p->since >= SAY_AGAIN_S) {
        p->since = now;
        p->lines = 0;
    }
    if (p->changes == 0 || p->lines == PEER_LINES)
        return;
    say_change(n, p, net_hub_peer_name(hub, peer));
    p->last = process ? process : p->last;
    p->lines = p->changes > 1 ? PEER_LINES : p->lines + 1;
    p->changes = 0;
}

void notices_poll(struct notices *n, struct net_hub *hub, const int peer[3])
{
    say_failures(n, &n->busy, STATUS_BUSY, false);
    say_failures(n, &n->empty, STATUS_EMPTY, false);
    say_unaccepted(n, hub);
    say_refused(n, hub);
    for (int i = 0; i < 3; i++)
        if (peer[i] >= 0)
            watch_peer(n, &n->peer[i], hub, peer[i]);
}

void notices_end(struct notices *n)
{
    say_failures(n, &n->busy, STATUS_BUSY, true);
    say_failures(n, &n->empty, STATUS_EMPTY, true);
}
