/* The schedule: a flat list of gates with shapes, scales and shifts, and the names of what they read and
 * write.
 *
 * A model is compiled once into a schedule (layers/attention.h and its neighbours emit the gates,
 * model/compile.c, declared in model/description.h, puts the layers together), and the same list is walked
 * four ways: clear, count, offline, online (layers/walk.h). A schedule holds no weight, no text and no share:
 * it is public, and every process compiles the same one from the model's public description. Its hash covers
 * everything the parties must agree on, tables included.
 *
 * Units: a tensor of `frac` fraction bits holds integers; the real value is integer / 2^frac. Opened integers
 * are below 2^22 in magnitude (ring/parameters.h). frac may be negative or above 22.
 *
 * Rounds: an opened tensor of round r is known to the evaluators after exchange r; a gate goes into the first
 * round in which all it reads is known. */
#ifndef TREFOIL_LAYERS_SCHEDULE_H
#define TREFOIL_LAYERS_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/parameters.h"
#include "ring/status.h"

#define SCHEDULE_NAME 48
#define SCHEDULE_HASH_BYTES 32
#define SCHEDULE_NONE UINT32_MAX
/* Elements of one tensor, and cells of one lookup's expanded tables: more is refused before anything is
 * allocated. What a party is willing to spend on a schedule is its own business: walk_count tells before a
 * byte is taken. */
#define SCHEDULE_ELEMENTS_MAX ((uint64_t)1 << 30)
#define SCHEDULE_CELLS_MAX ((uint64_t)1 << 31)
/* Bytes of what travels or is kept in one piece: what is dealt for a gate, an input, a masked weight. */
#define SCHEDULE_PIECE_MAX ((uint64_t)256 << 20)

enum gate_kind {
    GATE_INPUT,      /* out = what the client shared */
    GATE_LINEAR,     /* out = x W + diag(D) r + b; W, D, b static */
    GATE_SCORES,     /* out = q k^T + c, per sequence and head */
    GATE_CONTEXT,    /* out = a v, per sequence and head */
    GATE_ROW_DOT,    /* out[row] = a[row] . mu, per sequence and head */
    GATE_SQUARE,     /* out = x^2 2^-halvings */
    GATE_SQUARE_SUM, /* out[row] = sum of x[row]^2 + constant */
    GATE_MULTIPLY,   /* out = +-x y 2^-halvings + constant + add + table */
    GATE_TABLE,      /* out = an entry of a table, at the index of a lookup */
    GATE_CHECK,      /* whether x is where a value in range is; ends the walk if not. out stands for a name */
    GATE_CENTRE,     /* local: out = x - its row's mean */
    GATE_SHIFT,      /* local: out = x at fewer fraction bits */
    GATE_SELECT,     /* local: out = the first row of every sequence */
    GATE_OUTPUT,     /* x W + b as shares modulo 2^32 to the client; nothing is opened here */
    GATE_KINDS
};

/* How the right operand of GATE_MULTIPLY meets the left one [rows][cols]. */
enum gate_spread {
    GATE_EACH, /* y [rows][cols] */
    GATE_ROW,  /* y [rows][1]: one factor a row */
    GATE_HEAD, /* y [sequences * heads * queries][1]: one factor a row and head; x [sequences * queries][heads
                  * width] */
};

/* What the calibration saw of an opened tensor, in real units. */
struct range {
    double largest;  /* of |x| */
    double smallest; /* of x; only used for what is inverted */
};

struct tensor {
    char name[SCHEDULE_NAME];
    uint32_t rows, cols;
    int frac;
    bool local;         /* a public linear map of another tensor: nothing opened, no mask of its own */
    uint32_t ready;     /* the round whose gates can read it */
    uint32_t last_gate; /* the last gate that reads it; its maker if none does */
    bool ranged;        /* has a calibrated range */
    bool each_token;    /* grows with the number of tokens: its range is kept per token */
};

enum weight_kind {
    WEIGHT_MATRIX,   /* rows x cols, y = x W; its values lie [cols][rows], as in a model's file */
    WEIGHT_DIAGONAL, /* [cols] */
    WEIGHT_BIAS,     /* [cols] */
};

struct weight {
    char name[SCHEDULE_NAME];
    enum weight_kind kind;
    uint32_t rows, cols;
    int frac;
};

/* What a table holds of the real value v its index was taken of. */
enum function {
    FUNCTION_INVERSE,      /* table 0: 1 / v */
    FUNCTION_INVERSE_ROOT, /* table 0: (v / parameter)^-1/2; table 1: its square / parameter = 1 / v */
    FUNCTION_TANH, /* table 0: slope, table 1: intercept, of the line through tanh at the ends of the cell */
};

