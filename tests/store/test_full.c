/* No room: in the map, on the disk, for a key. And space that comes back. */
#define _GNU_SOURCE /* unshare */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/run.h"
#include "tests/store/support.h"

#define ITEM_BYTES 900000
static unsigned char data[6000000];

static void add_bytes(void *context, const struct store_count *count)
{
    *(uint64_t *)context += count->bytes;
}

/* Fills a bundle until there is no room; it must not become ready. Returns how many items were written, while more waited. */
static unsigned fill_until_full(struct store *store, size_t bytes, const char *path)
{
    struct store_name name = test_name(0);
    struct store_bundle *bundle;
    enum status status = STATUS_OK;
    uint64_t written = 0;
    ck_ok(store_next_serial(store, test_model, test_schedule, &name.serial));
    ck_ok(store_bundle_create(store, &name, &bundle));
    for (uint32_t item = 0; !status && item < 1000000; item++)
        status = store_bundle_put(bundle, item, data, bytes);
    ck_assert_msg(status == STATUS_FULL, "%s: %s", status_name(status), status_message());
    ck_assert_msg(strstr(status_message(), path) != NULL, "%s", status_message());
    ck_fails(store_bundle_ready(bundle, test_digest), STATUS_STATE);
    ck_ok(store_bundle_list(store, add_bytes, &written));
    store_bundle_close(&bundle);
    ck_assert_uint_eq(test_ready_count(store), 0);
    return (unsigned)(written / bytes);
}

static void spend_one(struct store *store)
{
    uint64_t serial;
    struct store_bundle *bundle;
    const size_t sizes[] = {ITEM_BYTES, 100, 0};
    ck_ok(store_next_serial(store, test_model, test_schedule, &serial));
    test_fill(store, serial, sizes, 3);
    ck_ok(store_bundle_take(store, test_model, test_schedule, serial, &bundle));
    test_verify(bundle, sizes, 3);
    store_bundle_close(&bundle);
}

START_TEST(a_full_map_is_an_error_and_its_space_comes_back)
{
    static const size_t bytes[] = {ITEM_BYTES, 3000, 6000000, 100};
    const char *path = test_path("s");
    struct store *store = test_open_map(path, 16u << 20);
    unsigned first[4];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4; i++) {
            const unsigned count = fill_until_full(store, bytes[i], path);
            if (!round)
                first[i] = count;
            /* What other items left behind may cost some room to fragments, but not much. */
            if (i < 2)
                ck_assert_uint_ge(count, first[i] * 3 / 4);
            spend_one(store);
        }
    ck_assert_uint_gt(first[0], 5);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
    store_close(&store);
    store = test_open_map(path, 16u << 20);
    spend_one(store);
    store_close(&store);
}
END_TEST

/* Large bundles leave some room when the next one does not fit; the smallest ones leave nothing. */
static const struct {
    uint64_t map_bytes;
    size_t bytes;
} full_maps[] = {{12u << 20, ITEM_BYTES}, {1u << 20, 1500}};

START_TEST(with_a_map_full_of_bundles_taking_and_burning_still_work)
{
    const char *path = test_path("s");
    struct store *store = test_open_map(path, full_maps[_i].map_bytes);
    struct store_bundle *bundle;
    const size_t sizes[] = {full_maps[_i].bytes};
    struct store_name name;
    uint64_t serial = 1;
    enum status status;
    for (;; serial++) {
        name = test_name(serial);
        status = store_bundle_create(store, &name, &bundle);
        if (status)
            break;
        status = store_bundle_put(bundle, 0, data, sizes[0]);
        if (!status)
            status = store_bundle_ready(bundle, test_digest);
        store_bundle_close(&bundle);
        if (status)
            break;
    }
    ck_assert_int_eq(status, STATUS_FULL);
    ck_assert_uint_gt(serial, 5);
    ck_assert_uint_eq(test_ready_count(store), serial - 1);
    ck_ok(store_bundle_take(store, test_model, test_schedule, 2, &bundle));
    store_bundle_close(&bundle);
    ck_ok(store_burn(store, test_model, test_schedule, serial));
    ck_assert_uint_eq(test_ready_count(store), 0);
    ck_ok(store_next_serial(store, test_model, test_schedule, &serial));
    test_fill(store, serial, sizes, 1);
    store_close(&store);
}
END_TEST

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert(!getrlimit(RLIMIT_FSIZE, &limit));
    limit.rlim_cur = bytes;
    ck_assert(!setrlimit(RLIMIT_FSIZE, &limit));
}

