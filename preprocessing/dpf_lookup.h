/* Reading tables with keys: what an expansion and a product with the table would give, without most of the expansion.
 *
 * math     share_1 + share_2 = entry[c(d, rho)] modulo 2^64, c(d, rho) = d - rho modulo 2^bits or, far from the start of the
 *          table, a cell near it: a node of the tree that covers B = 2^b >= 8 cells stands for all of them once the nearest is
 *          more than reach B cells away, so that the entry that is read is at most B / 2 cells, a 2 reach-th of the
 *          distance, from the right one. (1 / v and its root need no more: their tables are read to a relative error.)
 * source   the words of inner nodes: incremental point functions, Boneh, Boyle, Corrigan-Gibbs, Gilboa, Ishai, "Lightweight
 *          techniques for private heavy hitters" (S&P 2021); which nodes are visited depends on d alone, which both know
 * cost     about (bits - log2 reach) 3 reach AES blocks an element, against 2^bits of a whole expansion; a few KiB of memory
 * opens    nothing */
#ifndef TREFOIL_PREPROCESSING_DPF_LOOKUP_H
#define TREFOIL_PREPROCESSING_DPF_LOOKUP_H

#include "preprocessing/dpf.h"

#define DPF_TABLES 2

struct dpf_table {
    int bits;
    unsigned reach; /* 0: every cell for itself */
    unsigned tables;
    const int64_t *entry[DPF_TABLES]; /* [2^bits] each */
};

/* The cell c(d, rho) for d - rho = cell. Public; for tests and for who judges a table. */
unsigned dpf_lookup_cell(const struct dpf_table *table, unsigned d, unsigned cell);

/* share[t] [count]: of table t's entries at d [count]. seed, keys: as for dpf_expand. */
STATUS_MUST_USE enum status dpf_lookup(uint64_t *const share[DPF_TABLES], const struct dpf_table *table, size_t count, int party,
                                       const uint16_t *d, const unsigned char *seed, const unsigned char *keys);

#endif
