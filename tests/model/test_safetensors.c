#include "tests/model/folder.h"

#include <math.h>

#include "model/safetensors.h"
#include "tests/run.h"

static struct safetensors *file;

static void setup(void)
{
    folder_setup();
}

static void teardown(void)
{
    safetensors_close(&file);
    folder_teardown();
}

/* A file of a header and so many bytes of data: 0, 1, 2, ... */
static enum status open_header(const char *header, size_t data)
{
    size_t length = strlen(header);
    unsigned char *bytes = calloc(1, 8 + length + data);
    ck_assert_ptr_nonnull(bytes);
    bytes[0] = (unsigned char)length;
    bytes[1] = (unsigned char)(length >> 8);
    bytes[2] = (unsigned char)(length >> 16);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++)
        bytes[8 + length + i] = (unsigned char)i;
    folder_write("model.safetensors", bytes, 8 + length + data);
    free(bytes);
    safetensors_close(&file);
    return safetensors_open(&file, folder_path("model.safetensors"));
}

START_TEST(the_three_float_types_are_decoded)
{
    float out[2];
    const struct safetensors_tensor *tensor;
    const unsigned char data[] = {0, 0,    0x80, 0xbf, 0,    0,    0x48, 0x42,
                                  0, 0x3c, 0,    0xc0, 0x80, 0x3f, 0x49, 0xc0};
    ck_assert_works(open_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                "\"c\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[12,16]},"
                                "\"b\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[8,12]},"
                                "\"__metadata__\":{\"format\":\"pt\"}}  ",
                                16));
    FILE *write = fopen(folder_path("model.safetensors"), "r+b");
    fseek(write, -16, SEEK_END);
    fwrite(data, 1, 16, write);
    fclose(write);
    ck_assert_uint_eq(safetensors_count(file), 3);
    ck_assert_str_eq(safetensors_at(file, 1)->name, "b");
    ck_assert_ptr_null(safetensors_find(file, "__metadata__"));
    ck_assert_works(safetensors_read(file, safetensors_find(file, "a"), out));
    ck_assert(out[0] == -1.0f && out[1] == 50.0f);
    ck_assert_works(safetensors_read(file, safetensors_find(file, "b"), out));
    ck_assert(out[0] == 1.0f && out[1] == -2.0f);
    tensor = safetensors_find(file, "c");
    ck_assert_uint_eq(tensor->rank, 2);
    ck_assert_works(safetensors_read(file, tensor, out));
    ck_assert(out[0] == 1.0f && out[1] == -3.140625f);
}
END_TEST

START_TEST(other_types_are_allowed_but_not_read)
{
    float out[8];
    ck_assert_works(open_header("{\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                                "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[8,8]},"
                                "\"new\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[8,10]}}",
                                10));
    ck_assert_fails(safetensors_read(file, safetensors_find(file, "ids"), out), STATUS_INPUT, "\"ids\"",
                    "F32");
    ck_assert_fails(safetensors_read(file, safetensors_find(file, "new"), out), STATUS_INPUT, "\"new\"");
    ck_assert_works(safetensors_read(file, safetensors_find(file, "none"), out));
}
END_TEST

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

START_TEST(offsets_that_do_not_fit_are_refused)
{
    static const struct {
        const char *header, *word;
        enum status code;
    } bad[] = {
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "overlaps",
         STATUS_CORRUPT},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "overlaps",
         STATUS_CORRUPT},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", "gap", STATUS_CORRUPT},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", "gap", STATUS_CORRUPT},
        {"{" A "}", "belong to nothing", STATUS_CORRUPT},
        {"{}", "belong to nothing", STATUS_CORRUPT},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[8,20]}}", "cut short",
         STATUS_CORRUPT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", "do not fit its shape",
         STATUS_CORRUPT},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,16]}}", "do not fit its shape",
         STATUS_CORRUPT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", "[begin, end]", STATUS_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}", "[begin, end]", STATUS_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}", "[begin, end]", STATUS_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16.0]}}", "[begin, end]", STATUS_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":\"all\"}}", "[begin, end]", STATUS_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "[begin, end]", STATUS_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,9223372036854775807]}}", "cut short",
         STATUS_CORRUPT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_fails(open_header(bad[i].header, 16), bad[i].code, "model.safetensors", bad[i].word);
}
END_TEST

