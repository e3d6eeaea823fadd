#include "tests/net/evaluators.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

void evaluators_open(struct evaluators *e)
{
    if (e->cluster.timeout_ms == 0) {
        cluster_init(&e->cluster);
        e->cluster.timeout_ms = 10000;
        e->cluster.fast_links[P1] = e->cluster.fast_links[P2] = true;
        strcpy(e->cluster.members[P1].bind, "tcp://127.0.0.1:*");
    }
    e->hub[0] = cluster_open(&e->cluster, P1, 0);
    e->hub[1] = cluster_open(&e->cluster, P2, 1u << P1);
}

void evaluators_close(struct evaluators *e)
{
    net_hub_close(&e->hub[1]);
    net_hub_close(&e->hub[0]);
}

void pair_open_slow(struct pair *p, struct evaluators *e)
{
    *p = (struct pair){.owner = e, .why = {"", ""}};
    p->peer[0] = net_hub_peer(e->hub[0], NET_ROLE_P2);
    p->peer[1] = net_hub_peer(e->hub[1], NET_ROLE_P1);
    session_pair(e->hub[0], e->hub[1], &p->session[0], &p->session[1]);
    net_session_bundle(p->session[0], 7);
    net_session_bundle(p->session[1], 7);
}

static void make_fast(struct pair *p, int which)
{
    p->status[which] = net_session_fast(p->session[which], p->peer[which], &p->why[which]);
    if (p->status[which] != STATUS_OK)
        status_copy(p->message[which], sizeof p->message[which]);
}

static void *make_second_fast(void *pair)
{
    make_fast(pair, 1);
    return NULL;
}

void pair_make_fast(struct pair *p)
{
    pthread_t thread;
    pthread_create(&thread, NULL, make_second_fast, p);
    make_fast(p, 0);
    pthread_join(thread, NULL);
}

void pair_open(struct pair *p, struct evaluators *e)
{
    pair_open_slow(p, e);
    pair_make_fast(p);
    for (int i = 0; i < 2; i++)
        ck_assert_msg(p->status[i] == STATUS_OK, "%s", p->message[i]);
}

void pair_close(struct pair *p)
{
    net_session_close(&p->session[0]);
    net_session_close(&p->session[1]);
}

uint64_t side_word(int which, uint32_t number, size_t i)
{
    return (i + 1) * (which ? 0x9e3779b97f4a7c15u : 0xc2b2ae3d27d4eb4fu) + number;
}

void side_init(struct side *s, struct pair *p, int which, uint32_t number, size_t indices, size_t words,
               size_t cut)
{
    *s = (struct side){
        .pair = p, .which = which, .number = number, .indices = indices, .words = words, .cut = cut};
    s->value = malloc((words + 1) * sizeof *s->value);
    s->index = calloc(2 * indices + 1, sizeof *s->index);
    for (size_t i = 0; i < words; i++)
        s->value[i] = side_word(which, number, i);
    for (size_t i = 0; i < indices; i++)
        s->index[indices + i] = (uint16_t)(i * 31 + (size_t)which);
}

void *side_run(void *argument)
{
    struct side *s = argument;
    struct net_round round;
    const size_t step = s->cut > 0 ? s->cut : s->words;
    net_round_init(&round, s->pair->session[s->which], s->pair->peer[s->which], s->number);
    s->status = net_round_queue(&round, s->index + s->indices, s->index, s->indices * sizeof *s->index);
    for (size_t i = 0; s->status == STATUS_OK && i < s->words; i += step)
        s->status = net_round_queue_sum(&round, s->value + i, s->words - i < step ? s->words - i : step);
    usleep(1000 * s->delay_ms);
    if (s->status == STATUS_OK)
        s->status = net_round_run(&round);
    if (s->status != STATUS_OK)
        status_copy(s->message, sizeof s->message);
    net_round_clear(&round);
    return NULL;
}

void side_clear(struct side *s)
{
    free(s->value);
    free(s->index);
}

static void run_both(struct side side[2])
{
    pthread_t thread;
    pthread_create(&thread, NULL, side_run, &side[1]);
    side_run(&side[0]);
    pthread_join(thread, NULL);
}

void pair_round(struct pair *p, uint32_t number, size_t indices, size_t words, size_t cut_p1, size_t cut_p2)
{
    struct side side[2];
    side_init(&side[0], p, 0, number, indices, words, cut_p1);
    side_init(&side[1], p, 1, number, indices, words, cut_p2);
    run_both(side);
    for (int s = 0; s < 2; s++) {
        size_t wrong = 0;
        ck_assert_msg(side[s].status == STATUS_OK, "%s", side[s].message);
        for (size_t i = 0; i < words; i++)
            wrong += side[s].value[i] != side_word(0, number, i) + side_word(1, number, i);
        for (size_t i = 0; i < indices; i++)
            wrong += side[s].index[i] != (uint16_t)(i * 31 + (size_t)!s);
        ck_assert_uint_eq(wrong, 0);
        side_clear(&side[s]);
    }
}

void pair_try(struct pair *p, uint32_t number, size_t words)
{
    struct side side[2];
    for (int s = 0; s < 2; s++)
        side_init(&side[s], p, s, number, 0, words, 0);
    run_both(side);
    for (int s = 0; s < 2; s++) {
        p->status[s] = side[s].status;
        memcpy(p->message[s], side[s].message, sizeof p->message[s]);
        side_clear(&side[s]);
    }
}
