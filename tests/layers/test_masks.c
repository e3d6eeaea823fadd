/* Masks are used once: every stream that is ever made has a key of its own. The test stands between the walks
 * and ring_stream_key (the linker's --wrap) and writes down what is asked for. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "layers/gates.h"
#include "ring/parameters.h"
#include "tests/layers/student.h"
#include "tests/run.h"

void __real_ring_stream_key(struct ring_seed *out, const struct ring_seed *secret, const void *context,
                            size_t context_bytes, uint32_t object, enum ring_purpose purpose);
void __wrap_ring_stream_key(struct ring_seed *out, const struct ring_seed *secret, const void *context,
                            size_t context_bytes, uint32_t object, enum ring_purpose purpose);

#define MOST 8192

struct asked {
    struct ring_seed key, secret;
    uint32_t object;
    enum ring_purpose purpose;
};

/* What was asked for since it was last emptied. */
struct record {
    struct asked entry[MOST];
    size_t count;
};

static struct record all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void __wrap_ring_stream_key(struct ring_seed *out, const struct ring_seed *secret, const void *context,
                            size_t context_bytes, uint32_t object, enum ring_purpose purpose)
{
    __real_ring_stream_key(out, secret, context, context_bytes, object, purpose);
    pthread_mutex_lock(&lock);
    if (all.count < MOST)
        all.entry[all.count++] = (struct asked){*out, *secret, object, purpose};
    pthread_mutex_unlock(&lock);
}

static struct record taken(void)
{
    const struct record copy = all;
    ck_assert_uint_lt(copy.count, MOST);
    all.count = 0;
    return copy;
}

static int by_key(const void *a, const void *b)
{
    return memcmp(&((const struct asked *)a)->key, &((const struct asked *)b)->key, sizeof(struct ring_seed));
}

/* Sorts. */
static size_t repeated(struct record *r)
{
    size_t count = 0;
    qsort(r->entry, r->count, sizeof *r->entry, by_key);
    for (size_t i = 1; i < r->count; i++)
        count += by_key(&r->entry[i - 1], &r->entry[i]) == 0;
    return count;
}

static bool holds(const struct record *sorted, const struct asked *a)
{
    return bsearch(a, sorted->entry, sorted->count, sizeof *a, by_key) != NULL;
}

static size_t count_purpose(const struct record *r, enum ring_purpose purpose)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++)
        count += r->entry[i].purpose == purpose;
    return count;
}

static struct model model;
static struct student student;

enum { BUCKET = 12, HIDDEN = 16 };

static void start(void)
{
    static const struct model_config shape = {
        .hidden = HIDDEN, .layers = 2, .heads = 2, .ffn = 24, .vocabulary = 50, .positions = BUCKET};
    uint32_t id[BUCKET];
    three_seed(71);
    student_random(&student, &model, &shape);
    student_compile(&student, BUCKET, 1, TUNE_WAN);
    student_random_text(&model, id, BUCKET);
    student_embed(&student, &(struct sample){id, NULL, BUCKET - 3});
    all.count = 0;
}

static void stop(void)
{
    student_close(&student);
    model_clear(&model);
}

START_TEST(no_two_streams_of_two_bundles_have_one_key)
{
    static struct record both;
    three_deal(&student.three);
    three_deal(&student.three);
    both = taken();
    ck_assert_uint_gt(both.count, 300);
    ck_assert_uint_eq(repeated(&both), 0);
}
END_TEST

/* Neither does a bundle with the same seeds and another name, or the same name and other seeds. */
START_TEST(the_name_of_the_bundle_and_its_seed_are_both_part_of_the_key)
{
    static struct record both;
    static const char name[2][32] = {"a bundle", "another bundle"};
    struct ring_seed seed = {{1}}, other = {{2}}, key;
    for (uint32_t object = 0; object < 3; object++)
        for (enum ring_purpose purpose = RING_PURPOSE_MASK; purpose <= RING_PURPOSE_INPUT; purpose++)
            for (int n = 0; n < 4; n++)
                ring_stream_key(&key, n & 1 ? &seed : &other, name[n / 2], sizeof name[n / 2], object,
                                purpose);
    both = taken();
    ck_assert_uint_eq(both.count, 3 * 6 * 4);
    ck_assert_uint_eq(repeated(&both), 0);
}
END_TEST

START_TEST(every_opening_every_product_and_every_index_has_its_own_stream)
{
    static struct record dealt;
    const struct schedule *s = &student.schedule;
    size_t emitting = 0, products = 0;
    for (uint32_t i = 0; i < s->gates; i++) {
        emitting += s->gate[i].emits;
        products += gate_walks(s->gate[i].kind)->product;
    }
    three_deal(&student.three);
    dealt = taken();
    ck_assert_uint_eq(count_purpose(&dealt, RING_PURPOSE_MASK), 2 * emitting);
    ck_assert_uint_eq(count_purpose(&dealt, RING_PURPOSE_PRODUCT), products);
    ck_assert_uint_eq(count_purpose(&dealt, RING_PURPOSE_INDEX), 2 * s->lookups);
    ck_assert_uint_eq(count_purpose(&dealt, RING_PURPOSE_ROOT), 2 * s->lookups);
    ck_assert_uint_gt(s->checks, 0);
    ck_assert_uint_eq(count_purpose(&dealt, RING_PURPOSE_CHECK), s->checks);
    ck_assert_uint_eq(count_purpose(&dealt, RING_PURPOSE_FACTOR), 2 * s->checks);
    ck_assert_uint_eq(dealt.count, 2 * emitting + products + 4 * s->lookups + 3 * s->checks);
}
END_TEST

