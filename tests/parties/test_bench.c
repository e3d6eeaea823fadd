/* trefoil bench on a tiny model: its numbers are there and agree with each other. No test of how large they
 * are. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "parties/bench.h"
#include "parties/command.h"
#include "parties/local.h"
#include "tests/run.h"

#define RATE 100e6
#define DELAY_MS 0.5

static char folder[200], model[256], page[256], printed[256];
static json_t *report;

/* What a call prints goes to a file. line: its words. */
static int run_printing(int (*command)(int, char **), char *line)
{
    char *argv[16];
    int argc = 0;
    for (char *word = strtok(line, " "); word && argc < 15; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    fflush(stdout);
    const int before = dup(STDOUT_FILENO), file = open(printed, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(file, 0);
    dup2(file, STDOUT_FILENO);
    const int result = command(argc, argv);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    close(file);
    return result;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    char *text = calloc(1, 1 << 20);
    ck_assert_uint_gt(fread(text, 1, (1 << 20) - 1, file), 0);
    fclose(file);
    return text;
}

static void start(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/trefoil-test-bench-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(page, sizeof page, "%s/page.html", folder);
    snprintf(printed, sizeof printed, "%s/printed", folder);
    setenv("TMPDIR", folder, 1);
    char make[400], bench[800];
    snprintf(make, sizeof make,
             "random-model --layers=2 --hidden=16 --heads=2 --ffn=32 --vocabulary=600 --positions=32 %s",
             model);
    ck_assert_int_eq(run_printing(command_random_model, make), COMMAND_OK);
    snprintf(bench, sizeof bench,
             "bench --model=%s --tokens=8 --batch=2 --runs=2 --in-flight=3 --rate=100M --delay=0.5 --json --html=%s", model,
             page);
    ck_assert_int_eq(run_printing(command_bench, bench), COMMAND_OK);
    char *text = read_file(printed);
    report = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_object(report), "no JSON: %s", text);
    free(text);
}

static void stop(void)
{
    char command[300];
    json_decref(report);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static const json_t *at(const json_t *object, const char *path)
{
    char name[64];
    while (*path && object) {
        const size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        object = json_object_get(object, name);
        path += n + (path[n] == '.');
    }
    return object;
}

static double number(const char *path)
{
    const json_t *value = at(report, path);
    ck_assert_msg(json_is_number(value), "%s is missing", path);
    return json_number_value(value);
}

static double sum(const char *list, const char *field)
{
    double total = 0;
    size_t i;
    const json_t *entry;
    ck_assert_uint_gt(json_array_size(at(report, list)), 0);
    json_array_foreach(at(report, list), i, entry)
    {
        const double value = json_number_value(json_object_get(entry, field));
        ck_assert_msg(value >= 0, "%s: %s is %g", list, field, value);
        total += value;
    }
    return total;
}

START_TEST(every_number_is_there_and_positive)
{
    static const char *const positive[] = {"float.ms",
                                           "float.gmacs",
                                           "float.sgemm_fraction",
                                           "sgemm_gmacs",
                                           "offline.ms",
                                           "offline.bytes",
                                           "offline.store_bytes",
                                           "warm_ms",
                                           "online.ms",
                                           "online.compute_ms",
                                           "online.gemm_ms",
                                           "online.wait_ms",
                                           "online.gemm_fraction",
                                           "online.sealing_ms", /* only on a fast link */
                                           "online.sockets_ms",
                                           "online.link_fraction",
                                           "online_over_float",
                                           "offline_over_online",
                                           "in_flight.ms",
                                           "in_flight.alone_ms",
                                           "in_flight.of_alone",
                                           "threads",
                                           "machine.processors"};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        ck_assert_msg(number(positive[i]) > 0, "%s is not positive", positive[i]);
    ck_assert_str_eq(json_string_value(at(report, "model")), "model");
    ck_assert_double_eq(number("tokens"), 8);
    ck_assert_double_eq(number("batch"), 2);
    ck_assert_double_eq(number("in_flight.count"), 3);
    ck_assert_double_eq_tol(number("in_flight.ms_a_sequence"), number("in_flight.ms") / 6, 1e-3);
    ck_assert_double_eq_tol(number("in_flight.of_online"), number("in_flight.ms") / 3 / number("online.ms"), 1e-3);
    ck_assert_double_le(number("online.gemm_fraction"), 1);
    ck_assert_double_le(number("online.link_fraction"), 1);
    ck_assert_double_eq_tol(number("online_over_float"), number("online.ms") / number("float.ms"), 1e-3);
    ck_assert_double_eq_tol(number("offline_over_online"), number("offline.ms") / number("online.ms"), 1e-3);
}
END_TEST

START_TEST(what_was_sent_is_what_is_counted_in_every_split)
{
    static const char *const splits[] = {"kinds", "layers", "steps"};
    ck_assert_double_eq(number("online.bytes"), number("online.bytes_counted"));
    ck_assert_double_eq(number("online.rounds"), number("online.rounds_counted"));
    ck_assert_double_eq(number("offline.bytes"), number("offline.bytes_counted"));
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        ck_assert_double_eq(sum(splits[i], "bytes"), number("online.bytes"));
        ck_assert_double_eq_tol(sum(splits[i], "gemm_ms") + sum(splits[i], "other_ms"),
                                number("online.compute_ms"), 1e-3);
        ck_assert_double_eq_tol(sum(splits[i], "wait_ms"), number("online.wait_ms"), 1e-3);
    }
}
END_TEST

START_TEST(each_kernel_is_measured_at_each_shape)
{
    enum { UNITS = 3, PORTABLE = UNITS, SGEMM, DGEMM, WAYS };
    unsigned found[WAYS] = {0};
    static const char *const kernels[WAYS] = {"amx", "vnni", "avx2", "portable", "sgemm", "dgemm"};
    size_t i;
    const json_t *entry;
    json_array_foreach(at(report, "gemm"), i, entry)
    {
        unsigned m, k, n;
        ck_assert_int_eq(sscanf(json_string_value(at(entry, "shape")), "%ux%ux%u", &m, &k, &n), 3);
        ck_assert_double_gt(json_number_value(at(entry, "gmacs")), 0);
        for (int kernel = 0; kernel < WAYS; kernel++)
            if (strcmp(json_string_value(at(entry, "kernel")), kernels[kernel]) == 0) {
                found[kernel]++;
                ck_assert(kernel <= PORTABLE ? json_number_value(at(entry, "peak_fraction")) > 0
                                     : json_is_null(at(entry, "peak_fraction")));
            }
    }
    ck_assert_uint_gt(found[PORTABLE], 0);
    for (int unit = 0; unit < UNITS; unit++) {
        const bool there = json_is_true(at(at(report, kernels[unit]), "available"));
        ck_assert_uint_eq(found[unit], there ? found[PORTABLE] : 0);
        ck_assert(there == (json_number_value(at(at(report, kernels[unit]), "ring_gmacs")) > 0));
    }
    ck_assert_uint_eq(found[SGEMM], found[PORTABLE]);
    ck_assert_uint_eq(found[DGEMM], found[PORTABLE]);
}
END_TEST

START_TEST(a_shaped_link_takes_at_least_what_its_bytes_and_rounds_do)
{
    const json_t *link = json_array_get(at(report, "links"), 0);
    ck_assert_uint_eq(json_array_size(at(report, "links")), 1);
    ck_assert_double_eq(json_number_value(at(link, "rate")), RATE);
    ck_assert_double_eq(json_number_value(at(link, "delay_ms")), DELAY_MS);
    const double line = 8e3 * number("online.bytes") / RATE + number("online.rounds") * DELAY_MS;
    const double measured = json_number_value(at(link, "ms")),
                 predicted = json_number_value(at(link, "predicted_ms"));
    ck_assert_double_ge(measured, line);
    ck_assert_double_eq_tol(predicted, line + number("online.ms"), 1e-3);
    ck_assert_double_eq_tol(json_number_value(at(link, "measured_over_predicted")), measured / predicted,
                            1e-3);
    /* What computing and the line do at the same time is no more than either of them. */
    const double overlapped = json_number_value(at(link, "overlapped_ms")),
                 both = number("online.compute_ms") < line ? number("online.compute_ms") : line;
    ck_assert_double_le(overlapped, predicted + 1e-3);
    ck_assert_double_ge(overlapped, predicted - both - 1e-3);
    ck_assert_double_eq_tol(json_number_value(at(link, "measured_over_overlapped")), measured / overlapped,
                            1e-3);
}
END_TEST

static int print_table(int argc, char **argv)
{
    (void)argc, (void)argv;
    bench_table(report);
    return 0;
}

START_TEST(the_table_names_what_matters)
{
    char nothing[] = "";
    run_printing(print_table, nothing);
    char *text = read_file(printed);
    static const char *const words[] = {"portable", "sgemm", "clear float pass", "online / float", "layer 2",
                                        "linear",   "own"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ck_assert_msg(strstr(text, words[i]) != NULL, "no \"%s\" in the table", words[i]);
    free(text);
}
END_TEST

/* Every element is closed in its order; empty ones end with "/>". */
static void check_markup(const char *text)
{
    char open[32][16];
    int depth = 0;
    for (const char *c = strchr(text, '<'); c; c = strchr(c + 1, '<')) {
        const char *end = strchr(c, '>');
        ck_assert_ptr_nonnull(end);
        const size_t n = strcspn(c + 1 + (c[1] == '/'), " />");
        if (c[1] == '!' || end[-1] == '/')
            continue;
        if (c[1] == '/') {
            ck_assert_int_gt(depth, 0);
            depth--;
            ck_assert_msg(strlen(open[depth]) == n && strncmp(open[depth], c + 2, n) == 0,
                          "</%.*s> closes <%s>", (int)n, c + 2, open[depth]);
        } else {
            ck_assert_int_lt(depth, 32);
            snprintf(open[depth++], sizeof *open, "%.*s", (int)n, c + 1);
        }
    }
    ck_assert_int_eq(depth, 0);
}

START_TEST(the_page_is_well_formed_and_fetches_nothing)
{
    char *text = read_file(page);
    check_markup(text);
    ck_assert_ptr_nonnull(strstr(text, "<svg"));
    ck_assert_ptr_null(strstr(text, "src="));
    ck_assert_ptr_null(strstr(text, "href="));
    ck_assert_ptr_null(strstr(text, "<script"));
    ck_assert_ptr_null(strstr(text, "nan"));
    free(text);
}
END_TEST

static bool left_behind(void)
{
    char command[400];
    snprintf(command, sizeof command, "test -z \"$(ls '%s' | grep trefoil-bench)\"", folder);
    return system(command) != 0;
}

START_TEST(nothing_is_left_behind)
{
    ck_assert(!left_behind());
}
END_TEST

/* Stores of several gigabytes, and keys. The parties wait here for what to do; they go, too. */
START_TEST(nothing_is_left_behind_where_it_is_killed)
{
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int ready[2];
        char byte;
        ck_assert_int_eq(pipe(ready), 0);
        const pid_t child = fork();
        if (child == 0) {
            struct local l;
            signal(signals[i], SIG_DFL);
            const bool good = local_init(&l, 1, 1) == STATUS_OK;
            if (write(ready[1], "!", good) == 1)
                pause();
            _exit(1);
        }
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        ck_assert(left_behind());
        ck_assert_int_eq(kill(child, signals[i]), 0);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        close(ready[1]);
        ck_assert_int_eq(read(ready[0], &byte, 1), 0); /* nobody is left that could have written */
        ck_assert(!left_behind());
        close(ready[0]);
    }
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("bench");
    TCase *tcase = tcase_create("a tiny model");
    tcase_set_timeout(tcase, 300);
    tcase_add_unchecked_fixture(tcase, start, stop);
    tcase_add_test(tcase, every_number_is_there_and_positive);
    tcase_add_test(tcase, what_was_sent_is_what_is_counted_in_every_split);
    tcase_add_test(tcase, each_kernel_is_measured_at_each_shape);
    tcase_add_test(tcase, a_shaped_link_takes_at_least_what_its_bytes_and_rounds_do);
    tcase_add_test(tcase, the_table_names_what_matters);
    tcase_add_test(tcase, the_page_is_well_formed_and_fetches_nothing);
    tcase_add_test(tcase, nothing_is_left_behind);
    tcase_add_test(tcase, nothing_is_left_behind_where_it_is_killed);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
