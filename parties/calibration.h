/* A model at its owner: read whole, folded for its schedule, and calibrated on sample texts. */
#ifndef TREFOIL_PARTIES_CALIBRATION_H
#define TREFOIL_PARTIES_CALIBRATION_H

#include "model/calibrate.h"
#include "model/description.h"
#include "model/model.h"

struct calibrated {
    struct model model;
    struct folded folded;
    struct description description;
};

/* Reads folder; calibrates on the lines of texts (NULL: FOLDER/calibration.txt if there is one, else the
 * program's own sample texts). name: what the owner calls the model (NULL: the name of the folder). Shows a
 * progress bar. */
STATUS_MUST_USE enum status calibrated_open(struct calibrated *out, const char *folder, const char *texts,
                                            const char *name);
/* What a model is called for its folder: the last part of the path, without slashes at its end. */
void calibrated_name(char *out, size_t size, const char *folder);
void calibrated_clear(struct calibrated *calibrated);

/* The program's own sample texts, a line each: made from parties/calibration.txt when it is built. */
extern const char calibration_texts[];

#endif
