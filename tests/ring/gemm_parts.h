/* Parts of a product that somebody waits for (ring_gemm_narrow): in order, finished, and all of them. */
#ifndef TREFOIL_TESTS_RING_GEMM_PARTS_H
#define TREFOIL_TESTS_RING_GEMM_PARTS_H

#include "tests/ring/gemm_problem.h"

/* Words of the test's generator. */
uint64_t *random_words(size_t n);

/* The rows of p times b, which is packed, in strips of so many columns; beside it the product, narrowed afterwards. Once
 * beside C, once in place. */
void check_parts(const struct problem *p, const struct ring_gemm_matrix *b, size_t strip);

#endif
