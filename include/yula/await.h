/* await.h: what a task can wait for: descriptors, connections, names, signals,
 * work on other threads. Time and other tasks are in task.h, byte streams in
 * conn.h, waiting for each other in sync.h and channel.h.
 *
 * Every call here that waits is made in a task of that loop, and the other tasks
 * go on meanwhile. Each returns YULA_ECANCELED when the task is interrupted
 * (yula_task_cancel, a deadline, a group), also at once when that was so before;
 * then it has done nothing, and what came is there for the next call.
 */
#ifndef YULA_AWAIT_H
#define YULA_AWAIT_H

#include <netdb.h>
#include <stddef.h>
#include <sys/socket.h>

#include <yula/signal.h>
#include <yula/sync.h>

YULA_BEGIN

struct addrinfo; /* <netdb.h> hides it from a strict -std=c99 */

/* --- descriptors --------------------------------------------------------- */

/* Wait until a descriptor is ready, for a library that reads or writes it by
 * itself. It must not belong to a stream, a listener or another waiting task.
 *
 * events  YULA_READABLE, YULA_WRITABLE or both (watcher.h).
 *
 * Returns the events that came (> 0; a hang-up and an error count as ready for
 * what was asked), YULA_ECANCELED, -ENOMEM, -EBADF, -EPERM (a file of
 * a kind that is always ready), -EBUSY (watched already).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_await_fd(yula_loop *loop, int fd, unsigned events);

/* --- connections --------------------------------------------------------- */

/* Connect a new socket.
 *
 * Returns the connected, non-blocking socket, which is the caller's; or
 * YULA_ECANCELED, -ENOMEM, -ECONNREFUSED, -ETIMEDOUT (the kernel gave up) and what
 * else connect(2) may say.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_await_connect(yula_loop *loop, const struct sockaddr *addr,
                                socklen_t addr_len);

/* A listening socket whose connections tasks accept. */
typedef struct yula_acceptor yula_acceptor;

/* fd   a listening, non-blocking socket; stays the caller's, who closes it
 *      after yula_acceptor_free.
 * out  receives the acceptor.
 *
 * Returns 0, -ENOMEM.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_acceptor_new(yula_loop *loop, int fd, yula_acceptor **out);

/* Accept a connection. Up to YULA_LISTENER_BUDGET are accepted ahead of those
 * who wait, and no more.
 *
 * addr, addr_len  receive the peer's address; both may be NULL. *addr_len is
 *                 the room before and the length after.
 *
 * Returns the socket, non-blocking, which is the caller's; YULA_ECANCELED;
 * or what accept(2) says. After -EMFILE, -ENFILE, -ENOBUFS and
 * -ENOMEM the next connection is accepted YULA_LISTENER_PAUSE_NS later: just call
 * again.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_acceptor_accept(yula_acceptor *acceptor,
                                  struct sockaddr *addr, socklen_t *addr_len);

/* Close what was accepted and not fetched, and free. Nobody may be waiting.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_acceptor_free(yula_acceptor *acceptor);

/* --- names --------------------------------------------------------------- */

/* getaddrinfo(3) on a worker thread; literals at once.
 *
 * host, service, hints  as for yula_resolve_start.
 * out                   receives the list, freed with yula_addrinfo_free.
 *
 * Returns 0, YULA_ECANCELED, -ENOMEM, -EAGAIN (no thread), -EINVAL,
 * or YULA_EAI_BASE + EAI_*.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_await_resolve(yula_loop *loop, const char *host,
                                const char *service,
                                const struct addrinfo *hints,
                                struct addrinfo **out);

/* --- blocking work ------------------------------------------------------- */

/* Runs on a worker thread; may block; must not touch the loop. */
typedef int (*yula_await_work_cb)(void *arg);

/* Run a function that blocks on a worker thread, and wait for its result.
 *
 * run  once it has begun it cannot be stopped: the call then returns its result,
 *      however late, and a cancellation waits for the next await. One that
 *      has not begun when the task is cancelled never will.
 * arg  borrowed until the call returns; may lie on the task's stack.
 *
 * Returns what run returned; or YULA_ECANCELED, -EAGAIN or -ENOMEM (no
 * thread could be started): then it has not run.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_await_work(yula_loop *loop, yula_await_work_cb run,
                             void *arg);

/* Tells a function on a worker thread whether its task was interrupted. Opaque;
 * valid until the function returns. */
typedef struct yula_stop yula_stop;

/* Runs on a worker thread, as a yula_await_work_cb, and looks at stop. */
typedef int (*yula_await_stoppable_cb)(const yula_stop *stop, void *arg);

/* Run a function on a worker thread that can be asked to stop: for what computes
 * for long, or blocks piece by piece. Otherwise as yula_await_work.
 *
 * run  when yula_stop_asked says so, it cleans up and returns YULA_ECANCELED: the
 *      interruption is then delivered. Another result is not lost: it is returned,
 *      and the interruption waits for the next await.
 *
 * Returns as yula_await_work.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_await_stoppable(yula_loop *loop, yula_await_stoppable_cb run,
                                  void *arg);

/* Whether the task that waits was interrupted. Cheap: a load.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API bool yula_stop_asked(const yula_stop *stop);

/* --- signals ------------------------------------------------------------- */

#define YULA_SIGNAL_SET_MAX 8

/* Some signals that tasks wait for. Complete, so that it can be embedded;
 * written by libyula only. */
typedef struct yula_signal_set {
    yula_loop *loop;
    yula_signal signals[YULA_SIGNAL_SET_MAX];
    bool came[YULA_SIGNAL_SET_MAX]; /* and was not fetched */
    unsigned count;
    yula_wait_list waiting;
} yula_signal_set;

/* Catch some signals from now on; those of the same number that come between
 * two calls of yula_signal_set_next count once.
 *
 * Returns 0; or, with nothing caught, -EINVAL (a number, or more than
 * YULA_SIGNAL_SET_MAX), -EBUSY (another loop has one), -EMFILE, -ENOMEM.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_signal_set_open(yula_loop *loop, yula_signal_set *set,
                                  const int *numbers, unsigned count);

/* Wait for one of them.
 *
 * Returns its number, YULA_ECANCELED.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_signal_set_next(yula_signal_set *set);

/* Restore what was there before. Nobody may be waiting.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_signal_set_close(yula_signal_set *set);

YULA_END

#endif /* YULA_AWAIT_H */
