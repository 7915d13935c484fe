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
 * SIGPIPE: programs ignore that signal, as Python does.
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

/* Bytes queued and not yet taken by the kernel. Thread: loop. */
YULA_API size_t yula_pipe_queued(const yula_pipe_writer *writer);

/* Set the water marks, bytes; low <= high. As those of a stream, 16 and 64 KiB
 * at first. pressure(true) may be called before return. Thread: loop. */
YULA_API void yula_pipe_set_marks(yula_pipe_writer *writer, size_t low,
                                  size_t high);
YULA_API void yula_pipe_get_marks(const yula_pipe_writer *writer, size_t *low,
                                  size_t *high);

/* Whether the queue is above its marks (ops->pressure said so). Thread: loop. */
YULA_API bool yula_pipe_pressed(const yula_pipe_writer *writer);

YULA_END

#endif /* YULA_PIPE_H */
