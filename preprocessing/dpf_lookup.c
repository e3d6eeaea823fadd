/* Nodes of one depth that are visited lie next to each other, cyclically: those that cover d, d - 1, .. d - reach B. Of their
 * children the far ones are turned into words at once, the others are gone into. */
#include "preprocessing/dpf_lookup.h"

#include <stdlib.h>

#include <sodium.h>

#include "preprocessing/dpf_tree.h"
#include "ring/clones.h"

/* Nodes that are gone into at a depth with `nodes` nodes. The deepest ones are not asked for: their words are cells. */
static size_t window(const struct dpf_table *t, size_t nodes)
{
    return t->reach == 0 || (size_t)t->reach + 1 > nodes ? nodes : (size_t)t->reach + 1;
}

/* The entry that stands for node q of B = 2^b cells: the one in the middle. */
static inline unsigned middle(unsigned d, unsigned q, int b)
{
    return d - (q << b) - (1u << (b - 1)) + 1;
}

unsigned dpf_lookup_cell(const struct dpf_table *t, unsigned d, unsigned cell)
{
    const unsigned last = (1u << t->bits) - 1, rho = (d - cell) & last;
    for (int depth = 1; depth < dpf_levels(t->bits); depth++) {
        const int b = t->bits - depth;
        const unsigned q = rho >> b, behind = ((d >> b) - q) & ((1u << depth) - 1);
        if (behind >= window(t, (size_t)1 << depth))
            return middle(d, q, b) & last;
    }
    return cell;
}

/* What one thread works with; all arrays [most], and word and turned as said. */
struct work {
    const struct dpf_table *table;
    struct dpf_generator generator;
    size_t most; /* nodes of a depth */
    struct dpf_block *node, *child, *far, *word; /* word [most * DPF_LEAF / 2] */
    uint64_t *value;
    uint64_t *turned[DPF_TABLES]; /* [2^(bits + 1)]: read forwards from last - d: entry[d - j] for j = 0, 1, .. */
    void *memory;
    size_t bytes;
};

static void work_close(struct work *w)
{
    if (w->memory)
        sodium_memzero(w->memory, w->bytes);
    free(w->memory);
    for (unsigned t = 0; t < DPF_TABLES; t++)
        free(w->turned[t]);
    dpf_generator_close(&w->generator);
}

static enum status work_open(struct work *w, const struct dpf_table *table)
{
    const size_t cells = (size_t)1 << table->bits, leaves = cells >> DPF_LEAF_BITS, last = cells - 1;
    *w = (struct work){.table = table, .most = 2 * window(table, leaves)};
    w->most = w->most > leaves ? leaves : w->most;
    const size_t blocks = w->most * (3 + DPF_LEAF / 2);
    w->bytes = blocks * sizeof(struct dpf_block) + w->most * sizeof(uint64_t);
    w->memory = malloc(w->bytes);
    enum status status = dpf_generator_open(&w->generator);
    bool all = w->memory != NULL;
    for (unsigned t = 0; t < table->tables; t++)
        all &= (w->turned[t] = malloc(2 * cells * sizeof(uint64_t))) != NULL;
    if (!all)
        return status_fail(STATUS_MEMORY, "out of memory for a table");
    for (unsigned t = 0; t < table->tables; t++)
        for (size_t j = 0; j < 2 * cells; j++)
            w->turned[t][j] = (uint64_t)table->entry[t][(last - j) & last];
    w->node = w->memory;
    w->child = w->node + w->most;
    w->far = w->child + w->most;
    w->word = w->far + w->most;
    w->value = (uint64_t *)(w->word + w->most * (DPF_LEAF / 2));
    return status;
}

/* sum += value[i] entry[first - i 2^b]. */
RING_CLONES static uint64_t far_sum(const uint64_t *value, const int64_t *entry, unsigned first, int b, unsigned last, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += value[i] * (uint64_t)entry[(first - ((unsigned)i << b)) & last];
    return sum;
}

RING_CLONES static void correct_values(uint64_t *restrict value, const struct dpf_block *restrict word,
                                       const struct dpf_block *restrict node, uint64_t correction, size_t n)
{
    for (size_t i = 0; i < n; i++)
        value[i] = word[i].w[0] + (correction & -(node[i].w[0] & 1));
}

RING_CLONES static void correct_leaves(uint64_t *restrict word, const struct dpf_block *restrict node,
                                       const uint64_t *restrict leaf, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t control = -(node[i].w[0] & 1);
        for (size_t j = 0; j < DPF_LEAF; j++)
            word[i * DPF_LEAF + j] += leaf[j] & control;
    }
}

