#include "distill/train.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "distill/checkpoint.h"
#include "distill/gemm.h"
#include "distill/half.h"
#include "distill/order.h"
#include "distill/random.h"
#include "distill/runlog.h"
#include "distill/train_step.h"
#include "model/config.h"
#include "model/files.h"
#include "model/vocabulary.h"
#include "ring/clock.h"

/* A run in progress. */
struct progress {
    const struct distill_run *run;
    struct distill_trainer trainer;
    struct distill_position position;
    struct distill_log log;
    unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES];
    float *dev_logits;
    struct distill_outcome *out;
    double since;            /* the clock when this process began, less the seconds of those before it */
    double row_since;        /* the clock at the last row of the log */
    uint64_t process_tokens; /* trained on by this process */
    uint64_t order_epoch;    /* the epoch that trainer.order is of, plus 1; 0: none */
    double process_since;
    int lock; /* the folder, open and locked; -1: not yet */
};

static size_t steps_per_epoch(const struct progress *p, const struct distill_phase *phase)
{
    return (distill_trainer_set(&p->trainer, phase)->sequences + phase->batch - 1) / phase->batch;
}

static uint64_t steps_of(const struct progress *p, const struct distill_phase *phase)
{
    return (uint64_t)llround(phase->epochs * (double)steps_per_epoch(p, phase));
}

/* A phase that makes no step would end in success without a model. */
static enum status check_steps(const struct progress *p)
{
    for (size_t i = 0; i < p->run->phases; i++) {
        const struct distill_phase *phase = &p->run->phase[i];
        if (steps_of(p, phase) == 0)
            return status_fail(
                STATUS_INPUT,
                "phase %s: %g epochs of %zu steps each are not one step; more epochs are needed", phase->name,
                phase->epochs, steps_per_epoch(p, phase));
    }
    return STATUS_OK;
}

static void hash_text(crypto_generichash_state *hash, const char *text)
{
    crypto_generichash_update(hash, (const unsigned char *)text, strlen(text) + 1);
}

/* Everything config.json and tokenizer_config.json say. */
static enum status hash_config(crypto_generichash_state *hash, const struct model_config *config,
                               enum model_precision save)
{
    char *text[2] = {model_config_format(config, true, save), model_config_format_tokenizer(config)};
    enum status status = STATUS_OK;
    if (text[0] == NULL || text[1] == NULL)
        status = status_fail(STATUS_MEMORY, "no memory for the text of a config");
    for (int i = 0; i < 2 && status == STATUS_OK; i++)
        hash_text(hash, text[i]);
    free(text[0]);
    free(text[1]);
    return status;
}

static enum status hash_file(crypto_generichash_state *hash, const char *path)
{
    char *text;
    size_t size;
    enum status status = files_read(&text, &size, path, VOCABULARY_FILE_BYTES);
    if (status != STATUS_OK)
        return status;
    crypto_generichash_update(hash, (const void *)text, size);
    free(text);
    return STATUS_OK;
}

static void hash_set(crypto_generichash_state *hash, const struct distill_batch *set)
{
    crypto_generichash_update(hash, (const void *)set->start, (set->sequences + 1) * sizeof *set->start);
    crypto_generichash_update(hash, (const void *)set->id, set->tokens * sizeof *set->id);
    crypto_generichash_update(hash, (const void *)set->type, set->tokens * sizeof *set->type);
    crypto_generichash_update(hash, (const void *)set->label, set->sequences * sizeof *set->label);
}

static enum status hash_models(crypto_generichash_state *hash, const struct distill_run *run,
                               const struct distill_weights *weights)
{
    const struct distill_weights *model[2] = {weights, run->teacher};
    enum status status = run->vocabulary != NULL ? hash_file(hash, run->vocabulary) : STATUS_OK;
    for (int i = 0; i < 2 && status == STATUS_OK; i++)
        if (model[i] != NULL) {
            status = hash_config(hash, &model[i]->config, run->save);
            crypto_generichash_update(hash, (const void *)model[i]->value, model[i]->count * sizeof(float));
        }
    return status;
}

