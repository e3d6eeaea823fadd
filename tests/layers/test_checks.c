/* Range checks: what passes, what ends both walks, what an evaluator sees of either, and what a client of its own making gets opened
 * before it ends. */
#include <stdlib.h>
#include <string.h>

#include "layers/gate_check.h"
#include "ring/prime.h"
#include "tests/layers/student.h"
#include "tests/layers/trial.h"
#include "tests/run.h"

/* ---- one checked input ---- */

enum { SIZE = 12, BITS = 14, MOST = 5 };
enum kind { SIGNED, BELOW, POWERS, KINDS };

static struct trial t;

static void start(enum kind kind)
{
    trial_start(&t, SIZE, 1);
    const uint32_t x = trial_input(&t, SIZE, 1, 0, 0);
    if (kind == SIGNED)
        gate_check_signed(&t.schedule, x, BITS, "check");
    else if (kind == BELOW)
        gate_check_below(&t.schedule, x, BITS, "check");
    else
        gate_check_powers(&t.schedule, x, MOST, "check");
    trial_finish(&t);
    ck_assert_uint_eq(t.schedule.rounds, 2);
}

/* Whether the walk goes through with x at one place and zeros elsewhere; how far it came is the same at both evaluators. */
static bool passes(int64_t x)
{
    const uint32_t at = three_between(0, SIZE - 1);
    memset(t.input[0], 0, SIZE * sizeof *t.input[0]);
    t.input[0][at] = x;
    three_offline(&t.three);
    const enum status status = three_online_hostile(&t.three, (const int64_t *const *)t.input, -1);
    ck_assert(status == STATUS_OK || status == STATUS_RANGE);
    ck_assert_int_eq(t.three.party[2].status, status);
    ck_assert_uint_eq(t.three.party[1].rounds, t.three.party[2].rounds);
    return status == STATUS_OK;
}

/* The masks decide between floor(x / 2^k) and one more: each value is tried under several. */
static void all_pass(const int64_t *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int repeat = 0; repeat < 12; repeat++)
            ck_assert_msg(passes(x[i]), "%lld does not pass", (long long)x[i]);
}

static void none_passes(const int64_t *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int repeat = 0; repeat < 12; repeat++)
            ck_assert_msg(!passes(x[i]), "%lld passes", (long long)x[i]);
}

#define LIST(...) (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

static const int64_t one = 1;

START_TEST(a_signed_check_lets_pass_what_is_below_its_bound)
{
    start(SIGNED);
    all_pass(LIST(0, 1, -1, 1000, (one << BITS) - 1, -(one << BITS) + 1, -(one << BITS)));
    none_passes(LIST(one << (BITS + 1), -(one << (BITS + 1)), 3 * (one << BITS), one << 30, -(one << 40),
                     one << 61, (one << 61) - 59, one << 62, -(one << 62), INT64_MAX, INT64_MIN));
    trial_end(&t);
}
END_TEST

START_TEST(a_check_of_a_table_lets_pass_what_the_table_holds)
{
    start(BELOW);
    all_pass(LIST(0, 1, 1000, (one << BITS) / 16 * 15 - 1));
    none_passes(LIST(one << BITS, (one << BITS) + 1, -(one << BITS) / 16 - 1, -(one << BITS), one << 22,
                     (one << 40) + 5, one << 61, INT64_MAX, INT64_MIN));
    trial_end(&t);
}
END_TEST

/* Integers that are a root but for a multiple of p, or of what was taken for p, among them. */
START_TEST(a_check_of_powers_lets_nothing_else_pass)
{
    start(POWERS);
    all_pass(LIST(0, 1, 2, 4, 8, 16, 32));
    none_passes(LIST(-1, 3, 5, 31, 33, 64, -2, -32, one << 20, (one << 61) - 1, (one << 61), one << 62,
                     -(one << 62), (one << 62) + 58, INT64_MAX - 58, INT64_MIN + 60));
    for (int64_t x = -70; x < 140; x++)
        ck_assert(passes(x) == (x >= 0 && x <= 32 && (x & (x - 1)) == 0));
    trial_end(&t);
}
END_TEST

