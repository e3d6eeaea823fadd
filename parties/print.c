#include "parties/print.h"

#include <stdio.h>
#include <stdlib.h>

enum status print_json(json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (!text)
        return status_fail(STATUS_MEMORY, "out of memory for the output");
    puts(text);
    free(text);
    return STATUS_OK;
}

static const char *scaled(char out[PRINT_SIZE], uint64_t value, const char *const unit[5])
{
    double v = (double)value;
    int i = 0;
    while (v >= 999.5 && i < 4) {
        v /= 1000;
        i++;
    }
    snprintf(out, PRINT_SIZE, "%.*f %s", i == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, unit[i]);
    return out;
}

const char *print_bytes(char out[PRINT_SIZE], uint64_t bytes)
{
    return scaled(out, bytes, (const char *const[5]){"B", "kB", "MB", "GB", "TB"});
}

const char *print_amount(char out[PRINT_SIZE], uint64_t amount)
{
    return scaled(out, amount, (const char *const[5]){"", "k", "M", "G", "T"});
}
