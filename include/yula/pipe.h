/* pipe.h: the ends of pipes: FIFOs, terminals and other character devices,
 * and sockets used one way.
 *
 * A reader takes what is there once a turn. A writer writes at once; what the
 * kernel does not take waits in a queue. Both keep out of each other's way only
 * on descriptors of their own: for a descriptor that is read and written, give
 * one of them a duplicate.
 */
#ifndef YULA_PIPE_H
#define YULA_PIPE_H

#include <stddef.h>
#include <sys/types.h>

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_pipe_reader yula_pipe_reader;
typedef struct yula_pipe_writer yula_pipe_writer;

/* What a reader tells its owner, on the loop in the reader's lane, never inside
 * a call of yula_pipe_reader_*. It may be freed from any of them. */
typedef struct yula_pipe_reader_ops {
    /* Where to read to: set *base and *len (> 0), and return 0; or a negative
     * code, which is passed to failed. NULL: the loop's own buffer of
     * YULA_STREAM_READ_MAX bytes, valid until read returns. */
    int (*alloc)(yula_pipe_reader *reader, void **base, size_t *len, void *arg);
    /* len > 0 bytes came to base. If none came, alloc is called again. */
    void (*read)(yula_pipe_reader *reader, void *base, size_t len, void *arg);
    /* All writers have closed. Once; nothing is read any more. */
    void (*ended)(yula_pipe_reader *reader, void *arg);
    /* Reading failed (status: negated errno). Once; it has stopped. */
    void (*failed)(yula_pipe_reader *reader, int status, void *arg);
} yula_pipe_reader_ops;

/* What a writer tells its owner; as above, but for pressure and release. */
typedef struct yula_pipe_writer_ops {
    /* The other end has closed (or, on a socket, sent something). Once, after
     * yula_pipe_writer_watch. What is queued stays queued. */
    void (*closed)(yula_pipe_writer *writer, void *arg);
    /* Writing what was queued failed (status: negated errno), and the queue was
     * dropped. Once. */
    void (*failed)(yula_pipe_writer *writer, int status, void *arg);
    /* The queue rose above the high mark (true; called inside write) or fell
     * to the low one (false). May be NULL. */
    void (*pressure)(yula_pipe_writer *writer, bool high, void *arg);
    /* The queue has run empty. May be NULL. */
    void (*drained)(yula_pipe_writer *writer, void *arg);
    /* A chunk given with an owner was written or dropped. Not NULL if owners
     * are given. */
    void (*release)(void *owner);
} yula_pipe_writer_ops;

/* Make a reader or a writer of a non-blocking descriptor. Nothing is reported
 * until it is started.
 *
 * fd   stays the caller's, and open until the reader or writer is freed.
 * ops  borrowed, as long as the reader or writer.
 *
 * Returns 0 or -ENOMEM.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_pipe_reader_new(yula_loop *loop, yula_lane lane, int fd,
                                  const yula_pipe_reader_ops *ops, void *arg,
                                  yula_pipe_reader **out);
YULA_API int yula_pipe_writer_new(yula_loop *loop, yula_lane lane, int fd,
                                  const yula_pipe_writer_ops *ops, void *arg,
                                  yula_pipe_writer **out);

/* Let go. What a writer has queued is dropped. Allowed in their own callbacks;
 * the pointer is invalid as soon as this returns.
 *
 * Thread: loop.  Blocks: no.  Calls back: release, before return.
 */
YULA_API void yula_pipe_reader_free(yula_pipe_reader *reader);
YULA_API void yula_pipe_writer_free(yula_pipe_writer *writer);

/* Start, or go on, reading. Returns 0, -ENOMEM, -EPERM (a file, or a device,
 * that cannot be waited for), -EBADF, -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used. */
YULA_API int yula_pipe_reader_start(yula_pipe_reader *reader);

/* Stop reading: nothing is delivered after this returns. Thread: loop. */
YULA_API void yula_pipe_reader_stop(yula_pipe_reader *reader);

/* Report when the other end closes. Returns as yula_pipe_reader_start.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used. */
YULA_API int yula_pipe_writer_watch(yula_pipe_writer *writer);

/* Write now, or behind what is queued. A pipe whose readers are gone raises
 * SIGPIPE, unless the program ignores that signal, as Python does, or the writer is
 * guarded.
 *
 * owner  NULL: what cannot be written at once is copied. Else base stays valid
 *        and unchanged until ops->release(owner).
 *
 * Returns 0; the error of write(2) (-EPIPE ...), also for every later write;
 * -ENOMEM. After an error nothing of this call is queued, the owner is not
 * released, and what was queued before is dropped.
 * Thread: loop.  Blocks: no.  Calls back: pressure, release before return.
 */
YULA_API int yula_pipe_write(yula_pipe_writer *writer, const void *base,
                             size_t len, void *owner);

/* From now on a pipe without readers is an error (-EPIPE) and no SIGPIPE, whatever the
 * program does about that signal. If it does not ignore it, a write takes two more
 * system calls. Thread: loop. */
YULA_API void yula_pipe_writer_guard(yula_pipe_writer *writer);

/* Bytes queued and not yet taken by the kernel. Thread: loop. */
YULA_API size_t yula_pipe_queued(const yula_pipe_writer *writer);

