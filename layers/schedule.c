#include "layers/schedule.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "ring/parameters.h"

enum { TENSORS, GATES, WEIGHTS, LOOKUPS, CHECKS };

void schedule_init(struct schedule *out, uint32_t bucket, uint32_t batch)
{
    memset(out, 0, sizeof *out);
    out->bucket = bucket;
    out->batch = batch;
}

void schedule_clear(struct schedule *s)
{
    for (uint32_t i = 0; i < s->lookups; i++)
        for (uint32_t t = 0; t < s->lookup[i].tables; t++)
            free(s->lookup[i].table[t]);
    free(s->tensor);
    free(s->gate);
    free(s->weight);
    free(s->lookup);
    free(s->check);
    memset(s, 0, sizeof *s);
}

void schedule_fail(struct schedule *s, enum status code, const char *format, ...)
{
    char text[256];
    va_list arguments;
    if (s->failed != STATUS_OK)
        return; /* what follows from the first error says nothing to the user */
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    s->failed = status_fail(code, "%s", text);
}

/* Makes room for one more entry of an array and zeroes it. */
static void *grow(struct schedule *s, int which, void **array, uint32_t *count, size_t size)
{
    if (*count == s->capacity[which]) {
        const uint32_t capacity = s->capacity[which] ? 2 * s->capacity[which] : 64;
        void *larger = realloc(*array, capacity * size);
        if (!larger) {
            schedule_fail(s, STATUS_MEMORY, "out of memory while compiling a schedule");
            return NULL;
        }
        *array = larger;
        s->capacity[which] = capacity;
    }
    void *entry = (char *)*array + *count * size;
    memset(entry, 0, size);
    ++*count;
    return entry;
}

static uint32_t add_tensor(struct schedule *s, const char *name, uint64_t rows, uint32_t cols, int frac,
                           bool local)
{
    if (rows > SCHEDULE_ELEMENTS_MAX || rows * cols > SCHEDULE_ELEMENTS_MAX)
        schedule_fail(s, STATUS_RANGE,
                      "%s would have %llu rows of %u elements: use a smaller bucket or batch", name,
                      (unsigned long long)rows, cols);
    struct tensor *t = grow(s, TENSORS, (void **)&s->tensor, &s->tensors, sizeof *t);
    if (!t)
        return 0;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = (uint32_t)rows;
    t->cols = cols;
    t->frac = frac;
    t->local = local;
    t->ranged = !local && !s->derived;
    s->ranged += t->ranged;
    return s->tensors - 1;
}

static struct gate *add_gate(struct schedule *s, enum gate_kind kind, uint32_t x, uint32_t y)
{
    struct gate *g = grow(s, GATES, (void **)&s->gate, &s->gates, sizeof *g);
    if (!g)
        return NULL;
    g->kind = kind;
    g->x = x;
    g->y = y;
    g->add = g->out = SCHEDULE_NONE;
    g->weight = g->diagonal = g->bias = SCHEDULE_NONE;
    g->index = g->lookup = g->check = SCHEDULE_NONE;
    return g;
}

/* The first round in which everything the gate reads is known. */
static uint32_t first_round(const struct schedule *s, const struct gate *g)
{
    const uint32_t reads[3] = {g->x, g->y, g->add};
    uint32_t round = 0;
    for (int i = 0; i < 3; i++)
        if (reads[i] != SCHEDULE_NONE && s->tensor[reads[i]].ready > round)
            round = s->tensor[reads[i]].ready;
    return round;
}

/* Gives an opening gate its output and its shift from bits_in fraction bits. */
static uint32_t open_gate(struct schedule *s, struct gate *g, const char *name, uint64_t rows, uint32_t cols,
                          int bits_in, int frac)
{
    g->round = first_round(s, g);
    g->shift = bits_in - frac;
    g->emits = true;
    const uint32_t out = add_tensor(s, name, rows, cols, frac, false);
    s->tensor[out].ready = g->round + 1;
    g->out = out;
    if (schedule_calibrated(s) && (g->shift < 0 || g->shift > schedule_shift_most(g->kind)))
        schedule_fail(s, STATUS_RANGE,
                      "%s would need a shift of %d bits, 0 to %d are possible: the values of this "
                      "model do not fit",
                      name, g->shift, schedule_shift_most(g->kind));
    return out;
}

static int64_t fixed_constant(double value, int frac)
{
    return (int64_t)llround(ldexp(value, frac));
}

struct range schedule_range(struct schedule *s, uint32_t ahead)
{
    const struct range none = {1.0, 1.0};
    if (!s->range)
        return none;
    if (s->ranged + ahead >= s->ranges) {
        schedule_fail(s, STATUS_FOREIGN,
                      "the model's description has %u ranges, the schedule needs more: "
                      "share the model again with this version",
                      s->ranges);
        return none;
    }
    return s->range[s->ranged + ahead];
}

