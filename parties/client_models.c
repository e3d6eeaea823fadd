/* Which models the parties hold: choosing one, removing one.
 *
 * A party may hold a model that another one lacks: a share that was interrupted as it ended, a store that was replaced. */
#include <stdio.h>
#include <string.h>

#include "parties/client_session.h"
#include "ring/clock.h"

/* What one party holds of the models asked for. */
struct held {
    struct net_session *session;
    struct description newest;
    json_t *reply; /* "ids", newest last */
};

static json_t *held_ids(const struct held *h)
{
    return json_object_get(h->reply, "ids");
}

static enum status ask(struct client *c, int party, const char *model, struct held *out)
{
    json_t *request = json_pack("{s:s}", "op", "describe");
    memset(out, 0, sizeof *out);
    /* Left out it would be the model shared last: another one. */
    if (model && json_object_set_new(request, "model", json_string(model)) != 0) {
        json_decref(request);
        return status_fail(STATUS_INPUT, "the name of a model is UTF-8 text; this is none");
    }
    return client_ask(c, 1u << party, request, &out->session);
}

static enum status answer(struct client *c, int party, struct held *h)
{
    const char *from = net_hub_peer_name(c->hub, c->party[party]), *text = NULL;
    enum status status = client_reply(c, h->session, party, &h->reply);
    if (status == STATUS_OK)
        status = message_text(h->reply, from, "description", &text);
    if (status == STATUS_OK && !json_array_size(held_ids(h)))
        status = status_fail(STATUS_PEER, "%s sent a message without a usable \"ids\"", from);
    return status == STATUS_OK ? description_read(&h->newest, text) : status;
}

static void clear(struct held *h)
{
    net_session_close(&h->session);
    description_clear(&h->newest);
    json_decref(h->reply);
    memset(h, 0, sizeof *h);
}

static const char *newest_id(const struct held *h)
{
    const char *id = json_string_value(json_array_get(held_ids(h), json_array_size(held_ids(h)) - 1));
    return id ? id : "";
}

static bool holds(const struct held *h, const json_t *id)
{
    for (size_t i = 0; i < json_array_size(held_ids(h)); i++)
        if (json_equal(json_array_get(held_ids(h), i), id))
            return true;
    return false;
}

/* The newest model of P1 that the others hold, too; NULL if there is none. */
static const char *newest_of_all(const struct held h[3])
{
    for (size_t i = json_array_size(held_ids(&h[1])); i-- > 0;) {
        const json_t *id = json_array_get(held_ids(&h[1]), i);
        if (holds(&h[0], id) && holds(&h[2], id))
            return json_string_value(id);
    }
    return NULL;
}

static enum status none_at_all(const struct client *c, const struct held h[3], const char *model)
{
    char text[3][NET_NAME_MAX + 100] = {"", "", ""};
    for (int party = 0; party < 3; party++)
        if (h[party].reply)
            snprintf(text[party], sizeof text[party], "%s%s holds %s (%.12s)", party ? ", " : "",
                     net_hub_peer_name(c->hub, c->party[party]), h[party].newest.name, newest_id(&h[party]));
    return status_fail(STATUS_FOREIGN,
                       "no model%s%.80s is at all parties: %s%s%s; share it again, or choose another one "
                       "with --name (trefoil status lists them)",
                       model ? " called " : "", model ? model : "", text[0], text[1], text[2]);
}

static void take_newest(struct held *h, struct description *out)
{
    *out = h->newest;
    memset(&h->newest, 0, sizeof h->newest);
}

/* The description of a model by its whole id, from a party that holds it: its hash must be that id. */
static enum status describe(struct client *c, int party, struct held *h, const char *hex,
                            struct description *out, unsigned char id[MODEL_ID_BYTES])
{
    struct held again = {0};
    enum status status = STATUS_OK;
    if (strcmp(newest_id(h), hex) == 0) {
        take_newest(h, out);
    } else {
        status = ask(c, party, hex, &again);
        if (status == STATUS_OK)
            status = answer(c, party, &again);
        if (status == STATUS_OK)
            take_newest(&again, out);
        clear(&again);
    }
    if (status == STATUS_OK)
        status = description_id(out, id);
    json_t *hash = status == STATUS_OK ? message_hex_new(id, MODEL_ID_BYTES) : NULL;
    if (status == STATUS_OK && (!hash || strcmp(json_string_value(hash), hex) != 0))
        status = status_fail(STATUS_FOREIGN, "%s gives the description of another model than %.12s",
                             net_hub_peer_name(c->hub, c->party[party]), hex);
    json_decref(hash);
    if (status != STATUS_OK)
        description_clear(out);
    return status;
}

