#include "preprocessing/dpf.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

/* One node or correction word: a seed of 127 bits; the lowest bit is kept clear, it separates the two
 * children. */
struct block {
    uint64_t w[2];
};

/* A key on the wire: a block for every level, the control bits (two a level, left then right), the words of a
 * leaf. */
#define CONTROL_BYTES 4 /* 2 * 14 bits at most */

static int levels_of(int bits)
{
    return bits - DPF_LEAF_BITS;
}

size_t dpf_key_bytes(int bits)
{
    return (size_t)levels_of(bits) * sizeof(struct block) + CONTROL_BYTES + DPF_LEAF * sizeof(uint64_t);
}

/* ---- the generator: AES under public constants ---- */

struct generator {
    EVP_CIPHER_CTX *child, *leaf;
};

static EVP_CIPHER_CTX *fixed_key(const char *text)
{
    unsigned char key[16];
    crypto_generichash(key, sizeof key, (const unsigned char *)text, strlen(text), NULL, 0);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, key, NULL) == 1) {
        EVP_CIPHER_CTX_set_padding(context, 0);
        return context;
    }
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

static enum status generator_open(struct generator *g)
{
    g->child = fixed_key("trefoil dpf children 1");
    g->leaf = fixed_key("trefoil dpf leaves 1");
    return g->child && g->leaf ? STATUS_OK
                               : status_fail(STATUS_MEMORY, "AES of libcrypto could not be set up");
}

static void generator_close(struct generator *g)
{
    EVP_CIPHER_CTX_free(g->child);
    EVP_CIPHER_CTX_free(g->leaf);
}

/* out[i] = AES(in[i]) ^ in[i]. */
static enum status hash_blocks(EVP_CIPHER_CTX *context, struct block *out, const struct block *in, size_t n)
{
    int written = 0;
    if (EVP_EncryptUpdate(context, (unsigned char *)out, &written, (const unsigned char *)in,
                          (int)(n * sizeof *in)) != 1)
        return status_fail(STATUS_MEMORY, "AES of libcrypto failed");
    for (size_t i = 0; i < n; i++) {
        out[i].w[0] ^= in[i].w[0];
        out[i].w[1] ^= in[i].w[1];
    }
    return STATUS_OK;
}

/* child[2i], child[2i+1]: the raw children of node[i]; scratch [2n]. */
static enum status raw_children(const struct generator *g, struct block *child, struct block *scratch,
                                const struct block *node, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        scratch[2 * i] = scratch[2 * i + 1] = node[i];
        scratch[2 * i + 1].w[0] |= 1;
    }
    return hash_blocks(g->child, child, scratch, 2 * n);
}

/* word[i][DPF_LEAF]: the words of leaf i; scratch [n * DPF_LEAF / 2]. */
static enum status leaf_words(const struct generator *g, struct block *word, struct block *scratch,
                              const struct block *node, size_t n)
{
    const size_t each = DPF_LEAF / 2;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < each; j++) {
            scratch[i * each + j] = node[i];
            scratch[i * each + j].w[0] |= j;
        }
    return hash_blocks(g->leaf, word, scratch, n * each);
}

/* The lowest bit of a raw child is its control bit. */
static inline uint64_t take_control(struct block *b)
{
    const uint64_t control = b->w[0] & 1;
    b->w[0] &= ~(uint64_t)1;
    return control;
}

static inline void xor_masked(struct block *a, const struct block *b, uint64_t bit)
{
    a->w[0] ^= b->w[0] & -bit;
    a->w[1] ^= b->w[1] & -bit;
}

/* ---- dealing ---- */

static void root(struct block *out, const unsigned char *seed)
{
    memcpy(out, seed, sizeof *out);
    out->w[0] &= ~(uint64_t)1;
}

