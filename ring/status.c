#include "ring/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1024];

enum status status_fail(enum status code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return code;
}

enum status status_prefix(enum status code, const char *format, ...)
{
    char text[sizeof message];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof text)
        snprintf(text + used, sizeof text - (size_t)used, "%s", message);
    memcpy(message, text, sizeof message);
    return code;
}

const char *status_message(void)
{
    return message;
}

void status_copy(char *out, unsigned long size)
{
    snprintf(out, size, "%s", message);
}

const char *status_name(enum status code)
{
    static const char *const names[STATUS_CODES] = {
        [STATUS_OK] = "ok",
        [STATUS_MEMORY] = "out of memory",
        [STATUS_INPUT] = "bad input",
        [STATUS_IO] = "input/output",
        [STATUS_FULL] = "full",
        [STATUS_CORRUPT] = "corrupt",
        [STATUS_FOREIGN] = "foreign",
        [STATUS_EMPTY] = "no bundle",
        [STATUS_STATE] = "wrong state",
        [STATUS_PEER] = "protocol violation",
        [STATUS_REFUSED] = "refused",
        [STATUS_TIMEOUT] = "timeout",
        [STATUS_RANGE] = "out of range",
        [STATUS_STOPPED] = "stopped",
        [STATUS_BUSY] = "busy",
    };
    return (unsigned)code < STATUS_CODES ? names[code] : "unknown";
}
