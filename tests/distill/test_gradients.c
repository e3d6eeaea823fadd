/* Every backward pass against central differences, in double precision: the sources of the numeric core
 * compiled with -DDISTILL_DOUBLE. All elements of all tensors are compared, on small random shapes with
 * sequences of different lengths (a packed batch is what a padded one is under its mask). */
#include <check.h>
#include <stdlib.h>

#include "distill/encoder.h"
#include "distill/gemm.h"
#include "distill/random.h"
#include "tests/run.h"

#define STEP 1e-5
#define RELATIVE 1e-5
#define ABSOLUTE 1e-9 /* gradients that are zero by symmetry, as a key's bias under softmax */

enum task { CLASSES, SOFT, SCORE, MATCH };

struct setting {
    struct model_config config;
    enum task task;
    struct distill_noise noise;
    struct distill_batch batch;
    struct distill_weights weights, gradients, teacher_weights;
    struct distill_state state, teacher;
    struct distill_match match;
    struct distill_spread spread;
};

static void must(enum status status)
{
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
}

static void fill(struct distill_weights *w, uint64_t key, double deviation)
{
    for (size_t i = 0; i < w->count; i++)
        w->value[i] = deviation * distill_random_normal(key, (uint32_t)i);
}

static void make_batch(struct distill_batch *batch, const struct model_config *config, const size_t *length,
                       size_t n)
{
    uint32_t id[16], type[16], drawn = 0;
    distill_batch_init(batch);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < length[i]; j++) {
            id[j] = (uint32_t)(distill_random_uniform(5, drawn++) * config->vocabulary);
            type[j] = j > length[i] / 2;
        }
        must(distill_batch_add(batch, id, type, length[i],
                               config->labels == 1 ? 0.7 * (double)i : (double)(i % 2)));
    }
}

static void set_up(struct setting *s, enum model_activation activation, enum model_attention attention,
                   bool learned, enum task task, double dropout)
{
    static const size_t length[] = {5, 1, 7, 3};
    *s = (struct setting){.task = task, .noise = {77, dropout, dropout}};
    s->config = (struct model_config){.hidden = 12,
                                      .layers = 2,
                                      .heads = 3,
                                      .ffn = 20,
                                      .vocabulary = 9,
                                      .positions = 8,
                                      .types = 2,
                                      .labels = task == SCORE ? 1 : 3,
                                      .layer_norm_eps = 1e-12f,
                                      .softmax_c = 5,
                                      .activation = activation,
                                      .attention = attention,
                                      .learned_c = learned && attention == MODEL_2QUAD,
                                      .learned_quad = learned && activation == MODEL_QUAD};
    distill_threads_set(1);
    make_batch(&s->batch, &s->config, length, 4);
    must(distill_weights_allocate(&s->weights, &s->config));
    must(distill_weights_allocate(&s->gradients, &s->config));
    must(distill_weights_allocate(&s->teacher_weights, &s->config));
    fill(&s->weights, 1, 0.4);
    fill(&s->teacher_weights, 2, 0.4);
    must(distill_state_reserve(&s->state, &s->config, &s->batch, true));
    must(distill_state_reserve(&s->teacher, &s->config, &s->batch, false));
    struct distill_noise none = {0};
    distill_encoder_forward(&s->teacher, &s->teacher_weights, &s->batch, &none);
    distill_head_forward(&s->teacher, &s->teacher_weights, &s->batch, &none);
    s->match = (struct distill_match){.teacher = &s->teacher, .embedding = 0.7, .hidden = 1.3, .score = 0.3};
    s->spread = (struct distill_spread){.weight = 0.6, .limit = 0.5};
}

static void tear_down(struct setting *s)
{
    distill_weights_clear(&s->weights);
    distill_weights_clear(&s->gradients);
    distill_weights_clear(&s->teacher_weights);
    distill_state_clear(&s->state);
    distill_state_clear(&s->teacher);
    distill_batch_clear(&s->batch);
}

