#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layers/walk.h"
#include "parties/calibration.h"
#include "parties/gate_group.h"
#include "parties/print.h"

#define USUAL 128 /* tokens of a sequence */

struct arguments {
    const char *model, *calibration;
    uint32_t tokens, batch;
    enum tune tune;
    bool json;
};

static const struct argp_option options[] = {
    {"model", 'm', "FOLDER", 0, "The model: a Hugging Face folder with the weights", 0},
    {"tokens", 's', "N", 0, "The padded length of a sequence (128, or all that the model takes)", 0},
    {"batch", 'b', "N", 0, "The sequences of one inference (1)", 0},
    {"tune", 'u', "lan|wan", 0, "One round more and smaller tables an attention layer, or fewer rounds (wan)",
     0},
    {"calibration", 't', "FILE", 0, "Texts to calibrate on, as for trefoil share", 0},
    {"json", 'j', NULL, 0, "Print a JSON object", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'm':
        arguments->model = argument;
        return 0;
    case 's':
        arguments->tokens = (uint32_t)command_number(argument, "tokens", 2, 65536, state);
        return 0;
    case 'b':
        arguments->batch = (uint32_t)command_number(argument, "batch", 1, 1024, state);
        return 0;
    case 'u':
        if (strcmp(argument, "lan") != 0 && strcmp(argument, "wan") != 0)
            argp_error(state, "--tune takes lan or wan");
        arguments->tune = argument[0] == 'l' ? TUNE_LAN : TUNE_WAN;
        return 0;
    case 't':
        arguments->calibration = argument;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        if (!arguments->model)
            argp_error(state, "--model FOLDER is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    options,
    parse,
    NULL,
    "Tells what one private inference will cost, before running anything: rounds and bytes between the "
    "evaluators, "
    "bytes from the dealer, and what a bundle takes in the store. A run measures exactly these numbers.",
    NULL,
    NULL,
    NULL};

static enum status print_counts(const struct cost *c)
{
    return print_json(
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rounds",
                  (json_int_t)c->rounds, "openings", (json_int_t)c->openings, "online_bytes",
                  (json_int_t)c->online_bytes, "offline_bytes", (json_int_t)c->offline_bytes, "store_bytes",
                  (json_int_t)c->store_bytes, "offline_bytes_p1", (json_int_t)c->offline_p1,
                  "offline_bytes_p2", (json_int_t)c->offline_p2, "store_bytes_p1", (json_int_t)c->store_p1,
                  "products", (json_int_t)c->products, "offline_products", (json_int_t)c->offline_products,
                  "memory_bytes", (json_int_t)c->memory_bytes, "weight_bytes", (json_int_t)c->weight_bytes));
}

/* ---- the table ---- */

/* The gates of one row: those with the same name ("layer 3 scores"), or of one group ("layer 3", "pooler").
 */
struct row {
    char name[SCHEDULE_NAME];
    struct cost cost;
    uint64_t first, last; /* rounds */
};

static struct row *row_of(struct row *rows, size_t *count, const char *name)
{
    const size_t n = gate_group_length(name);
    for (size_t i = 0; i < *count; i++)
        if (strlen(rows[i].name) == n && strncmp(rows[i].name, name, n) == 0)
            return &rows[i];
    struct row *row = &rows[(*count)++];
    *row = (struct row){.first = UINT64_MAX};
    snprintf(row->name, sizeof row->name, "%.*s", (int)n, name);
    return row;
}

static void print_row(const char *name, const char *rounds, const struct cost *c)
{
    char openings[PRINT_SIZE], online[PRINT_SIZE], offline[PRINT_SIZE], store[PRINT_SIZE],
        products[PRINT_SIZE];
    printf("%-14s %9s %10s %10s %10s %10s %10s\n", name, rounds, print_amount(openings, c->openings),
           print_amount(products, c->products), print_bytes(online, c->online_bytes),
           print_bytes(offline, c->offline_bytes), print_bytes(store, c->store_bytes));
}

static enum status print_table(const struct schedule *schedule, const struct cost *total)
{
    struct row *rows = calloc(schedule->gates ? schedule->gates : 1, sizeof *rows);
    size_t count = 0;
    char rounds[PRINT_SIZE], memory[PRINT_SIZE], weights[PRINT_SIZE];
    if (!rows)
        return status_fail(STATUS_MEMORY, "out of memory for the table");
    for (uint32_t i = 0; i < schedule->gates; i++) {
        const struct gate *gate = &schedule->gate[i];
        struct row *row =
            row_of(rows, &count, gate->kind == GATE_INPUT ? "input" : schedule->tensor[gate->out].name);
        walk_count_gate(schedule, gate, &row->cost);
        if (schedule_sends(gate) && gate->round < row->first)
            row->first = gate->round;
        if (schedule_sends(gate) && gate->round > row->last)
            row->last = gate->round;
    }
    printf("%-14s %9s %10s %10s %10s %10s %10s\n", "", "rounds", "openings", "products", "online", "offline",
           "store");
    for (size_t i = 0; i < count; i++) {
        bool opens = rows[i].first != UINT64_MAX;
        snprintf(rounds, sizeof rounds, opens ? "%llu-%llu" : "-", (unsigned long long)rows[i].first + 1,
                 (unsigned long long)rows[i].last + 1);
        print_row(rows[i].name, rounds, &rows[i].cost);
    }
    snprintf(rounds, sizeof rounds, "%llu", (unsigned long long)total->rounds);
    print_row("all", rounds, total);
    printf(
        "online: each way between the evaluators; offline: from the dealer to both; store: a bundle at P2\n"
        "memory of an evaluator: %s of weight shares, %s for an inference\n",
        print_bytes(weights, total->weight_bytes), print_bytes(memory, total->memory_bytes));
    free(rows);
    return STATUS_OK;
}

int command_count(int argc, char **argv)
{
    struct arguments arguments = {.batch = 1, .tune = TUNE_WAN};
    struct calibrated model;
    struct schedule schedule;
    struct cost cost;
    command_parse(&argp, argc, argv, &arguments);
    command_threads(0);
    if (calibrated_open(&model, arguments.model, arguments.calibration, NULL))
        return command_fail(argv[0]);
    if (arguments.tokens == 0)
        arguments.tokens = model.model.config.positions < USUAL ? model.model.config.positions : USUAL;
    enum status status =
        description_compile(&model.description, arguments.tokens, arguments.batch, arguments.tune, &schedule);
    if (!status) {
        walk_count(&schedule, &cost);
        status = arguments.json ? print_counts(&cost) : print_table(&schedule, &cost);
        schedule_clear(&schedule);
    }
    calibrated_clear(&model);
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
