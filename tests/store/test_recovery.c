/* What survives: clean ends, crashes, copies, backups, orphans. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/environment.h"
#include "tests/store/support.h"

static const size_t sizes[] = {10, 0, 1200000};
#define ITEMS (sizeof sizes / sizeof *sizes)

static void setup(void)
{
    test_folder_setup();
}

static void teardown(void)
{
    test_folder_teardown();
}

/* Runs act on the store in another process that ends without closing it. */
static void crash(const char *path, void (*act)(struct store *store))
{
    const pid_t child = fork();
    ck_assert(child >= 0);
    if (!child) {
        struct store *store;
        const struct store_options options = {.path = path, .party = "P1", .map_bytes = 1u << 30};
        if (store_open(&store, &options))
            _exit(1);
        act(store);
        _exit(0);
    }
    int result;
    ck_assert(waitpid(child, &result, 0) == child && WIFEXITED(result) && !WEXITSTATUS(result));
}

static void keep_lines(void *context, const char *line)
{
    char *lines = context;
    snprintf(lines + strlen(lines), 2000 - strlen(lines), "%s\n", line);
}

/* What the store says when it is opened and closed. */
static const char *said(const char *path)
{
    static char lines[2000];
    const struct store_options options = {
        .path = path, .party = "P1", .map_bytes = 1u << 30, .say = keep_lines, .context = lines};
    struct store *store;
    lines[0] = 0;
    ck_ok(store_open(&store, &options));
    store_close(&store);
    return lines;
}

static void expect_said(const char *path, const char *what)
{
    const char *lines = said(path);
    ck_assert_msg(strstr(lines, what) && strstr(lines, "is closed cleanly"), "%s", lines);
}

static void nothing(struct store *store)
{
    (void)store;
}

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
    crash(path, nothing);
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
    crash(path, leave_taken_and_filling);
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
    expect_said(path, "begun anew");
    prepare(path);
    expect_said(path, "as it was closed; ready bundles: 2; models: 1");
    test_shell("cp -a %s %s", path, copy);
    expect_said(copy, "ready bundles burnt: 2, because data.mdb is another file");
    expect_said(copy, "as it was closed; ready bundles: 0");
    test_shell("touch -c %s/data.mdb", path);
    expect_said(path, "ready bundles burnt: 2, because data.mdb was changed");
    static const char *const stamps[][2] = {{"sed -i 's/^boot ./boot x/'", "because the machine was started anew"},
                                            {"rm", "because its stamp is missing"},
                                            {"truncate -s 30", "because its stamp is torn"},
                                            {"sed -i 's/^generation ./generation x/'", "put back"}};
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        test_shell("%s %s/stamp", stamps[i][0], path);
        expect_said(path, stamps[i][1]);
    }
    crash(path, nothing);
    expect_said(path, "burnt: 0, because it was not closed cleanly");
}
END_TEST

START_TEST(an_end_that_is_not_clean_is_said)
{
    const char *path = test_path("s");
    expect_said(path, "begun anew");
    test_shell("rm %s/stamp && mkdir -p %s/stamp.new", path, path);
    char lines[2000] = "";
    const struct store_options options = {
        .path = path, .party = "P1", .map_bytes = 1u << 30, .say = keep_lines, .context = lines};
    struct store *store;
    ck_fails(store_open(&store, &options), STATUS_IO);
    test_shell("rmdir %s/stamp.new", path);
    ck_ok(store_open(&store, &options));
    test_shell("rm %s/stamp && mkdir %s/stamp.new", path, path);
    store_close(&store);
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

/* ---- models ---- */

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
    crash(path, nothing);
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
    crash(path, half_upload);
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
    crash(path, nothing);
    store = test_open_bare(path);
    expect_no_return(store);
    store_close(&store);
}
END_TEST

START_TEST(a_store_without_a_table_of_removed_models_is_given_one)
{
    const char *path = test_path("s");
    MDB_txn *txn;
    prepare(path);
    struct store *store = test_open(path);
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_drop(txn, store->removed, 1));
    ck_ok(store_write_commit(store, txn));
    store_close(&store);
    expect_said(path, "as it was closed; ready bundles: 2; models: 1");
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
    prepare(path);
    struct store *store = test_open_bare(path);
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_del(txn, store->models, &model, NULL));
    ck_ok(store_write_commit(store, txn));
    store_close(&store);
    expect_said(path, "ready bundles burnt: 2, because their models are gone");
    expect_said(path, "as it was closed; ready bundles: 0; models: 0");
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store recovery");
    TCase *test = tcase_create("recovery");
    tcase_add_checked_fixture(test, setup, teardown);
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
    tcase_add_test(test, weights_survive_restarts_crashes_and_copies);
    tcase_add_test(test, an_unfinished_upload_vanishes);
    tcase_add_test(test, models_are_listed_newest_last_and_removed);
    tcase_add_test(test, removing_a_model_burns_its_bundles_and_keeps_its_marks);
    tcase_add_test(test, bundles_are_dealt_for_a_model_that_is_ready_and_for_no_other);
    tcase_add_test(test, a_removed_model_never_comes_back);
    tcase_add_test(test, a_store_without_a_table_of_removed_models_is_given_one);
    tcase_add_test(test, bundles_whose_model_is_gone_go_when_the_store_is_opened);
    suite_add_tcase(suite, test);
    return test_run(suite);
}
