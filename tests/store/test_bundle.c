/* Bundles: their states, their marks, taken once. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/keys.h"
#include "tests/run.h"
#include "tests/store/support.h"

static const size_t sizes[] = {0, 1, 100, 65536, 1048512, 1048513, 3000000, 5000000, 20};
#define ITEMS (sizeof sizes / sizeof *sizes)

static struct store *store;

static void setup(void)
{
    test_folder_setup();
    store = test_open(test_path("s"));
}

static void teardown(void)
{
    store_close(&store);
    test_folder_teardown();
}

static struct store_bundle *take(uint64_t serial)
{
    struct store_bundle *bundle;
    ck_ok(store_bundle_take(store, test_model, test_schedule, serial, &bundle));
    return bundle;
}

START_TEST(items_come_back_as_they_were_put)
{
    test_fill(store, 1, sizes, ITEMS);
    struct store_bundle *bundle = take(1);
    test_verify(bundle, sizes, ITEMS);
    test_verify(bundle, sizes, ITEMS);
    const struct store_name name = test_name(1);
    ck_assert_mem_eq(store_bundle_name(bundle), &name, sizeof name);
    ck_assert_mem_eq(store_bundle_digest(bundle), test_digest, sizeof test_digest);
    store_bundle_close(&bundle);
    store_bundle_close(&bundle);
    store_bundle_close(NULL);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
}
END_TEST

/* Another name of the same file, as a snapshot or an open descriptor would be, holds noise afterwards. */
START_TEST(a_destroyed_key_is_overwritten_before_it_is_unlinked)
{
    static const unsigned char id[STORE_ID_BYTES] = {7};
    unsigned char left[STORE_KEY_BYTES + 1];
    struct store_key key;
    ck_ok(store_key_create(store, id, &key));
    test_shell("ln %s/0700* %s", test_path("s/keys"), test_path("link"));
    ck_ok(store_key_destroy(store, id));
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
    FILE *file = fopen(test_path("link"), "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(left, 1, sizeof left, file), STORE_KEY_BYTES);
    fclose(file);
    int same = 0;
    for (int i = 0; i < STORE_KEY_BYTES; i++)
        same += left[i] == key.bytes[i];
    ck_assert_int_le(same, 4);
}
END_TEST

START_TEST(an_empty_item_needs_no_memory)
{
    struct store_bundle *bundle;
    const struct store_name name = test_name(1);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_put(bundle, 4000000000u, NULL, 0));
    ck_ok(store_bundle_ready(bundle, test_digest));
    store_bundle_close(&bundle);
    bundle = take(1);
    ck_ok(store_bundle_get(bundle, 4000000000u, NULL, 0));
    ck_fails(store_bundle_get(bundle, 0, NULL, 0), STATUS_CORRUPT);
    store_bundle_close(&bundle);
}
END_TEST

START_TEST(a_missing_item_and_a_wrong_size_are_refused)
{
    unsigned char data[128];
    test_fill(store, 1, sizes, ITEMS);
    struct store_bundle *bundle = take(1);
    ck_fails(store_bundle_get(bundle, ITEMS, data, 5), STATUS_CORRUPT);
    ck_fails(store_bundle_get(bundle, 2, data, 99), STATUS_CORRUPT);
    ck_fails(store_bundle_get(bundle, 2, data, 101), STATUS_CORRUPT);
    ck_ok(store_bundle_get(bundle, 2, data, 100));
    store_bundle_close(&bundle);
}
END_TEST

START_TEST(a_bundle_is_taken_once)
{
    struct store_bundle *again;
    test_fill(store, 1, sizes, 3);
    struct store_bundle *bundle = take(1);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 1, &again), STATUS_STATE);
    ck_assert_ptr_null(again);
    test_verify(bundle, sizes, 3);
    store_bundle_close(&bundle);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 1, &again), STATUS_STATE);
}
END_TEST

struct racer {
    pthread_t thread;
    enum status status;
};

static void *race(void *context)
{
    struct racer *racer = context;
    struct store_bundle *bundle;
    racer->status = store_bundle_take(store, test_model, test_schedule, 1, &bundle);
    store_bundle_close(&bundle);
    return NULL;
}

START_TEST(of_many_takers_exactly_one_wins)
{
    struct racer racers[8];
    unsigned won = 0;
    test_fill(store, 1, sizes, 3);
    for (int i = 0; i < 8; i++)
        ck_assert(!pthread_create(&racers[i].thread, NULL, race, &racers[i]));
    for (int i = 0; i < 8; i++) {
        pthread_join(racers[i].thread, NULL);
        ck_assert(racers[i].status == STATUS_OK || racers[i].status == STATUS_STATE);
        won += racers[i].status == STATUS_OK;
    }
    ck_assert_uint_eq(won, 1);
}
END_TEST

