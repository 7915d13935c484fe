/* stream.h: a connected byte stream (TCP, Unix) with a write queue.
 *
 * Reads: the descriptor is registered once, edge-triggered; readiness is
 * remembered. At most one read a stream and turn.
 *
 * Writes: what one callback writes leaves in one system call before control
 * goes to the next callback; outside callbacks, at once. What the kernel does
 * not take waits in the queue.
 */
#ifndef YULA_STREAM_H
#define YULA_STREAM_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_stream yula_stream;

/* What a stream tells its owner. All run on the loop in the stream's lane,
 * never inside yula_stream_new, _start or _close. The stream may be closed from
 * any of them. */
typedef struct yula_stream_ops {
    /* Where to receive: set *base and *len (> 0). NULL: the loop's own buffer
     * of YULA_STREAM_READ_MAX bytes, valid until read returns. Returns 0;
     * YULA_STREAM_LEAVE: the data stays in the kernel for yula_stream_take;
     * YULA_STREAM_SKIP: not in this turn; a negative number, which stops
     * reading and is passed to failed. */
    int (*alloc)(yula_stream *stream, void **base, size_t *len, void *arg);
    /* len > 0 bytes arrived at base. */
    void (*read)(yula_stream *stream, void *base, size_t len, void *arg);
    /* Nothing arrived after all: what alloc gave is free again. Not called
     * before ended and failed. May be NULL. */
    void (*unused)(yula_stream *stream, void *arg);
    /* The peer ended its half. Called once, after all data. */
    void (*ended)(yula_stream *stream, void *arg);
    /* Reading or writing failed (status: negated errno). Reading has stopped
     * and queued data is dropped; the owner closes. Called at most once. */
    void (*failed)(yula_stream *stream, int status, bool writing, void *arg);
    /* The queue rose above the high mark (true; called inside write) or fell
     * to the low one (false). May be NULL. */
    void (*pressure)(yula_stream *stream, bool high, void *arg);
    /* The queue ran empty after it had been blocked. May be NULL. */
    void (*drained)(yula_stream *stream, void *arg);
    /* A chunk given with an owner was sent or dropped. */
    void (*release)(void *owner);
} yula_stream_ops;

/* What alloc may return. Who leaves the data takes it soon, or starts the
 * stream again: no other event is sure to come. */
#define YULA_STREAM_SKIP 1
#define YULA_STREAM_LEAVE 2

/* Most bytes one read takes, and the size of the loop's read buffer. asyncio's
 * selector loop reads as much (256 KiB). */
#define YULA_STREAM_READ_MAX (256u * 1024u)

/* The loop's read buffer, for reads of the caller's own between two calls into
 * the loop: YULA_STREAM_READ_MAX bytes, warm; NULL without memory.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void *yula_loop_read_buffer(yula_loop *loop);

/* After so many bytes of one stream the others have their turn, however fast
 * its peer takes them. Four times what is read in a turn. */
#define YULA_STREAM_WRITE_BUDGET (1024u * 1024u)

/* asyncio's default water marks, bytes. */
#define YULA_STREAM_HIGH (64u * 1024u)
#define YULA_STREAM_LOW (16u * 1024u)

/* Make a stream on a connected, non-blocking socket. Nothing is reported until
 * yula_stream_start. On TCP, TCP_NODELAY is set: writes are gathered here.
 *
 * fd   the stream's on success, the caller's on failure.
 * ops  borrowed, as long as the stream.
 *
 * Returns 0, -ENOMEM, -EBADF, -EPERM, -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_stream_new(yula_loop *loop, yula_lane lane, int fd,
                             const yula_stream_ops *ops, void *arg,
                             yula_stream **out);

/* Let go of the stream: stop everything, release queued chunks and free the
 * memory. Allowed in the stream's own callbacks; the pointer is invalid as soon
 * as this returns.
 *
 * close_fd  true closes the descriptor, false leaves it to the caller.
 *
 * Returns the descriptor (closed or not).
 * Thread: loop.  Blocks: no.  Calls back: release, before return.
 */
YULA_API int yula_stream_free(yula_stream *stream, bool close_fd);

