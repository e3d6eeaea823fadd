/* What is counted before a run is what the run sends, receives and keeps, to the byte, gate by gate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "layers/gates.h"
#include "tests/layers/student.h"
#include "tests/run.h"

static struct model model;
static struct student student;

enum { LONGEST = 160 };

static void make(const struct model_config *shape)
{
    openblas_set_num_threads(1); /* its own are beyond the thread sanitizer */
    three_seed(61);
    student_random(&student, &model, shape);
}

static void start(void)
{
    make(&(struct model_config){.hidden = 16,
                                .layers = 2,
                                .heads = 2,
                                .ffn = 24,
                                .vocabulary = 50,
                                .positions = 16,
                                .learned_c = true});
}

/* Rows and columns beyond one part's. */
static void start_large(void)
{
    make(&(struct model_config){.hidden = 400,
                                .layers = 2,
                                .heads = 2,
                                .ffn = 450,
                                .vocabulary = 50,
                                .positions = LONGEST,
                                .learned_c = true});
}

static void stop(void)
{
    student_close(&student);
    model_clear(&model);
}

static const struct {
    uint32_t bucket, batch;
    enum tune tune;
} shapes[] = {{8, 1, TUNE_WAN}, {16, 1, TUNE_LAN}, {5, 3, TUNE_WAN}, {2, 1, TUNE_WAN}, {7, 2, TUNE_LAN}};

/* A text for every sequence of the batch, and a run. */
static void run(uint32_t bucket, uint32_t batch, enum tune tune)
{
    uint32_t id[4][LONGEST];
    struct sample text[4];
    double logits[8];
    student_compile(&student, bucket, batch, tune);
    for (uint32_t b = 0; b < batch; b++) {
        student_random_text(&model, id[b], bucket);
        text[b] = (struct sample){id[b], NULL, bucket - b % 2};
    }
    student_embed(&student, text);
    student_private(&student, logits);
}

START_TEST(totals_equal_what_a_run_moves)
{
    const struct three *t = &student.three;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct cost cost;
        run(shapes[i].bucket, shapes[i].batch, shapes[i].tune);
        walk_count(&student.schedule, &cost);
        for (int p = 1; p < 3; p++) {
            ck_assert_uint_eq(t->party[p].rounds, cost.rounds);
            ck_assert_uint_eq(t->party[p].sent, cost.online_bytes);
        }
        ck_assert_uint_eq(three_dealt_bytes(t, 1), cost.offline_p1);
        ck_assert_uint_eq(three_dealt_bytes(t, 2), cost.offline_p2);
        ck_assert_uint_eq(cost.offline_bytes, cost.offline_p1 + cost.offline_p2);
        ck_assert_uint_eq(three_kept_bytes(t, 1), cost.store_p1);
        ck_assert_uint_eq(three_kept_bytes(t, 2), cost.store_bytes);
    }
}
END_TEST

START_TEST(every_gate_moves_what_is_counted_for_it)
{
    const struct three *t = &student.three;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        run(shapes[k].bucket, shapes[k].batch, shapes[k].tune);
        for (uint32_t i = 0; i < student.schedule.gates; i++) {
            const size_t *dealt1 = t->party[1].dealt_bytes[i], *dealt2 = t->party[2].dealt_bytes[i];
            const size_t *kept1 = t->party[1].kept_bytes[i], *kept2 = t->party[2].kept_bytes[i];
            struct cost cost = {0};
            walk_count_gate(&student.schedule, &student.schedule.gate[i], &cost);
            ck_assert_uint_eq(dealt1[0] + dealt1[1] + dealt1[2], cost.offline_p1);
            ck_assert_uint_eq(dealt2[0] + dealt2[1] + dealt2[2], cost.offline_p2);
            ck_assert_uint_eq(kept1[0] + kept1[1] + kept1[2], cost.store_p1);
            ck_assert_uint_eq(kept2[0] + kept2[1] + kept2[2], cost.store_bytes);
            /* P1 makes g_1 itself, and its shares of checks. */
            ck_assert_uint_eq(dealt1[PART_PRODUCT] + dealt1[PART_CHECK], 0);
        }
    }
}
END_TEST

START_TEST(every_round_sends_what_is_counted_for_its_gates)
{
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        run(shapes[k].bucket, shapes[k].batch, shapes[k].tune);
        const struct schedule *s = &student.schedule;
        for (uint32_t r = 0; r < s->rounds; r++) {
            struct cost cost = {0};
            for (uint32_t i = 0; i < s->gates; i++)
                if (s->gate[i].round == r)
                    walk_count_gate(s, &s->gate[i], &cost);
            ck_assert_uint_gt(cost.online_bytes, 0);
            ck_assert_uint_eq(student.three.party[1].round_sent[r], cost.online_bytes);
            ck_assert_uint_eq(student.three.party[2].round_sent[r], cost.online_bytes);
        }
    }
}
END_TEST

