/* Private classification of texts, from the client's side:
 *
 *     text -> tokens -> smallest bucket that fits -> embeddings -> client_infer -> logits -> probabilities,
 * label */
#ifndef TREFOIL_PARTIES_CLASSIFY_H
#define TREFOIL_PARTIES_CLASSIFY_H

#include "model/model.h"
#include "model/tokenizer.h"
#include "parties/client.h"

#define CLASSIFY_BUCKET_LEAST \
    16 /* where nothing is configured: powers of two from here up to the positions */

struct classifier {
    struct config config;
    struct client *client;
    struct tokenizer *tokenizer;
    struct model embeddings; /* the public tables only */
    struct description description;
    unsigned char id[MODEL_ID_BYTES];
    uint32_t bucket[32], buckets; /* rising */
};

struct answer {
    float logit[MODEL_LABELS_MAX];
    double probability[MODEL_LABELS_MAX]; /* classes only */
    uint32_t label, labels;               /* the likeliest class */
    bool regression;                      /* then logit[0] is the score */
    /* of a private inference; of the whole batch */
    uint32_t tokens, bucket;
    double online_ms, total_ms;
    uint64_t rounds, bytes;
};

/* config: path. folder: the client's part of the model, NULL for the one the configuration names. name: which
 * of the models at the parties (as in client_describe), NULL for the one that the folder was exported for, or
 * where it does not say the one shared last. */
STATUS_MUST_USE enum status classifier_open(struct classifier *out, const char *config, const char *folder,
                                            const char *name);
void classifier_close(struct classifier *classifier);

/* The smallest bucket that holds that many tokens. STATUS_INPUT if there is none. */
STATUS_MUST_USE enum status classifier_bucket(const struct classifier *classifier, size_t tokens,
                                              uint32_t *bucket);

/* Checks tokens (empty, too long) without spending anything. */
STATUS_MUST_USE enum status classifier_check(const struct classifier *classifier,
                                             const struct tokens *tokens);

/* One text in the smallest bucket that holds it, or the next larger one that has a bundle left: more padding is better than no
 * answer. STATUS_EMPTY: none of them has. */
STATUS_MUST_USE enum status classifier_answer(struct classifier *classifier, const struct tokens *tokens,
                                              struct answer *answer);

/* One inference of batch sequences of a bucket; answer[batch]. STATUS_EMPTY: no bundle is left. */
STATUS_MUST_USE enum status classifier_run(struct classifier *classifier, const struct tokens *const *tokens,
                                           uint32_t batch, uint32_t bucket, struct answer *answer);

/* Deals bundles of a shape. */
STATUS_MUST_USE enum status classifier_deal(struct classifier *classifier, uint32_t bucket, uint32_t batch,
                                            uint32_t count, uint32_t *dealt);

/* The answer's label as text: a class by its name, or the score of a regression. */
void answer_label(const struct answer *answer, const struct model_config *config, char *out, size_t size);
/* Fills everything else from logits. */
void answer_of_logits(struct answer *answer, const struct model_config *config, const float *logit);

#endif