/* One level of one key: node and control of both parties move to the child on rho's path. */
static enum status deal_level(const struct generator *g, struct block node[2], uint64_t control[2],
                              uint64_t right, struct block *correction, uint64_t bits[2])
{
    struct block child[2][2], scratch[2];
    uint64_t t[2][2];
    for (int p = 0; p < 2; p++) {
        const enum status status = raw_children(g, child[p], scratch, &node[p], 1);
        if (status != STATUS_OK)
            return status;
        for (int side = 0; side < 2; side++)
            t[p][side] = take_control(&child[p][side]);
    }
    /* The child that rho does not pass through must become equal for both: its difference is the correction.
     */
    for (int w = 0; w < 2; w++) {
        const uint64_t left = child[0][0].w[w] ^ child[1][0].w[w],
                       other = child[0][1].w[w] ^ child[1][1].w[w];
        correction->w[w] = (left & -right) | (other & ~-right);
    }
    bits[0] = t[0][0] ^ t[1][0] ^ right ^ 1;
    bits[1] = t[0][1] ^ t[1][1] ^ right;
    for (int p = 0; p < 2; p++) {
        struct block next = child[p][0];
        struct block difference = {{next.w[0] ^ child[p][1].w[0], next.w[1] ^ child[p][1].w[1]}};
        xor_masked(&next, &difference, right);
        xor_masked(&next, correction, control[p]);
        const uint64_t own = t[p][0] ^ ((t[p][0] ^ t[p][1]) & -right);
        const uint64_t fix = bits[0] ^ ((bits[0] ^ bits[1]) & -right);
        node[p] = next;
        control[p] = own ^ (fix & control[p]);
    }
    sodium_memzero(child, sizeof child);
    sodium_memzero(scratch, sizeof scratch);
    return STATUS_OK;
}

static enum status deal_leaf(const struct generator *g, const struct block node[2], const uint64_t control[2],
                             unsigned low, uint64_t correction[DPF_LEAF])
{
    union {
        struct block b[DPF_LEAF / 2];
        uint64_t w[DPF_LEAF];
    } word[2];
    struct block scratch[DPF_LEAF / 2];
    for (int p = 0; p < 2; p++) {
        const enum status status = leaf_words(g, word[p].b, scratch, &node[p], 1);
        if (status != STATUS_OK)
            return status;
    }
    /* t_1 - t_2 is +1 or -1 on rho's leaf: (-1)^t_2 (unit - word_1 + word_2). */
    const uint64_t negative = -control[1];
    for (unsigned j = 0; j < DPF_LEAF; j++) {
        const uint64_t unit = ((uint64_t)(j ^ low) - 1) >> 63;
        const uint64_t value = unit - word[0].w[j] + word[1].w[j];
        correction[j] = (value ^ negative) - negative;
    }
    sodium_memzero(word, sizeof word);
    sodium_memzero(scratch, sizeof scratch);
    return STATUS_OK;
}

static enum status deal_one(const struct generator *g, unsigned char *key, int bits, unsigned point,
                            const unsigned char *seed1, const unsigned char *seed2)
{
    const int levels = levels_of(bits);
    struct block node[2], correction;
    uint64_t control[2] = {0, 1}, side[2], leaf[DPF_LEAF];
    uint32_t controls = 0;
    root(&node[0], seed1);
    root(&node[1], seed2);
    for (int level = 0; level < levels; level++) {
        const uint64_t right = point >> (bits - 1 - level) & 1;
        const enum status status = deal_level(g, node, control, right, &correction, side);
        if (status != STATUS_OK)
            return status;
        memcpy(key + (size_t)level * sizeof correction, &correction, sizeof correction);
        controls |= (uint32_t)(side[0] | side[1] << 1) << 2 * level;
    }
    key += (size_t)levels * sizeof correction;
    memcpy(key, &controls, CONTROL_BYTES);
    const enum status status = deal_leaf(g, node, control, point & (DPF_LEAF - 1), leaf);
    memcpy(key + CONTROL_BYTES, leaf, sizeof leaf);
    sodium_memzero(node, sizeof node);
    return status;
}

enum status dpf_deal(unsigned char *keys, int bits, size_t count, const uint16_t *point,
                     const unsigned char *seed1, const unsigned char *seed2)
{
    struct generator g;
    enum status status = generator_open(&g);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = deal_one(&g, keys + i * dpf_key_bytes(bits), bits, point[i], seed1 + i * DPF_SEED_BYTES,
                          seed2 + i * DPF_SEED_BYTES);
    generator_close(&g);
    return status;
}

/* ---- expanding ---- */

struct expansion {
    struct block *node, *child, *scratch; /* [2^levels] or more each */
    uint64_t *control, *next;             /* [2^levels] */
};

