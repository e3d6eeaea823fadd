/* The training loop on a model small enough for a test: it learns, repeats, resumes, and survives what goes
 * wrong. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "distill/adamw.h"
#include "distill/checkpoint.h"
#include "distill/encoder.h"
#include "distill/gemm.h"
#include "distill/half.h"
#include "distill/order.h"
#include "distill/random.h"
#include "distill/train.h"
#include "distill/train_step.h"
#include "tests/model/folder.h"

#define EXAMPLES 192
#define VOCABULARY 24

static const struct model_config teacher_config = {.hidden = 16,
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

struct case_state {
    struct distill_batch train, dev;
    struct distill_weights weights, teacher;
    struct distill_run run;
    volatile sig_atomic_t stop;
    int evaluations, stop_at, kill_at; /* set the flag, or die, in this evaluation */
};

static struct case_state now;

static void must(enum status status)
{
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
}

/* Texts of random words; the answer is whether word 5 occurs. */
static void make_set(struct distill_batch *set, size_t n, uint64_t key)
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
    struct case_state *s = context;
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

static void setup(void)
{
    folder_setup();
    distill_threads_set(1);
    now = (struct case_state){.stop_at = -1};
    make_set(&now.train, EXAMPLES, 1);
    make_set(&now.dev, 40, 2);
    must(distill_weights_allocate(&now.weights, &teacher_config));
    distill_weights_random(&now.weights, 3);
    now.run = (struct distill_run){.folder = folder_path("out"),
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
                                   .stop = &now.stop,
                                   .train = &now.train,
                                   .dev = &now.dev,
                                   .measure = accuracy,
                                   .measure_context = &now};
    now.run.folder = strdup(now.run.folder);
    now.run.phase[0] = (struct distill_phase){.name = "task",
                                              .objective = DISTILL_TASK,
                                              .epochs = 3,
                                              .batch = 8,
                                              .rate = {3e-3, 0.1, DISTILL_LINEAR},
                                              .dropout = 0.1,
                                              .attention_dropout = 0.1};
}

static void teardown(void)
{
    distill_batch_clear(&now.train);
    distill_batch_clear(&now.dev);
    distill_weights_clear(&now.weights);
    distill_weights_clear(&now.teacher);
    free((char *)now.run.folder);
    folder_teardown();
}

/* Forgets the weights and trains from the start of the same run. */
static enum status train_again(struct distill_outcome *out)
{
    distill_weights_random(&now.weights, 3);
    now.stop = 0;
    now.evaluations = 0;
    return distill_train(out, &now.weights, &now.run);
}

static void keep_folder(const char *name)
{
    free((char *)now.run.folder);
    now.run.folder = strdup(folder_path(name));
}

static uint64_t digest_of_weights(void)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < now.weights.count; i++) {
        uint32_t bits;
        memcpy(&bits, &now.weights.value[i], sizeof bits);
        digest = distill_random_key(digest, bits);
    }
    return digest;
}

START_TEST(the_float_pass_gives_the_reference_logits_of_a_real_student)
{
    char path[FILES_PATH_BYTES], *line = NULL;
    size_t room = 0;
    struct model model;
    struct distill_state state = {0};
    struct distill_noise none = {0};
    struct distill_batch batch;
    snprintf(path, sizeof path, "%s/models/sst2-tiny", getenv("TREFOIL_SOURCE"));
    must(model_read(&model, path));
    distill_weights_clear(&now.weights);
    must(distill_weights_from_model(&now.weights, &model, &model.config, 0));
    snprintf(path, sizeof path, "%s/models/sst2-tiny/reference.tsv", getenv("TREFOIL_SOURCE"));
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    distill_batch_init(&batch);
    ck_assert(getline(&line, &room, file) > 0);
    double wanted[2 * 40];
    for (size_t row = 0; row < 40; row++) {
        uint32_t id[128];
        size_t n = 0;
        ck_assert(getline(&line, &room, file) > 0);
        char *rest = line, *ids = strsep(&rest, "\t");
        for (char *word; (word = strsep(&ids, " ")) != NULL;)
            id[n++] = (uint32_t)strtoul(word, NULL, 10);
        double label = strtod(strsep(&rest, "\t"), NULL);
        wanted[2 * row] = strtod(strsep(&rest, "\t"), NULL);
        wanted[2 * row + 1] = strtod(rest, NULL);
        must(distill_batch_add(&batch, id, NULL, n, label));
    }
    must(distill_state_reserve(&state, &now.weights.config, &batch, false));
    distill_encoder_forward(&state, &now.weights, &batch, &none);
    distill_head_forward(&state, &now.weights, &batch, &none);
    for (size_t i = 0; i < 80; i++)
        ck_assert_double_eq_tol((double)state.logits[i], wanted[i], 2e-5);
    free(line);
    fclose(file);
    distill_batch_clear(&batch);
    distill_state_clear(&state);
    model_clear(&model);
}
END_TEST