/* Start or go on reading; what arrived meanwhile is delivered in the next
 * turn. Stop reading: nothing is delivered after this returns.
 *
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_stream_start(yula_stream *stream);
YULA_API void yula_stream_stop(yula_stream *stream);

/* Inside alloc: whether the kernel has just reported data and nothing else (no
 * end, no failure), so that there is something to be left and taken.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API bool yula_stream_has_data(const yula_stream *stream);

/* Receive what alloc has left, whether or not the stream was stopped meanwhile.
 * The end and failures are reported through ops as ever, later.
 *
 * Returns how much came; 0: nothing, and alloc will be called when there is.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API size_t yula_stream_take(yula_stream *stream, void *base, size_t len);

/* Queue one chunk and send as described above.
 *
 * owner  NULL: base is copied as far as it cannot be sent at once. Else base
 *        stays valid and unchanged until ops->release(owner).
 *
 * Returns 0; -ENOMEM (nothing queued, the owner is not released); -EPIPE after
 * yula_stream_shutdown. Failures of the socket are reported through
 * ops->failed, later; what is written after one is released and forgotten.
 * Thread: loop.  Blocks: no.  Calls back: pressure, release before return.
 */
YULA_API int yula_stream_write(yula_stream *stream, const void *base,
                               size_t len, void *owner);

/* Send now what waits for the end of the callback. Thread: loop. */
YULA_API void yula_stream_flush(yula_stream *stream);

/* End our half once the queue is empty. Returns 0 or -EALREADY.
 * Thread: loop.  Blocks: no.  Calls back: later. */
YULA_API int yula_stream_shutdown(yula_stream *stream);

/* Bytes queued and not yet taken by the kernel. Sends first what only waits
 * for the end of the callback. Thread: loop. */
YULA_API size_t yula_stream_queued(yula_stream *stream);

/* What yula_stream_queued counts, without sending anything. Thread: loop. */
YULA_API size_t yula_stream_peek_queued(const yula_stream *stream);

/* Set the water marks, bytes; low <= high. pressure(true) is called when the
 * queue is above high, pressure(false) when it is at or below low.
 * Thread: loop.  Calls back: pressure, before return (set_marks only). */
YULA_API void yula_stream_set_marks(yula_stream *stream, size_t low,
                                    size_t high);
YULA_API void yula_stream_get_marks(const yula_stream *stream, size_t *low,
                                    size_t *high);

/* Whether reading or writing has failed (ops->failed was or will be called), and
 * whether the queue is above its marks (ops->pressure said so). Thread: loop. */
YULA_API bool yula_stream_failed(const yula_stream *stream);
YULA_API bool yula_stream_pressed(const yula_stream *stream);

/* The descriptor. It stays the stream's. Thread: loop. */
YULA_API int yula_stream_fd(const yula_stream *stream);

/* Use another table from the next report on (ops: borrowed). Thread: loop. */
YULA_API void yula_stream_set_ops(yula_stream *stream,
                                  const yula_stream_ops *ops);

/* The stream that a descriptor belongs to, or NULL; and its arg. Thread: loop.
 */
YULA_API yula_stream *yula_stream_of(yula_loop *loop, int fd);
YULA_API void *yula_stream_arg(const yula_stream *stream);

/* Connect a new socket to an address.
 *
 * cb  called later, once: status 0 and the connected non-blocking socket, which
 *     is then the callee's; or a negated errno and -1; -ECANCELED after
 *     yula_connect_cancel.
 *
 * Returns 0, -ENOMEM, or the error of socket(2).
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
typedef struct yula_connect yula_connect;
typedef void (*yula_connect_cb)(int status, int fd, void *arg);
YULA_API int yula_connect_start(yula_loop *loop, yula_lane lane,
                                const struct sockaddr *addr, socklen_t addr_len,
                                yula_connect_cb cb, void *arg,
                                yula_connect **out);

/* Close the socket at once; cb follows with -ECANCELED. Thread: loop. */
YULA_API void yula_connect_cancel(yula_connect *connect);

YULA_END

#endif /* YULA_STREAM_H */
