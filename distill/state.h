/* What one pass over a batch leaves in memory: every value that a backward pass or a layer-wise loss reads
 * again, and the buffers of the backward pass. */
#ifndef TREFOIL_DISTILL_STATE_H
#define TREFOIL_DISTILL_STATE_H

#include "distill/batch.h"
#include "distill/real.h"
#include "model/model.h"

#define distill_state DISTILL_REAL(distill_state)
#define distill_layer_state DISTILL_REAL(distill_layer_state)
#define distill_state_reserve DISTILL_REAL(distill_state_reserve)
#define distill_state_clear DISTILL_REAL(distill_state_clear)

struct distill_layer_state {
    real *qkv;              /* [tokens][3 H] */
    real *scores, *weights; /* [heads][pairs]: q k^T / sqrt(d), and the attention weights before dropout */
    real *context;          /* [tokens][H] */
    real *hat1, *inverse1, *mid; /* first LayerNorm: normalised, 1/deviation, output [tokens][H] */
    real *pre, *act;             /* [tokens][F]: before and after the activation */
    real *hat2, *inverse2, *out; /* second LayerNorm; out is the layer's hidden state */
};

struct distill_state {
    struct model_config config;
    size_t tokens, pairs, longest, sequences; /* there is room for */
    bool backward;
    real *memory;
    real *hat, *inverse,
        *embedded; /* embeddings: normalised [tokens][H], 1/deviation [tokens], output [tokens][H] */
    struct distill_layer_state *layer; /* [layers] */
    real *first;                       /* [sequences][H]: hidden state of each first token */
    real *pooled, *dropped;            /* [sequences][H]: tanh; the same after dropout */
    real *logits;                      /* [sequences][labels] */
    real *scratch;                     /* attention, 2 longest^2 a thread */
    /* backward only */
    real *dhidden;  /* [tokens][H]: gradient of what flows from layer to layer */
    real *dbranch;  /* [tokens][H]: gradient of a dropped branch */
    real *dcontext; /* [tokens][H] */
    real *dwide;    /* [tokens][F] */
    real *dqkv;     /* [tokens][3 H] */
    real *dscores;  /* [heads][pairs] */
    real *dc;       /* [sequences * heads] */
    real *dpooled;  /* [sequences][H] */
    real *dlogits;  /* [sequences][labels] */
};

/* Makes room for a batch; a zeroed struct is an empty one. backward: its buffers too. Contents are lost if it
 * grows. */
STATUS_MUST_USE enum status distill_state_reserve(struct distill_state *state,
                                                  const struct model_config *config,
                                                  const struct distill_batch *batch, bool backward);
void distill_state_clear(struct distill_state *state);

#endif
