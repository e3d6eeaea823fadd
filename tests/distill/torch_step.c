/* Leaves one training step of both stages in a folder, for distill/torch/compare.py: teacher, student, the
 * batch, the losses, and the gradients as folders of the same layout as a model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distill/encoder.h"
#include "distill/random.h"
#include "model/files.h"

static struct model_config config = {.hidden = 32,
                                     .layers = 2,
                                     .heads = 4,
                                     .ffn = 48,
                                     .vocabulary = 60,
                                     .positions = 24,
                                     .types = 2,
                                     .labels = 3,
                                     .layer_norm_eps = 1e-12f,
                                     .softmax_c = 5,
                                     .lower_case = true,
                                     .label = {"a", "b", "c"}};

static void must(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "torch_step: %s\n", status_message());
    exit(1);
}

static void save(const struct distill_weights *weights, const char *folder, const char *name)
{
    char path[FILES_PATH_BYTES];
    struct model model;
    must(files_join(path, folder, name));
    must(files_make_folder(path));
    must(distill_weights_to_model(&model, weights));
    must(model_write(&model, path, MODEL_F32, NULL));
    model_clear(&model);
}

/* Weights large enough for every gradient to matter. */
static void make(struct distill_weights *weights, uint64_t seed)
{
    must(distill_weights_allocate(weights, &config));
    distill_weights_random(weights, seed);
    for (size_t i = 0; i < weights->count; i++)
        weights->value[i] += (float)(0.1 * distill_random_normal(seed + 1, (uint32_t)i));
}

static FILE *create(const char *folder, const char *name)
{
    char path[FILES_PATH_BYTES];
    must(files_join(path, folder, name));
    FILE *file = fopen(path, "w");
    if (file == NULL)
        must(status_fail(STATUS_IO, "%s: cannot write", path));
    return file;
}

static void make_batch(struct distill_batch *batch, const char *folder)
{
    static const size_t length[] = {7, 20, 1, 13, 13};
    FILE *file = create(folder, "batch.tsv");
    uint32_t id[20], type[20], drawn = 0;
    distill_batch_init(batch);
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        for (size_t j = 0; j < length[i]; j++) {
            id[j] = (uint32_t)(distill_random_uniform(3, drawn++) * config.vocabulary);
            type[j] = j > length[i] / 2;
            fprintf(file, "%s%u", j > 0 ? " " : "", id[j]);
        }
        for (size_t j = 0; j < length[i]; j++)
            fprintf(file, "%c%u", j > 0 ? ' ' : '\t', type[j]);
        fprintf(file, "\t%zu\n", i % 3);
        must(distill_batch_add(batch, id, type, length[i], (double)(i % 3)));
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct distill_batch batch;
    struct distill_weights teacher, student, gradients;
    struct distill_state state = {0}, wanted = {0};
    struct distill_noise none = {0};
    make(&teacher, 10);
    save(&teacher, argv[1], "teacher");
    config.activation = MODEL_QUAD;
    config.attention = MODEL_2QUAD;
    config.learned_c = config.learned_quad = true;
    make(&student, 20);
    save(&student, argv[1], "student");
    make_batch(&batch, argv[1]);
    must(distill_weights_allocate(&gradients, &config));
    must(distill_state_reserve(&state, &config, &batch, true));
    must(distill_state_reserve(&wanted, &teacher.config, &batch, false));
    distill_encoder_forward(&wanted, &teacher, &batch, &none);
    distill_head_forward(&wanted, &teacher, &batch, &none);
    distill_encoder_forward(&state, &student, &batch, &none);
    distill_head_forward(&state, &student, &batch, &none);
    struct distill_match match = {.teacher = &wanted, .embedding = 1, .hidden = 1, .score = 1};
    const struct distill_spread spread = {.weight = 0.3 / (double)batch.sequences, .limit = 0.5};
    const double price = distill_loss_spread(&state, &batch, &spread);
    distill_encoder_backward(&gradients, &state, &student, &batch, &none, &match, &spread);
    save(&gradients, argv[1], "gradients-layers");
    FILE *losses = create(argv[1], "losses.tsv");
    fprintf(losses, "layers\t%.9g\n", match.embedding_loss + match.hidden_loss + match.score_loss + price);
    memset(gradients.value, 0, gradients.count * sizeof(float));
    fprintf(losses, "logits\t%.9g\n",
            price + distill_loss_soft(state.dlogits, state.logits, wanted.logits, batch.sequences,
                                      (int)config.labels, 1));
    fclose(losses);
    distill_head_backward(&gradients, &state, &student, &batch, &none);
    distill_encoder_backward(&gradients, &state, &student, &batch, &none, NULL, &spread);
    save(&gradients, argv[1], "gradients-logits");
    distill_weights_clear(&teacher);
    distill_weights_clear(&student);
    distill_weights_clear(&gradients);
    distill_state_clear(&state);
    distill_state_clear(&wanted);
    distill_batch_clear(&batch);
    return 0;
}
