/* The tile registers of AMX, for the kernels that multiply with them: eight tiles of 16 rows of 64 bytes. */
#ifndef TREFOIL_RING_AMX_H
#define TREFOIL_RING_AMX_H

#include <stdbool.h>

#if defined(__x86_64__) && defined(__linux__) &&      \
    ((defined(__clang__) && __clang_major__ >= 12) || \
     (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 11))
#define RING_AMX 1

/* Asks the system for the tile registers, for all threads of the process; they are off at first. */
bool ring_amx_permitted(void);
/* Tile registers belong to a thread from begin to end. */
void ring_amx_begin(void);
void ring_amx_end(void);

#endif

#endif
