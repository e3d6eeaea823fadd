#include "net/road.h"

#include <stdlib.h>
#include <string.h>

#include "ring/elementwise.h"

void net_round_init(struct net_round *round, struct net_session *session, int peer, uint32_t number)
{
    *round = (struct net_round){.session = session, .peer = peer, .number = number};
}

/* Whether this round goes over the session's fast link. */
static bool on_road(const struct net_round *round)
{
    return round->session->road != NULL && round->session->road->peer == round->peer;
}

static enum status queue_part(struct net_round *round, struct net_part part)
{
    if (round->count == round->capacity) {
        size_t capacity = round->capacity == 0 ? 8 : 2 * round->capacity;
        struct net_part *parts = realloc(round->parts, capacity * sizeof *parts);
        if (parts == NULL)
            return status_fail(STATUS_MEMORY, "out of memory for round %u", round->number);
        round->parts = parts;
        round->capacity = capacity;
    }
    if (round->count == 0)
        round->spread = 0;
    if (part.bytes == 0)
        part.row = part.stride = 1;
    round->parts[round->count++] = part;
    round->bytes += part.bytes;
    if (on_road(round))
        net_round_road_early(round);
    return STATUS_OK;
}

enum status net_round_queue(struct net_round *round, const void *send, void *receive, size_t bytes)
{
    return queue_part(
        round,
        (struct net_part){.send = send, .receive = receive, .bytes = bytes, .row = bytes, .stride = bytes});
}

enum status net_round_queue_sums(struct net_round *round, uint64_t *values, size_t rows, size_t columns,
                                 size_t stride)
{
    const size_t row = columns * sizeof *values;
    return queue_part(round, (struct net_part){.send = values,
                                               .receive = values,
                                               .bytes = rows * row,
                                               .row = row,
                                               .stride = stride * sizeof *values,
                                               .add = true});
}

enum status net_round_queue_sum(struct net_round *round, uint64_t *values, size_t count)
{
    return net_round_queue_sums(round, values, 1, count, count);
}

/* The frame comes in pieces that may cut a word, so words go through a buffer that stays in the nearest cache. */
static uint64_t add_words(const struct net_frame *frame, size_t at, uint64_t *values, size_t count)
{
    uint64_t word[1024], spread = 0;
    const size_t step = sizeof word / sizeof *word;
    for (size_t done = 0; done < count; done += step) {
        const size_t now = count - done < step ? count - done : step;
        net_frame_copy(frame, at + done * sizeof *word, word, now * sizeof *word);
        spread |= ring_add_words(values + done, word, now);
    }
    return spread;
}

/* All parts in one frame. */
static enum status send_parts(struct net_round *round)
{
    struct net_frame *frame = net_frame_sized(round->bytes);
    if (frame == NULL)
        return STATUS_MEMORY;
    unsigned char *to = zmq_msg_data(&frame->pieces[0]);
    for (size_t i = 0; i < round->count; i++) {
        const struct net_part *part = &round->parts[i];
        for (size_t at = 0, now; at < part->bytes; at += now, to += now) {
            now = part->bytes - at;
            const size_t from = net_part_at(part, at, &now);
            memcpy(to, (const unsigned char *)part->send + from, now);
        }
    }
    return net_send_frame(round->session, round->peer, NET_ROUND, round->number, frame);
}

static enum status run_over_curve(struct net_round *round)
{
    struct net_frame *frame = NULL;
    enum status status = send_parts(round);
    if (status == STATUS_OK)
        status =
            net_receive_frame(round->session, round->peer, NET_ROUND, round->number, round->bytes, &frame);
    if (status != STATUS_OK)
        return status;
    size_t from = 0;
    for (size_t i = 0; i < round->count; i++) {
        const struct net_part *part = &round->parts[i];
        for (size_t at = 0, now; at < part->bytes; at += now, from += now) {
            now = part->bytes - at;
            unsigned char *to = (unsigned char *)part->receive + net_part_at(part, at, &now);
            if (part->add)
                round->spread |= add_words(frame, from, (uint64_t *)(void *)to, now / sizeof(uint64_t));
            else
                net_frame_copy(frame, from, to, now);
        }
    }
    net_frame_free(frame);
    return STATUS_OK;
}

enum status net_round_run(struct net_round *round)
{
    const enum status status = on_road(round) ? net_round_road_run(round) : run_over_curve(round);
    if (status != STATUS_OK)
        return status_prefix(status, "round %u: ", round->number);
    round->session->counters.rounds++;
    round->count = round->bytes = 0;
    round->sealed = round->taken = (struct net_mark){0};
    round->begun = round->heard = false;
    return STATUS_OK;
}

void net_round_clear(struct net_round *round)
{
    free(round->parts);
    *round = (struct net_round){0};
}
