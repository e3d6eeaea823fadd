/* trefoil distill: a teacher and its training file in, a student that is cheap under shares out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "distill/command.h"
#include "distill/options.h"
#include "model/config.h"
#include "model/files.h"
#include "model/vocabulary.h"

enum key {
    KEY_ACTIVATION = 0x2000,
    KEY_ATTENTION,
    KEY_C,
    KEY_LEARNED_C,
    KEY_LEARNED_QUAD,
    KEY_RATE_C,
    KEY_RATE_QUAD,
    KEY_FROM,
    KEY_NO_DISTILL,
    KEY_EPOCHS_1,
    KEY_EPOCHS_2,
    KEY_RATE_1,
    KEY_RATE_2,
    KEY_DROPOUT_1,
    KEY_DROPOUT_2,
    KEY_GOLD,
    KEY_EMBEDDING,
    KEY_HIDDEN,
    KEY_SCORE,
    KEY_WEIGHT_SPREAD,
    KEY_SPREAD,
    KEY_TEACHER_MEMORY,
    KEY_UNLABELLED,
};

struct command {
    struct distill_options common;
    const char *teacher, *from;
    enum model_activation activation;
    enum model_attention attention;
    double c; /* NAN: not given */
    bool learned_c, learned_quad, no_distill;
    struct distill_phase stage[2];
};

#define C_USUAL 5 /* as MPCFormer's */
#define TEACHER_BYTES ((size_t)2048 << 20)

static const struct argp_option entries[] = {
    {0, 0, 0, 0, "Models", 1},
    {"teacher", 'm', "FOLDER", 0, "Trained classifier", 1},
    {"from", KEY_FROM, "WHAT", 0,
     "Where the student's weights begin: teacher, scratch (random), or a folder with a student (teacher)", 1},
    {"unlabelled", KEY_UNLABELLED, "[TASK:]FILE", 0,
     "More texts; their labels, if any, are not used: stage 2 learns the teacher's answers to them, too. May "
     "be given several "
     "times; TASK where the file is laid out as another task's, tsv for one without labels",
     2},
    {0, 0, 0, 0, "Student", 3},
    {"activation", KEY_ACTIVATION, "KIND", 0, "quad or gelu (quad)", 3},
    {"attention", KEY_ATTENTION, "KIND", 0, "2quad, 2relu or softmax (2quad)", 3},
    {"c", KEY_C, "X", 0, "The c of 2quad (5, or that of the student in --from)", 3},
    {"learned-c", KEY_LEARNED_C, 0, 0, "Learn a c for every head; free under shares", 3},
    {"learned-quad", KEY_LEARNED_QUAD, 0, 0, "Learn a x^2 + b x + g for every neuron; free under shares", 3},
    {"rate-c", KEY_RATE_C, "X", 0, "Learning rate of a learned c, as a multiple of the others' (100)", 4},
    {"rate-quad", KEY_RATE_QUAD, "X", 0, "The same of a, b and g (10)", 4},
    {"no-distill", KEY_NO_DISTILL, 0, 0, "Train on the labels alone, in one stage, as stage 2 is set", 4},
    {"epochs-1", KEY_EPOCHS_1, "N", 0, "Stage 1, layer by layer (10); 0 leaves it out", 4},
    {"rate-1", KEY_RATE_1, "X", 0, "Highest learning rate of stage 1 (1e-4)", 4},
    {"dropout-1", KEY_DROPOUT_1, "X", 0, "Dropout of the student in stage 1 (0)", 4},
    {"weight-embedding", KEY_EMBEDDING, "X", 0, "Weight of the embeddings' error in stage 1 (1)", 4},
    {"weight-hidden", KEY_HIDDEN, "X", 0, "Weight of the hidden states' error (1)", 4},
    {"weight-score", KEY_SCORE, "X", 0, "Weight of the attention scores' error (0.02)", 4},
    {"weight-spread", KEY_WEIGHT_SPREAD, "X", 0,
     "Price on rows so wide that they would not fit fixed point, in both stages (0.01)", 4},
    {"spread", KEY_SPREAD, "V", 0, "Variance before a LayerNorm from which a row is that wide (8)", 4},
    {"teacher-memory", KEY_TEACHER_MEMORY, "MB", 0,
     "Memory for what the teacher says in stage 1, which is asked once instead of in every epoch if it fits "
     "(2048)",
     4},
    {"epochs-2", KEY_EPOCHS_2, "N", 0, "Stage 2, the teacher's answers (3)", 4},
    {"rate-2", KEY_RATE_2, "X", 0, "Highest learning rate of stage 2 (2e-5)", 4},
    {"dropout-2", KEY_DROPOUT_2, "X", 0, "Dropout of the student in stage 2 (0.1)", 4},
    {"gold", KEY_GOLD, "SHARE", 0, "Share of the file's own labels in stage 2 (0; regression 0.5)", 4},
    {0},
};

