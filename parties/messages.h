/* JSON messages of a session: requests, replies, and what the parties agree on. No message holds a secret; secrets
 * travel in frames of their own kinds (seeds, weights, inputs, openings, outputs). */
#ifndef TREFOIL_PARTIES_MESSAGES_H
#define TREFOIL_PARTIES_MESSAGES_H

#include <jansson.h>

#include "net/net.h"

#define MESSAGE_MAX (4u << 20) /* bytes of the largest text accepted */

/* For sessions that deal or share: a peer may rightly be silent while another one's line is busy with a bundle or a model, or
 * while others deal first. Only with peers that were heard of in the session: one that is gone is then noticed by the link, and
 * one that failed says so. */
#define MESSAGE_PATIENCE_MS (6 * 3600 * 1000)
#define MESSAGE_WHILE_MS (600 * 1000) /* as long as one weight may take on a slow line */

/* Sends and releases message (NULL: out of memory). */
STATUS_MUST_USE enum status message_send(struct net_session *session, int peer, enum net_kind kind, json_t *message);
/* An object, for the caller to release. */
STATUS_MUST_USE enum status message_receive(struct net_session *session, int peer, enum net_kind kind, json_t **out);
STATUS_MUST_USE enum status message_parse(const char *text, const char *from, json_t **out);

/* Fields of a peer's message; STATUS_PEER names the field. from: the peer's name. */
STATUS_MUST_USE enum status message_number(const json_t *message, const char *from, const char *field, uint64_t most,
                                           uint64_t *out);
STATUS_MUST_USE enum status message_hex(const json_t *message, const char *from, const char *field, unsigned char *out,
                                        size_t bytes);
STATUS_MUST_USE enum status message_text(const json_t *message, const char *from, const char *field, const char **out);

/* A new JSON string. */
json_t *message_hex_new(const unsigned char *data, size_t bytes);

#endif
