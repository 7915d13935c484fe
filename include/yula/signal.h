/* signal.h: Unix signals as callbacks of a loop.
 *
 * The signal handler writes a byte into the loop's pipe, so a signal wakes the
 * poll whenever it comes; there is no window between a check and the sleep.
 */
#ifndef YULA_SIGNAL_H
#define YULA_SIGNAL_H

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_signal yula_signal;
typedef void (*yula_signal_cb)(yula_signal *signal, int number, void *arg);

/* Complete, so that it can be embedded; written by libyula only. */
struct yula_signal {
    yula_work work; /* queued while a signal waits to be delivered */
    yula_loop *loop;
    yula_signal *next; /* of the same loop */
    yula_signal_cb cb;
    int number; /* 0 while stopped */
    uint32_t reserved;
};

/* Prepare a signal; it holds nothing until it is started.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_signal_init(yula_loop *loop, yula_signal *signal,
                               yula_lane lane);

/* Call cb for each delivery of a signal (deliveries between two turns count
 * once). Replaces the process's handler until yula_signal_stop restores it. A
 * number belongs to one loop at a time; several watchers of that loop may
 * share it.
 *
 * Returns 0, -EINVAL (no such signal, SIGKILL, SIGSTOP), -EBUSY (another loop
 * has it, or the watcher is started), -EMFILE.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_signal_start(yula_signal *signal, int number,
                               yula_signal_cb cb, void *arg);

/* Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_signal_stop(yula_signal *signal);

/* For a host with signal handlers of its own: the write end of the loop's
 * signal pipe. Whoever writes a signal number into it (one byte, also from a
 * signal handler) wakes the loop, which calls cb(number) in the host lane.
 * Opened at the first call, closed with the loop; non-blocking.
 *
 * Returns the descriptor, or -EMFILE, -ENFILE.
 * Thread: loop.  Blocks: no.  Calls back: later.
 */
typedef void (*yula_signal_byte_cb)(yula_loop *loop, int number, void *arg);
YULA_API int yula_signal_pipe(yula_loop *loop, yula_signal_byte_cb cb,
                              void *arg);

YULA_END

#endif /* YULA_SIGNAL_H */
