/* A look at data.mdb before LMDB maps it: LMDB trusts its file, and would die of SIGBUS or follow wild page
 * numbers in one that is torn. Private to store/. */
#ifndef TREFOIL_STORE_INSPECT_H
#define TREFOIL_STORE_INSPECT_H

#include "ring/status.h"

/* folder: a descriptor of path. STATUS_OK if data.mdb is sound, absent or empty; STATUS_CORRUPT names the
 * file and what is wrong; STATUS_FOREIGN for another format. Reads only. */
STATUS_MUST_USE enum status store_inspect(int folder, const char *path);

#endif
