/* Public descriptions and what is compiled from them: the text comes from a model's owner, and is hostile
 * until proven otherwise. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "layers/walk.h"
#include "model/calibrate.h"
#include "model/random_model.h"
#include "tests/run.h"

#define ck_ok(call)                                                                          \
    do {                                                                                     \
        enum status ck_status_ = (call);                                                     \
        ck_assert_msg(ck_status_ == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status_), \
                      status_message());                                                     \
    } while (0)

static struct description d;
static char *text;

static uint64_t state;

static uint64_t word(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void start(void)
{
    struct model_config c = {
        .hidden = 8, .layers = 2, .heads = 2, .ffn = 8, .vocabulary = 20, .positions = 300};
    struct model m;
    struct folded folded;
    uint32_t id[12][12];
    struct sample sample[12];
    state = 88172645463325252;
    c.types = 1;
    c.labels = 2;
    c.layer_norm_eps = 1e-12f;
    c.softmax_c = 5.0f;
    c.activation = MODEL_QUAD;
    c.attention = MODEL_2QUAD;
    strcpy(c.label[0], "no");
    strcpy(c.label[1], "yes");
    ck_ok(random_model_make(&m, &c, 1));
    ck_ok(model_fold(&m, &folded));
    for (uint32_t i = 0; i < 12; i++) {
        for (uint32_t j = 0; j < 12; j++)
            id[i][j] = (uint32_t)(word() % 20);
        sample[i] = (struct sample){id[i], NULL, i < 10 ? 2 + i : 12};
    }
    ck_ok(model_calibrate(&m, &folded, sample, 12, NULL, NULL, &d));
    strcpy(d.name, "a model");
    ck_ok(description_write(&d, &text));
    folded_clear(&folded);
    model_clear(&m);
}

static void stop(void)
{
    description_clear(&d);
    free(text);
}

/* ---- identity ---- */

START_TEST(what_is_written_reads_back_the_same)
{
    struct description back;
    unsigned char id[2][MODEL_ID_BYTES];
    char *again;
    ck_ok(description_read(&back, text));
    ck_ok(description_write(&back, &again));
    ck_assert_str_eq(text, again);
    ck_ok(description_id(&d, id[0]));
    ck_ok(description_id(&back, id[1]));
    ck_assert_mem_eq(id[0], id[1], MODEL_ID_BYTES);
    for (uint32_t i = 0; i < d.ranges; i++) {
        ck_assert(back.range[i].largest == d.range[i].largest);
        ck_assert(back.range[i].smallest == d.range[i].smallest);
    }
    free(again);
    description_clear(&back);
    /* Another way to cut text is another model. */
    d.config.accents_differ = d.config.ideographs_joined = true;
    ck_ok(description_write(&d, &again));
    ck_ok(description_read(&back, again));
    ck_assert(back.config.accents_differ && back.config.ideographs_joined);
    ck_ok(description_id(&back, id[1]));
    ck_assert_mem_ne(id[0], id[1], MODEL_ID_BYTES);
    free(again);
    description_clear(&back);
}
END_TEST

static void hash_of(const struct description *from, uint32_t bucket, uint32_t batch, enum tune tune,
                    unsigned char hash[SCHEDULE_HASH_BYTES])
{
    struct schedule s;
    ck_ok(description_compile(from, bucket, batch, tune, &s));
    memcpy(hash, s.hash, SCHEDULE_HASH_BYTES);
    schedule_clear(&s);
}

START_TEST(everyone_compiles_the_same_schedule)
{
    struct description back;
    unsigned char one[SCHEDULE_HASH_BYTES], other[SCHEDULE_HASH_BYTES];
    ck_ok(description_read(&back, text));
    for (uint32_t bucket = 2; bucket < 40; bucket += 17)
        for (enum tune tune = TUNE_WAN; tune <= TUNE_LAN; tune++) {
            hash_of(&d, bucket, 2, tune, one);
            hash_of(&back, bucket, 2, tune, other);
            ck_assert_mem_eq(one, other, sizeof one);
        }
    description_clear(&back);
}
END_TEST

