#include "distill/encoder.h"

#include <string.h>

#include "distill/activation.h"
#include "distill/attention.h"
#include "distill/linear.h"
#include "distill/norm.h"

/* Where values are dropped, as words of the dropout key. */
enum site { SITE_EMBEDDING, SITE_WEIGHTS, SITE_ATTENTION, SITE_FFN };

static struct distill_dropout drop_at(const struct distill_noise *noise, unsigned layer, enum site site)
{
    double rate = site == SITE_WEIGHTS ? noise->attention : noise->hidden;
    return (struct distill_dropout){distill_random_key(noise->key, layer * 4u + (unsigned)site), rate};
}

static struct distill_attention_shape attention_of(const struct distill_weights *w, unsigned layer,
                                                   const struct distill_noise *noise)
{
    return (struct distill_attention_shape){
        .kind = w->config.attention,
        .hidden = (int)w->config.hidden,
        .heads = (int)w->config.heads,
        .c = w->layer[layer].quad_c,
        .fixed_c = (real)w->config.softmax_c,
        .drop = drop_at(noise, layer, SITE_WEIGHTS),
    };
}

/* hat[tokens][H] = word + position + type */
static void embed(real *hat, const struct distill_weights *w, const struct distill_batch *batch)
{
    size_t hidden = w->config.hidden;
#pragma omp parallel for schedule(static) if (batch->tokens * hidden >= DISTILL_PARALLEL_FROM)
    for (size_t sequence = 0; sequence < batch->sequences; sequence++)
        for (size_t at = batch->start[sequence]; at < batch->start[sequence + 1]; at++) {
            const real *word = w->word + batch->id[at] * hidden, *type = w->type + batch->type[at] * hidden;
            const real *position = w->position + (at - batch->start[sequence]) * hidden;
            for (size_t i = 0; i < hidden; i++)
                hat[at * hidden + i] = word[i] + position[i] + type[i];
        }
}

/* x[tokens][H] -> layer output, state->layer[n].out */
static void layer_forward(struct distill_state *state, unsigned n, const real *x,
                          const struct distill_weights *w, const struct distill_batch *batch,
                          const struct distill_noise *noise)
{
    struct distill_layer_state *s = &state->layer[n];
    const struct distill_layer *p = &w->layer[n];
    int hidden = (int)w->config.hidden, ffn = (int)w->config.ffn;
    double eps = (double)w->config.layer_norm_eps;
    struct distill_attention_shape attention = attention_of(w, n, noise);
    struct distill_dropout first = drop_at(noise, n, SITE_ATTENTION), second = drop_at(noise, n, SITE_FFN);
    distill_linear_forward(s->qkv, x, p->qkv_w, batch->tokens, hidden, 3 * hidden);
    distill_bias_add(s->qkv, p->qkv_b, batch->tokens, 3 * hidden);
    distill_attention_forward(s->context, s->scores, s->weights, state->scratch, s->qkv, &attention, batch);
    distill_linear_forward(s->hat1, s->context, p->output_w, batch->tokens, hidden, hidden);
    distill_norm_forward(s->mid, s->hat1, s->inverse1, s->hat1, p->output_b, x, p->norm1_g, p->norm1_b, eps,
                         &first, batch->tokens, hidden);
    distill_linear_forward(s->pre, s->mid, p->ffn1_w, batch->tokens, hidden, ffn);
    distill_activation_forward(s->act, s->pre, p->ffn1_b, p->quad, w->config.activation, batch->tokens, ffn);
    distill_linear_forward(s->hat2, s->act, p->ffn2_w, batch->tokens, ffn, hidden);
    distill_norm_forward(s->out, s->hat2, s->inverse2, s->hat2, p->ffn2_b, s->mid, p->norm2_g, p->norm2_b,
                         eps, &second, batch->tokens, hidden);
}

void distill_encoder_forward(struct distill_state *state, const struct distill_weights *weights,
                             const struct distill_batch *batch, const struct distill_noise *noise)
{
    int hidden = (int)weights->config.hidden;
    struct distill_dropout drop = drop_at(noise, weights->config.layers, SITE_EMBEDDING);
    embed(state->hat, weights, batch);
    distill_norm_forward(state->embedded, state->hat, state->inverse, state->hat, NULL, NULL, weights->norm_g,
                         weights->norm_b, (double)weights->config.layer_norm_eps, NULL, batch->tokens,
                         hidden);
    distill_dropout_apply(state->embedded, &drop, batch->tokens, hidden);
    for (unsigned n = 0; n < weights->config.layers; n++)
        layer_forward(state, n, n == 0 ? state->embedded : state->layer[n - 1].out, weights, batch, noise);
}