static enum status ask_all(struct client *c, const char *model, struct held h[3])
{
    enum status status = STATUS_OK;
    for (int party = 0; status == STATUS_OK && party < 3; party++)
        status = ask(c, party, model, &h[party]);
    return status;
}

static void clear_all(struct held h[3])
{
    for (int party = 0; party < 3; party++)
        clear(&h[party]);
}

static enum status describe_once(struct client *c, const char *model, struct description *out,
                                 unsigned char id[MODEL_ID_BYTES])
{
    struct held h[3] = {{0}};
    memset(out, 0, sizeof *out);
    enum status status = ask_all(c, model, h);
    if (status == STATUS_OK)
        status = answer(c, 1, &h[1]);
    if (status == STATUS_OK)
        status = answer(c, 2, &h[2]);
    if (status == STATUS_OK) {
        status = answer(c, 0, &h[0]);
        status = status == STATUS_INPUT ? STATUS_OK : status; /* it holds none of them: told with what the others hold */
    }
    const char *hex = status == STATUS_OK ? newest_of_all(h) : NULL;
    if (status == STATUS_OK)
        status = hex ? describe(c, 1, &h[1], hex, out, id) : none_at_all(c, h, model);
    clear_all(h);
    return status;
}

enum status client_describe(struct client *c, const char *model, struct description *out,
                            unsigned char id[MODEL_ID_BYTES])
{
    const double start = clock_seconds();
    unsigned tries = 0;
    enum status status;
    do
        status = describe_once(c, model, out, id);
    while (client_again(c, status, start, &tries));
    return status;
}

enum status client_describe_for(struct client *c, const char *folder, const char *model,
                                struct description *out, unsigned char id[MODEL_ID_BYTES])
{
    char own[MODEL_ID_TEXT_BYTES] = "", why[512];
    memset(out, 0, sizeof *out);
    enum status status = folder && !model ? model_read_id(own, folder) : STATUS_OK;
    if (status == STATUS_OK)
        status = client_describe(c, own[0] ? own : model, out, id);
    if (!own[0] || (status != STATUS_INPUT && status != STATUS_FOREIGN))
        return status;
    status_copy(why, sizeof why);
    return status_fail(
        STATUS_FOREIGN,
        "%s was exported for the model %.12s, which not all parties hold (%s): if it was removed or "
        "shared again, take the folder that its owner exported then, or choose a model with --name",
        folder, own, why);
}

/* ---- remove ---- */

/* The newest that all hold; if there is none, the newest that any holds: P1's, P2's, P0's. */
static enum status choose(struct client *c, struct held h[3], struct description *out,
                          unsigned char id[MODEL_ID_BYTES])
{
    const char *hex = newest_of_all(h);
    int party = 1;
    for (int i = 0; !hex && i < 3; i++) {
        party = (i + 1) % 3;
        hex = h[party].reply ? newest_id(&h[party]) : NULL;
    }
    return describe(c, party, &h[party], hex, out, id);
}

enum status client_find(struct client *c, const char *model, struct description *out,
                        unsigned char id[MODEL_ID_BYTES])
{
    struct held h[3] = {{0}};
    int without = 0;
    memset(out, 0, sizeof *out);
    enum status status = ask_all(c, model, h);
    for (int party = 0; status == STATUS_OK && party < 3; party++) {
        status = answer(c, party, &h[party]);
        if (status == STATUS_INPUT && ++without < 3) {
            clear(&h[party]);
            status = STATUS_OK;
        }
    }
    if (status == STATUS_OK)
        status = choose(c, h, out, id);
    clear_all(h);
    return status;
}

enum status client_remove(struct client *c, const unsigned char id[MODEL_ID_BYTES])
{
    struct net_session *session = NULL;
    bool removed = false;
    enum status status = client_ask(
        c, 7, json_pack("{s:s, s:o}", "op", "remove", "model", message_hex_new(id, MODEL_ID_BYTES)),
        &session);
    for (int i = 0; status == STATUS_OK && i < 3; i++) {
        json_t *reply = NULL;
        status = client_reply(c, session, i, &reply);
        removed |= json_is_true(json_object_get(reply, "removed"));
        json_decref(reply);
    }
    if (status == STATUS_OK && !removed)
        status = status_fail(STATUS_INPUT, "no party holds this model: see trefoil status");
    net_session_close(&session);
    return status;
}
