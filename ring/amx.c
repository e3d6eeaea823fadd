#include "ring/amx.h"

#ifdef RING_AMX

#include <immintrin.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TARGET __attribute__((target("amx-tile")))
#define ROWS 16
#define ROW_BYTES 64

bool ring_amx_permitted(void)
{
    enum { GET_PERMISSION = 0x1022, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned long features = 0;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 &&
           syscall(SYS_arch_prctl, GET_PERMISSION, &features) == 0 && (features >> TILE_DATA & 1) != 0;
}

TARGET void ring_amx_begin(void)
{
    /* A constant: gcc's intrinsic tells the compiler of the first word only, and stores of others may vanish. */
    static const struct {
        uint8_t palette, start, zero[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {
        .palette = 1,
        .row_bytes = {ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES},
        .rows = {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS},
    };
    _tile_loadconfig(&config);
}

TARGET void ring_amx_end(void)
{
    _tile_release();
}

#endif