static void parse_kinds(struct command *c, int key, const char *text, struct argp_state *state)
{
    if (key == KEY_ACTIVATION) {
        if (strcmp(text, "quad") != 0 && strcmp(text, "gelu") != 0)
            argp_error(state, "--activation: '%s' is neither quad nor gelu", text);
        c->activation = strcmp(text, "quad") == 0 ? MODEL_QUAD : MODEL_GELU;
        return;
    }
    c->attention = MODEL_SOFTMAX;
    if (strcmp(text, "2quad") == 0)
        c->attention = MODEL_2QUAD;
    else if (strcmp(text, "2relu") == 0)
        c->attention = MODEL_2RELU;
    else if (strcmp(text, "softmax") != 0)
        argp_error(state, "--attention: '%s' is none of 2quad, 2relu, softmax", text);
}

static error_t parse_stage(struct command *c, int key, char *text, struct argp_state *state)
{
    switch (key) {
    case KEY_EPOCHS_1:
        c->stage[0].epochs = distill_option_number(text, 0, 10000, state, "epochs-1");
        break;
    case KEY_EPOCHS_2:
        c->stage[1].epochs = distill_option_number(text, 0.001, 10000, state, "epochs-2");
        break;
    case KEY_RATE_1:
        c->stage[0].rate.peak = distill_option_number(text, 0, 1, state, "rate-1");
        break;
    case KEY_RATE_2:
        c->stage[1].rate.peak = distill_option_number(text, 0, 1, state, "rate-2");
        break;
    case KEY_RATE_C:
        c->common.run.rate_c = distill_option_number(text, 0, 1e4, state, "rate-c");
        break;
    case KEY_RATE_QUAD:
        c->common.run.rate_quad = distill_option_number(text, 0, 1e4, state, "rate-quad");
        break;
    case KEY_DROPOUT_1:
        c->stage[0].dropout = distill_option_number(text, 0, 0.9, state, "dropout-1");
        break;
    case KEY_DROPOUT_2:
        c->stage[1].dropout = distill_option_number(text, 0, 0.9, state, "dropout-2");
        break;
    case KEY_GOLD:
        c->stage[1].gold = distill_option_number(text, 0, 1, state, "gold");
        break;
    case KEY_EMBEDDING:
        c->stage[0].embedding = distill_option_number(text, 0, 1e6, state, "weight-embedding");
        break;
    case KEY_HIDDEN:
        c->stage[0].hidden = distill_option_number(text, 0, 1e6, state, "weight-hidden");
        break;
    case KEY_SCORE:
        c->stage[0].score = distill_option_number(text, 0, 1e6, state, "weight-score");
        break;
    case KEY_WEIGHT_SPREAD:
        c->stage[0].spread = c->stage[1].spread = distill_option_number(text, 0, 1e6, state, "weight-spread");
        break;
    case KEY_TEACHER_MEMORY:
        c->common.run.teacher_bytes = distill_option_count(text, 0, state, "teacher-memory") << 20;
        break;
    case KEY_SPREAD:
        c->stage[0].spread_limit = c->stage[1].spread_limit =
            distill_option_number(text, 1e-6, 1e9, state, "spread");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct command *c = state->input;
    switch (key) {
    case 'm':
        c->teacher = argument;
        break;
    case KEY_FROM:
        c->from = argument;
        break;
    case KEY_UNLABELLED:
        if (c->common.unlabelled_files == DISTILL_UNLABELLED_MAX)
            argp_error(state, "--unlabelled: at most %d files", DISTILL_UNLABELLED_MAX);
        c->common.unlabelled[c->common.unlabelled_files++] = argument;
        break;
    case KEY_ACTIVATION:
    case KEY_ATTENTION:
        parse_kinds(c, key, argument, state);
        break;
    case KEY_C:
        c->c = distill_option_number(argument, -100, 100, state, "c");
        break;
    case KEY_LEARNED_C:
        c->learned_c = true;
        break;
    case KEY_LEARNED_QUAD:
        c->learned_quad = true;
        break;
    case KEY_NO_DISTILL:
        c->no_distill = true;
        break;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &c->common;
        break;
    case ARGP_KEY_END:
        if (c->teacher == NULL)
            argp_error(state, "--teacher is needed");
        if (c->no_distill && c->common.unlabelled_files > 0)
            argp_error(state, "--unlabelled needs a teacher's answers, and --no-distill asks for none");
        if (c->stage[1].gold >= 1 && c->common.unlabelled_files > 0)
            argp_error(state, "--unlabelled needs a teacher's answers, and --gold 1 leaves them no share");
        if (c->learned_c && c->attention != MODEL_2QUAD)
            argp_error(state, "--learned-c needs --attention 2quad");
        if (c->learned_quad && c->activation != MODEL_QUAD)
            argp_error(state, "--learned-quad needs --activation quad");
        break;
    default:
        return parse_stage(c, key, argument, state);
    }
    return 0;
}

/* The student's vocabulary must be the teacher's, piece by piece: ids mean the same to both. */
static enum status same_vocabulary(const char *folder, const char *teacher)
{
    char path[2][FILES_PATH_BYTES], *text[2] = {NULL, NULL};
    size_t size[2] = {0, 0};
    const char *of[2] = {folder, teacher};
    enum status status = STATUS_OK;
    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        status = files_join(path[i], of[i], "vocab.txt");
        if (status == STATUS_OK)
            status = files_read(&text[i], &size[i], path[i], VOCABULARY_FILE_BYTES);
    }
    if (status == STATUS_OK && (size[0] != size[1] || memcmp(text[0], text[1], size[0]) != 0))
        status = status_fail(
            STATUS_FOREIGN,
            "%s and %s differ: student and teacher must have the same vocabulary, or ids would mean "
            "different words",
            path[0], path[1]);
    free(text[0]);
    free(text[1]);
    return status;
}

