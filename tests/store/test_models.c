/* Models in a store: what survives of them, their list, their removal, and that bundles belong to one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/environment.h"
#include "tests/run.h"
#include "tests/store/support.h"

static const size_t sizes[] = {10, 0, 1200000};
#define ITEMS (sizeof sizes / sizeof *sizes)

static const unsigned char other_model[STORE_HASH_BYTES] = "other";

static void upload(struct store *store, const unsigned char *id, bool ready)
{
    struct store_model *model;
    unsigned char *data = malloc(sizes[2]);
    ck_ok(store_model_create(store, id, &model));
    for (uint32_t item = 0; item < ITEMS; item++) {
        test_pattern(data, sizes[item], id[0], item);
        ck_ok(store_model_put(model, item, data, sizes[item]));
    }
    if (ready)
        ck_ok(store_model_ready(model));
    store_model_close(&model);
    store_model_close(&model);
    free(data);
}

static void expect_model(struct store *store, const unsigned char *id)
{
    struct store_model *model;
    unsigned char *data = malloc(sizes[2]), *want = malloc(sizes[2]);
    ck_ok(store_model_open(store, id, &model));
    for (uint32_t item = 0; item < ITEMS; item++) {
        size_t bytes;
        ck_ok(store_model_size(model, item, &bytes));
        ck_assert_uint_eq(bytes, sizes[item]);
        test_pattern(want, bytes, id[0], item);
        ck_ok(store_model_get(model, item, data, bytes));
        ck_assert(!bytes || !memcmp(data, want, bytes));
    }
    size_t bytes;
    ck_fails(store_model_size(model, ITEMS, &bytes), STATUS_CORRUPT);
    ck_fails(store_model_get(model, 0, data, 9), STATUS_CORRUPT);
    store_model_close(&model);
    free(data);
    free(want);
}

static void half_upload(struct store *store)
{
    struct store_model *model;
    static char data[5000000];
    if (store_model_create(store, other_model, &model) || store_model_put(model, 0, data, sizeof data))
        _exit(2);
}

START_TEST(weights_survive_restarts_crashes_and_copies)
{
    const char *path = test_path("s"), *copy = test_path("copy");
    struct store *store = test_open_bare(path);
    upload(store, test_model, true);
    expect_model(store, test_model);
    store_close(&store);
    store = test_open_bare(path);
    expect_model(store, test_model);
    store_close(&store);
    test_crash(path, test_nothing);
    store = test_open_bare(path);
    expect_model(store, test_model);
    store_close(&store);
    test_shell("cp -r %s %s", path, copy);
    store = test_open_bare(copy);
    expect_model(store, test_model);
    store_close(&store);
}
END_TEST

START_TEST(an_unfinished_upload_vanishes)
{
    const char *path = test_path("s");
    struct store *store = test_open_bare(path);
    struct store_model *model;
    upload(store, other_model, false);
    ck_fails(store_model_open(store, other_model, &model), STATUS_INPUT);
    store_close(&store);
    test_crash(path, half_upload);
    store = test_open_bare(path);
    ck_fails(store_model_open(store, other_model, &model), STATUS_INPUT);
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 0);
    upload(store, other_model, true);
    expect_model(store, other_model);
    store_close(&store);
}
END_TEST

static void list_each(void *context, const unsigned char id[STORE_HASH_BYTES])
{
    char *out = context;
    strcat(out, (const char *)id);
    strcat(out, " ");
}

START_TEST(models_are_listed_newest_last_and_removed)
{
    struct store *store = test_open_bare(test_path("s"));
    struct store_model *model, *second;
    char list[100] = "";
    upload(store, test_model, true);
    upload(store, other_model, true);
    ck_ok(store_model_create(store, test_digest, &model));
    ck_ok(store_model_list(store, list_each, list));
    ck_assert_str_eq(list, "model other ");
    ck_fails(store_model_create(store, test_digest, &second), STATUS_STATE);
    ck_fails(store_model_create(store, test_model, &second), STATUS_STATE);
    store_model_close(&model);
    ck_ok(store_model_remove(store, test_model));
    ck_fails(store_model_remove(store, test_model), STATUS_INPUT);
    ck_fails(store_model_open(store, test_model, &model), STATUS_INPUT);
    expect_model(store, other_model);
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 1);
    store_close(&store);
}
END_TEST

START_TEST(removing_a_model_burns_its_bundles_and_keeps_its_marks)
{
    struct store *store = test_open_bare(test_path("s"));
    struct store_bundle *bundle;
    struct store_name name = test_name(4);
    unsigned char last[STORE_HASH_BYTES];
    upload(store, test_model, true);
    upload(store, other_model, true);
    test_fill(store, 5, sizes, ITEMS);
    memset(last, 0xff, sizeof last);
    memcpy(name.schedule, last, sizeof last);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_ready(bundle, test_digest));
    store_bundle_close(&bundle);
    memcpy(name.model, other_model, sizeof name.model);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_ready(bundle, test_digest));
    store_bundle_close(&bundle);
    ck_ok(store_model_remove(store, test_model));
    ck_assert_uint_eq(test_mark(store), 5);
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_fails(store_bundle_take(store, test_model, last, 4, &bundle), STATUS_STATE);
    ck_ok(store_bundle_take(store, other_model, last, 4, &bundle));
    store_bundle_close(&bundle);
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 1); /* that of the other model */
    store_close(&store);
}
END_TEST

