/* Distributed point functions: what two expansions add up to, and what one of them shows. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "preprocessing/dpf.h"
#include "tests/run.h"

#define ck_ok(call)                                                                          \
    do {                                                                                     \
        enum status ck_status_ = (call);                                                     \
        ck_assert_msg(ck_status_ == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status_), \
                      status_message());                                                     \
    } while (0)

/* Keys of some points, and what each evaluator expands them to. */
struct keys {
    int bits;
    size_t count, cells;
    uint16_t *point;
    unsigned char *seed[2], *key;
    uint64_t *hot[2];
};

/* Points i, i + step, ...; seeds from a fixed stream, another one for each salt. */
static struct keys deal(int bits, size_t count, uint32_t first, uint32_t step, uint32_t salt)
{
    struct keys k = {.bits = bits, .count = count, .cells = (size_t)1 << bits};
    unsigned char stream[randombytes_SEEDBYTES] = {0};
    k.point = malloc(count * sizeof *k.point);
    for (size_t i = 0; i < count; i++)
        k.point[i] = (uint16_t)((first + i * step) & (k.cells - 1));
    for (int p = 0; p < 2; p++) {
        memcpy(stream, &salt, sizeof salt);
        stream[8] = (unsigned char)p;
        stream[9] = (unsigned char)bits;
        k.seed[p] = malloc(count * DPF_SEED_BYTES);
        randombytes_buf_deterministic(k.seed[p], count * DPF_SEED_BYTES, stream);
        k.hot[p] = malloc(count * k.cells * sizeof(uint64_t));
    }
    k.key = malloc(count * dpf_key_bytes(bits));
    ck_ok(dpf_deal(k.key, bits, count, k.point, k.seed[0], k.seed[1]));
    return k;
}

static void expand(struct keys *k)
{
    for (int p = 0; p < 2; p++)
        ck_ok(dpf_expand(k->hot[p], k->bits, k->count, p + 1, k->seed[p], k->key));
}

static void drop(struct keys *k)
{
    for (int p = 0; p < 2; p++) {
        free(k->seed[p]);
        free(k->hot[p]);
    }
    free(k->point);
    free(k->key);
}

/* How many of the unit vectors came out wrong somewhere. */
static size_t broken(const struct keys *k)
{
    size_t count = 0;
    for (size_t i = 0; i < k->count; i++) {
        bool right = true;
        for (size_t j = 0; j < k->cells; j++)
            right &= k->hot[0][i * k->cells + j] + k->hot[1][i * k->cells + j] == (j == k->point[i]);
        count += !right;
    }
    return count;
}

START_TEST(expansions_add_up_to_a_unit_vector_at_every_point)
{
    for (int bits = DPF_BITS_MIN; bits <= 10; bits++) {
        struct keys k = deal(bits, (size_t)1 << bits, 0, 1, 1);
        expand(&k);
        ck_assert_uint_eq(broken(&k), 0);
        drop(&k);
    }
}
END_TEST

START_TEST(expansions_add_up_to_a_unit_vector_at_every_size)
{
    for (int bits = DPF_BITS_MIN; bits <= DPF_BITS_MAX; bits++) {
        struct keys k = deal(bits, 12, 1, 5461, 2);
        k.point[0] = 0;
        k.point[1] = (uint16_t)(k.cells - 1);
        k.point[2] = (uint16_t)(k.cells / 2);
        k.point[3] = (uint16_t)(k.cells / 2 - 1);
        ck_ok(dpf_deal(k.key, bits, k.count, k.point, k.seed[0], k.seed[1]));
        expand(&k);
        ck_assert_uint_eq(broken(&k), 0);
        drop(&k);
    }
}
END_TEST

START_TEST(a_key_takes_twenty_four_bytes_a_level_and_a_leaf)
{
    for (int bits = DPF_BITS_MIN; bits <= DPF_BITS_MAX; bits++)
        ck_assert_uint_eq(dpf_key_bytes(bits), (size_t)(bits - 2) * 16 + 4 + 4 * 8 + (size_t)(bits - 3) * 8);
}
END_TEST

/* Nothing but the key's bytes is written: the array after it stays. */
START_TEST(keys_lie_behind_each_other)
{
    struct keys k = deal(7, 3, 11, 40, 3);
    unsigned char *alone = malloc(dpf_key_bytes(7) + 1);
    for (size_t i = 0; i < 3; i++) {
        alone[dpf_key_bytes(7)] = 0xa5;
        ck_ok(dpf_deal(alone, 7, 1, k.point + i, k.seed[0] + i * DPF_SEED_BYTES,
                       k.seed[1] + i * DPF_SEED_BYTES));
        ck_assert_mem_eq(alone, k.key + i * dpf_key_bytes(7), dpf_key_bytes(7));
        ck_assert_int_eq(alone[dpf_key_bytes(7)], 0xa5);
    }
    free(alone);
    drop(&k);
}
END_TEST