START_TEST(fields_that_are_not_what_they_should_be_are_refused)
{
    static const struct {
        const char *header, *word;
    } bad[] = {
        {"", "not a safetensors file"},
        {"[]", "not a safetensors file"},
        {"{\"a\":", "not a safetensors file"},
        {"{} x", "not a safetensors file"},
        {"{" A "," A "}", "not a safetensors file"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
         "not a safetensors file"},
        {"{\"a\":7}", "dtype"},
        {"{\"a\":{}}", "dtype"},
        {"{\"a\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}", "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,16]}}",
         "too large"},
        {"{\"\\u001b[2J\":7}", "\".[2J\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_fails(open_header(bad[i].header, 16), STATUS_INPUT, "model.safetensors", bad[i].word);
    /* 2^62 elements of 4 bytes: the product with the width wraps to 0. */
    ck_assert_fails(
        open_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0),
        STATUS_CORRUPT, "do not fit its shape");
}
END_TEST

START_TEST(a_header_length_is_checked_before_memory_is_taken)
{
    static const unsigned char huge[9] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{'};
    static const unsigned char large[9] = {0, 0, 0, 1, 0, 0, 0, 0, '{'};
    static const unsigned char beyond[9] = {2, 0, 0, 0, 0, 0, 0, 0, '{'};
    folder_write("x", huge, 9);
    ck_assert_fails(safetensors_open(&file, folder_path("x")), STATUS_INPUT, "not a safetensors file");
    folder_write("x", large, 9);
    ck_assert_fails(safetensors_open(&file, folder_path("x")), STATUS_CORRUPT, "inside its header");
    folder_write("x", beyond, 9);
    ck_assert_fails(safetensors_open(&file, folder_path("x")), STATUS_CORRUPT, "inside its header");
    ck_assert_fails(safetensors_open(&file, folder), STATUS_INPUT, "not an ordinary file");
    ck_assert_ptr_null(file);
}
END_TEST

START_TEST(a_deeply_nested_header_is_refused)
{
    char *header = malloc(200001);
    memset(header, '[', 200000);
    header[200000] = 0;
    ck_assert_fails(open_header(header, 16), STATUS_INPUT, "not a safetensors file");
    free(header);
}
END_TEST

/* The bytes of a small model's weights; its config stands in the folder. */
static char *small_file(size_t *size)
{
    char *bytes;
    struct model model;
    struct model_config config = small_config();
    ck_assert_works(model_allocate(&model, &config, true));
    small_fill(&model);
    ck_assert_works(model_write(&model, folder, MODEL_F16, NULL));
    model_clear(&model);
    ck_assert_works(files_read(&bytes, size, folder_path("model.safetensors"), 1 << 20));
    return bytes;
}

START_TEST(a_file_cut_short_anywhere_is_refused)
{
    size_t size;
    struct model model;
    char *bytes = small_file(&size);
    for (size_t length = size; length-- > 0;) {
        ck_assert_int_eq(truncate(folder_path("model.safetensors"), (off_t)length), 0);
        ck_assert_fails(model_read(&model, folder), STATUS_CORRUPT, "model.safetensors");
    }
    free(bytes);
}
END_TEST

static unsigned state = 12345;

static unsigned next(unsigned below)
{
    state = state * 1664525u + 1013904223u;
    return (unsigned)((unsigned long long)(state >> 8) * below >> 24);
}

/* One hostile change: a byte, a digit, a piece moved, a piece doubled. */
static size_t mutate(char *bytes, size_t size, size_t header)
{
    static const char digits[] = "0123456789-.eE[]{},:\" ";
    size_t at = 8 + next((unsigned)header), from = 8 + next((unsigned)header), length = next(40);
    if (at + length > size || from + length > size)
        length = 1;
    switch (next(5)) {
    case 0:
        bytes[next(8)] = (char)next(256);
        break;
    case 1:
        bytes[at] = (char)next(256);
        break;
    case 2:
        bytes[at] = digits[next(sizeof digits - 1)];
        break;
    case 3:
        memmove(bytes + at, bytes + from, length);
        break;
    default:
        for (char *digit = bytes + at; digit < bytes + 8 + header; digit++)
            if (*digit >= '0' && *digit <= '9') {
                *digit = (char)('0' + next(10));
                break;
            }
    }
    return next(20) == 0 ? next((unsigned)size) : size;
}

START_TEST(hostile_changes_are_refused_or_harmless)
{
    size_t size, read = 0, refused = 0;
    struct model model;
    char *bytes = small_file(&size), *changed = malloc(size);
    size_t header = (unsigned char)bytes[0] | (size_t)(unsigned char)bytes[1] << 8;
    ck_assert_ptr_nonnull(changed);
    for (int round = 0; round < 4000; round++) {
        size_t length = size;
        memcpy(changed, bytes, size);
        for (unsigned i = next(3) + 1; i-- > 0;) {
            size_t left = mutate(changed, size, header);
            length = left < length ? left : length;
        }
        folder_write("model.safetensors", changed, length);
        enum status status = model_read(&model, folder);
        ck_assert(status == STATUS_OK || status == STATUS_INPUT || status == STATUS_CORRUPT);
        read += !status;
        refused += !!status;
        model_clear(&model);
    }
    ck_assert_uint_gt(refused, 2000);
    ck_assert_uint_gt(read, 10);
    free(changed);
    free(bytes);
}
END_TEST

START_TEST(other_readers_would_accept_what_is_written)
{
    size_t size;
    char *bytes = small_file(&size);
    size_t header = (unsigned char)bytes[0] | (size_t)(unsigned char)bytes[1] << 8;
    ck_assert_uint_eq(header % 8, 0);
    ck_assert_int_eq(bytes[8], '{');
    ck_assert_ptr_nonnull(strstr(bytes + 8, "\"__metadata__\":{\"format\":\"pt\"}"));
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tcase = tcase_create("safetensors");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_three_float_types_are_decoded);
    tcase_add_test(tcase, other_types_are_allowed_but_not_read);
    tcase_add_test(tcase, offsets_that_do_not_fit_are_refused);
    tcase_add_test(tcase, fields_that_are_not_what_they_should_be_are_refused);
    tcase_add_test(tcase, a_header_length_is_checked_before_memory_is_taken);
    tcase_add_test(tcase, a_deeply_nested_header_is_refused);
    tcase_add_test(tcase, a_file_cut_short_anywhere_is_refused);
    tcase_add_test(tcase, hostile_changes_are_refused_or_harmless);
    tcase_add_test(tcase, other_readers_would_accept_what_is_written);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
