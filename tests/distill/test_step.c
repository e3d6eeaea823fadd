/* What a training step is made of: the order of the examples, learning rates, the optimiser. */
#include <check.h>
#include <string.h>

#include "distill/adamw.h"
#include "distill/order.h"
#include "distill/random.h"
#include "distill/train_step.h"
#include "tests/distill/small_run.h"
#include "tests/run.h"

START_TEST(an_epoch_has_every_example_once)
{
    uint32_t order[SMALL_RUN_EXAMPLES];
    int seen[SMALL_RUN_EXAMPLES] = {0};
    distill_order_make(order, &small_run.train, 7, 5);
    for (size_t i = 0; i < SMALL_RUN_EXAMPLES; i++)
        seen[order[i]]++;
    for (size_t i = 0; i < SMALL_RUN_EXAMPLES; i++)
        ck_assert_int_eq(seen[i], 1);
}
END_TEST

/* The batches of an epoch, whatever their order: a sum over them of something of each one's set of examples. */
static uint64_t digest_of_batches(size_t size, uint64_t key)
{
    uint32_t order[SMALL_RUN_EXAMPLES];
    uint64_t digest = 0;
    distill_order_make(order, &small_run.train, size, key);
    for (size_t first = 0; first < SMALL_RUN_EXAMPLES; first += size) {
        uint64_t members = 0;
        for (size_t i = first; i < first + size && i < SMALL_RUN_EXAMPLES; i++)
            members += distill_random_key(1, order[i]);
        digest += distill_random_key(2, members);
    }
    return digest;
}

START_TEST(batches_of_a_small_set_differ_between_epochs)
{
    for (size_t size = 4; size <= 64; size *= 2) {
        ck_assert(digest_of_batches(size, 5) == digest_of_batches(size, 5));
        ck_assert(digest_of_batches(size, 5) != digest_of_batches(size, 6));
    }
}
END_TEST

START_TEST(equal_lengths_meet_others_in_every_epoch)
{
    struct distill_batch set;
    uint32_t order[2][12], id[2] = {1, 2};
    distill_batch_init(&set);
    for (size_t i = 0; i < 12; i++)
        must(distill_batch_add(&set, id, NULL, 2, 0));
    for (uint64_t i = 0; i < 2; i++)
        distill_order_make(order[i], &set, 12, i); /* one pool of a single batch */
    ck_assert_int_ne(memcmp(order[0], order[1], sizeof order[0]), 0);
    distill_batch_clear(&set);
}
END_TEST

START_TEST(decay_acts_on_matrices_whatever_their_rows)
{
    struct model_config config = small_run_config;
    struct distill_weights weights;
    config.labels = 1;
    config.activation = MODEL_QUAD;
    config.attention = MODEL_2QUAD;
    config.learned_c = config.learned_quad = true;
    must(distill_weights_allocate(&weights, &config));
    size_t decaying = 0;
    for (size_t i = 0; i < weights.tensors; i++) {
        decaying += weights.tensor[i].decay;
        if (strcmp(weights.tensor[i].name, "classifier.weight") == 0)
            ck_assert(weights.tensor[i].decay);
    }
    ck_assert_uint_eq(decaying, 6 * config.layers + 2);
    distill_weights_clear(&weights);
}
END_TEST

START_TEST(the_norm_of_a_huge_gradient_is_a_number)
{
    struct distill_trainer trainer;
    must(distill_trainer_init(&trainer, &small_run.run, &small_run.weights));
    trainer.gradients.value[small_run.weights.count - 1] = 1e30f;
    double norm = distill_adamw_step(&trainer.adamw, &small_run.weights, &trainer.gradients, 1e-3);
    ck_assert_double_eq_tol(norm / 1e30, 1, 1e-6);
    distill_trainer_clear(&trainer);
}
END_TEST

/* The first step of Adam is as long as the rate, whatever the gradient. */
START_TEST(learned_coefficients_have_rates_of_their_own)
{
    struct model_config config = small_run_config;
    struct distill_weights weights;
    struct distill_trainer trainer;
    config.activation = MODEL_QUAD;
    config.attention = MODEL_2QUAD;
    config.learned_c = config.learned_quad = true;
    must(distill_weights_allocate(&weights, &config));
    small_run.run.rate_c = 100;
    small_run.run.rate_quad = 10;
    small_run.run.decay = 0;
    must(distill_trainer_init(&trainer, &small_run.run, &weights));
    for (size_t i = 0; i < weights.count; i++)
        trainer.gradients.value[i] = -1;
    (void)distill_adamw_step(&trainer.adamw, &weights, &trainer.gradients, 1e-3);
    for (size_t n = 0; n < config.layers; n++) {
        ck_assert_double_eq_tol(weights.layer[n].quad_c[1], 0.1, 1e-5);
        ck_assert_double_eq_tol(weights.layer[n].quad[config.ffn], 0.01, 1e-6);
        ck_assert_double_eq_tol(weights.layer[n].qkv_w[0], 0.001, 1e-7);
    }
    distill_trainer_clear(&trainer);
    distill_weights_clear(&weights);
}
END_TEST

START_TEST(rates_warm_up_and_decay)
{
    struct distill_rate rate = {1, 0.1, DISTILL_LINEAR};
    ck_assert_double_gt(distill_rate_at(&rate, 0, 100), 0);
    ck_assert_double_lt(distill_rate_at(&rate, 0, 100), 0.2);
    ck_assert_double_eq_tol(distill_rate_at(&rate, 10, 100), 1, 1e-12);
    ck_assert_double_eq_tol(distill_rate_at(&rate, 55, 100), 0.5, 1e-12);
    rate.decay = DISTILL_COSINE;
    ck_assert_double_eq_tol(distill_rate_at(&rate, 55, 100), 0.5, 1e-12);
    ck_assert_double_lt(distill_rate_at(&rate, 99, 100), 0.01);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("step");
    TCase *cases = tcase_create("parts");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, small_run_setup, small_run_teardown);
    tcase_add_test(cases, an_epoch_has_every_example_once);
    tcase_add_test(cases, batches_of_a_small_set_differ_between_epochs);
    tcase_add_test(cases, equal_lengths_meet_others_in_every_epoch);
    tcase_add_test(cases, decay_acts_on_matrices_whatever_their_rows);
    tcase_add_test(cases, the_norm_of_a_huge_gradient_is_a_number);
    tcase_add_test(cases, learned_coefficients_have_rates_of_their_own);
    tcase_add_test(cases, rates_warm_up_and_decay);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
