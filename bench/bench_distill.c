/* How fast a stage-1 distillation step is, against the matrix products it consists of.
 *
 *     bench_distill [SEQUENCES [LENGTH [THREADS [ROUNDS [bf16]]]]]
 *
 * A step: teacher forward, student forward and backward, AdamW, on MiniLM size (6 layers, hidden 384, 12
 * heads, 1536 feed-forward, vocabulary 30522). The yardstick runs only the products of a step, linear layers
 * and attention, at the same shapes on the same threads. A step with the teacher kept in memory
 * (distill/recall.h) has no teacher forward. All are timed in turn and the fastest round of each counts, so that
 * other load on the machine falls on all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "distill/gemm.h"
#include "distill/linear.h"
#include "distill/random.h"
#include "distill/train_step.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void must(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "bench_distill: %s\n", status_message());
    exit(1);
}

static void make_set(struct distill_batch *set, size_t sequences, size_t length, uint32_t vocabulary)
{
    uint32_t *id = calloc(length * 2, sizeof *id), drawn = 0;
    distill_batch_init(set);
    for (size_t i = 0; i < sequences; i++) {
        size_t n = length / 2 + (size_t)(distill_random_uniform(1, (uint32_t)i) * (double)(length + 1));
        for (size_t j = 0; j < n; j++)
            id[j] = (uint32_t)(distill_random_uniform(2, drawn++) * vocabulary);
        must(distill_batch_add(set, id, NULL, n, 0));
    }
    free(id);
}

/* The products of one linear layer: twice forward, once backward. */
static void linear(struct distill_trainer *t, const float *w, float *dw, int in, int out)
{
    struct distill_layer_state *s = &t->student.layer[0];
    size_t rows = t->batch.tokens;
    distill_linear_forward(s->pre, s->act, w, rows, in, out);
    distill_linear_forward(s->pre, s->act, w, rows, in, out);
    distill_linear_backward(t->student.dwide, 0, dw, s->pre, s->act, w, rows, in, out);
}

/* The products of attention: twice two forward, four backward. */
static void attention(struct distill_trainer *t, int hidden, int heads)
{
    struct distill_layer_state *s = &t->student.layer[0];
    size_t jobs = t->batch.sequences * (size_t)heads;
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t job = 0; job < jobs; job++) {
        size_t sequence = job / (size_t)heads, head = job % (size_t)heads, first = t->batch.start[sequence];
        int n = (int)(t->batch.start[sequence + 1] - first), width = hidden / heads, stride = 3 * hidden;
        float *q = s->qkv + first * (size_t)stride + head * (size_t)width;
        float *to = s->context + first * (size_t)hidden + head * (size_t)width;
        float *scores = s->scores + head * t->batch.pairs + t->batch.pair_start[sequence];
        struct distill_matrix a = {q, stride, false}, b = {q + hidden, stride, true},
                              v = {q + hidden, stride, false};
        struct distill_matrix u = {scores, n, false}, turned = {scores, n, true};
        for (int i = 0; i < 3; i++) {
            distill_gemm_single(scores, n, n, n, width, a, b, 1, 0);
            distill_gemm_single(to, hidden, n, width, n, u, v, 1, 0);
        }
        distill_gemm_single(to, hidden, n, width, n, turned, v, 1, 0);
        distill_gemm_single(to, hidden, n, width, n, turned, v, 1, 0);
    }
}

static void products(struct distill_trainer *t)
{
    const struct model_config *c = &t->weights->config;
    int hidden = (int)c->hidden, ffn = (int)c->ffn;
    for (unsigned n = 0; n < c->layers; n++) {
        struct distill_layer *w = &t->weights->layer[n], *g = &t->gradients.layer[n];
        linear(t, w->qkv_w, g->qkv_w, hidden, 3 * hidden);
        linear(t, w->output_w, g->output_w, hidden, hidden);
        linear(t, w->ffn1_w, g->ffn1_w, hidden, ffn);
        linear(t, w->ffn2_w, g->ffn2_w, ffn, hidden);
        attention(t, hidden, (int)c->heads);
    }
}

static size_t argument(int argc, char **argv, int i, size_t otherwise)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

