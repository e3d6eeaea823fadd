/* Results of functions that can fail, and the message that goes with a failure.
 *
 * Every function that can fail returns an enum status; 0 is success. The code says which kind of thing
 * went wrong, so that callers can act on it; the message says what happened, where, and what the user
 * can do, and stays readable until the same thread fails again. ZeroMQ, LMDB and errno codes are
 * translated once, in the wrapper that calls them.
 *
 * Nothing secret may be put into a message: no share, mask, key, weight, text or logit. */
#ifndef TREFOIL_RING_STATUS_H
#define TREFOIL_RING_STATUS_H

#define STATUS_MUST_USE __attribute__((warn_unused_result))

enum status {
    STATUS_OK = 0,
    STATUS_MEMORY,   /* an allocation failed */
    STATUS_INPUT,    /* what the user gave cannot be used: file, option, text, model */
    STATUS_IO,       /* the operating system refused: read, write, bind, ... */
    STATUS_FULL,     /* disk full or map full; nothing was half-written */
    STATUS_CORRUPT,  /* a file or store is torn, or does not verify */
    STATUS_FOREIGN,  /* written by another schema, schedule, model or party */
    STATUS_EMPTY,    /* no bundle left */
    STATUS_STATE,    /* a bundle or session is not in the state this call needs */
    STATUS_PEER,     /* a peer broke the protocol: its bytes were refused, the session ends */
    STATUS_REFUSED,  /* a key is not on the allow-list, or the peer refused ours */
    STATUS_TIMEOUT,  /* a peer was silent for longer than the configured time */
    STATUS_RANGE,    /* a value does not fit its fixed-point range */
    STATUS_STOPPED,  /* asked to stop: signal, closed link, peer restarted */
    STATUS_BUSY,     /* a party serves as many requests as it may: this one was not begun */
    STATUS_CODES     /* how many there are */
};

/* Formats the message of this thread and returns the code: return status_fail(STATUS_IO, "...", ...). */
enum status status_fail(enum status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts text in front of the present message and keeps the code: a caller that knows the layer or the file
 * adds it on the way up. */
enum status status_prefix(enum status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The message of the last failure in this thread; "" if there was none. Owned by the thread. */
const char *status_message(void);

/* The name of a code in a word or two, for logs and JSON. */
const char *status_name(enum status code);

/* Copies the message out, so that another thread can report it. */
void status_copy(char *out, unsigned long size);

#endif
