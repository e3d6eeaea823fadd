/* The clear model beside the private one: the same student in floating point, for comparison. */
#ifndef TREFOIL_PARTIES_CLEAR_H
#define TREFOIL_PARTIES_CLEAR_H

#include "model/calibrate.h"
#include "model/description.h"
#include "model/model.h"

struct clear_model {
    struct model model;
    struct folded folded;
};

/* model and folded, to be cleared by the caller in any case, from the folder of a whole student. STATUS_INPUT: it is the public part
 * of one, or no student. */
STATUS_MUST_USE enum status clear_model_read(struct model *model, struct folded *folded, const char *folder);

/* folder: a whole model. */
STATUS_MUST_USE enum status clear_model_open(struct clear_model *out, const char *folder);
void clear_model_close(struct clear_model *clear);
/* logit [labels]: at the text's own length, without padding. */
STATUS_MUST_USE enum status clear_model_run(const struct clear_model *clear, const struct sample *sample,
                                            float *logit);

#endif