/* Bits of one expansion: as many ones as zeros, at each place of a word, within five standard deviations. */
static void check_uniform(const uint64_t *hot, size_t n)
{
    size_t ones[64] = {0};
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 64; bit++)
            ones[bit] += hot[i] >> bit & 1;
    for (int bit = 0; bit < 64; bit++)
        ck_assert_msg(fabs((double)ones[bit] - (double)n / 2) < 5 * sqrt((double)n) / 2, "bit %d: %zu of %zu",
                      bit, ones[bit], n);
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

START_TEST(one_expansion_looks_uniform_and_never_repeats_a_word)
{
    struct keys k = deal(14, 6, 3, 2731, 4);
    expand(&k);
    for (int p = 0; p < 2; p++) {
        const size_t n = k.count * k.cells;
        check_uniform(k.hot[p], n);
        /* 2^17 words of 64 bits collide, or vanish, by chance with probability 2^-31. */
        qsort(k.hot[p], n, sizeof(uint64_t), compare);
        ck_assert_uint_ne(k.hot[p][0], 0);
        for (size_t i = 1; i < n; i++)
            if (k.hot[p][i - 1] == k.hot[p][i])
                ck_abort_msg("a word occurs twice");
    }
    drop(&k);
}
END_TEST

/* The word at the point is no more special to one evaluator than any other. */
START_TEST(the_word_at_the_point_looks_uniform_to_each_evaluator)
{
    struct keys k = deal(6, 4096, 17, 0, 5);
    uint64_t *at = calloc(k.count, sizeof *at);
    expand(&k);
    ck_assert_uint_eq(broken(&k), 0);
    for (int p = 0; p < 2; p++) {
        for (size_t i = 0; i < k.count; i++)
            at[i] = k.hot[p][i * k.cells + 17];
        check_uniform(at, k.count);
    }
    free(at);
    drop(&k);
}
END_TEST

/* Both evaluators see the correction words; under one seed they look the same whatever the point. */
START_TEST(correction_words_look_uniform_whatever_the_point)
{
    enum { BITS = 10, COUNT = 4096 };
    const size_t bytes = dpf_key_bytes(BITS), levels = BITS - DPF_LEAF_BITS, controls = levels * 16;
    for (uint32_t point = 0; point < 1024; point += 341) {
        struct keys k = deal(BITS, COUNT, point, 0, 6 + point);
        for (size_t bit = 0; bit < bytes * 8; bit++) {
            size_t ones = 0;
            for (size_t i = 0; i < COUNT; i++)
                ones += k.key[i * bytes + bit / 8] >> bit % 8 & 1;
            const bool unused = bit < controls * 8
                                    ? bit % 128 == 0
                                    : bit >= controls * 8 + 2 * levels && bit < controls * 8 + 32;
            if (unused)
                ck_assert_uint_eq(ones, 0);
            else
                ck_assert_msg(fabs((double)ones - COUNT / 2) < 6 * sqrt(COUNT) / 2,
                              "point %u, bit %zu: %zu ones", point, bit, ones);
        }
        drop(&k);
    }
}
END_TEST

START_TEST(two_bundles_have_nothing_in_common)
{
    struct keys a = deal(8, 64, 9, 0, 7), b = deal(8, 64, 9, 0, 8);
    expand(&a);
    expand(&b);
    ck_assert(memcmp(a.key, b.key, dpf_key_bytes(8)) != 0);
    for (size_t i = 0; i < a.count * a.cells; i++)
        if (a.hot[0][i] == b.hot[0][i])
            ck_abort_msg("word %zu is the same in both", i);
    drop(&a);
    drop(&b);
}
END_TEST

START_TEST(the_other_partys_number_gives_no_unit_vector)
{
    struct keys k = deal(6, 64, 0, 1, 9);
    ck_ok(dpf_expand(k.hot[0], 6, k.count, 1, k.seed[0], k.key));
    ck_ok(dpf_expand(k.hot[1], 6, k.count, 1, k.seed[1], k.key));
    ck_assert_uint_eq(broken(&k), k.count);
    drop(&k);
}
END_TEST

START_TEST(another_seed_gives_no_unit_vector)
{
    struct keys k = deal(6, 64, 0, 1, 10);
    for (size_t i = 0; i < k.count; i++)
        k.seed[1][i * DPF_SEED_BYTES + i % DPF_SEED_BYTES] ^= 0x10;
    expand(&k);
    ck_assert_uint_eq(broken(&k), k.count);
    drop(&k);
}
END_TEST

