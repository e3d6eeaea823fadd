/* The record of a run: log.tsv, a table that a spreadsheet reads, and curves.svg, drawn from it.
 *
 * Columns: phase, epoch, step (within the phase), tokens (trained on so far), loss, its parts (those of
 * stage 1, and the price on wide rows), learning rate, gradient norm, dev (the development metric, or the layer-wise loss on the development set),
 * tokens per second, seconds. A field that does not apply is empty. */
#ifndef TREFOIL_DISTILL_RUNLOG_H
#define TREFOIL_DISTILL_RUNLOG_H

#include <stdint.h>
#include <stdio.h>

#include "ring/status.h"

#define DISTILL_LOG_FIELDS 14 /* of a row */

struct distill_row {
    const char *phase;
    double epoch;
    uint64_t step, tokens;
    double loss, embedding, hidden, score, spread, rate, norm, dev, speed, seconds; /* NAN: empty */
};

struct distill_log {
    FILE *file;
    char path[4096];
};

/* Opens FOLDER/log.tsv and cuts it to `bytes`, what the checkpoint saw (0: a new log with its heading). A shorter one
 * keeps its rows, a missing one begins anew. */
STATUS_MUST_USE enum status distill_log_open(struct distill_log *log, const char *folder, uint64_t bytes);
STATUS_MUST_USE enum status distill_log_write(struct distill_log *log, const struct distill_row *row);
/* Length so far, everything synced. */
STATUS_MUST_USE enum status distill_log_bytes(struct distill_log *log, uint64_t *bytes);
void distill_log_close(struct distill_log *log);

/* Draws FOLDER/curves.svg from FOLDER/log.tsv: loss per phase above, the development metric below. */
STATUS_MUST_USE enum status distill_plot_write(const char *folder, const char *title, const char *metric);

#endif