START_TEST(a_run_learns_its_task)
{
    struct distill_outcome out;
    now.run.phase[0].epochs = 20;
    now.run.phase[0].rate.peak = 1e-2;
    must(train_again(&out));
    ck_assert_double_gt(out.best, 0.9);
    struct model model;
    must(model_read(&model, now.run.folder));
    ck_assert_str_eq(model.config.label[1], "yes");
    model_clear(&model);
}
END_TEST

/* How often a file in the run's folder has a text. */
static size_t count_in(const char *name, const char *text)
{
    char path[FILES_PATH_BYTES], *all;
    size_t size, times = 0;
    must(files_join(path, now.run.folder, name));
    must(files_read(&all, &size, path, 1 << 20));
    for (const char *at = all; (at = strstr(at, text)) != NULL; at++)
        times++;
    free(all);
    return times;
}

START_TEST(the_curves_have_a_line_for_the_loss_and_one_for_the_metric)
{
    struct distill_outcome out;
    must(train_again(&out));
    ck_assert_uint_eq(count_in("curves.svg", "<polyline"), 2);
    ck_assert_uint_eq(count_in("curves.svg", "<circle"), 3); /* an evaluation in each epoch */
}
END_TEST

START_TEST(the_same_seed_gives_the_same_run_twice)
{
    struct distill_outcome out;
    must(train_again(&out));
    uint64_t first = digest_of_weights();
    keep_folder("other");
    must(train_again(&out));
    ck_assert(first == digest_of_weights());
    now.run.seed++;
    keep_folder("third");
    must(train_again(&out));
    ck_assert(first != digest_of_weights());
}
END_TEST

START_TEST(a_run_that_was_stopped_goes_on_to_the_same_result)
{
    struct distill_outcome whole, resumed;
    must(train_again(&whole));
    uint64_t first = digest_of_weights();
    keep_folder("stopped");
    now.stop_at = 2;
    ck_assert_int_eq(train_again(&resumed), STATUS_STOPPED);
    ck_assert(first != digest_of_weights());
    now.stop_at = -1;
    must(train_again(&resumed));
    ck_assert(first == digest_of_weights());
    ck_assert_double_eq(whole.best, resumed.best);
    ck_assert_uint_eq(whole.best_step, resumed.best_step);
}
END_TEST

static void tear(const char *name)
{
    char path[FILES_PATH_BYTES];
    must(files_join(path, now.run.folder, name));
    ck_assert_int_eq(truncate(path, 4000), 0);
}

START_TEST(a_torn_checkpoint_is_passed_over_for_the_one_before_it)
{
    struct distill_outcome whole, resumed;
    must(train_again(&whole));
    uint64_t first = digest_of_weights();
    keep_folder("torn");
    now.stop_at = 2; /* the newest of two checkpoints is number 11, at step 48, in checkpoint-1 */
    ck_assert_int_eq(train_again(&resumed), STATUS_STOPPED);
    now.stop_at = -1;
    tear("checkpoint-1");
    must(train_again(&resumed));
    ck_assert(first == digest_of_weights());
}
END_TEST