START_TEST(a_file_that_may_not_grow_is_an_error_and_the_store_goes_on)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    struct stat stat;
    spend_one(store);
    ck_assert(!lstat(test_path("s/data.mdb"), &stat));
    for (int round = 0; round < 3; round++) {
        limit_files((rlim_t)stat.st_size + (6u << 20));
        fill_until_full(store, ITEM_BYTES, path);
        fill_until_full(store, 6000000, path);
        spend_one(store);
    }
    limit_files(RLIM_INFINITY);
    spend_one(store);
    store_close(&store);
}
END_TEST

START_TEST(a_map_beyond_the_address_space_is_an_error_that_names_its_setting)
{
    const char *path = test_path("s");
    const struct store_options options = {.path = path, .party = "P1", .map_bytes = 1ull << 60};
    struct store *store;
    ck_fails(store_open(&store, &options), STATUS_INPUT);
    ck_assert_msg(strstr(status_message(), "store_size") != NULL, "%s", status_message());
    store = test_open(path);
    store_close(&store);
}
END_TEST

START_TEST(no_room_for_a_key_is_an_error_and_leaves_nothing)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    struct store_bundle *bundle;
    struct store_model *model;
    const struct store_name name = test_name(1);
    limit_files(0);
    const enum status bundle_status = store_bundle_create(store, &name, &bundle);
    char message[256];
    status_copy(message, sizeof message);
    const enum status model_status = store_model_create(store, test_model, &model);
    limit_files(RLIM_INFINITY);
    ck_assert_int_eq(bundle_status, STATUS_FULL);
    ck_assert_int_eq(model_status, STATUS_FULL);
    ck_assert_msg(strstr(message, test_path("s/keys")) != NULL, "%s", message);
    ck_assert_uint_eq(test_count_keys(test_path("s/keys")), 0);
    ck_assert_ptr_null(bundle);
    ck_assert_ptr_null(model);
    ck_ok(store_bundle_create(store, &name, &bundle));
    store_bundle_close(&bundle);
    store_close(&store);
}
END_TEST

/* Leaves holes of 25 pages all over the file: bundles of many schedules, every second of them burnt. */
static void make_holes(struct store *store)
{
    struct store_name name = test_name(1);
    for (int burn = 0; burn < 2; burn++)
        for (int i = 0; i < 140; i++) {
            struct store_bundle *bundle;
            memset(name.schedule, i + 1, sizeof name.schedule);
            if (burn && i % 2)
                ck_ok(store_burn(store, test_model, name.schedule, 1));
            if (burn)
                continue;
            ck_ok(store_bundle_create(store, &name, &bundle));
            ck_ok(store_bundle_put(bundle, 0, data, 100000));
            ck_ok(store_bundle_ready(bundle, test_digest));
            store_bundle_close(&bundle);
        }
}

/* Namespaces in which we may mount, root or not. */
static bool enter_namespace(void)
{
    const unsigned uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)))
        return false;
    if (!uid)
        return true;
    const char *const files[] = {"/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/gid_map"};
    char lines[3][32] = {"deny"};
    snprintf(lines[1], sizeof lines[1], "0 %u 1", uid);
    snprintf(lines[2], sizeof lines[2], "0 %u 1", gid);
    for (int i = 0; i < 3; i++) {
        const int file = open(files[i], O_WRONLY);
        const ssize_t bytes = (ssize_t)strlen(lines[i]);
        if (file < 0 || write(file, lines[i], (size_t)bytes) != bytes)
            return false;
        close(file);
    }
    return true;
}

static bool small_disk(const char *folder)
{
    return enter_namespace() && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("tmpfs", folder, "tmpfs", 0, "size=32m");
}

static void add_ready(void *context, const struct store_count *count)
{
    *(uint64_t *)context += count->ready;
}

static uint64_t all_ready(struct store *store)
{
    uint64_t ready = 0;
    ck_ok(store_bundle_list(store, add_ready, &ready));
    ck_assert_uint_gt(ready, 0);
    return ready;
}

