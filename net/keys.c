#include "net/net.h"

#include <string.h>

#include <sodium.h>
#include <zmq.h>

enum status net_keygen(char public_key[NET_KEY_TEXT], char secret_key[NET_KEY_TEXT])
{
    if (zmq_curve_keypair(public_key, secret_key) != 0)
        return status_fail(STATUS_IO, "cannot make a key pair: %s (was ZeroMQ built with CURVE?)",
                           zmq_strerror(zmq_errno()));
    return STATUS_OK;
}

enum status net_public(char public_key[NET_KEY_TEXT], const char secret_key[NET_KEY_TEXT])
{
    unsigned char binary[32];
    bool valid = memchr(secret_key, '\0', NET_KEY_TEXT) == secret_key + NET_KEY_TEXT - 1 &&
                 zmq_z85_decode(binary, secret_key) != NULL;
    sodium_memzero(binary, sizeof binary);
    if (!valid)
        return status_fail(STATUS_INPUT,
                           "a secret key must be 40 characters of Z85 text; `trefoil keygen` makes one");
    if (zmq_curve_public(public_key, secret_key) != 0)
        return status_fail(STATUS_IO, "cannot derive a public key: %s", zmq_strerror(zmq_errno()));
    return STATUS_OK;
}