START_TEST(with_no_whole_checkpoint_a_run_says_so)
{
    struct distill_outcome out;
    now.stop_at = 2;
    ck_assert_int_eq(train_again(&out), STATUS_STOPPED);
    now.stop_at = -1;
    tear("checkpoint-0");
    tear("checkpoint-1");
    ck_assert_int_eq(train_again(&out), STATUS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(status_message(), "torn"));
    now.run.overwrite = true;
    must(train_again(&out));
}
END_TEST

/* Trains in a process of its own, which dies in an evaluation, before the model of that one is kept. */
static void train_until_killed(int evaluation)
{
    int how;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct distill_outcome out;
        now.evaluations = 0;
        now.kill_at = evaluation;
        _exit(distill_train(&out, &now.weights, &now.run));
    }
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

START_TEST(a_run_killed_before_its_first_regular_checkpoint_goes_on_to_the_same_result)
{
    struct distill_outcome whole, resumed;
    now.run.checkpoint_steps = 1000;
    must(train_again(&whole));
    uint64_t first = digest_of_weights();
    keep_folder("killed");
    distill_weights_random(&now.weights, 3);
    train_until_killed(2); /* the model of the first evaluation is in the folder */
    must(train_again(&resumed));
    ck_assert(first == digest_of_weights());
    ck_assert_double_eq(whole.best, resumed.best);
    ck_assert_uint_eq(whole.best_step, resumed.best_step);
}
END_TEST

static void change(int what)
{
    switch (what) {
    case 0:
        now.run.phase[0].rate.peak *= 2;
        break;
    case 1:
        now.weights.config.softmax_c = 4;
        break;
    case 2:
        now.weights.config.layer_norm_eps = 1e-5f;
        break;
    case 3:
        strcpy(now.weights.config.label[0], "nay");
        break;
    case 4:
        now.run.metric = "F1";
        break;
    case 5:
        folder_write_text("vocab.txt", "a\nc\n");
        break;
    default:
        distill_threads_set(2);
    }
}

START_TEST(a_checkpoint_of_other_options_is_refused)
{
    struct distill_outcome out;
    char vocabulary[FILES_PATH_BYTES];
    snprintf(vocabulary, sizeof vocabulary, "%s", folder_path("vocab.txt"));
    folder_write_text("vocab.txt", "a\nb\n");
    now.run.vocabulary = vocabulary;
    now.weights.config.attention = MODEL_2QUAD;
    now.stop_at = 1;
    ck_assert_int_eq(train_again(&out), STATUS_STOPPED);
    now.stop_at = -1;
    change(_i);
    if (_i == 6 && distill_threads() == 1)
        return; /* a build without OpenMP has no other number */
    ck_assert_msg(train_again(&out) == STATUS_FOREIGN, "change %d is not seen", _i);
    ck_assert(_i < 6 || strstr(status_message(), "--threads 1") != NULL);
}
END_TEST

START_TEST(a_finished_model_is_not_overwritten_unasked)
{
    struct distill_outcome out;
    must(train_again(&out));
    ck_assert_int_eq(train_again(&out), STATUS_INPUT);
    now.run.overwrite = true;
    must(train_again(&out));
}
END_TEST

START_TEST(starting_over_removes_the_model_before_the_first_step)
{
    struct distill_outcome out;
    must(train_again(&out));
    now.run.overwrite = true;
    now.stop = 1; /* after the first step, and before an evaluation */
    ck_assert_int_eq(distill_train(&out, &now.weights, &now.run), STATUS_STOPPED);
    ck_assert(!files_exist(folder_path("out/config.json")) &&
              !files_exist(folder_path("out/model.safetensors")));
}
END_TEST

START_TEST(a_folder_in_which_another_process_trains_is_refused)
{
    struct distill_outcome out;
    must(files_make_folder(now.run.folder));
    int other = open(now.run.folder, O_RDONLY);
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    ck_assert_int_eq(train_again(&out), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "another process"));
    close(other);
    must(train_again(&out));
}
END_TEST

