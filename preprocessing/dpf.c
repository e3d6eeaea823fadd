#include "preprocessing/dpf.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "preprocessing/dpf_tree.h"

size_t dpf_key_bytes(int bits)
{
    return dpf_value_offset(bits, dpf_levels(bits));
}

/* ---- dealing: many keys side by side, level by level, so that the one-way function gets long arrays ---- */

#define TOGETHER 32

/* Both evaluators' nodes on the way to rho, of some keys. */
struct paths {
    size_t n;
    int bits;
    unsigned char *key; /* [n][dpf_key_bytes] */
    const uint16_t *point;
    struct dpf_block node[2][TOGETHER], child[2][2 * TOGETHER], word[2][2 * TOGETHER];
    uint32_t controls[TOGETHER];
};

static unsigned char *key_of(const struct paths *p, size_t i)
{
    return p->key + i * dpf_key_bytes(p->bits);
}

static struct dpf_block choose(const struct dpf_block pair[2], uint64_t second)
{
    struct dpf_block out;
    for (int w = 0; w < 2; w++)
        out.w[w] = pair[0].w[w] ^ ((pair[0].w[w] ^ pair[1].w[w]) & -second);
    return out;
}

/* One key: the corrections that make the child equal for both that rho does not pass through, and the other one's control
 * bits differ. Moves both nodes to the child on rho's path. */
static void deal_level(struct paths *p, size_t i, int level)
{
    const uint64_t right = p->point[i] >> (p->bits - 1 - level) & 1;
    struct dpf_block difference[2], correction[2], kept;
    for (int side = 0; side < 2; side++)
        for (int w = 0; w < 2; w++)
            difference[side].w[w] = p->child[0][2 * i + side].w[w] ^ p->child[1][2 * i + side].w[w];
    kept = choose(difference, right ^ 1);
    kept.w[0] &= ~(uint64_t)1;
    correction[0] = correction[1] = kept;
    correction[0].w[0] |= (difference[0].w[0] & 1) ^ right ^ 1;
    correction[1].w[0] |= (difference[1].w[0] & 1) ^ right;
    memcpy(key_of(p, i) + (size_t)level * sizeof kept, &kept, sizeof kept);
    for (int side = 0; side < 2; side++)
        p->controls[i] |= (uint32_t)(correction[side].w[0] & 1) << (2 * level + side);
    const struct dpf_block fix = choose(correction, right);
    for (int e = 0; e < 2; e++) {
        const uint64_t control = -(p->node[e][i].w[0] & 1);
        struct dpf_block next = choose(&p->child[e][2 * i], right);
        next.w[0] ^= fix.w[0] & control;
        next.w[1] ^= fix.w[1] & control;
        p->node[e][i] = next;
    }
}

/* What makes two words at rho's node differ by `unit` (1 or 0): t_1 - t_2 is +1 or -1 there, hence (-1)^t_2 (unit - word_1 +
 * word_2). */
static uint64_t word_correction(const struct paths *p, size_t i, uint64_t unit, uint64_t word1, uint64_t word2)
{
    const uint64_t negative = -(p->node[1][i].w[0] & 1);
    return ((unit - word1 + word2) ^ negative) - negative;
}

static enum status all_words(const struct dpf_generator *g, struct paths *p, size_t each)
{
    const enum status status = dpf_words(g, p->word[0], p->node[0], p->n, each);
    return status == STATUS_OK ? dpf_words(g, p->word[1], p->node[1], p->n, each) : status;
}

static enum status deal_values(const struct dpf_generator *g, struct paths *p, int depth)
{
    const enum status status = all_words(g, p, 1);
    for (size_t i = 0; i < p->n; i++) {
        const uint64_t value = word_correction(p, i, 1, p->word[0][i].w[0], p->word[1][i].w[0]);
        memcpy(key_of(p, i) + dpf_value_offset(p->bits, depth), &value, sizeof value);
    }
    return status;
}

static enum status deal_leaves(const struct dpf_generator *g, struct paths *p)
{
    const enum status status = all_words(g, p, DPF_LEAF / 2);
    for (size_t i = 0; i < p->n; i++) {
        uint64_t leaf[DPF_LEAF];
        for (unsigned j = 0; j < DPF_LEAF; j++) {
            const uint64_t unit = ((uint64_t)(j ^ (p->point[i] & (DPF_LEAF - 1))) - 1) >> 63;
            const size_t at = i * (DPF_LEAF / 2) + j / 2;
            leaf[j] = word_correction(p, i, unit, p->word[0][at].w[j % 2], p->word[1][at].w[j % 2]);
        }
        memcpy(key_of(p, i) + dpf_leaf_offset(p->bits) - DPF_CONTROL_BYTES, &p->controls[i], DPF_CONTROL_BYTES);
        memcpy(key_of(p, i) + dpf_leaf_offset(p->bits), leaf, sizeof leaf);
    }
    return status;
}