RING_CLONES static uint64_t dot(const uint64_t *restrict a, const uint64_t *restrict b, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* n nodes of a depth, from number q on, in order modulo 2^depth. */
struct run {
    int depth;
    size_t q, n;
};

/* Copies count nodes from the first on, cyclically in [0, n). */
static void copy_cyclic(struct dpf_block *out, const struct dpf_block *in, size_t n, size_t first, size_t count)
{
    const size_t straight = n - first < count ? n - first : count;
    memcpy(out, in + first, straight * sizeof *out);
    memcpy(out + straight, in, (count - straight) * sizeof *out);
}

/* Adds the words of the children that are far, numbers first.. of the run, count of them, cyclically. */
static enum status add_far(struct work *w, const struct run *r, size_t first, size_t count, unsigned d, const unsigned char *key,
                           uint64_t sum[DPF_TABLES])
{
    const struct dpf_table *t = w->table;
    const int b = t->bits - r->depth;
    const unsigned last = (1u << t->bits) - 1;
    uint64_t correction;
    memcpy(&correction, key + dpf_value_offset(t->bits, r->depth), sizeof correction);
    copy_cyclic(w->far, w->child, r->n, first, count);
    const enum status status = dpf_words(&w->generator, w->word, w->far, count, 1);
    correct_values(w->value, w->word, w->far, correction, count);
    /* Their numbers go up in steps of one, but for the end of the run, where they start again with its first. */
    const size_t straight = r->n - first < count ? r->n - first : count;
    for (unsigned i = 0; i < t->tables; i++)
        sum[i] += far_sum(w->value, t->entry[i], middle(d, (unsigned)(r->q + first), b), b, last, straight) +
                  far_sum(w->value + straight, t->entry[i], middle(d, (unsigned)r->q, b), b, last, count - straight);
    return status;
}

/* Adds all cells of the leaves of the run. */
static enum status add_leaves(struct work *w, const struct run *r, unsigned d, const unsigned char *key,
                              uint64_t sum[DPF_TABLES])
{
    const struct dpf_table *t = w->table;
    const size_t cells = (size_t)1 << t->bits, first = r->q * DPF_LEAF, n = r->n * DPF_LEAF;
    const size_t straight = cells - first < n ? cells - first : n;
    uint64_t leaf[DPF_LEAF], *word = w->word[0].w;
    dpf_key_leaf(leaf, key, t->bits);
    const enum status status = dpf_words(&w->generator, w->word, w->child, r->n, DPF_LEAF / 2);
    correct_leaves(word, w->child, leaf, r->n);
    for (unsigned i = 0; i < t->tables; i++) {
        const uint64_t *turned = w->turned[i] + (cells - 1 - d);
        sum[i] += dot(word, turned + first, straight) + dot(word + straight, turned, n - straight);
    }
    return status;
}

static enum status lookup_one(struct work *w, uint64_t sum[DPF_TABLES], unsigned d, int party, const unsigned char *seed,
                              const unsigned char *key)
{
    const struct dpf_table *t = w->table;
    const int levels = dpf_levels(t->bits);
    struct run r = {0, 0, 1};
    enum status status = STATUS_OK;
    w->node[0] = dpf_root(seed, party);
    while (status == STATUS_OK && r.depth < levels) {
        struct dpf_block correction[2];
        dpf_key_corrections(correction, key, t->bits, r.depth);
        status = dpf_children(&w->generator, w->child, w->node, r.n, correction);
        r.depth++;
        const size_t nodes = (size_t)1 << r.depth;
        r.q = 2 * r.q & (nodes - 1);
        r.n *= 2;
        if (status != STATUS_OK || r.depth == levels)
            break;
        const size_t kept = window(t, nodes);
        const size_t start = ((d >> (t->bits - r.depth)) + 1 - kept - r.q) & (nodes - 1); /* in the run */
        if (kept < r.n)
            status = add_far(w, &r, (start + kept) % r.n, r.n - kept, d, key, sum);
        copy_cyclic(w->node, w->child, r.n, kept < r.n ? start : 0, kept < r.n ? kept : r.n);
        if (kept < r.n)
            r = (struct run){r.depth, (r.q + start) & (nodes - 1), kept};
    }
    return status == STATUS_OK ? add_leaves(w, &r, d, key, sum) : status;
}

enum status dpf_lookup(uint64_t *const share[DPF_TABLES], const struct dpf_table *table, size_t count, int party,
                       const uint16_t *d, const unsigned char *seed, const unsigned char *keys)
{
    struct work w;
    enum status status = work_open(&w, table);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        uint64_t sum[DPF_TABLES] = {0};
        status = lookup_one(&w, sum, d[i], party, seed + i * DPF_SEED_BYTES, keys + i * dpf_key_bytes(table->bits));
        for (unsigned t = 0; t < table->tables; t++)
            share[t][i] = party == 2 ? -sum[t] : sum[t];
    }
    work_close(&w);
    return status;
}
