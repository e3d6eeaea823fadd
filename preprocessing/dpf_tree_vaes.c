/* Nodes and words of the tree, four AES blocks in a register. */
#include "preprocessing/dpf_tree.h"

#if defined(__x86_64__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 9)

#include <immintrin.h>

#define TARGET __attribute__((target("aes,vaes,avx512f,avx512bw,avx512dq,avx512vl")))
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
    if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("vaes") || !__builtin_cpu_supports("avx512f") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return false;
    expand_key(g->child_key, child);
    expand_key(g->leaf_key, leaf);
    return true;
}

/* ---- four registers, sixteen blocks, at a time ---- */

#define REGISTERS 4
#define BLOCKS (4 * REGISTERS)

struct keys {
    __m512i k[DPF_ROUND_KEYS];
};

INLINE struct keys keys_load(const unsigned char key[DPF_ROUND_KEYS][16])
{
    struct keys out;
    for (int i = 0; i < DPF_ROUND_KEYS; i++)
        out.k[i] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)key[i]));
    return out;
}

/* v = AES(v) ^ v. */
INLINE void hash(__m512i v[REGISTERS], const struct keys *keys)
{
    __m512i x[REGISTERS];
    for (int i = 0; i < REGISTERS; i++)
        x[i] = _mm512_xor_si512(v[i], keys->k[0]);
    for (int round = 1; round < DPF_ROUND_KEYS - 1; round++)
        for (int i = 0; i < REGISTERS; i++)
            x[i] = _mm512_aesenc_epi128(x[i], keys->k[round]);
    for (int i = 0; i < REGISTERS; i++)
        v[i] = _mm512_xor_si512(v[i], _mm512_aesenclast_epi128(x[i], keys->k[DPF_ROUND_KEYS - 1]));
}

/* The 64-bit lanes of n blocks. */
INLINE __mmask8 lanes(size_t n)
{
    return n >= 4 ? 0xff : (__mmask8)((1u << 2 * n) - 1);
}

INLINE size_t from(size_t n, size_t first)
{
    return n > first ? n - first : 0;
}

/* Two nodes, of which n exist, each of them twice in a row. */
INLINE __m512i load_twice(const struct dpf_block *node, size_t n)
{
    const __m256i pair = _mm256_maskz_loadu_epi64((__mmask8)(lanes(n) & 0xf), node);
    return _mm512_permutexvar_epi64(_mm512_set_epi64(3, 2, 3, 2, 1, 0, 1, 0), _mm512_castsi256_si512(pair));
}

TARGET void dpf_vaes_children(const struct dpf_generator *g, struct dpf_block *child, const struct dpf_block *node, size_t n,
                              const struct dpf_block correction[2])
{
    const struct keys keys = keys_load(g->child_key);
    const __m512i lowest = _mm512_set_epi64(0, 1, 0, 1, 0, 1, 0, 1), number = _mm512_set_epi64(0, 1, 0, 0, 0, 1, 0, 0);
    const __m512i fix = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)correction));
    for (size_t done = 0; done < n; done += BLOCKS / 2) {
        __m512i v[REGISTERS], control[REGISTERS];
        for (size_t i = 0; i < REGISTERS; i++) {
            const __m512i both = load_twice(node + done + 2 * i, from(n, done + 2 * i));
            const __m512i bit = _mm512_sub_epi64(_mm512_setzero_si512(), _mm512_and_si512(both, lowest));
            control[i] = _mm512_shuffle_epi32(bit, _MM_PERM_BABA);
            v[i] = _mm512_or_si512(_mm512_andnot_si512(lowest, both), number);
        }
        hash(v, &keys);
        for (size_t i = 0; i < REGISTERS; i++)
            _mm512_mask_storeu_epi64(child + 2 * (done + 2 * i), lanes(2 * from(n, done + 2 * i)),
                                     _mm512_xor_si512(v[i], _mm512_and_si512(control[i], fix)));
    }
}

TARGET void dpf_vaes_words(const struct dpf_generator *g, struct dpf_block *word, const struct dpf_block *node, size_t n,
                           size_t each)
{
    const struct keys keys = keys_load(g->leaf_key);
    const __m512i lowest = _mm512_set_epi64(0, 1, 0, 1, 0, 1, 0, 1);
    const __m512i number = each == 2 ? _mm512_set_epi64(0, 1, 0, 0, 0, 1, 0, 0) : _mm512_setzero_si512();
    const size_t blocks = n * each;
    for (size_t done = 0; done < blocks; done += BLOCKS) {
        __m512i v[REGISTERS];
        for (size_t i = 0; i < REGISTERS; i++) {
            const size_t at = done + 4 * i, left = from(blocks, at);
            v[i] = each == 2 ? load_twice(node + at / 2, left / 2) : _mm512_maskz_loadu_epi64(lanes(left), node + at);
            v[i] = _mm512_or_si512(_mm512_andnot_si512(lowest, v[i]), number);
        }
        hash(v, &keys);
        for (size_t i = 0; i < REGISTERS; i++)
            _mm512_mask_storeu_epi64(word + done + 4 * i, lanes(from(blocks, done + 4 * i)), v[i]);
    }
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
