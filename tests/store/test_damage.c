/* Files that are not what they were: torn, foreign, tampered with, read by others. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "store/bundle.h"
#include "tests/run.h"
#include "tests/store/support.h"

static const size_t sizes[] = {100, 100, 2500000, 0, 5000000};
#define ITEMS (sizeof sizes / sizeof *sizes)

#ifndef DAMAGES
#define DAMAGES 100
#define SEED 7
#endif

static enum status open_status(const char *path, const char *party)
{
    struct store *store = NULL;
    const struct store_options options = {.path = path, .party = party, .map_bytes = 1u << 30};
    const enum status status = store_open(&store, &options);
    ck_assert((store != NULL) == !status);
    store_close(&store);
    return status;
}

static void prepare(const char *path)
{
    struct store *store = test_open(path);
    test_fill(store, 1, sizes, ITEMS);
    test_fill(store, 2, sizes, ITEMS);
    store_close(&store);
}

static void expect_named(enum status got, enum status want, const char *path)
{
    ck_assert_msg(got == want, "%s: %s", status_name(got), status_message());
    ck_assert_msg(strstr(status_message(), path) != NULL, "no file named: %s", status_message());
}

static void overwrite(const char *path, off_t at, const void *bytes, size_t count)
{
    const int file = open(path, O_WRONLY);
    ck_assert(file >= 0 && pwrite(file, bytes, count, at) == (ssize_t)count);
    close(file);
}

START_TEST(a_truncated_store_is_refused_by_name)
{
    static const char *const lengths[] = {"1", "100", "4096", "8192", "100000", "3000000"};
    const char *path = test_path("s"), *copy = test_path("c"), *data = test_path("c/data.mdb");
    prepare(path);
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        test_shell("rm -rf %s; cp -a %s %s; truncate -s %s %s", copy, path, copy, lengths[i], data);
        expect_named(open_status(copy, "P1"), STATUS_CORRUPT, data);
    }
    /* Cut right behind or right before the last page LMDB uses. */
    test_shell("rm -rf %s; cp -a %s %s", copy, path, copy);
    struct store *store = test_open(path);
    MDB_envinfo info;
    ck_assert(!mdb_env_info(store->env, &info));
    store_close(&store);
    const off_t end = (off_t)(info.me_last_pgno + 1) * sysconf(_SC_PAGESIZE);
    ck_assert(!truncate(data, end - 1));
    expect_named(open_status(copy, "P1"), STATUS_CORRUPT, data);
    test_shell("rm -rf %s; cp -a %s %s", copy, path, copy);
    ck_assert(!truncate(data, end));
    ck_ok(open_status(copy, "P1"));
}
END_TEST

START_TEST(garbage_in_place_of_the_data_is_refused_by_name)
{
    const char *path = test_path("s"), *data = test_path("s/data.mdb");
    prepare(path);
    test_shell("head -c 100000 /dev/urandom > %s", data);
    expect_named(open_status(path, "P1"), STATUS_CORRUPT, data);
    test_shell("head -c 5000 /dev/zero > %s", data);
    expect_named(open_status(path, "P1"), STATUS_CORRUPT, data);
    test_shell("rm %s; mkdir %s", data, data);
    expect_named(open_status(path, "P1"), STATUS_IO, data);
}
END_TEST

START_TEST(an_empty_file_is_a_new_store)
{
    const char *path = test_path("s");
    test_shell("mkdir %s; touch %s/data.mdb", path, path);
    ck_ok(open_status(path, "P1"));
}
END_TEST

START_TEST(a_store_of_another_party_is_refused)
{
    const char *path = test_path("s");
    prepare(path);
    expect_named(open_status(path, "P2"), STATUS_FOREIGN, path);
    ck_assert_ptr_nonnull(strstr(status_message(), "P1"));
    /* And has not been touched by it. */
    struct store *store = test_open(path);
    ck_assert_uint_eq(test_ready_count(store), 2);
    store_close(&store);
}
END_TEST

START_TEST(another_schema_is_refused)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    char name[] = "schema", number[] = "99";
    MDB_val key = {6, name}, value = {2, number};
    MDB_txn *txn;
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_put(txn, store->about, &key, &value, 0));
    ck_ok(store_write_commit(store, txn));
    store_close(&store);
    expect_named(open_status(path, "P1"), STATUS_FOREIGN, path);
    ck_assert_ptr_nonnull(strstr(status_message(), "schema 99"));
}
END_TEST

