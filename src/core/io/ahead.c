/* ahead.c: system calls of streams made together, at best without the host's
 * lock.
 *
 * A send on loopback or to a driver with work to do is 4-6 us of kernel code,
 * and may wake the peer's CPU; between two callbacks it pushes the interpreter
 * out of the caches. So the sends of a batch are made together, a few at a time
 * (YULA__HOLD_COUNT), and never long after they were asked for (YULA__HOLD_NS).
 *
 * While other threads want the lock (yula_loop_want_host), a loop that holds it
 * over every recv and send of a large batch takes it from them for nothing: one
 * such call on loopback is 4-6 us of kernel time, and needs no lock. So a large
 * batch's streams are read before the lock is taken, and what it writes is sent
 * after the lock was given back. Both leave their results with the stream;
 * whatever reports them holds the lock.
 *
 *  I1. Without the lock nothing is touched but the streams' fields of this file,
 *      the free blocks and the kernel. No list changes: a thread that holds the
 *      lock may be walking them (visit.c).
 *  I2. A stream that is being sent is `sending`, so its queue only grows.
 *  I3. At most one read a stream and turn; what was read and not delivered
 *      (paused meanwhile) is delivered before anything else is read.
 * Thread: loop.
 */
#include "io/stream_i.h"

#include <string.h>
#include <time.h>

#include "base/list.h"

/* One read. More than that is bulk, and better received where it belongs. */
#define AHEAD_BLOCK_LEN 16384

struct yula__ahead_block {
    ssize_t read;  /* what the read returned */
    size_t at;     /* of it, delivered */
    uint64_t turn; /* when */
    char data[AHEAD_BLOCK_LEN];
};
typedef struct yula__ahead_block ahead_block;

/* Free blocks that are kept (2 MiB). */
#define AHEAD_BLOCKS_KEPT 128

static ahead_block *
block_take(yula_loop *loop)
{
    void **block = loop->ahead_blocks;
    if (block == NULL)
        return yula__alloc(loop, sizeof(ahead_block));
    loop->ahead_blocks = *block;
    loop->ahead_block_count--;
    return (ahead_block *)(void *)block;
}

static void
block_put(yula_loop *loop, ahead_block *memory)
{
    if (loop->ahead_block_count >= AHEAD_BLOCKS_KEPT) {
        yula__free(loop, memory);
        return;
    }
    void **block = (void **)(void *)memory;
    *block = loop->ahead_blocks;
    loop->ahead_blocks = block;
    loop->ahead_block_count++;
}

static void
ahead_fini(yula_loop *loop)
{
    while (loop->ahead_blocks != NULL) {
        void **block = loop->ahead_blocks;
        loop->ahead_blocks = *block;
        yula__free(loop, block);
    }
    yula__stream_chunks_fini(loop);
}

/* --- reading --------------------------------------------------------------- */

void
yula__ahead_drop(yula_stream *stream)
{
    stream->has_read_ahead = false;
    if (stream->ahead != NULL)
        block_put(stream->loop, stream->ahead);
    stream->ahead = NULL;
}

ssize_t
yula__ahead_take(yula_stream *stream, void *base, size_t len, bool *drained)
{
    ahead_block *block = stream->ahead;
    ssize_t n = block->read;

    *drained = false;
    if (n > 0) {
        size_t rest = (size_t)n - block->at;
        len = yula__smaller(len, rest);
        memcpy(base, block->data + block->at, len);
        block->at += len;
        if (len < rest)
            return (ssize_t)len;
        /* Delivered late, more may have come meanwhile. */
        *drained = n < AHEAD_BLOCK_LEN &&
                   block->turn + 1 == stream->loop->stats.turns;
        n = (ssize_t)len;
    }
    yula__ahead_drop(stream);
    return n;
}

