#include "parties/messages.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum status message_send(struct net_session *session, int peer, enum net_kind kind, json_t *message)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (!text)
        return status_fail(STATUS_MEMORY, "out of memory for a message");
    const enum status status = net_send(session, peer, kind, 0, text, strlen(text));
    free(text);
    return status;
}

enum status message_parse(const char *text, const char *from, json_t **out)
{
    json_error_t error;
    *out = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(*out))
        return STATUS_OK;
    json_decref(*out);
    *out = NULL;
    return status_fail(STATUS_PEER, "%s sent a message that is not a JSON object", from);
}

enum status message_receive(struct net_session *session, int peer, enum net_kind kind, json_t **out)
{
    char *text = NULL;
    *out = NULL;
    enum status status = net_receive_text(session, peer, kind, &text, MESSAGE_MAX);
    if (status == STATUS_OK)
        status = message_parse(text, "a peer", out);
    free(text);
    return status;
}

static enum status refuse(const char *from, const char *field)
{
    return status_fail(STATUS_PEER, "%s sent a message without a usable \"%s\"", from, field);
}

enum status message_number(const json_t *message, const char *from, const char *field, uint64_t most, uint64_t *out)
{
    const json_t *value = json_object_get(message, field);
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > most)
        return refuse(from, field);
    *out = (uint64_t)json_integer_value(value);
    return STATUS_OK;
}

enum status message_hex(const json_t *message, const char *from, const char *field, unsigned char *out, size_t bytes)
{
    const char *text = json_string_value(json_object_get(message, field));
    size_t written = 0;
    if (!text || sodium_hex2bin(out, bytes, text, strlen(text), NULL, &written, NULL) != 0 || written != bytes)
        return refuse(from, field);
    return STATUS_OK;
}

enum status message_text(const json_t *message, const char *from, const char *field, const char **out)
{
    *out = json_string_value(json_object_get(message, field));
    return *out ? STATUS_OK : refuse(from, field);
}

json_t *message_hex_new(const unsigned char *data, size_t bytes)
{
    char text[129];
    if (bytes > (sizeof text - 1) / 2)
        return NULL;
    sodium_bin2hex(text, sizeof text, data, bytes);
    return json_string(text);
}