/* Set the water marks, bytes; low <= high. As those of a stream, 16 and 64 KiB
 * at first.
 * Thread: loop.  Calls back: pressure, before return (set_marks only). */
YULA_API void yula_pipe_set_marks(yula_pipe_writer *writer, size_t low,
                                  size_t high);
YULA_API void yula_pipe_get_marks(const yula_pipe_writer *writer, size_t *low,
                                  size_t *high);

/* Whether the queue is above its marks (ops->pressure said so). Thread: loop. */
YULA_API bool yula_pipe_pressed(const yula_pipe_writer *writer);

/* --- as tasks use them ---------------------------------------------------- */

/* The ends of pipes with calls that wait: of FIFOs, terminals, standard input
 * and output, what a child reads and writes. The rules of await.h apply, and what
 * conn.h says: one task reads a source at a time, a cancelled read loses nothing;
 * any number of tasks write to a sink, a slow reader slows them down. */
typedef struct yula_source yula_source; /* is read from */
typedef struct yula_sink yula_sink;     /* is written to */

/* Longest line, and longest yula_source_read_until, unless set otherwise: bytes,
 * with the delimiter. */
#define YULA_SOURCE_LIMIT (64u * 1024u)

/* Make one of a descriptor of the caller's own.
 *
 * fd  non-blocking; belongs to the source or sink on success, stays the caller's
 *     on failure. A file, or a device that is always ready, may be given as well:
 *     it is read on a worker thread, and written at once.
 *
 * Returns 0, -ENOMEM.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_source_new(yula_loop *loop, int fd, yula_source **out);
YULA_API int yula_sink_new(yula_loop *loop, int fd, yula_sink **out);

/* Make one of a descriptor that other processes have as well, such as standard
 * input and output: they would notice if it became non-blocking.
 *
 * fd  stays the caller's, as it is. A terminal and a FIFO are opened anew; where
 *     that is refused, and for anything else, a duplicate is used, and a write
 *     may block the loop for as long as the program's own would.
 *
 * Returns 0, -ENOMEM, -EBADF, -EMFILE.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_source_share(yula_loop *loop, int fd, yula_source **out);
YULA_API int yula_sink_share(yula_loop *loop, int fd, yula_sink **out);

/* Close the descriptor and free. What a sink has queued is written in the
 * background, as long as somebody reads it; the loop runs until then. Nobody may
 * be waiting. NULL is fine.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_source_close(yula_source *source);
YULA_API void yula_sink_close(yula_sink *sink);

/* Close at once and drop what is queued. Otherwise as yula_sink_close. */
YULA_API void yula_sink_abort(yula_sink *sink);

/* The descriptor that is read or written. Thread: loop. */
YULA_API int yula_source_fd(const yula_source *source);
YULA_API int yula_sink_fd(const yula_sink *sink);

/* Read what there is, at least one byte and at most len.
 *
 * Returns the count (> 0); YULA_EOF (all writers have closed), YULA_ECANCELED,
 * -EBUSY (another task reads), -EINVAL (len is 0), -ENOMEM, or what read(2) fails
 * with, each time again.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API ssize_t yula_source_read(yula_source *source, void *base, size_t len);

/* Read until base has len bytes, up to a delimiter, or a line: exactly as
 * yula_conn_read_exactly, _until and _line in conn.h.
 *
 * got  how many base has already: 0 at first. Counts up, also on failure.
 * out  receives a pointer into the source's buffer, valid until the next read or
 *      close.
 *
 * Return as those, and fail as yula_source_read; -EMSGSIZE (no delimiter within
 * the limit), -ENOMEM.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_source_read_exactly(yula_source *source, void *base,
                                      size_t len, size_t *got);
YULA_API ssize_t yula_source_read_until(yula_source *source,
                                        const void *delimiter,
                                        size_t delimiter_len, char **out);
YULA_API ssize_t yula_source_read_line(yula_source *source, char **out);

/* Another limit, in bytes; at least 1. Thread: loop. */
YULA_API void yula_source_set_limit(yula_source *source, size_t limit);

/* Bytes received and not fetched yet. Thread: loop. */
YULA_API size_t yula_source_buffered(const yula_source *source);

/* Write all of it; wait while more than the high mark (YULA_STREAM_HIGH) is
 * queued. What the pipe has room for is there when this returns.
 *
 * base  copied as far as it cannot be written at once.
 *
 * Up to YULA_STREAM_HIGH bytes are written whole or, when interrupted, not at
 * all; of more, a part may be on its way. Writes of several tasks do not mix.
 *
 * Returns 0, YULA_ECANCELED, -ENOMEM, -EPIPE (nobody reads any more; no signal
 * comes), or what write(2) fails with, each time again.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_sink_write(yula_sink *sink, const void *base, size_t len);

/* Write all of it without waiting, of any length, in a task or not.
 *
 * Returns as yula_sink_write; -EAGAIN when more than the high mark is queued already
 * or others wait to write: then nothing was written.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API int yula_sink_try_write(yula_sink *sink, const void *base, size_t len);

/* Wait until the pipe has taken all that was written.
 *
 * Returns 0, YULA_ECANCELED, or what write(2) fails with.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_sink_drain(yula_sink *sink);

YULA_END

#endif /* YULA_PIPE_H */