START_TEST(take_burns_the_ready_bundles_below)
{
    struct store_bundle *below;
    uint64_t serial, mark, count;
    for (uint64_t i = 1; i <= 5; i++)
        test_fill(store, i, sizes, 3);
    ck_ok(store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count));
    ck_assert(serial == 1 && mark == 0 && count == 5);
    struct store_bundle *bundle = take(3);
    ck_ok(store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count));
    ck_assert(serial == 4 && mark == 3 && count == 2);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 3);
    for (uint64_t i = 0; i <= 3; i++)
        ck_fails(store_bundle_take(store, test_model, test_schedule, i, &below), STATUS_STATE);
    test_verify(bundle, sizes, 3);
    store_bundle_close(&bundle);
}
END_TEST

START_TEST(a_later_take_leaves_an_earlier_one_in_use)
{
    test_fill(store, 1, sizes, 3);
    test_fill(store, 2, sizes, 3);
    struct store_bundle *first = take(1), *second = take(2);
    test_verify(first, sizes, 3);
    test_verify(second, sizes, 3);
    store_bundle_close(&second);
    test_verify(first, sizes, 3);
    store_bundle_close(&first);
}
END_TEST

START_TEST(taking_what_is_not_there_burns_the_serial)
{
    struct store_bundle *bundle;
    uint64_t next;
    test_fill(store, 1, sizes, 3);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 9, &bundle), STATUS_EMPTY);
    ck_assert_uint_eq(test_mark(store), 9);
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_ok(store_next_serial(store, test_model, test_schedule, &next));
    ck_assert_uint_eq(next, 10);
    const struct store_name name = test_name(9);
    ck_fails(store_bundle_create(store, &name, &bundle), STATUS_STATE);
    ck_fails(store_bundle_take(store, test_model, test_schedule, UINT64_MAX, &bundle), STATUS_INPUT);
    ck_assert_uint_eq(test_mark(store), 9);
}
END_TEST

START_TEST(a_bundle_burnt_while_filling_is_never_ready)
{
    struct store_bundle *filling, *taken;
    const struct store_name name = test_name(1);
    ck_ok(store_bundle_create(store, &name, &filling));
    ck_ok(store_bundle_put(filling, 0, "abc", 3));
    ck_fails(store_bundle_take(store, test_model, test_schedule, 1, &taken), STATUS_EMPTY);
    ck_fails(store_bundle_ready(filling, test_digest), STATUS_STATE);
    store_bundle_close(&filling);
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
}
END_TEST

START_TEST(a_bundle_closed_before_ready_is_gone)
{
    struct store_bundle *bundle;
    struct store_name name = test_name(1);
    char *large = calloc(1, 5000000), byte;
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_put(bundle, 0, large, 5000000));
    ck_fails(store_bundle_get(bundle, 0, &byte, 1), STATUS_STATE);
    store_bundle_close(&bundle);
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
    ck_fails(store_bundle_create(store, &name, &bundle), STATUS_STATE);
    ck_ok(store_next_serial(store, test_model, test_schedule, &name.serial));
    ck_assert_uint_eq(name.serial, 2);
    free(large);
}
END_TEST

START_TEST(an_item_put_twice_keeps_the_bundle_from_being_ready)
{
    struct store_bundle *bundle;
    const struct store_name name = test_name(1);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_put(bundle, 0, "abc", 3));
    enum status status = store_bundle_put(bundle, 0, "abc", 3);
    if (!status)
        status = store_bundle_ready(bundle, test_digest);
    ck_assert_int_eq(status, STATUS_STATE);
    ck_fails(store_bundle_ready(bundle, test_digest), STATUS_STATE);
    store_bundle_close(&bundle);
    ck_assert_uint_eq(test_ready_count(store), 0);
}
END_TEST

static atomic_int released;

static void release_counted(void *data, size_t bytes)
{
    ck_assert_uint_eq(bytes, 3000000);
    memset(data, 0xff, bytes);
    free(data);
    released++;
}

START_TEST(what_is_put_without_a_copy_is_released_once_in_every_case)
{
    const size_t bytes = 3000000;
    struct store_bundle *bundle;
    struct store_name name = test_name(1);
    unsigned char *expected = malloc(bytes), *data = malloc(bytes);
    released = 0;
    ck_ok(store_bundle_create(store, &name, &bundle));
    for (uint32_t item = 0; item < 20; item++) {
        unsigned char *owned = malloc(bytes);
        test_pattern(owned, bytes, 1, item);
        ck_ok(store_bundle_put_owned(bundle, item, owned, bytes, release_counted));
    }
    ck_ok(store_bundle_ready(bundle, test_digest));
    ck_assert_int_eq(released, 20);
    ck_fails(store_bundle_put_owned(bundle, 20, malloc(bytes), bytes, release_counted), STATUS_STATE);
    ck_assert_int_eq(released, 21);
    store_bundle_close(&bundle);
    bundle = take(1);
    for (uint32_t item = 0; item < 20; item++) {
        test_pattern(expected, bytes, 1, item);
        ck_ok(store_bundle_get(bundle, item, data, bytes));
        ck_assert_mem_eq(data, expected, bytes);
    }
    store_bundle_close(&bundle);
    name = test_name(2);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_put_owned(bundle, 0, malloc(bytes), bytes, release_counted));
    store_bundle_close(&bundle); /* with the item still waiting */
    ck_assert_int_eq(released, 22);
    free(expected);
    free(data);
}
END_TEST

