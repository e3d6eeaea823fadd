/* What a kernel of the ring GEMM consists of; private to ring/gemm*.c.
 *
 * A kernel fixes the layout of the packed B and multiplies by it. gemm.c allocates, chooses, and splits
 * nothing: each kernel cuts the work into the blocks that suit it and divides them among the threads of
 * OpenMP. */
#ifndef TREFOIL_RING_GEMM_KERNEL_H
#define TREFOIL_RING_GEMM_KERNEL_H

#include "ring/gemm.h"

struct gemm_progress;
struct gemm_residue;

struct ring_gemm_matrix {
    const struct gemm_kernel *kernel;
    size_t k, n;
    bool masked, small; /* ring_gemm_pack_masked */
    size_t bytes;       /* of data */
    void *data;   /* aligned to GEMM_ALIGNMENT */
};

struct gemm_kernel {
    const char *name;
    bool (*available)(void);
    /* Bytes of a packed matrix, which has all but these and the data; false if they do not fit a size_t. */
    bool (*bytes)(size_t *out, const struct ring_gemm_matrix *b);
    void (*pack)(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed);
    /* m, k and n are at least 1. progress: to be told what of C is finished, if it can be earlier than all; or NULL. */
    enum status (*multiply)(struct ring_wide c, size_t ldc, size_t m, const int64_t *a, size_t lda,
                            const struct ring_gemm_matrix *b, enum ring_gemm_mode mode,
                            struct gemm_progress *progress);
    bool narrows; /* makes T of C itself where T is in place (struct gemm_progress) */
    const struct gemm_residue *residue; /* of kernels by remainders; NULL for others */
};

/* What becomes of C where it is finished. */
struct gemm_progress {
    struct ring_narrow end;
    struct ring_wide c;
    size_t ldt, ldc, m, n;
    bool in_place; /* T is to be the low plane of C, and the kernel sees to it: a row of C, once it is finished, becomes end's */
    struct ring_gemm_parts parts;
    size_t row, column; /* of the next part */
};

/* All rows of C before this one are finished, and the columns before this one of the band that begins at row, if one does. For the
 * thread that called the kernel. */
void gemm_progress(struct gemm_progress *progress, size_t row, size_t column);
/* Where the strip ends that holds this column. */
size_t gemm_progress_strip(const struct gemm_progress *progress, size_t column);

extern const struct gemm_kernel gemm_portable, gemm_avx2, gemm_vnni, gemm_amx;

/* The portable kernel with at most this much of the inner dimension in one sum: GEMM_PORTABLE_EXACT is the
 * most that is exact, and where tests look for the edge. */
#define GEMM_PORTABLE_EXACT 1638
STATUS_MUST_USE enum status gemm_portable_multiply(struct ring_wide c, size_t ldc, size_t m, const int64_t *a,
                                                   size_t lda, const struct ring_gemm_matrix *b,
                                                   enum ring_gemm_mode mode, size_t most);

/* B as it is, [k][n]; the packed form of the portable kernel, and of others that are asked for a small one. */
bool gemm_plain_bytes(size_t *out, const struct ring_gemm_matrix *b);
void gemm_plain_pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed);
/* data [k][n] = B, or some columns of it. */
void gemm_plain_copy(int64_t *data, size_t k, size_t n, const int64_t *b, size_t ldb, bool transposed);

/* A cache line, and a vector register of the widest processors. */
#define GEMM_ALIGNMENT 64

/* Bytes to be freed with free, aligned to GEMM_ALIGNMENT; on large pages, where the system has them, from
 * their size on. NULL if there is no memory. */
void *gemm_allocate(size_t bytes);

/* Bytes of the calling thread for the duration of one product, aligned to GEMM_ALIGNMENT; NULL if there is no
 * memory. The next call of this thread gives the same bytes again.
 *
 * What is in them is secret: limbs or remainders of A, perhaps of B, and partial results. They stay allocated, since mapping and
 * wiping them for every attention head would cost as much as the product, and are wiped when they grow and when the
 * thread ends. They never hold more than the operands of the last product, which the party holds anyway. */
void *gemm_scratch(size_t bytes);

/* How many threads to use where the work is worth this many: at most GEMM_THREADS and what OpenMP would give,
 * and one inside a parallel region. */
int gemm_threads(double worth);
#define GEMM_THREADS 256
#define GEMM_UNITS_A_THREAD 4 /* of work at least, if there are so many: they even out */

static inline size_t gemm_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t gemm_blocks(size_t n, size_t block)
{
    return n / block + (n % block != 0);
}

#endif