/* A flipped bit of a correction word meets one of the two on rho's side of the tree; the control bits beyond
 * the levels, and the words of inner nodes, are the only ones that an expansion does not read. */
START_TEST(every_bit_of_a_key_matters)
{
    enum { BITS = 5 };
    const size_t levels = BITS - DPF_LEAF_BITS, controls = levels * 16 * 8;
    for (size_t bit = 0; bit < dpf_key_bytes(BITS) * 8; bit++) {
        struct keys k = deal(BITS, 1, (uint32_t)(bit * 7), 0, 11);
        k.key[bit / 8] ^= (unsigned char)(1 << bit % 8);
        expand(&k);
        const bool unread = (bit >= controls + 2 * levels && bit < controls + 32) || bit >= controls + 32 + 4 * 64;
        ck_assert_msg(broken(&k) == !unread, "bit %zu", bit);
        drop(&k);
    }
}
END_TEST

/* ---- the definition: one point at a time ---- */

/* AES(x) ^ x under the key that hashes the label; the lowest bit of x is the first byte's. */
static void one_way(unsigned char out[16], const char *label, const unsigned char x[16])
{
    unsigned char key[16], y[32];
    int n = 0;
    crypto_generichash(key, sizeof key, (const unsigned char *)label, strlen(label), NULL, 0);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    ck_assert_int_eq(EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, key, NULL), 1);
    ck_assert_int_eq(EVP_EncryptUpdate(context, y, &n, x, 16), 1);
    EVP_CIPHER_CTX_free(context);
    for (int i = 0; i < 16; i++)
        out[i] = y[i] ^ x[i];
}

/* This party's share at j, walking the tree from the root. */
static uint64_t evaluate(int bits, int party, const unsigned char *seed, const unsigned char *key, size_t j)
{
    const int levels = bits - 2;
    unsigned char s[16], raw[16];
    int t = party == 2;
    memcpy(s, seed, 16);
    s[0] &= 0xfe;
    for (int level = 0; level < levels; level++) {
        const int side = j >> (bits - 1 - level) & 1, bit = 2 * level + side;
        s[0] |= (unsigned char)side;
        one_way(raw, "trefoil dpf children 1", s);
        const int control = raw[0] & 1;
        raw[0] &= 0xfe;
        for (int i = 0; t && i < 16; i++)
            raw[i] ^= key[level * 16 + i];
        t = control ^ (t & key[levels * 16 + bit / 8] >> bit % 8);
        memcpy(s, raw, 16);
    }
    uint64_t word, correction;
    s[0] |= (unsigned char)(j / 2 % 2);
    one_way(raw, "trefoil dpf leaves 1", s);
    memcpy(&word, raw + j % 2 * 8, 8);
    memcpy(&correction, key + levels * 16 + 4 + j % 4 * 8, 8);
    word += t ? correction : 0;
    return party == 2 ? -word : word;
}

START_TEST(an_expansion_is_the_evaluation_at_every_point)
{
    for (int bits = DPF_BITS_MIN; bits <= 9; bits += 2) {
        struct keys k = deal(bits, 3, 5, 99, 12);
        expand(&k);
        for (int p = 0; p < 2; p++)
            for (size_t i = 0; i < k.count; i++)
                for (size_t j = 0; j < k.cells; j++)
                    ck_assert_uint_eq(k.hot[p][i * k.cells + j],
                                      evaluate(bits, p + 1, k.seed[p] + i * DPF_SEED_BYTES,
                                               k.key + i * dpf_key_bytes(bits), j));
        drop(&k);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dpf");
    TCase *tests = tcase_create("dpf");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, expansions_add_up_to_a_unit_vector_at_every_point);
    tcase_add_test(tests, expansions_add_up_to_a_unit_vector_at_every_size);
    tcase_add_test(tests, a_key_takes_twenty_four_bytes_a_level_and_a_leaf);
    tcase_add_test(tests, keys_lie_behind_each_other);
    tcase_add_test(tests, one_expansion_looks_uniform_and_never_repeats_a_word);
    tcase_add_test(tests, the_word_at_the_point_looks_uniform_to_each_evaluator);
    tcase_add_test(tests, correction_words_look_uniform_whatever_the_point);
    tcase_add_test(tests, two_bundles_have_nothing_in_common);
    tcase_add_test(tests, the_other_partys_number_gives_no_unit_vector);
    tcase_add_test(tests, another_seed_gives_no_unit_vector);
    tcase_add_test(tests, every_bit_of_a_key_matters);
    tcase_add_test(tests, an_expansion_is_the_evaluation_at_every_point);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