/* The log goes missing, or is shorter than the checkpoint says: a run goes on all the same. */
START_TEST(a_log_that_is_gone_or_short_does_not_stop_a_run)
{
    struct distill_outcome out;
    now.stop_at = 2;
    ck_assert_int_eq(train_again(&out), STATUS_STOPPED);
    now.stop_at = -1;
    const char *log = folder_path("out/log.tsv");
    ck_assert_int_eq(_i < 0 ? unlink(log) : truncate(log, _i), 0);
    must(train_again(&out));
    ck_assert_uint_eq(count_in("log.tsv", "phase\tepoch"), 1);
    char *text;
    size_t size;
    must(files_read(&text, &size, folder_path("out/log.tsv"), 1 << 20));
    ck_assert_uint_eq(strlen(text), size); /* no zeros */
    free(text);
}
END_TEST

START_TEST(a_full_disk_leaves_the_last_good_checkpoint)
{
    struct distill_outcome out;
    struct distill_adamw adamw;
    struct distill_position position = {.step = 7}, found;
    unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES] = {1};
    (void)out;
    must(files_make_folder(now.run.folder));
    must(distill_adamw_init(&adamw, &now.weights));
    ck_assert_int_ne(distill_checkpoint_write("/dev/null/none", &position, fingerprint, &now.weights, &adamw),
                     STATUS_OK);
    ck_assert_ptr_nonnull(strstr(status_message(), "there is none before it"));
    must(distill_checkpoint_write(now.run.folder, &position, fingerprint, &now.weights, &adamw));
    struct rlimit limit = {8192, RLIM_INFINITY}; /* stands in for the disk's end */
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    position.step = 8;
    for (int i = 0; i < 2; i++)
        ck_assert_int_ne(
            distill_checkpoint_write(now.run.folder, &position, fingerprint, &now.weights, &adamw),
            STATUS_OK);
    ck_assert_ptr_nonnull(strstr(status_message(), "the one before it is kept"));
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    must(distill_checkpoint_read(now.run.folder, &found, fingerprint, &now.weights, &adamw));
    ck_assert_uint_eq(found.step, 7);
    distill_adamw_clear(&adamw);
}
END_TEST

START_TEST(a_loss_that_is_no_number_stops_the_run_and_names_the_step)
{
    struct distill_outcome out;
    now.run.phase[0].rate = (struct distill_rate){1e36, 0, DISTILL_CONSTANT};
    ck_assert_int_eq(train_again(&out), STATUS_RANGE);
    ck_assert_msg(strstr(status_message(), "phase task, step ") != NULL, "%s", status_message());
}
END_TEST

static void make_student(enum model_activation activation, enum model_attention attention, bool learned)
{
    struct model_config config = teacher_config;
    struct model model;
    config.activation = activation;
    config.attention = attention;
    config.learned_c = config.learned_quad = learned;
    must(distill_weights_to_model(&model, &now.teacher));
    distill_weights_clear(&now.weights);
    must(distill_weights_from_model(&now.weights, &model, &config, 0));
    model_clear(&model);
}

static void train_teacher(void)
{
    struct distill_outcome out;
    now.run.phase[0].epochs = 20;
    now.run.phase[0].rate.peak = 1e-2;
    must(train_again(&out));
    now.teacher = now.weights;
    now.weights = (struct distill_weights){0};
    keep_folder("student");
    now.run.teacher = &now.teacher;
    now.run.phases = 2;
    now.run.phase[0] = (struct distill_phase){.name = "layers",
                                              .objective = DISTILL_LAYERS,
                                              .epochs = 6,
                                              .batch = 8,
                                              .rate = {2e-3, 0.1, DISTILL_LINEAR},
                                              .embedding = 1,
                                              .hidden = 1,
                                              .score = 1};
    now.run.phase[1] = (struct distill_phase){.name = "logits",
                                              .objective = DISTILL_LOGITS,
                                              .epochs = 3,
                                              .batch = 8,
                                              .rate = {1e-3, 0.1, DISTILL_COSINE}};
}

START_TEST(a_distilled_student_answers_like_its_teacher)
{
    struct distill_outcome out;
    train_teacher();
    make_student(MODEL_QUAD, MODEL_2QUAD, true);
    must(distill_train(&out, &now.weights, &now.run));
    ck_assert_double_gt(out.best, 0.85);
    struct model model;
    must(model_read(&model, now.run.folder));
    ck_assert(model.config.learned_c && model.config.learned_quad);
    ck_assert_ptr_nonnull(model.layer[0].quad);
    model_clear(&model);
}
END_TEST

