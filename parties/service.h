/* A party: serves requests until it is told to stop. */
#ifndef TREFOIL_PARTIES_SERVICE_H
#define TREFOIL_PARTIES_SERVICE_H

#include "parties/config.h"

struct service;

/* Opens store and hub. context: a ZeroMQ context shared by parties in one process, or NULL. */
STATUS_MUST_USE enum status service_open(struct service **out, const struct config *config, void *context);
/* Serves until service_stop; then ends what is under way and returns STATUS_OK. */
STATUS_MUST_USE enum status service_run(struct service *service);
/* Safe from any thread and from a signal handler. */
void service_stop(struct service *service);
/* Where it listens. */
const char *service_endpoint(const struct service *service);
/* Closes the store; fails, with everything released, if that was no clean end. */
enum status service_close(struct service **service);

#endif