START_TEST(the_database_of_another_program_is_refused)
{
    const char *path = test_path("s"), *other = test_path("t");
    char name[] = "key", text[] = "value";
    MDB_val key = {3, name}, value = {5, text};
    for (int named = 0; named < 2; named++) {
        const char *at = named ? path : other;
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi dbi;
        test_shell("mkdir %s", at);
        ck_assert(!mdb_env_create(&env) && !mdb_env_set_maxdbs(env, 2) && !mdb_env_open(env, at, 0, 0600));
        ck_assert(!mdb_txn_begin(env, NULL, 0, &txn));
        ck_assert(!mdb_dbi_open(txn, named ? "other" : NULL, MDB_CREATE, &dbi));
        ck_assert(!mdb_put(txn, dbi, &key, &value, 0) && !mdb_txn_commit(txn));
        mdb_env_close(env);
        const enum status status = open_status(at, "P1");
        ck_assert_msg(status == STATUS_FOREIGN || status == STATUS_CORRUPT, "%s", status_name(status));
        ck_assert_ptr_nonnull(strstr(status_message(), at));
    }
}
END_TEST

START_TEST(a_folder_that_cannot_be_made_is_named)
{
    const char *path = test_path("missing/s");
    expect_named(open_status(path, "P1"), STATUS_IO, path);
    path = test_path("file");
    test_shell("touch %s", path);
    expect_named(open_status(path, "P1"), STATUS_IO, path);
    if (!geteuid())
        return; /* root reads everything */
    path = test_path("s");
    prepare(path);
    test_shell("chmod 000 %s/data.mdb", path);
    expect_named(open_status(path, "P1"), STATUS_IO, path);
}
END_TEST

START_TEST(keys_and_data_are_for_their_owner_alone)
{
    const char *path = test_path("s");
    umask(0);
    prepare(path);
    test_shell("test -z \"$(find %s -perm /077)\"", path);
}
END_TEST

START_TEST(random_damage_never_crashes)
{
    const char *path = test_path("s"), *copy = test_path("c"), *data = test_path("c/data.mdb");
    struct stat stat;
    unsigned refused = 0;
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    for (uint64_t serial = 1; serial <= 6; serial++)
        test_fill(store, serial, sizes, 2);
    ck_ok(store_bundle_take(store, test_model, test_schedule, 3, &bundle));
    store_bundle_close(&bundle);
    MDB_envinfo info;
    ck_assert(!mdb_env_info(store->env, &info));
    store_close(&store);
    srandom(SEED);
    for (int round = 0; round < DAMAGES; round++) {
        test_shell("rm -rf %s; cp -a --sparse=always %s %s", copy, path, copy);
        ck_assert(!lstat(data, &stat));
        /* Heads of pages are hit more often than their insides. */
        const off_t page = random() % (long)(info.me_last_pgno + 1) * sysconf(_SC_PAGESIZE),
                    at = page + (random() % 2 ? random() % 24 : random() % 4096);
        unsigned char noise[4];
        for (unsigned i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)random();
        overwrite(data, at, noise, (size_t)random() % 4 + 1);
        const struct store_options options = {.path = copy, .party = "P1", .map_bytes = 1u << 30};
        if (store_open(&store, &options)) {
            refused++;
            continue;
        }
        uint64_t next;
        const enum status status = store_next_serial(store, test_model, test_schedule, &next);
        const struct store_name name = test_name(next);
        if (!status && !store_bundle_create(store, &name, &bundle)) {
            if (!store_bundle_put(bundle, 0, noise, sizeof noise))
                (void)!store_bundle_ready(bundle, test_digest);
            store_bundle_close(&bundle);
        }
        store_close(&store);
    }
    ck_assert_uint_gt(refused, DAMAGES / 8);
}
END_TEST

/* ---- sealed values ---- */

static MDB_val item_key(unsigned char out[STORE_ITEM_KEY_BYTES], const unsigned char *id, uint32_t item,
                        uint32_t chunk)
{
    memcpy(out, id, STORE_ID_BYTES);
    store_put32(out + STORE_ID_BYTES, item);
    store_put32(out + STORE_ID_BYTES + 4, chunk);
    return (MDB_val){STORE_ITEM_KEY_BYTES, out};
}

static void bundle_id(struct store *store, uint64_t serial, unsigned char id[STORE_ID_BYTES])
{
    unsigned char where[STORE_SERIAL_KEY_BYTES];
    struct store_record record;
    MDB_txn *txn;
    bool found;
    store_serial_key(where, test_model, test_schedule, serial);
    ck_ok(store_read_begin(store, &txn));
    ck_ok(store_record_get(store, txn, store->bundles, where, sizeof where, &record, &found));
    ck_assert(found);
    memcpy(id, record.id, STORE_ID_BYTES);
    mdb_txn_abort(txn);
}

