/* watcher.h: readiness of one descriptor.
 *
 * A descriptor has one watcher in a loop. Each start gets a generation, and an
 * event of an earlier generation of the same number is dropped: an event of a
 * closed descriptor never reaches the one that got its number.
 */
#ifndef YULA_WATCHER_H
#define YULA_WATCHER_H

#include <yula/work.h>

YULA_BEGIN

/* Event bits. HANGUP, ERROR and READ_CLOSED are reported unasked. */
enum {
    YULA_READABLE = 1u << 0,
    YULA_WRITABLE = 1u << 1,
    YULA_READ_CLOSED = 1u << 2, /* the peer will send no more (EPOLLRDHUP) */
    YULA_HANGUP = 1u << 3,
    YULA_ERROR = 1u << 4,
    YULA_PRIORITY = 1u << 5, /* urgent data */
    /* Interest only: report changes once (edge-triggered). Without it an event
     * comes again in every turn until the descriptor is drained. */
    YULA_EDGE = 1u << 8,
};

typedef struct yula_watcher yula_watcher;
typedef void (*yula_watcher_cb)(yula_watcher *watcher, unsigned events,
                                void *arg);

/* Complete, so that it can be embedded; written by libyula only. */
struct yula_watcher {
    yula_work work; /* queued while events wait to be delivered */
    yula_loop *loop;
    yula_watcher_cb cb;
    int fd; /* -1 while stopped */
    unsigned interest;
    unsigned pending; /* events not yet delivered */
    uint32_t generation;
    uint64_t reserved;
};

/* Prepare a watcher; it holds nothing until it is started.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_watcher_init(yula_loop *loop, yula_watcher *watcher,
                                yula_lane lane);

/* Start to watch.
 *
 * fd        stays the caller's: not closed by the watcher, and to be closed
 *           only after yula_watcher_stop.
 * interest  YULA_READABLE | YULA_WRITABLE | YULA_PRIORITY | YULA_EDGE.
 * arg       borrowed until yula_watcher_stop.
 *
 * A watcher left on this number by an owner who closed the descriptor without
 * stopping it is stopped first.
 *
 * Returns 0, -ENOMEM, -EPERM (a regular file cannot be watched), -EBADF,
 * -EBUSY (the watcher is started), -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_watcher_start(yula_watcher *watcher, int fd,
                                unsigned interest, yula_watcher_cb cb,
                                void *arg);

/* Change the interest of a started watcher. Asking for what is asked for
 * already re-arms an edge: readiness that lasts is reported again.
 *
 * Returns as yula_watcher_start; on failure the interest is as before.
 */
YULA_API int yula_watcher_modify(yula_watcher *watcher, unsigned interest);

/* Stop, and drop events not yet delivered. Stopping a stopped watcher does
 * nothing. Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_watcher_stop(yula_watcher *watcher);

/* Queue events for the watcher as if the kernel had reported them: readiness
 * that the owner remembers and has not used up. Thread: loop. */
YULA_API void yula_watcher_again(yula_watcher *watcher, unsigned events);

/* The watcher that is started on a descriptor, or NULL. Thread: loop. */
YULA_API yula_watcher *yula_watcher_of(yula_loop *loop, int fd);

YULA_END

#endif /* YULA_WATCHER_H */