/* A secret table index: d = (z >> shift) + rho, bits bits, opened beside the value z it belongs to. */
struct lookup {
    uint32_t count;  /* elements */
    int bits, shift; /* v in [0, 2^(shift + bits)) */
    int64_t offset;  /* public, added to z so that v is not negative */
    uint32_t reach;  /* cells from 8 reach on are read in blocks (preprocessing/dpf_lookup.h); 0: each for itself */
    enum function function;
    double parameter;
    uint32_t tables;
    int64_t *table[2]; /* [2^bits] each, integers at table_frac; owned by the schedule */
    int table_frac[2];
};

/* Where sums of so many consecutive elements of an opened x may lie, one element if together is 1: floor(sum / 2^shift), or one
 * more, is one of the roots (layers/gate_check.h). */
#define CHECK_ROOTS_MAX 34
struct check {
    uint32_t count, together, roots; /* count sums */
    int shift;
    int64_t root[CHECK_ROOTS_MAX];
};

/* Sequences and heads inside the matrices of attention. */
struct heads {
    uint32_t sequences, heads, queries, keys, width;
};

struct gate {
    enum gate_kind kind;
    uint32_t round;
    uint32_t x, y, add, out;          /* tensors */
    uint32_t weight, diagonal, bias;  /* weights */
    int shift;                        /* bits in - bits out, 0..schedule_shift_most */
    int halvings;                     /* a power of two taken out of the product; counted in shift */
    int diagonal_up, bias_up, add_up; /* left shifts that bring these terms to the product's scale */
    bool negate;
    int64_t constant; /* public, at the product's scale */
    enum gate_spread spread;
    struct heads heads;
    uint32_t index;         /* the lookup whose index is taken of this gate's z */
    uint32_t lookup, table; /* GATE_TABLE: what is looked up; GATE_MULTIPLY: what joins after the shift */
    uint32_t check;         /* GATE_CHECK */
    bool emits;             /* opens out (all but local gates, checks and the output) */
};

struct schedule {
    struct tensor *tensor;
    struct gate *gate; /* in the order they run: by round, within a round as emitted */
    struct weight *weight;
    struct lookup *lookup;
    struct check *check;
    uint32_t tensors, gates, weights, lookups, checks;
    uint32_t rounds;
    uint32_t bucket, batch; /* tokens of a sequence, sequences */
    unsigned char hash[SCHEDULE_HASH_BYTES];

    /* While it is built. */
    const struct range
        *range; /* by ranged tensor, or NULL: an uncalibrated schedule, for the clear float walk only */
    const int *weight_frac;       /* by weight, or NULL: to be chosen from largest */
    const double *weight_largest; /* by weight, when it is compiled by the model's owner */
    uint32_t ranges, ranged;      /* entries of range; ranged tensors so far */
    bool derived;                 /* what is emitted now gets its scale from elsewhere, and no range */
    uint32_t weight_count;        /* entries of weight_frac or weight_largest */
    uint32_t capacity[5];
    enum status failed; /* the first error; everything after it does nothing */
};

void schedule_init(struct schedule *out, uint32_t bucket, uint32_t batch);
void schedule_clear(struct schedule *schedule);
/* Sorts, checks every bound (shifts, shapes, what is read is known), finds the last uses and hashes. */
STATUS_MUST_USE enum status schedule_finish(struct schedule *schedule);

static inline bool schedule_calibrated(const struct schedule *schedule)
{
    return schedule->range != NULL;
}

/* Gates whose evaluators form shares of twice the product (layers/gate_attention.c). */
static inline bool schedule_doubled(enum gate_kind kind)
{
    return kind == GATE_SCORES || kind == GATE_CONTEXT;
}

/* Gates of which something passes between the evaluators. */
static inline bool schedule_sends(const struct gate *g)
{
    return g->emits || g->kind == GATE_CHECK;
}

/* What a share is shifted by when it is opened, and the largest g->shift. */
static inline int schedule_shift(const struct gate *g)
{
    return g->shift + schedule_doubled(g->kind);
}

static inline int schedule_shift_most(enum gate_kind kind)
{
    return RING_SHIFT_MAX - schedule_doubled(kind);
}

static inline size_t tensor_size(const struct tensor *tensor)
{
    return (size_t)tensor->rows * tensor->cols;
}

static inline size_t weight_size(const struct weight *weight)
{
    return (size_t)weight->rows * weight->cols;
}

/* ---- for the layers: choosing scales (layers/scale.h) and emitting gates ---- */

/* The calibrated range of the ranged tensor that is emitted after `ahead` others; {1, 1} in an uncalibrated
 * schedule. */
struct range schedule_range(struct schedule *schedule, uint32_t ahead);

