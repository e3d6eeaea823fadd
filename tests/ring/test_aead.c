/* Authenticated encryption: published vectors, and the same bytes from whichever library. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "ring/aead.h"
#include "tests/run.h"

/* Numbers in hexadecimal. */
static size_t hex(unsigned char *out, size_t room, const char *text)
{
    size_t bytes = 0;
    ck_assert_int_eq(sodium_hex2bin(out, room, text, strlen(text), NULL, &bytes, NULL), 0);
    return bytes;
}

struct vector {
    enum aead_cipher cipher;
    const char *key, *nonce, *bound, *plain, *sealed, *tag;
};

/* McGrew and Viega, The Galois/Counter Mode of Operation, test cases 13 and 16; RFC 8439, 2.8.2. */
static const struct vector vectors[] = {
    {AEAD_AES, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {AEAD_AES, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf"
     "5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6"
     "393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
    {AEAD_CHACHA, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
     "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
     "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c6"
     "4206f6666657220796f75"
     "206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742"
     "e",
     "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0"
     "a9e060b2905d6a5b67ecd"
     "3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b611"
     "6",
     "1ae10b594f09e26a7e902ecbd0600691"},
};

START_TEST(published_vectors_come_out)
{
    const struct vector *v = &vectors[_i];
    unsigned char key[AEAD_KEY], nonce[AEAD_NONCE], bound[32], plain[128], sealed[128], wanted[128],
        tag[AEAD_TAG], made[AEAD_TAG];
    struct aead *aead = NULL;
    hex(key, sizeof key, v->key);
    hex(nonce, sizeof nonce, v->nonce);
    hex(tag, sizeof tag, v->tag);
    hex(wanted, sizeof wanted, v->sealed);
    const size_t bound_bytes = hex(bound, sizeof bound, v->bound), bytes = hex(plain, sizeof plain, v->plain);
    ck_assert_int_eq(aead_new(&aead, v->cipher, key, true), STATUS_OK);
    ck_assert(aead_begin(aead, nonce, bound, bound_bytes) && aead_add(aead, sealed, plain, bytes) &&
              aead_seal(aead, made));
    ck_assert_mem_eq(sealed, wanted, bytes);
    ck_assert_mem_eq(made, tag, AEAD_TAG);
    aead_free(&aead);
    ck_assert_int_eq(aead_new(&aead, v->cipher, key, false), STATUS_OK);
    ck_assert(aead_begin(aead, nonce, bound, bound_bytes) && aead_add(aead, sealed, sealed, bytes) &&
              aead_verify(aead, tag));
    ck_assert_mem_eq(sealed, plain, bytes);
    made[_i] ^= 0x40;
    ck_assert(aead_begin(aead, nonce, bound, bound_bytes) && aead_add(aead, sealed, wanted, bytes) &&
              !aead_verify(aead, made));
    aead_free(&aead);
    ck_assert_ptr_null(aead);
}
END_TEST

#define LONGEST 3000

/* What libcrypto makes of it in one go. */
static void by_libcrypto(enum aead_cipher cipher, const unsigned char *key, const unsigned char *nonce,
                         const unsigned char *bound, size_t bound_bytes, unsigned char *out,
                         const unsigned char *in, size_t bytes, unsigned char *tag)
{
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();
    int done;
    ck_assert_int_eq(EVP_EncryptInit_ex(evp, cipher == AEAD_AES ? EVP_aes_256_gcm() : EVP_chacha20_poly1305(),
                                        NULL, key, nonce),
                     1);
    ck_assert(bound_bytes == 0 || EVP_EncryptUpdate(evp, NULL, &done, bound, (int)bound_bytes) == 1);
    ck_assert_int_eq(EVP_EncryptUpdate(evp, out, &done, in, (int)bytes), 1);
    ck_assert_int_eq(EVP_EncryptFinal_ex(evp, out + bytes, &done), 1);
    ck_assert_int_eq(EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, tag), 1);
    EVP_CIPHER_CTX_free(evp);
}

/* In pieces of any length, in place, message after message under one key. */
static void add_in_pieces(struct aead *aead, unsigned char *data, size_t bytes)
{
    for (size_t at = 0, now; at < bytes; at += now) {
        now = 1 + randombytes_uniform(randombytes_uniform(2) ? 40 : 700);
        now = now < bytes - at ? now : bytes - at;
        ck_assert(aead_add(aead, data + at, data + at, now));
    }
}

START_TEST(pieces_in_place_give_the_bytes_of_libcrypto)
{
    const enum aead_cipher cipher = _i ? AEAD_AES : AEAD_CHACHA;
    unsigned char key[AEAD_KEY], nonce[AEAD_NONCE], bound[64], tag[AEAD_TAG], wanted_tag[AEAD_TAG];
    unsigned char *plain = malloc(LONGEST), *data = malloc(LONGEST), *wanted = malloc(LONGEST + 16);
    struct aead *seal = NULL, *open = NULL;
    randombytes_buf(key, sizeof key);
    ck_assert_int_eq(aead_new(&seal, cipher, key, true), STATUS_OK);
    ck_assert_int_eq(aead_new(&open, cipher, key, false), STATUS_OK);
    for (int times = 0; times < 500; times++) {
        const size_t bytes = 1 + randombytes_uniform(times < 250 ? 200 : LONGEST - 1),
                     bound_bytes = randombytes_uniform(65);
        randombytes_buf(nonce, sizeof nonce);
        randombytes_buf(bound, sizeof bound);
        randombytes_buf(plain, bytes);
        memcpy(data, plain, bytes);
        by_libcrypto(cipher, key, nonce, bound, bound_bytes, wanted, plain, bytes, wanted_tag);
        ck_assert(aead_begin(seal, nonce, bound_bytes ? bound : NULL, bound_bytes));
        add_in_pieces(seal, data, bytes);
        ck_assert(aead_seal(seal, tag));
        ck_assert_mem_eq(data, wanted, bytes);
        ck_assert_mem_eq(tag, wanted_tag, AEAD_TAG);
        ck_assert(aead_begin(open, nonce, bound_bytes ? bound : NULL, bound_bytes));
        add_in_pieces(open, data, bytes);
        ck_assert(aead_verify(open, tag));
        ck_assert_mem_eq(data, plain, bytes);
        wanted[randombytes_uniform((uint32_t)bytes)] ^= (unsigned char)(1u << randombytes_uniform(8));
        ck_assert(aead_begin(open, nonce, bound, bound_bytes) && aead_add(open, data, wanted, bytes) &&
                  !aead_verify(open, tag));
    }
    aead_free(&seal);
    aead_free(&open);
    free(plain);
    free(data);
    free(wanted);
}
END_TEST

/* Nothing is passed over in silence. */
START_TEST(what_is_missing_is_refused)
{
    const unsigned char key[AEAD_KEY] = {1}, nonce[AEAD_NONCE] = {2};
    unsigned char data[16] = {0};
    struct aead *aead = NULL;
    ck_assert_int_eq(aead_new(&aead, AEAD_AES, key, true), STATUS_OK);
    ck_assert(aead_begin(aead, nonce, NULL, 0) && aead_add(aead, NULL, NULL, 0));
    ck_assert(!aead_begin(aead, nonce, NULL, 3) || !aead_add(aead, data, data, sizeof data));
    ck_assert(aead_begin(aead, nonce, NULL, 0));
    ck_assert(!aead_add(aead, data, NULL, sizeof data));
    aead_free(&aead);
}
END_TEST

START_TEST(the_environment_can_do_without_the_faster_library)
{
    ck_assert_str_eq(aead_library(AEAD_CHACHA), "libcrypto");
    setenv("TREFOIL_AEAD", "libcrypto", 1);
    ck_assert_str_eq(aead_library(AEAD_AES),
                     "libcrypto"); /* each test is a process: nothing was chosen before */
    unsetenv("TREFOIL_AEAD");
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("aead");
    TCase *tests = tcase_create("aead");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, published_vectors_come_out, 0, sizeof vectors / sizeof *vectors);
    tcase_add_loop_test(tests, pieces_in_place_give_the_bytes_of_libcrypto, 0, 2);
    tcase_add_test(tests, what_is_missing_is_refused);
    tcase_add_test(tests, the_environment_can_do_without_the_faster_library);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
