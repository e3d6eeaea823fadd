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

/* A sequence's masks add up to the bucket at most, since 2^k length does: at most 15/16 2^this, and so they pass. */
static int mask_bits(uint32_t bucket)
{
    return scale_most(scale_exponent(bucket / CHECK_BELOW_PART), CHECK_BELOW_BITS);
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
    gate_check_powers(s, out.mu, embedding_mask_power(shape->bucket, 2), "embeddings mask check");
    gate_check_sums(s, out.mu, shape->bucket, mask_bits(shape->bucket), "embeddings mask sum check");
    out.n = layer_norm(s, x, shape->epsilon, "embeddings norm");
    return out;
}
