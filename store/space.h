/* Room for what a transaction is going to write. Private to store/. */
#ifndef TREFOIL_STORE_SPACE_H
#define TREFOIL_STORE_SPACE_H

#include "store/environment.h"

/* Called by the writer whose turn it is, before its transaction. bytes: the sum of the costs of its values.
 * Takes, burns and deletions always pass; a batch of filling is refused (an errno or LMDB code) while there
 * is still room left for them. */
int store_space_reserve(struct store *store, enum store_urgency urgency, uint64_t bytes);

/* Whether the disk has no room for another batch: LMDB reports a write cut short as EIO. */
bool store_space_short(struct store *store);

/* The most that a value of these bytes takes in the file, with its key and its part of the tree. */
size_t store_space_cost(const struct store *store, size_t value_bytes);

#endif