START_TEST(a_schedule_of_anything_else_has_another_hash)
{
    unsigned char hash[6][SCHEDULE_HASH_BYTES];
    hash_of(&d, 8, 1, TUNE_WAN, hash[0]);
    hash_of(&d, 9, 1, TUNE_WAN, hash[1]);
    hash_of(&d, 8, 2, TUNE_WAN, hash[2]);
    hash_of(&d, 8, 1, TUNE_LAN, hash[3]);
    d.weight_frac[0]--;
    hash_of(&d, 8, 1, TUNE_WAN, hash[4]);
    d.weight_frac[0]++;
    d.config.softmax_c = 4.5f;
    hash_of(&d, 8, 1, TUNE_WAN, hash[5]);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++)
            ck_assert_mem_ne(hash[i], hash[j], sizeof hash[i]);
}
END_TEST

/* Some ranges choose fraction bits, those of what is inverted fill tables: doubling any but an input of slack
 * must show, and a table moves with the last bit. */
START_TEST(a_changed_range_changes_the_hash)
{
    unsigned char before[SCHEDULE_HASH_BYTES], after[SCHEDULE_HASH_BYTES], id[2][MODEL_ID_BYTES];
    uint32_t changed = 0;
    hash_of(&d, 8, 1, TUNE_WAN, before);
    ck_ok(description_id(&d, id[0]));
    for (uint32_t i = 0; i < d.ranges; i++) {
        const struct range kept = d.range[i];
        struct schedule s;
        d.range[i].largest *= 4096;
        d.range[i].smallest *= 1.0625;
        if (description_compile(&d, 8, 1, TUNE_WAN, &s) == STATUS_OK) {
            memcpy(after, s.hash, sizeof after);
            changed += memcmp(before, after, sizeof before) != 0;
            schedule_clear(&s);
        } else {
            changed++; /* it does not even fit */
        }
        ck_ok(description_id(&d, id[1]));
        ck_assert_mem_ne(id[0], id[1], MODEL_ID_BYTES);
        d.range[i] = kept;
    }
    /* The attention mask and tanh are not scaled by their ranges. */
    ck_assert_uint_eq(changed, d.ranges - 2);
}
END_TEST

/* Two numbers a tensor are public: they say four bits each, and no sign. */
START_TEST(ranges_tell_no_more_than_scales_need)
{
    for (uint32_t i = 0; i < d.ranges; i++) {
        const double values[2] = {d.range[i].largest, d.range[i].smallest};
        for (int k = 0; k < 2; k++) {
            int exponent;
            const double mantissa = 16 * frexp(values[k], &exponent);
            ck_assert(values[k] >= 0);
            ck_assert_double_eq(mantissa, (double)(int)mantissa);
        }
    }
}
END_TEST

START_TEST(an_upload_under_another_nonce_is_another_model)
{
    unsigned char id[2][MODEL_ID_BYTES];
    ck_ok(description_id(&d, id[0]));
    d.nonce[31] ^= 1;
    ck_ok(description_id(&d, id[1]));
    ck_assert_mem_ne(id[0], id[1], MODEL_ID_BYTES);
}
END_TEST

/* ---- hostile texts ---- */

static const char *const extremes[] = {
    "0",          "-1",         "1",     "2",      "3",     "7",     "1e308",       "-1e308", "1e-308",
    "1e12",       "-1e12",      "1e-12", "1e-300", "65536", "65535", "16384",       "1024",   "4294967295",
    "4294967296", "2147483648", "-64",   "64",     "null",  "true",  "[]",          "{}",     "\"a\"",
    "1.5",        "1e6",        "1e9",   "0.001",  "1e-9",  "1e-6",  "\"\\u0001\"", "1048576"};

/* Replaces one number of the text by something extreme. */
static size_t replace_number(char *out, size_t room)
{
    const size_t length = strlen(text), from = word() % length;
    size_t first = from;
    while (first < length && !strchr("-0123456789", text[first]))
        first++;
    size_t end = first;
    while (end < length && strchr("+-.0123456789eE", text[end]))
        end++;
    return (size_t)snprintf(out, room, "%.*s%s%s", (int)first, text,
                            extremes[word() % (sizeof extremes / sizeof *extremes)], text + end);
}