static void expansion_free(struct expansion *x, size_t leaves)
{
    struct block *const blocks[3] = {x->node, x->child, x->scratch};
    for (int i = 0; i < 3; i++) {
        if (blocks[i])
            sodium_memzero(blocks[i], leaves * DPF_LEAF / 2 * sizeof(struct block));
        free(blocks[i]);
    }
    uint64_t *const controls[2] = {x->control, x->next};
    for (int i = 0; i < 2; i++) {
        if (controls[i])
            sodium_memzero(controls[i], leaves * sizeof *controls[i]);
        free(controls[i]);
    }
}

static enum status expansion_allocate(struct expansion *x, size_t leaves)
{
    const size_t blocks = leaves * DPF_LEAF / 2 * sizeof(struct block);
    x->node = malloc(blocks);
    x->child = malloc(blocks);
    x->scratch = malloc(blocks);
    x->control = malloc(leaves * sizeof(uint64_t));
    x->next = malloc(leaves * sizeof(uint64_t));
    if (x->node && x->child && x->scratch && x->control && x->next)
        return STATUS_OK;
    return status_fail(STATUS_MEMORY, "out of memory while expanding table keys");
}

static void swap_levels(struct expansion *x)
{
    struct block *b = x->node;
    uint64_t *t = x->control;
    x->node = x->child;
    x->child = b;
    x->control = x->next;
    x->next = t;
}

static enum status expand_level(const struct generator *g, struct expansion *x, size_t n,
                                const struct block *correction, const uint64_t bits[2])
{
    const enum status status = raw_children(g, x->child, x->scratch, x->node, n);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        for (size_t side = 0; side < 2; side++) {
            struct block *child = &x->child[2 * i + side];
            const uint64_t own = take_control(child);
            xor_masked(child, correction, x->control[i]);
            x->next[2 * i + side] = own ^ (bits[side] & x->control[i]);
        }
    swap_levels(x);
    return STATUS_OK;
}

static enum status expand_one(const struct generator *g, struct expansion *x, uint64_t *hot, int bits,
                              int party, const unsigned char *seed, const unsigned char *key)
{
    const int levels = levels_of(bits);
    uint32_t controls;
    uint64_t leaf[DPF_LEAF];
    memcpy(&controls, key + (size_t)levels * sizeof(struct block), CONTROL_BYTES);
    memcpy(leaf, key + (size_t)levels * sizeof(struct block) + CONTROL_BYTES, sizeof leaf);
    root(&x->node[0], seed);
    x->control[0] = party == 2;
    for (int level = 0; level < levels; level++) {
        struct block correction;
        memcpy(&correction, key + (size_t)level * sizeof correction, sizeof correction);
        const uint64_t side[2] = {controls >> 2 * level & 1, controls >> (2 * level + 1) & 1};
        const enum status status = expand_level(g, x, (size_t)1 << level, &correction, side);
        if (status != STATUS_OK)
            return status;
    }
    const size_t leaves = (size_t)1 << levels;
    const enum status status = leaf_words(g, x->child, x->scratch, x->node, leaves);
    if (status != STATUS_OK)
        return status;
    const uint64_t *word = (const uint64_t *)x->child;
    const uint64_t negative = -(uint64_t)(party == 2);
    for (size_t i = 0; i < leaves; i++)
        for (size_t j = 0; j < DPF_LEAF; j++) {
            const uint64_t value = word[i * DPF_LEAF + j] + (leaf[j] & -x->control[i]);
            hot[i * DPF_LEAF + j] = (value ^ negative) - negative;
        }
    return STATUS_OK;
}

enum status dpf_expand(uint64_t *hot, int bits, size_t count, int party, const unsigned char *seed,
                       const unsigned char *keys)
{
    struct generator g;
    struct expansion x = {0};
    const size_t leaves = (size_t)1 << levels_of(bits);
    enum status status = generator_open(&g);
    if (status == STATUS_OK)
        status = expansion_allocate(&x, leaves);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = expand_one(&g, &x, hot + (i << bits), bits, party, seed + i * DPF_SEED_BYTES,
                            keys + i * dpf_key_bytes(bits));
    expansion_free(&x, leaves);
    generator_close(&g);
    return status;
}
