/* Two evaluators in one process and the sessions between them: P1 listens on loopback, P2 calls. Each side of a round runs in a
 * thread of its own. */
#ifndef TREFOIL_TESTS_NET_EVALUATORS_H
#define TREFOIL_TESTS_NET_EVALUATORS_H

#include "tests/net/cluster.h"

struct evaluators {
    struct cluster cluster;
    struct net_hub *hub[2]; /* P1, P2 */
};

/* One session of the two. */
struct pair {
    struct evaluators *owner;
    struct net_session *session[2];
    int peer[2]; /* each one's number of the other */
    enum status status[2];
    char message[2][400];
    const char *why[2]; /* of net_session_fast */
};

void evaluators_open(struct evaluators *e);
void evaluators_close(struct evaluators *e);

/* Opens a session at both, and asks for a fast link. */
void pair_open(struct pair *p, struct evaluators *e);
/* The same without asking, and asking alone: the statuses tell. */
void pair_open_slow(struct pair *p, struct evaluators *e);
void pair_make_fast(struct pair *p);
void pair_close(struct pair *p);

/* A round of one side: an index part of 2 * indices bytes, then a sum of words, cut into parts of so many words. */
struct side {
    struct pair *pair;
    int which;
    uint32_t number;
    size_t indices, words, cut; /* cut 0: in one part */
    unsigned delay_ms;          /* before it is run */
    uint64_t *value;            /* [words], the sum afterwards */
    uint16_t *index;            /* [indices], what the other sent */
    enum status status;
    char message[400];
};
void side_init(struct side *s, struct pair *p, int which, uint32_t number, size_t indices, size_t words,
               size_t cut);
/* Queues and runs it; ends in status and message. A thread's function. */
void *side_run(void *side);
void side_clear(struct side *s);
/* What the sum has to be. */
uint64_t side_word(int which, uint32_t number, size_t i);

/* Runs a round of both sides at once; both must succeed and have the sums. */
void pair_round(struct pair *p, uint32_t number, size_t indices, size_t words, size_t cut_p1, size_t cut_p2);
/* Runs one and leaves what comes of it in status and message. */
void pair_try(struct pair *p, uint32_t number, size_t words);

#endif
