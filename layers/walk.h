/* The states of the walks, and the four walks of one schedule.
 *
 *     walk_clear     real numbers: evaluation and calibration
 *     walk_fixed     the same in fixed point: tells rounding from error
 *     walk_count     no data: rounds, bytes, store, memory
 *     walk_deal      offline, P0: product corrections and table keys
 *     walk_prepare   offline, P1 and P2: what they keep
 *     walk_online    online, P1 and P2
 *
 * Sharing of x (DESIGN section 2): x = m - l1 - l2 over the integers; P0 holds l1 and l2, P_i holds m and l_i.
 * In a product gate the evaluators form z_1 + z_2 = z modulo 2^80 from
 *     z_i = m_x (delta_i m_y - l_yi) - l_xi m_y + g_i,   delta_1 = 1, delta_2 = 0,   g_1 + g_2 = l_x l_y dealt,
 * and open it once (layers/opening.h). Scores and contexts form twice the product, in one ring GEMM
 * (layers/gate_attention.c). For a static y, u_i = g_i - l_xi m_y is computed offline.
 *
 * The fixed-point walk is the online walk of P1 with all masks zero: then z_1 = x y, and P2 would add nothing. */
#ifndef TREFOIL_LAYERS_WALK_H
#define TREFOIL_LAYERS_WALK_H

#include "layers/schedule.h"
#include "ring/gemm.h"
#include "ring/stream.h"
#include "ring/wide.h"

/* ---- clear ---- */

/* The static weights in real numbers, in the order and shape the schedule declares them (layers fold LayerNorm's gamma and
 * beta, 1/sqrt(d) and the coefficients of the square into them). */
struct folded {
    float **weight;
    size_t *length; /* of each */
    uint32_t count, capacity;
};
/* Wipes them. */
void folded_clear(struct folded *folded);
/* A new array of n zeros, NULL if out of memory. Owned by folded. */
float *folded_next(struct folded *folded, size_t n);
/* The largest magnitude of each weight, [count]; malloc'ed. */
double *folded_largest(const struct folded *folded, const struct schedule *schedule);

/* input: one array for each GATE_INPUT, in their order. output: the logits [batch][labels].
 * seen: [ranged tensors] or NULL: largest and smallest real value of each; merged into what is there. */
STATUS_MUST_USE enum status walk_clear(const struct schedule *schedule, const struct folded *weights,
                                       const float *const *input, float *output, struct range *seen);

/* ---- count ---- */

struct cost {
    uint64_t rounds;
    uint64_t openings;       /* elements opened to each evaluator, indices not counted */
    uint64_t online_bytes;   /* sent by one evaluator to the other */
    uint64_t offline_bytes;  /* sent by the dealer, to both evaluators together */
    uint64_t offline_p1, offline_p2;
    uint64_t store_bytes;    /* of a bundle at P2, which keeps most */
    uint64_t store_p1;
    uint64_t products;       /* ring multiplications of one evaluator online */
    uint64_t offline_products;
    uint64_t memory_bytes;   /* of an evaluator for one bundle: material, table keys, masks, tensors that nothing was dealt for */
    uint64_t weight_bytes;   /* weight shares of an evaluator in memory */
};
void walk_count_gate(const struct schedule *schedule, const struct gate *gate, struct cost *cost);
void walk_count(const struct schedule *schedule, struct cost *cost);
/* Bytes of an opening that may leave together while the gate computes on: all of them for gates that send at their end. */
uint64_t walk_count_part(const struct schedule *schedule, const struct gate *gate);

/* ---- offline: P0 ---- */

/* What identifies a bundle in every stream's name; the bytes are opaque here. */
struct bundle_label {
    const void *data;
    size_t bytes;
};
/* out [bytes]: the stream that the label, object and purpose name, of a secret that two share (ring/stream.h). Nothing of its key stays. */
void label_stream(void *out, size_t bytes, const struct ring_seed *secret, const struct bundle_label *label, uint32_t object,
                  enum ring_purpose purpose);

struct masks {
    int64_t *l1, *l2;
};

struct dealer_weight {
    struct ring_gemm_matrix *matrix; /* l_W1 + l_W2, packed */
    int64_t *vector;                 /* the same for diagonals and biases */
};

/* Parts of a bundle, for emit, keep and material. */
enum part {
    PART_PRODUCT, /* g_2 or u_i: ten bytes an element, low plane then high plane */
    PART_KEYS,    /* the public part of the table keys (preprocessing/dpf.h) */
    PART_CHECK,   /* shares of a range check's coefficients (layers/gate_check.h) */
    PARTS
};

struct dealer {
    const struct schedule *schedule;
    const struct dealer_weight *weight;
    struct ring_seed seed1, seed2; /* shared with P1, with P2 */
    struct bundle_label label;
    struct masks *tensor;
    /* Sends one part to one evaluator. data is the callee's, to be given back with pool_give (ring/pool.h). */
    enum status (*emit)(void *context, int party, uint32_t gate, enum part part, void *data, size_t bytes);
    void *context;
};
STATUS_MUST_USE enum status walk_deal(struct dealer *dealer);

