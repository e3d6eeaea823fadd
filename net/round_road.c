/* Rounds on the fast road. Both directions of a round work on the same arrays when it is a sum: a record of the peer is added to
 * them only after this side has sealed all bytes up to its end, so that what is sent is never the sum.
 *
 * This cannot lock up. A side that waits for its socket to take a record has sealed all before it and that record, so it
 * reads everything the peer sealed up to there; of two sides that both wait, the one that has sealed more can read all that the
 * other has, and the other's socket empties. */
#include "net/road.h"

#include <poll.h>
#include <string.h>

#include "ring/elementwise.h"

#define WORD sizeof(uint64_t)
#define SPIN_NS 20000 /* a small round is over sooner than a thread falls asleep and is woken */
#define REASON_MS 500 /* how long CURVE may take to tell why a connection ended */

/* What was done since the last lap took so long. */
static void lap(struct net_round *round, int64_t *time)
{
    struct net_road *road = round->session->road;
    const int64_t now = net_nanoseconds();
    *time += now - road->lap;
    road->lap = now;
}

/* ---- sealing ---- */

/* How many bytes of the part at this mark go into the room that is left: words of sums stay whole. */
static size_t cut(const struct net_part *part, size_t at, size_t room)
{
    const size_t left = part->bytes - at;
    return left <= room ? left : part->add ? room / WORD * WORD : room;
}

/* The bytes of the next record. */
static size_t measure(const struct net_round *round)
{
    size_t bytes = 0;
    struct net_mark mark = round->sealed;
    while (mark.part < round->count) {
        const struct net_part *part = &round->parts[mark.part];
        const size_t now = cut(part, mark.at, NET_ROAD_RECORD - bytes);
        bytes += now;
        mark.at += now;
        if (mark.at < part->bytes)
            break;
        mark = (struct net_mark){.part = mark.part + 1};
    }
    return bytes;
}

static void advance(struct net_mark *mark, const struct net_part *part, size_t bytes)
{
    mark->bytes += bytes;
    mark->at += bytes;
    if (mark->at == part->bytes) {
        mark->part++;
        mark->at = 0;
    }
}

static bool seal_record(struct net_round *round)
{
    struct net_road *road = round->session->road;
    const struct net_mark before = round->sealed;
    size_t left = measure(round);
    bool good = net_road_begin(road, round->session, round->number, left);
    while (good && left > 0) {
        const struct net_part *part = &round->parts[round->sealed.part];
        const size_t now = cut(part, round->sealed.at, left);
        for (size_t at = 0, piece; good && at < now; at += piece) {
            piece = now - at;
            const size_t from = net_part_at(part, round->sealed.at + at, &piece);
            good = net_road_add(road, (const unsigned char *)part->send + from, piece);
        }
        advance(&round->sealed, part, now);
        left -= now;
    }
    if (good && net_road_end(road))
        return round->begun = true;
    road->sealed_bytes = road->sealed_sent = 0; /* nothing of it may go, and no other will be sealed */
    round->sealed = before;
    return false;
}

/* Seals the next record, if the one before is gone and there is one: not a small one while more may be queued. */
static enum net_road_state send_step(struct net_round *round, bool last)
{
    struct net_road *road = round->session->road;
    struct net_times *times = &round->session->times;
    enum net_road_state state = net_road_push(road);
    if (state != NET_ROAD_DONE)
        return state;
    const size_t left = round->bytes - round->sealed.bytes;
    if (last ? left == 0 && round->begun : left < NET_ROUND_EARLY)
        return NET_ROAD_DONE;
    if (!seal_record(round))
        return NET_ROAD_ENDED;
    lap(round, &times->sealing);
    state = net_road_push(road);
    lap(round, &times->sockets);
    return state == NET_ROAD_ENDED ? NET_ROAD_ENDED : NET_ROAD_MOVED;
}

/* ---- receiving ---- */

/* Puts a verified record where it belongs; false if it cuts a word. */
static bool scatter(struct net_round *round, const unsigned char *came, size_t bytes)
{
    while (bytes > 0) {
        const struct net_part *part = &round->parts[round->taken.part];
        size_t now = bytes;
        unsigned char *to = (unsigned char *)part->receive + net_part_at(part, round->taken.at, &now);
        if (part->add && now % WORD != 0)
            return false;
        if (part->add)
            round->spread |= ring_add_words((uint64_t *)to, came, now / WORD);
        else if (now > 0)
            memcpy(to, came, now);
        advance(&round->taken, part, now);
        came += now;
        bytes -= now;
    }
    return true;
}

static enum status refuse(struct net_round *round)
{
    const struct net_road *road = round->session->road;
    const uint32_t number = net_road_round(road), length = net_road_length(road);
    const size_t left = round->bytes - round->taken.bytes;
    if (length > NET_ROAD_RECORD)
        return net_violation(round->session, round->peer,
                             "sent a record of %u bytes on the fast link; at most %zu are taken", length,
                             NET_ROAD_RECORD);
    if (number != round->number)
        return net_violation(round->session, round->peer,
                             "sent a record of round %u on the fast link where round %u was due", number,
                             round->number);
    if (length > left || (length == 0 && left > 0))
        return net_violation(round->session, round->peer, "sent %u bytes in round %u where %zu were due",
                             length, number, left);
    return net_violation(
        round->session, round->peer,
        "sent a record on the fast link that does not verify: changed on the way, or of another session or "
        "bundle");
}

