/* One bundle on its way through the offline phase at one party; parties/job_deal.c keeps several on the way at once. */
#ifndef TREFOIL_PARTIES_DEAL_BUNDLE_H
#define TREFOIL_PARTIES_DEAL_BUNDLE_H

#include "parties/job.h"

struct dealing {
    struct job *job;
    struct store_bundle *bundle;
    struct store_name name;

    /* An evaluator's thread that writes out what is left and makes the bundle ready. */
    pthread_t keeper;
    bool keeping;
    enum status status;
    char message[512];
};

/* ---- P1, P2 ---- */

/* Sends P0 the lowest serial that the next bundle could have here, and random bytes for its nonce. */
STATUS_MUST_USE enum status deal_offer(struct dealing *dealing, unsigned char random[STORE_HASH_BYTES]);
/* Takes the name from what P0 said; random: what deal_offer sent. */
STATUS_MUST_USE enum status deal_name(struct dealing *dealing, const json_t *message,
                                      const unsigned char random[STORE_HASH_BYTES]);
/* Receives, computes and hands to the store. */
STATUS_MUST_USE enum status deal_prepare(struct dealing *dealing);
/* Makes the bundle ready in a thread of its own; after deal_kept it is. */
STATUS_MUST_USE enum status deal_keep(struct dealing *dealing);
STATUS_MUST_USE enum status deal_kept(struct dealing *dealing);

/* ---- P0 ---- */

/* What both evaluators offered for a bundle. */
struct deal_offers {
    uint64_t serial;                           /* the higher one */
    unsigned char random[3][STORE_HASH_BYTES]; /* by party; P0's own comes with the name */
};
STATUS_MUST_USE enum status deal_read_offers(struct job *job, struct deal_offers *out);
/* Names the bundle, and tells both evaluators. */
STATUS_MUST_USE enum status deal_name_all(struct dealing *dealing, struct deal_offers *offers);
STATUS_MUST_USE enum status deal_send(struct dealing *dealing);

/* ---- all ---- */

STATUS_MUST_USE enum status deal_ready(struct dealing *dealing);
/* Ends it at any point: a bundle that is not ready is gone. */
void deal_clear(struct dealing *dealing);

#endif
