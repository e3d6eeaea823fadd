#include "parties/bench.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <config.h>

#include "layers/walk.h"
#include "parties/command.h"
#include "parties/rates.h"
#include "parties/texts.h"
#include "ring/clock.h"

/* ---- what is run: sample texts, as any others cost the same ---- */

static enum status embed(struct bench *b, const struct texts *texts)
{
    enum status status = STATUS_OK;
    const size_t each = (size_t)b->tokens * b->model.model.config.hidden;
    for (uint32_t i = 0; status == STATUS_OK && i < b->batch; i++) {
        struct tokens *tokens = &texts->tokens[i % texts->count];
        if (b->model.model.config.types < 2)
            memset(tokens->type, 0, tokens->count);
        tokens_cut(tokens, b->tokens);
        const struct sample sample = tokens_sample(tokens);
        b->length[i] = sample.length;
        status = model_embed(&b->model.model, &sample, b->tokens, b->embeddings + i * each);
        for (uint32_t t = 0; t < b->tokens; t++)
            b->mask[(size_t)i * b->tokens + t] = t < sample.length ? 1.0f : 0.0f;
    }
    return status;
}

static enum status make_inputs(struct bench *b)
{
    const size_t rows = (size_t)b->batch * b->tokens;
    struct tokenizer *tokenizer = NULL;
    struct texts texts = {0};
    b->embeddings = malloc(rows * b->model.model.config.hidden * sizeof *b->embeddings);
    b->mask = malloc(rows * sizeof *b->mask);
    b->length = malloc(b->batch * sizeof *b->length);
    if (!b->embeddings || !b->mask || !b->length)
        return status_fail(STATUS_MEMORY, "out of memory for the inputs");
    enum status status = tokenizer_open(&tokenizer, b->folder);
    if (status == STATUS_OK)
        status = texts_parse(&texts, tokenizer, calibration_texts, "the sample texts", 0);
    if (status == STATUS_OK)
        status = embed(b, &texts);
    texts_clear(&texts);
    tokenizer_close(&tokenizer);
    return status;
}

/* ---- the clear pass ---- */

/* Multiply-adds: of the ring products of an evaluator, those of two secrets are twice the clear ones, if not doubled. */
static double clear_products(const struct schedule *s)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->gates; i++) {
        struct cost cost = {0};
        const struct gate *g = &s->gate[i];
        walk_count_gate(s, g, &cost);
        if (g->kind == GATE_LINEAR || g->kind == GATE_OUTPUT)
            sum += (double)s->tensor[g->x].rows * s->tensor[g->x].cols * s->tensor[g->out].cols;
        else
            sum += (double)cost.products / (schedule_doubled(g->kind) ? 1 : 2);
    }
    return sum;
}

enum status bench_float(struct bench *b, json_t *report)
{
    const float *const input[2] = {b->embeddings, b->mask};
    float *logits = malloc((size_t)b->batch * b->model.model.config.labels * sizeof *logits);
    double *ms = calloc((size_t)b->runs, sizeof *ms);
    enum status status =
        logits && ms ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for the logits");
    command_threads(b->threads);
    if (status == STATUS_OK)
        status = walk_clear(&b->schedule, &b->model.folded, input, logits, NULL);
    for (int run = 0; status == STATUS_OK && run < b->runs; run++) {
        const double start = clock_seconds();
        status = walk_clear(&b->schedule, &b->model.folded, input, logits, NULL);
        ms[run] = 1e3 * (clock_seconds() - start);
    }
    command_threads(1);
    if (status == STATUS_OK) {
        const double median = rates_median(ms, (size_t)b->runs);
        const double rate = clear_products(&b->schedule) / median / 1e6;
        const double sgemm = json_number_value(json_object_get(report, "sgemm_gmacs"));
        json_object_set_new(report, "float",
                            json_pack("{s:f, s:f, s:f}", "ms", median, "gmacs", rate, "sgemm_fraction",
                                      sgemm > 0 ? rate / sgemm : 0));
    }
    free(logits);
    free(ms);
    return status;
}

/* ---- all ---- */

/* "model name : Xeon ..." of Linux, or "unknown". */
static void processor_name(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

static void describe(const struct bench *b, json_t *report)
{
    char processor[200];
    processor_name(processor, sizeof processor);
    json_object_set_new(report, "program", json_string(PACKAGE_STRING));
    json_object_set_new(report, "machine",
                        json_pack("{s:s, s:I}", "processor", processor, "processors",
                                  (json_int_t)sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(report, "model", json_string(b->model.description.name));
    json_object_set_new(report, "tokens", json_integer(b->tokens));
    json_object_set_new(report, "batch", json_integer(b->batch));
    json_object_set_new(report, "tune", json_string(b->tune == TUNE_LAN ? "lan" : "wan"));
    json_object_set_new(report, "threads", json_integer(b->threads));
    json_object_set_new(report, "runs", json_integer(b->runs));
}

static double number_in(const json_t *report, const char *object, const char *field)
{
    return json_number_value(json_object_get(json_object_get(report, object), field));
}

static enum status measure(struct bench *b, json_t *report)
{
    command_threads(0);
    enum status status = calibrated_open(&b->model, b->folder, NULL, NULL);
    command_threads(1);
    if (status == STATUS_OK)
        status = description_compile(&b->model.description, b->tokens, b->batch, b->tune, &b->schedule);
    if (status != STATUS_OK)
        return status;
    walk_count(&b->schedule, &b->cost);
    describe(b, report);
    status = make_inputs(b);
    if (status == STATUS_OK)
        status = rates_measure(report, &b->schedule, b->threads, 4 * b->runs + 1);
    if (status == STATUS_OK)
        status = bench_float(b, report);
    if (status == STATUS_OK)
        status = bench_private(b, report);
    if (status == STATUS_OK) {
        const double online = number_in(report, "online", "ms");
        json_object_set_new(report, "online_over_float",
                            json_real(online / number_in(report, "float", "ms")));
        json_object_set_new(report, "offline_over_online",
                            json_real(number_in(report, "offline", "ms") / online));
    }
    return status;
}

enum status bench_measure(struct bench *b, json_t *report)
{
    enum status status = local_init(&b->local, b->links + 1, b->threads);
    if (status == STATUS_OK)
        status = measure(b, report);
    local_clear(&b->local);
    schedule_clear(&b->schedule);
    calibrated_clear(&b->model);
    free(b->embeddings);
    free(b->mask);
    free(b->length);
    return status;
}