static double forward(struct setting *s)
{
    struct distill_state *state = &s->state;
    distill_encoder_forward(state, &s->weights, &s->batch, &s->noise);
    if (s->task == MATCH)
        return distill_loss_match(&s->match, state, &s->batch) +
               distill_loss_spread(state, &s->batch, &s->spread);
    distill_head_forward(state, &s->weights, &s->batch, &s->noise);
    if (s->task == CLASSES)
        return distill_loss_cross_entropy(state->dlogits, state->logits, &s->batch, 3, 1.5);
    if (s->task == SOFT)
        return distill_loss_soft(state->dlogits, state->logits, s->teacher.logits, s->batch.sequences, 3,
                                 1.5);
    return distill_loss_squared(state->dlogits, state->logits, s->teacher.logits, 0.4, &s->batch, 1.5);
}

static void backward(struct setting *s)
{
    if (s->task != MATCH)
        distill_head_backward(&s->gradients, &s->state, &s->weights, &s->batch, &s->noise);
    distill_encoder_backward(&s->gradients, &s->state, &s->weights, &s->batch, &s->noise,
                             s->task == MATCH ? &s->match : NULL, s->task == MATCH ? &s->spread : NULL);
}

static double difference_quotient(struct setting *s, size_t i)
{
    double kept = s->weights.value[i];
    s->weights.value[i] = kept + STEP;
    double up = forward(s);
    s->weights.value[i] = kept - STEP;
    double down = forward(s);
    s->weights.value[i] = kept;
    return (up - down) / (2 * STEP);
}

static void compare_all(struct setting *s)
{
    forward(s);
    backward(s);
    for (size_t t = 0; t < s->weights.tensors; t++) {
        const struct distill_tensor *tensor = &s->weights.tensor[t];
        double off = 0, norm = 0;
        for (size_t i = tensor->offset; i < tensor->offset + tensor->rows * tensor->columns; i++) {
            double slope = difference_quotient(s, i), ours = s->gradients.value[i];
            off += (slope - ours) * (slope - ours);
            norm += slope * slope;
        }
        ck_assert_msg(sqrt(off) <= RELATIVE * sqrt(norm) + ABSOLUTE,
                      "%s: off by %.3g where the gradient is %.3g", tensor->name, sqrt(off), sqrt(norm));
    }
}

static void check_one(enum model_activation activation, enum model_attention attention, bool learned,
                      enum task task, double dropout)
{
    struct setting s;
    set_up(&s, activation, attention, learned, task, dropout);
    compare_all(&s);
    tear_down(&s);
}

START_TEST(a_teachers_gradients_agree_with_central_differences)
{
    check_one(MODEL_GELU, MODEL_SOFTMAX, false, CLASSES, 0);
}
END_TEST

START_TEST(a_teachers_gradients_agree_under_dropout)
{
    check_one(MODEL_GELU, MODEL_SOFTMAX, false, SOFT, 0.3);
}
END_TEST

START_TEST(a_fixed_students_gradients_agree_with_central_differences)
{
    check_one(MODEL_QUAD, MODEL_2QUAD, false, SOFT, 0.2);
}
END_TEST

START_TEST(a_learned_students_gradients_agree_with_central_differences)
{
    check_one(MODEL_QUAD, MODEL_2QUAD, true, SOFT, 0);
}
END_TEST

START_TEST(layer_wise_gradients_agree_with_central_differences)
{
    check_one(MODEL_QUAD, MODEL_2QUAD, true, MATCH, 0);
    check_one(MODEL_GELU, MODEL_SOFTMAX, false, MATCH, 0.1);
}
END_TEST

START_TEST(a_2relu_students_gradients_agree_with_central_differences)
{
    check_one(MODEL_RELU, MODEL_2RELU, false, CLASSES, 0.1);
    check_one(MODEL_GELU, MODEL_2RELU, false, MATCH, 0);
}
END_TEST

START_TEST(a_regressions_gradients_agree_with_central_differences)
{
    check_one(MODEL_QUAD, MODEL_2QUAD, true, SCORE, 0.2);
}
END_TEST