START_TEST(what_the_first_stage_leaves_may_be_the_best)
{
    struct distill_outcome out;
    train_teacher();
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    now.evaluations = 0;
    now.run.phase[1].epochs = 1;
    now.run.phase[1].rate.peak = 0; /* nothing changes any more: the earlier of two equal ones is kept */
    must(distill_train(&out, &now.weights, &now.run));
    ck_assert_int_eq(now.evaluations, 2);
    ck_assert_uint_eq(out.best_phase, 1);
    ck_assert_uint_eq(out.best_step, 0);
}
END_TEST

/* A weight after stage 1 alone, and all of them as a digest. */
static double first_stage(size_t teacher_bytes, const char *name, uint64_t *digest)
{
    struct distill_outcome out;
    keep_folder(name);
    now.run.teacher_bytes = teacher_bytes;
    ck_assert(distill_trainer_keeps_teacher(&now.run) == (teacher_bytes > 0));
    make_student(MODEL_QUAD, MODEL_2QUAD, true);
    must(distill_train(&out, &now.weights, &now.run));
    *digest = digest_of_weights();
    return now.weights.layer[0].qkv_w[3];
}

START_TEST(a_teacher_kept_in_memory_teaches_the_same)
{
    uint64_t digest[2];
    train_teacher();
    now.run.phases = 1;
    now.run.phase[0].epochs = 2;
    now.run.phase[0].dropout = 0.1;
    double asked = first_stage(0, "asked", &digest[0]), kept = first_stage(1 << 20, "kept", &digest[1]);
    ck_assert_double_eq_tol(asked, kept, 1e-5);
}
END_TEST

START_TEST(a_first_stage_with_its_teacher_in_memory_goes_on_to_the_same_result)
{
    struct distill_outcome out;
    uint64_t whole, resumed;
    train_teacher();
    now.run.phases = 1;
    first_stage(1 << 20, "whole", &whole);
    keep_folder("parts");
    now.stop = 1; /* after the first step */
    make_student(MODEL_QUAD, MODEL_2QUAD, true);
    ck_assert_int_eq(distill_train(&out, &now.weights, &now.run), STATUS_STOPPED);
    now.stop = 0;
    first_stage(1 << 20, "parts", &resumed);
    ck_assert(whole == resumed);
}
END_TEST

START_TEST(examples_without_labels_are_for_the_second_stage)
{
    struct distill_outcome out;
    train_teacher();
    for (size_t i = EXAMPLES / 2; i < EXAMPLES; i++)
        now.train.label[i] = NAN;
    now.run.unlabelled = EXAMPLES / 2;
    now.run.teacher_bytes = 1 << 20;
    now.run.phase[0].epochs = now.run.phase[1].epochs = 6;
    now.run.phase[1].gold = 0.5; /* the loss stays a number */
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &now.weights, &now.run));
    ck_assert_double_gt(out.best, 0.6);
    char *log;
    size_t size;
    must(files_read(&log, &size, folder_path("student/log.tsv"), 1 << 20));
    ck_assert_ptr_nonnull(strstr(log, "\nlayers\t6.0000\t72\t"));
    ck_assert_ptr_nonnull(strstr(log, "\nlogits\t6.0000\t144\t"));
    free(log);
}
END_TEST

START_TEST(a_score_without_a_label_is_the_teachers)
{
    struct distill_batch batch;
    float logits[2] = {1, 1}, teacher[2] = {3, 3}, gradient[2];
    uint32_t id = 1;
    distill_batch_init(&batch);
    must(distill_batch_add(&batch, &id, NULL, 1, 5));
    must(distill_batch_add(&batch, &id, NULL, 1, NAN));
    double loss = distill_loss_squared(gradient, logits, teacher, 0.5, &batch, 1);
    ck_assert_double_eq(loss, (9.0 + 4.0) / 2); /* (1 - (3 + 5) / 2)^2 and (1 - 3)^2 */
    ck_assert_float_eq(gradient[0], -3);
    ck_assert_float_eq(gradient[1], -2);
    distill_batch_clear(&batch);
}
END_TEST

