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
    const double largest = schedule_range(s, 0).largest;
    const int frac = scale_fit(largest, SCALE_USUAL);
    const uint32_t x = gate_input(s, rows, shape->hidden, frac, "embeddings");
    out.mu = gate_input(s, rows, 1, 0, "attention mask");
    /* What a client shares is checked, since it may share anything (doc/security.md). */
    gate_check_signed(s, x, scale_bits(largest, frac), "embeddings check");
    gate_check_powers(s, out.mu, embedding_mask_power(shape->bucket, 1), "attention mask check");
    out.n = layer_norm(s, x, shape->epsilon, "embeddings norm");
    return out;
}
