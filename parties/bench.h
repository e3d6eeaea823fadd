/* The measurements of `trefoil bench`: one JSON report, which a table and a page show.
 *
 *     {"program", "machine": {"processor", "processors"}, "model", "tokens", "batch", "tune", "threads", "runs",
 *      "amx", "vnni", "avx2", "gemm", "sgemm_gmacs"   parties/rates.h
 *      "float":   {"ms", "gmacs", "sgemm_fraction"}
 *      "offline": {"ms", "bytes", "bytes_counted", "store_bytes"}      a bundle
 *      "warm_ms": what an evaluator does with a bundle before there is an input
 *      "online":  {"ms", "bytes", "bytes_counted", "rounds", "rounds_counted", "compute_ms", "gemm_ms", "wait_ms",
 *                  "gemm_fraction"}
 *      "kinds":   [{"name", "gates", "gemm_ms", "other_ms", "wait_ms", "bytes", "products"}]      by kind of gate
 *      "layers":  the same by layer
 *      "steps":   the same by round, in their order
 *      "links":   [{"name", "rate", "delay_ms", "ms", "predicted_ms", "measured_over_predicted",
 *                   "overlapped_ms", "measured_over_overlapped", "in_flight"}]
 *      "in_flight": {"count", "ms", "ms_a_sequence", "alone_ms", "of_alone", "of_online"}
 *                   if asked for: so many at a time, all of them, from the requests on; one alone, from its request on; a part of
 *                   the former over the latter, and over the online time of one alone
 *      "online_over_float", "offline_over_online"}
 *
 * Times are wall clock: medians of runs, or the split of the run with the median online time, of both
 * evaluators' profiles the mean. Bytes are those that one evaluator sends the other. */
#ifndef TREFOIL_PARTIES_BENCH_H
#define TREFOIL_PARTIES_BENCH_H

#include <jansson.h>
#include <stdio.h>

#include "parties/calibration.h"
#include "parties/local.h"

struct bench_link {
    char name[32];
    struct local_links links;
};

struct bench {
    const char *folder; /* of the model */
    uint32_t tokens, batch;
    enum tune tune;
    int threads, runs;
    unsigned in_flight; /* inferences at a time that are measured besides; 0: none */
    struct bench_link link[LOCAL_SETS_MAX - 1]; /* measured besides plain loopback */
    int links;

    struct local local;
    struct calibrated model;
    struct schedule schedule;
    struct cost cost;
    float *embeddings; /* [batch * tokens][hidden] */
    float *mask;       /* [batch * tokens] */
    uint32_t *length;  /* [batch] */
};

/* Measures everything; nothing else may run in this process yet. */
STATUS_MUST_USE enum status bench_measure(struct bench *bench, json_t *report);

/* The parts. Each adds its fields. */
STATUS_MUST_USE enum status bench_float(struct bench *bench, json_t *report);
STATUS_MUST_USE enum status bench_private(struct bench *bench, json_t *report);
/* Online milliseconds behind a slower line: those on plain loopback, the bytes of one direction at the rate, and one delay a round. */
double bench_predict(const struct bench *bench, const struct local_links *links, double loopback_ms);
/* How much of that passes at the same time: what the line sends of a round while the rest of it is computed. From the times of each
 * gate on plain loopback, the bytes as counted, and the parts in which they are sent (walk_count_part). */
double bench_hidden(const struct bench *bench, const struct local_links *links,
                    const struct walk_profile profile[2]);
/* The split of one run: kinds, layers and steps. */
STATUS_MUST_USE enum status bench_split(const struct bench *bench, const struct walk_profile profile[2],
                                        json_t *report);

void bench_table(const json_t *report);
/* A page of its own: needs no network, no script. */
void bench_page(FILE *out, const json_t *report);

#endif