START_TEST(a_distillation_stopped_in_its_second_stage_goes_on_to_the_same_result)
{
    struct distill_outcome out;
    train_teacher();
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &now.weights, &now.run));
    uint64_t first = digest_of_weights();
    keep_folder("again");
    now.evaluations = 0;
    now.stop_at = 2; /* only the second stage measures, first what the stage before leaves */
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    ck_assert_int_eq(distill_train(&out, &now.weights, &now.run), STATUS_STOPPED);
    now.stop = 0;
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &now.weights, &now.run));
    ck_assert(first == digest_of_weights());
}
END_TEST

START_TEST(a_distillation_killed_in_its_second_stage_does_not_repeat_the_first)
{
    struct distill_outcome out;
    train_teacher();
    now.run.checkpoint_steps = 1000;
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    must(distill_train(&out, &now.weights, &now.run));
    uint64_t first = digest_of_weights();
    keep_folder("killed");
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    train_until_killed(2); /* the first measures what the layers' stage leaves */
    char *checkpoint;
    size_t size;
    struct distill_position at;
    must(files_read(&checkpoint, &size, folder_path("killed/checkpoint-0"), 1 << 20));
    memcpy(&at, checkpoint + 21 + DISTILL_FINGERPRINT_BYTES, sizeof at);
    free(checkpoint);
    ck_assert(at.generation == 2 && at.phase == 1 && at.step == 0);
    make_student(MODEL_QUAD, MODEL_2QUAD, false);
    now.evaluations = 0;
    must(distill_train(&out, &now.weights, &now.run));
    ck_assert(first == digest_of_weights());
    ck_assert_uint_eq(count_in("log.tsv", "\nlayers\t6.0000\t144\t"),
                      2); /* its last row, and its evaluation */
    ck_assert_uint_eq(count_in("log.tsv", "\nlogits\t0.0000\t0\t"), 1);
}
END_TEST

START_TEST(products_in_bfloat16_are_near_those_in_float)
{
    static const int shape[][3] = {{70, 65, 33}, {64, 96, 384}, {33, 48, 1000}, {16, 16, 32}};
    for (size_t i = 0; distill_half_available() && i < sizeof shape / sizeof *shape; i++)
        for (int turned = 0; turned < 4; turned++) {
            int m = shape[i][0], n = shape[i][1], k = shape[i][2];
            size_t sizes[4] = {(size_t)(m * k), (size_t)(n * k), (size_t)(m * n), (size_t)(m * n)};
            float *x[4];
            for (int j = 0; j < 4; j++) {
                x[j] = calloc(sizes[j], sizeof(float));
                for (size_t at = 0; at < sizes[j]; at++)
                    x[j][at] = (float)distill_random_normal(j == 3 ? 2 : (uint64_t)j, (uint32_t)at);
            }
            struct distill_matrix a = {x[0], turned & 1 ? m : k, turned & 1};
            struct distill_matrix b = {x[1], turned & 2 ? k : n, turned & 2};
            bool add = i % 2;
            ck_assert(distill_half_gemm(x[2], n, m, n, k, a, b, add));
            distill_gemm_single(x[3], n, m, n, k, a, b, 1, add ? 1 : 0);
            double off = 0, norm = 0;
            for (size_t at = 0; at < sizes[2]; at++) {
                off += (double)((x[2][at] - x[3][at]) * (x[2][at] - x[3][at]));
                norm += (double)(x[3][at] * x[3][at]);
            }
            ck_assert_double_lt(off, 1e-5 * norm); /* 2^-9 a factor, twice */
            for (int j = 0; j < 4; j++)
                free(x[j]);
        }
}
END_TEST

START_TEST(an_epoch_has_every_example_once)
{
    uint32_t order[EXAMPLES];
    int seen[EXAMPLES] = {0};
    distill_order_make(order, &now.train, 7, 5);
    for (size_t i = 0; i < EXAMPLES; i++)
        seen[order[i]]++;
    for (size_t i = 0; i < EXAMPLES; i++)
        ck_assert_int_eq(seen[i], 1);
}
END_TEST