/* As many fraction bits as a weight of this size can have below 2^22, at most most. */
static int weight_bits(double largest, int most)
{
    int exponent;
    frexp(largest, &exponent); /* largest < 2^exponent */
    const int fit = RING_RANGE_BITS - exponent;
    return largest > 0 && fit < most ? fit : most;
}

uint32_t schedule_weight(struct schedule *s, enum weight_kind kind, uint32_t rows, uint32_t cols,
                         int frac_most, const char *format, ...)
{
    struct weight *w = grow(s, WEIGHTS, (void **)&s->weight, &s->weights, sizeof *w);
    if (!w)
        return 0;
    const uint32_t number = s->weights - 1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(w->name, sizeof w->name, format, arguments);
    va_end(arguments);
    w->kind = kind;
    w->rows = rows;
    w->cols = cols;
    w->frac = frac_most;
    if ((s->weight_frac || s->weight_largest) && number >= s->weight_count) {
        schedule_fail(s, STATUS_FOREIGN, "%s: the model's description has only %u weights", w->name,
                      s->weight_count);
        return number;
    }
    if (s->weight_frac)
        w->frac = s->weight_frac[number];
    else if (s->weight_largest)
        w->frac = weight_bits(s->weight_largest[number], frac_most);
    if (w->frac > frac_most || (schedule_calibrated(s) && w->frac < frac_most - 40))
        schedule_fail(s, STATUS_RANGE, "%s: %d fraction bits do not fit the layer (at most %d)", w->name,
                      w->frac, frac_most);
    return number;
}

uint32_t gate_input(struct schedule *s, uint32_t rows, uint32_t cols, int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_INPUT, SCHEDULE_NONE, SCHEDULE_NONE);
    return g ? open_gate(s, g, name, rows, cols, frac, frac) : 0;
}

/* Bits of a bias below the unit of its result: more would add nothing but size, and a masked integer is
 * hidden the better the smaller it is. */
#define BIAS_EXTRA 4

/* Static weights of x W + b at bits_in = frac of x + frac of W; W may use up to the largest shift. */
static int linear_weights(struct schedule *s, struct gate *g, uint32_t x, uint32_t cols, int frac,
                          const char *name)
{
    const struct tensor *in = &s->tensor[x];
    const int x_frac = in->frac;
    g->weight =
        schedule_weight(s, WEIGHT_MATRIX, in->cols, cols, frac + RING_SHIFT_MAX - x_frac, "%s weight", name);
    const int bits_in = x_frac + s->weight[g->weight].frac;
    const int bias_most = bits_in < frac + BIAS_EXTRA ? bits_in : frac + BIAS_EXTRA;
    g->bias = schedule_weight(s, WEIGHT_BIAS, 1, cols, bias_most, "%s bias", name);
    g->bias_up = bits_in - s->weight[g->bias].frac;
    return bits_in;
}

uint32_t gate_linear(struct schedule *s, const struct linear *l, const char *name)
{
    struct gate *g = add_gate(s, GATE_LINEAR, l->x, SCHEDULE_NONE);
    if (!g)
        return 0;
    const int bits_in = linear_weights(s, g, l->x, l->cols, l->frac, name);
    if (l->residual != SCHEDULE_NONE) {
        const int r_frac = s->tensor[l->residual].frac;
        g->add = l->residual;
        g->diagonal = schedule_weight(s, WEIGHT_DIAGONAL, 1, l->cols, bits_in - r_frac, "%s residual", name);
        g->diagonal_up = bits_in - r_frac - s->weight[g->diagonal].frac;
    }
    return open_gate(s, g, name, s->tensor[l->x].rows, l->cols, bits_in, l->frac);
}

uint32_t gate_output(struct schedule *s, uint32_t x, uint32_t cols, int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_OUTPUT, x, SCHEDULE_NONE);
    if (!g)
        return 0;
    const int bits_in = linear_weights(s, g, x, cols, frac, name);
    s->derived = true;
    const uint32_t out = open_gate(s, g, name, s->tensor[x].rows, cols, bits_in, frac);
    s->derived = false;
    g->emits = false;
    return out;
}

/* Fraction bits of a learned c at most. */
#define LEARNED_C_BITS 20

