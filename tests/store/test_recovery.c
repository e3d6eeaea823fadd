/* Which bundles survive: clean ends, crashes, copies, backups, orphans. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/environment.h"
#include "tests/run.h"
#include "tests/store/support.h"

static const size_t sizes[] = {10, 0, 1200000};
#define ITEMS (sizeof sizes / sizeof *sizes)

static uint64_t generation_of(const char *path)
{
    struct store *store = test_open(path);
    const uint64_t generation = store->generation;
    store_close(&store);
    return generation;
}

/* A store, closed, with serials 1 (taken) and 2, 3 (ready) and its generation. */
static uint64_t prepare(const char *path)
{
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    for (uint64_t serial = 1; serial <= 3; serial++)
        test_fill(store, serial, sizes, ITEMS);
    ck_ok(store_bundle_take(store, test_model, test_schedule, 1, &bundle));
    store_bundle_close(&bundle);
    const uint64_t generation = store->generation;
    store_close(&store);
    return generation;
}

static void expect_burnt(const char *path, uint64_t generation)
{
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    uint64_t next;
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_assert_uint_eq(test_mark(store), 3);
    ck_assert(store->generation != generation);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 2, &bundle), STATUS_STATE);
    ck_ok(store_next_serial(store, test_model, test_schedule, &next));
    ck_assert_uint_eq(next, 4);
    test_fill(store, 4, sizes, ITEMS);
    ck_ok(store_bundle_take(store, test_model, test_schedule, 4, &bundle));
    test_verify(bundle, sizes, ITEMS);
    store_bundle_close(&bundle);
    store_close(&store);
    char keys[300];
    snprintf(keys, sizeof keys, "%s/keys", path);
    ck_assert_uint_eq(test_count_keys(keys), 0);
}

START_TEST(a_clean_end_keeps_ready_bundles)
{
    const char *path = test_path("s");
    const uint64_t generation = prepare(path);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(generation_of(path), generation);
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    ck_assert_uint_eq(test_ready_count(store), 2);
    ck_ok(store_bundle_take(store, test_model, test_schedule, 2, &bundle));
    test_verify(bundle, sizes, ITEMS);
    store_bundle_close(&bundle);
    store_close(&store);
}
END_TEST

START_TEST(a_moved_store_stays_itself)
{
    const char *from = test_path("s"), *to = test_path("t");
    const uint64_t generation = prepare(from);
    test_shell("mv %s %s", from, to);
    ck_assert_uint_eq(generation_of(to), generation);
}
END_TEST

START_TEST(a_crash_burns_even_if_nothing_was_done)
{
    const char *path = test_path("s");
    const uint64_t generation = prepare(path);
    test_crash(path, test_nothing);
    expect_burnt(path, generation);
}
END_TEST

static void leave_taken_and_filling(struct store *store)
{
    struct store_bundle *bundle;
    const struct store_name name = test_name(3);
    static char data[5000000];
    if (store_bundle_take(store, test_model, test_schedule, 2, &bundle) ||
        store_bundle_create(store, &name, &bundle) || store_bundle_put(bundle, 0, data, sizeof data))
        _exit(2);
}

START_TEST(a_crash_burns_taken_and_half_filled_bundles)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    test_fill(store, 1, sizes, ITEMS);
    test_fill(store, 2, sizes, ITEMS);
    const uint64_t generation = store->generation;
    store_close(&store);
    test_crash(path, leave_taken_and_filling);
    expect_burnt(path, generation);
}
END_TEST

START_TEST(a_store_closed_while_a_bundle_is_in_use_burns)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    for (uint64_t serial = 1; serial <= 3; serial++)
        test_fill(store, serial, sizes, ITEMS);
    ck_ok(store_bundle_take(store, test_model, test_schedule, 1, &bundle));
    const uint64_t generation = store->generation;
    /* A bug of the caller; the handle is of no use any more. */
    store_close(&store);
    free(bundle);
    expect_burnt(path, generation);
}
END_TEST

START_TEST(a_copy_burns_and_the_original_does_not)
{
    const char *path = test_path("s"), *copy = test_path("copy");
    const uint64_t generation = prepare(path);
    test_shell("cp -a %s %s", path, copy);
    expect_burnt(copy, generation);
    ck_assert_uint_eq(generation_of(path), generation);
}
END_TEST

START_TEST(a_copy_of_a_running_store_burns)
{
    const char *path = test_path("s"), *copy = test_path("copy");
    const uint64_t generation = prepare(path);
    struct store *store = test_open(path);
    test_shell("cp -a %s %s", path, copy);
    store_close(&store);
    expect_burnt(copy, generation);
    ck_assert_uint_eq(generation_of(path), generation);
}
END_TEST

START_TEST(a_backup_restored_in_place_burns)
{
    const char *path = test_path("s"), *backup = test_path("backup");
    const uint64_t generation = prepare(path);
    test_shell("cp -a %s %s", path, backup);
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    ck_ok(store_bundle_take(store, test_model, test_schedule, 2, &bundle));
    store_bundle_close(&bundle);
    store_close(&store);
    /* Same file, same inode, old contents; keys come back too. */
    test_shell("cat %s/data.mdb > %s/data.mdb", backup, path);
    test_shell("cp -p %s/stamp %s/stamp", backup, path);
    test_shell("cp -p %s/keys/* %s/keys/", backup, path);
    expect_burnt(path, generation);
}
END_TEST

START_TEST(a_stamp_of_another_boot_burns)
{
    const char *path = test_path("s");
    const uint64_t generation = prepare(path);
    test_shell("sed -i 's/^boot ./boot x/' %s/stamp", path);
    expect_burnt(path, generation);
}
END_TEST

