/* Every kind of gate: three parties, the fixed-point walk and the clear one against plain arithmetic. */
#include <stdlib.h>
#include <string.h>

#include "ring/parameters.h"
#include "tests/layers/trial.h"
#include "tests/run.h"

#define EDGE (RING_RANGE - 1)

static const struct multiply plain = {.add = SCHEDULE_NONE, .lookup = SCHEDULE_NONE};

static void check_and_end(struct trial *t)
{
    trial_finish(t);
    trial_check(t);
    trial_end(t);
}

/* ---- static linear gates ---- */

START_TEST(linear_gates_equal_exact_arithmetic)
{
    three_seed(1);
    for (int i = 0; i < 40; i++) {
        struct trial t;
        const uint32_t rows = three_between(1, 6), in = three_between(1, 70), cols = three_between(1, 9);
        const int x_bits = (int)three_between(8, 22), less[3] = {i % 17, i % 13, i % 11};
        trial_start(&t, rows, 1);
        const uint32_t x = trial_input(&t, rows, in, 13, ((int64_t)1 << x_bits) - 1);
        const uint32_t r = trial_input(&t, rows, cols, 11, ((int64_t)1 << x_bits) - 1);
        const struct linear l = {
            .x = x, .residual = i % 2 ? r : SCHEDULE_NONE, .cols = cols, .frac = 9 + i % 5};
        trial_linear(&t, &l, less, x_bits, "linear");
        check_and_end(&t);
    }
}
END_TEST

/* One product of the largest values there are, at every shift: nothing wraps, and nothing is lost. */
START_TEST(linear_gates_are_exact_at_the_edge_of_the_range)
{
    for (int shift = 0; shift <= RING_SHIFT_MAX; shift++) {
        struct trial t;
        const int less[3] = {RING_SHIFT_MAX - shift, 0, 0};
        trial_start(&t, 4, 1);
        const uint32_t x = trial_input(&t, 4, 1, 10, EDGE);
        memcpy(trial_values(&t), (int64_t[]){EDGE, -EDGE, 1, 0}, 4 * sizeof(int64_t));
        const uint32_t y = trial_linear(&t, &(struct linear){x, SCHEDULE_NONE, 2, 10}, less, 22, "edge");
        trial_finish(&t);
        t.weight[0][0] = (int64_t)1 << shift;
        t.weight[0][1] = -((int64_t)1 << shift);
        t.weight[1][0] = t.weight[1][1] = 0;
        three_close(&t.three);
        three_open(&t.three, &t.schedule, (const int64_t *const *)t.weight);
        trial_check(&t);
        for (size_t i = 0; i < 4; i++) {
            ck_assert_int_eq(three_value(&t.three, y, 2 * i), t.input[0][i]);
            ck_assert_int_eq(three_value(&t.three, y, 2 * i + 1), -t.input[0][i]);
        }
        trial_end(&t);
    }
}
END_TEST

START_TEST(the_output_keeps_32_bits)
{
    three_seed(2);
    for (int i = 0; i < 10; i++) {
        struct trial t;
        trial_start(&t, 3, 1);
        const uint32_t x = trial_input(&t, 3, 1 + (uint32_t)i, 12, EDGE);
        trial_output(&t, x, 4, 16, 22);
        check_and_end(&t);
    }
    /* Just below 2^31. */
    struct trial t;
    trial_start(&t, 2, 1);
    const uint32_t x = trial_input(&t, 2, 2, 13, 0);
    memcpy(trial_values(&t), (int64_t[]){EDGE, EDGE, -EDGE, -EDGE}, 4 * sizeof(int64_t));
    trial_output(&t, x, 1, 22, 22);
    trial_finish(&t);
    t.weight[0][0] = t.weight[0][1] = (int64_t)1 << (8 + t.schedule.gate[1].shift);
    t.weight[1][0] = 0;
    three_close(&t.three);
    three_open(&t.three, &t.schedule, (const int64_t *const *)t.weight);
    trial_check(&t);
    ck_assert_int_eq(t.private_logits[0], EDGE << 9);
    ck_assert_int_eq(t.private_logits[1], -(EDGE << 9));
    trial_end(&t);
}
END_TEST

/* ---- attention's products ---- */

static struct heads some_heads(void)
{
    return (struct heads){.sequences = three_between(1, 3),
                          .heads = three_between(1, 3),
                          .queries = three_between(1, 5),
                          .keys = three_between(1, 6),
                          .width = three_between(1, 9)};
}

