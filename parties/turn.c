#include "parties/turn.h"

void turn_init(struct turn *t)
{
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->moved, NULL);
    t->next = t->now = 0;
}

void turn_clear(struct turn *t)
{
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->moved);
}

void turn_begin(struct turn *t)
{
    pthread_mutex_lock(&t->lock);
    const uint64_t ticket = t->next++;
    while (t->now != ticket)
        pthread_cond_wait(&t->moved, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void turn_end(struct turn *t)
{
    pthread_mutex_lock(&t->lock);
    t->now++;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
}

bool turn_wanted(struct turn *t)
{
    pthread_mutex_lock(&t->lock);
    const bool wanted = t->next - t->now > 1;
    pthread_mutex_unlock(&t->lock);
    return wanted;
}
