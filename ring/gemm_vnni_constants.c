/* The constants of the VNNI kernel, computed from its moduli. */
#include "ring/gemm_vnni.h"

#ifdef GEMM_VNNI

#include <pthread.h>

#include "ring/parameters.h"

_Static_assert(RING_MASK_BITS <= 60 && RESIDUE_DEPTH <= 4096 && 4 * RING_GEMM_MASKED_DEEP <= 4096,
               "larger sums than 17 moduli tell apart");

/* Of all sets of 18 (or, without the last, 17) numbers up to 256 of which no two have a common divisor, that with the largest
 * product. */
static const int32_t moduli[MODULI] = {256, 253, 251, 249, 247, 241, 239, 235, 233,
                                       229, 227, 223, 217, 211, 199, 197, 193, 191};

static struct gemm_vnni_constants constants[2]; /* of 18 moduli, of 17 */

/* x mod m, m odd: -(m-1)/2..(m-1)/2; m = 256: -128..127. */
static int32_t centred(int32_t x, int32_t m)
{
    x %= m;
    return 2 * x < m ? x : x - m;
}

/* factor 2^(8 j) mod m as signed bytes. */
static struct gemm_vnni_side side(int32_t m, int32_t factor, int32_t offset)
{
    struct gemm_vnni_side out = {.offset = (int8_t)offset};
    int32_t power = factor % m;
    for (int j = 0; j < 8; j++) {
        const uint32_t byte = (uint32_t)centred(power, m) & 0xff;
        if (j < 4)
            out.low |= byte << 8 * j;
        else
            out.high |= byte << 8 * (j - 4);
        if (j == 7)
            out.start = -(128 * power % m) - offset;
        power = 256 * power % m;
    }
    return out;
}

/* What is multiplied with number i of what a result is made of. */
static void put_coefficient(struct gemm_vnni_constants *out, size_t i, ring_u128 coefficient, uint32_t weight)
{
    for (size_t limb = 0; limb < GEMM_VNNI_LIMBS; limb++)
        out->limb[limb][i / 4] |= ((uint32_t)(coefficient >> 8 * limb) & 0xff) << 8 * (i % 4);
    out->weight[i / 4] |= weight << 8 * (i % 4);
}

static void make(struct gemm_vnni_constants *out, size_t count)
{
    ring_u128 all = 0;
    out->all.count = count;
    for (size_t i = 0; i < count; i++) {
        const int32_t m = moduli[i];
        const struct residue_factor factor = residue_factor(moduli, count, i);
        all = factor.others * (ring_u128)m;
        out->modulus[i] = (struct gemm_vnni_modulus){.minus_m = (uint32_t)-m & 0xffff,
                                                     .words = (uint32_t)centred(1 << 16, m) << 16 | 1,
                                                     .inverse = 1.0f / (float)m,
                                                     .a = side(m, 1, 0),
                                                     .b = side(m, factor.inverse, (m - 1) / 2)};
        put_coefficient(out, i, factor.others, ((1u << 16) / (uint32_t)m + 1) / 2);
    }
    put_coefficient(out, MODULI, -all, 0);
}

static void make_both(void)
{
    make(&constants[0], MODULI);
    make(&constants[1], MODULI - 1);
}

const struct gemm_vnni_constants *gemm_vnni_constants(bool masked)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_both);
    return &constants[masked];
}

#endif
