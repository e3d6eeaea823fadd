#include "ring/gemm_kernel.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sodium.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#define LARGE_PAGE ((size_t)2 << 20)

void *gemm_allocate(size_t bytes)
{
    const bool large = bytes >= LARGE_PAGE;
    void *data = NULL;
    if (posix_memalign(&data, large ? LARGE_PAGE : GEMM_ALIGNMENT, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (large) { /* advice only; and a core dump must not hold shares */
        (void)madvise(data, bytes, MADV_HUGEPAGE);
        (void)madvise(data, bytes, MADV_DONTDUMP);
    }
#endif
    return data;
}

bool gemm_plain_bytes(size_t *out, const struct ring_gemm_matrix *b)
{
    return !__builtin_mul_overflow(b->k, b->n, out) && !__builtin_mul_overflow(*out, sizeof(int64_t), out);
}

void gemm_plain_copy(int64_t *data, size_t k, size_t n, const int64_t *b, size_t ldb, bool transposed)
{
    for (size_t row = 0; row < k; row++)
        if (transposed)
            for (size_t column = 0; column < n; column++)
                data[row * n + column] = b[column * ldb + row];
        else
            memcpy(data + row * n, b + row * ldb, n * sizeof *data);
}

void gemm_plain_pack(struct ring_gemm_matrix *out, const int64_t *b, size_t ldb, bool transposed)
{
    gemm_plain_copy(out->data, out->k, out->n, b, ldb, transposed);
}

struct scratch {
    size_t bytes;
    void *data;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

static void empty(struct scratch *scratch)
{
    if (scratch->data != NULL)
        sodium_memzero(scratch->data, scratch->bytes);
    free(scratch->data);
    *scratch = (struct scratch){0, NULL};
}

static void at_thread_end(void *value)
{
    empty(value);
    free(value);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, at_thread_end) == 0;
}

/* The calling thread's scratch; NULL if there is no memory. */
static struct scratch *of_thread(void)
{
    if (pthread_once(&once, make_key) != 0 || !have_key)
        return NULL;
    struct scratch *scratch = pthread_getspecific(key);
    if (scratch != NULL)
        return scratch;
    scratch = calloc(1, sizeof *scratch);
    if (scratch != NULL && pthread_setspecific(key, scratch) != 0) {
        free(scratch);
        return NULL;
    }
    return scratch;
}

void *gemm_scratch(size_t bytes)
{
    struct scratch *scratch = of_thread();
    if (scratch == NULL)
        return NULL;
    if (scratch->bytes < bytes) {
        empty(scratch);
        if (bytes >= LARGE_PAGE / 4) /* worth a whole large page: it is read over and over */
            bytes = gemm_blocks(bytes, LARGE_PAGE) * LARGE_PAGE;
        if ((scratch->data = gemm_allocate(bytes)) == NULL)
            return NULL;
        scratch->bytes = bytes;
    }
    return scratch->data;
}

int gemm_threads(double worth)
{
#ifdef _OPENMP
    int most = omp_in_parallel() ? 1 : omp_get_max_threads();
    most = most < GEMM_THREADS ? most : GEMM_THREADS;
    return worth >= most ? most : worth < 1 ? 1 : (int)worth;
#else
    (void)worth;
    return 1;
#endif
}
