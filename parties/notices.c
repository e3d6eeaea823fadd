#include "parties/notices.h"

#include <string.h>

#include "parties/journal.h"
#include "ring/clock.h"

#define SAY_AGAIN_S 60

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

void notices_poll(struct notices *n, struct net_hub *hub)
{
    say_failures(n, &n->busy, STATUS_BUSY, false);
    say_failures(n, &n->empty, STATUS_EMPTY, false);
    say_unaccepted(n, hub);
}

void notices_end(struct notices *n)
{
    say_failures(n, &n->busy, STATUS_BUSY, true);
    say_failures(n, &n->empty, STATUS_EMPTY, true);
}
