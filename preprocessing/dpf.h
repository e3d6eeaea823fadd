/* Distributed point functions: two keys whose expansions are additive shares of a unit vector.
 *
 * math     hot_1[j] + hot_2[j] = [j = rho] modulo 2^64, for j in [0, 2^bits)
 * source   Boyle, Gilboa, Ishai, "Function Secret Sharing: Improvements and Extensions" (CCS 2016), figure 1, with early
 *          termination at leaves of DPF_LEAF words; the two-to-one generator is fixed-key AES in the Matyas-Meyer-Oseas mode
 *          (Guo, Katz, Wang, Weng, Yu, "Efficient and secure multiparty computation from fixed-key block ciphers", S&P 2020)
 * changed  the root seeds are not part of the key: each evaluator makes its own from a stream it shares with the dealer, so
 *          both receive the same public correction words. Inner nodes have a word, too: 1 in sum on the path to rho, else 0
 *          (dpf_lookup.h reads tables by them, without a whole expansion).
 * cost     dpf_key_bytes(bits) from the dealer to each evaluator; a whole expansion takes 2^bits AES blocks
 * strength pi(x) xor x under two keys that are the same for every node of every key: one guess of a node is tried against all. Whoever has
 *          one evaluator's seeds and the correction words of N levels (bits - DPF_LEAF_BITS of them in a key) finds one of the other's
 *          nodes, and with it the rho of that key, in about 2^127 / N blocks: 2^87 after N = 2^40, some millions of inferences.
 *          Other AES keys in each bundle would limit N to a bundle.
 * opens    nothing: correction words are pseudorandom to whoever holds one seed. Used only with the index d = cell + rho, where
 *          rho is uniform and used once: d is perfectly hidden.
 *
 * Branches and addresses do not depend on seeds or points. */
#ifndef TREFOIL_PREPROCESSING_DPF_H
#define TREFOIL_PREPROCESSING_DPF_H

#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define DPF_SEED_BYTES 16
#define DPF_LEAF_BITS 2 /* a leaf holds 2^2 words of 64 bits */
#define DPF_LEAF (1 << DPF_LEAF_BITS)
#define DPF_BITS_MIN 3
#define DPF_BITS_MAX 16

/* Bytes of the correction words of one key. */
size_t dpf_key_bytes(int bits);

/* Makes count keys: point[i] is rho, seed1/seed2 [count][16] the root seeds of the evaluators. keys
 * [count][dpf_key_bytes(bits)]. */
STATUS_MUST_USE enum status dpf_deal(unsigned char *keys, int bits, size_t count, const uint16_t *point,
                                     const unsigned char *seed1, const unsigned char *seed2);

/* The definition, and what tests look at. hot [count][2^bits]: this party's additive shares. party: 1 or 2. */
STATUS_MUST_USE enum status dpf_expand(uint64_t *hot, int bits, size_t count, int party,
                                       const unsigned char *seed, const unsigned char *keys);

#endif
