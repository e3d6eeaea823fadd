#include "parties/classify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "model/config.h"
#include "model/embeddings.h"
#include "model/metrics.h"

/* ---- answers ---- */

void answer_of_logits(struct answer *answer, const struct model_config *config, const float *logit)
{
    double sum = 0;
    answer->labels = config->labels;
    answer->regression = config->regression;
    memcpy(answer->logit, logit, config->labels * sizeof *logit);
    answer->label = metrics_argmax(logit, config->labels);
    for (uint32_t i = 0; i < config->labels; i++)
        sum += answer->probability[i] = exp((double)logit[i] - (double)logit[answer->label]);
    for (uint32_t i = 0; i < config->labels; i++)
        answer->probability[i] /= sum;
}

void answer_label(const struct answer *answer, const struct model_config *config, char *out, size_t size)
{
    if (answer->regression)
        snprintf(out, size, "%.3f", (double)answer->logit[0]);
    else
        snprintf(out, size, "%s", config->label[answer->label]);
}

/* ---- opening ---- */

static void choose_buckets(struct classifier *c)
{
    const uint32_t positions = c->description.config.positions;
    c->buckets = 0;
    for (uint32_t i = 0; i < c->config.buckets; i++)
        if (c->config.bucket[i] <= positions)
            c->bucket[c->buckets++] = c->config.bucket[i];
    if (c->buckets)
        return;
    for (uint32_t size = CLASSIFY_BUCKET_LEAST; size < positions; size *= 2)
        c->bucket[c->buckets++] = size;
    c->bucket[c->buckets++] = positions;
}

/* The client's tables, words and labels must be those of the model at the parties. */
static enum status check_folder(const struct classifier *c, const char *folder)
{
    const struct model_config *own = &c->embeddings.config, *shared = &c->description.config;
    unsigned char tables[MODEL_TABLES_BYTES];
    bool same = own->hidden == shared->hidden && own->layers == shared->layers &&
                own->heads == shared->heads && own->vocabulary == shared->vocabulary &&
                own->positions == shared->positions && own->types == shared->types &&
                own->labels == shared->labels && own->regression == shared->regression &&
                model_config_same_words(own, shared);
    for (uint32_t i = 0; same && i < own->labels; i++)
        same = strcmp(own->label[i], shared->label[i]) == 0;
    if (same) {
        const enum status status = model_tables_digest(tables, &c->embeddings, folder);
        if (status != STATUS_OK || memcmp(tables, c->description.tables, sizeof tables) == 0)
            return status;
        return status_fail(STATUS_FOREIGN,
                           "%s is not the model \"%s\" that the parties hold: its embedding tables or vocabulary "
                           "differ; take the public folder that `trefoil share --export` wrote for it",
                           folder, c->description.name);
    }
    return status_fail(
        STATUS_FOREIGN,
        "%s is not the model \"%s\" that the parties hold: its shape or its labels differ; choose the "
        "folder with --model, or another shared model with --name",
        folder, c->description.name);
}

enum status classifier_open(struct classifier *out, const char *config, const char *folder, const char *name)
{
    memset(out, 0, sizeof *out);
    enum status status = config_load_caller(&out->config, config);
    if (!status && !folder)
        folder = out->config.model;
    if (!status && !folder)
        status = status_fail(STATUS_INPUT,
                             "%s: model is missing: the folder with vocab.txt, config.json and the "
                             "embedding tables; or say --model FOLDER",
                             config);
    if (!status)
        status = model_read_embeddings(&out->embeddings, folder);
    if (!status)
        status = tokenizer_open(&out->tokenizer, folder);
    if (!status)
        status = client_open(&out->client, &out->config, NULL);
    if (!status)
        status = client_describe_for(out->client, folder, name, &out->description, out->id);
    if (!status)
        status = check_folder(out, folder);
    if (!status)
        choose_buckets(out);
    else
        classifier_close(out);
    return status;
}

