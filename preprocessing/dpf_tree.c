#include "preprocessing/dpf_tree.h"

#include <stdlib.h>

#include <sodium.h>

#define TOGETHER 64 /* blocks given to libcrypto at a time */

static EVP_CIPHER_CTX *fixed_key(unsigned char key[16], const char *text)
{
    crypto_generichash(key, 16, (const unsigned char *)text, strlen(text), NULL, 0);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, key, NULL) == 1) {
        EVP_CIPHER_CTX_set_padding(context, 0);
        return context;
    }
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

enum status dpf_generator_open(struct dpf_generator *g)
{
    const char *choice = getenv("TREFOIL_AES");
    unsigned char child[16], leaf[16];
    g->child = fixed_key(child, "trefoil dpf children 1");
    g->leaf = fixed_key(leaf, "trefoil dpf leaves 1");
    g->wide = !(choice && strcmp(choice, "portable") == 0) && dpf_vaes_open(g, child, leaf);
    return g->child && g->leaf ? STATUS_OK : status_fail(STATUS_MEMORY, "AES of libcrypto could not be set up");
}

void dpf_generator_close(struct dpf_generator *g)
{
    EVP_CIPHER_CTX_free(g->child);
    EVP_CIPHER_CTX_free(g->leaf);
    g->child = g->leaf = NULL;
}

/* out[i] = AES(in[i]) ^ in[i]. */
static enum status hash_blocks(EVP_CIPHER_CTX *context, struct dpf_block *out, const struct dpf_block *in, size_t n)
{
    int written = 0;
    if (EVP_EncryptUpdate(context, (unsigned char *)out, &written, (const unsigned char *)in, (int)(n * sizeof *in)) != 1)
        return status_fail(STATUS_MEMORY, "AES of libcrypto failed");
    for (size_t i = 0; i < n; i++) {
        out[i].w[0] ^= in[i].w[0];
        out[i].w[1] ^= in[i].w[1];
    }
    return STATUS_OK;
}

/* out [n][each]: of node i with each number in its lowest bit. */
static enum status hash_nodes(EVP_CIPHER_CTX *context, struct dpf_block *out, const struct dpf_block *node, size_t n,
                              size_t each)
{
    struct dpf_block in[TOGETHER];
    const size_t step = TOGETHER / each;
    enum status status = STATUS_OK;
    for (size_t done = 0; status == STATUS_OK && done < n; done += step) {
        const size_t now = n - done < step ? n - done : step;
        for (size_t i = 0; i < now * each; i++) {
            in[i] = node[done + i / each];
            in[i].w[0] = (in[i].w[0] & ~(uint64_t)1) | i % each;
        }
        status = hash_blocks(context, out + done * each, in, now * each);
    }
    sodium_memzero(in, sizeof in);
    return status;
}

enum status dpf_children(const struct dpf_generator *g, struct dpf_block *child, const struct dpf_block *node, size_t n,
                         const struct dpf_block correction[2])
{
    if (g->wide) {
        dpf_vaes_children(g, child, node, n, correction);
        return STATUS_OK;
    }
    const enum status status = hash_nodes(g->child, child, node, n, 2);
    for (size_t i = 0; i < 2 * n; i++) {
        const uint64_t control = -(node[i / 2].w[0] & 1);
        child[i].w[0] ^= correction[i % 2].w[0] & control;
        child[i].w[1] ^= correction[i % 2].w[1] & control;
    }
    return status;
}

enum status dpf_words(const struct dpf_generator *g, struct dpf_block *word, const struct dpf_block *node, size_t n, size_t each)
{
    if (!g->wide)
        return hash_nodes(g->leaf, word, node, n, each);
    dpf_vaes_words(g, word, node, n, each);
    return STATUS_OK;
}