START_TEST(a_peeked_bundle_can_be_read_and_stays_ready)
{
    struct store_bundle *peeked, *bundle;
    unsigned char data[100];
    test_fill(store, 1, sizes, ITEMS);
    ck_ok(store_bundle_peek(store, test_model, test_schedule, 1, &peeked));
    test_verify(peeked, sizes, ITEMS);
    store_bundle_close(&peeked);
    ck_assert_uint_eq(test_ready_count(store), 1);
    ck_assert_uint_eq(test_mark(store), 0);
    ck_ok(store_bundle_peek(store, test_model, test_schedule, 1, &peeked));
    bundle = take(1);
    ck_assert_mem_eq(store_bundle_name(peeked), store_bundle_name(bundle), sizeof(struct store_name));
    store_bundle_close(&bundle);
    ck_fails(store_bundle_get(peeked, 2, data, sizes[2]), STATUS_CORRUPT);
    store_bundle_close(&peeked);
    ck_fails(store_bundle_peek(store, test_model, test_schedule, 1, &peeked), STATUS_EMPTY);
    ck_fails(store_bundle_peek(store, test_model, test_schedule, 7, &peeked), STATUS_EMPTY);
}
END_TEST

START_TEST(nothing_is_put_into_a_ready_bundle)
{
    struct store_bundle *bundle;
    const struct store_name name = test_name(1);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_ready(bundle, test_digest));
    ck_fails(store_bundle_put(bundle, 0, "abc", 3), STATUS_STATE);
    ck_fails(store_bundle_ready(bundle, test_digest), STATUS_STATE);
    store_bundle_close(&bundle);
    ck_assert_uint_eq(test_ready_count(store), 1);
}
END_TEST

START_TEST(burn_ends_every_ready_bundle_up_to_a_serial)
{
    struct store_bundle *bundle;
    for (uint64_t i = 1; i <= 4; i++)
        test_fill(store, i, sizes, 3);
    ck_ok(store_burn(store, test_model, test_schedule, 3));
    ck_ok(store_burn(store, test_model, test_schedule, 2));
    ck_assert_uint_eq(test_mark(store), 3);
    ck_assert_uint_eq(test_ready_count(store), 1);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 1);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 3, &bundle), STATUS_STATE);
    bundle = take(4);
    store_bundle_close(&bundle);
}
END_TEST

static void list_each(void *context, const struct store_count *count)
{
    struct store_count *out = context;
    ck_assert_mem_eq(count->model, test_model, STORE_HASH_BYTES);
    out[count->schedule[0] == 'z'] = *count;
}

START_TEST(one_bundle_dropped_is_gone_alone)
{
    struct store_bundle *bundle, *taken;
    for (uint64_t serial = 1; serial <= 4; serial++)
        test_fill(store, serial, sizes, ITEMS);
    ck_ok(store_bundle_drop(store, test_model, test_schedule, 3));
    ck_assert_uint_eq(test_ready_count(store), 3);
    ck_assert_uint_eq(test_mark(store), 0);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 3);
    taken = take(1);
    ck_ok(store_bundle_drop(store, test_model, test_schedule, 1)); /* not ready: somebody has it */
    ck_ok(store_bundle_drop(store, test_model, test_schedule, 9));
    test_verify(taken, sizes, ITEMS);
    store_bundle_close(&taken);
    bundle = take(2);
    test_verify(bundle, sizes, ITEMS);
    store_bundle_close(&bundle);
    const struct store_name again = test_name(3);
    ck_fails(store_bundle_create(store, &again, &bundle), STATUS_STATE);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 3, &bundle), STATUS_EMPTY);
    bundle = take(4);
    test_verify(bundle, sizes, ITEMS);
    store_bundle_close(&bundle);
}
END_TEST