void classifier_close(struct classifier *classifier)
{
    client_close(&classifier->client);
    description_clear(&classifier->description);
    tokenizer_close(&classifier->tokenizer);
    model_clear(&classifier->embeddings);
    config_unload(&classifier->config);
}

/* ---- running ---- */

enum status classifier_bucket(const struct classifier *c, size_t tokens, uint32_t *bucket)
{
    for (uint32_t i = 0; i < c->buckets; i++)
        if (tokens <= c->bucket[i]) {
            *bucket = c->bucket[i];
            return STATUS_OK;
        }
    return status_fail(STATUS_INPUT, "a text of %zu tokens is longer than the largest bucket, %u", tokens,
                       c->bucket[c->buckets - 1]);
}

enum status classifier_check(const struct classifier *c, const struct tokens *tokens)
{
    uint32_t bucket;
    enum status status = tokens_check(tokens, c->description.config.positions);
    return status ? status : classifier_bucket(c, tokens->count, &bucket);
}

static enum tune tune_of(const struct classifier *c)
{
    return c->config.tune_lan ? TUNE_LAN : TUNE_WAN;
}

static enum status embed(const struct classifier *c, const struct tokens *const *tokens, uint32_t batch,
                         uint32_t bucket, float *x, uint32_t *length)
{
    const size_t stride = (size_t)bucket * c->description.config.hidden;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; !status && i < batch; i++) {
        const struct sample sample = {tokens[i]->id, tokens[i]->type, (uint32_t)tokens[i]->count};
        length[i] = sample.length;
        status = model_embed(&c->embeddings, &sample, bucket, x + i * stride);
    }
    return status;
}

enum status classifier_run(struct classifier *c, const struct tokens *const *tokens, uint32_t batch,
                           uint32_t bucket, struct answer *answer)
{
    const struct model_config *config = &c->description.config;
    const size_t size = (size_t)batch * bucket * config->hidden;
    float *x = malloc(size * sizeof *x), *logits = calloc((size_t)batch * config->labels, sizeof *logits);
    uint32_t *length = calloc(batch, sizeof *length);
    enum status status = STATUS_OK;
    if (!x || !logits || !length)
        status = status_fail(STATUS_MEMORY, "out of memory for an inference");
    if (!status)
        status = embed(c, tokens, batch, bucket, x, length);
    struct inference inference = {.model = c->id,
                                  .bucket = bucket,
                                  .batch = batch,
                                  .tune = tune_of(c),
                                  .embeddings = x,
                                  .length = length,
                                  .logits = logits};
    if (!status)
        status = client_infer(c->client, &c->description, &inference);
    for (uint32_t i = 0; !status && i < batch; i++) {
        answer[i] = (struct answer){.tokens = length[i],
                                    .bucket = bucket,
                                    .online_ms = inference.online_ms,
                                    .total_ms = inference.total_ms,
                                    .rounds = inference.rounds,
                                    .bytes = inference.bytes};
        answer_of_logits(&answer[i], config, logits + (size_t)i * config->labels);
    }
    if (x)
        sodium_memzero(x, size * sizeof *x);
    if (logits)
        sodium_memzero(logits, (size_t)batch * config->labels * sizeof *logits);
    free(x);
    free(logits);
    free(length);
    return status;
}

enum status classifier_answer(struct classifier *c, const struct tokens *tokens, struct answer *answer)
{
    uint32_t bucket;
    enum status status = classifier_bucket(c, tokens->count, &bucket);
    if (status)
        return status;
    status = STATUS_EMPTY;
    for (uint32_t i = 0; status == STATUS_EMPTY && i < c->buckets; i++)
        if (c->bucket[i] >= bucket)
            status = classifier_run(c, &tokens, 1, c->bucket[i], answer);
    return status;
}

enum status classifier_deal(struct classifier *c, uint32_t bucket, uint32_t batch, uint32_t count,
                            uint32_t *dealt)
{
    struct deal_request request = {
        .model = c->id, .bucket = bucket, .batch = batch, .tune = tune_of(c), .count = count};
    enum status status = client_deal(c->client, &c->description, &request);
    *dealt = request.dealt;
    return status;
}
