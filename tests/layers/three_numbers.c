/* Numbers for tests: the same in every run. */
#include <string.h>

#include "ring/stream.h"
#include "tests/layers/three.h"

static uint64_t state = 0x9e3779b97f4a7c15;

void three_seed(uint64_t seed)
{
    state = seed * 2 + 1;
}

uint64_t three_word(void)
{
    /* splitmix64 */
    uint64_t v = state += 0x9e3779b97f4a7c15;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
    v = (v ^ v >> 27) * 0x94d049bb133111eb;
    return v ^ v >> 31;
}

int64_t three_integer(int64_t bound)
{
    return (int64_t)(three_word() % (2 * (uint64_t)bound + 1)) - bound;
}

uint32_t three_between(uint32_t low, uint32_t high)
{
    return low + (uint32_t)(three_word() % (high - low + 1));
}

double three_real(void)
{
    return (double)(three_word() >> 11) * 0x1p-53;
}

double three_normal(void)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += three_real();
    return sum;
}

void three_bytes(void *out, size_t bytes)
{
    struct ring_seed key = {{0}};
    const uint64_t word = three_word();
    memcpy(key.bytes, &word, sizeof word);
    ring_stream_bytes(out, bytes, &key, 0);
}
