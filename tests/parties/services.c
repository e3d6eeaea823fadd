#include "tests/parties/services.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>
#include <zmq.h>

struct parties parties;
struct service *service[3];
static pthread_t thread[3];
void *context;
struct client *owner;
struct model model;
struct folded folded;
struct description description;
unsigned char id[MODEL_ID_BYTES];

static void *run(void *argument)
{
    return (void *)(intptr_t)service_run(argument);
}

void services_model(void)
{
    parties_tiny_model(&model, 2, 5);
    ck_ok(model_fold(&model, &folded));
    parties_calibrate(&model, &folded, SERVICES_BUCKET, &description);
}

void services_open(void)
{
    context = zmq_ctx_new();
    for (int i = 0; i < 3; i++)
        ck_ok(service_open(&service[i], &parties.config[i], context));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, run, service[i]), 0);
    ck_ok(client_open(&owner, &parties.config[PARTY_OWNER], context));
    ck_ok(client_share(owner, &description, &folded, NULL, NULL, id));
}

void services_start(void)
{
    services_model();
    parties_init(&parties, 10000, true);
    services_open();
}

void services_stop(void)
{
    client_close(&owner);
    for (int i = 0; i < 3; i++) {
        void *result;
        service_stop(service[i]);
        pthread_join(thread[i], &result);
        ck_assert_int_eq((int)(intptr_t)result, STATUS_OK);
    }
    for (int i = 0; i < 3; i++)
        ck_assert(service_close(&service[i]) == STATUS_OK);
    zmq_ctx_term(context);
    description_clear(&description);
    folded_clear(&folded);
    model_clear(&model);
    parties_clear(&parties);
}

void services_deal(uint32_t bucket, uint32_t batch, enum tune tune, uint32_t count, struct deal_request *out)
{
    *out = (struct deal_request){.model = id, .bucket = bucket, .batch = batch, .tune = tune, .count = count};
    ck_ok(client_deal(owner, &description, out));
    ck_assert_uint_eq(out->dealt, count);
}

/* One private inference of a batch of random texts; each is compared with the fixed-point walk. */
void services_infer(struct client *client, uint32_t bucket, uint32_t batch, enum tune tune, struct inference *out)
{
    const size_t each = (size_t)bucket * model.config.hidden;
    float *embeddings = malloc(batch * each * sizeof *embeddings);
    float *logits = calloc(batch * model.config.labels, sizeof *logits), fixed[MODEL_LABELS_MAX];
    uint32_t length[8];
    struct question q[8];
    for (uint32_t b = 0; b < batch; b++) {
        question_make(&q[b], &model, 2 + randombytes_uniform(bucket - 1), bucket);
        memcpy(embeddings + b * each, q[b].embeddings, each * sizeof *embeddings);
        length[b] = q[b].length;
    }
    *out = (struct inference){.model = id, .bucket = bucket, .batch = batch, .tune = tune, .embeddings = embeddings,
                              .length = length, .logits = logits};
    ck_ok(client_infer(client, &description, out));
    for (uint32_t b = 0; b < batch; b++) {
        question_fixed(&q[b], &description, &folded, fixed);
        for (uint32_t i = 0; i < model.config.labels; i++)
            ck_assert_float_eq_tol(logits[b * model.config.labels + i], fixed[i], 0.02f);
        question_clear(&q[b]);
    }
    free(embeddings);
    free(logits);
}

void services_pause(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}
