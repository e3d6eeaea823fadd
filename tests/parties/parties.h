/* Three real parties for the tests: processes of their own, CURVE on loopback, a store each; and a tiny random model. */
#ifndef TREFOIL_TESTS_PARTIES_PARTIES_H
#define TREFOIL_TESTS_PARTIES_PARTIES_H

#include <check.h>
#include <sys/types.h>

#include "model/model.h"
#include "parties/client.h"
#include "parties/service.h"

#define ck_ok(call)                                                                                          \
    do {                                                                                                     \
        enum status ck_status_ = (call);                                                                     \
        ck_assert_msg(ck_status_ == STATUS_OK, "%s: %s: %s", #call, status_name(ck_status_), status_message()); \
    } while (0)

enum { PARTY_P0, PARTY_P1, PARTY_P2, PARTY_OWNER, PARTIES_MEMBERS };

struct parties {
    char folder[256];
    char public_key[PARTIES_MEMBERS][NET_KEY_TEXT], secret_key[PARTIES_MEMBERS][NET_KEY_TEXT];
    char endpoint[3][96];
    pid_t process[3]; /* 0: not running */
    struct config config[PARTIES_MEMBERS];
    int timeout_ms;
};

/* Keys, a temporary folder, endpoints nobody uses: tcp on loopback, or inproc for parties that are threads. */
void parties_init(struct parties *parties, int timeout_ms, bool inproc);
/* Starts one party in a process of its own; its log goes to FOLDER/P<number>.log. */
void parties_start(struct parties *parties, int number);
/* The same with its standard output and error appended to files; NULL: closed. */
void parties_start_to(struct parties *parties, int number, const char *out, const char *err);
/* SIGKILL and wait. */
void parties_kill(struct parties *parties, int number);
/* SIGTERM and wait: a clean end. Returns the exit status. */
int parties_stop(struct parties *parties, int number);
int parties_stop_by(struct parties *parties, int number, int signal_number);
/* By one signal after the other until it ends: they meet every call that a signal can interrupt. */
int parties_stop_by_many(struct parties *parties, int number);
void parties_clear(struct parties *parties);

/* hidden 16, 2 heads, 1 layer: fast enough to be run many hundred times. */
void parties_tiny_model(struct model *model, uint32_t layers, uint64_t seed);

/* Calibrates the model on a few random texts of at most bucket tokens. */
void parties_calibrate(const struct model *model, const struct folded *folded, uint32_t bucket,
                       struct description *description);

/* A text of random ids, embedded, in a bucket. */
struct question {
    uint32_t id[32];
    uint32_t length, bucket;
    float *embeddings;
};
void question_make(struct question *question, const struct model *model, uint32_t length, uint32_t bucket);
void question_clear(struct question *question);
/* The logits of the fixed-point walk. */
void question_fixed(const struct question *question, const struct description *description,
                    const struct folded *folded, float *logits);

#endif