/* What must be equal for a checkpoint to belong to this run: options, task, data, first weights and teacher with their
 * configs, vocabulary. The number of threads stands in the checkpoint by itself. */
static enum status make_fingerprint(struct progress *p, const struct distill_weights *weights)
{
    const struct distill_run *run = p->run;
    crypto_generichash_state hash;
    char text[512];
    crypto_generichash_init(&hash, NULL, 0, DISTILL_FINGERPRINT_BYTES);
    snprintf(
        text, sizeof text,
        "seed %llu decay %.17g clip %.17g c %.17g quad %.17g evaluations %zu log %zu phases %zu %d %d %zu",
        (unsigned long long)run->seed, run->decay, run->clip, run->rate_c, run->rate_quad, run->evaluations,
        run->log_steps, run->phases, (int)run->half,
        (int)(run->phase[0].objective == DISTILL_LAYERS && distill_trainer_keeps_teacher(run)),
        run->unlabelled);
    hash_text(&hash, text);
    hash_text(&hash, run->title);
    hash_text(&hash, run->metric);
    for (size_t i = 0; i < run->phases; i++) {
        const struct distill_phase *phase = &run->phase[i];
        snprintf(text, sizeof text,
                 "%d %.17g %zu %.17g %.17g %d %.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g",
                 (int)phase->objective, phase->epochs, phase->batch, phase->rate.peak, phase->rate.warmup,
                 (int)phase->rate.decay, phase->dropout, phase->attention_dropout, phase->embedding,
                 phase->hidden, phase->score, phase->spread, phase->spread_limit, phase->gold);
        hash_text(&hash, text);
    }
    hash_set(&hash, run->train);
    hash_set(&hash, run->dev);
    enum status status = hash_models(&hash, run, weights);
    crypto_generichash_final(&hash, p->fingerprint, sizeof p->fingerprint);
    return status;
}

static enum status save_checkpoint(struct progress *p)
{
    p->position.seconds = clock_seconds() - p->since;
    p->position.threads = (uint64_t)distill_threads();
    enum status status = distill_log_bytes(&p->log, &p->position.log_bytes);
    if (status == STATUS_OK)
        status = distill_checkpoint_write(p->run->folder, &p->position, p->fingerprint, p->trainer.weights,
                                          &p->trainer.adamw);
    return status;
}

static enum status save_model(struct progress *p)
{
    struct model model;
    enum status status = distill_weights_to_model(&model, p->trainer.weights);
    if (status != STATUS_OK)
        return status;
    status = model_write(&model, p->run->folder, p->run->save, p->run->vocabulary);
    model_clear(&model);
    return status;
}

static void show_progress(const struct progress *p, const struct distill_phase *phase, double loss)
{
    if (p->run->quiet || !isatty(STDERR_FILENO))
        return;
    double spent = clock_seconds() - p->process_since, left = 0, speed = (double)p->process_tokens / spent;
    for (size_t i = p->position.phase; i < p->run->phases; i++) {
        double steps = (double)steps_of(p, &p->run->phase[i]);
        if (i == p->position.phase)
            steps -= (double)p->position.step;
        const struct distill_batch *set = distill_trainer_set(&p->trainer, &p->run->phase[i]);
        left += steps * (double)p->run->phase[i].batch * (double)set->tokens / (double)set->sequences;
    }
    left /= speed;
    fprintf(stderr, "\r%-6s  epoch %.2f/%g  step %llu/%llu  loss %.4f  %.0f tokens/s  %.0f:%02d left \033[K",
            phase->name, (double)p->position.step / (double)steps_per_epoch(p, phase), phase->epochs,
            (unsigned long long)p->position.step, (unsigned long long)steps_of(p, phase), loss, speed,
            floor(left / 60), (int)fmod(left, 60));
}

static struct distill_row row_here(const struct progress *p, const struct distill_phase *phase)
{
    return (struct distill_row){.phase = phase->name,
                                .epoch = (double)p->position.step / (double)steps_per_epoch(p, phase),
                                .step = p->position.step,
                                .tokens = p->position.tokens,
                                .loss = NAN,
                                .embedding = NAN,
                                .hidden = NAN,
                                .score = NAN,
                                .spread = NAN,
                                .rate = NAN,
                                .norm = NAN,
                                .dev = NAN,
                                .speed = NAN,
                                .seconds = clock_seconds() - p->since};
}

