#include "tests/distill/small_run.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "distill/gemm.h"
#include "distill/random.h"
#include "distill/train_step.h"
#include "model/files.h"
#include "tests/model/folder.h"

#define VOCABULARY 24

struct small_run small_run;

const struct model_config small_run_config = {.hidden = 16,
                                              .layers = 2,
                                              .heads = 2,
                                              .ffn = 32,
                                              .vocabulary = VOCABULARY,
                                              .positions = 12,
                                              .types = 2,
                                              .labels = 2,
                                              .layer_norm_eps = 1e-12f,
                                              .softmax_c = 5,
                                              .activation = MODEL_GELU,
                                              .attention = MODEL_SOFTMAX,
                                              .label = {"no", "yes"}};

void must(enum status status)
{
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
}

/* Texts of random words; the answer is whether word 5 occurs. */
void small_run_set(struct distill_batch *set, size_t n, uint64_t key)
{
    distill_batch_init(set);
    for (size_t i = 0; i < n; i++) {
        uint32_t id[10], length = 4 + (uint32_t)(distill_random_uniform(key, (uint32_t)i * 16) * 6),
                         found = 0;
        id[0] = 1;
        for (uint32_t j = 1; j < length; j++) {
            id[j] = 4 + (uint32_t)(distill_random_uniform(key, (uint32_t)i * 16 + j) * 8);
            found |= id[j] == 5;
        }
        must(distill_batch_add(set, id, NULL, length, found));
    }
}

static double accuracy(const float *logits, const struct distill_batch *set,
                       const struct model_config *config, void *context, char *text, size_t bytes)
{
    struct small_run *s = context;
    size_t right = 0, labels = config->labels;
    for (size_t i = 0; i < set->sequences; i++)
        right += (logits[i * labels + 1] > logits[i * labels]) == (set->label[i] > 0);
    s->evaluations++;
    if (s->evaluations == s->stop_at)
        s->stop = 1;
    if (s->evaluations == s->kill_at)
        raise(SIGKILL);
    snprintf(text, bytes, "accuracy %zu of %zu", right, set->sequences);
    return (double)right / (double)set->sequences;
}

void small_run_setup(void)
{
    folder_setup();
    distill_threads_set(1);
    small_run = (struct small_run){.stop_at = -1};
    small_run_set(&small_run.train, SMALL_RUN_EXAMPLES, 1);
    small_run_set(&small_run.dev, 40, 2);
    must(distill_weights_allocate(&small_run.weights, &small_run_config));
    distill_weights_random(&small_run.weights, 3);
    small_run.run = (struct distill_run){.folder = folder_path("out"),
                                         .title = "test",
                                         .metric = "accuracy",
                                         .seed = 9,
                                         .decay = 0.01,
                                         .clip = 1,
                                         .rate_c = 1,
                                         .rate_quad = 1,
                                         .phases = 1,
                                         .log_steps = 4,
                                         .checkpoint_steps = 5,
                                         .evaluations = 1,
                                         .quiet = true,
                                         .stop = &small_run.stop,
                                         .train = &small_run.train,
                                         .dev = &small_run.dev,
                                         .measure = accuracy,
                                         .measure_context = &small_run};
    small_run.run.folder = strdup(small_run.run.folder);
    small_run.run.phase[0] = (struct distill_phase){.name = "task",
                                                    .objective = DISTILL_TASK,
                                                    .epochs = 3,
                                                    .batch = 8,
                                                    .rate = {3e-3, 0.1, DISTILL_LINEAR},
                                                    .dropout = 0.1,
                                                    .attention_dropout = 0.1};
}

void small_run_teardown(void)
{
    distill_batch_clear(&small_run.train);
    distill_batch_clear(&small_run.dev);
    distill_weights_clear(&small_run.weights);
    distill_weights_clear(&small_run.teacher);
    free((char *)small_run.run.folder);
    folder_teardown();
}

const char *small_run_path(const char *name)
{
    return folder_path(name);
}

void small_run_write(const char *name, const char *text)
{
    folder_write_text(name, text);
}

/* Forgets the weights and trains from the start of the same run. */
enum status small_run_again(struct distill_outcome *out)
{
    distill_weights_random(&small_run.weights, 3);
    small_run.stop = 0;
    small_run.evaluations = 0;
    return distill_train(out, &small_run.weights, &small_run.run);
}

void small_run_folder(const char *name)
{
    free((char *)small_run.run.folder);
    small_run.run.folder = strdup(folder_path(name));
}

uint64_t small_run_digest(void)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < small_run.weights.count; i++) {
        uint32_t bits;
        memcpy(&bits, &small_run.weights.value[i], sizeof bits);
        digest = distill_random_key(digest, bits);
    }
    return digest;
}

/* How often a file in the run's folder has a text. */
size_t small_run_count(const char *name, const char *text)
{
    char path[FILES_PATH_BYTES], *all;
    size_t size, times = 0;
    must(files_join(path, small_run.run.folder, name));
    must(files_read(&all, &size, path, 1 << 20));
    for (const char *at = all; (at = strstr(at, text)) != NULL; at++)
        times++;
    free(all);
    return times;
}

void small_run_student(enum model_activation activation, enum model_attention attention, bool learned)
{
    struct model_config config = small_run_config;
    struct model model;
    config.activation = activation;
    config.attention = attention;
    config.learned_c = config.learned_quad = learned;
    must(distill_weights_to_model(&model, &small_run.teacher));
    distill_weights_clear(&small_run.weights);
    must(distill_weights_from_model(&small_run.weights, &model, &config, 0));
    model_clear(&model);
}

void small_run_teacher(void)
{
    struct distill_outcome out;
    small_run.run.phase[0].epochs = 20;
    small_run.run.phase[0].rate.peak = 1e-2;
    must(small_run_again(&out));
    small_run.teacher = small_run.weights;
    small_run.weights = (struct distill_weights){0};
    small_run_folder("student");
    small_run.run.teacher = &small_run.teacher;
    small_run.run.phases = 2;
    small_run.run.phase[0] = (struct distill_phase){.name = "layers",
                                                    .objective = DISTILL_LAYERS,
                                                    .epochs = 6,
                                                    .batch = 8,
                                                    .rate = {2e-3, 0.1, DISTILL_LINEAR},
                                                    .embedding = 1,
                                                    .hidden = 1,
                                                    .score = 1};
    small_run.run.phase[1] = (struct distill_phase){.name = "logits",
                                                    .objective = DISTILL_LOGITS,
                                                    .epochs = 3,
                                                    .batch = 8,
                                                    .rate = {1e-3, 0.1, DISTILL_COSINE}};
}

/* A weight after stage 1 alone, and all of them as a digest. */
double small_run_first_stage(size_t teacher_bytes, const char *name, uint64_t *digest)
{
    struct distill_outcome out;
    small_run_folder(name);
    small_run.run.teacher_bytes = teacher_bytes;
    ck_assert(distill_trainer_keeps_teacher(&small_run.run) == (teacher_bytes > 0));
    small_run_student(MODEL_QUAD, MODEL_2QUAD, true);
    must(distill_train(&out, &small_run.weights, &small_run.run));
    *digest = small_run_digest();
    return small_run.weights.layer[0].qkv_w[3];
}
