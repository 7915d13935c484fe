/* stream_i.h: a stream's fields. */
#ifndef YULA__STREAM_I_H
#define YULA__STREAM_I_H

#include <yula/listener.h>
#include <yula/stream.h>

#include "loop/loop_i.h"

/* The first array of chunks: a response of several pieces needs no larger one.
 * An idle stream has none; those that were used wait with the loop. */
#define YULA__STREAM_FIRST_CHUNKS 8
#define YULA__STREAM_CHUNKS_KEPT 64

typedef struct yula__chunk {
    const char *base; /* what is still to be sent */
    size_t len;
    void *owner; /* for ops->release; NULL if copied */
    void *copy;  /* ours */
} yula__chunk;

struct yula_stream {
    yula_watcher watcher;
    yula_loop *loop;
    const yula_stream_ops *ops;
    void *arg;
    int fd;           /* -1 once freed */
    unsigned trouble; /* READ_CLOSED, HANGUP, ERROR, PRIORITY seen so far */
    bool tcp;
    bool reading;  /* the owner wants data */
    bool readable; /* a read may find something */
    bool reported; /* the kernel said so in the event that is being handled */
    bool ended;
    bool failed;
    bool blocked; /* bytes refused, or the budget spent; an event will come */
    bool pressed; /* the owner was told that the queue is high */
    bool sending; /* inside stream_send: a release may have come back */
    bool shutdown_wanted;
    bool shutdown_done;
    int late_status; /* of a failure to be reported */
    bool late_writing;
    size_t queued;
    size_t low, high;
    /* Flush at the end of the callback, or, on loop->unsent, at that of the
     * batch; once failed: report that; then: free. */
    yula_work deferred;
    /* ahead.c */
    struct yula__ahead_block *ahead; /* what was read, or NULL */
    ssize_t ahead_sent;              /* what that send returned */
    bool has_read_ahead;
    bool has_sent_ahead;
    bool bulk;           /* the last read ahead was full: better read at once */
    yula__chunk *chunks; /* [chunk_first, chunk_end) wait to be sent; or NULL */
    unsigned chunk_first, chunk_end, chunk_capacity;
};

static inline size_t
yula__smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* stream.c: the watcher's callback, which tells a stream's watcher; and one
 * system call for what is queued, at most room bytes. */
void yula__stream_on_event(yula_watcher *watcher, unsigned events, void *arg);
ssize_t yula__stream_send_once(yula_stream *stream, size_t room);
/* Send without copying and without waiting for the end of the callback, if
 * nothing is queued. Returns how much was sent, or needs not be any more. */
size_t yula__stream_send_now(yula_stream *stream, const void *base, size_t len);

/* Receive now, for an owner whose alloc leaves the data: as recv(2), after ended
 * or failed was called if it came to that; YULA_EOF for the end. -EAGAIN, too, if
 * nothing was reported since the last read that proved there is no more. */
ssize_t yula__stream_receive(yula_stream *stream, void *base, size_t len);

/* sendfile(2), behind what is queued. offset moves.
 *
 * Returns the count (0: the file ends there); -EAGAIN: ops->drained or failed will
 * tell when to go on; -EPIPE; or what else sendfile(2) says, of either of the two. */
ssize_t yula__stream_send_file(yula_stream *stream, int fd, int64_t *offset,
                               size_t len);

/* The loop's read buffer, YULA_STREAM_READ_MAX bytes, or NULL. Taken from the
 * loop while in use: a nested turn inside a callback makes another. */
char *yula__read_buffer_take(yula_loop *loop);
void yula__read_buffer_put(yula_loop *loop, char *buffer);

#define YULA__STREAM_TROUBLE                                                   \
    (YULA_READ_CLOSED | YULA_HANGUP | YULA_ERROR | YULA_PRIORITY)

/* What is known of a socket whose stream is made: nothing; that it is TCP; that
 * it is not. */
enum {
    YULA__STREAM_ASK,
    YULA__STREAM_TCP,
    YULA__STREAM_OTHER
};
/* stream.c: yula_stream_new, told what it would ask the kernel. */
int yula__stream_new(yula_loop *loop, yula_lane lane, int fd, int kind,
                     const yula_stream_ops *ops, void *arg, yula_stream **out);
/* listener.c: what the streams of its connections are. */
int yula__listener_kind(const yula_listener *listener);
/* stream.c: the loop is freed; no stream is left. */
void yula__stream_chunks_fini(yula_loop *loop);

/* So many wait for each other. More gained nothing: with 16, uvicorn's cost per
 * request fell by a tenth (docs/performance.md). */
#define YULA__HOLD_COUNT 16

/* Callbacks that compute for long do not keep others' answers back for longer
 * than this and one callback. */
#define YULA__HOLD_NS (500 * 1000)

/* ahead.c */
extern const yula__ahead yula__stream_ahead;
/* As recv(2), from what was read ahead. drained: whether that read was short. */
ssize_t yula__ahead_take(yula_stream *stream, void *base, size_t len,
                         bool *drained);
void yula__ahead_drop(yula_stream *stream);
/* What a callback has queued: when its batch's sends go, or at its own end. */
void yula__ahead_defer(yula_stream *stream);

#endif /* YULA__STREAM_I_H */
