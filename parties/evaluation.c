#include "parties/evaluation.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parties/in_flight.h"
#include "parties/progress.h"
#include "parties/rates.h"
#include "ring/clock.h"

#define DEAL_MOST 16 /* bundles asked for at a time */

static enum status add_example(struct evaluation *e, const struct tokenizer *tokenizer, size_t index,
                               size_t limit, bool cut)
{
    const struct task_example *example = &e->data.example[index];
    enum status status = texts_add(&e->texts, tokenizer, example->text, example->pair);
    if (status)
        return status;
    struct tokens *tokens = &e->texts.tokens[index];
    if (cut)
        tokens_cut(tokens, limit);
    /* An empty text of a data set is classified all the same: it has its two special tokens. */
    if (tokens->count > limit)
        return status_fail(STATUS_INPUT,
                           "example %zu has %zu tokens, and %zu fit; --truncate cuts such texts", index + 1,
                           tokens->count, limit);
    return STATUS_OK;
}

enum status evaluation_read(struct evaluation *out, const struct task *task, const char *path,
                            size_t examples_max, const struct model_config *config,
                            const struct tokenizer *tokenizer, size_t limit, bool cut)
{
    memset(out, 0, sizeof *out);
    out->task = task;
    out->config = *config;
    enum status status = task_read(&out->data, task, path);
    if (!status)
        status = task_data_need_labels(&out->data, path);
    if (!status && task_data_fit(&out->data, config))
        status = status_prefix(STATUS_INPUT, "%s: ", path);
    if (!status && examples_max && out->data.count > examples_max)
        out->data.count = examples_max;
    for (size_t i = 0; !status && i < out->data.count; i++)
        status = add_example(out, tokenizer, i, limit, cut);
    if (!status)
        out->clear = calloc(out->data.count * config->labels + 1, sizeof *out->clear);
    if (!status && !out->clear)
        status = status_fail(STATUS_MEMORY, "out of memory for the predictions");
    if (status)
        evaluation_clear(out);
    return status;
}

void evaluation_clear(struct evaluation *evaluation)
{
    texts_clear(&evaluation->texts);
    task_data_clear(&evaluation->data);
    free(evaluation->clear);
    free(evaluation->private);
    evaluation->clear = evaluation->private = NULL;
}

enum status evaluation_run_clear(struct evaluation *e, const struct clear_model *clear)
{
    struct progress progress;
    enum status status = STATUS_OK;
    progress_start(&progress, "clear");
    for (size_t i = 0; !status && i < e->data.count; i++) {
        const struct sample sample = tokens_sample(&e->texts.tokens[i]);
        status = clear_model_run(clear, &sample, e->clear + i * e->config.labels);
        progress_update(&progress, i + 1, e->data.count);
    }
    progress_end(&progress);
    return status;
}

/* ---- private ---- */

struct place {
    uint32_t bucket;
    size_t example;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->bucket != y->bucket)
        return x->bucket < y->bucket ? -1 : 1;
    return x->example < y->example ? -1 : x->example > y->example;
}

/* The examples in the order they are run: by bucket, so that bundles can be asked for many at a time. */
static enum status order(struct place **out, const struct evaluation *e, const struct classifier *classifier)
{
    struct place *places = calloc(e->data.count + 1, sizeof *places);
    enum status status = STATUS_OK;
    *out = places;
    if (!places)
        return status_fail(STATUS_MEMORY, "out of memory for the predictions");
    for (size_t i = 0; !status && i < e->data.count; i++) {
        places[i].example = i;
        status = classifier_bucket(classifier, e->texts.tokens[i].count, &places[i].bucket);
        if (status)
            status = status_prefix(status, "example %zu: ", i + 1);
    }
    qsort(places, e->data.count, sizeof *places, compare_places);
    return status;
}

/* Examples that one inference takes. */
struct group {
    const struct place *place;
    size_t count;
    size_t more;         /* inferences of this bucket from this one on */
    struct group *first; /* of its bucket */
    unsigned deals;      /* of the first one: how often its bucket was dealt */
};

