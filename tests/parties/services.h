/* Three parties in one process over inproc links, so that the thread sanitizer sees all of them; everything else is real. A model of two
 * layers is shared with them. */
#ifndef TREFOIL_TESTS_PARTIES_SERVICES_H
#define TREFOIL_TESTS_PARTIES_SERVICES_H

#include "tests/parties/parties.h"

#define SERVICES_BUCKET 16

extern struct parties parties;
extern struct service *service[3];
extern void *context; /* of the inproc links */
extern struct client *owner;
extern struct model model;
extern struct folded folded;
extern struct description description;
extern unsigned char id[MODEL_ID_BYTES];

/* A checked fixture; and its two parts, between which the configurations may be changed (parties_init). */
void services_start(void);
void services_stop(void);
void services_model(void);
void services_open(void);

/* Deals so many bundles, no fewer. */
void services_deal(uint32_t bucket, uint32_t batch, enum tune tune, uint32_t count, struct deal_request *out);
/* One private inference of a batch of random texts; each is compared with the fixed-point walk. */
void services_infer(struct client *client, uint32_t bucket, uint32_t batch, enum tune tune, struct inference *out);

void services_pause(long ms);

#endif
