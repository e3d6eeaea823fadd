/* Bundles that the evaluators have and P0 lacks: a request that deals may end between their "kept" and P0's own. Nobody can use them, and
 * they would take room until inferences have passed them. */
#ifndef TREFOIL_PARTIES_DEAL_MISSING_H
#define TREFOIL_PARTIES_DEAL_MISSING_H

#include "parties/job.h"

/* At P0, while no bundle of this schedule is on the way: which ones are ready here, added to a message.
 *
 *     ready   ranges of serials, [first, last] each, rising
 *     mark    the highest serial taken or burnt here
 *     upto    where the list ends; what is above may be ready or not */
STATUS_MUST_USE enum status deal_list_ready(const struct job *job, json_t *message);

/* At an evaluator: drops what is ready here between mark and upto and in none of the ranges. Not below the mark: what P0 has taken is
 * about to be taken here as well. A message without a list drops nothing. */
STATUS_MUST_USE enum status deal_drop_missing(const struct job *job, const json_t *message);

#endif