static real *last_hidden(const struct distill_state *state)
{
    return state->config.layers > 0 ? state->layer[state->config.layers - 1].out : state->embedded;
}

void distill_head_forward(struct distill_state *state, const struct distill_weights *weights,
                          const struct distill_batch *batch, const struct distill_noise *noise)
{
    size_t hidden = weights->config.hidden;
    const real *out = last_hidden(state);
    struct distill_dropout drop = drop_at(noise, weights->config.layers, SITE_FFN);
    for (size_t i = 0; i < batch->sequences; i++)
        memcpy(state->first + i * hidden, out + batch->start[i] * hidden, hidden * sizeof(real));
    distill_linear_forward(state->pooled, state->first, weights->pooler_w, batch->sequences, (int)hidden,
                           (int)hidden);
    distill_bias_add(state->pooled, weights->pooler_b, batch->sequences, (int)hidden);
    for (size_t i = 0; i < batch->sequences * hidden; i++)
        state->pooled[i] = (real)tanh((double)state->pooled[i]);
    memcpy(state->dropped, state->pooled, batch->sequences * hidden * sizeof(real));
    distill_dropout_apply(state->dropped, &drop, batch->sequences, (int)hidden);
    distill_linear_forward(state->logits, state->dropped, weights->head_w, batch->sequences, (int)hidden,
                           (int)weights->config.labels);
    distill_bias_add(state->logits, weights->head_b, batch->sequences, (int)weights->config.labels);
}

void distill_head_backward(struct distill_weights *gradients, struct distill_state *state,
                           const struct distill_weights *weights, const struct distill_batch *batch,
                           const struct distill_noise *noise)
{
    size_t hidden = weights->config.hidden;
    int labels = (int)weights->config.labels;
    real *dfirst = state->dbranch;
    struct distill_dropout drop = drop_at(noise, weights->config.layers, SITE_FFN);
    distill_column_sum(gradients->head_b, state->dlogits, batch->sequences, labels);
    distill_linear_backward(state->dpooled, 0, gradients->head_w, state->dlogits, state->dropped,
                            weights->head_w, batch->sequences, (int)hidden, labels);
    distill_dropout_apply(state->dpooled, &drop, batch->sequences, (int)hidden);
    for (size_t i = 0; i < batch->sequences * hidden; i++)
        state->dpooled[i] *= 1 - state->pooled[i] * state->pooled[i];
    distill_column_sum(gradients->pooler_b, state->dpooled, batch->sequences, (int)hidden);
    distill_linear_backward(dfirst, 0, gradients->pooler_w, state->dpooled, state->first, weights->pooler_w,
                            batch->sequences, (int)hidden, (int)hidden);
    memset(state->dhidden, 0, batch->tokens * hidden * sizeof(real));
    for (size_t i = 0; i < batch->sequences; i++)
        memcpy(state->dhidden + batch->start[i] * hidden, dfirst + i * hidden, hidden * sizeof(real));
}

/* Adds the pull of stage 1 on a layer's hidden state to dhidden; the top layer's is the first there. */
static double pull(struct distill_state *state, const real *out, const real *wanted, double weight, bool top,
                   const struct distill_batch *batch)
{
    size_t n = batch->tokens * state->config.hidden;
    return distill_loss_difference(state->dhidden, top ? 0 : 1, (real)(2 * weight / (double)n), out, wanted,
                                   n) /
           (double)n;
}

