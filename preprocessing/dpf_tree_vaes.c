/* Nodes and words of the tree, two AES blocks in a register: one node and both of its children. (Four would need AVX-512, and are no
 * faster: processors with both start twice as many instructions of two blocks.) */
#include "preprocessing/dpf_tree.h"

#if defined(__x86_64__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 9)

#include <immintrin.h>

#define TARGET __attribute__((target("aes,vaes,avx2")))
#define INLINE static inline __attribute__((always_inline)) TARGET

/* ---- round keys ---- */

/* The next round key. assisted: what the processor makes of the last one and the round's constant, a literal. */
INLINE __m128i next_key(__m128i key, __m128i assisted)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, _mm_shuffle_epi32(assisted, 0xff));
}

TARGET static void expand_key(unsigned char out[DPF_ROUND_KEYS][16], const unsigned char key[16])
{
    __m128i k[DPF_ROUND_KEYS];
    k[0] = _mm_loadu_si128((const __m128i *)(const void *)key);
    k[1] = next_key(k[0], _mm_aeskeygenassist_si128(k[0], 0x01));
    k[2] = next_key(k[1], _mm_aeskeygenassist_si128(k[1], 0x02));
    k[3] = next_key(k[2], _mm_aeskeygenassist_si128(k[2], 0x04));
    k[4] = next_key(k[3], _mm_aeskeygenassist_si128(k[3], 0x08));
    k[5] = next_key(k[4], _mm_aeskeygenassist_si128(k[4], 0x10));
    k[6] = next_key(k[5], _mm_aeskeygenassist_si128(k[5], 0x20));
    k[7] = next_key(k[6], _mm_aeskeygenassist_si128(k[6], 0x40));
    k[8] = next_key(k[7], _mm_aeskeygenassist_si128(k[7], 0x80));
    k[9] = next_key(k[8], _mm_aeskeygenassist_si128(k[8], 0x1b));
    k[10] = next_key(k[9], _mm_aeskeygenassist_si128(k[9], 0x36));
    for (int i = 0; i < DPF_ROUND_KEYS; i++)
        _mm_storeu_si128((__m128i *)(void *)out[i], k[i]);
}

bool dpf_vaes_open(struct dpf_generator *g, const unsigned char child[16], const unsigned char leaf[16])
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("vaes") || !__builtin_cpu_supports("avx2"))
        return false;
    expand_key(g->child_key, child);
    expand_key(g->leaf_key, leaf);
    return true;
}

/* ---- eight registers, sixteen blocks, at a time ---- */

#define REGISTERS 8

INLINE __m256i load(const void *from)
{
    return _mm256_loadu_si256(from);
}

/* A block in both halves. */
INLINE __m256i load_twice(const void *block)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)block));
}

/* v = AES(v) ^ v. */
INLINE void hash(__m256i v[REGISTERS], const unsigned char key[DPF_ROUND_KEYS][16])
{
    __m256i x[REGISTERS], k = load_twice(key[0]);
#pragma GCC unroll 8
    for (int i = 0; i < REGISTERS; i++)
        x[i] = _mm256_xor_si256(v[i], k);
    for (int round = 1; round < DPF_ROUND_KEYS - 1; round++) {
        k = load_twice(key[round]);
#pragma GCC unroll 8
        for (int i = 0; i < REGISTERS; i++)
            x[i] = _mm256_aesenc_epi128(x[i], k);
    }
    k = load_twice(key[DPF_ROUND_KEYS - 1]);
#pragma GCC unroll 8
    for (int i = 0; i < REGISTERS; i++)
        v[i] = _mm256_xor_si256(v[i], _mm256_aesenclast_epi128(x[i], k));
}

/* Seeds, with a number instead of their control bits. */
INLINE __m256i numbered(__m256i node, __m256i number)
{
    return _mm256_or_si256(_mm256_andnot_si256(_mm256_set_epi64x(0, 1, 0, 1), node), number);
}

