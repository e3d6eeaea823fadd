/* What control groups leave of the machine's memory. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "parties/memory.h"
#include "tests/run.h"

static char folder[] = "/tmp/trefoil-memory-XXXXXX";
static struct memory_bounds bounds;

static void put(const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *at = path + sizeof folder; (at = strchr(at, '/')) != NULL; at++) {
        *at = 0;
        (void)mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert(fputs(text, file) >= 0 && fclose(file) == 0);
}

static void look(const char *list)
{
    char path[300];
    put("list", list);
    snprintf(path, sizeof path, "%s/list", folder);
    memory_of_groups(&bounds, path, folder);
}

START_TEST(the_lowest_bound_of_a_group_and_those_above_counts)
{
    put("memory.max", "max\n");
    put("slice/memory.max", "1000000\n");
    put("slice/memory.current", "300000\n");
    put("slice/memory.stat", "anon 5\ninactive_file 100000\nslab 7\n");
    put("slice/unit/memory.max", "2000000\n");
    put("slice/unit/memory.current", "250000\n");
    look("1:cpu:/else\n0::/slice/unit\n");
    ck_assert_uint_eq(bounds.total, 1000000);
    ck_assert_uint_eq(bounds.available, 800000);
    put("slice/unit/memory.max", "240000\n"); /* more is used than may be: it was lowered */
    look("0::/slice/unit/\n");
    ck_assert_uint_eq(bounds.total, 240000);
    ck_assert_uint_eq(bounds.available, 0);
}
END_TEST

START_TEST(groups_of_the_first_version_count_as_well)
{
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("memory/memory.usage_in_bytes", "1\n");
    put("memory/box/memory.limit_in_bytes", "700\n");
    put("memory/box/memory.usage_in_bytes", "500\n");
    put("memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 50\n");
    look("5:cpuset:/\n4:memory:/box\n0::/\n");
    ck_assert_uint_eq(bounds.total, 700);
    ck_assert_uint_eq(bounds.available, 250);
}
END_TEST

START_TEST(without_groups_there_is_no_bound)
{
    look("0::/nowhere\n4:memory:\nx\n:\n");
    ck_assert_uint_eq(bounds.total, UINT64_MAX);
    ck_assert_uint_eq(bounds.available, UINT64_MAX);
    memory_of_groups(&bounds, "/nowhere", folder);
    ck_assert_uint_eq(bounds.total, UINT64_MAX);
    ck_assert_uint_gt(memory_available(), 1 << 20);
}
END_TEST

static void make(void)
{
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_all(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tcase = tcase_create("control groups");
    tcase_add_checked_fixture(tcase, make, remove_all);
    tcase_add_test(tcase, the_lowest_bound_of_a_group_and_those_above_counts);
    tcase_add_test(tcase, groups_of_the_first_version_count_as_well);
    tcase_add_test(tcase, without_groups_there_is_no_bound);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