/* Flips, cuts, doubles or inserts a few bytes. */
static void scramble(char *out, size_t room)
{
    const size_t length = strlen(text);
    strcpy(out, text);
    for (uint64_t n = 1 + word() % 3; n > 0; n--) {
        const size_t at = word() % length;
        switch (word() % 4) {
        case 0:
            out[at] = (char)(1 + word() % 255);
            break;
        case 1:
            out[at] = "{}[],:\"\\-0e.9"[word() % 13];
            break;
        case 2:
            if (n == 1)
                out[at] = 0;
            break;
        default:
            snprintf(out + at, room - at, "%s", text + word() % length);
            return;
        }
    }
}

/* Whatever the text, reading and compiling end with a status; what compiles can be counted. */
static void use(const char *hostile)
{
    static const struct {
        uint32_t bucket, batch;
    } shapes[] = {{2, 1}, {17, 3}, {128, 1024}, {65536, 1024}, {1, 1}};
    struct description got;
    const enum status status = description_read(&got, hostile);
    if (status != STATUS_OK) {
        ck_assert_msg(status == STATUS_FOREIGN, "%s: %s", status_name(status), status_message());
        return;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (enum tune tune = TUNE_WAN; tune <= TUNE_LAN; tune++) {
            struct schedule s;
            struct cost cost;
            if (description_compile(&got, shapes[i].bucket, shapes[i].batch, tune, &s) != STATUS_OK)
                continue;
            walk_count(&s, &cost);
            schedule_clear(&s);
        }
    description_clear(&got);
}

START_TEST(a_mutated_description_never_crashes_who_reads_it)
{
    const size_t room = 2 * strlen(text) + 64;
    char *hostile = malloc(room);
    for (int i = 0; i < 1500; i++) {
        if (i % 2)
            replace_number(hostile, room);
        else
            scramble(hostile, room);
        use(hostile);
    }
    free(hostile);
}
END_TEST

/* They end up on terminals. */
START_TEST(names_and_labels_with_control_characters_are_refused)
{
    struct description got;
    char *hostile;
    strcpy(d.name, "a\x1b[2Jmodel");
    ck_ok(description_write(&d, &hostile));
    ck_assert_int_eq(description_read(&got, hostile), STATUS_FOREIGN);
    free(hostile);
    strcpy(d.name, "a model");
    strcpy(d.config.label[1], "yes\x07");
    ck_ok(description_write(&d, &hostile));
    ck_assert_int_eq(description_read(&got, hostile), STATUS_FOREIGN);
    free(hostile);
}
END_TEST

START_TEST(names_and_labels_that_are_not_utf_8_are_not_written)
{
    char *none;
    strcpy(d.config.label[1], "sch\xf6n");
    ck_assert_int_eq(description_write(&d, &none), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "name 1"));
    ck_assert_ptr_null(none);
    strcpy(d.config.label[1], "sch\xc3\xb6n");
    strcpy(d.name, "sch\xf6n");
    ck_assert_int_eq(description_write(&d, &none), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "the name of a model"));
    strcpy(d.name, "a model");
    ck_ok(description_write(&d, &none));
    free(none);
}
END_TEST

START_TEST(ranges_of_any_kind_are_refused_or_compiled)
{
    static const double values[] = {0,    1e-308, 1e-30, 1e-12, 1e-9, 1e-5, 0.01, 0.5,    1,
                                    1.01, 3,      100,   4e3,   1e5,  1e6,  1e9,  0.9e12, 1e12};
    for (int i = 0; i < 1500; i++) {
        const uint32_t at = (uint32_t)(word() % d.ranges);
        const struct range kept = d.range[at];
        struct schedule s;
        d.range[at].largest = values[word() % 18];
        d.range[at].smallest = values[word() % 18] * (word() % 3 ? 1 : -1);
        if (description_compile(&d, 2 + (uint32_t)(word() % 250), 1, (enum tune)(i % 2), &s) == STATUS_OK)
            schedule_clear(&s);
        if (i % 4)
            d.range[at] = kept;
    }
}
END_TEST

