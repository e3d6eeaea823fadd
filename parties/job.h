/* One request under way at a party: what the jobs share. A job runs in a thread of its own.
 *
 * Each job_* function is one kind of request; it returns its status, and whoever called it tells the client and the other
 * parties of a failure. */
#ifndef TREFOIL_PARTIES_JOB_H
#define TREFOIL_PARTIES_JOB_H

#include <pthread.h>
#include <jansson.h>

#include "parties/config.h"
#include "parties/messages.h"
#include "parties/models.h"
#include "parties/notices.h"
#include "parties/turn.h"
#include "parties/warm.h"
#include "store/store.h"

struct service {
    const struct config *config;
    struct net_hub *hub;
    struct store *store;
    struct models *models;
    struct warm *warm;    /* at P1 and P2, or NULL */
    int party;            /* 0, 1, 2 */
    int peer[3];          /* the hub's numbers of P0, P1, P2; our own is -1 */
    pthread_mutex_t take; /* at P1: one bundle is agreed on at a time */
    struct turn deal;     /* at P0: one request deals at a time */
    pthread_mutex_t lock; /* the fields below */
    pthread_cond_t idle;
    int running, quick;   /* requests there are; those of them that need no place */
    int serving;          /* those that have one (requests_max) */
    struct job *queue;    /* those that have none yet, in the order in which they came */
    bool stopping;
    struct pipeline *dealing; /* at P0: the requests that deal (parties/job_deal.c) */
    bool said_slow; /* that openings go over CURVE */
    double started;
    struct notices notices;
};

struct job {
    struct service *service;
    struct job *behind; /* in the queue; under its lock */
    const struct operation *operation;
    struct net_session *session;
    int client; /* the hub's number of who asked */
    enum net_role role;
    json_t *request;
    const struct party_model *model; /* of requests about one */
    const struct schedule *schedule;
    enum tune tune;
    bool kept_from_dealer; /* how it failed depends on values: P0 is not told */
};

static inline const char *job_peer_name(const struct job *job, int peer)
{
    return net_hub_peer_name(job->service->hub, peer);
}

/* Reads "model", "bucket", "batch", "tune" and "schedule" of the request, loads and compiles. STATUS_FOREIGN if the client compiled
 * another schedule. */
STATUS_MUST_USE enum status job_open_schedule(struct job *job);
/* A line of the log: who did so with a model. name: NULL if it is not known. */
void job_say_model(const struct job *job, const char *did, const unsigned char id[MODEL_ID_BYTES], const char *name);
/* A condition whose timed waits go by CLOCK_MONOTONIC. */
void job_cond_init(pthread_cond_t *condition);

STATUS_MUST_USE enum status job_infer(struct job *job);
STATUS_MUST_USE enum status job_deal(struct job *job);
STATUS_MUST_USE enum status job_upload(struct job *job);
STATUS_MUST_USE enum status job_describe(struct job *job);
STATUS_MUST_USE enum status job_remove(struct job *job);
STATUS_MUST_USE enum status job_status(struct job *job);

/* Takes one bundle of the job's schedule at all three parties (parties/agreement.c). */
STATUS_MUST_USE enum status agreement_take(struct job *job, struct store_bundle **out);

#endif
