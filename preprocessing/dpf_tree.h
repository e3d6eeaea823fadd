/* The tree under dpf.c and dpf_lookup.c: nodes, the one-way function, and the layout of a key. Private to preprocessing/.
 *
 * A node is a seed of 127 bits and, in the lowest bit, its control bit. Its children and its words are AES under public keys,
 * as a one-way function of the seed with its lowest bit set to a number:
 *
 *     raw child s     AES_child(seed | s) ^ (seed | s),   s = 0, 1;  its lowest bit is its control bit
 *     child s         raw child s, plus correction s if the node's control bit is set
 *     word pair j     AES_leaf(seed | j) ^ (seed | j),    j = 0, 1
 *
 * Processors with VAES make them two at a time; TREFOIL_AES=portable in the environment keeps them from it. */
#ifndef TREFOIL_PREPROCESSING_DPF_TREE_H
#define TREFOIL_PREPROCESSING_DPF_TREE_H

#include <stdbool.h>
#include <string.h>

#include <openssl/evp.h>

#include "preprocessing/dpf.h"

struct dpf_block {
    uint64_t w[2];
};

#define DPF_ROUND_KEYS 11

struct dpf_generator {
    EVP_CIPHER_CTX *child, *leaf;
    bool wide; /* two at a time, by these: */
    unsigned char child_key[DPF_ROUND_KEYS][16], leaf_key[DPF_ROUND_KEYS][16];
};
STATUS_MUST_USE enum status dpf_generator_open(struct dpf_generator *out);
void dpf_generator_close(struct dpf_generator *generator);

/* child [2n]: of node [n]. correction [2]: of the left and the right child, control bits included. */
STATUS_MUST_USE enum status dpf_children(const struct dpf_generator *generator, struct dpf_block *child,
                                         const struct dpf_block *node, size_t n, const struct dpf_block correction[2]);
/* word [n][each]: the first each = 1 or 2 word pairs of node [n]; uncorrected. */
STATUS_MUST_USE enum status dpf_words(const struct dpf_generator *generator, struct dpf_block *word,
                                      const struct dpf_block *node, size_t n, size_t each);

/* The same with VAES; only where dpf_vaes_open said so. */
bool dpf_vaes_open(struct dpf_generator *generator, const unsigned char child[16], const unsigned char leaf[16]);
void dpf_vaes_children(const struct dpf_generator *generator, struct dpf_block *child, const struct dpf_block *node, size_t n,
                       const struct dpf_block correction[2]);
void dpf_vaes_words(const struct dpf_generator *generator, struct dpf_block *word, const struct dpf_block *node, size_t n,
                    size_t each);

/* ---- a key: levels corrections, control bits, the words of a leaf, a word for each depth in between ---- */

#define DPF_CONTROL_BYTES 4 /* 2 * 14 bits at most */

static inline int dpf_levels(int bits)
{
    return bits - DPF_LEAF_BITS;
}

static inline struct dpf_block dpf_root(const unsigned char *seed, int party)
{
    struct dpf_block b;
    memcpy(&b, seed, sizeof b);
    b.w[0] = (b.w[0] & ~(uint64_t)1) | (party == 2);
    return b;
}

static inline size_t dpf_leaf_offset(int bits)
{
    return (size_t)dpf_levels(bits) * sizeof(struct dpf_block) + DPF_CONTROL_BYTES;
}

/* Of the children of depth `level`. */
static inline void dpf_key_corrections(struct dpf_block out[2], const unsigned char *key, int bits, int level)
{
    uint32_t controls;
    memcpy(&controls, key + dpf_leaf_offset(bits) - DPF_CONTROL_BYTES, sizeof controls);
    for (int side = 0; side < 2; side++) {
        memcpy(&out[side], key + (size_t)level * sizeof *out, sizeof *out);
        out[side].w[0] ^= controls >> (2 * level + side) & 1;
    }
}

static inline void dpf_key_leaf(uint64_t out[DPF_LEAF], const unsigned char *key, int bits)
{
    memcpy(out, key + dpf_leaf_offset(bits), DPF_LEAF * sizeof *out);
}

/* Where the word of the nodes of a depth in 1..levels - 1 lies. */
static inline size_t dpf_value_offset(int bits, int depth)
{
    return dpf_leaf_offset(bits) + DPF_LEAF * sizeof(uint64_t) + (size_t)(depth - 1) * sizeof(uint64_t);
}

#endif
