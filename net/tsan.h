/* Tells the thread sanitizer about hand-overs it cannot see.
 *
 * libzmq is not instrumented: a message that one thread sends and another receives (inproc) looks like a race
 * to the sanitizer, though the queue in between orders both. The sender releases, the receiver acquires the
 * address of the content, which is the same on both sides. Nothing is compiled in without the sanitizer. */
#ifndef TREFOIL_NET_TSAN_H
#define TREFOIL_NET_TSAN_H

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define NET_HANDED_OVER(address) __tsan_release(address)
#define NET_TAKEN_OVER(address) __tsan_acquire(address)
#else
#define NET_HANDED_OVER(address) ((void)(address))
#define NET_TAKEN_OVER(address) ((void)(address))
#endif

#endif
