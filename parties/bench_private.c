/* The private run: offline, warming, online, and the same behind slower links. */
#include <stdlib.h>
#include <string.h>

#include "layers/walk.h"
#include "parties/bench.h"
#include "parties/in_flight.h"
#include "parties/progress.h"
#include "parties/rates.h"
#include "ring/clock.h"

/* What was measured of several inferences. */
struct trial {
    double *online, *warm; /* [runs] milliseconds */
    int runs;
    struct walk_profile profile[2]; /* of the run with the median online time */
    uint64_t bytes, rounds;
    double alone;    /* the median of one inference from its request on, milliseconds */
    double together; /* b->in_flight inferences at a time, all of them, milliseconds */
};

static void trial_clear(struct trial *t)
{
    free(t->online);
    free(t->warm);
    walk_profile_clear(&t->profile[0]);
    walk_profile_clear(&t->profile[1]);
    memset(t, 0, sizeof *t);
}

struct measured {
    unsigned char id[MODEL_ID_BYTES];
    float *logits;
    struct client *client;
    double offline_ms;
    uint64_t offline_bytes;
    struct trial trial;
};

static enum status infer(struct bench *b, const struct measured *m, float *logits, struct inference *i,
                         struct walk_profile *profile)
{
    *i = (struct inference){.model = m->id,
                            .bucket = b->tokens,
                            .batch = b->batch,
                            .tune = b->tune,
                            .embeddings = b->embeddings,
                            .length = b->length,
                            .logits = logits,
                            .profile = profile};
    return client_infer(m->client, &b->model.description, i);
}

static double total(const struct walk_profile profile[2])
{
    double sum = 0;
    for (int p = 0; p < 2; p++) {
        for (uint32_t i = 0; i < profile[p].gates; i++)
            sum += profile[p].compute[i];
        for (uint32_t i = 0; i < profile[p].rounds; i++)
            sum += profile[p].wait[i];
    }
    return sum;
}

/* The profile of the median: the runs are few, so all profiles are kept until the median is known. */
static void choose_profile(struct trial *t, struct walk_profile (*profiles)[2], const double *online)
{
    int best = 0;
    const double median = rates_median(t->online, (size_t)t->runs);
    for (int i = 0; i < t->runs; i++) {
        const double now = online[i] - median, before = online[best] - median;
        if (now * now < before * before)
            best = i;
    }
    memcpy(t->profile, profiles[best], sizeof t->profile);
    memset(profiles[best], 0, sizeof profiles[best]);
}

/* ---- several at a time ---- */

struct together {
    struct bench *bench;
    const struct measured *measured;
};

static enum status infer_one(void *context, size_t index)
{
    struct together *t = context;
    struct inference i;
    float *logits = calloc((size_t)t->bench->batch * t->bench->model.description.config.labels, sizeof *logits);
    (void)index;
    const enum status status = logits ? infer(t->bench, t->measured, logits, &i, NULL)
                                      : status_fail(STATUS_MEMORY, "out of memory for the logits");
    free(logits);
    return status;
}

/* Once for the parties to get the memory they need; then what counts. */
static enum status run_together(struct bench *b, struct measured *m, double *ms)
{
    struct together t = {b, m};
    enum status status = in_flight_run(b->in_flight, b->in_flight, infer_one, &t);
    const double start = clock_seconds();
    if (status == STATUS_OK)
        status = in_flight_run(b->in_flight, b->in_flight, infer_one, &t);
    *ms = 1e3 * (clock_seconds() - start);
    return status;
}

