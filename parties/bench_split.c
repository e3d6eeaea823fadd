/* Where the online time of one inference went. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layers/gates.h"
#include "parties/bench.h"
#include "parties/gate_group.h"

struct part_of {
    char name[SCHEDULE_NAME];
    uint32_t gates;
    double gemm, other, wait; /* milliseconds */
    uint64_t bytes, products;
};

struct parts {
    struct part_of *part;
    size_t count, capacity;
};

/* A part with this name, the last one first; made if there is none. NULL if out of memory. */
static struct part_of *part_named(struct parts *p, const char *name, size_t length)
{
    for (size_t i = p->count; i-- > 0;)
        if (strlen(p->part[i].name) == length && strncmp(p->part[i].name, name, length) == 0)
            return &p->part[i];
    if (p->count == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 16;
        struct part_of *larger = realloc(p->part, capacity * sizeof *larger);
        if (!larger)
            return NULL;
        p->part = larger;
        p->capacity = capacity;
    }
    p->part[p->count] = (struct part_of){.gates = 0};
    snprintf(p->part[p->count].name, SCHEDULE_NAME, "%.*s", (int)length, name);
    return &p->part[p->count++];
}

/* What one gate takes: its compute, and of its round's wait a share by its bytes. */
static struct part_of gate_part(const struct bench *b, const struct walk_profile profile[2], uint32_t number,
                                const uint64_t *round_bytes)
{
    const struct gate *g = &b->schedule.gate[number];
    struct cost cost = {0};
    struct part_of out = {.gates = 1};
    walk_count_gate(&b->schedule, g, &cost);
    for (int p = 0; p < 2; p++) {
        const double gemm = 1e3 * profile[p].gemm[number] / 2;
        out.gemm += gemm;
        out.other += 1e3 * profile[p].compute[number] / 2 - gemm;
        if (cost.online_bytes > 0)
            out.wait += 1e3 * profile[p].wait[g->round] / 2 * (double)cost.online_bytes /
                        (double)round_bytes[g->round];
    }
    out.bytes = cost.online_bytes;
    out.products = cost.products;
    return out;
}

static bool add(struct parts *parts, const char *name, size_t length, const struct part_of *gate)
{
    struct part_of *to = part_named(parts, name, length);
    if (!to)
        return false;
    to->gates += gate->gates;
    to->gemm += gate->gemm;
    to->other += gate->other;
    to->wait += gate->wait;
    to->bytes += gate->bytes;
    to->products += gate->products;
    return true;
}

static json_t *parts_new(struct parts *parts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < parts->count; i++) {
        const struct part_of *p = &parts->part[i];
        json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:f, s:f, s:I, s:I}", "name", p->name, "gates",
                                              (int)p->gates, "gemm_ms", p->gemm, "other_ms", p->other,
                                              "wait_ms", p->wait, "bytes", (json_int_t)p->bytes, "products",
                                              (json_int_t)p->products));
    }
    free(parts->part);
    return list;
}

static uint64_t *bytes_by_round(const struct schedule *s)
{
    uint64_t *bytes = calloc(s->rounds + 1, sizeof *bytes);
    for (uint32_t i = 0; bytes && i < s->gates; i++) {
        struct cost cost = {0};
        walk_count_gate(s, &s->gate[i], &cost);
        if (cost.online_bytes > 0)
            bytes[s->gate[i].round] += cost.online_bytes;
    }
    return bytes;
}

enum status bench_split(const struct bench *b, const struct walk_profile profile[2], json_t *report)
{
    const struct schedule *s = &b->schedule;
    struct parts kinds = {0}, layers = {0}, steps = {0};
    uint64_t *round_bytes = bytes_by_round(s);
    bool good = round_bytes != NULL;
    for (uint32_t i = 0; good && i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        const struct part_of part = gate_part(b, profile, i, round_bytes);
        const char *name = g->kind == GATE_INPUT ? "input" : s->tensor[g->out].name,
                   *kind = gate_walks(g->kind)->name;
        char round[16];
        snprintf(round, sizeof round, "%u", g->round + 1);
        good = add(&kinds, kind, strlen(kind), &part) && add(&layers, name, gate_group_length(name), &part) &&
               add(&steps, round, strlen(round), &part);
    }
    free(round_bytes);
    json_object_set_new(report, "kinds", parts_new(&kinds));
    json_object_set_new(report, "layers", parts_new(&layers));
    json_object_set_new(report, "steps", parts_new(&steps));
    return good ? STATUS_OK : status_fail(STATUS_MEMORY, "out of memory for a report");
}
