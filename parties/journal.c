#include "parties/journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Texts of peers may be part of a line: none begins a line of its own or steers a terminal. C1: U+0080 to U+009f in UTF-8. */
static void no_controls(char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)line[i], before = i > 0 ? (unsigned char)line[i - 1] : 0;
        if (c < 0x20 || c == 0x7f || (before == 0xc2 && c >= 0x80 && c < 0xa0))
            line[i] = '?';
    }
}

void journal(const char *party, const char *format, ...)
{
    char line[1280];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s: ", now.tv_nsec / 1000000, party);
    va_list arguments;
    va_start(arguments, format);
    const int more = vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    va_end(arguments);
    if (more > 0)
        used += (size_t)more < sizeof line - used - 1 ? (size_t)more : sizeof line - used - 2;
    no_controls(line, used);
    line[used++] = '\n';
    /* One write: lines of several threads do not mix. A log that cannot be written stops nothing. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
