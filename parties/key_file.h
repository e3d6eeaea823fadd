/* Key files: FILE holds a secret key, FILE.pub the public key that belongs to it; each one line of 40
 * characters of Z85 text, as ZeroMQ writes CURVE keys. */
#ifndef TREFOIL_PARTIES_KEY_FILE_H
#define TREFOIL_PARTIES_KEY_FILE_H

#include "net/net.h"
#include "ring/status.h"

/* Makes a key pair: path (mode 0600) and path.pub. Neither may exist; if the second cannot be written the
 * first is removed again. public_key: a copy of what went into path.pub. */
STATUS_MUST_USE enum status key_file_make(const char *path, char public_key[NET_KEY_TEXT]);

/* STATUS_REFUSED if the file can be read by others than its owner, STATUS_INPUT if it holds no secret key.
 * secret_key may be NULL. Wiped by the caller. */
STATUS_MUST_USE enum status key_file_read(const char *path, char public_key[NET_KEY_TEXT],
                                          char secret_key[NET_KEY_TEXT]);

/* STATUS_INPUT where path.pub is there and holds another key: one of the two is not what its name says. */
STATUS_MUST_USE enum status key_file_check_pair(const char *path, const char public_key[NET_KEY_TEXT]);

/* STATUS_INPUT if the file holds a secret key, as the file beside it tells: both look alike. */
STATUS_MUST_USE enum status key_file_read_public(const char *path, char public_key[NET_KEY_TEXT]);

/* Whether a text can be a public key. */
STATUS_MUST_USE enum status key_check_public(const char *text);

#endif
