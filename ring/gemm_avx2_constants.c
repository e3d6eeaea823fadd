/* The constants of the AVX2 kernel, computed from its moduli. */
#include "ring/gemm_avx2.h"

#ifdef GEMM_AVX2

#include <pthread.h>

#include "ring/parameters.h"

_Static_assert(RING_MASK_BITS <= 60 && RESIDUE_DEPTH <= 4096 && 4 * RING_GEMM_MASKED_DEEP <= 4096,
               "larger sums than 10 moduli tell apart");

/* The first numbers from 10500 downwards of which no two have a common divisor. */
static const int32_t moduli[AVX2_MODULI] = {10500, 10499, 10489, 10487, 10483, 10481,
                                            10477, 10471, 10469, 10463, 10459};

static struct gemm_avx2_constants constants[2]; /* of 11 moduli, of 10 */

/* x mod m in -m/2..m/2. */
static int32_t centred(int64_t x, int32_t m)
{
    const int32_t r = (int32_t)(x % m);
    return 2 * r > m ? r - m : 2 * r < -m ? r + m : r;
}

static uint32_t pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffff) | (uint32_t)high << 16;
}

static struct gemm_avx2_side side(int32_t m, int32_t factor)
{
    int32_t power[4];
    for (int j = 0; j < 4; j++)
        power[j] = centred(j == 0 ? factor : (int64_t)power[j - 1] * (1 << 16), m);
    return (struct gemm_avx2_side){.low = pair(power[0], power[1]),
                                   .high = pair(power[2], power[3]),
                                   .start =
                                       centred((int64_t)(power[0] + power[1] + power[2]) * (1 << 15), m)};
}

/* What is multiplied with number i of what a result is made of. */
static void put_coefficient(struct gemm_avx2_constants *out, size_t i, ring_u128 coefficient, uint32_t weight)
{
    for (size_t word = 0; word < AVX2_WORDS; word++) {
        const uint32_t digit = (uint32_t)coefficient & 0xffff; /* signed: what it lacks is carried */
        out->word[word][i / 2] |= digit << 16 * (i % 2);
        coefficient = (coefficient >> 16) + (digit >> 15);
    }
    out->weight[i / 2] |= weight << 16 * (i % 2);
}

static void make(struct gemm_avx2_constants *out, size_t count)
{
    ring_u128 all = 0;
    out->all.count = count;
    for (size_t i = 0; i < count; i++) {
        const int32_t m = moduli[i];
        const struct residue_factor factor = residue_factor(moduli, count, i);
        all = factor.others * (ring_u128)m;
        out->modulus[i] = (struct gemm_avx2_modulus){.m = (int16_t)m,
                                                     .words = pair(1, centred(1 << 16, m)),
                                                     .inverse = 1.0f / (float)m,
                                                     .a = side(m, 1),
                                                     .b = side(m, factor.inverse)};
        put_coefficient(out, i, factor.others, ((1u << 29) / (uint32_t)m + 1) / 2);
    }
    put_coefficient(out, AVX2_MODULI, -all, 0);
}

static void make_both(void)
{
    make(&constants[0], AVX2_MODULI);
    make(&constants[1], AVX2_MODULI - 1);
}

const struct residue_constants *gemm_avx2_constants(bool masked)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_both);
    return &constants[masked].all;
}

#endif
