/* Reading tables with keys: which entry two shares add up to, by the definition of a whole expansion and by the rule for blocks. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "preprocessing/dpf_lookup.h"
#include "preprocessing/dpf_tree.h"
#include "tests/run.h"

#define ck_ok(call)                                                                          \
    do {                                                                                     \
        enum status ck_status_ = (call);                                                     \
        ck_assert_msg(ck_status_ == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status_), \
                      status_message());                                                     \
    } while (0)

struct trial {
    struct dpf_table table;
    size_t count;
    uint16_t *point, *d;
    unsigned char *seed[2], *key;
    int64_t *entry[2];
    uint64_t *share[2][2]; /* by evaluator and table */
};

static void start(struct trial *t, int bits, unsigned reach, size_t count, uint32_t salt)
{
    const size_t cells = (size_t)1 << bits;
    unsigned char stream[randombytes_SEEDBYTES] = {(unsigned char)salt, (unsigned char)bits,
                                                   (unsigned char)reach};
    memset(t, 0, sizeof *t);
    t->count = count;
    t->point = malloc(count * sizeof *t->point);
    t->d = malloc(count * sizeof *t->d);
    randombytes_buf_deterministic(t->point, count * sizeof *t->point, stream);
    stream[4] = 1;
    randombytes_buf_deterministic(t->d, count * sizeof *t->d, stream);
    for (size_t i = 0; i < count; i++) {
        t->point[i] &= (uint16_t)(cells - 1);
        t->d[i] &= (uint16_t)(cells - 1);
    }
    for (int p = 0; p < 2; p++) {
        stream[4] = (unsigned char)(2 + p);
        t->seed[p] = malloc(count * DPF_SEED_BYTES);
        randombytes_buf_deterministic(t->seed[p], count * DPF_SEED_BYTES, stream);
        stream[4] = (unsigned char)(4 + p);
        t->entry[p] = malloc(cells * sizeof(int64_t));
        randombytes_buf_deterministic(t->entry[p], cells * sizeof(int64_t), stream);
        for (int table = 0; table < 2; table++)
            t->share[p][table] = malloc(count * sizeof(uint64_t));
    }
    t->table = (struct dpf_table){bits, reach, 2, {t->entry[0], t->entry[1]}};
    t->key = malloc(count * dpf_key_bytes(bits));
    ck_ok(dpf_deal(t->key, bits, count, t->point, t->seed[0], t->seed[1]));
}

static void look_up(struct trial *t)
{
    for (int p = 0; p < 2; p++)
        ck_ok(dpf_lookup(t->share[p], &t->table, t->count, p + 1, t->d, t->seed[p], t->key));
}

static void end(struct trial *t)
{
    for (int p = 0; p < 2; p++) {
        free(t->seed[p]);
        free(t->entry[p]);
        free(t->share[p][0]);
        free(t->share[p][1]);
    }
    free(t->point);
    free(t->d);
    free(t->key);
}

static unsigned cell_of(const struct trial *t, size_t i)
{
    return (unsigned)(t->d[i] - t->point[i]) & ((1u << t->table.bits) - 1);
}

/* How many of the sums are not the entry of the cell that the rule gives. */
static size_t wrong(const struct trial *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        const unsigned cell = dpf_lookup_cell(&t->table, t->d[i], cell_of(t, i));
        for (int table = 0; table < 2; table++)
            count += t->share[0][table][i] + t->share[1][table][i] != (uint64_t)t->entry[table][cell];
    }
    return count;
}

START_TEST(shares_add_up_to_the_entry_of_the_cell)
{
    static const unsigned reaches[] = {0, 1, 2, 3, 6, 7, 8, 48, 63, 5000};
    for (int bits = DPF_BITS_MIN; bits <= 12; bits++)
        for (size_t r = 0; r < sizeof reaches / sizeof *reaches; r++) {
            struct trial t;
            start(&t, bits, reaches[r], 200, 1);
            look_up(&t);
            ck_assert_msg(wrong(&t) == 0, "%d bits, reach %u: %zu of %zu", bits, reaches[r], wrong(&t),
                          t.count);
            end(&t);
        }
}
END_TEST

START_TEST(every_index_meets_every_point)
{
    struct trial t;
    start(&t, 7, 2, (size_t)1 << 14, 2);
    for (size_t i = 0; i < t.count; i++) {
        t.d[i] = (uint16_t)(i >> 7);
        t.point[i] = (uint16_t)(i & 127);
    }
    ck_ok(dpf_deal(t.key, 7, t.count, t.point, t.seed[0], t.seed[1]));
    look_up(&t);
    ck_assert_uint_eq(wrong(&t), 0);
    end(&t);
}
END_TEST

