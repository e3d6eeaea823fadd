/* One entry for each kind of gate: its four walks, side by side in the file of that gate. */
#ifndef TREFOIL_LAYERS_GATES_H
#define TREFOIL_LAYERS_GATES_H

#include "layers/walk.h"
#include "ring/elementwise.h"

struct clear_walk {
    const struct schedule *schedule;
    const struct folded *weights;
    float **value; /* by tensor */
};

struct gate_walks {
    const char *name;
    bool product; /* z starts from a dealt g_i, ten bytes an element at P2 */
    bool fixed;   /* the y operand is static: u_i is computed and kept offline by both evaluators */
    /* out = f(x, y) in real numbers; shape as in schedule.h. */
    enum status (*clear)(struct clear_walk *walk, const struct gate *gate);
    /* P0: g += the product of the masks' sums; of doubled gates, -2 times that of their differences. */
    enum status (*deal)(struct dealer *dealer, const struct gate *gate, struct ring_wide g);
    /* P_i: g_i becomes u_i. NULL where nothing is static. */
    enum status (*prepare)(struct evaluator *evaluator, const struct gate *gate, struct ring_wide u);
    /* P_i: adds to z what makes z_i of the g_i or u_i in it, to which the mask may have been added. NULL where there is only the
     * next one: no table index is taken of such gates, and no table entry joins them. */
    enum status (*evaluate)(struct evaluator *evaluator, const struct gate *gate, struct ring_wide z);
    /* P_i: evaluate, ring_narrow and evaluator_send in one pass, where there is such a pass: z is not needed afterwards, and may
     * not have been formed. NULL, and for gates with a table: one after the other. */
    enum status (*open)(struct evaluator *evaluator, const struct gate *gate, struct ring_wide z,
                        const struct ring_narrow *end);
    /* Elements of the largest part that it sends. */
    size_t (*part)(const struct schedule *schedule, const struct gate *gate);
    /* Local gates: the same public linear map for m, l and clear integers. STATUS_RANGE if it does not fit. */
    enum status (*local)(const struct schedule *schedule, const struct gate *gate, int64_t *out, const int64_t *in);
    /* Ring multiplications of one evaluator online. */
    uint64_t (*products)(const struct schedule *schedule, const struct gate *gate);
};

extern const struct gate_walks gate_walks_input, gate_walks_linear, gate_walks_output, gate_walks_scores,
    gate_walks_context, gate_walks_row_dot, gate_walks_square, gate_walks_square_sum, gate_walks_multiply,
    gate_walks_table, gate_walks_check, gate_walks_centre, gate_walks_shift, gate_walks_select;

const struct gate_walks *gate_walks(enum gate_kind kind);

/* Shared by the offline and the online walk of an evaluator. */

/* g_1 of a gate, which P1 makes from its stream. data: n elements. */
void evaluator_stream_product(const struct evaluator *evaluator, uint32_t gate, void *data, size_t n);
/* Wipes and frees the tensors that no gate after this one reads. */
void evaluator_release(struct evaluator *evaluator, uint32_t gate);
/* The same for what hides them only: the masks wait for evaluator_clear, so that nobody waits for their wiping. */
void evaluator_release_masked(struct evaluator *evaluator, uint32_t gate);

/* Elements of an opening that are sent when they are ready, while the rest is computed. */
#define SEND_ELEMENTS ((size_t)1 << 15)
/* Of a matrix, columns of a strip: part of the protocol, since it fixes the order in which elements travel. */
#define SEND_COLUMNS 384

/* Queues a part of the gate's message t for the other evaluator: [rows][columns] from element `at` on, rows stride apart. All of t once, in an order that
 * depends on the schedule alone. Nothing in the fixed-point walk. */
enum status evaluator_send(struct evaluator *evaluator, const struct gate *gate, size_t at, size_t rows, size_t columns,
                           size_t stride);

static inline size_t gate_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* delta_i: 1 for P1, 0 for P2. */
static inline int64_t evaluator_delta(const struct evaluator *e)
{
    return e->party == 1;
}

/* The right operand of a product: elements of a tensor's share, or of a static one, from `at` on. */
static inline struct ring_factor evaluator_factor(const struct evaluator *e, const int64_t *m, const int64_t *l, size_t at,
                                                  bool each)
{
    return (struct ring_factor){m + at, l + at, evaluator_delta(e), each};
}

/* delta_i m - l_i. Exact for what honest evaluators hold; whatever else a peer made of m wraps, and gives a wrong result
 * but no undefined one. */
static inline int64_t evaluator_own(const struct evaluator *e, int64_t m, int64_t l)
{
    return (int64_t)((uint64_t)evaluator_delta(e) * (uint64_t)m - (uint64_t)l);
}

/* The sum of two masks, exact: |l_i| <= 2^62 (ring/parameters.h; centred masks are below 2^62). */
static inline int64_t masks_sum(const struct masks *t, size_t i)
{
    return t->l1[i] + t->l2[i];
}

#endif
