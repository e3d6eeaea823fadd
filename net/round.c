#include "net/road.h"

#include <stdlib.h>
#include <string.h>

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
    round->parts[round->count++] = part;
    round->bytes += part.bytes;
    if (on_road(round))
        net_round_road_early(round);
    return STATUS_OK;
}

enum status net_round_queue(struct net_round *round, const void *send, void *receive, size_t bytes)
{
    return queue_part(round, (struct net_part){.send = send, .receive = receive, .bytes = bytes});
}

enum status net_round_queue_sum(struct net_round *round, uint64_t *values, size_t count)
{
    return queue_part(
        round,
        (struct net_part){.send = values, .receive = values, .bytes = count * sizeof *values, .add = true});
}

/* The frame comes in pieces that may cut a word, so words go through a buffer that stays in the nearest cache. */
static void add_words(const struct net_frame *frame, size_t at, uint64_t *values, size_t count)
{
    uint64_t word[1024];
    const size_t step = sizeof word / sizeof *word;
    for (size_t done = 0; done < count; done += step) {
        const size_t now = count - done < step ? count - done : step;
        net_frame_copy(frame, at + done * sizeof *word, word, now * sizeof *word);
        for (size_t i = 0; i < now; i++)
            values[done + i] += word[i];
    }
}

/* All parts in one frame. */
static enum status send_parts(struct net_round *round)
{
    struct net_frame *frame = net_frame_sized(round->bytes);
    if (frame == NULL)
        return STATUS_MEMORY;
    unsigned char *at = zmq_msg_data(&frame->pieces[0]);
    for (size_t i = 0; i < round->count; at += round->parts[i++].bytes)
        if (round->parts[i].bytes > 0)
            memcpy(at, round->parts[i].send, round->parts[i].bytes);
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
    size_t at = 0;
    for (size_t i = 0; i < round->count; at += round->parts[i++].bytes)
        if (round->parts[i].add)
            add_words(frame, at, round->parts[i].receive, round->parts[i].bytes / sizeof(uint64_t));
        else
            net_frame_copy(frame, at, round->parts[i].receive, round->parts[i].bytes);
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