START_TEST(scores_equal_exact_arithmetic)
{
    three_seed(3);
    for (int i = 0; i < 30; i++) {
        struct trial t;
        const struct heads h = some_heads();
        const uint32_t hidden = h.heads * h.width;
        trial_start(&t, h.keys, h.sequences);
        const uint32_t q = trial_input(&t, h.sequences * h.queries, hidden, 12, 1 << 15);
        const uint32_t k = trial_input(&t, h.sequences * h.keys, hidden, 13, 1 << 15);
        t.frac[0] = 20 - i % 9;
        t.bound[0] = 5 << 12;
        gate_scores(&t.schedule, q, k, h, i % 3 ? 5.0 : -0.37, i % 2, 10 + i % 5, "scores");
        trial_finish(&t);
        if (i % 2 == 0)
            ck_assert_int_eq(t.schedule.gate[2].constant, i % 3 ? 5 << 25 : -12415140);
        trial_check(&t);
        trial_end(&t);
    }
}
END_TEST

START_TEST(contexts_and_row_dots_equal_exact_arithmetic)
{
    three_seed(4);
    for (int i = 0; i < 30; i++) {
        struct trial t;
        const struct heads h = some_heads();
        const uint32_t each = h.sequences * h.heads * h.queries;
        trial_start(&t, h.keys, h.sequences);
        const uint32_t a = trial_input(&t, each, h.keys, 8, 1 << 16);
        const uint32_t v = trial_input(&t, h.sequences * h.keys, h.heads * h.width, 12, 1 << 16);
        const uint32_t mu = trial_input(&t, h.sequences * h.keys, 1, 0, 0);
        for (uint32_t k = 0; k < h.sequences * h.keys; k++)
            trial_values(&t)[k] = three_between(0, 1) ? 8 : 0;
        gate_context(&t.schedule, a, v, h, 5 + i % 4, "context");
        gate_row_dot(&t.schedule, a, mu, h, 2 + i % 7, "denominator");
        check_and_end(&t);
    }
}
END_TEST

/* ---- elementwise ---- */

START_TEST(squares_equal_exact_arithmetic)
{
    three_seed(5);
    for (int i = 0; i < 20; i++) {
        struct trial t;
        const int halvings = i % 3, frac = 10 + i / 3 % 3;
        trial_start(&t, 3, 1);
        const uint32_t x = trial_input(&t, 3, three_between(1, 40), 12, (int64_t)1 << (15 + i % 3));
        gate_square(&t.schedule, x, halvings, frac, "square");
        const uint32_t y = trial_input(&t, 2, three_between(1, 40), 12, 1 << 16);
        gate_square_sum(&t.schedule, y, i % 2 ? 0.125 : -3.0, 8, "sum of squares");
        check_and_end(&t);
    }
}
END_TEST

START_TEST(squares_are_exact_at_the_edge_of_the_range)
{
    for (int frac = 0; frac <= 6; frac++) {
        struct trial t;
        trial_start(&t, 4, 1);
        /* 2048^2 = 2^22 is just beyond the range; 2^(11 + shift / 2) with the shift. */
        const int64_t most = ((int64_t)1 << (11 + (16 - 2 * frac) / 2)) - 1;
        const uint32_t x = trial_input(&t, 4, 1, 8, 0);
        memcpy(trial_values(&t), (int64_t[]){most, -most, 0, 1}, 4 * sizeof(int64_t));
        gate_square(&t.schedule, x, 0, 2 * frac, "square");
        gate_square_sum(&t.schedule, x, 0.0, 2 * frac, "sum");
        check_and_end(&t);
    }
}
END_TEST

/* Operands of the shapes a spread asks for. */
static void operands(struct trial *t, enum gate_spread spread, const struct heads *h, int64_t bound,
                     struct multiply *m)
{
    const uint32_t rows = h->sequences * h->queries, cols = h->heads * h->width;
    m->spread = spread;
    m->heads = *h;
    m->x = trial_input(t, rows, cols, 12, bound);
    m->y = trial_input(t,
                       spread == GATE_EACH  ? rows
                       : spread == GATE_ROW ? rows
                                            : h->sequences * h->heads * h->queries,
                       spread == GATE_EACH ? cols : 1, 11, bound);
}

