/* The part of a model that a gate belongs to, by the name of the tensor it makes. */
#ifndef TREFOIL_PARTIES_GATE_GROUP_H
#define TREFOIL_PARTIES_GATE_GROUP_H

#include <string.h>

/* How much of the name is the group's: "layer 3" of "layer 3 query", the first word of everything else. */
static inline size_t gate_group_length(const char *name)
{
    if (strncmp(name, "layer ", 6) == 0)
        return 6 + strcspn(name + 6, " ");
    return strcspn(name, " ");
}

#endif
