/* What passes between the three parties of a test: from the dealer, into and out of their stores, and between the evaluators. */
#ifndef TREFOIL_TESTS_LAYERS_THREE_PASS_H
#define TREFOIL_TESTS_LAYERS_THREE_PASS_H

#include "tests/layers/three.h"

/* The dealer's emit; context: the three. */
enum status three_emit(void *context, int party, uint32_t gate, enum part part, void *data, size_t bytes);

/* A new evaluator, which reaches the others; seed: shared with P0. */
void three_connect(struct three_party *party, struct ring_seed seed);

#endif
