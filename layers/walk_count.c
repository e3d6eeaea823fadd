#include <string.h>

#include "layers/gate_check.h"
#include "layers/gates.h"
#include "preprocessing/dpf.h"
#include "ring/parameters.h"

/* What a gate and its table index cost. */
void walk_count_gate(const struct schedule *s, const struct gate *g, struct cost *c)
{
    const struct gate_walks *walks = gate_walks(g->kind);
    const uint64_t n = tensor_size(&s->tensor[g->out]);
    if (g->emits) {
        c->openings += n;
        c->online_bytes += n * RING_WIRE_BYTES;
    }
    if (walks->product) {
        const uint64_t bytes = n * RING_PRODUCT_BYTES;
        c->offline_p2 += bytes;
        c->store_bytes += bytes;
        c->store_p1 += walks->fixed ? bytes : 0;
        c->memory_bytes += bytes;
        c->products += walks->products(s, g);
        c->offline_products += walks->fixed ? walks->products(s, g) : 0;
    }
    if (g->kind == GATE_CHECK) {
        const struct check *check = &s->check[g->check];
        c->online_bytes += sizeof(uint64_t);
        c->offline_p2 += check_dealt_bytes(check);
        c->store_bytes += check_dealt_bytes(check);
        c->memory_bytes += check_share_bytes(check);
    }
    if (g->index != SCHEDULE_NONE) {
        const struct lookup *l = &s->lookup[g->index];
        const uint64_t keys = l->count * dpf_key_bytes(l->bits);
        c->online_bytes += l->count * sizeof(uint16_t);
        c->offline_p1 += keys;
        c->offline_p2 += keys;
        c->store_bytes += keys;
        c->store_p1 += keys;
        c->memory_bytes += keys + l->count * (DPF_SEED_BYTES + l->tables * sizeof(uint64_t));
    }
    c->offline_bytes = c->offline_p1 + c->offline_p2;
}

uint64_t walk_count_part(const struct schedule *s, const struct gate *g)
{
    const struct gate_walks *walks = gate_walks(g->kind);
    const bool whole = !walks->open || g->index != SCHEDULE_NONE || g->lookup != SCHEDULE_NONE;
    return (whole ? tensor_size(&s->tensor[g->out]) : walks->part(s, g)) * RING_WIRE_BYTES;
}

void walk_count(const struct schedule *s, struct cost *c)
{
    memset(c, 0, sizeof *c);
    c->rounds = s->rounds;
    for (uint32_t i = 0; i < s->gates; i++)
        walk_count_gate(s, &s->gate[i], c);
    uint64_t live = 0, most = 0;
    for (uint32_t i = 0; i < s->gates; i++) {
        const struct gate *g = &s->gate[i];
        const uint64_t bytes = tensor_size(&s->tensor[g->out]) * sizeof(int64_t);
        c->memory_bytes += bytes; /* masks are all made at the start */
        /* Masked values lie in what was dealt, but for those of local gates, and inputs and tables, which are few. */
        live += gate_walks(g->kind)->product ? 0 : bytes;
        most = live > most ? live : most;
        const uint32_t touched[4] = {g->x, g->y, g->add, g->out};
        for (int t = 0; t < 4; t++) {
            bool again = touched[t] == SCHEDULE_NONE || s->tensor[touched[t]].last_gate != i ||
                         !s->tensor[touched[t]].local;
            for (int u = 0; u < t; u++)
                again |= touched[u] == touched[t];
            if (!again)
                live -= tensor_size(&s->tensor[touched[t]]) * sizeof(int64_t);
        }
    }
    c->memory_bytes += most;
    for (uint32_t i = 0; i < s->weights; i++)
        c->weight_bytes += weight_size(&s->weight[i]) * 2 * sizeof(int64_t);
}
