/* conn.h: a connected byte stream (TCP, Unix) as tasks use it: calls that wait.
 *
 * On top of stream.h. What is not asked for is not read, so a slow task slows
 * its peer down; what is written waits in a queue of about YULA_STREAM_HIGH bytes
 * at most, so a slow peer slows the task down.
 *
 * One task reads at a time; any number may write. The two directions do not
 * know of each other. The rules of await.h apply; a cancelled read loses
 * nothing: what came stays readable.
 */
#ifndef YULA_CONN_H
#define YULA_CONN_H

#include <stddef.h>
#include <sys/types.h>

#include <yula/stream.h>

YULA_BEGIN

typedef struct yula_conn yula_conn;

/* Longest line, and longest yula_conn_read_until, unless set otherwise: bytes,
 * with the delimiter. asyncio's limit. */
#define YULA_CONN_LIMIT (64u * 1024u)

/* --- life ---------------------------------------------------------------- */

/* Make a connection of a connected, non-blocking socket.
 *
 * fd   the connection's on success, the caller's on failure.
 *
 * Returns 0, -ENOMEM, -EBADF, -EPERM, -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_new(yula_loop *loop, int fd, yula_conn **out);

/* Look a name up and connect to the first of its addresses that answers.
 *
 * host, service  as for getaddrinfo(3).
 *
 * Returns 0, YULA_ECANCELED; or what the look-up said, or the attempt
 * on the last address.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_connect(yula_loop *loop, const char *host,
                               const char *service, yula_conn **out);

/* Plays one connection, as a task of its own. The connection is closed when it
 * returns; what it returns is not looked at. */
typedef int (*yula_conn_serve_cb)(yula_conn *conn, void *arg);

/* Serve all that connect to a listening socket: accept, and run cb in a task for
 * each connection, until interrupted. Then nobody is accepted any more, the
 * tasks are cancelled, and awaited. A connection for which there is no memory is
 * closed; while there are no descriptors left the next ones wait.
 *
 * fd  a listening, non-blocking socket; stays the caller's.
 *
 * Returns YULA_ECANCELED; -ENOMEM (not begun); or what accept(2) fails with on a
 * descriptor that is no such socket.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: cb, in other tasks.
 * GIL: not used.
 */
YULA_API int yula_conn_serve(yula_loop *loop, int fd, yula_conn_serve_cb cb,
                             void *arg);

/* The loop it belongs to. Thread: any. */
YULA_API yula_loop *yula_conn_loop(const yula_conn *conn);

/* Close. What was written and is still queued goes out in the background, as
 * long as the peer takes it; the loop runs until then. Nobody may be waiting on
 * the connection; a read that was woken and has not run since fails with
 * -ECONNABORTED. NULL is fine.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_conn_close(yula_conn *conn);

/* Close at once and drop what is queued. Otherwise as yula_conn_close. */
YULA_API void yula_conn_abort(yula_conn *conn);

/* The stream underneath (its owner is the connection: no _free, no _set_ops) and
 * the descriptor. Thread: loop. */
YULA_API yula_stream *yula_conn_stream(yula_conn *conn);
YULA_API int yula_conn_fd(const yula_conn *conn);

/* --- reading ------------------------------------------------------------- */

/* Read what there is, at least one byte and at most len.
 *
 * Returns the count (> 0); YULA_EOF (the peer ended its half), YULA_ECANCELED,
 * -EBUSY (another task reads), -EINVAL (len is 0), or the socket's
 * error (-ECONNRESET ...), each time again.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API ssize_t yula_conn_read(yula_conn *conn, void *base, size_t len);

/* Read until base has len bytes.
 *
 * got  how many base has already: 0 at first. Counts up, also on failure: the
 *      same call again goes on where it was.
 *
 * Returns 0, or fails as yula_conn_read.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_read_exactly(yula_conn *conn, void *base, size_t len,
                                    size_t *got);

/* Read up to and including the next delimiter, bytes of any value.
 *
 * out  receives a pointer into the connection's buffer, valid until the next
 *      read or close. What it points to may be changed.
 *
 * Returns the length with the delimiter (> 0); fails as yula_conn_read, with
 * -EMSGSIZE (no delimiter within the limit) and -ENOMEM. What was received
 * without a delimiter can then be had from yula_conn_read.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API ssize_t yula_conn_read_until(yula_conn *conn, const void *delimiter,
                                      size_t delimiter_len, char **out);

/* Read a line, "\n" or "\r\n" taken off and a NUL put on.
 *
 * Returns its length (>= 0), else as yula_conn_read_until. */
YULA_API ssize_t yula_conn_read_line(yula_conn *conn, char **out);

/* Read what there is, without waiting. A task may be in yula_conn_wait meanwhile.
 *
 * Returns the count (> 0); -EAGAIN (nothing now); else as yula_conn_read.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API ssize_t yula_conn_try_read(yula_conn *conn, void *base, size_t len);

/* Wait until there may be something to read: bytes, the end or a failure, which
 * yula_conn_try_read then tells. For protocols that a library of their own reads;
 * no memory is held meanwhile.
 *
 * Returns 0, YULA_ECANCELED, or -EBUSY (another task reads).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_wait(yula_conn *conn);

/* Another limit, in bytes; at least 1. Thread: loop. */
YULA_API void yula_conn_set_limit(yula_conn *conn, size_t limit);

/* Bytes received and not fetched yet. Thread: loop. */
YULA_API size_t yula_conn_buffered(const yula_conn *conn);

/* --- writing ------------------------------------------------------------- */

/* Write all of it; wait while more than the high mark is queued. A single write
 * between two reads that wait is sent at once; of several, what is written
 * without waiting leaves in one system call.
 *
 * base  copied as far as it cannot be sent at once.
 *
 * Up to YULA_STREAM_HIGH bytes are written whole or, when interrupted, not at
 * all; of more, a part may be on its way. Writes of several tasks do not mix.
 *
 * Returns 0, YULA_ECANCELED, -ENOMEM, -EPIPE (after yula_conn_shutdown), or the
 * socket's error, each time again.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_write(yula_conn *conn, const void *base, size_t len);

/* Write all of it without waiting, of any length, in a task or not.
 *
 * Returns as yula_conn_write; -EAGAIN when more than the high mark is queued already
 * or others wait to write: then nothing was written.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API int yula_conn_try_write(yula_conn *conn, const void *base, size_t len);

/* Wait until the kernel has taken all that was written.
 *
 * Returns 0, YULA_ECANCELED, or the socket's error.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_drain(yula_conn *conn);

/* End our half, after what was written. The other half can still be read.
 *
 * Returns 0 or -EALREADY.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_conn_shutdown(yula_conn *conn);

YULA_END

#endif /* YULA_CONN_H */