struct private_run {
    struct evaluation *e;
    struct classifier *classifier;
    uint32_t batch;
    struct group *group;
    size_t groups;
    pthread_mutex_t dealing; /* held meanwhile */
    pthread_mutex_t lock;    /* what is reported; deals */
    struct progress progress;
    size_t done;
};

/* How often bundles of this bucket were dealt. */
static unsigned deals_of(struct private_run *r, const struct group *g)
{
    pthread_mutex_lock(&r->lock);
    const unsigned deals = g->first->deals;
    pthread_mutex_unlock(&r->lock);
    return deals;
}

/* Unless another inference has dealt since then. dealt: none if the parties have no room. */
static enum status deal_since(struct private_run *r, const struct group *g, unsigned deals, bool *dealt)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&r->dealing);
    *dealt = deals_of(r, g) != deals;
    if (!*dealt) {
        uint32_t count = 0;
        status = classifier_deal(r->classifier, g->place->bucket, r->batch,
                                 (uint32_t)(g->more < DEAL_MOST ? g->more : DEAL_MOST), &count);
        *dealt = count > 0;
        pthread_mutex_lock(&r->lock);
        r->e->dealt += count;
        g->first->deals += *dealt;
        pthread_mutex_unlock(&r->lock);
    }
    pthread_mutex_unlock(&r->dealing);
    return status;
}

/* One inference; deals bundles if none is left, again if others were faster. */
static enum status run_one(struct private_run *r, const struct group *g, const struct tokens *const *tokens,
                           struct answer *answer)
{
    for (;;) {
        const unsigned deals = deals_of(r, g);
        bool dealt;
        enum status status = classifier_run(r->classifier, tokens, r->batch, g->place->bucket, answer);
        if (status != STATUS_EMPTY)
            return status;
        status = deal_since(r, g, deals, &dealt);
        if (status != STATUS_OK)
            return status;
        if (!dealt)
            return status_fail(STATUS_EMPTY,
                               "no bundle of %u tokens is left, and the parties deal no more: see bundles_max in their "
                               "configurations",
                               g->place->bucket);
    }
}

static void take_answers(struct private_run *r, const struct group *g, const struct answer *answer)
{
    struct evaluation *e = r->e;
    const uint32_t labels = e->config.labels;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < g->count; i++)
        memcpy(e->private + g->place[i].example * labels, answer[i].logit, labels * sizeof *e->private);
    e->online_ms += answer->online_ms;
    e->rounds = answer->rounds;
    e->bytes = answer->bytes;
    e->inferences++;
    r->done += g->count;
    progress_update(&r->progress, r->done, e->data.count);
    pthread_mutex_unlock(&r->lock);
}

/* A batch that is not full repeats its last text. */
static enum status run_group(void *context, size_t index)
{
    struct private_run *r = context;
    const struct group *g = &r->group[index];
    const struct tokens **tokens = calloc(r->batch, sizeof *tokens);
    struct answer *answer = calloc(r->batch, sizeof *answer);
    enum status status = STATUS_OK;
    if (!tokens || !answer)
        status = status_fail(STATUS_MEMORY, "out of memory for the predictions");
    for (uint32_t i = 0; !status && i < r->batch; i++)
        tokens[i] = &r->e->texts.tokens[g->place[i < g->count ? i : g->count - 1].example];
    if (!status)
        status = run_one(r, g, tokens, answer);
    if (!status)
        take_answers(r, g, answer);
    free(tokens);
    if (answer)
        sodium_memzero(answer, r->batch * sizeof *answer);
    free(answer);
    return status;
}

static void make_groups(struct private_run *r, const struct place *place, size_t count)
{
    for (size_t i = 0, end = 0; i < count; i += r->group[r->groups++].count) {
        struct group *g = &r->group[r->groups];
        const bool begins = end == i;
        while (end < count && place[end].bucket == place[i].bucket)
            end++;
        *g = (struct group){.place = &place[i],
                            .count = end - i < r->batch ? end - i : r->batch,
                            .more = (end - i + r->batch - 1) / r->batch,
                            .first = begins ? g : g[-1].first};
    }
}

