#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parties/bench.h"
#include "parties/command.h"
#include "parties/print.h"

struct arguments {
    struct bench bench;
    struct local_links links; /* of --rate and --delay */
    bool json;
    const char *html, *report;
};

enum { LINKS = 256, RATE, DELAY, RUNS, HTML, REPORT };

static const struct argp_option options[] = {
    {"model", 'm', "FOLDER", 0, "The model: a Hugging Face folder with the weights", 0},
    {"tokens", 's', "N", 0, "The padded length of a sequence (128)", 0},
    {"batch", 'b', "N", 0, "The sequences of one inference (1)", 0},
    {"tune", 'u', "lan|wan", 0, "As for trefoil count (wan)", 0},
    {"threads", 't', "N", 0, "Of each party's kernels, and of the clear pass (1)", 0},
    {"runs", RUNS, "N", 0, "Of each measurement; medians are printed (5)", 0},
    {"links", LINKS, NULL, 0, "Measure three slower links, too: LAN, metro and WAN", 0},
    {"rate", RATE, "BITS", 0, "Measure a link of so many bits a second, too (1e9, 200M)", 0},
    {"delay", DELAY, "MS", 0, "The delay of that link, one way, in milliseconds", 0},
    {"html", HTML, "FILE", 0, "Write a page with charts", 0},
    {"in-flight", 'i', "N", 0, "Measure N inferences at a time besides", 0},
    {"report", REPORT, "FILE", 0, "Write the JSON object, too", 0},
    {"json", 'j', NULL, 0, "Print a JSON object", 0},
    {0},
};

static const struct bench_link usual_links[] = {
    {"LAN", {10e9, 0.1}}, {"metro", {1e9, 1}}, {"WAN", {200e6, 40}}};

/* 1e9, 200M, 2.5G. */
static double parse_real(const char *text, const char *option, double high, struct argp_state *state)
{
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr("kMG", *end) : NULL;
    if (unit) {
        value *= *end == 'k' ? 1e3 : *end == 'M' ? 1e6 : 1e9;
        end++;
    }
    if (end == text || *end || !(value > 0 && value <= high))
        argp_error(state, "--%s takes a number above 0 and up to %g, not %s", option, high, text);
    return value;
}

static void add_link(struct bench *bench, const struct bench_link *link)
{
    bench->link[bench->links++] = *link;
}

static void check(struct arguments *arguments, struct argp_state *state)
{
    struct bench_link own = {"own", arguments->links};
    if (!arguments->bench.folder)
        argp_error(state, "--model FOLDER is missing");
    if (own.links.rate > 0 || own.links.delay_ms > 0)
        add_link(&arguments->bench, &own);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct bench *bench = &arguments->bench;
    switch (key) {
    case 'm':
        bench->folder = argument;
        return 0;
    case 's':
        bench->tokens = (uint32_t)command_number(argument, "tokens", 2, 65536, state);
        return 0;
    case 'b':
        bench->batch = (uint32_t)command_number(argument, "batch", 1, 1024, state);
        return 0;
    case 'u':
        if (strcmp(argument, "lan") != 0 && strcmp(argument, "wan") != 0)
            argp_error(state, "--tune takes lan or wan");
        bench->tune = argument[0] == 'l' ? TUNE_LAN : TUNE_WAN;
        return 0;
    case 't':
        bench->threads = (int)command_number(argument, "threads", 1, 1024, state);
        return 0;
    case RUNS:
        bench->runs = (int)command_number(argument, "runs", 1, 1000, state);
        return 0;
    case 'i':
        bench->in_flight = (unsigned)command_number(argument, "in-flight", 2, LOCAL_REQUESTS_MAX, state);
        return 0;
    case LINKS:
        if (bench->links == 0)
            for (size_t i = 0; i < sizeof usual_links / sizeof *usual_links; i++)
                add_link(bench, &usual_links[i]);
        return 0;
    case RATE:
        arguments->links.rate = parse_real(argument, "rate", 1e12, state);
        return 0;
    case DELAY:
        arguments->links.delay_ms = parse_real(argument, "delay", 10000, state);
        return 0;
    case HTML:
        arguments->html = argument;
        return 0;
    case REPORT:
        arguments->report = argument;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        check(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    NULL,
    "Measures this machine and one private inference side by side: the ring GEMM of each kernel beside SGEMM "
    "and DGEMM at "
    "the model's shapes, the clear float pass, and the offline and online phase of three parties that it "
    "starts on "
    "loopback, each in a process of its own with its store in TMPDIR.\v"
    "Slower links are made by the parties themselves: what they send is held back as long as the link would. "
    "The time they "
    "should take is predicted from trefoil count and printed beside what they took.",
    NULL,
    NULL,
    NULL};

static enum status write_page(const char *path, const json_t *report)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return status_fail(STATUS_IO, "cannot write %s: %s", path, strerror(errno));
    bench_page(out, report);
    const bool good = ferror(out) == 0;
    if (fclose(out) != 0 || !good)
        return status_fail(STATUS_IO, "cannot write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static enum status write_report(const char *path, const json_t *report)
{
    if (json_dump_file(report, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0)
        return STATUS_OK;
    return status_fail(STATUS_IO, "cannot write %s: %s", path, strerror(errno));
}

int command_bench(int argc, char **argv)
{
    struct arguments arguments = {
        .bench = {.tokens = 128, .batch = 1, .tune = TUNE_WAN, .threads = 1, .runs = 5}};
    command_parse(&argp, argc, argv, &arguments);
    json_t *report = json_object();
    enum status status = report ? bench_measure(&arguments.bench, report)
                                : status_fail(STATUS_MEMORY, "out of memory for a report");
    if (!status && arguments.html)
        status = write_page(arguments.html, report);
    if (!status && arguments.report)
        status = write_report(arguments.report, report);
    if (!status && !arguments.json)
        bench_table(report);
    if (!status && arguments.json)
        status = print_json(json_incref(report));
    json_decref(report);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
