/* Three parties in one process: P0 deals, P1 and P2 prepare, warm and evaluate in two threads that exchange
 * their openings in memory. For tests of gates, layers and whole models.
 *
 *     three_open      shares the weights under fresh masks
 *     three_offline   one bundle: dealt, received, kept
 *     three_online    the bundle warmed, the client's input shared, evaluated, the logits put together
 *     three_fixed     the fixed-point walk of the same input
 *     three_clear     the walk in real numbers, of the same integers
 *
 * Every tensor outlives the walks, so that a test can look at what was opened (three_value and its kin): the
 * schedule is copied and its last uses are put off. Bytes and rounds are measured where they pass. Everything
 * random comes from one seed, so a failure can be repeated.
 *
 * Failures of the code under test end the test (ck_ok); the functions return only when all went well. */
#ifndef TREFOIL_TESTS_LAYERS_THREE_H
#define TREFOIL_TESTS_LAYERS_THREE_H

#include <check.h>
#include <pthread.h>
#include <stdint.h>

#include "layers/walk.h"

#define ck_ok(call)                                                                          \
    do {                                                                                     \
        enum status ck_status_ = (call);                                                     \
        ck_assert_msg(ck_status_ == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status_), \
                      status_message());                                                     \
    } while (0)

/* For inner loops: Check writes to a file at every assertion of its own. */
#define ck_must(condition, ...)        \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

/* ---- numbers for tests ---- */

/* Starts the generator again. */
void three_seed(uint64_t seed);
/* Uniform words; integers in [-bound, bound]; in [low, high]. */
uint64_t three_word(void);
int64_t three_integer(int64_t bound);
uint32_t three_between(uint32_t low, uint32_t high);
/* In [0, 1), and roughly normal. */
double three_real(void);
double three_normal(void);
void three_bytes(void *out, size_t bytes);

/* ---- the parties ---- */

struct three_part {
    void *data;
    size_t bytes;
};

/* An evaluator, and what reached it. By gate and part (enum part). */
struct three_party {
    struct three *three;
    int number; /* 1 or 2 */
    struct evaluator evaluator;
    struct three_part (*dealt)[PARTS], (*kept)[PARTS];
    size_t (*dealt_bytes)[PARTS], (*kept_bytes)[PARTS]; /* of the present bundle */
    struct three_queued {
        const void *send;
        void *receive;
        size_t bytes;
        uint64_t *sum; /* both ends are added up in place */
    } * queue;
    size_t queued, capacity;
    bool arrived;
    uint64_t spread;      /* of the sums of this round; 0 while P2 is hostile */
    uint32_t rounds;      /* exchanges run */
    uint64_t sent;        /* bytes to the other evaluator */
    uint64_t *round_sent; /* [rounds of the schedule] */
    uint64_t *round_part; /* the largest sum that was queued at once */
    size_t largest;
    const struct ring_wide *input;
    uint32_t *output;
    enum status status;
    char message[512];
};

struct three {
    struct schedule schedule;      /* a copy with tensors of its own, none of which is released early */
    const int64_t **weight;        /* the integers; borrowed */
    struct static_share *share[3]; /* [0]: the weights themselves, for the fixed-point walk */
    struct dealer_weight *dealer;
    struct three_party party[3]; /* 1 and 2 are used */
    uint64_t serial;
    struct evaluator fixed; /* after three_fixed */
    float **clear;          /* by tensor, after three_clear */
    pthread_mutex_t lock;
    pthread_cond_t change;
    uint32_t generation;
    bool ended;
    int hostile; /* P2's messages become noise, unnoticed: 1 of 40 bits, 2 of 62 bits, 3 the ends of the range; 0: they
                    stay; -1: and walks may fail */
};

/* weight: [schedule->weights], integers at their scales; they and the schedule must outlive the three. */
void three_open(struct three *out, const struct schedule *schedule, const int64_t *const *weight);
void three_close(struct three *three);

/* Deals a bundle and prepares it at both evaluators. */
void three_offline(struct three *three);
/* The same without the evaluators: for those who look at what is dealt. */
void three_deal(struct three *three);
void three_prepare(struct three *three);

/* Spends the bundle. input: integers of each GATE_INPUT, in their order; output: the logits at their scale.
 */
void three_online(struct three *three, const int64_t *const *input, int64_t *output);
/* The same while P2 is hostile: how P1's walk ended. */
enum status three_online_hostile(struct three *three, const int64_t *const *input, int hostile);
void three_fixed(struct three *three, const int64_t *const *input, int64_t *output);
/* Every value is taken from integers at the tensor's scale. output [of GATE_OUTPUT] may be NULL. */
void three_clear(struct three *three, const int64_t *const *input, double *output);

/* Element i of a tensor as the online walk left it: m - l_1 - l_2, both evaluators agreeing on m. */
int64_t three_value(const struct three *three, uint32_t tensor, size_t i);
int64_t three_fixed_value(const struct three *three, uint32_t tensor, size_t i);

/* ---- measured ---- */

uint64_t three_dealt_bytes(const struct three *three, int party);
uint64_t three_kept_bytes(const struct three *three, int party);

#endif