START_TEST(products_equal_exact_arithmetic_for_every_spread_and_term)
{
    three_seed(6);
    for (int i = 0; i < 48; i++) {
        struct trial t;
        const struct heads h = some_heads();
        struct multiply m = plain;
        trial_start(&t, h.queries, h.sequences);
        operands(&t, (enum gate_spread)(i % 3), &h, 1 << 16, &m);
        m.negate = i & 1;
        m.halvings = i / 2 % 3;
        m.constant = i & 4 ? 1.0 : i & 8 ? -2.5 : 0.0;
        m.frac = 9 + i % 4;
        if (i & 2)
            m.add = trial_input(&t, h.sequences * h.queries, h.heads * h.width, 7 + i % 9, 1 << 15);
        gate_multiply(&t.schedule, &m, "product");
        check_and_end(&t);
    }
}
END_TEST

START_TEST(products_are_exact_at_the_edge_of_the_range)
{
    for (int shift = 0; shift <= RING_SHIFT_MAX; shift++) {
        struct trial t;
        struct multiply m = plain;
        trial_start(&t, 4, 1);
        m.x = trial_input(&t, 4, 1, 9, 0);
        memcpy(trial_values(&t), (int64_t[]){EDGE, -EDGE, EDGE, -EDGE}, 4 * sizeof(int64_t));
        m.y = trial_input(&t, 4, 1, shift, 0);
        memcpy(trial_values(&t), (int64_t[]){1 << shift, 1 << shift, -(1 << shift), 0}, 4 * sizeof(int64_t));
        m.frac = 9;
        const uint32_t y = gate_multiply(&t.schedule, &m, "edge");
        trial_finish(&t);
        trial_check(&t);
        ck_assert_int_eq(three_value(&t.three, y, 0), EDGE);
        ck_assert_int_eq(three_value(&t.three, y, 1), -EDGE);
        ck_assert_int_eq(three_value(&t.three, y, 2), -EDGE);
        ck_assert_int_eq(three_value(&t.three, y, 3), 0);
        trial_end(&t);
    }
}
END_TEST

/* ---- tables ---- */

static void random_table(struct trial *t, uint32_t lookup, int frac, int64_t bound)
{
    const size_t cells = (size_t)1 << t->schedule.lookup[lookup].bits;
    int64_t *table = malloc(cells * sizeof *table);
    for (size_t i = 0; i < cells; i++)
        table[i] = three_integer(bound);
    lookup_table(&t->schedule, lookup, frac, table);
}

START_TEST(table_entries_are_those_of_a_cell_beside_the_value)
{
    three_seed(7);
    for (int bits = 3; bits <= 11; bits++)
        for (int slack = 0; slack < 2; slack++) {
            struct trial t;
            const uint32_t rows = three_between(1, 9), cols = three_between(1, 9);
            struct multiply m = plain;
            trial_start(&t, rows, 1);
            m.x = trial_input(&t, rows, cols, 10, 1 << 14);
            m.y = trial_input(&t, rows, cols, 10, 1 << 14);
            m.frac = 10;
            const uint32_t v = gate_multiply(&t.schedule, &m, "value");
            /* v 2^20 lies in (-2^28, 2^28): the table holds twice that, and more with slack. */
            const uint32_t lookup =
                gate_index(&t.schedule, v, bits, 29 + slack - bits, 256.0, FUNCTION_TANH, 0.0);
            random_table(&t, lookup, 16, 1 << 17);
            random_table(&t, lookup, 13, EDGE / 2);
            const uint32_t slope = gate_table(&t.schedule, lookup, 0, rows, cols, "slope");
            const uint32_t other = gate_table(&t.schedule, lookup, 1, rows, cols, "intercept");
            m = plain;
            m.x = slope;
            m.y = v;
            m.lookup = lookup;
            m.table = 1;
            m.frac = 13;
            m.spread = GATE_EACH;
            const uint32_t line = gate_multiply(&t.schedule, &m, "line");
            /* What was looked up is an operand like any other. */
            m = plain;
            m.x = other;
            m.y = line;
            m.halvings = 3;
            m.frac = 13;
            (void)line;
            trial_finish(&t);
            trial_check(&t);
            trial_end(&t);
        }
}
END_TEST

/* ---- local maps, and products of what they made ---- */