/* One inference first, for weights to be loaded and links to come up; then those that count. */
static enum status run_inferences(struct bench *b, struct measured *m, struct trial *t, int runs)
{
    struct inference i;
    struct walk_profile(*profiles)[2] = calloc((size_t)runs, sizeof *profiles);
    double *online = calloc((size_t)runs, sizeof *online), *alone = calloc((size_t)runs, sizeof *alone);
    *t = (struct trial){.runs = runs,
                        .online = calloc((size_t)runs, sizeof *t->online),
                        .warm = calloc((size_t)runs, sizeof *t->warm)};
    enum status status = profiles && online && alone && t->online && t->warm
                             ? infer(b, m, m->logits, &i, NULL)
                             : status_fail(STATUS_MEMORY, "out of memory for measurements");
    for (int run = 0; status == STATUS_OK && run < runs; run++) {
        status = infer(b, m, m->logits, &i, profiles[run]);
        online[run] = t->online[run] = i.online_ms;
        alone[run] = i.total_ms;
        const double warm[2] = {profiles[run][0].warm, profiles[run][1].warm};
        t->warm[run] = 1e3 * (warm[0] > warm[1] ? warm[0] : warm[1]);
        t->bytes = i.bytes;
        t->rounds = i.rounds;
    }
    if (status == STATUS_OK) {
        choose_profile(t, profiles, online);
        t->alone = rates_median(alone, (size_t)runs);
    }
    if (status == STATUS_OK && b->in_flight)
        status = run_together(b, m, &t->together);
    for (int run = 0; profiles && run < runs; run++)
        for (int p = 0; p < 2; p++)
            walk_profile_clear(&profiles[run][p]);
    free(profiles);
    free(online);
    free(alone);
    return status;
}

/* ---- offline ---- */

/* Of all trials: one before those that count, of each kind. */
static uint64_t inferences(const struct bench *b)
{
    return (uint64_t)(b->runs + 1 + 2 * (int)b->in_flight) * (uint64_t)(b->links + 1);
}

/* One bundle first, as its dealing loads the weights; then all that will be spent, whose time counts. */
static enum status deal(struct bench *b, struct measured *m)
{
    const uint32_t count = (uint32_t)inferences(b);
    struct progress progress;
    struct deal_request r = {
        .model = m->id, .bucket = b->tokens, .batch = b->batch, .tune = b->tune, .count = 1};
    enum status status = client_deal(m->client, &b->model.description, &r);
    progress_start(&progress, "dealing");
    r.count = count;
    r.progress = progress_update;
    r.context = &progress;
    if (status == STATUS_OK)
        status = client_deal(m->client, &b->model.description, &r);
    progress_end(&progress);
    if (status == STATUS_OK && r.dealt < count)
        status = status_fail(STATUS_FULL, "the parties dealt %u of %u bundles", r.dealt, count);
    m->offline_ms = 1e3 * r.seconds / (r.dealt ? r.dealt : 1);
    m->offline_bytes = (r.bytes_p1 + r.bytes_p2) / (r.dealt ? r.dealt : 1);
    return status;
}

/* ---- online ---- */

/* Milliseconds: compute, GEMM in it, waits; of both, the fast link's sealing, sockets and idling. */
static void sum_profile(const struct walk_profile *p, double sum[6])
{
    sum[3] += 1e3 * p->sealing;
    sum[4] += 1e3 * p->sockets;
    sum[5] += 1e3 * p->idle;
    for (uint32_t i = 0; i < p->gates; i++) {
        sum[0] += 1e3 * p->compute[i];
        sum[1] += 1e3 * p->gemm[i];
    }
    for (uint32_t i = 0; i < p->rounds; i++)
        sum[2] += 1e3 * p->wait[i];
}

/* NULL if it was not asked for. */
static json_t *together_new(const struct bench *b, const struct trial *t)
{
    if (!b->in_flight)
        return NULL;
    const double one = t->together / b->in_flight;
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "count", (json_int_t)b->in_flight, "ms", t->together, "ms_a_sequence",
                     one / b->batch, "alone_ms", t->alone, "of_alone", one / t->alone, "of_online",
                     one / rates_median(t->online, (size_t)t->runs));
}