/* Of two elements, each of which may be what it is. */
START_TEST(a_check_of_sums_judges_their_sums)
{
    trial_start(&t, SIZE, 1);
    const uint32_t in = trial_input(&t, SIZE, 1, 0, 0);
    gate_check_powers(&t.schedule, in, MOST, "check");
    gate_check_sums(&t.schedule, in, 2, 5, "sum check");
    trial_finish(&t);
    ck_assert_uint_eq(t.schedule.check[1].count, SIZE / 2);
    static const struct {
        int64_t one, two;
        bool passes;
    } pairs[] = {{1, 2, true},
                 {16, 8, true},
                 {8, 16, true},
                 {0, 16, true},
                 {16, 16, false},
                 {32, 0, false},
                 {2, 32, false},
                 {32, 32, false},
                 {24, 0, false},
                 {40, -16, false},
                 {one << 61, 8 - (one << 61), false}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (uint32_t at = 0; at < SIZE; at += 2) {
            memset(t.input[0], 0, SIZE * sizeof *t.input[0]);
            t.input[0][at] = pairs[i].one;
            t.input[0][at + 1] = pairs[i].two;
            three_offline(&t.three);
            const enum status status = three_online_hostile(&t.three, (const int64_t *const *)t.input, -1);
            ck_assert_msg((status == STATUS_OK) == pairs[i].passes, "pair %zu", i);
        }
    trial_end(&t);
}
END_TEST

/* Alone they could be off by a multiple of p. */
START_TEST(a_check_of_sums_alone_is_refused)
{
    for (int beside = 0; beside < 3; beside++) {
        trial_start(&t, SIZE, 1);
        const uint32_t in = gate_input(&t.schedule, SIZE, 1, 0, "in"),
                       other = gate_input(&t.schedule, SIZE, 1, 0, "other");
        if (beside == 1)
            gate_check_signed(&t.schedule, in, BITS, "check");
        if (beside == 2)
            gate_check_powers(&t.schedule, other, MOST, "check");
        gate_check_sums(&t.schedule, in, 2, BITS, "sum check");
        t.schedule.ranges = t.schedule.ranged;
        ck_assert_int_eq(schedule_finish(&t.schedule), STATUS_RANGE);
        ck_assert_ptr_nonnull(strstr(status_message(), "sum check does not fit"));
        schedule_clear(&t.schedule);
    }
}
END_TEST

/* What is opened is zero, or tells nothing: another number each time, for the same value. */
START_TEST(what_does_not_pass_opens_a_random_number)
{
    enum { TIMES = 32 };
    uint64_t opened[TIMES];
    start(SIGNED);
    for (int i = 0; i < TIMES; i++) {
        ck_assert(!passes(one << 20));
        uint64_t share[3];
        for (int p = 1; p < 3; p++)
            share[p] = check_share(&t.three.party[p].evaluator, &t.three.schedule.gate[1]);
        opened[i] = ring_prime_add(share[1], share[2]);
        ck_assert(!check_passes(share[1], share[2]));
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(opened[i], opened[j]);
    }
    ck_assert(passes(5));
    const struct evaluator *e = &t.three.party[1].evaluator, *other = &t.three.party[2].evaluator;
    const uint64_t u = check_share(e, &t.three.schedule.gate[1]),
                   v = check_share(other, &t.three.schedule.gate[1]);
    ck_assert_uint_ne(u, 0);
    ck_assert_uint_eq(ring_prime_add(u, v), 0);
    ck_assert(check_passes(u, v) && !check_passes(u, v + 1) && !check_passes(u, 0));
    trial_end(&t);
}
END_TEST

/* Whoever knows rho, P0, could choose two wrong elements that cancel, if it knew what they are multiplied with: chi has to count. */
START_TEST(elements_are_weighted_by_what_the_dealer_does_not_know)
{
    start(SIGNED);
    ck_assert(!passes(one << 20));
    struct evaluator *e = &t.three.party[1].evaluator, *f = &t.three.party[2].evaluator;
    t.input[0][0] = t.input[0][1] = one << 20;
    three_offline(&t.three);
    ck_assert_int_eq(three_online_hostile(&t.three, (const int64_t *const *)t.input, -1), STATUS_RANGE);
    uint64_t seen[3];
    for (uint64_t k = 0; k < 3; k++) {
        e->point = f->point = 77 + k;
        seen[k] = ring_prime_add(check_share(e, &t.three.schedule.gate[1]),
                                 check_share(f, &t.three.schedule.gate[1]));
    }
    ck_assert(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
    trial_end(&t);
}
END_TEST

START_TEST(an_evaluator_without_a_point_does_not_walk)
{
    int64_t none;
    start(SIGNED);
    three_offline(&t.three);
    struct evaluator *e = &t.three.party[1].evaluator;
    e->point = 0;
    e->warm = true; /* as walk_warm leaves it */
    ck_assert_int_eq(walk_online(e, NULL, (uint32_t *)&none), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "range checks"));
    trial_end(&t);
}
END_TEST

START_TEST(a_check_of_what_is_not_opened_is_refused)
{
    trial_start(&t, SIZE, 1);
    const uint32_t x = gate_input(&t.schedule, SIZE, 2, 0, "x");
    gate_check_signed(&t.schedule, gate_centre(&t.schedule, x, "centred"), BITS, "check");
    t.schedule.ranges = t.schedule.ranged;
    ck_assert_int_eq(schedule_finish(&t.schedule), STATUS_RANGE);
    ck_assert_ptr_nonnull(strstr(status_message(), "check does not fit what it reads"));
    schedule_clear(&t.schedule);
    for (int i = 0; i < 2; i++) {
        trial_start(&t, SIZE, 1);
        gate_check_signed(&t.schedule, gate_input(&t.schedule, SIZE, 2, 0, "x"), i ? -1 : 61, "check");
        t.schedule.ranges = t.schedule.ranged;
        ck_assert_int_eq(schedule_finish(&t.schedule), STATUS_RANGE);
        schedule_clear(&t.schedule);
    }
}
END_TEST

/* ---- a student, and clients of their own making ---- */

enum { BUCKET = 12, HIDDEN = 16 };

static struct model model;
static struct student student;
static int64_t x[BUCKET * HIDDEN], mu[BUCKET];

static void start_student(void)
{
    static const struct model_config shape = {
        .hidden = HIDDEN, .layers = 2, .heads = 2, .ffn = 24, .vocabulary = 50, .positions = BUCKET};
    uint32_t id[BUCKET];
    three_seed(72);
    student_random(&student, &model, &shape);
    student_compile(&student, BUCKET, 1, TUNE_WAN);
    student_random_text(&model, id, BUCKET);
    student_embed(&student, &(struct sample){id, NULL, BUCKET - 3});
    memcpy(x, student.input[0], sizeof x);
    memcpy(mu, student.input[1], sizeof mu);
}

static void stop_student(void)
{
    student_close(&student);
    model_clear(&model);
}

static uint64_t most(uint64_t largest, int64_t value)
{
    const uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return size > largest ? size : largest;
}

/* The bits of the largest value that was opened; rounds: how many exchanges were run. */
static int opened_bits(uint32_t *rounds, enum status *status)
{
    struct three *three = &student.three;
    const int64_t *const input[2] = {x, mu};
    uint64_t largest = 0;
    int bits = 0;
    three_offline(three);
    *status = three_online_hostile(three, input, -1);
    ck_assert_int_eq(three->party[2].status, *status);
    *rounds = three->party[1].rounds;
    for (uint32_t i = 0; i < student.schedule.gates; i++) {
        const struct gate *g = &student.schedule.gate[i];
        for (size_t k = 0;
             g->emits && g->round < *rounds && k < tensor_size(&student.schedule.tensor[g->out]); k++)
            largest = most(largest, three_value(three, g->out, k));
    }
    while (largest >> bits)
        bits++;
    return bits;
}

/* Far below 2^61, whatever is shared; nothing that a weight went into is opened where the inputs are no inputs. */
START_TEST(a_client_that_shares_anything_gets_nothing_opened_that_is_not_hidden)
{
    uint32_t rounds;
    enum status status;
    ck_assert_int_le(opened_bits(&rounds, &status), RING_RANGE_BITS);
    ck_assert_int_eq(status, STATUS_OK);
    int ended[3] = {0}, most = 0;
    for (int round = 0; round < 60; round++) {
        const int scale = round % 10, way = round / 10 % 3;
        for (size_t i = 0; i < BUCKET * HIDDEN; i++)
            x[i] = way == 0   ? student.input[0][i] * (1 << scale)
                   : way == 1 ? three_integer(student.three.schedule.check[0].root[2]
                                              << (student.schedule.check[0].shift - scale))
                              : (i % HIDDEN < 2
                                     ? (i % 2 ? 1 : -1) * (one << (student.schedule.check[0].shift - scale))
                                     : 0);
        const int bits = opened_bits(&rounds, &status);
        ended[way] += status != STATUS_OK;
        most = bits > most ? bits : most;
        ck_assert_int_lt(bits, 44);
    }
    ck_assert_int_gt(ended[0], 0);
    ck_assert_int_lt(ended[0], 20);
}
END_TEST

/* Squares of 2^41 and more vanish modulo 2^80: the first LayerNorm sees nothing, and without a check of the inputs themselves the weights
 * behind it would be opened. */
START_TEST(inputs_whose_squares_vanish_end_before_any_weight_is_used)
{
    for (int k = 24; k < 62; k++) {
        for (size_t i = 0; i < BUCKET * HIDDEN; i++)
            x[i] = i % HIDDEN == (size_t)k % HIDDEN         ? one << k
                   : i % HIDDEN == (size_t)(k + 1) % HIDDEN ? -(one << k)
                                                            : student.input[0][i];
        uint32_t rounds;
        enum status status;
        opened_bits(&rounds, &status);
        ck_assert_int_eq(status, STATUS_RANGE);
        ck_assert_uint_le(rounds, 2);
    }
}
END_TEST

START_TEST(an_attention_mask_that_is_none_ends_before_it_weighs_anything)
{
    static const int64_t wrong[] = {-1, 3, 7, 2 * BUCKET, 1 << 20, INT64_C(1) << 45, -(INT64_C(1) << 61)};
    for (size_t k = 0; k <= sizeof wrong / sizeof *wrong; k++) {
        memcpy(mu, student.input[1], sizeof mu);
        if (k < sizeof wrong / sizeof *wrong)
            mu[k % BUCKET] = wrong[k];
        for (size_t i = 0; k == sizeof wrong / sizeof *wrong && i < BUCKET; i++)
            mu[i] = 4; /* a mask each, and not all together */
        uint32_t rounds;
        enum status status;
        opened_bits(&rounds, &status);
        ck_assert_int_eq(status, STATUS_RANGE);
        ck_assert_uint_le(rounds, 2);
    }
}
END_TEST

/* The round in which each tensor of a name is opened. */
static uint32_t round_of(const char *name)
{
    for (uint32_t i = 0; i < student.schedule.gates; i++)
        if (strcmp(student.schedule.tensor[student.schedule.gate[i].out].name, name) == 0)
            return student.schedule.gate[i].round;
    ck_abort_msg("there is no %s", name);
    return 0;
}

/* What is multiplied with an inverse, and what it is multiplied with, is opened when the check of what was inverted is known. */
START_TEST(nothing_is_multiplied_with_an_inverse_before_its_check_is_known)
{
    for (enum tune tune = TUNE_WAN; tune <= TUNE_LAN; tune++) {
        student_compile(&student, BUCKET, 1, tune);
        static const char *const all[][3] = {
            {"embeddings norm root check", "embeddings norm root e", "embeddings norm"},
            {"layer 1 inverse check", "layer 1 inverse e", "layer 1 context"},
            {"layer 1 attention norm root check", "layer 1 attention norm root e", "layer 1 attention norm"},
            {"layer 2 inverse check", "layer 2 inverse e", "layer 2 context"},
        };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            for (int k = 1; k < 3; k++)
                ck_assert_msg(round_of(all[i][k]) > round_of(all[i][0]), "%s", all[i][k]);
        ck_assert_uint_eq(round_of("embeddings check"), 1);
        ck_assert_uint_eq(round_of("embeddings mask check"), 1);
        ck_assert_uint_eq(round_of("embeddings mask sum check"), 1);
        ck_assert_uint_gt(round_of("layer 1 query"), 2);
        ck_assert_uint_eq(student.schedule.checks, 3 + 1 + 2 * 3);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checks");
    TCase *tests = tcase_create("one input");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_signed_check_lets_pass_what_is_below_its_bound);
    tcase_add_test(tests, a_check_of_a_table_lets_pass_what_the_table_holds);
    tcase_add_test(tests, a_check_of_powers_lets_nothing_else_pass);
    tcase_add_test(tests, a_check_of_sums_judges_their_sums);
    tcase_add_test(tests, a_check_of_sums_alone_is_refused);
    tcase_add_test(tests, what_does_not_pass_opens_a_random_number);
    tcase_add_test(tests, elements_are_weighted_by_what_the_dealer_does_not_know);
    tcase_add_test(tests, an_evaluator_without_a_point_does_not_walk);
    tcase_add_test(tests, a_check_of_what_is_not_opened_is_refused);
    suite_add_tcase(suite, tests);
    TCase *whole = tcase_create("a student");
    tcase_set_timeout(whole, 120);
    tcase_add_checked_fixture(whole, start_student, stop_student);
    tcase_add_test(whole, a_client_that_shares_anything_gets_nothing_opened_that_is_not_hidden);
    tcase_add_test(whole, inputs_whose_squares_vanish_end_before_any_weight_is_used);
    tcase_add_test(whole, an_attention_mask_that_is_none_ends_before_it_weighs_anything);
    tcase_add_test(whole, nothing_is_multiplied_with_an_inverse_before_its_check_is_known);
    suite_add_tcase(suite, whole);
    return run_suite(suite);
}
