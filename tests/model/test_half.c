#include <check.h>
#include <math.h>

#include "model/half.h"
#include "tests/run.h"

START_TEST(every_f16_is_decoded_and_encoded_back)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint32_t exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
        float value = half_decode_f16((uint16_t)bits);
        double size =
            exponent ? ldexp(1 + fraction / 1024.0, (int)exponent - 15) : ldexp(fraction / 1024.0, -14);
        uint16_t back = 1;
        if (exponent == 31) {
            ck_assert_int_eq(isnan(value) != 0, fraction != 0);
            ck_assert(!half_encode_f16(&back, value));
            continue;
        }
        ck_assert_double_eq((double)value, bits & 0x8000 ? -size : size);
        ck_assert(half_encode_f16(&back, value));
        ck_assert_uint_eq(back, bits);
    }
}
END_TEST

START_TEST(values_between_round_to_the_nearest_and_ties_to_even)
{
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        double low = (double)half_decode_f16((uint16_t)bits),
               high = (double)half_decode_f16((uint16_t)(bits + 1));
        float tie = (float)((low + high) / 2);
        uint16_t out;
        ck_assert(half_encode_f16(&out, tie));
        ck_assert_uint_eq(out, bits + (bits & 1));
        ck_assert(half_encode_f16(&out, nextafterf(tie, 0)));
        ck_assert_uint_eq(out, bits);
        ck_assert(half_encode_f16(&out, -nextafterf(tie, INFINITY)));
        ck_assert_uint_eq(out, 0x8000 | (bits + 1));
    }
}
END_TEST

START_TEST(what_rounds_beyond_65504_is_refused)
{
    uint16_t out = 7;
    ck_assert(half_encode_f16(&out, nextafterf(65520, 0)));
    ck_assert_uint_eq(out, 0x7bff);
    ck_assert(!half_encode_f16(&out, 65520));
    ck_assert(!half_encode_f16(&out, -1e30f));
    ck_assert(!half_encode_f16(&out, INFINITY));
    ck_assert(!half_encode_f16(&out, NAN));
    ck_assert_uint_eq(out, 0x7bff);
}
END_TEST

START_TEST(bf16_is_the_upper_half_of_a_float)
{
    ck_assert(half_decode_bf16(0x3f80) == 1.0f);
    ck_assert(half_decode_bf16(0xc049) == -3.140625f);
    ck_assert(half_decode_bf16(0x0001) == 0x1p-133f);
    ck_assert(isinf(half_decode_bf16(0x7f80)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("half");
    TCase *tcase = tcase_create("half");
    tcase_add_test(tcase, every_f16_is_decoded_and_encoded_back);
    tcase_add_test(tcase, values_between_round_to_the_nearest_and_ties_to_even);
    tcase_add_test(tcase, what_rounds_beyond_65504_is_refused);
    tcase_add_test(tcase, bf16_is_the_upper_half_of_a_float);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
