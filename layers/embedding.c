#include "layers/embedding.h"

#include "layers/layernorm.h"
#include "layers/scale.h"

int embedding_mask_power(uint32_t bucket, uint32_t length)
{
    int k = 0;
    while (length && ((uint64_t)length << (k + 1)) <= bucket)
        k++;
    return k;
}

struct embedding layer_embedding(struct schedule *s, const struct shape *shape)
{
    const uint32_t rows = shape->batch * shape->bucket;
    struct embedding out;
    const int frac = scale_fit(schedule_range(s, 0).largest, SCALE_USUAL);
    const uint32_t x = gate_input(s, rows, shape->hidden, frac, "embeddings");
    out.mu = gate_input(s, rows, 1, 0, "attention mask");
    out.n = layer_norm(s, x, shape->epsilon, "embeddings norm");
    return out;
}