/* A classifier whose names stand in another order would answer with the wrong ones. */
static bool labels_exchanged(const struct model_config *a, const struct model_config *b)
{
    for (uint32_t i = 0; i < a->labels; i++)
        for (uint32_t j = 0; j < b->labels; j++)
            if (i != j && strcasecmp(a->label[i], b->label[j]) == 0)
                return true;
    return false;
}

/* What of the folder's model the student cannot take over: refused where it would be lost unseen, told where the options
 * ask for something else. */
static enum status check_origin(const struct command *c, const struct model *model,
                                const struct model_config *config)
{
    const struct model_config *from = &model->config;
    if (!model_config_same_words(from, config))
        return status_fail(STATUS_FOREIGN,
                           "tokenizer_config.json: do_lower_case, strip_accents or tokenize_chinese_chars is not the "
                           "teacher's, and ids would mean different words");
    if (model->head_w != NULL && labels_exchanged(from, config))
        return status_fail(STATUS_FOREIGN,
                           "config.json: its labels stand in another order than the teacher's");
    if (from->learned_c && config->attention == MODEL_2QUAD && !config->learned_c)
        return status_fail(STATUS_INPUT,
                           "it has a learned c for every head, which would be lost: add --learned-c");
    if (from->learned_quad && config->activation == MODEL_QUAD && !config->learned_quad)
        return status_fail(
            STATUS_INPUT,
            "it has learned coefficients of every neuron, which would be lost: add --learned-quad");
    if (!c->common.run.quiet &&
        (from->activation != config->activation || from->attention != config->attention))
        fprintf(stderr, "--from %s: its activation or attention is another than the student's\n", c->from);
    return STATUS_OK;
}

static enum status make_student(struct distill_weights *student, const struct command *c,
                                const struct model *teacher, struct model_config *config)
{
    struct model model;
    if (strcmp(c->from, "teacher") == 0)
        return distill_weights_from_model(student, teacher, config, c->common.run.seed);
    if (strcmp(c->from, "scratch") == 0) {
        enum status status = distill_weights_allocate(student, config);
        if (status == STATUS_OK)
            distill_weights_random(student, c->common.run.seed);
        return status;
    }
    enum status status = same_vocabulary(c->from, c->teacher);
    if (status != STATUS_OK)
        return status;
    status = model_read(&model, c->from);
    if (status != STATUS_OK)
        return status;
    if (isnan(c->c) && model.config.attention == MODEL_2QUAD)
        config->softmax_c = model.config.softmax_c;
    status = check_origin(c, &model, config);
    if (status == STATUS_OK)
        status = distill_weights_from_model(student, &model, config, c->common.run.seed);
    model_clear(&model);
    return status != STATUS_OK ? status_prefix(status, "--from %s: ", c->from) : STATUS_OK;
}