START_TEST(weights_of_any_scale_are_refused_or_compiled)
{
    for (int i = 0; i < 1000; i++) {
        const uint32_t at = (uint32_t)(word() % d.weights);
        const int kept = d.weight_frac[at];
        struct schedule s;
        d.weight_frac[at] = (int)(word() % 129) - 64;
        if (description_compile(&d, 9, 1, (enum tune)(i % 2), &s) == STATUS_OK)
            schedule_clear(&s);
        d.weight_frac[at] = kept;
    }
}
END_TEST

/* Refused before memory is taken: the test may have a gigabyte, where no sanitizer's shadow needs more addresses. */
START_TEST(a_schedule_beyond_all_memory_is_refused_in_none)
{
    struct rlimit limit = {(rlim_t)1 << 30, (rlim_t)1 << 30};
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
#else
    (void)limit;
#endif
    struct schedule s;
    d.config.positions = 65536;
    /* 1024 * 2 * 65536 rows of scores are more than 32 bits hold. */
    ck_assert_int_eq(description_compile(&d, 65536, 1024, TUNE_WAN, &s), STATUS_RANGE);
    ck_assert_ptr_nonnull(strstr(status_message(), "smaller bucket or batch"));
    d.config.hidden = 16384;
    d.config.heads = 1024;
    d.config.ffn = 65536;
    ck_assert_int_eq(description_compile(&d, 65536, 1024, TUNE_WAN, &s), STATUS_RANGE);
    ck_assert_int_eq(description_compile(&d, 4096, 1, TUNE_WAN, &s), STATUS_RANGE);
    ck_assert_int_eq(description_compile(&d, 65536, 1, TUNE_LAN, &s), STATUS_RANGE);
    ck_assert_int_eq(description_compile(&d, 2, 1025, TUNE_WAN, &s), STATUS_INPUT);
    ck_assert_int_eq(description_compile(&d, 65537, 1, TUNE_WAN, &s), STATUS_INPUT);
    ck_assert_int_eq(description_compile(&d, 0, 1, TUNE_WAN, &s), STATUS_INPUT);
    ck_assert_int_eq(description_compile(&d, 2, 0, TUNE_WAN, &s), STATUS_INPUT);
}
END_TEST

START_TEST(a_round_that_is_no_message_is_refused_though_each_part_were_one)
{
    struct schedule s;
    d.config.hidden = 1024;
    d.config.heads = 16;
    d.config.ffn = 64;
    d.config.positions = 150;
    ck_ok(description_compile(&d, 150, 64, TUNE_WAN, &s)); /* scores, and weighted values: 175.8 and 75 MiB */
    schedule_clear(&s);
    ck_assert_int_eq(description_compile(&d, 150, 70, TUNE_WAN, &s), STATUS_RANGE);
    ck_assert_msg(strstr(status_message(), "opened in a round takes 274.3 MiB"), "%s", status_message());
}
END_TEST

START_TEST(what_comes_near_zero_is_not_inverted)
{
    uint32_t refused = 0;
    for (uint32_t i = 0; i < d.ranges; i++)
        for (int k = 0; k < 3; k++) {
            const struct range kept = d.range[i];
            struct schedule s;
            d.range[i].smallest = k == 0 ? 0 : k == 1 ? -3 : 1e-12;
            const enum status status = description_compile(&d, 8, 1, TUNE_WAN, &s);
            if (status == STATUS_OK) {
                schedule_clear(&s);
            } else {
                ck_assert_int_eq(status, STATUS_RANGE);
                ck_assert_msg(strstr(status_message(), "as near to zero") ||
                                  strstr(status_message(), "too wide a range"),
                              "%s", status_message());
                refused++;
            }
            d.range[i] = kept;
        }
    /* A variance for each of five LayerNorms, a denominator for each layer. */
    ck_assert_uint_eq(refused, 3 * 7);
}
END_TEST