/* Puts the value of one chunk in the place of another. */
static void move_value(struct store *store, MDB_val from, MDB_val to)
{
    MDB_txn *txn;
    MDB_val value;
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_get(txn, store->items, &from, &value));
    MDB_val copy = {value.mv_size, malloc(value.mv_size)};
    memcpy(copy.mv_data, value.mv_data, value.mv_size);
    ck_assert(!mdb_put(txn, store->items, &to, &copy, 0));
    ck_ok(store_write_commit(store, txn));
    free(copy.mv_data);
}

static struct store_bundle *take(struct store *store, uint64_t serial)
{
    struct store_bundle *bundle;
    ck_ok(store_bundle_take(store, test_model, test_schedule, serial, &bundle));
    return bundle;
}

START_TEST(values_moved_within_a_bundle_do_not_verify)
{
    struct store *store = test_open(test_path("s"));
    unsigned char id[STORE_ID_BYTES], one[STORE_ITEM_KEY_BYTES], two[STORE_ITEM_KEY_BYTES];
    unsigned char *data = malloc(sizes[2]);
    test_fill(store, 1, sizes, ITEMS);
    bundle_id(store, 1, id);
    struct store_bundle *bundle = take(store, 1);
    move_value(store, item_key(one, id, 0, 0), item_key(two, id, 1, 0)); /* another item */
    move_value(store, item_key(one, id, 2, 0), item_key(two, id, 2, 1)); /* another chunk */
    ck_ok(store_bundle_get(bundle, 0, data, sizes[0]));
    ck_fails(store_bundle_get(bundle, 1, data, sizes[1]), STATUS_CORRUPT);
    memset(data, 1, sizes[2]);
    ck_fails(store_bundle_get(bundle, 2, data, sizes[2]), STATUS_CORRUPT);
    ck_assert(sodium_is_zero(data, sizes[2])); /* nothing of it is handed out */
    store_bundle_close(&bundle);
    store_close(&store);
    free(data);
}
END_TEST

START_TEST(values_moved_between_bundles_do_not_verify_even_with_their_key)
{
    struct store *store = test_open(test_path("s"));
    unsigned char from[STORE_ID_BYTES], to[STORE_ID_BYTES], one[STORE_ITEM_KEY_BYTES],
        two[STORE_ITEM_KEY_BYTES];
    unsigned char data[100];
    for (uint64_t serial = 1; serial <= 3; serial++)
        test_fill(store, serial, sizes, 2);
    bundle_id(store, 1, from);
    bundle_id(store, 2, to);
    struct store_bundle *other = take(store, 1), *bundle = take(store, 2);
    move_value(store, item_key(one, from, 0, 0), item_key(two, to, 0, 0));
    bundle->content.key = other->content.key;
    ck_fails(store_bundle_get(bundle, 0, data, sizes[0]), STATUS_CORRUPT);
    store_bundle_close(&other);
    store_bundle_close(&bundle);
    bundle = take(store, 3);
    test_verify(bundle, sizes, 2);
    store_bundle_close(&bundle);
    store_close(&store);
}
END_TEST

/* Value item of bundle serial goes, or (other) becomes that of another item. */
static void spoil(struct store *store, uint64_t serial, uint32_t item, bool other)
{
    unsigned char id[STORE_ID_BYTES], one[STORE_ITEM_KEY_BYTES], two[STORE_ITEM_KEY_BYTES];
    MDB_txn *txn;
    bundle_id(store, serial, id);
    if (other) {
        move_value(store, item_key(one, id, item, 0), item_key(two, id, item + 1, 0));
        return;
    }
    MDB_val key = item_key(one, id, item, 0);
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_del(txn, store->items, &key, NULL));
    ck_ok(store_write_commit(store, txn));
}

START_TEST(a_bundle_with_missing_or_exchanged_values_is_found_when_it_is_taken)
{
    struct store *store = test_open(test_path("s"));
    struct store_bundle *bundle;
    for (uint64_t serial = 1; serial <= 4; serial++)
        test_fill(store, serial, sizes, ITEMS);
    spoil(store, 1, 0, false);
    spoil(store, 2, 0, true);
    spoil(store, 3, 4, false);
    for (uint64_t serial = 1; serial <= 3; serial++)
        ck_fails(store_bundle_take(store, test_model, test_schedule, serial, &bundle), STATUS_CORRUPT);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 1);
    bundle = take(store, 4);
    test_verify(bundle, sizes, ITEMS);
    store_bundle_close(&bundle);
    store_close(&store);
}
END_TEST