/* The batches of an epoch, whatever their order: a sum over them of something of each one's set of examples. */
static uint64_t digest_of_batches(size_t size, uint64_t key)
{
    uint32_t order[EXAMPLES];
    uint64_t digest = 0;
    distill_order_make(order, &now.train, size, key);
    for (size_t first = 0; first < EXAMPLES; first += size) {
        uint64_t members = 0;
        for (size_t i = first; i < first + size && i < EXAMPLES; i++)
            members += distill_random_key(1, order[i]);
        digest += distill_random_key(2, members);
    }
    return digest;
}

START_TEST(batches_of_a_small_set_differ_between_epochs)
{
    for (size_t size = 4; size <= 64; size *= 2) {
        ck_assert(digest_of_batches(size, 5) == digest_of_batches(size, 5));
        ck_assert(digest_of_batches(size, 5) != digest_of_batches(size, 6));
    }
}
END_TEST

START_TEST(equal_lengths_meet_others_in_every_epoch)
{
    struct distill_batch set;
    uint32_t order[2][12], id[2] = {1, 2};
    distill_batch_init(&set);
    for (size_t i = 0; i < 12; i++)
        must(distill_batch_add(&set, id, NULL, 2, 0));
    for (uint64_t i = 0; i < 2; i++)
        distill_order_make(order[i], &set, 12, i); /* one pool of a single batch */
    ck_assert_int_ne(memcmp(order[0], order[1], sizeof order[0]), 0);
    distill_batch_clear(&set);
}
END_TEST

START_TEST(a_phase_without_a_step_is_refused)
{
    struct distill_outcome out;
    now.run.phase[0].epochs = 0.01;
    ck_assert_int_eq(train_again(&out), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "phase task: 0.01 epochs of 24 steps"));
}
END_TEST

START_TEST(decay_acts_on_matrices_whatever_their_rows)
{
    struct model_config config = teacher_config;
    struct distill_weights weights;
    config.labels = 1;
    config.activation = MODEL_QUAD;
    config.attention = MODEL_2QUAD;
    config.learned_c = config.learned_quad = true;
    must(distill_weights_allocate(&weights, &config));
    size_t decaying = 0;
    for (size_t i = 0; i < weights.tensors; i++) {
        decaying += weights.tensor[i].decay;
        if (strcmp(weights.tensor[i].name, "classifier.weight") == 0)
            ck_assert(weights.tensor[i].decay);
    }
    ck_assert_uint_eq(decaying, 6 * config.layers + 2);
    distill_weights_clear(&weights);
}
END_TEST

START_TEST(the_norm_of_a_huge_gradient_is_a_number)
{
    struct distill_trainer trainer;
    must(distill_trainer_init(&trainer, &now.run, &now.weights));
    trainer.gradients.value[now.weights.count - 1] = 1e30f;
    double norm = distill_adamw_step(&trainer.adamw, &now.weights, &trainer.gradients, 1e-3);
    ck_assert_double_eq_tol(norm / 1e30, 1, 1e-6);
    distill_trainer_clear(&trainer);
}
END_TEST

/* The first step of Adam is as long as the rate, whatever the gradient. */
START_TEST(learned_coefficients_have_rates_of_their_own)
{
    struct model_config config = teacher_config;
    struct distill_weights weights;
    struct distill_trainer trainer;
    config.activation = MODEL_QUAD;
    config.attention = MODEL_2QUAD;
    config.learned_c = config.learned_quad = true;
    must(distill_weights_allocate(&weights, &config));
    now.run.rate_c = 100;
    now.run.rate_quad = 10;
    now.run.decay = 0;
    must(distill_trainer_init(&trainer, &now.run, &weights));
    for (size_t i = 0; i < weights.count; i++)
        trainer.gradients.value[i] = -1;
    (void)distill_adamw_step(&trainer.adamw, &weights, &trainer.gradients, 1e-3);
    for (size_t n = 0; n < config.layers; n++) {
        ck_assert_double_eq_tol(weights.layer[n].quad_c[1], 0.1, 1e-5);
        ck_assert_double_eq_tol(weights.layer[n].quad[config.ffn], 0.01, 1e-6);
        ck_assert_double_eq_tol(weights.layer[n].qkv_w[0], 0.001, 1e-7);
    }
    distill_trainer_clear(&trainer);
    distill_weights_clear(&weights);
}
END_TEST