START_TEST(ranges_and_weights_must_be_as_many_as_the_schedule_has)
{
    struct schedule s;
    d.ranges--;
    ck_assert_int_eq(description_compile(&d, 8, 1, TUNE_WAN, &s), STATUS_FOREIGN);
    d.ranges++;
    d.weights--;
    ck_assert_int_eq(description_compile(&d, 8, 1, TUNE_WAN, &s), STATUS_FOREIGN);
    d.weights++;
    d.config.layers = 1;
    ck_assert_int_eq(description_compile(&d, 8, 1, TUNE_WAN, &s), STATUS_FOREIGN);
    d.config.layers = 3;
    ck_assert_int_eq(description_compile(&d, 8, 1, TUNE_WAN, &s), STATUS_FOREIGN);
}
END_TEST

/* Every range of a kind of tensor becomes `largest`, in all layers. */
static void set_ranges(const struct schedule *s, const char *kind, double largest, double smallest)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->tensors; i++) {
        const char *name = s->tensor[i].name;
        const size_t length = strlen(name), end = strlen(kind);
        if (s->tensor[i].ranged && length > end && strcmp(name + length - end, kind) == 0)
            d.range[n] = (struct range){.largest = largest, .smallest = smallest};
        n += s->tensor[i].ranged;
    }
}

/* Scores so large that their shift is at its limit, in large buckets only: what the owner chose for the key weights must fit all
 * buckets. */
START_TEST(weights_fit_every_bucket_whatever_the_scores)
{
    for (double scores = 10; scores < 400; scores *= 1.5) {
        struct schedule s;
        const double square = scores * scores;
        ck_ok(description_compile(&d, 2, 1, TUNE_WAN, &s));
        set_ranges(&s, " query", 8, 0.1);
        set_ranges(&s, " key", 8, 0.1);
        set_ranges(&s, " value", 1, 0.1);
        set_ranges(&s, " value weighted", 1, 0.1);
        set_ranges(&s, " scores", scores, 0.1);
        set_ranges(&s, " square", square, 0.1);
        set_ranges(&s, " context", square / 12, 0.1);
        set_ranges(&s, " denominator", square / 4, square / 8);
        double *largest = calloc(s.weights, sizeof *largest);
        for (uint32_t i = 0; i < s.weights; i++)
            largest[i] = 0.25;
        schedule_clear(&s);
        ck_ok(description_compile_owner(&d, largest, &s));
        for (uint32_t i = 0; i < s.weights; i++)
            d.weight_frac[i] = s.weight[i].frac;
        schedule_clear(&s);
        for (uint32_t bucket = 2; bucket <= d.config.positions; bucket = bucket * 5 / 4 + 1) {
            ck_ok(description_compile(&d, bucket, 1, TUNE_WAN, &s));
            schedule_clear(&s);
        }
        free(largest);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("description");
    TCase *tests = tcase_create("description");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, what_is_written_reads_back_the_same);
    tcase_add_test(tests, everyone_compiles_the_same_schedule);
    tcase_add_test(tests, a_schedule_of_anything_else_has_another_hash);
    tcase_add_test(tests, a_changed_range_changes_the_hash);
    tcase_add_test(tests, ranges_tell_no_more_than_scales_need);
    tcase_add_test(tests, an_upload_under_another_nonce_is_another_model);
    tcase_add_test(tests, a_mutated_description_never_crashes_who_reads_it);
    tcase_add_test(tests, names_and_labels_with_control_characters_are_refused);
    tcase_add_test(tests, names_and_labels_that_are_not_utf_8_are_not_written);
    tcase_add_test(tests, ranges_of_any_kind_are_refused_or_compiled);
    tcase_add_test(tests, weights_of_any_scale_are_refused_or_compiled);
    tcase_add_test(tests, a_schedule_beyond_all_memory_is_refused_in_none);
    tcase_add_test(tests, a_round_that_is_no_message_is_refused_though_each_part_were_one);
    tcase_add_test(tests, what_comes_near_zero_is_not_inverted);
    tcase_add_test(tests, ranges_and_weights_must_be_as_many_as_the_schedule_has);
    tcase_add_test(tests, weights_fit_every_bucket_whatever_the_scores);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
