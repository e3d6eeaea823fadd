/* What kernels by remainders have in common: how packed matrices lie, and how the work is cut; private to ring/gemm*.c.
 *
 * A sum over the inner dimension is at most 4096 2^63 2^63 = 2^138, so it is known by its remainders by coprime moduli m_i whose
 * product M is large enough; and remainders are short numbers, for which processors have fast products. With a_k and b_k the
 * operands:
 *
 *     z = sum over k of a_k b_k
 *     x_i = sum over k of (a_k mod m_i) (b_k v_i mod m_i),      v_i = (M / m_i)^-1 mod m_i
 *     r_i = x_i mod m_i, centred
 *     z = sum over i of r_i M / m_i  -  q M,                    q = round(sum over i of r_i / m_i)
 *
 * (Chinese remainders; v_i is a factor of the packed B.) q is right while |z| / M, and what is neglected in forming q, is below a
 * half. z is wanted modulo 2^80 only, and so are M / m_i and M. Masked operands (ring_gemm_pack_masked), whose |z| is below 2^132.1,
 * need fewer moduli.
 *
 * Layouts. A group is the remainders of successive elements of the inner dimension that share four bytes, a lane of a vector
 * register. Inner dimensions are padded with zeros to whole steps of two groups.
 *     A    [moduli][tiles of so many rows][groups][rows of a tile][4], and a cache line after each modulus: whole powers of two
 *          between what is written together would share few places of a cache
 *     B    [panels of columns][moduli][groups][columns of the panel][4]; the last panel has a whole number of vectors, as few as
 *          hold its columns; behind them columns that are kept as they are, if memory counts: [k][columns]
 *     sums [rows][moduli][columns of a panel], 32 bits each */
#ifndef TREFOIL_RING_GEMM_RESIDUE_H
#define TREFOIL_RING_GEMM_RESIDUE_H

#include "ring/gemm_kernel.h"

#define RESIDUE_STEP_BYTES 8 /* two groups of a row or column, by one modulus */
#define RESIDUE_TOGETHER 8   /* panels at most that take turns with a block */
#define RESIDUE_DEPTH 4096   /* the most that is summed up by remainders; deeper products are cut */

/* What a kernel knows of its moduli; the first member of its own constants. */
struct residue_constants {
    size_t count; /* of moduli */
};

/* Of modulus m_i among count coprime ones: M / m_i modulo 2^128, and its inverse modulo m_i, v_i. */
struct residue_factor {
    ring_u128 others;
    int32_t inverse;
};
struct residue_factor residue_factor(const int32_t *moduli, size_t count, size_t i);

struct gemm_residue {
    size_t moduli;   /* at most: of operands that are not masked */
    size_t step;     /* elements of the inner dimension in a step */
    size_t rows;     /* of a tile of C; its columns are those of a panel */
    size_t vector;   /* columns whose sums fill a register */
    size_t panel;    /* columns: whole vectors */
    size_t together; /* panels that a block is multiplied with in turns; at most RESIDUE_TOGETHER */
    size_t chunk;    /* steps at most whose part of a panel, of one modulus, fits the first-level cache */
    size_t plain; /* of so many panels of a large masked matrix one lies as it is, to save memory; 0: none */
    double products_a_thread; /* fewer are not worth waking a thread for: about 30 us of work */

    const struct residue_constants *(*constants)(bool masked);

    /* out: a tile of up to `rows` rows of A, [groups][rows][4] for each modulus, these plane bytes apart; depth elements of each row
     * exist from a on, steps * step are made. */
    void (*pack_rows)(void *out, const struct residue_constants *constants, size_t plane, size_t steps,
                      const int64_t *a, size_t lda, size_t rows, size_t depth);

    /* out: the columns first..first + vector of a panel of width columns, of which columns exist; b points to the first of them. out
     * points to the panel, for `steps` steps. */
    void (*pack_columns)(void *out, const struct residue_constants *constants, size_t width, size_t first,
                         size_t steps, const int64_t *b, size_t ldb, size_t columns, size_t depth,
                         bool transposed);

    /* sums [rows][width], rows stride apart, = or, unless it is the first chunk, += the products of a tile of A [groups][rows][4]
     * and a panel of B [groups][width][4], modulo modulus i. */
    void (*multiply)(int32_t *sums, size_t stride, size_t width, const void *a, const void *b, size_t steps,
                     const struct residue_constants *constants, size_t i, bool first);

    /* One row of C = or += the sums [moduli][panel]; so many columns exist. end: NULL, or the low plane of C becomes (C + the sums +
     * end->add) >> end->shift, and the high one stays. */
    void (*combine)(struct ring_wide c, const struct residue_constants *constants, const int32_t *sums,
                    size_t columns, bool add, const struct ring_narrow *end);
};

/* For struct gemm_kernel, whose residue is set. */
bool gemm_residue_bytes(size_t *out, const struct ring_gemm_matrix *b);
void gemm_residue_pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed);
enum status gemm_residue_multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                                  const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                                  struct gemm_progress *progress);

#endif