static enum status deal_some(const struct dpf_generator *g, struct paths *p, const unsigned char *seed1,
                             const unsigned char *seed2)
{
    static const struct dpf_block none[2];
    const int levels = dpf_levels(p->bits);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < p->n; i++) {
        p->node[0][i] = dpf_root(seed1 + i * DPF_SEED_BYTES, 1);
        p->node[1][i] = dpf_root(seed2 + i * DPF_SEED_BYTES, 2);
        p->controls[i] = 0;
    }
    for (int level = 0; status == STATUS_OK && level < levels; level++) {
        for (int e = 0; status == STATUS_OK && e < 2; e++)
            status = dpf_children(g, p->child[e], p->node[e], p->n, none);
        for (size_t i = 0; status == STATUS_OK && i < p->n; i++)
            deal_level(p, i, level);
        if (status == STATUS_OK && level + 1 < levels)
            status = deal_values(g, p, level + 1);
    }
    return status == STATUS_OK ? deal_leaves(g, p) : status;
}

enum status dpf_deal(unsigned char *keys, int bits, size_t count, const uint16_t *point, const unsigned char *seed1,
                     const unsigned char *seed2)
{
    struct dpf_generator g;
    struct paths p = {.bits = bits};
    enum status status = dpf_generator_open(&g);
    for (size_t done = 0; status == STATUS_OK && done < count; done += TOGETHER) {
        p.n = count - done < TOGETHER ? count - done : TOGETHER;
        p.key = keys + done * dpf_key_bytes(bits);
        p.point = point + done;
        status = deal_some(&g, &p, seed1 + done * DPF_SEED_BYTES, seed2 + done * DPF_SEED_BYTES);
    }
    sodium_memzero(&p, sizeof p);
    dpf_generator_close(&g);
    return status;
}

/* ---- expanding ---- */

struct expansion {
    struct dpf_block *node, *child; /* [2^levels], [2^levels * DPF_LEAF / 2] */
};

static enum status expand_one(const struct dpf_generator *g, struct expansion *x, uint64_t *hot, int bits, int party,
                              const unsigned char *seed, const unsigned char *key)
{
    const int levels = dpf_levels(bits);
    const size_t leaves = (size_t)1 << levels;
    uint64_t leaf[DPF_LEAF];
    enum status status = STATUS_OK;
    dpf_key_leaf(leaf, key, bits);
    x->node[0] = dpf_root(seed, party);
    for (int level = 0; status == STATUS_OK && level < levels; level++) {
        struct dpf_block correction[2];
        dpf_key_corrections(correction, key, bits, level);
        status = dpf_children(g, x->child, x->node, (size_t)1 << level, correction);
        memcpy(x->node, x->child, sizeof *x->node << (level + 1));
    }
    if (status == STATUS_OK)
        status = dpf_words(g, x->child, x->node, leaves, DPF_LEAF / 2);
    const uint64_t negative = -(uint64_t)(party == 2);
    for (size_t i = 0; status == STATUS_OK && i < leaves; i++)
        for (size_t j = 0; j < DPF_LEAF; j++) {
            const uint64_t word = x->child[(i * DPF_LEAF + j) / 2].w[j % 2];
            hot[i * DPF_LEAF + j] = ((word + (leaf[j] & -(x->node[i].w[0] & 1))) ^ negative) - negative;
        }
    return status;
}

enum status dpf_expand(uint64_t *hot, int bits, size_t count, int party, const unsigned char *seed, const unsigned char *keys)
{
    const size_t leaves = (size_t)1 << dpf_levels(bits), blocks = leaves * (1 + DPF_LEAF / 2) * sizeof(struct dpf_block);
    struct dpf_generator g;
    struct dpf_block *memory = malloc(blocks);
    struct expansion x = {memory, memory + leaves};
    enum status status = dpf_generator_open(&g);
    if (status == STATUS_OK && !memory)
        status = status_fail(STATUS_MEMORY, "out of memory while expanding table keys");
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = expand_one(&g, &x, hot + (i << bits), bits, party, seed + i * DPF_SEED_BYTES, keys + i * dpf_key_bytes(bits));
    if (memory)
        sodium_memzero(memory, blocks);
    free(memory);
    dpf_generator_close(&g);
    return status;
}
