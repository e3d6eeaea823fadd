/* What a schedule promises before anyone walks it: order, bounds, and one message for what does not fit. */
#include <stdlib.h>
#include <string.h>

#include "layers/schedule.h"
#include "tests/layers/trial.h"
#include "tests/run.h"

static const struct multiply plain = {.add = SCHEDULE_NONE, .lookup = SCHEDULE_NONE, .frac = 10};

/* Finishes a schedule that must not pass, and clears it. */
static void refused(struct schedule *s, const char *part)
{
    s->ranges = s->ranged;
    ck_assert_int_eq(schedule_finish(s), STATUS_RANGE);
    ck_assert_msg(strstr(status_message(), part) != NULL, "message is: %s", status_message());
    schedule_clear(s);
}

static struct range one = {1, 1};

static struct schedule calibrated(void)
{
    struct schedule s;
    schedule_init(&s, 4, 1);
    s.range = &one;
    return s;
}

static struct multiply product(uint32_t x, uint32_t y, enum gate_spread spread)
{
    struct multiply m = plain;
    m.x = x;
    m.y = y;
    m.spread = spread;
    return m;
}

START_TEST(a_gate_runs_in_the_first_round_that_knows_what_it_reads)
{
    struct schedule s = calibrated();
    const uint32_t x = gate_input(&s, 4, 4, 10, "x"), y = gate_input(&s, 4, 4, 10, "y");
    struct multiply m = product(x, y, GATE_EACH);
    const uint32_t p = gate_multiply(&s, &m, "p");
    m = product(p, x, GATE_EACH);
    const uint32_t q = gate_multiply(&s, &m, "q");
    const uint32_t centred = gate_centre(&s, p, "centred");
    m = product(centred, y, GATE_EACH);
    gate_multiply(&s, &m, "r");
    gate_square(&s, y, 0, 10, "early");
    m = product(q, centred, GATE_EACH);
    gate_multiply(&s, &m, "late");
    s.ranges = s.ranged;
    ck_ok(schedule_finish(&s));
    static const char *const order[] = {"x", "y", "p", "early", "q", "centred", "r", "late"};
    static const uint32_t round[] = {0, 0, 1, 1, 2, 2, 2, 3};
    ck_assert_uint_eq(s.gates, 8);
    ck_assert_uint_eq(s.rounds, 4);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_str_eq(s.tensor[s.gate[i].out].name, order[i]);
        ck_assert_uint_eq(s.gate[i].round, round[i]);
    }
    /* x is read last by q, centred by the last gate of all. */
    ck_assert_uint_eq(s.tensor[x].last_gate, 4);
    ck_assert_uint_eq(s.tensor[centred].last_gate, 7);
    schedule_clear(&s);
}
END_TEST

START_TEST(a_shift_beyond_sixteen_bits_is_refused_by_name)
{
    struct schedule s = calibrated();
    const uint32_t x = gate_input(&s, 4, 4, 10, "x");
    gate_square(&s, x, 0, 3, "seventeen");
    refused(&s, "seventeen would need a shift of 17 bits");
    s = calibrated();
    gate_square(&s, gate_input(&s, 4, 4, 10, "x"), 0, 21, "minus one");
    refused(&s, "minus one would need a shift of -1 bits");
}
END_TEST

START_TEST(the_first_error_is_the_one_reported)
{
    struct schedule s = calibrated();
    const uint32_t x = gate_input(&s, 4, 4, 10, "x");
    const uint32_t y = gate_square(&s, x, 0, -20, "first");
    gate_square(&s, y, 0, 20, "second");
    refused(&s, "first would need");
}
END_TEST

START_TEST(operands_of_other_shapes_are_refused)
{
    const struct heads h = {.sequences = 1, .heads = 2, .queries = 3, .keys = 4, .width = 5};
    for (int i = 0; i < 9; i++) {
        struct schedule s = calibrated();
        const uint32_t a = gate_input(&s, 4, 10, 10, "a"), b = gate_input(&s, 4, 9, 10, "b");
        const uint32_t c = gate_input(&s, 3, 10, 10, "c"), column = gate_input(&s, 3, 1, 10, "column");
        struct multiply m = i == 0   ? product(a, b, GATE_EACH)
                            : i == 1 ? product(a, column, GATE_ROW)
                                     : product(a, column, GATE_HEAD);
        m.heads = h;
        if (i == 2)
            m = product(a, a, GATE_EACH), m.add = b;
        if (i <= 3)
            gate_multiply(&s, &m, "bad");
        else if (i == 4)
            gate_scores(&s, c, b, h, 5, false, 10, "bad");
        else if (i == 5)
            gate_scores(&s, a, a, h, 5, false, 10, "bad");
        else if (i == 6)
            gate_context(&s, b, a, h, 10, "bad");
        else if (i == 7)
            gate_row_dot(&s, a, column, h, 10, "bad");
        else
            gate_linear(&s, &(struct linear){a, b, 10, 10}, "bad");
        refused(&s, "bad does not fit what it reads");
    }
}
END_TEST