/* ---- P1 and P2 ---- */

struct share {
    int64_t *m, *l;
    bool dealt; /* m lies where z was: in what was dealt, which owns it */
};

struct static_share {
    struct ring_gemm_matrix *online;  /* delta m_W - l_W */
    struct ring_gemm_matrix *offline; /* -m_W */
    int64_t *m, *l;                   /* diagonals and biases */
};

/* Where the seconds of an online walk went. Costs a few clock readings a gate while it is on, and nothing otherwise. Times
 * depend on shapes alone, which are public. */
struct walk_profile {
    uint32_t gates, rounds;
    double *compute; /* [gates]: from the operands to the message, and from the peer's message to m */
    double *gemm;    /* [gates]: how much of that was inside the ring GEMM, packing of its operands included */
    double *wait;    /* [rounds]: in queue_sum and in the exchange, sealing and sending included */
    double warm;     /* in walk_warm; for the caller to set */
    double last, inside_gemm; /* while walking */
    double sealing, sockets, idle; /* online, of the link the openings took; set by its owner, 0 if unknown */
};
STATUS_MUST_USE enum status walk_profile_init(struct walk_profile *profile, const struct schedule *schedule);
void walk_profile_clear(struct walk_profile *profile);
/* For the walk; each takes NULL and does nothing. What passed since the last of these calls is charged to a gate or to a
 * round's wait. In between, the calling thread's ring GEMM is watched. */
void walk_profile_start(struct walk_profile *profile);
void walk_profile_compute(struct walk_profile *profile, uint32_t gate);
void walk_profile_wait(struct walk_profile *profile, uint32_t round);
void walk_profile_stop(struct walk_profile *profile);

struct evaluator {
    const struct schedule *schedule;
    int party;  /* 1 or 2 */
    bool clear; /* the fixed-point walk */
    const struct static_share *weight;
    struct ring_seed seed; /* shared with P0 for this bundle */
    struct bundle_label label;
    struct share *tensor;
    bool warm;             /* what walk_online may spend: set by walk_warm, taken back by walk_online */
    void **product;        /* by gate: what was dealt, and the mask of the opening; then, in its low plane, t and m; owned */
    void **key;            /* by lookup: this party's seeds, then the public part of the keys; owned */
    uint64_t **entry;      /* by lookup: shares of the entries of all its tables, [tables][count]; owned, made when needed */
    uint16_t **index;      /* by lookup: the opened d */
    uint64_t **check;      /* by check: shares of its coefficients, [roots + 1][count]; owned */
    uint64_t point;        /* chi of the range checks: random, the same at both evaluators, unknown to P0; not 0 where the schedule has checks */
    struct walk_profile *profile; /* filled by the online walk, or NULL */

    /* Offline: receive(part of a gate) from P0 and keep it in the store; data is keep's, to be given back with pool_give. */
    enum status (*receive)(void *context, uint32_t gate, enum part part, void *data, size_t bytes);
    enum status (*keep)(void *context, uint32_t gate, enum part part, void *data, size_t bytes);
    /* Online: load what was kept; exchange openings with the other evaluator. */
    enum status (*load)(void *context, uint32_t gate, enum part part, void *data, size_t bytes);
    enum status (*queue)(void *context, const void *send, void *receive, size_t bytes);
    /* values [rows][columns], rows stride apart; the peer's are added to them. It may be sent at once. */
    enum status (*queue_sum)(void *context, uint64_t *values, size_t rows, size_t columns, size_t stride);
    enum status (*exchange)(void *context, uint32_t round, uint64_t *spread); /* of the sums (ring_add_words) */
    void *context;
};
STATUS_MUST_USE enum status evaluator_init(struct evaluator *evaluator);
/* Wipes and frees everything it owns. */
void evaluator_clear(struct evaluator *evaluator);

STATUS_MUST_USE enum status walk_prepare(struct evaluator *evaluator);
/* Loads a bundle's material and table keys, makes its masks and joins them: everything that needs no input. */
STATUS_MUST_USE enum status walk_warm(struct evaluator *evaluator);
/* Once, after walk_warm: STATUS_STATE else, and nothing leaves. STATUS_RANGE, at both evaluators after the same round, when something was opened
 * that no value in range makes, or does not pass a check. input: this party's additive shares modulo 2^80 of each GATE_INPUT.
 * output: its share modulo 2^32 of the logits. */
STATUS_MUST_USE enum status walk_online(struct evaluator *evaluator, const struct ring_wide *input, uint32_t *output);

/* input: integers at the scale of each GATE_INPUT. output: logits as integers at the output's scale. */
STATUS_MUST_USE enum status walk_fixed(const struct schedule *schedule, const struct static_share *weights,
                                       const int64_t *const *input, int64_t *output);

#endif