START_TEST(rates_warm_up_and_decay)
{
    struct distill_rate rate = {1, 0.1, DISTILL_LINEAR};
    ck_assert_double_gt(distill_rate_at(&rate, 0, 100), 0);
    ck_assert_double_lt(distill_rate_at(&rate, 0, 100), 0.2);
    ck_assert_double_eq_tol(distill_rate_at(&rate, 10, 100), 1, 1e-12);
    ck_assert_double_eq_tol(distill_rate_at(&rate, 55, 100), 0.5, 1e-12);
    rate.decay = DISTILL_COSINE;
    ck_assert_double_eq_tol(distill_rate_at(&rate, 55, 100), 0.5, 1e-12);
    ck_assert_double_lt(distill_rate_at(&rate, 99, 100), 0.01);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train");
    TCase *cases = tcase_create("loop");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, the_float_pass_gives_the_reference_logits_of_a_real_student);
    tcase_add_test(cases, a_run_learns_its_task);
    tcase_add_test(cases, the_curves_have_a_line_for_the_loss_and_one_for_the_metric);
    tcase_add_test(cases, the_same_seed_gives_the_same_run_twice);
    tcase_add_test(cases, a_run_that_was_stopped_goes_on_to_the_same_result);
    tcase_add_test(cases, a_torn_checkpoint_is_passed_over_for_the_one_before_it);
    tcase_add_test(cases, with_no_whole_checkpoint_a_run_says_so);
    tcase_add_test(cases, a_run_killed_before_its_first_regular_checkpoint_goes_on_to_the_same_result);
    tcase_add_loop_test(cases, a_checkpoint_of_other_options_is_refused, 0, 7);
    tcase_add_test(cases, a_finished_model_is_not_overwritten_unasked);
    tcase_add_test(cases, starting_over_removes_the_model_before_the_first_step);
    tcase_add_test(cases, a_folder_in_which_another_process_trains_is_refused);
    for (int length = -1; length < 200; length += 100) /* none, inside the heading, inside a row */
        tcase_add_loop_test(cases, a_log_that_is_gone_or_short_does_not_stop_a_run, length, length + 1);
    tcase_add_test(cases, a_full_disk_leaves_the_last_good_checkpoint);
    tcase_add_test(cases, a_loss_that_is_no_number_stops_the_run_and_names_the_step);
    tcase_add_test(cases, a_distilled_student_answers_like_its_teacher);
    tcase_add_test(cases, what_the_first_stage_leaves_may_be_the_best);
    tcase_add_test(cases, a_teacher_kept_in_memory_teaches_the_same);
    tcase_add_test(cases, examples_without_labels_are_for_the_second_stage);
    tcase_add_test(cases, a_score_without_a_label_is_the_teachers);
    tcase_add_test(cases, a_first_stage_with_its_teacher_in_memory_goes_on_to_the_same_result);
    tcase_add_test(cases, a_distillation_stopped_in_its_second_stage_goes_on_to_the_same_result);
    tcase_add_test(cases, a_distillation_killed_in_its_second_stage_does_not_repeat_the_first);
    tcase_add_test(cases, products_in_bfloat16_are_near_those_in_float);
    tcase_add_test(cases, an_epoch_has_every_example_once);
    tcase_add_test(cases, batches_of_a_small_set_differ_between_epochs);
    tcase_add_test(cases, equal_lengths_meet_others_in_every_epoch);
    tcase_add_test(cases, a_phase_without_a_step_is_refused);
    tcase_add_test(cases, decay_acts_on_matrices_whatever_their_rows);
    tcase_add_test(cases, the_norm_of_a_huge_gradient_is_a_number);
    tcase_add_test(cases, rates_warm_up_and_decay);
    tcase_add_test(cases, learned_coefficients_have_rates_of_their_own);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