START_TEST(what_was_centred_shifted_and_selected_multiplies_like_anything_else)
{
    three_seed(8);
    for (int i = 0; i < 20; i++) {
        struct trial t;
        const uint32_t sequences = three_between(1, 3), bucket = three_between(2, 5);
        const uint32_t hidden = 2 * three_between(1, 9);
        trial_start(&t, bucket, sequences);
        const uint32_t x = trial_input(&t, sequences * bucket, hidden, 13, 1 << 17);
        const uint32_t y = trial_input(&t, sequences * bucket, hidden, 13, 1 << 17);
        const uint32_t row = trial_input(&t, sequences, 1, 12, 1 << 16);
        const uint32_t centred = gate_centre(&t.schedule, x, "centred");
        const uint32_t shifted = gate_shift(&t.schedule, centred, 13 - i % 5, "centred and shifted");
        const uint32_t far = gate_shift(&t.schedule, y, 4, "shifted");
        const uint32_t first = gate_select(&t.schedule, centred, sequences, "first rows");
        struct multiply m = plain;
        m.x = shifted;
        m.y = far;
        m.add = centred;
        m.frac = t.schedule.tensor[shifted].frac - 3;
        const struct heads h = {sequences, 2, bucket, bucket, hidden / 2};
        gate_scores(&t.schedule, y, far, h, 5.0, false, 6, "scores of shifted");
        gate_multiply(&t.schedule, &m, "shifted product");
        m.x = first;
        m.y = row;
        m.add = SCHEDULE_NONE;
        m.spread = GATE_ROW;
        m.frac = 10;
        const uint32_t rows = gate_multiply(&t.schedule, &m, "selected product");
        gate_square(&t.schedule, shifted, 2, t.schedule.tensor[shifted].frac - 1, "shifted square");
        gate_square_sum(&t.schedule, far, 1.0, 0, "sum of shifted squares");
        const int less[3] = {2, 4, 3};
        trial_linear(&t, &(struct linear){centred, shifted, hidden, 9}, less, 18, "linear of centred");
        trial_linear(&t, &(struct linear){rows, first, hidden, 9}, less, 22, "linear of selected");
        trial_output(&t, first, 3, 16, 18);
        check_and_end(&t);
    }
}
END_TEST

/* Twice the difference of two centred masks need not fit 64 bits. */
START_TEST(scores_of_centred_values_are_refused)
{
    for (int local = 0; local < 4; local++) {
        struct trial t;
        trial_start(&t, 2, 1);
        const uint32_t q = trial_input(&t, 2, 4, 12, 1 << 16);
        uint32_t k = trial_input(&t, 2, 4, 12, 1 << 16);
        const struct heads h = {1, 1, 2, 2, 4};
        if (local & 1)
            k = gate_centre(&t.schedule, k, "centred");
        if (local & 2)
            k = gate_shift(&t.schedule, k, 11, "shifted");
        gate_scores(&t.schedule, q, k, h, 5.0, false, 12, "scores");
        t.schedule.ranges = t.schedule.ranged;
        ck_assert_int_eq(schedule_finish(&t.schedule), local & 1 ? STATUS_RANGE : STATUS_OK);
        trial_end(&t);
    }
}
END_TEST

/* ring_gemm_pack_masked wants smaller masks where sums have more than 1024 terms. */
START_TEST(deep_products_of_centred_values_are_refused)
{
    for (int i = 0; i < 4; i++) {
        struct trial t;
        trial_start(&t, 2, 1);
        const uint32_t plain_x = trial_input(&t, 2, i & 1 ? 1026 : 1024, 12, 1 << 8);
        const uint32_t x = i & 2 ? gate_centre(&t.schedule, plain_x, "centred") : plain_x;
        const int less[3] = {2, 4, 3};
        trial_linear(&t, &(struct linear){x, SCHEDULE_NONE, 3, 9}, less, 18, "linear");
        t.schedule.ranges = t.schedule.ranged;
        ck_assert_int_eq(schedule_finish(&t.schedule), i == 3 ? STATUS_RANGE : STATUS_OK);
        trial_end(&t);
    }
}
END_TEST

START_TEST(contexts_of_very_many_keys_are_exact)
{
    three_seed(12);
    struct trial t;
    trial_start(&t, 1040, 1);
    const struct heads h = {1, 2, 1, 1040, 3};
    const uint32_t a = trial_input(&t, 2, 1040, 6, 1 << 9), v = trial_input(&t, 1040, 6, 6, 1 << 9);
    gate_context(&t.schedule, a, v, h, 4, "context");
    check_and_end(&t);
}
END_TEST