static void plan(struct command *c, const struct model_config *config)
{
    struct distill_run *run = &c->common.run;
    run->phases = 0;
    for (int i = 0; i < 2; i++) {
        struct distill_phase *stage = &c->stage[i];
        stage->batch = c->common.batch;
        stage->rate.warmup = c->common.warmup;
        stage->rate.decay = c->common.decay;
        stage->attention_dropout = stage->dropout;
        if (stage->gold < 0)
            stage->gold = config->regression ? 0.5 : 0;
        if (i == 0 && (c->no_distill || stage->epochs <= 0))
            continue;
        run->phase[run->phases++] = *stage;
    }
    if (c->no_distill) {
        run->phase[0].name = "task";
        run->phase[0].objective = DISTILL_TASK;
    }
}

static void student_config(struct model_config *config, const struct command *c)
{
    config->activation = c->activation;
    config->attention = c->attention;
    config->softmax_c = isnan(c->c) ? C_USUAL : (float)c->c;
    config->learned_c = c->learned_c;
    config->learned_quad = c->learned_quad;
}

static enum status run(struct command *c)
{
    struct model model;
    struct distill_job job = {0};
    struct distill_weights teacher = {0}, student = {0};
    enum status status = distill_job_apart(&c->common, "--teacher", c->teacher);
    if (status == STATUS_OK && strcmp(c->from, "teacher") != 0 && strcmp(c->from, "scratch") != 0)
        status = distill_job_apart(&c->common, "--from", c->from);
    if (status == STATUS_OK)
        status = model_read(&model, c->teacher);
    if (status != STATUS_OK)
        return status;
    struct model_config config = model.config;
    if (model.head_w == NULL || model.pooler_w == NULL)
        status = status_fail(STATUS_INPUT, "%s has no classifier: train it first with 'trefoil finetune'",
                             c->teacher);
    if (status == STATUS_OK)
        status = distill_job_open(&job, &c->common, c->teacher, &config);
    if (status == STATUS_OK)
        status = distill_weights_from_model(&teacher, &model, &model.config, 0);
    student_config(&config, c);
    if (status == STATUS_OK)
        status = make_student(&student, c, &model, &config);
    model_clear(&model);
    plan(c, &config);
    c->common.run.teacher = c->no_distill ? NULL : &teacher;
    if (status == STATUS_OK)
        status = distill_job_run(&job, &c->common, &student, "distill");
    distill_weights_clear(&teacher);
    distill_weights_clear(&student);
    distill_job_close(&job);
    return status;
}

int command_distill(int argc, char **argv)
{
    static const struct argp_child children[] = {{&distill_options_argp, 0, 0, 0}, {0}};
    static const struct argp argp = {
        entries,
        parse,
        "",
        "Distils a teacher into a student that is cheap under shares.\v"
        "Stage 1 brings embeddings, hidden states and attention scores of the student near the "
        "teacher's; stage 2 the answers. The best model by the development file is left in the "
        "output folder, with log.tsv and curves.svg. A run that was stopped goes on when the same "
        "command is given again.",
        children,
        0,
        0};
    struct command c = {
        .from = "teacher",
        .activation = MODEL_QUAD,
        .attention = MODEL_2QUAD,
        .c = NAN,
        .stage = {{.name = "layers",
                   .objective = DISTILL_LAYERS,
                   .epochs = 10,
                   .rate = {.peak = 1e-4},
                   .rate_option = "--rate-1",
                   .embedding = 1,
                   .hidden = 1,
                   .score = 0.02,
                   .spread = 0.01,
                   .spread_limit = 8},
                  {.name = "logits",
                   .objective = DISTILL_LOGITS,
                   .epochs = 3,
                   .rate = {.peak = 2e-5},
                   .rate_option = "--rate-2",
                   .dropout = 0.1,
                   .spread = 0.01,
                   .spread_limit = 8,
                   .gold = -1}},
    };
    distill_options_init(&c.common);
    c.common.run.teacher_bytes = TEACHER_BYTES;
    c.common.run.rate_c = 100;
    c.common.run.rate_quad = 10;
    argp_err_exit_status = 2; /* a wrong option, as of every other command */
    argp_parse(&argp, argc, argv, 0, 0, &c);
    return distill_job_exit(run(&c), "distill");
}
