/* Shares of table entries, for what opens them or adds them to an opening. */
#ifndef TREFOIL_LAYERS_GATE_TABLE_H
#define TREFOIL_LAYERS_GATE_TABLE_H

#include "layers/walk.h"

/* share [lookup.count]: this party's additive share modulo 2^64 of table[v] at the table's scale. The lookup's index must
 * have been opened. */
STATUS_MUST_USE enum status table_share(struct evaluator *evaluator, uint32_t lookup, uint32_t table, uint64_t *share);

/* Bytes of a lookup's seeds, and of its keys, which lie behind them in evaluator.key. */
size_t table_seed_bytes(const struct lookup *lookup);
size_t table_key_bytes(const struct lookup *lookup);

#endif