/* A row with the means since the last one. */
static enum status log_step(struct progress *p, const struct distill_phase *phase,
                            const struct distill_report *last)
{
    struct distill_position *at = &p->position;
    double n = (double)at->sum_steps, clock = clock_seconds();
    struct distill_row row = row_here(p, phase);
    row.loss = at->sum[0] / n;
    row.embedding = at->sum[1] / n;
    row.hidden = at->sum[2] / n;
    row.score = at->sum[3] / n;
    row.spread = at->sum[4] / n;
    row.rate = last->rate;
    row.norm = last->norm;
    row.speed = (double)at->sum_tokens / (clock - p->row_since);
    p->row_since = clock;
    memset(at->sum, 0, sizeof at->sum);
    at->sum_steps = at->sum_tokens = 0;
    return distill_log_write(&p->log, &row);
}

/* Measures the development set, writes it down, and keeps the model if it is the best so far. */
static enum status evaluate(struct progress *p, const struct distill_phase *phase)
{
    const struct distill_run *run = p->run;
    struct distill_position *at = &p->position;
    struct distill_row row = row_here(p, phase);
    char text[sizeof p->out->text] = "";
    enum status status;
    if (phase->objective == DISTILL_LAYERS) {
        status = distill_trainer_match(&p->trainer, phase, run->dev, &row.dev);
        snprintf(text, sizeof text, "layer-wise loss %.4f", row.dev);
    } else {
        status = distill_predict(p->dev_logits, p->trainer.weights, run->dev);
        if (status == STATUS_OK)
            row.dev = run->measure(p->dev_logits, run->dev, &p->trainer.weights->config, run->measure_context,
                                   text, sizeof text);
    }
    if (status == STATUS_OK)
        status = distill_log_write(&p->log, &row);
    if (status != STATUS_OK)
        return status;
    if (!run->quiet)
        fprintf(stderr, "%s%s  epoch %.2f  %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", phase->name,
                row.epoch, text);
    bool better = !at->have_best || row.dev > at->best;
    if (phase->objective != DISTILL_LAYERS && better) {
        at->have_best = 1;
        at->best = row.dev;
        at->best_phase = at->phase;
        at->best_step = at->step;
        status = save_model(p);
    }
    if (status == STATUS_OK)
        status = distill_plot_write(run->folder, run->title, run->metric);
    p->row_since = clock_seconds();
    return status;
}

static enum status one_step(struct progress *p, const struct distill_phase *phase,
                            struct distill_report *report)
{
    struct distill_position *at = &p->position;
    const struct distill_run *run = p->run;
    size_t per_epoch = steps_per_epoch(p, phase), batch = at->step % per_epoch;
    uint64_t epoch = at->step / per_epoch, key = distill_random_key(run->seed, at->phase);
    const struct distill_batch *set = distill_trainer_set(&p->trainer, phase);
    if (p->order_epoch != epoch + 1) {
        distill_order_make(p->trainer.order, set, phase->batch, distill_random_key(key, epoch));
        p->order_epoch = epoch + 1;
    }
    size_t first = batch * phase->batch, left = set->sequences - first;
    enum status status = distill_trainer_step(
        &p->trainer, phase, p->trainer.order + first, left < phase->batch ? left : phase->batch,
        distill_random_key(key, (1ull << 32) + at->step),
        distill_rate_at(&phase->rate, at->step, steps_of(p, phase)), report);
    if (status != STATUS_OK) {
        char advice[128] = "";
        if (status == STATUS_RANGE)
            snprintf(advice, sizeof advice, "; a smaller %s helps, with --overwrite or another --out",
                     phase->rate_option != NULL ? phase->rate_option : "learning rate");
        return status_prefix(status, "phase %s, step %llu (kept: %scheckpoint %llu%s): ", phase->name,
                             (unsigned long long)at->step, at->have_best ? "the best model so far, " : "",
                             (unsigned long long)at->generation, advice);
    }
    at->step++;
    at->tokens += p->trainer.batch.tokens;
    p->process_tokens += p->trainer.batch.tokens;
    const double part[5] = {report->loss, report->embedding, report->hidden, report->score, report->spread};
    for (int i = 0; i < 5; i++)
        at->sum[i] += part[i];
    at->sum_steps++;
    at->sum_tokens += p->trainer.batch.tokens;
    return STATUS_OK;
}