/* All ones in a half whose control bit is set. */
INLINE __m256i control(__m256i node)
{
    const __m256i bit = _mm256_and_si256(node, _mm256_set_epi64x(0, 1, 0, 1));
    return _mm256_shuffle_epi32(_mm256_sub_epi64(_mm256_setzero_si256(), bit), 0x44);
}

/* out [2n]: of each of n <= REGISTERS nodes, with 0 and with 1 in its lowest bit; plus what the node's control bit selects of fix. */
INLINE void expand(struct dpf_block *out, const struct dpf_block *node, size_t n, const unsigned char key[DPF_ROUND_KEYS][16],
                   __m256i fix)
{
    __m256i v[REGISTERS];
#pragma GCC unroll 8
    for (size_t i = 0; i < REGISTERS; i++)
        v[i] = i < n ? numbered(load_twice(node + i), _mm256_set_epi64x(0, 1, 0, 0)) : _mm256_setzero_si256();
    hash(v, key);
#pragma GCC unroll 8
    for (size_t i = 0; i < REGISTERS; i++)
        if (i < n)
            _mm256_storeu_si256((__m256i *)(void *)(out + 2 * i),
                                _mm256_xor_si256(v[i], _mm256_and_si256(control(load_twice(node + i)), fix)));
}

INLINE void expand_all(struct dpf_block *out, const struct dpf_block *node, size_t n,
                       const unsigned char key[DPF_ROUND_KEYS][16], __m256i fix)
{
    for (; n >= REGISTERS; n -= REGISTERS, node += REGISTERS, out += 2 * REGISTERS)
        expand(out, node, REGISTERS, key, fix);
    if (n > 0)
        expand(out, node, n, key, fix);
}

TARGET void dpf_vaes_children(const struct dpf_generator *g, struct dpf_block *child, const struct dpf_block *node, size_t n,
                              const struct dpf_block correction[2])
{
    expand_all(child, node, n, g->child_key, load(correction));
}

/* out [n]: of n <= 2 REGISTERS nodes, with 0 in the lowest bit. */
INLINE void words(struct dpf_block *out, const struct dpf_block *node, size_t n, const unsigned char key[DPF_ROUND_KEYS][16])
{
    __m256i v[REGISTERS];
#pragma GCC unroll 8
    for (size_t i = 0; i < REGISTERS; i++)
        v[i] = numbered(2 * i + 1 < n ? load(node + 2 * i)
                        : 2 * i < n ? _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(node + 2 * i)))
                                    : _mm256_setzero_si256(),
                        _mm256_setzero_si256());
    hash(v, key);
#pragma GCC unroll 8
    for (size_t i = 0; i < REGISTERS; i++)
        if (2 * i + 1 < n)
            _mm256_storeu_si256((__m256i *)(void *)(out + 2 * i), v[i]);
        else if (2 * i < n)
            _mm_storeu_si128((__m128i *)(void *)(out + 2 * i), _mm256_castsi256_si128(v[i]));
}

TARGET void dpf_vaes_words(const struct dpf_generator *g, struct dpf_block *word, const struct dpf_block *node, size_t n,
                           size_t each)
{
    if (each == 2) {
        expand_all(word, node, n, g->leaf_key, _mm256_setzero_si256());
        return;
    }
    for (; n > 2 * REGISTERS; n -= 2 * REGISTERS, node += 2 * REGISTERS, word += 2 * REGISTERS)
        words(word, node, 2 * REGISTERS, g->leaf_key);
    words(word, node, n, g->leaf_key);
}

#else

bool dpf_vaes_open(struct dpf_generator *g, const unsigned char child[16], const unsigned char leaf[16])
{
    (void)g, (void)child, (void)leaf;
    return false;
}

void dpf_vaes_children(const struct dpf_generator *g, struct dpf_block *child, const struct dpf_block *node, size_t n,
                       const struct dpf_block correction[2])
{
    (void)g, (void)child, (void)node, (void)n, (void)correction;
}

void dpf_vaes_words(const struct dpf_generator *g, struct dpf_block *word, const struct dpf_block *node, size_t n, size_t each)
{
    (void)g, (void)word, (void)node, (void)n, (void)each;
}

#endif
