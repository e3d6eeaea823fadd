/* What a slower line between the evaluators makes of the online time. */
#include "parties/bench.h"

double bench_predict(const struct bench *b, const struct local_links *links, double loopback_ms)
{
    const double bits = 8 * (double)b->cost.online_bytes;
    return loopback_ms + (links->rate > 0 ? 1e3 * bits / links->rate : 0) +
           (double)b->cost.rounds * links->delay_ms;
}

/* Where a line of some rate stands in the course of a round, in milliseconds. */
struct course {
    double rate;
    double computed, sent; /* until when */
    double bytes;          /* queued, not sent yet */
    double work, line;     /* of all */
};

static void put(struct course *c)
{
    c->sent = (c->sent > c->computed ? c->sent : c->computed) + 8e3 * c->bytes / c->rate;
    c->bytes = 0;
}

/* A gate's parts are queued one after the other, each when it is computed. */
static void pass(struct course *c, double compute, double bytes, uint64_t parts)
{
    for (uint64_t i = 0; i < parts; i++) {
        c->computed += compute / (double)parts;
        c->bytes += bytes / (double)parts;
        if (c->bytes >= (double)NET_ROUND_EARLY)
            put(c);
    }
    c->work += compute;
    c->line += 8e3 * bytes / c->rate;
}

double bench_hidden(const struct bench *b, const struct local_links *links,
                    const struct walk_profile profile[2])
{
    const struct schedule *s = &b->schedule;
    double hidden = 0;
    if (links->rate <= 0)
        return 0;
    for (uint32_t i = 0; i < s->gates;) {
        struct course c = {.rate = links->rate};
        for (const uint32_t round = s->gate[i].round; i < s->gates && s->gate[i].round == round; i++) {
            struct cost cost = {0};
            walk_count_gate(s, &s->gate[i], &cost);
            const uint64_t part = walk_count_part(s, &s->gate[i]);
            pass(&c, 1e3 * (profile[0].compute[i] + profile[1].compute[i]) / 2, (double)cost.online_bytes,
                 cost.online_bytes > part ? (cost.online_bytes + part - 1) / part : 1);
        }
        put(&c);
        hidden += c.work + c.line - (c.sent > c.computed ? c.sent : c.computed);
    }
    return hidden;
}
