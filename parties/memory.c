#include "parties/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "layers/walk.h"

#define LINE_BYTES 4352 /* of /proc/self/cgroup: a path, and what is before it */

/* A number behind a name, in a file that has one in each line; UINT64_MAX if it has none, or what stands there is "max". Without a
 * name, the first word. */
static uint64_t number_in(const char *path, const char *name)
{
    char line[128];
    uint64_t number = UINT64_MAX;
    FILE *file = fopen(path, "r");
    const size_t length = strlen(name);
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, length) == 0 && sscanf(line + length, "%" SCNu64, &number) == 1)
            break;
    if (file)
        fclose(file);
    return number;
}

static uint64_t meminfo(const char *name)
{
    const uint64_t kilobytes = number_in("/proc/meminfo", name);
    return kilobytes < UINT64_MAX >> 10 ? kilobytes << 10 : UINT64_MAX;
}

/* ---- control groups: the unit's MemoryMax, a container's limit ---- */

struct kind {
    const char *mount, *limit, *used, *cache; /* cache: a field of memory.stat, used and given back when others need it */
};

static uint64_t group_number(const char *root, const struct kind *kind, const char *group, const char *name,
                             const char *field)
{
    char path[2 * LINE_BYTES];
    snprintf(path, sizeof path, "%s%s%s/%s", root, kind->mount, group, name);
    return number_in(path, field);
}

static void lower(uint64_t *bound, uint64_t value)
{
    *bound = value < *bound ? value : *bound;
}

/* Of this group, a path that begins with a slash, and all above it. */
static void group_bounds(struct memory_bounds *out, const char *root, const struct kind *kind, char *group)
{
    for (char *end = group + strlen(group);; *(end = strrchr(group, '/')) = 0) {
        while (end > group && end[-1] == '/')
            *--end = 0;
        const uint64_t limit = group_number(root, kind, group, kind->limit, "");
        if (limit < UINT64_MAX) {
            const uint64_t used = group_number(root, kind, group, kind->used, "");
            uint64_t cache = group_number(root, kind, group, "memory.stat", kind->cache);
            if (cache > used)
                cache = 0;
            lower(&out->total, limit);
            if (used < UINT64_MAX)
                lower(&out->available, used - cache < limit ? limit - (used - cache) : 0);
        }
        if (end == group)
            return;
    }
}

void memory_of_groups(struct memory_bounds *out, const char *list, const char *root)
{
    static const struct kind one = {"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
                             two = {"", "memory.max", "memory.current", "inactive_file "};
    char line[LINE_BYTES];
    FILE *file = fopen(list, "r");
    *out = (struct memory_bounds){UINT64_MAX, UINT64_MAX};
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || group[1] != '/')
            continue;
        *group++ = 0;
        if (strcmp(controllers + 1, "") == 0)
            group_bounds(out, root, &two, group);
        else if (strcmp(controllers + 1, "memory") == 0)
            group_bounds(out, root, &one, group);
    }
    if (file)
        fclose(file);
}

static struct memory_bounds bounds(void)
{
    struct memory_bounds out;
    memory_of_groups(&out, "/proc/self/cgroup", "/sys/fs/cgroup");
    lower(&out.total, meminfo("MemTotal:"));
    lower(&out.available, meminfo("MemAvailable:"));
    return out;
}

uint64_t memory_available(void)
{
    return bounds().available;
}

enum status memory_check(const struct config *config, const struct schedule *schedule)
{
    const uint64_t total = bounds().total;
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
