/* What memory there is, before much of it is taken: the machine's, or less where a control group bounds it (a unit's MemoryMax, a
 * container). */
#ifndef TREFOIL_PARTIES_MEMORY_H
#define TREFOIL_PARTIES_MEMORY_H

#include <stdint.h>

#include "layers/schedule.h"
#include "parties/config.h"

/* Bytes; UINT64_MAX where the system does not tell. */
struct memory_bounds {
    uint64_t total, available; /* available: could be had now without swapping */
};

/* What the groups in a list such as /proc/self/cgroup, and those above them, leave; root: where their files are. */
void memory_of_groups(struct memory_bounds *out, const char *list, const char *root);

uint64_t memory_available(void);

/* STATUS_MEMORY if a bundle of this schedule needs more than the party's setting "memory", or more than there is at all. */
STATUS_MUST_USE enum status memory_check(const struct config *config, const struct schedule *schedule);

#endif