static void report_online(const struct bench *b, struct measured *m, json_t *report)
{
    struct trial *t = &m->trial;
    double sum[6] = {0};
    sum_profile(&t->profile[0], sum);
    sum_profile(&t->profile[1], sum);
    const double whole = 1e3 * total(t->profile);
    json_object_set_new(report, "offline",
                        json_pack("{s:f, s:I, s:I, s:I}", "ms", m->offline_ms, "bytes",
                                  (json_int_t)m->offline_bytes, "bytes_counted",
                                  (json_int_t)b->cost.offline_bytes, "store_bytes",
                                  (json_int_t)b->cost.store_bytes));
    if (b->in_flight)
        json_object_set_new(report, "in_flight", together_new(b, t));
    json_object_set_new(report, "warm_ms", json_real(rates_median(t->warm, (size_t)t->runs)));
    json_object_set_new(report, "online",
                        json_pack("{s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "ms",
                                  rates_median(t->online, (size_t)t->runs), "bytes", (json_int_t)t->bytes,
                                  "bytes_counted", (json_int_t)b->cost.online_bytes, "rounds",
                                  (json_int_t)t->rounds, "rounds_counted", (json_int_t)b->cost.rounds,
                                  "compute_ms", sum[0] / 2, "gemm_ms", sum[1] / 2, "wait_ms", sum[2] / 2,
                                  "sealing_ms", sum[3] / 2, "sockets_ms", sum[4] / 2, "idle_ms", sum[5] / 2,
                                  "gemm_fraction", whole > 0 ? sum[1] / whole : 0, "link_fraction",
                                  whole > 0 ? (sum[3] + sum[4]) / whole : 0));
}

/* ---- behind slower links ---- */

static enum status measure_link(struct bench *b, struct measured *m, int number, uint64_t store_bytes,
                                json_t *list)
{
    const struct bench_link *link = &b->link[number];
    struct trial t = {0};
    client_close(&m->client);
    enum status status = local_start(&b->local, number + 1, link->links, store_bytes, &m->client);
    if (status == STATUS_OK)
        status = run_inferences(b, m, &t, b->runs);
    if (status == STATUS_OK) {
        const double ms = rates_median(t.online, (size_t)t.runs);
        const double loopback = rates_median(m->trial.online, (size_t)m->trial.runs),
                     predicted = bench_predict(b, &link->links, loopback),
                     overlapped = predicted - bench_hidden(b, &link->links, m->trial.profile);
        json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o*}", "name", link->name,
                                              "rate", link->links.rate, "delay_ms", link->links.delay_ms,
                                              "ms", ms, "predicted_ms", predicted, "measured_over_predicted",
                                              ms / predicted, "overlapped_ms", overlapped,
                                              "measured_over_overlapped", ms / overlapped, "in_flight",
                                              together_new(b, &t)));
    }
    trial_clear(&t);
    return status;
}

/* ---- all of it ---- */

/* Room for the weights, twice as masked and packed shares may lie there, and all bundles. */
static uint64_t store_size(const struct bench *b)
{
    const uint64_t bundles = inferences(b) + 4;
    return ((uint64_t)256 << 20) + 4 * b->cost.weight_bytes + 2 * bundles * b->cost.store_bytes;
}

static enum status share(struct bench *b, struct measured *m)
{
    struct progress progress;
    progress_start(&progress, "sharing");
    const enum status status =
        client_share(m->client, &b->model.description, &b->model.folded, progress_update, &progress, m->id);
    progress_end(&progress);
    return status;
}

enum status bench_private(struct bench *b, json_t *report)
{
    struct measured m = {.logits =
                             calloc((size_t)b->batch * b->model.description.config.labels, sizeof *m.logits)};
    json_t *list = json_array();
    enum status status =
        m.logits && list ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for the logits");
    if (status == STATUS_OK)
        status = local_start(&b->local, 0, (struct local_links){0}, store_size(b), &m.client);
    if (status == STATUS_OK)
        status = share(b, &m);
    if (status == STATUS_OK)
        status = deal(b, &m);
    if (status == STATUS_OK)
        status = run_inferences(b, &m, &m.trial, b->runs);
    if (status == STATUS_OK)
        report_online(b, &m, report);
    if (status == STATUS_OK)
        status = bench_split(b, m.trial.profile, report);
    for (int i = 0; status == STATUS_OK && i < b->links; i++)
        status = measure_link(b, &m, i, store_size(b), list);
    json_object_set_new(report, "links", list);
    client_close(&m.client);
    trial_clear(&m.trial);
    free(m.logits);
    return status;
}
