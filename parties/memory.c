#include "parties/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "layers/walk.h"

static uint64_t meminfo(const char *name)
{
    char line[128];
    uint64_t kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && !kilobytes && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), ": %" SCNu64, &kilobytes);
    if (file)
        fclose(file);
    return kilobytes ? kilobytes << 10 : UINT64_MAX;
}

uint64_t memory_total(void)
{
    return meminfo("MemTotal");
}

uint64_t memory_available(void)
{
    return meminfo("MemAvailable");
}

enum status memory_check(const struct config *config, const struct schedule *schedule)
{
    const uint64_t total = memory_total();
    const uint64_t limit =
        config->memory_bytes && config->memory_bytes < total ? config->memory_bytes : total;
    struct cost cost;
    walk_count(schedule, &cost);
    if (cost.memory_bytes <= limit)
        return STATUS_OK;
    return status_fail(STATUS_MEMORY,
                       "a batch of %u sequences of %u tokens needs %.1f GB of memory at %s, which may take "
                       "%.1f GB; ask for a "
                       "smaller batch or bucket, or raise \"memory\" in its configuration",
                       schedule->batch, schedule->bucket, 1e-9 * (double)cost.memory_bytes, config->name,
                       1e-9 * (double)limit);
}
