#include "net/frame.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

static const char magic[4] = {'T', 'R', 'E', 'F'};

struct net_frame *net_frame_new(size_t count)
{
    struct net_frame *frame = calloc(1, sizeof *frame + count * sizeof frame->pieces[0]);
    if (frame == NULL)
        return NULL;
    frame->count = count;
    for (size_t i = 0; i < count; i++)
        zmq_msg_init(&frame->pieces[i]);
    return frame;
}

void net_frame_free(struct net_frame *frame)
{
    if (frame == NULL)
        return;
    for (size_t i = 0; i < frame->count; i++) {
        if (frame->wipe)
            sodium_memzero(zmq_msg_data(&frame->pieces[i]), zmq_msg_size(&frame->pieces[i]));
        zmq_msg_close(&frame->pieces[i]);
    }
    free(frame);
}

void net_frame_copy(const struct net_frame *frame, size_t offset, void *out, size_t bytes)
{
    unsigned char *to = out;
    for (size_t i = offset / NET_PIECE, skip = offset % NET_PIECE; bytes > 0; i++, skip = 0) {
        zmq_msg_t *piece = (zmq_msg_t *)&frame->pieces[i];
        size_t part = zmq_msg_size(piece) - skip < bytes ? zmq_msg_size(piece) - skip : bytes;
        memcpy(to, (const unsigned char *)zmq_msg_data(piece) + skip, part);
        to += part;
        bytes -= part;
    }
}

enum status net_frame_text(const struct net_frame *frame, char **text, const char *peer)
{
    size_t bytes = frame->header.length;
    char *copy = malloc(bytes + 1);
    if (copy == NULL)
        return status_fail(STATUS_MEMORY, "out of memory for a text of %zu bytes", bytes);
    net_frame_copy(frame, 0, copy, bytes);
    copy[bytes] = '\0';
    if (strlen(copy) != bytes) {
        free(copy);
        return status_fail(STATUS_PEER, "%s sent a %s with a zero byte in it", peer,
                           net_kind_name(frame->header.kind));
    }
    *text = copy;
    return STATUS_OK;
}

bool net_arrival_fits(const struct net_arrival *arrival, uint64_t length)
{
    if (arrival->bytes != length || arrival->count != net_pieces((size_t)length))
        return false;
    for (size_t i = 0; i + 1 < arrival->count; i++)
        if (zmq_msg_size(&arrival->pieces[i]) != NET_PIECE)
            return false;
    return true;
}

void net_arrival_clear(struct net_arrival *arrival)
{
    zmq_msg_close(&arrival->route);
    zmq_msg_close(&arrival->header);
    zmq_msg_init(&arrival->route);
    zmq_msg_init(&arrival->header);
    for (size_t i = 0; i < arrival->count; i++)
        zmq_msg_close(&arrival->pieces[i]);
    arrival->count = arrival->bytes = 0;
    arrival->broken = false;
}

void net_frame_push(struct net_frame_list *list, struct net_frame *frame)
{
    frame->next = NULL;
    if (list->first == NULL)
        list->first = frame;
    else
        list->last->next = frame;
    list->last = frame;
    list->bytes += frame->header.length + NET_FRAME_COST;
}

struct net_frame *net_frame_pop(struct net_frame_list *list)
{
    struct net_frame *frame = list->first;
    if (frame != NULL) {
        list->first = frame->next;
        list->bytes -= frame->header.length + NET_FRAME_COST;
    }
    return frame;
}

void net_frame_clear(struct net_frame_list *list)
{
    struct net_frame *frame;
    while ((frame = net_frame_pop(list)) != NULL)
        net_frame_free(frame);
}

void net_put(unsigned char *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * i));
}

uint64_t net_get(const unsigned char *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

void net_header_write(unsigned char out[NET_HEADER_BYTES], const struct net_header *header)
{
    memset(out, 0, NET_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    out[4] = NET_VERSION;
    out[5] = header->kind;
    memcpy(out + 8, header->session.bytes, NET_SESSION_BYTES);
    net_put(out + 24, header->serial, 8);
    net_put(out + 32, header->label, 4);
    net_put(out + 40, header->length, 8);
    net_put(out + 48, header->sequence, 8);
    net_put(out + 56, header->epoch, 8);
}

enum net_header_fault net_header_read(struct net_header *header, const void *data, size_t bytes)
{
    const unsigned char *in = data;
    memset(header, 0, sizeof *header);
    if (bytes != NET_HEADER_BYTES || memcmp(in, magic, sizeof magic) != 0)
        return NET_HEADER_FOREIGN;
    header->kind = in[5];
    if (in[4] != NET_VERSION)
        return NET_HEADER_VERSION;
    memcpy(header->session.bytes, in + 8, NET_SESSION_BYTES);
    header->serial = net_get(in + 24, 8);
    header->label = (uint32_t)net_get(in + 32, 4);
    header->length = net_get(in + 40, 8);
    header->sequence = net_get(in + 48, 8);
    header->epoch = net_get(in + 56, 8);
    if (net_get(in + 6, 2) != 0 || net_get(in + 36, 4) != 0)
        return NET_HEADER_BROKEN;
    if (header->kind == 0 || header->kind >= NET_KINDS || header->epoch == 0)
        return NET_HEADER_BROKEN;
    return NET_HEADER_GOOD;
}

bool net_kind_secret(unsigned kind)
{
    return kind == NET_SEED || kind == NET_DEAL || kind == NET_INPUT || kind == NET_OUTPUT;
}

const char *net_kind_name(unsigned kind)
{
    static const char *const names[NET_KINDS] = {
        [NET_HELLO] = "hello", [NET_REQUEST] = "request", [NET_REPLY] = "reply",
        [NET_ERROR] = "error", [NET_CONTROL] = "control", [NET_SEED] = "seed",
        [NET_DEAL] = "deal",   [NET_WEIGHT] = "weight",   [NET_INPUT] = "input",
        [NET_ROUND] = "round", [NET_OUTPUT] = "output",   [NET_ROAD] = "fast link",
    };
    return kind < NET_KINDS && names[kind] != NULL ? names[kind] : "unknown";
}

int64_t net_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void net_deadline(struct timespec *end, int wait_ms)
{
    if (wait_ms < 0)
        wait_ms = 0;
    clock_gettime(CLOCK_MONOTONIC, end);
    end->tv_sec += wait_ms / 1000;
    end->tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (end->tv_nsec >= 1000000000) {
        end->tv_sec++;
        end->tv_nsec -= 1000000000;
    }
}

void net_printable(char *out, size_t size, const void *text, size_t bytes)
{
    const unsigned char *in = text;
    size_t used = 0;
    for (; used < bytes && used + 1 < size; used++)
        out[used] = in[used] >= 0x20 && in[used] < 0x7f ? (char)in[used] : '?';
    out[used] = '\0';
}