/* Whether a development evaluation falls after this step: evenly through the epoch, and at the very end. */
static bool due(const struct progress *p, const struct distill_phase *phase)
{
    uint64_t step = p->position.step, per_epoch = steps_per_epoch(p, phase), times = p->run->evaluations;
    if (step == steps_of(p, phase))
        return true;
    return step * times / per_epoch != (step - 1) * times / per_epoch;
}

/* Whether the phase begins with a model that no evaluation has seen: the layers' phase leaves one that answers, and it may be
 * the best. */
static bool begins_unseen(const struct progress *p)
{
    const struct distill_phase *phase = &p->run->phase[p->position.phase];
    return p->position.step == 0 && p->position.phase > 0 && phase[-1].objective == DISTILL_LAYERS &&
           phase->objective != DISTILL_LAYERS;
}

/* What it takes counts as time spent, but not as training: speeds leave it out. */
static enum status keep_teacher(struct progress *p)
{
    const double begun = clock_seconds();
    const enum status status = distill_trainer_keep_teacher(&p->trainer);
    const double took = clock_seconds() - begun;
    p->process_since += took;
    p->row_since += took;
    return status;
}

static enum status run_phase(struct progress *p)
{
    const struct distill_run *run = p->run;
    const struct distill_phase *phase = &run->phase[p->position.phase];
    uint64_t steps = steps_of(p, phase);
    struct distill_report report;
    enum status status = STATUS_OK;
    p->order_epoch = 0;
    if (phase->objective == DISTILL_LAYERS && p->position.step < steps)
        status = keep_teacher(p);
    if (phase->objective == DISTILL_LOGITS)
        status = distill_trainer_ask_teacher(&p->trainer);
    if (p->position.step == 0)
        distill_adamw_reset(&p->trainer.adamw);
    if (status == STATUS_OK && begins_unseen(p))
        status = evaluate(p, phase);
    while (status == STATUS_OK && p->position.step < steps) {
        status = one_step(p, phase, &report);
        if (status == STATUS_OK && (p->position.step % run->log_steps == 0 || p->position.step == steps)) {
            status = log_step(p, phase, &report);
            show_progress(p, phase, report.loss);
        }
        if (status == STATUS_OK && due(p, phase))
            status = evaluate(p, phase);
        bool stop = run->stop != NULL && *run->stop;
        if (status == STATUS_OK && (stop || p->position.step % run->checkpoint_steps == 0))
            status = save_checkpoint(p);
        if (status == STATUS_OK && stop)
            return status_fail(STATUS_STOPPED,
                               "stopped at step %llu of phase %s; the same command goes on from here",
                               (unsigned long long)p->position.step, phase->name);
    }
    distill_recall_clear(&p->trainer.recall);
    if (status != STATUS_OK)
        return status;
    p->position.phase++;
    p->position.step = 0;
    return p->position.phase < run->phases ? save_checkpoint(p) : STATUS_OK;
}

