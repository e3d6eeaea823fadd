/* The 16-bit float formats of weight files, by their bits.
 *
 *     F16    1 sign, 5 exponent (bias 15), 10 fraction     largest finite 65504
 *     BF16   the upper half of an F32 */
#ifndef TREFOIL_MODEL_HALF_H
#define TREFOIL_MODEL_HALF_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float half_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float half_decode_bf16(uint16_t half)
{
    return half_from_bits((uint32_t)half << 16);
}

static inline float half_decode_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u;
    uint32_t fraction = half & 0x3ffu;
    if (exponent == 31)
        return half_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return half_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    /* Zero and subnormals: fraction * 2^-24, exact in a float. */
    float value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
}

/* Rounds to nearest, ties to even. False, and nothing written, if the value is not finite or rounds beyond
 * 65504. */
static inline bool half_encode_f16(uint16_t *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t size = bits & 0x7fffffffu;
    if (size >= 0x477ff000u) /* 65520, the tie between 65504 and 2^16, goes to the even 2^16 */
        return false;
    if (size < 0x33000001u) { /* at most 2^-25: a tie with zero, which is even */
        *out = sign;
        return true;
    }
    uint32_t shift = 13, fraction = (size & 0x7fffffu) | 0x800000u;
    uint32_t exponent = size >> 23;
    uint32_t base;
    if (exponent >= 113) {
        base = (exponent - 113) << 10; /* the hidden bit of fraction adds the missing one */
    } else {
        base = 0;
        shift += 113 - exponent;
    }
    uint32_t kept = fraction >> shift;
    uint32_t rest = fraction & ((1u << shift) - 1), tie = 1u << (shift - 1);
    kept += rest > tie || (rest == tie && (kept & 1u));
    *out = (uint16_t)(sign | (base + kept));
    return true;
}

#endif
