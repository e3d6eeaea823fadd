#include <stdlib.h>
#include <string.h>

#include "layers/walk.h"
#include "ring/clock.h"
#include "ring/gemm.h"

enum status walk_profile_init(struct walk_profile *p, const struct schedule *s)
{
    *p = (struct walk_profile){.gates = s->gates, .rounds = s->rounds};
    p->compute = calloc(p->gates + 1, sizeof *p->compute);
    p->gemm = calloc(p->gates + 1, sizeof *p->gemm);
    p->wait = calloc(p->rounds + 1, sizeof *p->wait);
    if (p->compute && p->gemm && p->wait)
        return STATUS_OK;
    walk_profile_clear(p);
    return status_fail(STATUS_MEMORY, "out of memory for a profile");
}

void walk_profile_clear(struct walk_profile *p)
{
    free(p->compute);
    free(p->gemm);
    free(p->wait);
    memset(p, 0, sizeof *p);
}

/* ---- while walking ---- */

void walk_profile_start(struct walk_profile *p)
{
    if (!p)
        return;
    p->inside_gemm = 0;
    ring_gemm_watch(&p->inside_gemm);
    p->last = clock_seconds();
}

/* The seconds since the last call. */
static double lap(struct walk_profile *p)
{
    const double now = clock_seconds(), since = now - p->last;
    p->last = now;
    return since;
}

void walk_profile_compute(struct walk_profile *p, uint32_t gate)
{
    if (!p)
        return;
    p->compute[gate] += lap(p);
    p->gemm[gate] += p->inside_gemm;
    p->inside_gemm = 0;
}

void walk_profile_wait(struct walk_profile *p, uint32_t round)
{
    if (p)
        p->wait[round] += lap(p);
}

void walk_profile_stop(struct walk_profile *p)
{
    if (p)
        ring_gemm_watch(NULL);
}