uint32_t gate_scores(struct schedule *s, uint32_t q, uint32_t k, struct heads h, double c, bool learned,
                     int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_SCORES, q, k);
    if (!g)
        return 0;
    const int bits_in = s->tensor[q].frac + s->tensor[k].frac;
    g->heads = h;
    if (learned) {
        const int most = bits_in < LEARNED_C_BITS ? bits_in : LEARNED_C_BITS; /* in every bucket the same */
        g->bias = schedule_weight(s, WEIGHT_BIAS, 1, h.heads, most, "%s c", name);
        g->bias_up = bits_in - s->weight[g->bias].frac;
    } else {
        g->constant = fixed_constant(c, bits_in);
    }
    return open_gate(s, g, name, (uint64_t)h.sequences * h.heads * h.queries, h.keys, bits_in, frac);
}

uint32_t gate_context(struct schedule *s, uint32_t a, uint32_t v, struct heads h, int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_CONTEXT, a, v);
    if (!g)
        return 0;
    g->heads = h;
    const uint32_t out = open_gate(s, g, name, (uint64_t)h.sequences * h.queries, h.heads * h.width,
                                   s->tensor[a].frac + s->tensor[v].frac, frac);
    s->tensor[out].each_token = true;
    return out;
}

uint32_t gate_row_dot(struct schedule *s, uint32_t a, uint32_t mu, struct heads h, int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_ROW_DOT, a, mu);
    if (!g)
        return 0;
    g->heads = h;
    const uint32_t out =
        open_gate(s, g, name, s->tensor[a].rows, 1, s->tensor[a].frac + s->tensor[mu].frac, frac);
    s->tensor[out].each_token = true;
    return out;
}

uint32_t gate_square(struct schedule *s, uint32_t x, int halvings, int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_SQUARE, x, SCHEDULE_NONE);
    if (!g)
        return 0;
    g->halvings = halvings;
    const struct tensor in = s->tensor[x];
    return open_gate(s, g, name, in.rows, in.cols, 2 * in.frac + halvings, frac);
}

uint32_t gate_square_sum(struct schedule *s, uint32_t x, double constant, int frac, const char *name)
{
    struct gate *g = add_gate(s, GATE_SQUARE_SUM, x, SCHEDULE_NONE);
    if (!g)
        return 0;
    const struct tensor in = s->tensor[x];
    g->constant = fixed_constant(constant, 2 * in.frac);
    return open_gate(s, g, name, in.rows, 1, 2 * in.frac, frac);
}

uint32_t gate_multiply(struct schedule *s, const struct multiply *m, const char *name)
{
    struct gate *g = add_gate(s, GATE_MULTIPLY, m->x, m->y);
    if (!g)
        return 0;
    const struct tensor x = s->tensor[m->x];
    const int bits_in = x.frac + s->tensor[m->y].frac + m->halvings;
    g->spread = m->spread;
    g->heads = m->heads;
    g->negate = m->negate;
    g->halvings = m->halvings;
    g->constant = fixed_constant(m->constant, bits_in);
    g->add = m->add;
    g->lookup = m->lookup;
    g->table = m->table;
    if (m->add != SCHEDULE_NONE)
        g->add_up = bits_in - s->tensor[m->add].frac;
    return open_gate(s, g, name, x.rows, x.cols, bits_in, m->frac);
}

uint32_t gate_table(struct schedule *s, uint32_t lookup, uint32_t table, uint32_t rows, uint32_t cols,
                    const char *name)
{
    if (lookup >= s->lookups)
        return 0;
    /* It reads the index that was opened beside the value the lookup belongs to. */
    uint32_t source = SCHEDULE_NONE;
    for (uint32_t i = 0; i < s->gates; i++)
        if (s->gate[i].index == lookup)
            source = s->gate[i].out;
    struct gate *g = add_gate(s, GATE_TABLE, source, SCHEDULE_NONE);
    if (!g)
        return 0;
    g->lookup = lookup;
    g->table = table;
    const int frac = s->lookup[lookup].table_frac[table];
    const bool derived = s->derived;
    s->derived = true;
    const uint32_t out = open_gate(s, g, name, rows, cols, frac, frac);
    s->derived = derived;
    return out;
}

/* What is checked is a name for what is told of it; nothing reads it. */
static struct check *check_gate(struct schedule *s, uint32_t x, uint32_t together, int shift, const char *name)
{
    if (!schedule_calibrated(s))
        return NULL;
    struct gate *g = add_gate(s, GATE_CHECK, x, SCHEDULE_NONE);
    struct check *c = grow(s, CHECKS, (void **)&s->check, &s->checks, sizeof *c);
    if (!g || !c)
        return NULL;
    const bool derived = s->derived;
    s->derived = true;
    g->round = first_round(s, g);
    g->out = add_tensor(s, name, 1, 1, 0, false);
    s->tensor[g->out].ready = g->round + 1;
    g->check = s->checks - 1;
    s->derived = derived;
    c->count = (uint32_t)(tensor_size(&s->tensor[x]) / together);
    c->together = together;
    c->shift = shift;
    return c;
}

