/* Signals held back in the calling thread, and in all that it makes meanwhile. */
#ifndef TREFOIL_RING_SIGNALS_H
#define TREFOIL_RING_SIGNALS_H

#include <signal.h>

/* Returns what signals_release puts back. */
static inline sigset_t signals_hold(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return before;
}

static inline void signals_release(sigset_t before)
{
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

#endif
