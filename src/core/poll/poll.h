/* poll.h: what a poller does. One implementation is compiled in, by file.
 *
 * A poller knows descriptors, interest bits (YULA_READABLE ...) and a 64-bit
 * tag that comes back with each event. It knows no watchers and no generations:
 * poller-independent arithmetic lives above it, in loop.c and watcher.c.
 */
#ifndef YULA__POLL_H
#define YULA__POLL_H

#include <stdint.h>

/* Events one wait takes at most; more wait in the kernel for the next turn. */
#define YULA__POLL_EVENTS 256

typedef struct yula__poll_event {
    uint64_t tag;
    unsigned events; /* YULA_READABLE ... */
} yula__poll_event;

typedef struct yula__poller {
    int fd; /* becomes readable when there are events */
} yula__poller;

/* Returns 0, -EMFILE, -ENFILE, -ENOMEM. */
int yula__poller_init(yula__poller *poller);
void yula__poller_fini(yula__poller *poller);

/* Change what is watched. add of a registered and modify of an unregistered
 * descriptor work: they become one another (the owner may have closed the
 * number and opened it again behind our back).
 *
 * Return 0, -EBADF, -EPERM, -ENOMEM, -ENOSPC; modify 1 if it became an add. */
int yula__poller_add(yula__poller *poller, int fd, unsigned interest,
                     uint64_t tag);
int yula__poller_modify(yula__poller *poller, int fd, unsigned interest,
                        uint64_t tag);
/* Never fails: a descriptor that is gone is not watched. */
void yula__poller_remove(yula__poller *poller, int fd);

/* Wait and write up to YULA__POLL_EVENTS events.
 *
 * timeout_ns  relative; 0 does not sleep, YULA_NEVER sleeps for ever.
 *
 * Returns the number of events, or -EINTR.
 */
int yula__poller_wait(yula__poller *poller, int64_t timeout_ns,
                      yula__poll_event *events);

#endif /* YULA__POLL_H */
