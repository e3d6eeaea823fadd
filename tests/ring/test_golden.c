/* Mask streams against golden vectors, and pieces of a stream against the whole. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "ring/stream.h"
#include "tests/run.h"

static void from_hex(unsigned char *out, size_t *bytes, size_t most, const char *text)
{
    if (strcmp(text, "-") == 0)
        text = "";
    ck_assert_int_eq(sodium_hex2bin(out, most, text, strlen(text), NULL, bytes, NULL), 0);
}

static void check_bytes(const char *wanted, const struct ring_seed *key, uint64_t offset, size_t skip,
                        size_t bytes)
{
    unsigned char stream[128];
    char hex[257];
    ring_stream_bytes(stream, skip + bytes, key, offset);
    sodium_bin2hex(hex, sizeof hex, stream + skip, bytes);
    ck_assert_str_eq(hex, wanted);
}

struct golden {
    char secret[65], context[129], key[65], start[81], crossing[49], wide[2][21];
    unsigned object, purpose;
    long long mask[4];
};

static void check_golden(const struct golden *g)
{
    struct ring_seed secret, key;
    unsigned char context[64];
    size_t bytes, context_bytes;
    from_hex(secret.bytes, &bytes, sizeof secret.bytes, g->secret);
    ck_assert_uint_eq(bytes, sizeof secret.bytes);
    from_hex(context, &context_bytes, sizeof context, g->context);
    ring_stream_key(&key, &secret, context, context_bytes, g->object, (enum ring_purpose)g->purpose);
    char hex[65];
    ck_assert_str_eq(sodium_bin2hex(hex, sizeof hex, key.bytes, sizeof key.bytes), g->key);
    check_bytes(g->start, &key, 0, 0, 40);
    check_bytes(g->crossing, &key, 64 * (((uint64_t)1 << 32) - 1), 52, 24);
    int64_t mask[5], far[4];
    ring_stream_masks(mask, 5, &key, 0);
    ring_stream_masks(far, 4, &key, 1000000);
    ck_assert_int_eq(mask[0], g->mask[0]);
    ck_assert_int_eq(mask[1], g->mask[1]);
    ck_assert_int_eq(mask[4], g->mask[2]);
    ck_assert_int_eq(far[3], g->mask[3]);
    uint64_t lo[3];
    uint16_t hi[3];
    ring_stream_wide((struct ring_wide){lo, hi}, 3, &key);
    for (int i = 0; i < 2; i++) {
        char element[21];
        snprintf(element, sizeof element, "%04x%016llx", hi[2 * i], (unsigned long long)lo[2 * i]);
        ck_assert_str_eq(element, g->wide[i]);
    }
}

START_TEST(streams_equal_the_golden_vectors)
{
    char path[4096], line[1024];
    const char *source = getenv("TREFOIL_SOURCE");
    snprintf(path, sizeof path, "%s/tests/ring/data/stream.txt", source != NULL ? source : ".");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    int count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        struct golden g;
        if (line[0] == '#')
            continue;
        ck_assert_int_eq(sscanf(line, "%64s %128s %u %u %64s %80s %48s %lld %lld %lld %lld %20s %20s",
                                g.secret, g.context, &g.object, &g.purpose, g.key, g.start, g.crossing,
                                &g.mask[0], &g.mask[1], &g.mask[2], &g.mask[3], g.wide[0], g.wide[1]),
                         13);
        check_golden(&g);
        count++;
    }
    fclose(file);
    ck_assert_int_ge(count, 5);
}
END_TEST

static struct ring_seed seed(unsigned char first)
{
    struct ring_seed out = {{first}};
    return out;
}

/* Long requests come from another library than short ones. */
START_TEST(a_long_request_gives_the_bytes_of_many_short_ones)
{
    static unsigned char whole[50000], part[64];
    const struct ring_seed key = seed(1);
    static const uint64_t offsets[] = {0, 64, 64 * 1000003, 64 * (((uint64_t)1 << 32) - 2),
                                       (uint64_t)1 << 40};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        ring_stream_bytes(whole, sizeof whole, &key, offsets[i]);
        for (size_t at = 0; at < sizeof whole; at += 64) {
            const size_t now = sizeof whole - at < 64 ? sizeof whole - at : 64;
            ring_stream_bytes(part, now, &key, offsets[i] + at);
            ck_assert_mem_eq(part, whole + at, now);
        }
    }
}
END_TEST

START_TEST(a_request_writes_no_byte_beyond_its_end)
{
    unsigned char out[5000];
    const struct ring_seed key = seed(2);
    static const size_t sizes[] = {0, 1, 63, 64, 65, 511, 512, 513, 4095, 4096, 4097, 4999};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(out, 0xa5, sizeof out);
        ring_stream_bytes(out, sizes[i], &key, 0);
        for (size_t at = sizes[i]; at < sizeof out; at++)
            ck_assert_uint_eq(out[at], 0xa5);
    }
    int64_t masks[40];
    for (size_t n = 0; n < 40; n++) {
        memset(masks, 0, sizeof masks);
        ring_stream_masks(masks, n, &key, 0);
        for (size_t at = n; at < 40; at++)
            ck_assert_int_eq(masks[at], 0);
    }
}
END_TEST

START_TEST(every_part_of_a_name_makes_another_stream)
{
    const struct ring_seed secrets[2] = {seed(5), seed(6)};
    static const char *const contexts[] = {"", "a", "ab", "ba"};
    static const enum ring_purpose purposes[] = {RING_PURPOSE_MASK, RING_PURPOSE_PRODUCT, RING_PURPOSE_INDEX,
                                                 RING_PURPOSE_ROOT, RING_PURPOSE_WEIGHT,  RING_PURPOSE_INPUT,
                                                 RING_PURPOSE_OUTPUT};
    struct ring_seed keys[2 * 4 * 3 * 7];
    size_t count = 0;
    for (size_t secret = 0; secret < 2; secret++)
        for (size_t context = 0; context < 4; context++)
            for (uint32_t object = 0; object < 3; object++)
                for (size_t purpose = 0; purpose < 7; purpose++)
                    ring_stream_key(&keys[count++], &secrets[secret], contexts[context],
                                    strlen(contexts[context]), object, purposes[purpose]);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert_mem_ne(&keys[i], &keys[j], sizeof keys[i]);
}
END_TEST

START_TEST(wide_elements_use_all_eighty_bits)
{
    enum { COUNT = 4096 };
    static uint64_t lo[COUNT];
    static uint16_t hi[COUNT];
    const struct ring_seed key = seed(8);
    ring_stream_wide((struct ring_wide){lo, hi}, COUNT, &key);
    for (int bit = 0; bit < 80; bit++) {
        int ones = 0;
        for (size_t i = 0; i < COUNT; i++)
            ones += bit < 64 ? (int)(lo[i] >> bit & 1) : hi[i] >> (bit - 64) & 1;
        ck_assert_int_ge(ones, COUNT / 2 - 300); /* nine standard deviations */
        ck_assert_int_le(ones, COUNT / 2 + 300);
    }
    ck_assert_mem_ne(lo, hi, sizeof hi);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("golden");
    TCase *tests = tcase_create("golden");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, streams_equal_the_golden_vectors);
    tcase_add_test(tests, a_long_request_gives_the_bytes_of_many_short_ones);
    tcase_add_test(tests, a_request_writes_no_byte_beyond_its_end);
    tcase_add_test(tests, every_part_of_a_name_makes_another_stream);
    tcase_add_test(tests, wide_elements_use_all_eighty_bits);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
