/* Mask streams: what they are made of, and that each name has its own. */
#include <check.h>
#include <math.h>
#include <string.h>

#include <sodium.h>

#include "ring/parameters.h"
#include "ring/stream.h"
#include "tests/run.h"

static const struct ring_seed secret = {{1, 2, 3}};

static struct ring_seed key_of(const void *context, size_t bytes, uint32_t object, enum ring_purpose purpose)
{
    struct ring_seed key;
    ring_stream_key(&key, &secret, context, bytes, object, purpose);
    return key;
}

/* The definition, put together here: lengths before contents, little-endian. */
START_TEST(a_key_hashes_the_whole_name)
{
    static const char label[] = "trefoil stream 1", context[] = "a bundle";
    const struct ring_seed key = key_of(context, 8, 5, RING_PURPOSE_PRODUCT);
    unsigned char text[256], hash[RING_SEED_BYTES];
    size_t n = 0;
    const struct {
        const void *data;
        uint64_t bytes;
    } part[] = {{label, 17}, {context, 8}, {(const uint32_t[]){5, 2}, 8}};
    for (int i = 0; i < 3; i++) {
        memcpy(text + n, &part[i].bytes, 8);
        memcpy(text + n + 8, part[i].data, part[i].bytes);
        n += 8 + part[i].bytes;
    }
    crypto_generichash(hash, sizeof hash, text, n, secret.bytes, sizeof secret.bytes);
    ck_assert_mem_eq(key.bytes, hash, sizeof hash);
}
END_TEST

START_TEST(names_do_not_collide_by_concatenation)
{
    const struct ring_seed a = key_of("abc", 3, 1, RING_PURPOSE_MASK);
    const struct ring_seed other[] = {
        key_of("ab", 2, 1, RING_PURPOSE_MASK), key_of("abc", 4, 1, RING_PURPOSE_MASK),
        key_of("abc\1", 4, 0, RING_PURPOSE_MASK), key_of("abc", 3, 2, RING_PURPOSE_MASK),
        key_of("abc", 3, 1, RING_PURPOSE_PRODUCT)};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        ck_assert_mem_ne(a.bytes, other[i].bytes, sizeof a.bytes);
}
END_TEST

START_TEST(bytes_are_chacha20_from_any_block_on)
{
    static unsigned char whole[4096], part[1024], plain[4096];
    static const unsigned char nonce[crypto_stream_chacha20_NONCEBYTES];
    const struct ring_seed key = key_of("x", 1, 1, RING_PURPOSE_MASK);
    crypto_stream_chacha20(plain, sizeof plain, nonce, key.bytes);
    ring_stream_bytes(whole, sizeof whole, &key, 0);
    ck_assert_mem_eq(whole, plain, sizeof whole);
    for (uint64_t offset = 0; offset < 3000; offset += 64 * 7) {
        memset(part, 0x55, sizeof part);
        ring_stream_bytes(part, 1000, &key, offset);
        ck_assert_mem_eq(part, plain + offset, 1000);
        ck_assert_int_eq(part[1000], 0x55);
    }
}
END_TEST

/* Each is the sum of two uniform integers of 61 bits: between -2^61 and 2^61 - 2, with a triangle's variance.
 */
START_TEST(masks_are_sums_of_two_uniform_integers)
{
    enum { N = 1 << 18 };
    static int64_t mask[N];
    static uint64_t raw[2 * N];
    const struct ring_seed key = key_of("x", 1, 2, RING_PURPOSE_MASK);
    double sum = 0, squares = 0, beyond = 0;
    ring_stream_masks(mask, N, &key, 0);
    ring_stream_bytes(raw, sizeof raw, &key, 0);
    for (size_t i = 0; i < N; i++) {
        /* The upper 61 bits of two words, as numbers with a sign. */
        const int64_t a = (int64_t)(raw[2 * i] >> 3 ^ (uint64_t)1 << 60) - ((int64_t)1 << 60);
        const int64_t b = (int64_t)(raw[2 * i + 1] >> 3 ^ (uint64_t)1 << 60) - ((int64_t)1 << 60);
        if (mask[i] != a + b)
            ck_abort_msg("mask %zu", i);
        const double v = ldexp((double)mask[i], -(RING_MASK_BITS + 1)); /* in [-1, 1), a triangle */
        sum += v;
        squares += v * v;
        beyond += fabs(v) > 0.5;
    }
    ck_assert_double_lt(fabs(sum / N), 5 * sqrt(1.0 / 6 / N));
    ck_assert_double_lt(fabs(squares / N - 1.0 / 6), 5 * sqrt((1.0 / 15 - 1.0 / 36) / N));
    ck_assert_double_lt(fabs(beyond / N - 0.25), 5 * sqrt(0.25 * 0.75 / N));
}
END_TEST

START_TEST(a_part_of_the_masks_is_what_it_is_in_the_whole)
{
    static int64_t whole[5000], part[5000];
    const struct ring_seed key = key_of("x", 1, 3, RING_PURPOSE_MASK);
    ring_stream_masks(whole, 5000, &key, 0);
    for (uint64_t first = 0; first < 4000; first += 4 * 37)
        for (size_t n = 0; n < 1000; n = 2 * n + 1) {
            part[n] = 77;
            ring_stream_masks(part, n, &key, first);
            ck_assert_mem_eq(part, whole + first, n * sizeof *part);
            ck_assert_int_eq(part[n], 77);
        }
}
END_TEST

/* No byte of the low plane comes again in the high one. */
START_TEST(wide_arrays_take_ten_bytes_an_element)
{
    static uint64_t lo[1000];
    static uint16_t hi[1000];
    static unsigned char plain[16384];
    const struct ring_seed key = key_of("x", 1, 4, RING_PURPOSE_PRODUCT);
    ring_stream_bytes(plain, sizeof plain, &key, 0);
    for (size_t n = 1; n <= 1000; n += 111) {
        ring_stream_wide((struct ring_wide){lo, hi}, n, &key);
        ck_assert_mem_eq(lo, plain, n * 8);
        ck_assert_mem_eq(hi, plain + (n * 8 + 63) / 64 * 64, n * 2);
    }
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("stream");
    TCase *tests = tcase_create("stream");
    tcase_add_test(tests, a_key_hashes_the_whole_name);
    tcase_add_test(tests, names_do_not_collide_by_concatenation);
    tcase_add_test(tests, bytes_are_chacha20_from_any_block_on);
    tcase_add_test(tests, masks_are_sums_of_two_uniform_integers);
    tcase_add_test(tests, a_part_of_the_masks_is_what_it_is_in_the_whole);
    tcase_add_test(tests, wide_arrays_take_ten_bytes_an_element);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