/* A pass large enough for every loop to be shared out. */
static void large_pass(struct distill_weights *gradients, int count)
{
    struct model_config config = {.hidden = 64,
                                  .layers = 1,
                                  .heads = 4,
                                  .ffn = 128,
                                  .vocabulary = 50,
                                  .positions = 64,
                                  .types = 2,
                                  .labels = 2,
                                  .layer_norm_eps = 1e-12f,
                                  .softmax_c = 5,
                                  .activation = MODEL_QUAD,
                                  .attention = MODEL_2QUAD,
                                  .learned_c = true,
                                  .learned_quad = true};
    struct distill_noise noise = {5, 0.1, 0.1};
    struct distill_batch batch;
    struct distill_weights weights;
    struct distill_state state = {0};
    uint32_t id[60], drawn = 0;
    distill_threads_set(count);
    distill_batch_init(&batch);
    for (size_t i = 0; i < 20; i++) {
        for (size_t j = 0; j < 60; j++)
            id[j] = (uint32_t)(distill_random_uniform(8, drawn++) * 50);
        must(distill_batch_add(&batch, id, NULL, 20 + 2 * i, (double)(i % 2)));
    }
    must(distill_weights_allocate(&weights, &config));
    must(distill_weights_allocate(gradients, &config));
    fill(&weights, 4, 0.2);
    must(distill_state_reserve(&state, &config, &batch, true));
    distill_encoder_forward(&state, &weights, &batch, &noise);
    distill_head_forward(&state, &weights, &batch, &noise);
    distill_loss_cross_entropy(state.dlogits, state.logits, &batch, 2, 1);
    distill_head_backward(gradients, &state, &weights, &batch, &noise);
    distill_encoder_backward(gradients, &state, &weights, &batch, &noise, NULL, NULL);
    distill_weights_clear(&weights);
    distill_state_clear(&state);
    distill_batch_clear(&batch);
}

START_TEST(gradients_do_not_depend_on_the_number_of_threads)
{
    struct distill_weights one, three;
    large_pass(&one, 1);
    large_pass(&three, 3);
    for (size_t i = 0; i < one.count; i++)
        ck_assert_double_eq_tol(one.value[i], three.value[i], 1e-11 * (1 + fabs(one.value[i])));
    distill_weights_clear(&one);
    distill_weights_clear(&three);
}
END_TEST

START_TEST(the_backward_pass_reports_the_loss_the_forward_pass_has)
{
    struct setting s;
    set_up(&s, MODEL_QUAD, MODEL_2QUAD, false, MATCH, 0.2);
    forward(&s);
    double embedding = s.match.embedding_loss, hidden = s.match.hidden_loss, score = s.match.score_loss;
    s.match.embedding_loss = s.match.hidden_loss = s.match.score_loss = 0;
    backward(&s);
    ck_assert_double_eq_tol(s.match.embedding_loss, embedding, 1e-12);
    ck_assert_double_eq_tol(s.match.hidden_loss, hidden, 1e-12);
    ck_assert_double_eq_tol(s.match.score_loss, score, 1e-12);
    tear_down(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gradients");
    TCase *cases = tcase_create("core");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_teachers_gradients_agree_with_central_differences);
    tcase_add_test(cases, a_teachers_gradients_agree_under_dropout);
    tcase_add_test(cases, a_fixed_students_gradients_agree_with_central_differences);
    tcase_add_test(cases, a_learned_students_gradients_agree_with_central_differences);
    tcase_add_test(cases, layer_wise_gradients_agree_with_central_differences);
    tcase_add_test(cases, a_2relu_students_gradients_agree_with_central_differences);
    tcase_add_test(cases, a_regressions_gradients_agree_with_central_differences);
    tcase_add_test(cases, gradients_do_not_depend_on_the_number_of_threads);
    tcase_add_test(cases, the_backward_pass_reports_the_loss_the_forward_pass_has);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