START_TEST(tables_of_other_sizes_are_refused)
{
    for (int bits = 2; bits <= 17; bits += 15) {
        struct schedule s = calibrated();
        const uint32_t v = gate_square(&s, gate_input(&s, 4, 4, 10, "x"), 0, 10, "v");
        gate_index(&s, v, bits, 10, 0, FUNCTION_INVERSE, 0);
        refused(&s, bits == 2 ? "2^2 cells" : "2^17 cells");
    }
    struct schedule s = calibrated();
    const uint32_t v = gate_square(&s, gate_input(&s, 4, 4, 10, "x"), 0, 10, "v");
    const uint32_t lookup = gate_index(&s, v, 4, 10, 0, FUNCTION_INVERSE, 0);
    lookup_table(&s, lookup, 10, calloc(16, sizeof(int64_t)));
    gate_table(&s, lookup, 0, 4, 5, "too wide");
    refused(&s, "too wide does not fit its table");
}
END_TEST

START_TEST(what_no_memory_could_hold_is_refused)
{
    struct schedule s = calibrated();
    gate_input(&s, 1u << 20, 1u << 11, 10, "vast");
    refused(&s, "vast would have 1048576 rows of 2048 elements");
    s = calibrated();
    const uint32_t x = gate_input(&s, 1u << 16, 1, 10, "x");
    const struct heads h = {
        .sequences = 1u << 16, .heads = 1u << 10, .queries = 1u << 10, .keys = 1, .width = 1};
    gate_scores(&s, x, x, h, 5, false, 10, "beyond 32 bits");
    refused(&s, "beyond 32 bits would have 68719476736 rows");
    s = calibrated();
    const uint32_t v = gate_square(&s, gate_input(&s, 1u << 16, 4, 10, "x"), 0, 10, "v");
    gate_index(&s, v, 16, 10, 0, FUNCTION_INVERSE, 0);
    refused(&s, "would expand 262144 tables of 2^16 cells");
}
END_TEST

/* 10 bytes an element of a product, 8 of a weight. */
START_TEST(what_no_message_could_hold_is_refused)
{
    const uint32_t most = (uint32_t)(SCHEDULE_PIECE_MAX / RING_PRODUCT_BYTES);
    struct schedule s = calibrated();
    gate_input(&s, most, 1, 10, "as much as there may be");
    s.ranges = s.ranged;
    ck_ok(schedule_finish(&s));
    schedule_clear(&s);
    s = calibrated();
    gate_input(&s, most + 1, 1, 10, "vast");
    refused(&s, "vast takes 256.0 MiB in a batch of 1 sequences of 4 tokens");
    s = calibrated();
    const struct heads h = {.sequences = 1, .heads = 1, .queries = 6000, .keys = 6000, .width = 1};
    const uint32_t x = gate_input(&s, 6000, 1, 10, "x");
    gate_scores(&s, x, x, h, 5, false, 10, "scores");
    refused(&s, "scores takes 343.3 MiB");
    s = calibrated();
    const uint32_t v = gate_square(&s, gate_input(&s, 1u << 21, 1, 10, "x"), 0, 10, "v");
    gate_index(&s, v, 10, 10, 0, FUNCTION_INVERSE, 0);
    refused(&s, "v takes");
    s = calibrated();
    const uint32_t wide = gate_input(&s, 1, 8192, 10, "x");
    gate_linear(&s, &(struct linear){wide, SCHEDULE_NONE, 4097, 10}, "weight");
    refused(&s, "8192 x 4097 elements");
}
END_TEST

/* Names are for people; everything else is what the parties agree on. */
START_TEST(the_hash_covers_what_is_computed_and_no_name)
{
    unsigned char hash[4][SCHEDULE_HASH_BYTES];
    for (int i = 0; i < 4; i++) {
        struct schedule s = calibrated();
        const uint32_t x = gate_input(&s, 4, 4, 10, i == 1 ? "another name" : "x");
        const uint32_t v = gate_square(&s, x, i == 2, 10, "v");
        const uint32_t lookup = gate_index(&s, v, 4, 10, 0, FUNCTION_INVERSE, 0);
        int64_t *table = calloc(16, sizeof *table);
        table[7] = i == 3;
        lookup_table(&s, lookup, 10, table);
        gate_table(&s, lookup, 0, 4, 4, "entry");
        s.ranges = s.ranged;
        ck_ok(schedule_finish(&s));
        memcpy(hash[i], s.hash, sizeof hash[i]);
        schedule_clear(&s);
    }
    ck_assert_mem_eq(hash[0], hash[1], sizeof hash[0]);
    ck_assert_mem_ne(hash[0], hash[2], sizeof hash[0]);
    ck_assert_mem_ne(hash[0], hash[3], sizeof hash[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedule");
    TCase *tests = tcase_create("schedule");
    tcase_add_test(tests, a_gate_runs_in_the_first_round_that_knows_what_it_reads);
    tcase_add_test(tests, a_shift_beyond_sixteen_bits_is_refused_by_name);
    tcase_add_test(tests, the_first_error_is_the_one_reported);
    tcase_add_test(tests, operands_of_other_shapes_are_refused);
    tcase_add_test(tests, tables_of_other_sizes_are_refused);
    tcase_add_test(tests, what_no_memory_could_hold_is_refused);
    tcase_add_test(tests, what_no_message_could_hold_is_refused);
    tcase_add_test(tests, the_hash_covers_what_is_computed_and_no_name);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