/* Declares a static weight and chooses its scale: as many bits as fit 2^22, at most frac_most. */
uint32_t schedule_weight(struct schedule *schedule, enum weight_kind kind, uint32_t rows, uint32_t cols,
                         int frac_most, const char *format, ...) __attribute__((format(printf, 6, 7)));

uint32_t gate_input(struct schedule *schedule, uint32_t rows, uint32_t cols, int frac, const char *name);

/* x [rows][in], W [in][cols], r [rows][cols] or NONE, b [cols]; the weights are declared here. */
struct linear {
    uint32_t x, residual; /* residual: the tensor whose own gamma (a diagonal weight) is added, or NONE */
    uint32_t cols;
    int frac;
};
uint32_t gate_linear(struct schedule *schedule, const struct linear *linear, const char *name);

/* q [sequences * queries][heads * width], k [sequences * keys][heads * width]; out [sequences * heads *
 * queries][keys]. c is added: public, or (learned) a static weight of one value a head. */
uint32_t gate_scores(struct schedule *schedule, uint32_t q, uint32_t k, struct heads heads, double c,
                     bool learned, int frac, const char *name);
uint32_t gate_context(struct schedule *schedule, uint32_t a, uint32_t v, struct heads heads, int frac,
                      const char *name);
uint32_t gate_row_dot(struct schedule *schedule, uint32_t a, uint32_t mu, struct heads heads, int frac,
                      const char *name);
uint32_t gate_square(struct schedule *schedule, uint32_t x, int halvings, int frac, const char *name);
uint32_t gate_square_sum(struct schedule *schedule, uint32_t x, double constant, int frac, const char *name);

struct multiply {
    uint32_t x, y;
    enum gate_spread spread;
    struct heads heads; /* GATE_HEAD only */
    bool negate;
    int halvings;
    double constant;
    uint32_t add;           /* a tensor added, or NONE */
    uint32_t lookup, table; /* a table entry added after the shift, at frac; or NONE */
    int frac;
};
uint32_t gate_multiply(struct schedule *schedule, const struct multiply *multiply, const char *name);

uint32_t gate_table(struct schedule *schedule, uint32_t lookup, uint32_t table, uint32_t rows, uint32_t cols,
                    const char *name);
uint32_t gate_centre(struct schedule *schedule, uint32_t x, const char *name);
/* frac fraction bits, not more than x has; x itself if it has them already. */
uint32_t gate_shift(struct schedule *schedule, uint32_t x, int frac, const char *name);
uint32_t gate_select(struct schedule *schedule, uint32_t x, uint32_t sequences, const char *name);
uint32_t gate_output(struct schedule *schedule, uint32_t x, uint32_t cols, int frac, const char *name);

/* Ends the walk, in the round in which x can first be read, unless every element of x passes; x is opened, not local. Nothing in an
 * uncalibrated schedule, which has no scales.
 *   signed: |x| < 2^bits passes, |x| >= 2^(bits + 1) does not
 *   below:  0 <= x < 15/16 2^bits passes, x >= 2^bits and x < -2^(bits - 4) do not; bits >= CHECK_BELOW_BITS
 *   powers: 0, 1, 2, 4, ... 2^most pass, and nothing else
 *   sums:   of so many consecutive elements: as below, and just 15/16 2^bits passes where its low bits are zero. Beside powers of x only:
 *           sums may be off by a multiple of p where elements are any */
void gate_check_signed(struct schedule *schedule, uint32_t x, int bits, const char *name);
void gate_check_below(struct schedule *schedule, uint32_t x, int bits, const char *name);
void gate_check_powers(struct schedule *schedule, uint32_t x, int most, const char *name);
void gate_check_sums(struct schedule *schedule, uint32_t x, uint32_t together, int bits, const char *name);
/* Opens tensor, which nothing reads yet, only when the last check emitted so far has passed. */
void gate_wait(struct schedule *schedule, uint32_t tensor);
/* gate_check_below: 2^this roots, and the part of 2^bits that passes for certain. */
#define CHECK_BELOW_BITS 4
#define CHECK_BELOW_PART (15.0 / 16)

/* The bits of the product a gate's opening starts from: frac of out + shift. For lookups on z. */
int gate_bits_in(const struct schedule *schedule, uint32_t tensor);
/* Gives the gate that made tensor a table index of 2^bits cells of 2^shift; offset: real, added to the value.
 * The tables are malloc'ed and become the schedule's. Returns the lookup. */
uint32_t gate_index(struct schedule *schedule, uint32_t tensor, int bits, int shift, double offset,
                    enum function function, double parameter);
void lookup_table(struct schedule *schedule, uint32_t lookup, int frac, int64_t *table);

/* Keeps the first error, and its message. */
void schedule_fail(struct schedule *schedule, enum status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
