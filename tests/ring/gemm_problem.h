/* Random and awkward problems for the ring GEMM, and every kernel that runs here against the plain loops, bit for bit. */
#ifndef TREFOIL_TESTS_RING_GEMM_PROBLEM_H
#define TREFOIL_TESTS_RING_GEMM_PROBLEM_H

#include "ring/gemm.h"

/* Rows of the operands and the result may be longer than their matrix; what lies between must stay. */
struct problem {
    size_t m, k, n;
    size_t lda, ldb, ldc;
    bool transposed, masked;
    enum ring_gemm_mode mode;
    int64_t *a, *b; /* b: [k][n], or [n][k] if transposed */
};

uint64_t random_word(void);

/* Sources of operands. */
int64_t random_operand(void);
int64_t smallest(void);
int64_t largest(void);
/* Every carry and every sign of digits and limbs. */
int64_t awkward(void);
/* A value behind a sum of four masks. */
int64_t masked(void);

/* Operands are the caller's until they are checked. */
struct problem problem_make(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void));
void fill(int64_t *out, size_t n, int64_t (*source)(void));
struct ring_wide wide_make(size_t n);
void wide_free(struct ring_wide wide);

/* Multiplies with every kernel that runs here, compares, and frees the operands. */
void check_problem(struct problem p);
/* The same for masked operands from these sources. */
void check_masked(size_t m, size_t k, size_t n, int64_t (*left)(void), int64_t (*right)(void));
/* Random operands, and masked ones. */
void check_shape(size_t m, size_t k, size_t n);

#endif
