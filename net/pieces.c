#include "net/frame.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "net/tsan.h"

/* A payload whose pieces are on their way, each in a message of its own. */
struct shared {
    atomic_size_t left;
    zmq_msg_t whole;
};

/* Called by any of libzmq's threads. */
static void release(void *data, void *argument)
{
    struct shared *shared = argument;
    NET_TAKEN_OVER(data);
    if (atomic_fetch_sub(&shared->left, 1) != 1)
        return;
    zmq_msg_close(&shared->whole);
    free(shared);
}

bool net_pieces_send(void *socket, zmq_msg_t *payload)
{
    struct shared *shared = malloc(sizeof *shared);
    if (shared == NULL)
        return false;
    size_t bytes = zmq_msg_size(payload), count = net_pieces(bytes);
    atomic_init(&shared->left, count);
    zmq_msg_init(&shared->whole);
    zmq_msg_move(&shared->whole, payload);
    unsigned char *data = zmq_msg_data(&shared->whole);
    bool sent = true;
    for (size_t i = 0; i < count; i++) {
        zmq_msg_t piece;
        size_t part = i + 1 < count ? NET_PIECE : bytes - i * NET_PIECE;
        if (zmq_msg_init_data(&piece, data + i * NET_PIECE, part, release, shared) != 0) {
            release(data + i * NET_PIECE, shared);
            zmq_msg_init(&piece); /* out of memory: the message must still end, the receiver refuses it */
        }
        NET_HANDED_OVER(data + i * NET_PIECE);
        if (zmq_msg_send(&piece, socket, ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0)) < 0) {
            sent = false; /* the link is gone; the rest is dropped, but has to be offered up to its end */
            zmq_msg_close(&piece);
        }
    }
    return sent;
}
