#include "tests/store/support.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const unsigned char test_model[STORE_HASH_BYTES] = "model";
const unsigned char test_schedule[STORE_HASH_BYTES] = "schedule";
const unsigned char test_digest[STORE_HASH_BYTES] = "digest";

static char folder[64];

void test_folder_setup(void)
{
    strcpy(folder, "/tmp/trefoil-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void test_folder_teardown(void)
{
    test_shell("rm -rf '%s'", folder);
}

const char *test_path(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *out = path[turn++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

void test_shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    ck_assert_msg(!system(command), "%s", command);
}

/* Into the test's log. */
static void print_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static struct store *open_bare(const char *path, uint64_t map_bytes)
{
    const struct store_options options = {
        .path = path, .party = "P1", .map_bytes = map_bytes, .say = print_line};
    struct store *store;
    ck_ok(store_open(&store, &options));
    return store;
}

void test_share(struct store *store)
{
    struct store_model *model;
    if (store_model_open(store, test_model, &model) == STATUS_INPUT) {
        ck_ok(store_model_create(store, test_model, &model));
        ck_ok(store_model_put(model, 0, "weights", 7));
        ck_ok(store_model_ready(model));
    }
    store_model_close(&model);
}

struct store *test_open_map(const char *path, uint64_t map_bytes)
{
    struct store *store = open_bare(path, map_bytes);
    test_share(store);
    return store;
}

struct store *test_open(const char *path)
{
    return test_open_map(path, 1u << 30);
}

struct store *test_open_bare(const char *path)
{
    return open_bare(path, 1u << 30);
}

struct store_name test_name(uint64_t serial)
{
    struct store_name name = {.serial = serial, .bucket = 128, .batch = 1};
    memcpy(name.model, test_model, sizeof name.model);
    memcpy(name.schedule, test_schedule, sizeof name.schedule);
    memset(name.nonce, (int)(serial * 7 + 1), sizeof name.nonce);
    return name;
}

void test_pattern(void *out, size_t bytes, uint64_t serial, uint32_t item)
{
    unsigned char *to = out;
    uint64_t x = serial * 0x9E3779B97F4A7C15u + item + 1;
    for (size_t i = 0; i < bytes; i++) {
        if (i % 8 == 0)
            x = (x ^ x >> 29) * 0xBF58476D1CE4E5B9u + 1;
        to[i] = (unsigned char)(x >> (8 * (i % 8)));
    }
}

void test_fill(struct store *store, uint64_t serial, const size_t *bytes, uint32_t items)
{
    const struct store_name name = test_name(serial);
    struct store_bundle *bundle;
    ck_ok(store_bundle_create(store, &name, &bundle));
    for (uint32_t item = 0; item < items; item++) {
        void *data = malloc(bytes[item] + 1);
        test_pattern(data, bytes[item], serial, item);
        ck_ok(store_bundle_put(bundle, item, data, bytes[item]));
        free(data);
    }
    ck_ok(store_bundle_ready(bundle, test_digest));
    store_bundle_close(&bundle);
    ck_assert_ptr_null(bundle);
}

void test_verify(struct store_bundle *bundle, const size_t *bytes, uint32_t items)
{
    for (uint32_t item = 0; item < items; item++) {
        unsigned char *data = malloc(bytes[item] + 1), *want = malloc(bytes[item] + 1);
        test_pattern(want, bytes[item], store_bundle_name(bundle)->serial, item);
        ck_ok(store_bundle_get(bundle, item, data, bytes[item]));
        ck_assert_msg(!bytes[item] || !memcmp(data, want, bytes[item]), "item %u", item);
        free(data);
        free(want);
    }
}

uint64_t test_ready_count(struct store *store)
{
    uint64_t serial, mark, count;
    ck_ok(store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count));
    return count;
}

uint64_t test_mark(struct store *store)
{
    uint64_t serial, mark, count;
    ck_ok(store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count));
    return mark;
}

unsigned test_count_files(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

unsigned test_count_keys(const char *path)
{
    const unsigned files = test_count_files(path);
    ck_assert_uint_ge(files, 1);
    return files - 1;
}

void test_crash(const char *path, void (*act)(struct store *store))
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

void test_keep_lines(void *context, const char *line)
{
    char *lines = context;
    snprintf(lines + strlen(lines), 2000 - strlen(lines), "%s\n", line);
}

const char *test_said(const char *path)
{
    static char lines[2000];
    const struct store_options options = {
        .path = path, .party = "P1", .map_bytes = 1u << 30, .say = test_keep_lines, .context = lines};
    struct store *store;
    lines[0] = 0;
    ck_ok(store_open(&store, &options));
    ck_ok(store_close(&store));
    return lines;
}

void test_expect_said(const char *path, const char *what)
{
    const char *lines = test_said(path);
    ck_assert_msg(strstr(lines, what) && strstr(lines, "is closed cleanly"), "%s", lines);
}

void test_nothing(struct store *store)
{
    (void)store;
}