START_TEST(the_largest_tables_are_read_too)
{
    for (int bits = 13; bits <= DPF_BITS_MAX; bits++)
        for (unsigned reach = 0; reach <= 48; reach += 48) {
            struct trial t;
            start(&t, bits, reach, 20, 3);
            t.d[0] = t.point[0] = 0;
            t.d[1] = (uint16_t)((1u << bits) - 1);
            ck_ok(dpf_deal(t.key, bits, t.count, t.point, t.seed[0], t.seed[1]));
            look_up(&t);
            ck_assert_uint_eq(wrong(&t), 0);
            end(&t);
        }
}
END_TEST

/* Every cell within half a block of the right one, and no block nearer than its reach. */
START_TEST(the_entry_is_as_near_as_promised)
{
    for (int bits = DPF_BITS_MIN; bits <= 12; bits += 3)
        for (unsigned reach = 0; reach <= 48; reach += 6) {
            const struct dpf_table table = {.bits = bits, .reach = reach, .tables = 0};
            for (unsigned cell = 0; cell < 1u << bits; cell++)
                for (unsigned d = 0; d < 1u << bits; d += 1 + d % 37) {
                    const unsigned got = dpf_lookup_cell(&table, d, cell);
                    const unsigned off = got > cell ? got - cell : cell - got;
                    if (reach == 0 ? off != 0 : 2 * off * reach > cell)
                        ck_abort_msg("%d bits, reach %u, d %u: cell %u for %u", bits, reach, d, got, cell);
                }
        }
}
END_TEST

/* What a whole expansion and a product with the table would give. */
START_TEST(without_a_reach_each_share_is_the_product_with_the_expansion)
{
    struct trial t;
    start(&t, 9, 0, 30, 4);
    look_up(&t);
    uint64_t *hot = malloc((t.count << 9) * sizeof *hot);
    for (int p = 0; p < 2; p++) {
        ck_ok(dpf_expand(hot, 9, t.count, p + 1, t.seed[p], t.key));
        for (size_t i = 0; i < t.count; i++) {
            uint64_t sum = 0;
            for (unsigned j = 0; j < 512; j++)
                sum += hot[i << 9 | j] * (uint64_t)t.entry[1][(t.d[i] - j) & 511];
            ck_assert_uint_eq(t.share[p][1][i], sum);
        }
    }
    free(hot);
    end(&t);
}
END_TEST

START_TEST(both_ways_of_making_nodes_give_the_same)
{
    static struct dpf_block node[70], child[2][140], word[2][140];
    struct dpf_block correction[2];
    struct dpf_generator g[2];
    unsigned char stream[randombytes_SEEDBYTES] = {9};
    randombytes_buf_deterministic(node, sizeof node, stream);
    randombytes_buf_deterministic(correction, sizeof correction, stream);
    ck_ok(dpf_generator_open(&g[0]));
    setenv("TREFOIL_AES", "portable", 1);
    ck_ok(dpf_generator_open(&g[1]));
    ck_assert(!g[1].wide);
    for (size_t n = 0; n <= 70; n++)
        for (size_t each = 0; each <= 2; each++) { /* 0: children */
            for (int i = 0; i < 2; i++) {
                memset(child[i], 0x5a, sizeof child[i]);
                memset(word[i], 0x5a, sizeof word[i]);
                ck_ok(each ? dpf_words(&g[i], word[i], node, n, each)
                           : dpf_children(&g[i], child[i], node, n, correction));
            }
            ck_assert_mem_eq(child[0], child[1], sizeof child[0]);
            ck_assert_mem_eq(word[0], word[1], sizeof word[0]);
        }
    dpf_generator_close(&g[0]);
    dpf_generator_close(&g[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lookup");
    TCase *tests = tcase_create("lookup");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, shares_add_up_to_the_entry_of_the_cell);
    tcase_add_test(tests, every_index_meets_every_point);
    tcase_add_test(tests, the_largest_tables_are_read_too);
    tcase_add_test(tests, the_entry_is_as_near_as_promised);
    tcase_add_test(tests, without_a_reach_each_share_is_the_product_with_the_expansion);
    tcase_add_test(tests, both_ways_of_making_nodes_give_the_same);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