/* 77: not permitted here. */
static int on_a_small_disk(const char *folder)
{
    if (!small_disk(folder))
        return 77;
    char path[256];
    snprintf(path, sizeof path, "%s/s", folder);
    struct store *store = test_open(path);
    for (int round = 0; round < 3; round++) {
        if (fill_until_full(store, ITEM_BYTES, path) < 8 || fill_until_full(store, 6000000, path) < 1)
            return 1;
        spend_one(store);
    }
    /* Taking works where nothing at all is left. */
    const size_t sizes[] = {ITEM_BYTES};
    struct store_bundle *bundle;
    uint64_t serial;
    ck_ok(store_next_serial(store, test_model, test_schedule, &serial));
    test_fill(store, serial, sizes, 1);
    make_holes(store);
    char command[300];
    snprintf(command, sizeof command, "head -c 40000000 /dev/zero > %s/rest 2>/dev/null", folder);
    if (!system(command))
        return 2;
    ck_ok(store_bundle_take(store, test_model, test_schedule, serial, &bundle));
    test_verify(bundle, sizes, 1);
    store_bundle_close(&bundle);
    /* There are free pages enough, but not in a row: LMDB runs into the end of the disk itself. */
    for (int round = 0; round < 3; round++)
        fill_until_full(store, ITEM_BYTES, path);
    /* Closed, opened, and closed once more where nothing is left. */
    const uint64_t ready = all_ready(store);
    for (int round = 0; round < 2; round++) {
        store_close(&store);
        if (!system(command))
            return 3;
        store = test_open(path);
        ck_assert_uint_eq(all_ready(store), ready);
    }
    store_close(&store);
    return 0;
}

/* What filling leaves of a disk is enough for other files; what was given back is used again. */
static int leaves_some_of_a_small_disk(const char *folder)
{
    struct statvfs disk;
    if (!small_disk(folder))
        return 77;
    char path[256];
    snprintf(path, sizeof path, "%s/s", folder);
    struct store *store = test_open(path);
    for (int round = 0; round < 6; round++) {
        if (fill_until_full(store, ITEM_BYTES, path) < 8)
            return 1;
        if (statvfs(folder, &disk) || disk.f_bavail * disk.f_frsize < disk.f_blocks * disk.f_frsize / 8)
            return 2;
    }
    store_close(&store);
    return 0;
}

static void in_a_process(int (*run)(const char *folder))
{
    const char *folder = test_path("disk");
    test_shell("mkdir %s", folder);
    const pid_t child = fork();
    ck_assert(child >= 0);
    if (!child)
        _exit(run(folder));
    int result;
    ck_assert(waitpid(child, &result, 0) == child && WIFEXITED(result));
    if (WEXITSTATUS(result) == 77)
        fprintf(stderr, "skipped: mounting a small disk is not permitted here\n");
    else
        ck_assert_int_eq(WEXITSTATUS(result), 0);
}

START_TEST(a_full_disk_is_an_error_and_the_store_goes_on)
{
    in_a_process(on_a_small_disk);
}
END_TEST

START_TEST(filling_leaves_some_of_the_disk)
{
    in_a_process(leaves_some_of_a_small_disk);
}
END_TEST

START_TEST(two_hundred_bundles_do_not_make_the_file_grow)
{
    const char *path = test_path("s");
    struct store *store = test_open(path);
    struct stat early, late;
    for (int i = 0; i < 20; i++)
        spend_one(store);
    ck_assert(!lstat(test_path("s/data.mdb"), &early));
    for (int i = 0; i < 180; i++)
        spend_one(store);
    ck_assert(!lstat(test_path("s/data.mdb"), &late));
    ck_assert_msg(late.st_size <= early.st_size, "%lld grew to %lld", (long long)early.st_size,
                  (long long)late.st_size);
    store_close(&store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store full");
    TCase *test = tcase_create("full");
    tcase_add_checked_fixture(test, test_folder_setup, test_folder_teardown);
    tcase_set_timeout(test, 300);
    tcase_add_test(test, a_full_map_is_an_error_and_its_space_comes_back);
    tcase_add_loop_test(test, with_a_map_full_of_bundles_taking_and_burning_still_work, 0, 2);
    tcase_add_test(test, a_file_that_may_not_grow_is_an_error_and_the_store_goes_on);
    tcase_add_test(test, a_map_beyond_the_address_space_is_an_error_that_names_its_setting);
    tcase_add_test(test, no_room_for_a_key_is_an_error_and_leaves_nothing);
    tcase_add_test(test, a_full_disk_is_an_error_and_the_store_goes_on);
    tcase_add_test(test, filling_leaves_some_of_the_disk);
    tcase_add_test(test, two_hundred_bundles_do_not_make_the_file_grow);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
