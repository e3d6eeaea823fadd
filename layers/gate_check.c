#include "layers/gate_check.h"

#include <sodium.h>

#include "layers/gates.h"
#include "ring/pool.h"
#include "ring/prime.h"

size_t check_dealt_bytes(const struct check *c)
{
    return (size_t)c->roots * c->count * sizeof(uint64_t);
}

size_t check_share_bytes(const struct check *c)
{
    return check_dealt_bytes(c) + c->count * sizeof(uint64_t);
}

static void stream_elements(uint64_t *out, size_t n, const struct ring_seed *seed,
                            const struct bundle_label *label, uint32_t gate, enum ring_purpose purpose)
{
    label_stream(out, n * sizeof *out, seed, label, gate, purpose);
    ring_prime_words(out, n);
}

/* ---- P0 ---- */

/* coefficient [roots + 1] of rho (M - R - a_1) ... (M - R - a_d). */
static void expand(uint64_t *coefficient, const struct check *c, uint64_t rho, uint64_t r)
{
    coefficient[0] = rho;
    for (uint32_t d = 0; d < c->roots; d++) {
        const uint64_t minus = ring_prime_subtract(0, ring_prime_add(r, ring_prime_integer(c->root[d])));
        coefficient[d + 1] = coefficient[d];
        for (uint32_t e = d; e > 0; e--)
            coefficient[e] = ring_prime_multiply_add(coefficient[e], minus, coefficient[e - 1]);
        coefficient[0] = ring_prime_multiply_add(coefficient[0], minus, 0);
    }
}

/* R of sum i. */
static uint64_t shifted_masks(const struct check *c, const struct masks *x, size_t i)
{
    ring_i128 sum = 0;
    for (size_t k = i * c->together; k < (i + 1) * c->together; k++)
        sum += masks_sum(x, k);
    return ring_prime_wide(sum >> c->shift);
}

/* shares [roots][count]: from P1's to P2's. rho1, rho2 [count]. */
static void other_shares(uint64_t *shares, const struct check *c, const struct masks *x, const uint64_t *rho1,
                         const uint64_t *rho2)
{
    uint64_t coefficient[CHECK_ROOTS_MAX + 1];
    for (size_t i = 0; i < c->count; i++) {
        expand(coefficient, c, ring_prime_add(rho1[i], rho2[i]), shifted_masks(c, x, i));
        for (uint32_t e = 0; e < c->roots; e++) {
            uint64_t *share = &shares[(size_t)e * c->count + i];
            *share = ring_prime_subtract(coefficient[e], *share);
        }
    }
    sodium_memzero(coefficient, sizeof coefficient);
}

enum status check_deal(struct dealer *d, uint32_t number)
{
    const struct gate *g = &d->schedule->gate[number];
    const struct check *c = &d->schedule->check[g->check];
    const size_t bytes = check_dealt_bytes(c), rho = c->count * sizeof(uint64_t);
    uint64_t *shares = pool_take(bytes), *rho1 = pool_take(rho), *rho2 = pool_take(rho);
    enum status status = STATUS_OK;
    if (!shares || !rho1 || !rho2)
        status = status_fail(STATUS_MEMORY, "out of memory while dealing a range check");
    if (status == STATUS_OK) {
        stream_elements(shares, (size_t)c->roots * c->count, &d->seed1, &d->label, number,
                        RING_PURPOSE_CHECK);
        stream_elements(rho1, c->count, &d->seed1, &d->label, number, RING_PURPOSE_FACTOR);
        stream_elements(rho2, c->count, &d->seed2, &d->label, number, RING_PURPOSE_FACTOR);
        other_shares(shares, c, &d->tensor[g->x], rho1, rho2);
        status = d->emit(d->context, 2, number, PART_CHECK, shares, bytes);
        shares = NULL;
    }
    pool_give(shares, bytes);
    pool_give(rho1, rho);
    pool_give(rho2, rho);
    return status;
}

/* ---- P1 and P2 ---- */

enum status check_prepare(struct evaluator *e, uint32_t number)
{
    const size_t bytes = check_dealt_bytes(&e->schedule->check[e->schedule->gate[number].check]);
    if (e->party == 1)
        return STATUS_OK; /* made again when the bundle is warmed, from the stream */
    void *shares = pool_take(bytes);
    if (!shares)
        return status_fail(STATUS_MEMORY, "out of memory");
    const enum status status = e->receive(e->context, number, PART_CHECK, shares, bytes);
    if (status == STATUS_OK)
        return e->keep(e->context, number, PART_CHECK, shares, bytes);
    pool_give(shares, bytes);
    return status;
}

enum status check_warm(struct evaluator *e, uint32_t number)
{
    const uint32_t index = e->schedule->gate[number].check;
    const struct check *c = &e->schedule->check[index];
    const size_t dealt = (size_t)c->roots * c->count;
    uint64_t *shares = e->check[index] = pool_take(check_share_bytes(c));
    if (!shares)
        return status_fail(STATUS_MEMORY, "out of memory for the range checks of a bundle");
    stream_elements(shares + dealt, c->count, &e->seed, &e->label, number, RING_PURPOSE_FACTOR);
    if (e->party == 2)
        return e->load(e->context, number, PART_CHECK, shares, check_dealt_bytes(c));
    stream_elements(shares, dealt, &e->seed, &e->label, number, RING_PURPOSE_CHECK);
    return STATUS_OK;
}

/* M of sum i. */
static uint64_t shifted(const struct check *c, const int64_t *m, size_t i)
{
    ring_i128 sum = 0;
    for (size_t k = i * c->together; k < (i + 1) * c->together; k++)
        sum += m[k];
    return ring_prime_wide(sum >> c->shift);
}

uint64_t check_share(const struct evaluator *e, const struct gate *g)
{
    const struct check *c = &e->schedule->check[g->check];
    const int64_t *m = e->tensor[g->x].m;
    const uint64_t *share = e->check[g->check];
    uint64_t u = 0;
    for (size_t i = 0; i < c->count; i++) {
        const uint64_t at = shifted(c, m, i);
        uint64_t sum = share[(size_t)c->roots * c->count + i];
        for (uint32_t k = c->roots; k-- > 0;)
            sum = ring_prime_multiply_add(sum, at, share[(size_t)k * c->count + i]); /* any word, from P0 */
        u = ring_prime_multiply_add(u, e->point, sum);
    }
    return u;
}

bool check_passes(uint64_t own, uint64_t theirs)
{
    return ring_prime_add(own, theirs) == 0;
}

static enum status check_clear(struct clear_walk *w, const struct gate *g)
{
    (void)w, (void)g;
    return STATUS_OK; /* ranges of real numbers are what calibration looks at */
}

static uint64_t check_products(const struct schedule *s, const struct gate *g)
{
    (void)s, (void)g;
    return 0; /* modulo p, not ring products of 80 bits */
}

const struct gate_walks gate_walks_check = {
    .name = "range check", .clear = check_clear, .products = check_products};
