/* libtrefoil: parties/trefoil.h on top of parties/classify.h. */
#include <config.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parties/classify.h"
#include "parties/trefoil.h"

static_assert((int)TREFOIL_BUSY == (int)STATUS_BUSY && (int)STATUS_BUSY + 1 == (int)STATUS_CODES,
              "the codes of the library are those inside");
static_assert(TREFOIL_LABELS_MAX == MODEL_LABELS_MAX, "the library has room for every label");

struct trefoil {
    struct classifier classifier;
};

int trefoil_open(struct trefoil **out, const char *config, const char *folder, const char *name)
{
    *out = NULL;
    if (!config)
        return (int)status_fail(STATUS_INPUT, "trefoil_open needs the name of a configuration file");
    struct trefoil *trefoil = calloc(1, sizeof *trefoil);
    if (!trefoil)
        return (int)status_fail(STATUS_MEMORY, "out of memory");
    enum status status = classifier_open(&trefoil->classifier, config, folder, name);
    if (status)
        free(trefoil);
    else
        *out = trefoil;
    return (int)status;
}

void trefoil_close(struct trefoil **trefoil)
{
    if (!trefoil || !*trefoil)
        return;
    classifier_close(&(*trefoil)->classifier);
    free(*trefoil);
    *trefoil = NULL;
}

int trefoil_classify(struct trefoil *trefoil, const char *text, const char *pair, struct trefoil_answer *out)
{
    struct tokens tokens = {0};
    struct answer answer;
    memset(out, 0, sizeof *out);
    enum status status = tokenizer_encode(trefoil->classifier.tokenizer, text, pair, &tokens);
    if (!status)
        status = classifier_check(&trefoil->classifier, &tokens);
    if (!status)
        status = classifier_answer(&trefoil->classifier, &tokens, &answer);
    tokens_clear(&tokens);
    if (status)
        return (int)status;
    out->label = answer.label;
    out->labels = answer.labels;
    out->regression = answer.regression;
    memcpy(out->logit, answer.logit, answer.labels * sizeof *out->logit);
    if (!answer.regression)
        memcpy(out->probability, answer.probability, answer.labels * sizeof *out->probability);
    out->online_ms = answer.online_ms;
    out->rounds = answer.rounds;
    out->bytes = answer.bytes;
    return TREFOIL_OK;
}

int trefoil_deal(struct trefoil *trefoil, uint32_t tokens, uint32_t bundles, uint32_t *dealt)
{
    uint32_t bucket, count = 0;
    enum status status = classifier_bucket(&trefoil->classifier, tokens, &bucket);
    if (!status)
        status = classifier_deal(&trefoil->classifier, bucket, 1, bundles, &count);
    if (dealt)
        *dealt = count;
    return (int)status;
}

const char *trefoil_label(const struct trefoil *trefoil, uint32_t label)
{
    const struct model_config *config = &trefoil->classifier.description.config;
    return label < config->labels ? config->label[label] : NULL;
}

const char *trefoil_message(void)
{
    return status_message();
}

const char *trefoil_version(void)
{
    return PACKAGE_VERSION;
}