/* Two processes in a folder would write each other's files. A file system without locks is taken as it is. */
static enum status lock_folder(struct progress *p)
{
    const char *folder = p->run->folder;
    p->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->lock < 0)
        return status_fail(STATUS_IO, "%s: cannot open the folder: %s", folder, strerror(errno));
    if (flock(p->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return status_fail(STATUS_STATE,
                           "%s: another process trains in this folder: wait for it, or name another --out",
                           folder);
    return STATUS_OK;
}

/* Takes away what an earlier run left, its checkpoints first: a model alone is never gone on with. */
static enum status clear_folder(const char *folder)
{
    static const char *const names[] = {"config.json", "model.safetensors", "curves.svg", "log.tsv"};
    char path[FILES_PATH_BYTES];
    enum status status = STATUS_OK;
    distill_checkpoint_remove(folder);
    for (size_t i = 0; i < sizeof names / sizeof *names && status == STATUS_OK; i++) {
        status = files_join(path, folder, names[i]);
        if (status == STATUS_OK && unlink(path) != 0 && errno != ENOENT)
            status = status_fail(STATUS_IO, "%s: cannot remove it: %s", path, strerror(errno));
    }
    return status;
}

/* Finds out whether the folder has a run to go on with, or is free. */
static enum status resume(struct progress *p, struct distill_weights *weights)
{
    const struct distill_run *run = p->run;
    char config[FILES_PATH_BYTES];
    uint64_t steps[DISTILL_PHASES_MAX];
    for (size_t i = 0; i < run->phases; i++)
        steps[i] = steps_of(p, &run->phase[i]);
    const struct distill_reach reach = {.phases = run->phases, .steps = steps};
    enum status status = files_make_folder(run->folder);
    if (status == STATUS_OK)
        status = lock_folder(p);
    if (status != STATUS_OK)
        return status;
    if (run->overwrite)
        return clear_folder(run->folder);
    status = distill_checkpoint_read(run->folder, &p->position, p->fingerprint, &reach, weights,
                                     &p->trainer.adamw);
    if (status == STATUS_OK && p->position.threads != (uint64_t)distill_threads())
        return status_fail(STATUS_FOREIGN,
                           "%s: the checkpoints are of a run with --threads %llu, and %d would come to another "
                           "result: go on with --threads %llu, or start over with --overwrite",
                           run->folder, (unsigned long long)p->position.threads, distill_threads(),
                           (unsigned long long)p->position.threads);
    if (status == STATUS_OK) {
        fprintf(stderr, "going on from step %llu of phase %s\n", (unsigned long long)p->position.step,
                run->phase[p->position.phase].name);
        return STATUS_OK;
    }
    if (status != STATUS_EMPTY)
        return status;
    status = files_join(config, run->folder, "config.json");
    if (status == STATUS_OK && files_exist(config))
        status = status_fail(
            STATUS_INPUT, "%s holds a model already: name another folder, or pass --overwrite", run->folder);
    return status;
}

static enum status start(struct progress *p, struct distill_weights *weights)
{
    const struct distill_run *run = p->run;
    if (run->half && !distill_half_available())
        return status_fail(STATUS_INPUT, "--precision bf16: this processor has neither AMX-BF16 nor AVX512-BF16; use float");
    enum status status = make_fingerprint(p, weights);
    if (status == STATUS_OK)
        status = distill_trainer_init(&p->trainer, run, weights);
    if (status == STATUS_OK)
        status = check_steps(p);
    if (status != STATUS_OK)
        return status;
    p->dev_logits = calloc(run->dev->sequences * weights->config.labels, sizeof(float));
    if (p->dev_logits == NULL)
        return status_fail(STATUS_MEMORY, "no memory for %zu predictions", run->dev->sequences);
    status = resume(p, weights);
    if (status == STATUS_OK)
        status = distill_log_open(&p->log, run->folder, p->position.log_bytes);
    p->process_since = p->row_since = clock_seconds();
    p->since = p->process_since - p->position.seconds;
    /* From here on a model in the folder is this run's. */
    if (status == STATUS_OK && p->position.generation == 0)
        status = save_checkpoint(p);
    return status;
}

enum status distill_train(struct distill_outcome *out, struct distill_weights *weights,
                          const struct distill_run *run)
{
    struct progress p = {.run = run, .out = out, .lock = -1};
    *out = (struct distill_outcome){0};
    enum status status = start(&p, weights);
    bool half_before = distill_half_set(run->half);
    while (status == STATUS_OK && p.position.phase < run->phases)
        status = run_phase(&p);
    if (status == STATUS_OK) {
        distill_checkpoint_remove(run->folder);
        out->best = p.position.best;
        out->best_phase = p.position.best_phase;
        out->best_step = p.position.best_step;
    }
    distill_half_set(half_before);
    distill_log_close(&p.log);
    if (p.lock >= 0)
        close(p.lock);
    distill_trainer_clear(&p.trainer);
    free(p.dev_logits);
    return status;
}
