#include "tests/layers/student.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/embedding.h"
#include "layers/pooler.h"
#include "model/random_model.h"

void student_random_text(const struct model *model, uint32_t *id, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        id[i] = three_between(0, model->config.vocabulary - 1);
}

void student_calibrate(struct student *s, const struct model *model, const struct sample *samples,
                       size_t count)
{
    memset(s, 0, sizeof *s);
    s->model = model;
    ck_ok(model_fold(model, &s->folded));
    ck_ok(model_calibrate(model, &s->folded, samples, count, NULL, NULL, &s->description));
}

enum { SAMPLES = 16, LONGEST = 160 };

void student_random(struct student *s, struct model *model, const struct model_config *shape)
{
    static uint32_t id[SAMPLES][LONGEST];
    struct sample sample[SAMPLES];
    struct model_config c = *shape;
    c.types = 1;
    c.labels = 2;
    c.layer_norm_eps = 1e-12f;
    c.softmax_c = 5.0f;
    c.activation = MODEL_QUAD;
    c.attention = MODEL_2QUAD;
    strcpy(c.label[0], "no");
    strcpy(c.label[1], "yes");
    ck_assert_uint_le(c.positions, LONGEST);
    ck_ok(random_model_make(model, &c, 1));
    for (uint32_t i = 0; i < SAMPLES; i++) {
        student_random_text(model, id[i], c.positions);
        sample[i] = (struct sample){id[i], NULL, 2 + i * (c.positions - 2) / (SAMPLES - 1)};
    }
    student_calibrate(s, model, sample, SAMPLES);
}

static void drop_schedule(struct student *s)
{
    if (!s->weight)
        return;
    three_close(&s->three);
    for (uint32_t i = 0; i < s->schedule.weights; i++)
        free(s->weight[i]);
    free(s->weight);
    free(s->embeddings);
    free(s->mask);
    free(s->input[0]);
    free(s->input[1]);
    schedule_clear(&s->schedule);
    s->weight = NULL;
}

void student_compile(struct student *s, uint32_t bucket, uint32_t batch, enum tune tune)
{
    drop_schedule(s);
    ck_ok(description_compile(&s->description, bucket, batch, tune, &s->schedule));
    ck_assert_uint_eq(s->schedule.weights, s->folded.count);
    s->weight = calloc(s->schedule.weights, sizeof *s->weight);
    for (uint32_t i = 0; i < s->schedule.weights; i++) {
        const struct weight *w = &s->schedule.weight[i];
        s->weight[i] = malloc(weight_size(w) * sizeof(int64_t));
        for (size_t j = 0; j < weight_size(w); j++)
            s->weight[i][j] = llround(ldexp((double)s->folded.weight[i][j], w->frac));
    }
    const size_t tokens = (size_t)bucket * batch;
    s->embeddings = calloc(tokens * s->model->config.hidden, sizeof *s->embeddings);
    s->mask = calloc(tokens, sizeof *s->mask);
    s->input[0] = calloc(tokens * s->model->config.hidden, sizeof(int64_t));
    s->input[1] = calloc(tokens, sizeof(int64_t));
    three_open(&s->three, &s->schedule, (const int64_t *const *)s->weight);
}

void student_embed(struct student *s, const struct sample *texts)
{
    const size_t bucket = s->schedule.bucket, hidden = s->model->config.hidden;
    const int frac = s->schedule.tensor[s->schedule.gate[0].out].frac;
    for (uint32_t b = 0; b < s->schedule.batch; b++) {
        ck_ok(model_embed(s->model, &texts[b], (uint32_t)bucket, s->embeddings + b * bucket * hidden));
        const int power = embedding_mask_power((uint32_t)bucket, texts[b].length);
        for (size_t i = 0; i < bucket; i++)
            s->mask[b * bucket + i] = i < texts[b].length ? ldexpf(1.0f, power) : 0.0f;
    }
    for (size_t i = 0; i < s->schedule.batch * bucket * hidden; i++)
        s->input[0][i] = llround(ldexp((double)s->embeddings[i], frac));
    for (size_t i = 0; i < s->schedule.batch * bucket; i++)
        s->input[1][i] = (int64_t)s->mask[i];
}

static void real(const struct student *s, const int64_t *in, double *out)
{
    for (size_t i = 0; i < (size_t)s->schedule.batch * s->model->config.labels; i++)
        out[i] = ldexp((double)in[i], -POOLER_LOGIT_FRAC);
}

void student_private(struct student *s, double *logits)
{
    int64_t out[64 * MODEL_LABELS_MAX];
    three_offline(&s->three);
    three_online(&s->three, (const int64_t *const *)s->input, out);
    real(s, out, logits);
}

void student_fixed(struct student *s, double *logits)
{
    int64_t out[64 * MODEL_LABELS_MAX];
    three_fixed(&s->three, (const int64_t *const *)s->input, out);
    real(s, out, logits);
}

void student_clear(struct student *s, double *logits)
{
    const float *const input[2] = {s->embeddings, s->mask};
    float out[64 * MODEL_LABELS_MAX];
    ck_ok(walk_clear(&s->schedule, &s->folded, input, out, NULL));
    for (size_t i = 0; i < (size_t)s->schedule.batch * s->model->config.labels; i++)
        logits[i] = (double)out[i];
}

void student_close(struct student *s)
{
    drop_schedule(s);
    description_clear(&s->description);
    folded_clear(&s->folded);
}