START_TEST(a_missing_or_torn_stamp_burns)
{
    const char *path = test_path("s"), *other = test_path("t");
    uint64_t generation = prepare(path);
    test_shell("rm %s/stamp", path);
    expect_burnt(path, generation);
    generation = prepare(other);
    test_shell("truncate -s 30 %s/stamp", other);
    expect_burnt(other, generation);
}
END_TEST

START_TEST(what_was_burnt_is_said_with_its_reason)
{
    const char *path = test_path("s"), *copy = test_path("copy");
    test_expect_said(path, "begun anew");
    prepare(path);
    test_expect_said(path, "as it was closed; ready bundles: 2; models: 1");
    test_shell("cp -a %s %s", path, copy);
    test_expect_said(copy, "ready bundles burnt: 2, because data.mdb is another file");
    test_expect_said(copy, "as it was closed; ready bundles: 0");
    test_shell("touch -c %s/data.mdb", path);
    test_expect_said(path, "ready bundles burnt: 2, because data.mdb was changed");
    static const char *const stamps[][2] = {{"sed -i 's/^boot ./boot x/'", "because the machine was started anew"},
                                            {"rm", "because its stamp is missing"},
                                            {"truncate -s 30", "because its stamp is torn"},
                                            {"sed -i 's/^generation ./generation x/'", "put back"}};
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        test_shell("%s %s/stamp", stamps[i][0], path);
        test_expect_said(path, stamps[i][1]);
    }
    test_crash(path, test_nothing);
    test_expect_said(path, "burnt: 0, because it was not closed cleanly");
}
END_TEST

START_TEST(an_end_that_is_not_clean_is_said)
{
    const char *path = test_path("s");
    test_expect_said(path, "begun anew");
    test_shell("rm %s/stamp && mkdir -p %s/stamp.new", path, path);
    char lines[2000] = "";
    const struct store_options options = {
        .path = path, .party = "P1", .map_bytes = 1u << 30, .say = test_keep_lines, .context = lines};
    struct store *store;
    ck_fails(store_open(&store, &options), STATUS_IO);
    test_shell("rmdir %s/stamp.new", path);
    ck_ok(store_open(&store, &options));
    test_shell("rm %s/stamp && mkdir %s/stamp.new", path, path);
    ck_fails(store_close(&store), STATUS_IO);
    ck_assert_msg(strstr(lines, "is not closed cleanly") && strstr(lines, "cannot write"), "%s", lines);
}
END_TEST

START_TEST(a_store_whose_database_is_gone_is_not_begun_anew)
{
    const char *path = test_path("s");
    const struct store_options options = {.path = path, .party = "P1", .map_bytes = 1u << 30};
    struct store *store;
    const uint64_t generation = prepare(path);
    test_shell("mv %s/data.mdb %s/moved", path, path);
    for (int i = 0; i < 2; i++) {
        ck_fails(store_open(&store, &options), STATUS_CORRUPT);
        ck_assert_msg(strstr(status_message(), "data.mdb is gone"), "%s", status_message());
        test_shell("touch %s/data.mdb", path);
    }
    test_shell("mv %s/moved %s/data.mdb", path, path);
    expect_burnt(path, generation);
}
END_TEST

START_TEST(a_second_process_is_refused_and_told_the_first)
{
    const char *path = test_path("s");
    struct store *store = test_open(path), *second;
    const struct store_options options = {.path = path, .party = "P1"};
    char pid[24];
    ck_fails(store_open(&second, &options), STATUS_STATE);
    ck_assert_ptr_null(second);
    snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
    ck_assert_ptr_nonnull(strstr(status_message(), path));
    ck_assert_ptr_nonnull(strstr(status_message(), pid));
    store_close(&store);
    store = test_open(path);
    store_close(&store);
}
END_TEST

START_TEST(orphan_keys_and_bundles_without_key_are_cleaned)
{
    const char *path = test_path("s");
    prepare(path);
    struct store *store = test_open(path);
    test_fill(store, 4, sizes, ITEMS);
    store_close(&store);
    test_shell("cd %s/keys && rm $(ls -t | head -1) && touch 0123 && touch 000102030405060708090a0b0c0d0e0f",
               path);
    store = test_open(path);
    ck_assert_uint_eq(test_ready_count(store), 2);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 2);
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store recovery");
    TCase *test = tcase_create("recovery");
    tcase_add_checked_fixture(test, test_folder_setup, test_folder_teardown);
    tcase_set_timeout(test, 300);
    tcase_add_test(test, a_clean_end_keeps_ready_bundles);
    tcase_add_test(test, a_moved_store_stays_itself);
    tcase_add_test(test, a_crash_burns_even_if_nothing_was_done);
    tcase_add_test(test, a_crash_burns_taken_and_half_filled_bundles);
    tcase_add_test(test, a_store_closed_while_a_bundle_is_in_use_burns);
    tcase_add_test(test, a_copy_burns_and_the_original_does_not);
    tcase_add_test(test, a_copy_of_a_running_store_burns);
    tcase_add_test(test, a_backup_restored_in_place_burns);
    tcase_add_test(test, a_stamp_of_another_boot_burns);
    tcase_add_test(test, a_missing_or_torn_stamp_burns);
    tcase_add_test(test, what_was_burnt_is_said_with_its_reason);
    tcase_add_test(test, an_end_that_is_not_clean_is_said);
    tcase_add_test(test, a_store_whose_database_is_gone_is_not_begun_anew);
    tcase_add_test(test, a_second_process_is_refused_and_told_the_first);
    tcase_add_test(test, orphan_keys_and_bundles_without_key_are_cleaned);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