START_TEST(scores_and_contexts_have_one_bit_of_shift_less)
{
    for (int i = 0; i < 6; i++) {
        struct trial t;
        const int shift = 15 + i / 2;
        trial_start(&t, 2, 1);
        const uint32_t x = trial_input(&t, 2, 2, 12, 1 << 16), y = trial_input(&t, 2, 2, 12, 1 << 16);
        const struct heads h = {1, 1, 2, 2, 2};
        if (i % 2)
            gate_scores(&t.schedule, x, y, h, 5.0, false, 24 - shift, "scores");
        else
            gate_context(&t.schedule, x, y, h, 24 - shift, "context");
        t.schedule.ranges = t.schedule.ranged;
        ck_assert_int_eq(schedule_finish(&t.schedule), shift > 15 ? STATUS_RANGE : STATUS_OK);
        trial_end(&t);
    }
}
END_TEST

/* The largest shift, and results at the edge of the range. */
START_TEST(scores_are_exact_at_the_edge_of_the_range)
{
    struct trial t;
    const int64_t edge = ((int64_t)1 << 18) - 1; /* 2^36 + 2^36, to be shifted by 15 */
    trial_start(&t, 2, 1);
    const struct heads h = {1, 1, 2, 2, 2};
    const uint32_t q = trial_input(&t, 2, 2, 12, 0);
    memcpy(trial_values(&t), (int64_t[]){edge, edge, -edge, 1}, 4 * sizeof(int64_t));
    const uint32_t k = trial_input(&t, 2, 2, 12, 0);
    memcpy(trial_values(&t), (int64_t[]){edge, edge - 40000, 0, -1}, 4 * sizeof(int64_t));
    gate_scores(&t.schedule, q, k, h, 0.0, false, 9, "scores");
    check_and_end(&t);
}
END_TEST

START_TEST(centred_rows_add_up_to_nothing)
{
    three_seed(9);
    for (uint32_t cols = 2; cols < 900; cols = cols * 3 / 2 + 1) {
        struct trial t;
        trial_start(&t, 2, 1);
        const uint32_t x = trial_input(&t, 2, cols, 13, EDGE);
        for (uint32_t c = 0; c < cols; c++)
            trial_values(&t)[c] = EDGE; /* a row of equal values has no deviation at all */
        const uint32_t centred = gate_centre(&t.schedule, x, "centred");
        gate_square_sum(&t.schedule, gate_shift(&t.schedule, centred, 4, "scaled"), 0, -4, "variance");
        trial_finish(&t);
        trial_check(&t);
        int64_t sum = 0;
        for (uint32_t c = 0; c < cols; c++) {
            ck_assert_int_le(llabs(three_value(&t.three, centred, c)), 1);
            sum += three_value(&t.three, centred, cols + c);
        }
        /* A mean that is off by 1.5 units at most, as often as there are columns. */
        ck_assert_int_le(llabs(sum), 3 * (int64_t)cols / 2);
        trial_end(&t);
    }
}
END_TEST

/* ---- the parties ---- */

/* What a bundle masks does not depend on what is computed: the same input twice opens to different m. */
START_TEST(two_bundles_open_the_same_input_under_different_masks)
{
    struct trial t;
    struct multiply m = plain;
    int64_t before[3][16];
    three_seed(10);
    trial_start(&t, 4, 1);
    m.x = trial_input(&t, 4, 4, 12, 1 << 17);
    m.y = trial_input(&t, 4, 4, 12, 1 << 17);
    m.frac = 9;
    gate_multiply(&t.schedule, &m, "product");
    trial_finish(&t);
    trial_run(&t);
    for (uint32_t tensor = 0; tensor < 3; tensor++)
        memcpy(before[tensor], t.three.party[1].evaluator.tensor[tensor].m, sizeof before[tensor]);
    trial_run(&t);
    for (uint32_t tensor = 0; tensor < 3; tensor++)
        for (size_t i = 0; i < 16; i++)
            ck_assert_int_ne(before[tensor][i], t.three.party[1].evaluator.tensor[tensor].m[i]);
    trial_end(&t);
}
END_TEST

