/* libtrefoil: private classification from a program of your own.
 *
 *     struct trefoil *trefoil;
 *     struct trefoil_answer answer;
 *     if (trefoil_open(&trefoil, "client.conf", NULL, NULL) != TREFOIL_OK ||
 *         trefoil_classify(trefoil, "a charming film", NULL, &answer) != TREFOIL_OK)
 *         fprintf(stderr, "%s\n", trefoil_message());
 *     else
 *         printf("%s\n", trefoil_label(trefoil, answer.label));
 *     trefoil_close(&trefoil);
 *
 * The text is tokenized, embedded and shared here; it leaves this process only as shares that tell no party
 * anything, and the logits are put together here. A handle belongs to one thread at a time; there may be many.
 *
 * trefoil_open, trefoil_classify and trefoil_deal wait for the parties: for one that cannot be reached, and for a
 * place at parties that are busy, as long as timeout_ms of the configuration says (20 seconds unless set). One that
 * is connected may have a model to load, or its line be busy with bundles: each of its messages is waited for up to
 * 30 times as long (ten minutes), and by trefoil_deal up to six hours.
 *
 * Link with pkg-config --libs trefoil. */
#ifndef TREFOIL_H
#define TREFOIL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TREFOIL_VERSION "0.1.0"
#define TREFOIL_LABELS_MAX 64

/* What every function that can fail returns; trefoil_message says the rest. */
enum trefoil_code {
    TREFOIL_OK = 0,
    TREFOIL_MEMORY,  /* an allocation failed */
    TREFOIL_INPUT,   /* configuration, folder or text cannot be used; the text is empty or too long */
    TREFOIL_IO,      /* the operating system refused */
    TREFOIL_FULL,    /* a disk or store is full */
    TREFOIL_CORRUPT, /* a file is torn or does not verify */
    TREFOIL_FOREIGN, /* the folder is not of the model that the parties hold */
    TREFOIL_EMPTY,   /* no bundle is left for a text of this length: trefoil_deal */
    TREFOIL_STATE,   /* not possible at this moment */
    TREFOIL_PEER,    /* a party broke the protocol */
    TREFOIL_REFUSED, /* a party does not know our key, or another key answered */
    TREFOIL_TIMEOUT, /* a party was silent for too long */
    TREFOIL_RANGE,   /* a value does not fit its fixed-point range */
    TREFOIL_STOPPED, /* a party was stopped */
    TREFOIL_BUSY     /* a party had no place for a request within the configured time */
};

struct trefoil;

struct trefoil_answer {
    uint32_t label;                         /* the likeliest class; trefoil_label is its name */
    uint32_t labels;                        /* how many classes; 1 for a regression */
    int regression;                         /* not 0: logit[0] is the score, there are no probabilities */
    float logit[TREFOIL_LABELS_MAX];        /* [labels] */
    double probability[TREFOIL_LABELS_MAX]; /* [labels], they add up to 1 */
    double online_ms;                       /* that the parties took */
    uint64_t rounds, bytes;                 /* between the evaluators; bytes each way */
};

/* config: a configuration file, see trefoil.conf(5). folder: vocabulary and embedding tables of the model,
 * NULL for the one the configuration names. name: name or id of the model at the parties, NULL for the one
 * that the folder was exported for, or where it does not say the one shared last. */
int trefoil_open(struct trefoil **out, const char *config, const char *folder, const char *name);
/* Takes NULL, leaves NULL. */
void trefoil_close(struct trefoil **trefoil);

/* Classifies one text, or a pair; UTF-8. pair may be NULL. Spends a bundle. */
int trefoil_classify(struct trefoil *trefoil, const char *text, const char *pair,
                     struct trefoil_answer *answer);

/* Deals more bundles for texts of up to that many tokens; *dealt (may be NULL) is how many there are more. */
int trefoil_deal(struct trefoil *trefoil, uint32_t tokens, uint32_t bundles, uint32_t *dealt);

/* The name of a class, or NULL. Owned by the handle. */
const char *trefoil_label(const struct trefoil *trefoil, uint32_t label);

/* What went wrong last in this thread. */
const char *trefoil_message(void);
/* The version of the library, to be compared with TREFOIL_VERSION. */
const char *trefoil_version(void);

#ifdef __cplusplus
}
#endif

#endif
