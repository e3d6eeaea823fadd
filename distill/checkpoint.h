/* Checkpoints: everything a run needs to go on as if it had never stopped.
 *
 *     magic, fingerprint of the run (32 bytes), position, weights, moments, used rows, BLAKE2b-256 of all
 * before
 *
 * Two files are written in turn, each to a temporary name, synced, then renamed; so a kill, a full disk or a
 * torn write at any moment leaves the other. The one with the higher generation that verifies is used. */
#ifndef TREFOIL_DISTILL_CHECKPOINT_H
#define TREFOIL_DISTILL_CHECKPOINT_H

#include "distill/adamw.h"
#include "distill/weights.h"

#define DISTILL_FINGERPRINT_BYTES 32

/* Where a run stands. Plain numbers, no padding. */
struct distill_position {
    uint64_t generation;  /* of the checkpoint */
    uint64_t phase, step; /* next step, within the phase */
    uint64_t tokens;      /* trained on so far */
    uint64_t log_bytes;
    uint64_t best_phase, best_step; /* of the best model */
    uint64_t have_best;
    double best;    /* its development metric */
    double seconds; /* spent so far */
    double sum[5];  /* loss and its parts since the last row of the log */
    uint64_t sum_steps, sum_tokens;
    uint64_t threads; /* of the run: another number adds up in another order */
};

/* Writes the next generation into FOLDER; position->generation grows by one. On failure the files before
 * stay. */
STATUS_MUST_USE enum status
distill_checkpoint_write(const char *folder, struct distill_position *position,
                         const unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES],
                         const struct distill_weights *weights, const struct distill_adamw *adamw);
/* How far a run can come. Whoever made a checkpoint made its hash as well, so a position is believed only within these. */
struct distill_reach {
    size_t phases;
    const uint64_t *steps; /* [phases] */
};

/* Reads the newest good one. STATUS_EMPTY: there is none; STATUS_FOREIGN: it is of a run with other options,
 * data or models; STATUS_CORRUPT: there are files but none is whole, or the newest stands beyond the reach of this
 * run. A torn file beside a good one is named on stderr. */
STATUS_MUST_USE enum status
distill_checkpoint_read(const char *folder, struct distill_position *position,
                        const unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES],
                        const struct distill_reach *reach, struct distill_weights *weights,
                        struct distill_adamw *adamw);
/* Removes both. */
void distill_checkpoint_remove(const char *folder);

#endif
