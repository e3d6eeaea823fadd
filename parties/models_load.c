#include "parties/models_load.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

static void free_vector(int64_t *v, size_t n)
{
    if (v)
        sodium_memzero(v, n * sizeof *v);
    free(v);
}

static enum status read_description(struct store_model *from, struct description *out)
{
    size_t bytes = 0;
    enum status status = store_model_size(from, MODEL_ITEM_DESCRIPTION, &bytes);
    if (status != STATUS_OK)
        return status;
    char *text = malloc(bytes + 1);
    if (!text)
        return status_fail(STATUS_MEMORY, "out of memory for a model's description");
    status = store_model_get(from, MODEL_ITEM_DESCRIPTION, text, bytes);
    text[bytes] = '\0';
    if (status == STATUS_OK)
        status = description_read(out, text);
    free(text);
    return status;
}

enum status models_describe(struct store *store, const unsigned char id[MODEL_ID_BYTES],
                            struct description *out)
{
    struct store_model *model = NULL;
    enum status status = store_model_open(store, id, &model);
    if (status == STATUS_OK)
        status = read_description(model, out);
    store_model_close(&model);
    return status;
}

void models_masks(int64_t *out, size_t n, const struct ring_seed *seed,
                  const unsigned char id[MODEL_ID_BYTES], uint32_t number)
{
    struct ring_seed key;
    ring_stream_key(&key, seed, id, MODEL_ID_BYTES, number, RING_PURPOSE_WEIGHT);
    ring_stream_masks(out, n, &key, 0);
    sodium_memzero(&key, sizeof key);
}

static int64_t *weight_masks(const struct ring_seed *seed, const unsigned char *id, uint32_t number, size_t n)
{
    int64_t *l = malloc((n ? n : 1) * sizeof *l);
    if (l)
        models_masks(l, n, seed, id, number);
    return l;
}

static enum status pack(struct ring_gemm_matrix **out, const struct weight *w, const int64_t *values)
{
    return ring_gemm_pack_masked(out, RING_GEMM_AUTO, w->rows, w->cols, values, w->rows, true, false);
}

/* For the offline phase of an evaluator, where nobody waits: memory counts more. (P0 has no other weights, and room.) */
static enum status pack_small(struct ring_gemm_matrix **out, const struct weight *w, const int64_t *values)
{
    return ring_gemm_pack_masked(out, RING_GEMM_AUTO, w->rows, w->cols, values, w->rows, true, true);
}

/* P0: l_W1 + l_W2. */
static enum status load_dealer(struct model_memory *l, const struct ring_seed seeds[2], uint32_t i)
{
    const struct weight *w = &l->shape.weight[i];
    const size_t n = weight_size(w);
    int64_t *l1 = weight_masks(&seeds[0], l->model.id, i, n),
            *l2 = weight_masks(&seeds[1], l->model.id, i, n);
    enum status status = STATUS_OK;
    if (!l1 || !l2)
        status = status_fail(STATUS_MEMORY, "out of memory for %s", w->name);
    for (size_t j = 0; status == STATUS_OK && j < n; j++)
        l1[j] += l2[j];
    if (status == STATUS_OK && w->kind == WEIGHT_MATRIX)
        status = pack(&l->dealer[i].matrix, w, l1);
    if (status == STATUS_OK && w->kind != WEIGHT_MATRIX) {
        l->dealer[i].vector = l1;
        l1 = NULL;
    }
    free_vector(l1, n);
    free_vector(l2, n);
    return status;
}

/* P_i: online delta m - l, offline -m. |m - l_1| = |W + l_2| and |m| stay below 2^63, unless the owner sent something else. */
static enum status load_evaluator(struct model_memory *l, struct store_model *from, int party,
                                  const struct ring_seed *seed, uint32_t i)
{
    const struct weight *w = &l->shape.weight[i];
    const size_t n = weight_size(w);
    int64_t *m = malloc(n * sizeof *m), *mask = weight_masks(seed, l->model.id, i, n);
    enum status status = m && mask ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for %s", w->name);
    if (status == STATUS_OK)
        status = store_model_get(from, MODEL_ITEM_WEIGHT + i, m, n * sizeof *m);
    if (status == STATUS_OK && w->kind == WEIGHT_MATRIX) {
        for (size_t j = 0; j < n; j++)
            mask[j] = (int64_t)((party == 1 ? (uint64_t)m[j] : 0) - (uint64_t)mask[j]);
        status = pack(&l->share[i].online, w, mask);
        for (size_t j = 0; j < n; j++)
            m[j] = (int64_t) - (uint64_t)m[j];
        if (status == STATUS_OK)
            status = pack_small(&l->share[i].offline, w, m);
    } else if (status == STATUS_OK) {
        l->share[i].m = m;
        l->share[i].l = mask;
        return STATUS_OK;
    }
    free_vector(m, n);
    free_vector(mask, n);
    return status;
}

static enum status load_weights(struct model_memory *l, struct store_model *from, int party)
{
    struct ring_seed seeds[2];
    const size_t bytes = party == 0 ? sizeof seeds : sizeof *seeds;
    enum status status = store_model_get(from, MODEL_ITEM_SEEDS, seeds, bytes);
    l->dealer = party == 0 ? calloc(l->shape.weights, sizeof *l->dealer) : NULL;
    l->share = party == 0 ? NULL : calloc(l->shape.weights, sizeof *l->share);
    if (status == STATUS_OK && !l->dealer && !l->share)
        status = status_fail(STATUS_MEMORY, "out of memory for %u weights", l->shape.weights);
    for (uint32_t i = 0; status == STATUS_OK && i < l->shape.weights; i++)
        status = party == 0 ? load_dealer(l, seeds, i) : load_evaluator(l, from, party, seeds, i);
    sodium_memzero(seeds, sizeof seeds);
    l->model.dealer = l->dealer;
    l->model.share = l->share;
    return status;
}

enum status model_load(struct model_memory *out, struct store *store, int party)
{
    struct store_model *from = NULL;
    enum status status = store_model_open(store, out->model.id, &from);
    if (status == STATUS_OK)
        status = read_description(from, &out->model.description);
    if (status == STATUS_OK)
        status = description_compile(&out->model.description, 2, 1, TUNE_WAN, &out->shape);
    if (status == STATUS_OK)
        status = load_weights(out, from, party);
    store_model_close(&from);
    return status;
}

void model_unload(struct model_memory *l)
{
    for (uint32_t i = 0; i < l->shape.weights; i++) {
        const size_t n = weight_size(&l->shape.weight[i]);
        if (l->dealer) {
            ring_gemm_close(&l->dealer[i].matrix);
            free_vector(l->dealer[i].vector, n);
        }
        if (l->share) {
            ring_gemm_close(&l->share[i].online);
            ring_gemm_close(&l->share[i].offline);
            free_vector(l->share[i].m, n);
            free_vector(l->share[i].l, n);
        }
    }
    free(l->dealer);
    free(l->share);
    schedule_clear(&l->shape);
    description_clear(&l->model.description);
}