/* dhidden: from the layer's output to its input. */
static void layer_backward(struct distill_weights *gradients, struct distill_state *state, unsigned n,
                           const real *x, const struct distill_weights *w, const struct distill_batch *batch,
                           const struct distill_noise *noise, const real *dscores,
                           const struct distill_spread *spread)
{
    struct distill_layer_state *s = &state->layer[n];
    const struct distill_layer *p = &w->layer[n];
    struct distill_layer *g = &gradients->layer[n];
    int hidden = (int)w->config.hidden, ffn = (int)w->config.ffn;
    size_t tokens = batch->tokens;
    real *d = state->dhidden, *spare = noise->hidden > 0 ? state->dbranch : NULL;
    const real *branch = spare != NULL ? spare : d; /* without dropout both paths have the same gradient */
    struct distill_attention_shape attention = attention_of(w, n, noise);
    struct distill_dropout first = drop_at(noise, n, SITE_ATTENTION), second = drop_at(noise, n, SITE_FFN);
    distill_norm_backward(d, spare, g->norm2_g, g->norm2_b, g->ffn2_b, d, s->hat2, s->inverse2, p->norm2_g,
                          &second, spread, tokens, hidden);
    distill_linear_backward(state->dwide, 0, g->ffn2_w, branch, s->act, p->ffn2_w, tokens, ffn, hidden);
    distill_activation_backward(state->dwide, g->ffn1_b, g->quad, s->pre, p->quad, w->config.activation,
                                tokens, ffn);
    distill_linear_backward(d, 1, g->ffn1_w, state->dwide, s->mid, p->ffn1_w, tokens, hidden, ffn);
    distill_norm_backward(d, spare, g->norm1_g, g->norm1_b, g->output_b, d, s->hat1, s->inverse1, p->norm1_g,
                          &first, spread, tokens, hidden);
    distill_linear_backward(state->dcontext, 0, g->output_w, branch, s->context, p->output_w, tokens, hidden,
                            hidden);
    distill_attention_backward(state->dqkv, g->quad_c, state->dc, state->scratch, state->dcontext, dscores,
                               s->qkv, s->scores, s->weights, &attention, batch);
    distill_column_sum(g->qkv_b, state->dqkv, tokens, 3 * hidden);
    distill_linear_backward(d, 1, g->qkv_w, state->dqkv, x, p->qkv_w, tokens, hidden, 3 * hidden);
}

/* Spreads dhidden over the three embedding tables. One thread, in the order of the tokens: rows repeat. */
static void embed_backward(struct distill_weights *gradients, const real *d,
                           const struct distill_batch *batch)
{
    size_t hidden = gradients->config.hidden;
    for (size_t sequence = 0; sequence < batch->sequences; sequence++)
        for (size_t at = batch->start[sequence]; at < batch->start[sequence + 1]; at++) {
            real *word = gradients->word + batch->id[at] * hidden,
                 *type = gradients->type + batch->type[at] * hidden;
            real *position = gradients->position + (at - batch->start[sequence]) * hidden;
            const real *row = d + at * hidden;
            for (size_t i = 0; i < hidden; i++)
                word[i] += row[i];
            for (size_t i = 0; i < hidden; i++)
                position[i] += row[i];
            for (size_t i = 0; i < hidden; i++)
                type[i] += row[i];
        }
}

void distill_encoder_backward(struct distill_weights *gradients, struct distill_state *state,
                              const struct distill_weights *weights, const struct distill_batch *batch,
                              const struct distill_noise *noise, struct distill_match *match,
                              const struct distill_spread *spread)
{
    size_t scores = batch->pairs * weights->config.heads;
    unsigned layers = weights->config.layers;
    struct distill_dropout drop = drop_at(noise, layers, SITE_EMBEDDING);
    if (match != NULL)
        match->embedding_loss = match->hidden_loss = match->score_loss = 0;
    for (unsigned n = layers; n-- > 0;) {
        if (match != NULL) {
            match->hidden_loss += pull(state, state->layer[n].out, match->teacher->layer[n].out,
                                       match->hidden, n == layers - 1, batch);
            match->score_loss +=
                distill_loss_difference(state->dscores, 0, (real)(2 * match->score / (double)scores),
                                        state->layer[n].scores, match->teacher->layer[n].scores, scores) /
                (double)scores;
        }
        layer_backward(gradients, state, n, n == 0 ? state->embedded : state->layer[n - 1].out, weights,
                       batch, noise, match != NULL ? state->dscores : NULL, spread);
    }
    if (match != NULL)
        match->embedding_loss =
            pull(state, state->embedded, match->teacher->embedded, match->embedding, layers == 0, batch);
    distill_dropout_apply(state->dhidden, &drop, batch->tokens, (int)weights->config.hidden);
    distill_norm_backward(state->dhidden, NULL, gradients->norm_g, gradients->norm_b, NULL, state->dhidden,
                          state->hat, state->inverse, weights->norm_g, NULL, NULL, batch->tokens,
                          (int)weights->config.hidden);
    embed_backward(gradients, state->dhidden, batch);
}