static void
ahead_read_stream(yula_stream *stream)
{
    if (stream->ahead == NULL)
        stream->ahead = block_take(stream->loop);
    if (stream->ahead == NULL)
        return; /* without memory: read in its turn */
    ahead_block *block = stream->ahead;
    ssize_t n = yula__sys_recv(stream->fd, block->data, AHEAD_BLOCK_LEN);
    block->read = n;
    block->at = 0;
    block->turn = stream->loop->stats.turns; /* counted after this */
    stream->has_read_ahead = true;
    stream->bulk = n == AHEAD_BLOCK_LEN;
    stream->loop->stats.reads_ahead++;
}

static void
ahead_read(yula_loop *loop, int events)
{
    for (int i = 0; i < events; i++) {
        const yula__poll_event *event = &loop->events[i];
        yula_watcher *watcher = yula__watcher_of_event(loop, event);
        if (watcher == NULL || watcher->cb != yula__stream_on_event ||
            watcher->work.lane != YULA_LANE_HOST)
            continue;
        yula_stream *stream = yula__container_of(watcher, yula_stream, watcher);
        if ((event->events & (YULA_READABLE | YULA__STREAM_TROUBLE)) &&
            stream->reading && !stream->has_read_ahead && !stream->bulk)
            ahead_read_stream(stream);
        else
            stream->bulk = false;
    }
}

/* --- sending --------------------------------------------------------------- */

static void
ahead_hold(yula_stream *stream)
{
    yula_loop *loop = stream->loop;

    if (yula__work_queued(&stream->deferred))
        return;
    if (loop->hold_len != YULA__HOLD_ALL && loop->held++ == 0)
        loop->held_since_ns = yula__sys_clock_ns(CLOCK_MONOTONIC);
    yula__list_append(&loop->unsent, &stream->deferred);
}

void
yula__ahead_defer(yula_stream *stream)
{
    size_t hold_len = stream->loop->hold_len;

    if (stream->queued <= hold_len) {
        ahead_hold(stream);
        return;
    }
    if (hold_len > 0) /* held so far */
        (void)yula_work_cancel(&stream->deferred);
    yula_loop_defer(stream->loop, &stream->deferred);
}

static void
ahead_between(yula_loop *loop)
{
    if (loop->hold_len == YULA__HOLD_ALL)
        return;
    if (loop->held >= YULA__HOLD_COUNT ||
        yula__sys_clock_ns(CLOCK_MONOTONIC) - loop->held_since_ns >=
            YULA__HOLD_NS)
        yula__ready_send_held(loop);
}

static bool
ahead_send_stream(yula_stream *stream)
{
    if (stream->queued == 0 || stream->blocked || stream->sending ||
        stream->loop->closed)
        return false; /* flushed meanwhile */
    stream->sending = true;
    stream->ahead_sent = yula__stream_send_once(stream,
                                                YULA_STREAM_WRITE_BUDGET);
    stream->has_sent_ahead = true;
    stream->loop->stats.sends_ahead++;
    return stream->ahead_sent < 0 ||
           (size_t)stream->ahead_sent < stream->queued;
}

static bool
ahead_send(yula_loop *loop)
{
    bool unfinished = false;

    for (yula_work *work = loop->unsent.head.next; work != &loop->unsent.head;
         work = work->next)
        unfinished |= ahead_send_stream(
            yula__container_of(work, yula_stream, deferred));
    return unfinished;
}

static void
ahead_sent(yula_loop *loop)
{
    loop->held = 0;
    while (!yula__list_empty(&loop->unsent)) {
        yula_work *work = yula__list_take_first(&loop->unsent);
        yula_stream *stream = yula__container_of(work, yula_stream, deferred);
        if (stream->has_sent_ahead)
            stream->sending = false;
        yula_stream_flush(stream);
        stream->has_sent_ahead = false; /* if it was dropped meanwhile */
    }
}

const yula__ahead yula__stream_ahead = {
    .send = ahead_send,
    .sent = ahead_sent,
    .between = ahead_between,
    .read = ahead_read,
    .fini = ahead_fini,
};