static void check_parts(void)
{
    const struct schedule *s = &student.schedule;
    for (uint32_t r = 0; r < s->rounds; r++) {
        uint64_t largest = 0;
        for (uint32_t i = 0; i < s->gates; i++) {
            const uint64_t part = walk_count_part(s, &s->gate[i]);
            if (s->gate[i].round == r && s->gate[i].emits && part > largest)
                largest = part;
        }
        ck_assert_uint_eq(student.three.party[1].round_part[r], largest);
        ck_assert_uint_eq(student.three.party[2].round_part[r], largest);
    }
}

START_TEST(parts_are_as_large_as_counted)
{
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        run(shapes[k].bucket, shapes[k].batch, shapes[k].tune);
        check_parts();
    }
}
END_TEST

/* What is put together from parts is what it is in one piece: the fixed-point walk sends nothing. */
START_TEST(openings_of_many_parts_are_put_together_again)
{
    uint32_t id[LONGEST];
    double private[2], fixed[2];
    const struct sample text = {id, NULL, LONGEST - 3};
    uint64_t cut = 0;
    student_compile(&student, LONGEST, 1, TUNE_WAN);
    student_random_text(&model, id, LONGEST);
    student_embed(&student, &text);
    student_private(&student, private);
    student_fixed(&student, fixed);
    for (int i = 0; i < 2; i++)
        ck_assert_double_eq_tol(private[i], fixed[i], 0.02);
    check_parts();
    for (uint32_t r = 0; r < student.schedule.rounds; r++)
        cut += student.three.party[1].round_part[r] < student.three.party[1].round_sent[r] / 2;
    ck_assert_uint_ge(cut, 6);
}
END_TEST

START_TEST(openings_are_eight_bytes_and_indices_two)
{
    const struct schedule *s = &student.schedule;
    struct cost cost;
    uint64_t openings = 0, indices = 0;
    student_compile(&student, 8, 2, TUNE_WAN);
    walk_count(s, &cost);
    for (uint32_t i = 0; i < s->gates; i++)
        if (s->gate[i].emits)
            openings += tensor_size(&s->tensor[s->gate[i].out]);
    for (uint32_t i = 0; i < s->lookups; i++)
        indices += s->lookup[i].count;
    ck_assert_uint_eq(cost.openings, openings);
    ck_assert_uint_gt(s->checks, 0);
    ck_assert_uint_eq(cost.online_bytes, 8 * openings + 2 * indices + 8 * s->checks);
}
END_TEST

START_TEST(rounds_do_not_depend_on_the_bucket_or_the_batch)
{
    struct cost one, other;
    student_compile(&student, 2, 1, TUNE_WAN);
    walk_count(&student.schedule, &one);
    for (uint32_t bucket = 3; bucket <= 16; bucket += 5)
        for (uint32_t batch = 1; batch <= 3; batch++) {
            student_compile(&student, bucket, batch, TUNE_WAN);
            walk_count(&student.schedule, &other);
            ck_assert_uint_eq(one.rounds, other.rounds);
        }
}
END_TEST

/* DESIGN section 4, for each block; the last one computes only what the first token needs. */
START_TEST(a_block_opens_what_its_table_says)
{
    enum { S = 8, H = 16, A = 2, F = 24 };
    struct cost cost;
    student_compile(&student, S, 1, TUNE_WAN);
    walk_count(&student.schedule, &cost);
    const uint64_t norm = 5 * S + S * H, inputs = S * H + S + norm;
    const uint64_t full = 3 * S * H + (A * S * S + S * H) + A * S * S + (S * H + A * S) + 3 * A * S + S * H +
                          S * H + norm + S * F + S * F + S * H + norm;
    const uint64_t last =
        (H + 2 * S * H) + (A * S + S * H) + A * S + (H + A) + 3 * A + H + H + (5 + H) + F + F + H + (5 + H);
    ck_assert_uint_eq(cost.openings, inputs + full + last + 3 * H);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("counts");
    TCase *tests = tcase_create("counts");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, totals_equal_what_a_run_moves);
    tcase_add_test(tests, every_gate_moves_what_is_counted_for_it);
    tcase_add_test(tests, every_round_sends_what_is_counted_for_its_gates);
    tcase_add_test(tests, parts_are_as_large_as_counted);
    tcase_add_test(tests, openings_are_eight_bytes_and_indices_two);
    tcase_add_test(tests, rounds_do_not_depend_on_the_bucket_or_the_batch);
    tcase_add_test(tests, a_block_opens_what_its_table_says);
    suite_add_tcase(suite, tests);
    TCase *large = tcase_create("large");
    tcase_set_timeout(large, 240);
    tcase_add_checked_fixture(large, start_large, stop);
    tcase_add_test(large, openings_of_many_parts_are_put_together_again);
    suite_add_tcase(suite, large);
    return run_suite(suite);
}