START_TEST(schedules_are_apart_and_listed_apart)
{
    struct store_count counts[2] = {0};
    struct store_bundle *bundle, *filling;
    struct store_name name = test_name(1);
    memset(name.schedule, 'z', sizeof name.schedule);
    name.bucket = 64;
    test_fill(store, 5, sizes, 4);
    test_fill(store, 6, sizes, 4);
    ck_ok(store_bundle_create(store, &name, &filling));
    bundle = take(5);
    store_bundle_close(&bundle);
    ck_ok(store_bundle_list(store, list_each, counts));
    ck_assert(counts[0].ready == 1 && counts[0].filling == 0 && counts[0].mark == 5 &&
              counts[0].bucket == 128);
    ck_assert(counts[0].bytes >= 65637 && counts[0].bytes < 70000);
    ck_assert(counts[1].ready == 0 && counts[1].filling == 1 && counts[1].mark == 0 &&
              counts[1].bucket == 64);
    ck_assert(counts[1].batch == 1 && counts[1].bytes == 0);
    store_bundle_close(&filling);
}
END_TEST

static void *fill_many(void *context)
{
    const uint64_t base = *(uint64_t *)context;
    struct store_name name = test_name(0);
    memset(name.schedule, (int)base, sizeof name.schedule);
    unsigned char *data = malloc(6000000);
    for (uint64_t serial = 1; serial <= 4; serial++) {
        struct store_bundle *bundle;
        name.serial = serial;
        ck_ok(store_bundle_create(store, &name, &bundle));
        for (uint32_t item = 0; item < 8; item++) {
            const size_t bytes = item == 5 ? 6000000 : 100000 * item;
            test_pattern(data, bytes, serial + base, item);
            ck_ok(store_bundle_put(bundle, item, data, bytes));
        }
        ck_ok(store_bundle_ready(bundle, test_digest));
        store_bundle_close(&bundle);
    }
    free(data);
    return NULL;
}

static void *take_many(void *context)
{
    const uint64_t base = *(uint64_t *)context;
    unsigned char schedule[STORE_HASH_BYTES], *data = malloc(6000000), *want = malloc(6000000);
    memset(schedule, (int)base, sizeof schedule);
    for (unsigned taken = 0; taken < 4;) {
        uint64_t serial, mark, count;
        struct store_bundle *bundle;
        ck_ok(store_bundle_next(store, test_model, schedule, &serial, &mark, &count));
        if (!count)
            continue;
        ck_ok(store_bundle_take(store, test_model, schedule, serial, &bundle));
        for (uint32_t item = 0; item < 8; item++) {
            const size_t bytes = item == 5 ? 6000000 : 100000 * item;
            test_pattern(want, bytes, serial + base, item);
            ck_ok(store_bundle_get(bundle, item, data, bytes));
            ck_assert(!bytes || !memcmp(data, want, bytes));
        }
        store_bundle_close(&bundle);
        taken++;
    }
    free(data);
    free(want);
    return NULL;
}

START_TEST(threads_fill_and_take_side_by_side)
{
    uint64_t base[3] = {1, 2, 3};
    pthread_t filler[3], taker[3];
    for (int i = 0; i < 3; i++) {
        ck_assert(!pthread_create(&filler[i], NULL, fill_many, &base[i]));
        ck_assert(!pthread_create(&taker[i], NULL, take_many, &base[i]));
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(filler[i], NULL);
        pthread_join(taker[i], NULL);
    }
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store bundles");
    TCase *test = tcase_create("bundles");
    tcase_add_checked_fixture(test, setup, teardown);
    tcase_set_timeout(test, 300);
    tcase_add_test(test, items_come_back_as_they_were_put);
    tcase_add_test(test, an_empty_item_needs_no_memory);
    tcase_add_test(test, a_missing_item_and_a_wrong_size_are_refused);
    tcase_add_test(test, a_bundle_is_taken_once);
    tcase_add_test(test, of_many_takers_exactly_one_wins);
    tcase_add_test(test, take_burns_the_ready_bundles_below);
    tcase_add_test(test, a_later_take_leaves_an_earlier_one_in_use);
    tcase_add_test(test, taking_what_is_not_there_burns_the_serial);
    tcase_add_test(test, a_bundle_burnt_while_filling_is_never_ready);
    tcase_add_test(test, a_bundle_closed_before_ready_is_gone);
    tcase_add_test(test, an_item_put_twice_keeps_the_bundle_from_being_ready);
    tcase_add_test(test, what_is_put_without_a_copy_is_released_once_in_every_case);
    tcase_add_test(test, a_peeked_bundle_can_be_read_and_stays_ready);
    tcase_add_test(test, nothing_is_put_into_a_ready_bundle);
    tcase_add_test(test, burn_ends_every_ready_bundle_up_to_a_serial);
    tcase_add_test(test, one_bundle_dropped_is_gone_alone);
    tcase_add_test(test, a_destroyed_key_is_overwritten_before_it_is_unlinked);
    tcase_add_test(test, schedules_are_apart_and_listed_apart);
    tcase_add_test(test, threads_fill_and_take_side_by_side);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