/* The evaluators make what the dealer made, each only its own, and each once in a walk. */
START_TEST(the_evaluators_streams_are_the_dealers_and_apart_from_each_other)
{
    static struct record dealt, walk, own[3];
    struct ring_seed seed[3];
    int64_t logits[8];
    three_deal(&student.three);
    dealt = taken();
    ck_assert_uint_eq(repeated(&dealt), 0);
    for (int p = 1; p < 3; p++)
        seed[p] = student.three.party[p].evaluator.seed;
    three_prepare(&student.three);
    walk = taken();
    ck_assert_uint_eq(repeated(&walk), 0);
    for (size_t i = 0; i < walk.count; i++)
        ck_assert(holds(&dealt, &walk.entry[i]));
    three_online(&student.three, (const int64_t *const *)student.input, logits);
    walk = taken();
    ck_assert_uint_eq(repeated(&walk), 0);
    for (size_t i = 0; i < walk.count; i++) {
        ck_assert(holds(&dealt, &walk.entry[i]));
        const int p = memcmp(&walk.entry[i].secret, &seed[1], sizeof seed[1]) == 0 ? 1 : 2;
        ck_assert_mem_eq(&walk.entry[i].secret, &seed[p], sizeof seed[p]);
        own[p].entry[own[p].count++] = walk.entry[i];
    }
    /* Every masked opening, at each of them. */
    for (int p = 1; p < 3; p++) {
        size_t emitting = 0;
        for (uint32_t i = 0; i < student.schedule.gates; i++)
            emitting += student.schedule.gate[i].emits;
        ck_assert_uint_eq(count_purpose(&own[p], RING_PURPOSE_MASK), emitting);
        repeated(&own[p]);
    }
    for (size_t i = 0; i < own[1].count; i++)
        ck_assert(!holds(&own[2], &own[1].entry[i]));
    ck_assert_uint_eq(
        count_purpose(&own[2], RING_PURPOSE_PRODUCT) + count_purpose(&own[2], RING_PURPOSE_CHECK), 0);
}
END_TEST

/* The second time, what was dealt has no mask any more; before warming, it has none yet. Nothing is queued in either case. */
START_TEST(an_evaluator_walks_once_and_only_when_it_was_warmed)
{
    int64_t logits[8];
    three_offline(&student.three);
    three_online(&student.three, (const int64_t *const *)student.input, logits);
    for (int p = 1; p < 3; p++) {
        struct evaluator *spent = &student.three.party[p].evaluator,
                         fresh = {.schedule = &student.schedule, .party = p};
        ck_assert_int_eq(walk_online(spent, student.three.party[p].input, NULL), STATUS_STATE);
        ck_ok(evaluator_init(&fresh));
        ck_assert_int_eq(walk_online(&fresh, student.three.party[p].input, NULL), STATUS_STATE);
        evaluator_clear(&fresh);
    }
}
END_TEST

/* Inputs that a client of its own making can share: below the bound of its check, and far from what calibration saw. The variance leaves its
 * table, squares leave 2^61, and masks of that width hide nothing. Both evaluators end there, in the same round and words; whatever they
 * finish was hidden. */
START_TEST(what_no_value_in_range_opens_ends_both_walks_alike)
{
    struct three *t = &student.three;
    const size_t n = (size_t)student.schedule.bucket * 16;
    int ended = 0, finished = 0;
    int64_t *x = malloc(n * sizeof *x), largest = 0;
    ck_assert_ptr_nonnull(x);
    const int64_t *const input[2] = {x, student.input[1]};
    for (size_t i = 0; i < n; i++)
        largest = llabs(student.input[0][i]) > largest ? llabs(student.input[0][i]) : largest;
    for (int64_t factor = 1; factor * largest < RING_RANGE; factor *= 2) {
        for (size_t i = 0; i < n; i++)
            x[i] = student.input[0][i] * factor;
        three_offline(t);
        const enum status status = three_online_hostile(t, input, -1);
        ck_assert_int_eq(t->party[2].status, status);
        ck_assert_uint_eq(t->party[1].rounds, t->party[2].rounds);
        ck_assert(status == STATUS_OK || status == STATUS_RANGE);
        for (int p = 1; p < 3 && status != STATUS_OK; p++)
            ck_assert_str_eq(t->party[p].message,
                             "a value left its range: the text is unlike those of calibration");
        for (uint32_t g = 0; g < student.schedule.gates && status == STATUS_OK; g++)
            for (size_t i = 0; student.schedule.gate[g].emits &&
                               i < tensor_size(&t->schedule.tensor[student.schedule.gate[g].out]);
                 i++)
                ck_must(llabs(three_value(t, student.schedule.gate[g].out, i)) < INT64_C(1) << 61,
                        "an opened value was not hidden");
        ck_assert(factor > 1 || status == STATUS_OK);
        ended += status != STATUS_OK;
        finished += status == STATUS_OK;
    }
    ck_assert_int_gt(ended, 0);
    ck_assert_int_gt(finished, 0);
    free(x);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("masks");
    TCase *tests = tcase_create("masks");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, no_two_streams_of_two_bundles_have_one_key);
    tcase_add_test(tests, the_name_of_the_bundle_and_its_seed_are_both_part_of_the_key);
    tcase_add_test(tests, every_opening_every_product_and_every_index_has_its_own_stream);
    tcase_add_test(tests, the_evaluators_streams_are_the_dealers_and_apart_from_each_other);
    tcase_add_test(tests, an_evaluator_walks_once_and_only_when_it_was_warmed);
    tcase_add_test(tests, what_no_value_in_range_opens_ends_both_walks_alike);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
