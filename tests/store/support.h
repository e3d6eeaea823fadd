/* What the tests of the store share: a folder of their own, names, patterns of bytes. */
#ifndef TREFOIL_TESTS_STORE_SUPPORT_H
#define TREFOIL_TESTS_STORE_SUPPORT_H

#include <stdbool.h>

#include <check.h>

#include "store/store.h"

#define ck_ok(call)                                                                        \
    do {                                                                                   \
        const enum status ck_status = (call);                                              \
        ck_assert_msg(ck_status == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status), \
                      status_message());                                                   \
    } while (0)
#define ck_fails(call, code)                                                                               \
    do {                                                                                                   \
        const enum status ck_status = (call);                                                              \
        ck_assert_msg(ck_status == (code), "%s: %s: %s", #call, status_name(ck_status), status_message()); \
    } while (0)

extern const unsigned char test_model[STORE_HASH_BYTES], test_schedule[STORE_HASH_BYTES];
extern const unsigned char test_digest[STORE_HASH_BYTES];

/* A fresh temporary folder of this test; its path with /name behind it (in one of four static buffers). */
void test_folder_setup(void);
void test_folder_teardown(void); /* with all that is in it */
const char *test_path(const char *name);
/* Runs a shell command with %s once or twice in it replaced by paths, fails the test if it fails. */
void test_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens it with test_model in it: bundles belong to a model. */
struct store *test_open(const char *path);
struct store *test_open_map(const char *path, uint64_t map_bytes);
struct store *test_open_bare(const char *path); /* without a model */
/* Shares test_model, with one item, unless it is there. */
void test_share(struct store *store);

struct store_name test_name(uint64_t serial);
/* Bytes that depend on the serial, the item and the place. */
void test_pattern(void *out, size_t bytes, uint64_t serial, uint32_t item);
/* Creates bundle serial with items 0..items-1 of these sizes, each a pattern, and makes it ready. */
void test_fill(struct store *store, uint64_t serial, const size_t *bytes, uint32_t items);
/* Whether the items of a taken bundle are what test_fill put. */
void test_verify(struct store_bundle *bundle, const size_t *bytes, uint32_t items);
uint64_t test_ready_count(struct store *store);
uint64_t test_mark(struct store *store);
/* Files in a folder. */
unsigned test_count_files(const char *path);
/* Of bundles: all files of PATH/keys but that of test_model. */
unsigned test_count_keys(const char *path);

/* Runs act on the store in another process that ends without closing it. */
void test_crash(const char *path, void (*act)(struct store *store));
void test_nothing(struct store *store); /* such an act */
/* For the store's say: context is a text of 2000 bytes, to which the lines are added. */
void test_keep_lines(void *context, const char *line);
/* What the store says when it is opened and closed, which must be a clean end. */
const char *test_said(const char *path);
void test_expect_said(const char *path, const char *what);

#endif