/* The fastest round of each, in seconds. */
struct times {
    double step, kept, products;
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static struct times measure(struct distill_trainer *trainer, const struct distill_recall *recall,
                            const uint32_t *order, size_t rounds)
{
    const struct distill_phase *phase = &trainer->run->phase[0];
    struct times fastest = {1e9, 1e9, 1e9};
    for (size_t i = 0; i < rounds + 1; i++) { /* the first warms up */
        struct distill_report report;
        trainer->recall = *recall;
        double before = now();
        must(distill_trainer_step(trainer, phase, order, phase->batch, i, 1e-5, &report));
        trainer->recall = (struct distill_recall){0};
        double begin = now();
        must(distill_trainer_step(trainer, phase, order, phase->batch, i, 1e-5, &report));
        double middle = now();
        bool half = distill_half_set(false); /* the yardstick is SGEMM */
        products(trainer);
        double end = now();
        distill_half_set(half);
        memset(trainer->gradients.value, 0,
               trainer->gradients.count * sizeof(float)); /* what the products left */
        if (i > 0)
            fastest = (struct times){least(middle - begin, fastest.step), least(begin - before, fastest.kept),
                                     least(end - middle, fastest.products)};
    }
    return fastest;
}

static void print(const struct times *fastest, const struct distill_batch *set)
{
    double tokens = (double)set->tokens;
    printf("%zu sequences, %zu tokens, %d threads\n", set->sequences, set->tokens, distill_threads());
    printf("stage-1 step      %8.1f ms  %8.0f tokens/s\n", fastest->step * 1e3, tokens / fastest->step);
    printf("teacher kept      %8.1f ms  %8.0f tokens/s\n", fastest->kept * 1e3, tokens / fastest->kept);
    printf("its products only %8.1f ms  %8.0f tokens/s\n", fastest->products * 1e3,
           tokens / fastest->products);
    printf("ratio             %8.2f\n", fastest->products / fastest->step);
}

static void make_models(struct distill_weights *teacher, struct distill_weights *student)
{
    struct model_config config = {.hidden = 384,
                                  .layers = 6,
                                  .heads = 12,
                                  .ffn = 1536,
                                  .vocabulary = 30522,
                                  .positions = 512,
                                  .types = 2,
                                  .labels = 2,
                                  .layer_norm_eps = 1e-12f,
                                  .softmax_c = 5};
    must(distill_weights_allocate(teacher, &config));
    distill_weights_random(teacher, 1);
    config.activation = MODEL_QUAD;
    config.attention = MODEL_2QUAD;
    must(distill_weights_allocate(student, &config));
    distill_weights_random(student, 2);
}

int main(int argc, char **argv)
{
    size_t sequences = argument(argc, argv, 1, 32), length = argument(argc, argv, 2, 64);
    struct distill_weights teacher, student;
    struct distill_batch set;
    struct distill_trainer trainer;
    struct distill_recall recall;
    distill_threads_set((int)argument(argc, argv, 3, 0));
    distill_half_set(argc > 5 && strcmp(argv[5], "bf16") == 0);
    make_models(&teacher, &student);
    make_set(&set, sequences, length, teacher.config.vocabulary);
    struct distill_run run = {.phases = 1, .train = &set, .dev = &set, .teacher = &teacher, .clip = 1};
    run.phase[0] = (struct distill_phase){
        .objective = DISTILL_LAYERS, .batch = sequences, .embedding = 1, .hidden = 1, .score = 1};
    must(distill_trainer_init(&trainer, &run, &student));
    uint32_t *order = calloc(sequences, sizeof *order);
    for (size_t i = 0; i < sequences; i++)
        order[i] = (uint32_t)i;
    must(distill_recall_make(&recall, &teacher, &set));
    const struct times fastest = measure(&trainer, &recall, order, argument(argc, argv, 4, 5));
    print(&fastest, &set);
    distill_recall_clear(&recall);
    distill_trainer_clear(&trainer);
    distill_weights_clear(&teacher);
    distill_weights_clear(&student);
    distill_batch_clear(&set);
    free(order);
    return 0;
}