static void add_roots(struct check *c, int64_t first, int64_t last)
{
    for (int64_t root = first; root <= last; root++)
        c->root[c->roots++] = root;
}

void gate_check_signed(struct schedule *s, uint32_t x, int bits, const char *name)
{
    struct check *c = check_gate(s, x, 1, bits, name);
    if (c)
        add_roots(c, -1, 1);
}

void gate_check_below(struct schedule *s, uint32_t x, int bits, const char *name)
{
    gate_check_sums(s, x, 1, bits, name);
}

void gate_check_sums(struct schedule *s, uint32_t x, uint32_t together, int bits, const char *name)
{
    struct check *c = check_gate(s, x, together, bits - CHECK_BELOW_BITS, name);
    if (c)
        add_roots(c, 0, ((int64_t)1 << CHECK_BELOW_BITS) - 1);
}

void gate_check_powers(struct schedule *s, uint32_t x, int most, const char *name)
{
    struct check *c = check_gate(s, x, 1, 0, name);
    if (c)
        add_roots(c, 0, 0);
    for (int k = 0; c && k <= most && c->roots < CHECK_ROOTS_MAX; k++)
        add_roots(c, (int64_t)1 << k, (int64_t)1 << k);
}

static uint32_t local_gate(struct schedule *s, enum gate_kind kind, uint32_t x, const char *name,
                           uint32_t rows, int frac)
{
    struct gate *g = add_gate(s, kind, x, SCHEDULE_NONE);
    if (!g)
        return 0;
    g->round = first_round(s, g);
    g->shift = s->tensor[x].frac - frac;
    const uint32_t out = add_tensor(s, name, rows, s->tensor[x].cols, frac, true);
    s->tensor[out].ready = g->round;
    g->out = out;
    return out;
}

uint32_t gate_centre(struct schedule *s, uint32_t x, const char *name)
{
    return local_gate(s, GATE_CENTRE, x, name, s->tensor[x].rows, s->tensor[x].frac);
}

uint32_t gate_shift(struct schedule *s, uint32_t x, int frac, const char *name)
{
    if (frac == s->tensor[x].frac || !schedule_calibrated(s))
        return x;
    return local_gate(s, GATE_SHIFT, x, name, s->tensor[x].rows, frac);
}

uint32_t gate_select(struct schedule *s, uint32_t x, uint32_t sequences, const char *name)
{
    struct tensor *in = &s->tensor[x];
    return in->rows == sequences ? x : local_gate(s, GATE_SELECT, x, name, sequences, in->frac);
}

static struct gate *maker(const struct schedule *s, uint32_t tensor)
{
    for (uint32_t i = 0; i < s->gates; i++)
        if (s->gate[i].out == tensor)
            return &s->gate[i];
    return NULL;
}

int gate_bits_in(const struct schedule *s, uint32_t tensor)
{
    const struct gate *g = maker(s, tensor);
    return g ? s->tensor[tensor].frac + g->shift : 0;
}

void gate_wait(struct schedule *s, uint32_t tensor)
{
    struct gate *g = maker(s, tensor);
    uint32_t passed = 0;
    for (uint32_t i = 0; s->failed == STATUS_OK && i < s->gates; i++)
        if (s->gate[i].kind == GATE_CHECK)
            passed = s->tensor[s->gate[i].out].ready;
    if (s->failed != STATUS_OK || !g || g->round >= passed)
        return;
    g->round = passed;
    s->tensor[tensor].ready = passed + 1;
}

uint32_t gate_index(struct schedule *s, uint32_t tensor, int bits, int shift, double offset,
                    enum function function, double parameter)
{
    struct gate *g = maker(s, tensor);
    struct lookup *l = grow(s, LOOKUPS, (void **)&s->lookup, &s->lookups, sizeof *l);
    if (!g || !l)
        return SCHEDULE_NONE;
    l->count = (uint32_t)tensor_size(&s->tensor[tensor]);
    l->bits = bits;
    l->shift = shift;
    l->offset = fixed_constant(offset, gate_bits_in(s, tensor));
    l->function = function;
    l->parameter = parameter;
    g->index = s->lookups - 1;
    return g->index;
}

void lookup_table(struct schedule *s, uint32_t lookup, int frac, int64_t *table)
{
    if (lookup >= s->lookups || !table) {
        free(table);
        schedule_fail(s, STATUS_MEMORY, "out of memory for the tables of a schedule");
        return;
    }
    struct lookup *l = &s->lookup[lookup];
    l->table[l->tables] = table;
    l->table_frac[l->tables++] = frac;
}
