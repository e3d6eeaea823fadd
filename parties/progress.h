/* A progress bar on standard error, where that is a terminal; nothing otherwise. */
#ifndef TREFOIL_PARTIES_PROGRESS_H
#define TREFOIL_PARTIES_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    const char *what; /* what is being done: "calibrating" */
    bool shown;       /* on a terminal */
    double begun, drawn;
};

void progress_start(struct progress *progress, const char *what);
/* context: a struct progress. Two shapes, for the two kinds of callbacks there are. */
void progress_update(void *context, uint64_t done, uint64_t count);
void progress_update_size(void *context, size_t done, size_t count);
/* Wipes the line. */
void progress_end(struct progress *progress);

#endif