enum status evaluation_run_private(struct evaluation *e, struct classifier *classifier, uint32_t batch,
                                   unsigned in_flight)
{
    struct private_run r = {.e = e, .classifier = classifier, .batch = batch};
    struct place *place;
    enum status status = order(&place, e, classifier);
    e->private = calloc(e->data.count * e->config.labels + 1, sizeof *e->private);
    r.group = calloc(e->data.count + 1, sizeof *r.group);
    if (!status && (!e->private || !r.group))
        status = status_fail(STATUS_MEMORY, "out of memory for the predictions");
    if (!status)
        make_groups(&r, place, e->data.count);
    pthread_mutex_init(&r.dealing, NULL);
    pthread_mutex_init(&r.lock, NULL);
    progress_start(&r.progress, "private");
    const double start = clock_seconds();
    if (!status)
        status = in_flight_run(in_flight, r.groups, run_group, &r);
    e->seconds = clock_seconds() - start;
    progress_end(&r.progress);
    pthread_mutex_destroy(&r.dealing);
    pthread_mutex_destroy(&r.lock);
    free(r.group);
    free(place);
    return status;
}

/* ---- figures ---- */

static enum status metric_of_classes(const struct evaluation *e, const float *logits, enum metric metric,
                                     double *value)
{
    uint32_t *predicted = calloc(e->data.count + 1, sizeof *predicted);
    uint32_t *gold = calloc(e->data.count + 1, sizeof *gold);
    if (!predicted || !gold) {
        free(predicted);
        free(gold);
        return status_fail(STATUS_MEMORY, "out of memory for the metric");
    }
    for (size_t i = 0; i < e->data.count; i++) {
        predicted[i] = metrics_argmax(logits + i * e->config.labels, e->config.labels);
        gold[i] = e->data.example[i].label;
    }
    *value = metrics_of_classes(metric, predicted, gold, e->data.count);
    free(predicted);
    free(gold);
    return STATUS_OK;
}

static enum status metric_of_numbers(const struct evaluation *e, const float *logits, enum metric metric,
                                     double *value)
{
    float *predicted = calloc(e->data.count + 1, sizeof *predicted),
          *gold = calloc(e->data.count + 1, sizeof *gold);
    enum status status = STATUS_OK;
    if (!predicted || !gold)
        status = status_fail(STATUS_MEMORY, "out of memory for the metric");
    for (size_t i = 0; !status && i < e->data.count; i++) {
        predicted[i] = logits[i * e->config.labels];
        gold[i] = e->data.example[i].score;
    }
    if (!status)
        status = metrics_of_numbers(value, metric, predicted, gold, e->data.count);
    free(predicted);
    free(gold);
    return status;
}

enum status evaluation_metric(const struct evaluation *e, const float *logits, int which, enum metric *metric,
                              double *value)
{
    *metric = task_metric(e->task, e->data.regression, which);
    *value = 0;
    if (*metric == METRIC_NONE)
        return STATUS_OK;
    return metric_takes_classes(*metric) ? metric_of_classes(e, logits, *metric, value)
                                         : metric_of_numbers(e, logits, *metric, value);
}

size_t evaluation_agree(const struct evaluation *e)
{
    const uint32_t labels = e->config.labels;
    size_t agree = 0;
    for (size_t i = 0; i < e->data.count; i++) {
        const float *a = e->clear + i * labels, *b = e->private + i * labels;
        if (e->data.regression)
            agree += fabs((double)a[0] - (double)b[0]) <= EVALUATION_CLOSE;
        else
            agree += metrics_argmax(a, labels) == metrics_argmax(b, labels);
    }
    return agree;
}

double evaluation_distance(const struct evaluation *e)
{
    double most = 0;
    for (size_t i = 0; i < e->data.count * e->config.labels; i++) {
        const double x = fabs((double)e->clear[i] - (double)e->private[i]);
        most = x > most ? x : most; /* gcc 12 for arm64 fails on fmax here */
    }
    return most;
}