START_TEST(bundles_are_dealt_for_a_model_that_is_ready_and_for_no_other)
{
    struct store *store = test_open_bare(test_path("s"));
    struct store_bundle *bundle;
    struct store_model *model;
    const struct store_name name = test_name(1), second = test_name(2);
    ck_fails(store_bundle_create(store, &name, &bundle), STATUS_STATE);
    ck_ok(store_model_create(store, test_model, &model));
    ck_fails(store_bundle_create(store, &name, &bundle), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "no bundles are dealt"));
    ck_ok(store_model_ready(model));
    store_model_close(&model);
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_put(bundle, 0, "abc", 3));
    ck_ok(store_model_remove(store, test_model));
    ck_fails(store_bundle_ready(bundle, test_digest), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "removed meanwhile"));
    store_bundle_close(&bundle);
    ck_fails(store_bundle_create(store, &second, &bundle), STATUS_STATE);
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 0);
    store_close(&store);
}
END_TEST

static void expect_no_return(struct store *store)
{
    struct store_model *model;
    ck_fails(store_model_create(store, test_model, &model), STATUS_STATE);
    ck_assert_ptr_nonnull(strstr(status_message(), "was removed from"));
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 1); /* of the other one */
    expect_model(store, other_model);
}

START_TEST(a_removed_model_never_comes_back)
{
    const char *path = test_path("s");
    struct store *store = test_open_bare(path);
    upload(store, test_model, true);
    upload(store, other_model, true);
    ck_ok(store_model_remove(store, test_model));
    expect_no_return(store);
    store_close(&store);
    store = test_open_bare(path);
    expect_no_return(store);
    store_close(&store);
    test_crash(path, test_nothing);
    store = test_open_bare(path);
    expect_no_return(store);
    store_close(&store);
}
END_TEST

/* A store, closed, with two ready bundles. */
static void two_bundles(const char *path)
{
    struct store *store = test_open(path);
    test_fill(store, 1, sizes, ITEMS);
    test_fill(store, 2, sizes, ITEMS);
    store_close(&store);
}

START_TEST(a_store_without_a_table_of_removed_models_is_given_one)
{
    const char *path = test_path("s");
    MDB_txn *txn;
    two_bundles(path);
    struct store *store = test_open(path);
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_drop(txn, store->removed, 1));
    ck_ok(store_write_commit(store, txn));
    store_close(&store);
    test_expect_said(path, "as it was closed; ready bundles: 2; models: 1");
    store = test_open_bare(path);
    upload(store, other_model, true);
    ck_ok(store_model_remove(store, test_model));
    expect_no_return(store);
    store_close(&store);
}
END_TEST

/* As older versions could leave them. */
START_TEST(bundles_whose_model_is_gone_go_when_the_store_is_opened)
{
    const char *path = test_path("s");
    MDB_val model = {STORE_HASH_BYTES, (void *)test_model};
    MDB_txn *txn;
    two_bundles(path);
    struct store *store = test_open_bare(path);
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_del(txn, store->models, &model, NULL));
    ck_ok(store_write_commit(store, txn));
    store_close(&store);
    test_expect_said(path, "ready bundles burnt: 2, because their models are gone");
    test_expect_said(path, "as it was closed; ready bundles: 0; models: 0");
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store models");
    TCase *test = tcase_create("models");
    tcase_add_checked_fixture(test, test_folder_setup, test_folder_teardown);
    tcase_set_timeout(test, 300);
    tcase_add_test(test, weights_survive_restarts_crashes_and_copies);
    tcase_add_test(test, an_unfinished_upload_vanishes);
    tcase_add_test(test, models_are_listed_newest_last_and_removed);
    tcase_add_test(test, removing_a_model_burns_its_bundles_and_keeps_its_marks);
    tcase_add_test(test, bundles_are_dealt_for_a_model_that_is_ready_and_for_no_other);
    tcase_add_test(test, a_removed_model_never_comes_back);
    tcase_add_test(test, a_store_without_a_table_of_removed_models_is_given_one);
    tcase_add_test(test, bundles_whose_model_is_gone_go_when_the_store_is_opened);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
