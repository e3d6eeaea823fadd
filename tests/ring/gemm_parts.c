#include "tests/ring/gemm_parts.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* What is told, and what should be. */
struct listener {
    size_t m, n, strip;
    size_t row, column; /* where the next part begins */
    const uint64_t *t, *wanted;
    size_t ldt;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void hear(void *context, size_t row, size_t rows, size_t column, size_t columns)
{
    struct listener *l = context;
    ck_assert_uint_lt(l->row, l->m);
    ck_assert_uint_eq(row, l->row);
    ck_assert_uint_eq(column, l->column);
    ck_assert_uint_eq(rows, least(RING_GEMM_BAND, l->m - row));
    ck_assert_uint_eq(columns, least(l->strip, l->n - column));
    for (size_t i = row; i < row + rows; i++)
        if (memcmp(l->t + i * l->ldt + column, l->wanted + i * l->ldt + column, columns * sizeof *l->t) != 0)
            ck_abort_msg("row %zu of the part at (%zu, %zu) is not finished", i, row, column);
    l->column += columns;
    if (l->column == l->n) {
        l->column = 0;
        l->row += rows;
    }
}

uint64_t *random_words(size_t n)
{
    uint64_t *out = malloc((n + 1) * sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (size_t i = 0; i < n; i++)
        out[i] = random_word();
    return out;
}

static void check(const struct problem *p, const struct ring_gemm_matrix *b, size_t strip, bool in_place)
{
    const size_t m = p->m, n = p->n, ldc = n + 5, ldt = in_place ? ldc : n + 3;
    struct ring_wide c[2] = {wide_make(m * ldc), wide_make(m * ldc)};
    memcpy(c[1].lo, c[0].lo, m * ldc * sizeof *c[0].lo);
    memcpy(c[1].hi, c[0].hi, m * ldc * sizeof *c[0].hi);
    uint64_t *beside = random_words(m * ldt), *wanted = random_words(m * ldt);
    struct ring_narrow end = {wanted, (ring_u128)random_word() << 64 | random_word(), 12};
    ck_assert_int_eq(ring_gemm(c[0], ldc, m, p->a, p->lda, b, RING_GEMM_ADD), STATUS_OK);
    for (size_t row = 0; row < m; row++) {
        const struct ring_narrow at = ring_narrow_at(end, row * ldt);
        ring_narrow(&at, ring_wide_at(c[0], row * ldc), n);
    }
    end.t = in_place ? c[1].lo : beside;
    struct listener l = {.m = m, .n = n, .strip = strip, .t = end.t, .wanted = wanted, .ldt = ldt};
    const struct ring_gemm_parts parts = {.columns = strip, .ready = hear, .context = &l};
    ck_assert_int_eq(ring_gemm_narrow(&end, ldt, c[1], ldc, m, p->a, p->lda, b, &parts), STATUS_OK);
    ck_assert_uint_eq(l.row, n > 0 ? m : 0);
    ck_assert_uint_eq(l.column, 0);
    wide_free(c[0]);
    wide_free(c[1]);
    free(beside);
    free(wanted);
}

void check_parts(const struct problem *p, const struct ring_gemm_matrix *b, size_t strip)
{
    check(p, b, strip, false);
    check(p, b, strip, true);
}
