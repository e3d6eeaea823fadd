/* How a store knows that it is the one that was closed last, and what it does when it is not. Private to
 * store/.
 *
 * Closed cleanly means: the clean mark inside LMDB and the stamp file beside it carry the same fresh random
 * number and generation; the stamp names this boot of the machine, this data file (device, inode) and the
 * moment of its last change. A copy has another inode, a restored backup a later change, a snapshot of a
 * running store no clean mark, a store left by a crash neither. (What this cannot see: a whole machine rolled
 * back in its sleep, memory and all. For that, the parties agree on the highest of their lowest serials.)
 *
 * Any disagreement burns: a new generation, marks raised to the highest serial seen, every bundle deleted
 * with its key, uploads not finished too. Weights stay: they are not spent by use. */
#ifndef TREFOIL_STORE_RECOVERY_H
#define TREFOIL_STORE_RECOVERY_H

#include "store/names.h"

/* Decides, burns if it must, consumes the clean mark durably, removes orphans, and says so. fresh: the store was
 * just created. */
STATUS_MUST_USE enum status store_recover(struct store *store, bool fresh);
/* Writes the clean mark and, once LMDB is closed, the stamp. If it fails, it says so, and the next open burns. */
enum status store_leave(struct store *store);

#endif
