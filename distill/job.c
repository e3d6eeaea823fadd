/* What both commands do around a run. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "distill/gemm.h"
#include "distill/options.h"
#include "model/files.h"

static volatile sig_atomic_t asked_to_stop;

static void stop(int signal_number)
{
    (void)signal_number;
    asked_to_stop = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND}; /* a second one kills */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void tell(const struct distill_options *options, const char *what, const struct distill_data *data)
{
    if (options->run.quiet)
        return;
    fprintf(stderr, "%s: %zu texts, %zu tokens", what, data->set.sequences, data->set.tokens);
    if (data->unlabelled > 0)
        fprintf(stderr, ", %zu texts without labels", data->unlabelled);
    if (data->shortened > 0)
        fprintf(stderr, ", %zu texts cut to %zu tokens", data->shortened, options->length);
    if (data->skipped > 0)
        fprintf(stderr, ", %zu torn rows left out", data->skipped);
    fputc('\n', stderr);
}

/* "TASK:FILE", or a file of the job's own task. */
static enum status add_unlabelled(struct distill_job *job, const char *what, size_t length)
{
    char name[16] = "";
    const char *colon = strchr(what, ':'), *path = what;
    const struct task *task = NULL;
    if (colon != NULL && (size_t)(colon - what) < sizeof name) {
        memcpy(name, what, (size_t)(colon - what));
        task = task_find(name);
    }
    if (task != NULL)
        path = colon + 1;
    return distill_data_add_unlabelled(&job->train, task != NULL ? task : job->task, path, job->tokenizer,
                                       length);
}

enum status distill_job_open(struct distill_job *job, const struct distill_options *options,
                             const char *folder, struct model_config *config)
{
    *job = (struct distill_job){.task = task_find(options->task)};
    distill_threads_set(options->threads);
    if (job->task == NULL)
        return status_fail(STATUS_INPUT, "--task: '%s' is none of %s", options->task, task_names());
    if (options->length > config->positions)
        return status_fail(STATUS_INPUT, "--length: %zu is more than the %u positions of the model",
                           options->length, config->positions);
    enum status status = files_join(job->vocabulary, folder, "vocab.txt");
    if (status == STATUS_OK)
        status = tokenizer_open(&job->tokenizer, folder);
    if (status == STATUS_OK && tokenizer_count(job->tokenizer) > config->vocabulary)
        status = status_fail(STATUS_INPUT, "%s has %zu pieces, the model only %u", job->vocabulary,
                             tokenizer_count(job->tokenizer), config->vocabulary);
    if (status == STATUS_OK)
        status = distill_data_read(&job->train, config, job->task, options->train, job->tokenizer,
                                   options->length, false);
    for (size_t i = 0; i < options->unlabelled_files && status == STATUS_OK; i++)
        status = add_unlabelled(job, options->unlabelled[i], options->length);
    if (status == STATUS_OK)
        status = distill_data_read(&job->dev, config, job->task, options->dev, job->tokenizer,
                                   options->length, job->train.named);
    if (status == STATUS_OK) {
        tell(options, "train", &job->train);
        tell(options, "dev", &job->dev);
    }
    return status;
}

enum status distill_job_apart(const struct distill_options *options, const char *option, const char *folder)
{
    if (!files_same(folder, options->out))
        return STATUS_OK;
    return status_fail(STATUS_INPUT, "--out and %s are the same folder, %s: name another --out", option,
                       folder);
}

enum status distill_job_run(struct distill_job *job, struct distill_options *options,
                            struct distill_weights *weights, const char *command)
{
    struct distill_run *run = &options->run;
    struct distill_outcome outcome;
    snprintf(job->title, sizeof job->title, "%s %s", command, options->task);
    run->folder = options->out;
    run->title = job->title;
    run->metric = metric_name(task_metric(job->task, weights->config.regression, 0));
    run->vocabulary = job->vocabulary;
    run->stop = &asked_to_stop;
    run->train = &job->train.set;
    run->unlabelled = job->train.unlabelled;
    run->dev = &job->dev.set;
    run->measure = distill_data_measure;
    run->measure_context = (void *)job->task;
    catch_signals();
    enum status status = distill_train(&outcome, weights, run);
    if (status == STATUS_OK)
        printf("%s: best %s %.4f, phase %s, step %llu\n", options->out, run->metric, outcome.best,
               run->phase[outcome.best_phase].name, (unsigned long long)outcome.best_step);
    return status;
}

void distill_job_close(struct distill_job *job)
{
    tokenizer_close(&job->tokenizer);
    distill_data_clear(&job->train);
    distill_data_clear(&job->dev);
}

int distill_job_exit(enum status status, const char *command)
{
    if (status == STATUS_OK)
        return 0;
    fprintf(stderr, "trefoil %s: %s\n", command, status_message());
    return status == STATUS_STOPPED ? 130 : 1;
}