START_TEST(an_item_cut_at_a_chunk_or_changed_in_a_bit_does_not_verify)
{
    struct store *store = test_open(test_path("s"));
    unsigned char id[STORE_ID_BYTES], name[STORE_ITEM_KEY_BYTES], *data = malloc(sizes[4]);
    MDB_txn *txn;
    MDB_val value;
    test_fill(store, 1, sizes, ITEMS);
    bundle_id(store, 1, id);
    struct store_bundle *bundle = take(store, 1);
    MDB_val key = item_key(name, id, 4, 4);
    ck_ok(store_write_begin(store, STORE_CLEAN, 0, &txn));
    ck_assert(!mdb_del(txn, store->items, &key, NULL));
    key = item_key(name, id, 0, 0);
    ck_assert(!mdb_get(txn, store->items, &key, &value));
    unsigned char changed[200];
    memcpy(changed, value.mv_data, value.mv_size);
    changed[40] ^= 4;
    value.mv_data = changed;
    ck_assert(!mdb_put(txn, store->items, &key, &value, 0));
    ck_ok(store_write_commit(store, txn));
    ck_fails(store_bundle_get(bundle, 0, data, sizes[0]), STATUS_CORRUPT);
    ck_fails(store_bundle_get(bundle, 4, data, sizes[4]), STATUS_CORRUPT);
    ck_fails(store_bundle_get(bundle, 4, data, 4 * STORE_CHUNK_BYTES), STATUS_CORRUPT);
    ck_ok(store_bundle_get(bundle, 1, data, sizes[1]));
    ck_ok(store_bundle_get(bundle, 3, data, 0));
    store_bundle_close(&bundle);
    store_close(&store);
    free(data);
}
END_TEST

START_TEST(a_lost_or_torn_key_is_an_error_and_the_bundle_is_gone)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    test_fill(store, 1, sizes, 2);
    test_shell("truncate -s 20 %s/keys/*", path);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 1, &bundle), STATUS_CORRUPT);
    test_fill(store, 2, sizes, 2);
    test_shell("rm %s/keys/*", path);
    ck_fails(store_bundle_take(store, test_model, test_schedule, 2, &bundle), STATUS_CORRUPT);
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_assert_uint_eq(test_count_files(test_path("s/keys")), 0);
    store_close(&store);
}
END_TEST

START_TEST(nothing_readable_lies_on_the_disk)
{
    const char *path = test_path("s");
    static const char plain[] = "this stands for a mask and must not be seen";
    const size_t bytes = 3000000;
    char *data = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = plain[i % (sizeof plain - 1)];
    struct store *store = test_open(path);
    const struct store_name name = test_name(1);
    struct store_bundle *bundle;
    ck_ok(store_bundle_create(store, &name, &bundle));
    ck_ok(store_bundle_put(bundle, 0, data, bytes));
    ck_ok(store_bundle_put(bundle, 1, data, 200));
    for (uint32_t i = 2; i < 6; i++)
        ck_ok(store_bundle_put(bundle, i, data, 2000000));
    ck_ok(store_bundle_put(bundle, 7, data, 0));
    ck_ok(store_bundle_ready(bundle, test_digest));
    store_bundle_close(&bundle);
    test_shell("! grep -rqa 'a mask and must not' %s", path);
    bundle = take(store, 1);
    ck_ok(store_bundle_get(bundle, 0, data, bytes));
    store_bundle_close(&bundle);
    store_close(&store);
    test_shell("! grep -rqa 'a mask and must not' %s", path);
    test_shell("printf 'a mask and must not be seen' > %s/probe; grep -rqa 'a mask and must not' %s", path,
               path);
    free(data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store damage");
    TCase *test = tcase_create("damage");
    tcase_add_checked_fixture(test, test_folder_setup, test_folder_teardown);
    tcase_set_timeout(test, 300);
    tcase_add_test(test, a_truncated_store_is_refused_by_name);
    tcase_add_test(test, garbage_in_place_of_the_data_is_refused_by_name);
    tcase_add_test(test, an_empty_file_is_a_new_store);
    tcase_add_test(test, a_store_of_another_party_is_refused);
    tcase_add_test(test, another_schema_is_refused);
    tcase_add_test(test, the_database_of_another_program_is_refused);
    tcase_add_test(test, a_folder_that_cannot_be_made_is_named);
    tcase_add_test(test, keys_and_data_are_for_their_owner_alone);
    tcase_add_test(test, random_damage_never_crashes);
    tcase_add_test(test, values_moved_within_a_bundle_do_not_verify);
    tcase_add_test(test, values_moved_between_bundles_do_not_verify_even_with_their_key);
    tcase_add_test(test, a_bundle_with_missing_or_exchanged_values_is_found_when_it_is_taken);
    tcase_add_test(test, an_item_cut_at_a_chunk_or_changed_in_a_bit_does_not_verify);
    tcase_add_test(test, a_lost_or_torn_key_is_an_error_and_the_bundle_is_gone);
    tcase_add_test(test, nothing_readable_lies_on_the_disk);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
