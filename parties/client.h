/* What a client, an operator or a model's owner does with three parties: the calling side of parties/service.h.
 *
 * One session a call; any number of clients may be used at the same time, and a client by any number of threads. */
#ifndef TREFOIL_PARTIES_CLIENT_H
#define TREFOIL_PARTIES_CLIENT_H

#include "model/calibrate.h"
#include "model/description.h"
#include "net/net.h"
#include "parties/config.h"

struct client;

/* Opens a hub and waits for nothing. */
STATUS_MUST_USE enum status client_open(struct client **out, const struct config *config, void *context);
void client_close(struct client **client);

/* The public description of a model: by id in hexadecimal or at least 12 digits of its beginning, by name, or (NULL) any; of
 * several the one shared last that P1 and P2, and P0 if it answers, all hold. STATUS_INPUT if a party holds none;
 * STATUS_FOREIGN if no one model is at all: says what each holds. */
STATUS_MUST_USE enum status client_describe(struct client *client, const char *model, struct description *out,
                                            unsigned char id[MODEL_ID_BYTES]);

/* The same, for a client with this public folder (NULL: none): where no model is named it is the one that the folder was exported
 * for, and no newer one of whatever name; any, where the folder does not say. STATUS_FOREIGN if not all hold that one. */
STATUS_MUST_USE enum status client_describe_for(struct client *client, const char *folder, const char *model,
                                                struct description *out, unsigned char id[MODEL_ID_BYTES]);

/* One private inference. */
struct inference {
    /* in */
    const unsigned char *model; /* id */
    uint32_t bucket, batch;
    enum tune tune;
    const float *embeddings; /* [batch * bucket][hidden]: model_embed */
    const uint32_t *length;  /* [batch]: tokens of each sequence, for the mask */
    /* out */
    float *logits;           /* [batch][labels], by the caller */
    double online_ms;        /* from the client's input to the logit shares, as the slower evaluator measured */
    double total_ms;         /* as the client saw it, bundle agreement and waiting for a place included */
    uint64_t rounds, bytes;  /* between the evaluators; bytes one way */
    uint64_t serial;
    bool ahead;              /* both evaluators had warmed the bundle before they were asked */
    struct walk_profile *profile; /* in: NULL, or [2]: filled with those of P1 and P2; to be cleared in any case */
};
/* STATUS_EMPTY: no bundle is ready for this shape at all three parties. STATUS_BUSY, of this and of client_describe and
 * client_deal: a party had no place, and none of this client's requests was served, for timeout_ms; nothing is
 * spent. */
STATUS_MUST_USE enum status client_infer(struct client *client, const struct description *description,
                                         struct inference *inference);

/* Asks for count more ready bundles of a shape. progress(context, done, count) after each. */
struct deal_request {
    const unsigned char *model;
    uint32_t bucket, batch;
    enum tune tune;
    uint32_t count;
    void (*progress)(void *context, uint64_t done, uint64_t count);
    void *context;
    /* out */
    uint32_t dealt;                     /* less than count if the parties' limit was reached */
    double seconds;
    uint64_t bytes_p1, bytes_p2;        /* sent by the dealer to each evaluator */
    uint64_t ready;                     /* bundles of this shape ready now */
};
STATUS_MUST_USE enum status client_deal(struct client *client, const struct description *description,
                                        struct deal_request *request);

/* Shares the weights of a model: masks are drawn here, from fresh seeds; P0 gets both seeds, P1 and P2 one each and the masked
 * weights. id: of the model at the parties. */
STATUS_MUST_USE enum status client_share(struct client *client, const struct description *description,
                                         const struct folded *folded,
                                         void (*progress)(void *context, uint64_t done, uint64_t count), void *context,
                                         unsigned char id[MODEL_ID_BYTES]);

/* The same for a model that is to be removed: if no one model is at all three, the last one at any. All three must answer. */
STATUS_MUST_USE enum status client_find(struct client *client, const char *model, struct description *out,
                                        unsigned char id[MODEL_ID_BYTES]);

/* Removes a model, its weights and its bundles, wherever it is. STATUS_INPUT if no party holds it. */
STATUS_MUST_USE enum status client_remove(struct client *client, const unsigned char id[MODEL_ID_BYTES]);

/* The status of one party (role P0, P1 or P2) as JSON: {"party", "version", "uptime_s", "models": [{"id", "name"}], "bundles":
 * [{"model", "bucket", "batch", "tune", "ready", "filling", "mark", "bytes"}], "peers": [{"name", "up"}], "requests", "loaded"};
 * loaded: models in memory. malloc'ed. */
STATUS_MUST_USE enum status client_status(struct client *client, enum net_role party, char **json);

#endif