/* Takes one record if it is there whole, and its words were sealed here before. BUSY: not yet. */
static enum net_road_state take_step(struct net_round *round)
{
    struct net_road *road = round->session->road;
    const size_t left = round->bytes - round->taken.bytes;
    struct net_times *times = &round->session->times;
    const enum net_road_state state = net_road_pull(road, left < NET_ROAD_RECORD ? left : NET_ROAD_RECORD);
    lap(round, state == NET_ROAD_BUSY ? &times->idle : &times->sockets);
    if (state != NET_ROAD_DONE)
        return state;
    const size_t length = net_road_length(road);
    if (net_road_round(road) != round->number || length > left || (length == 0 && left > 0))
        return NET_ROAD_FORGED;
    if (!round->begun || round->taken.bytes + length > round->sealed.bytes)
        return NET_ROAD_BUSY;
    const unsigned char *payload = net_road_open(road, round->session, round->number);
    if (payload == NULL)
        return NET_ROAD_FORGED;
    if (!scatter(round, payload, length)) {
        net_seal_stop(&road->in);
        return NET_ROAD_FORGED;
    }
    round->heard = true;
    net_road_drop(road);
    lap(round, &times->sealing);
    return NET_ROAD_MOVED;
}

/* ---- a round ---- */

/* The connection ended: why is known, or will be in a moment, over CURVE. */
static enum status connection_ended(struct net_round *round)
{
    const enum status status = net_session_ended(round->session, round->peer, REASON_MS);
    if (status != STATUS_OK)
        return status;
    status_fail(STATUS_STOPPED, "%s closed the fast link",
                net_hub_peer_name(round->session->hub, round->peer));
    return net_session_fail(round->session, round->peer, STATUS_STOPPED);
}

/* Nothing moves: first a moment awake, then asleep. */
struct patience {
    int64_t spin_until; /* 0: it moved just now */
    int64_t until;      /* when to give up */
    enum status ended;  /* the session has, for this reason; what is under way may still come */
};

static int64_t deadline(const struct net_round *round)
{
    return net_nanoseconds() + (int64_t)round->session->timeout_ms * 1000000;
}

static enum status sleep_or_spin(struct net_round *round, struct patience *p, short events)
{
    struct net_session *session = round->session;
    const int64_t now = net_nanoseconds();
    if (p->spin_until == 0)
        p->spin_until = now + SPIN_NS;
    if (now < p->spin_until)
        return STATUS_OK;
    const enum status status = net_road_wait(session, round->peer, session->road->fd, events, p->until);
    lap(round, &session->times.idle);
    if (status == STATUS_OK)
        return STATUS_OK;
    if (status == STATUS_TIMEOUT && p->ended != STATUS_OK)
        return net_session_ended(session, round->peer, 0);
    if (status == STATUS_TIMEOUT) {
        status_fail(STATUS_TIMEOUT, "%s was silent for %d ms while we waited for round %u",
                    net_hub_peer_name(session->hub, round->peer), session->timeout_ms, round->number);
        return net_session_fail(session, round->peer, STATUS_TIMEOUT);
    }
    if (atomic_load(&session->hub->stop) || p->ended != STATUS_OK)
        return status;
    p->ended = status;
    p->until = now + (int64_t)REASON_MS * 1000000;
    return STATUS_OK;
}

static enum status pump(struct net_round *round)
{
    struct patience p = {.until = deadline(round)};
    for (size_t before = 0;;) {
        const enum net_road_state sent = send_step(round, true);
        const bool taken = round->heard && round->taken.bytes == round->bytes;
        const enum net_road_state came = taken ? NET_ROAD_DONE : take_step(round);
        if (sent == NET_ROAD_DONE && taken)
            return STATUS_OK;
        if (came == NET_ROAD_FORGED)
            return refuse(round);
        if (sent == NET_ROAD_ENDED || came == NET_ROAD_ENDED)
            return connection_ended(round);
        if (sent == NET_ROAD_MOVED || came == NET_ROAD_MOVED) {
            p.spin_until = 0;
            const size_t after = round->sealed.bytes + round->taken.bytes;
            if (p.ended == STATUS_OK &&
                after != before) /* whole records only: no trickle of bytes keeps us here */
                p.until = deadline(round);
            before = after;
            continue;
        }
        /* A whole record that waits for our sealing keeps the socket readable: only the way out counts then. */
        const bool in = !taken && !net_road_whole(round->session->road);
        const enum status status =
            sleep_or_spin(round, &p, (short)((in ? POLLIN : 0) | (sent == NET_ROAD_BUSY ? POLLOUT : 0)));
        if (status != STATUS_OK)
            return status;
    }
}

/* What goes wrong here is met again when the round is run: a connection that has ended remains so, and after a record that could
 * not be sealed or did not verify no other can be or does (seal.h). What has come may belong to parts that are not queued
 * yet; it waits for them. */
void net_round_road_early(struct net_round *round)
{
    round->session->road->lap = net_nanoseconds();
    while (send_step(round, false) == NET_ROAD_MOVED)
        continue;
    while (round->taken.bytes < round->bytes && take_step(round) == NET_ROAD_MOVED)
        continue;
}

enum status net_round_road_run(struct net_round *round)
{
    struct net_session *session = round->session;
    session->road->lap = net_nanoseconds();
    const enum status status = pump(round);
    if (status != STATUS_OK) {
        net_road_close(&session->road);
        return status;
    }
    const enum net_role role = session->hub->peers[round->peer].role;
    session->counters.sent[role] += round->bytes;
    session->counters.received[role] += round->bytes;
    session->counters.sent_kind[NET_ROUND] += round->bytes;
    session->counters.received_kind[NET_ROUND] += round->bytes;
    return STATUS_OK;
}