/* Beyond a quarter of a megabyte buffers are pooled: what one walk gives back serves the next. */
START_TEST(large_tensors_survive_several_bundles)
{
    three_seed(11);
    for (uint32_t rows = 900; rows <= 2700; rows += 900) {
        struct trial t;
        struct multiply m = plain;
        trial_start(&t, rows, 1);
        m.x = trial_input(&t, rows, 40, 12, 1 << 15);
        const int less[3] = {4, 4, 4};
        m.y = trial_linear(&t, &(struct linear){m.x, m.x, 40, 12}, less, 15, "linear");
        m.frac = 9;
        const uint32_t product = gate_multiply(&t.schedule, &m, "product");
        trial_linear(&t, &(struct linear){gate_centre(&t.schedule, m.y, "centred"), SCHEDULE_NONE, 45, 12},
                     less, 22, "another size of the same class");
        trial_linear(&t, &(struct linear){product, m.x, 40, 12}, less, 22, "last");
        trial_finish(&t);
        for (int bundle = 0; bundle < 3; bundle++)
            trial_run(&t);
        trial_check(&t);
        trial_end(&t);
    }
}
END_TEST

/* The ends of the range where a masked value should be: arithmetic wraps, and nothing else happens. */
START_TEST(products_of_what_no_honest_evaluator_sends_are_defined)
{
    three_seed(12);
    for (int hostile = 1; hostile <= 3; hostile++) {
        struct trial t;
        const struct heads h = {1, 2, 4, 4, 3};
        const int less[3] = {2, 2, 2};
        struct multiply m = plain;
        trial_start(&t, 4, 1);
        m.x = m.add = trial_input(&t, 4, 6, 12, 1 << 12);
        m.y = trial_input(&t, 4, 6, 12, 1 << 12);
        m.negate = true;
        m.constant = 1;
        m.frac = 10;
        const uint32_t mu = trial_input(&t, 4, 1, 0, 1);
        const uint32_t product = gate_multiply(&t.schedule, &m, "product");
        gate_square(&t.schedule, product, 1, 10, "square");
        gate_square_sum(&t.schedule, product, 1, 10, "sum");
        gate_shift(&t.schedule, product, 3, "shifted");
        gate_select(&t.schedule, product, 1, "selected");
        t.frac[0] = 20;
        t.bound[0] = 5;
        const uint32_t scores = gate_scores(&t.schedule, product, m.y, h, 0, true, 10, "scores");
        const uint32_t context = gate_context(&t.schedule, scores, m.y, h, 10, "context");
        gate_row_dot(&t.schedule, scores, mu, h, 10, "row dot");
        trial_linear(&t, &(struct linear){context, product, 6, 10}, less, 12, "linear");
        trial_output(&t, context, 2, 16, 12);
        trial_finish(&t);
        three_offline(&t.three);
        ck_assert_int_eq(three_online_hostile(&t.three, (const int64_t *const *)t.input, hostile), STATUS_OK);
        trial_end(&t);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gates");
    TCase *tests = tcase_create("gates");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, linear_gates_equal_exact_arithmetic);
    tcase_add_test(tests, linear_gates_are_exact_at_the_edge_of_the_range);
    tcase_add_test(tests, the_output_keeps_32_bits);
    tcase_add_test(tests, scores_equal_exact_arithmetic);
    tcase_add_test(tests, contexts_and_row_dots_equal_exact_arithmetic);
    tcase_add_test(tests, squares_equal_exact_arithmetic);
    tcase_add_test(tests, squares_are_exact_at_the_edge_of_the_range);
    tcase_add_test(tests, products_equal_exact_arithmetic_for_every_spread_and_term);
    tcase_add_test(tests, products_are_exact_at_the_edge_of_the_range);
    tcase_add_test(tests, table_entries_are_those_of_a_cell_beside_the_value);
    tcase_add_test(tests, what_was_centred_shifted_and_selected_multiplies_like_anything_else);
    tcase_add_test(tests, scores_of_centred_values_are_refused);
    tcase_add_test(tests, deep_products_of_centred_values_are_refused);
    tcase_add_test(tests, contexts_of_very_many_keys_are_exact);
    tcase_add_test(tests, scores_and_contexts_have_one_bit_of_shift_less);
    tcase_add_test(tests, scores_are_exact_at_the_edge_of_the_range);
    tcase_add_test(tests, centred_rows_add_up_to_nothing);
    tcase_add_test(tests, two_bundles_open_the_same_input_under_different_masks);
    tcase_add_test(tests, large_tensors_survive_several_bundles);
    tcase_add_test(tests, products_of_what_no_honest_evaluator_sends_are_defined);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
