/* pipe.c: the reading and the writing end of pipes.
 *
 * Level-triggered, unlike streams: a pipe holds 64 KiB, which one read empties,
 * so one poll and one read a piece is all there is to save. (Edge-triggered it
 * takes a second read to see that it is empty. A short read proves nothing:
 * pipes can be made of packets.)
 *
 *  I1. A reader's watcher runs while it is read from. Stopping leaves it alone;
 *      the first event that finds nobody reading stops it. Who pauses and
 *      resumes at once pays no system call.
 *  I2. A writer's watcher runs while it is watched or blocked, with exactly that
 *      interest.
 *  I3. blocked == the queue is not empty; queued is the sum of its lengths.
 *  I4. A guarded writer's calls raise no SIGPIPE: unless the process ignores it,
 *      it is blocked around them.
 *  I5. After the free no callback runs; the memory goes when none is on the
 *      stack any more. Until then fd is -1.
 * Thread: loop.
 */
#include <yula/pipe.h>

#include <string.h>

#include "base/sys_process.h"
#include "io/stream_i.h"

/* Pieces of one writev. */
#define PIPE_IOV_MAX 64

/* Up to here a copy is cheaper than keeping the caller's object, and small
 * pieces share a block of at least this size. */
#define PIPE_COPY_MAX 4096

typedef struct pipe_chunk {
    struct pipe_chunk *next;
    const char *base; /* what is still to be written */
    size_t len;
    size_t room; /* behind it, in copy */
    void *owner; /* NULL: base is in copy */
    char copy[];
} pipe_chunk;

struct yula_pipe_reader {
    yula_watcher watcher;
    yula_work grave;
    yula_loop *loop;
    const yula_pipe_reader_ops *ops;
    void *arg;
    int fd;
    bool reading;
    bool over; /* ended or failed */
};

struct yula_pipe_writer {
    yula_watcher watcher;
    yula_work grave;
    yula_loop *loop;
    const yula_pipe_writer_ops *ops;
    void *arg;
    int fd;
    int status; /* of the write that failed, or 0 */
    bool watched;
    bool pressed;
    bool guarded; /* I4 */
    size_t queued;
    size_t low, high;
    pipe_chunk *first, *last;
};

/* --- reading ------------------------------------------------------------- */

static void
reader_over(yula_pipe_reader *reader, int status)
{
    reader->over = true;
    reader->reading = false;
    yula_watcher_stop(&reader->watcher);
    if (status == 0)
        reader->ops->ended(reader, reader->arg);
    else
        reader->ops->failed(reader, status, reader->arg);
}

static void
reader_took(yula_pipe_reader *reader, void *base, ssize_t n)
{
    if (n > 0)
        reader->ops->read(reader, base, (size_t)n, reader->arg);
    else if (n != -EAGAIN)
        reader_over(reader, (int)n);
}

static void
reader_read_to_owner(yula_pipe_reader *reader)
{
    void *base;
    size_t len;
    ssize_t n = reader->ops->alloc(reader, &base, &len, reader->arg);

    if (reader->fd < 0)
        return; /* freed by alloc */
    if (n == 0)
        n = yula__sys_read(reader->fd, base, len);
    reader_took(reader, base, n);
}

static void
reader_read_to_loop(yula_pipe_reader *reader)
{
    yula_loop *loop = reader->loop;
    char *buffer = yula__read_buffer_take(loop);
    ssize_t n = -ENOMEM;

    if (buffer != NULL)
        n = yula__sys_read(reader->fd, buffer, YULA_STREAM_READ_MAX);
    reader_took(reader, buffer, n);
    if (buffer != NULL)
        yula__read_buffer_put(loop, buffer);
}

static void
reader_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_pipe_reader *reader = arg;

    if (!reader->reading) {
        yula_watcher_stop(watcher);
        return;
    }
    if (reader->ops->alloc == NULL)
        reader_read_to_loop(reader);
    else
        reader_read_to_owner(reader);
}

int
yula_pipe_reader_start(yula_pipe_reader *reader)
{
    if (reader->over)
        return 0;
    if (reader->watcher.fd < 0) {
        int err = yula_watcher_start(&reader->watcher, reader->fd,
                                     YULA_READABLE, reader_on_event, reader);
        if (err < 0)
            return err;
    }
    reader->reading = true;
    return 0;
}

void
yula_pipe_reader_stop(yula_pipe_reader *reader)
{
    reader->reading = false;
}

static void
reader_bury(yula_work *work, void *arg)
{
    yula_pipe_reader *reader = arg;
    yula__free(reader->loop, reader);
}

int
yula_pipe_reader_new(yula_loop *loop, yula_lane lane, int fd,
                     const yula_pipe_reader_ops *ops, void *arg,
                     yula_pipe_reader **out)
{
    yula_pipe_reader *reader = yula__alloc(loop, sizeof(*reader));
    if (reader == NULL)
        return -ENOMEM;
    *reader = (yula_pipe_reader){
        .loop = loop, .ops = ops, .arg = arg, .fd = fd};
    yula_watcher_init(loop, &reader->watcher, lane);
    yula_work_init(&reader->grave, lane, reader_bury, reader);
    *out = reader;
    return 0;
}

void
yula_pipe_reader_free(yula_pipe_reader *reader)
{
    yula_watcher_stop(&reader->watcher);
    reader->over = true;
    reader->fd = -1;
    yula__loop_bury(reader->loop, &reader->grave);
}

/* --- the queue ------------------------------------------------------------ */

/* The chunk is out of the queue: whatever release does meets a whole queue. */
static void
chunk_free(yula_pipe_writer *writer, pipe_chunk *chunk)
{
    void *owner = chunk->owner;
    yula__free(writer->loop, chunk);
    if (owner != NULL)
        writer->ops->release(owner);
}

static void
queue_remove_first(yula_pipe_writer *writer)
{
    pipe_chunk *chunk = writer->first;
    writer->first = chunk->next;
    if (writer->first == NULL)
        writer->last = NULL;
    chunk_free(writer, chunk);
}

static void
queue_drop(yula_pipe_writer *writer)
{
    writer->queued = 0;
    while (writer->first != NULL)
        queue_remove_first(writer);
}

/* Take n written bytes off the front. A release may write, or free the writer:
 * then the queue is empty before n is used up. */
static void
queue_consume(yula_pipe_writer *writer, size_t n)
{
    writer->queued -= n;
    while (n > 0 && writer->first != NULL) {
        pipe_chunk *chunk = writer->first;
        if (n < chunk->len) {
            chunk->base += n;
            chunk->len -= n;
            return;
        }
        n -= chunk->len;
        queue_remove_first(writer);
    }
}

static bool
queue_append_to_last(yula_pipe_writer *writer, const char *base, size_t len)
{
    pipe_chunk *last = writer->last;
    if (last == NULL || last->room < len)
        return false;
    memcpy((char *)last->base + last->len, base, len);
    last->len += len;
    last->room -= len;
    writer->queued += len;
    return true;
}

/* Returns 1 if the owner is kept, 0 if the bytes were copied, or -ENOMEM. */
static int
queue_push(yula_pipe_writer *writer, const char *base, size_t len, void *owner)
{
    if (len <= PIPE_COPY_MAX)
        owner = NULL;
    if (owner == NULL && queue_append_to_last(writer, base, len))
        return 0;
    size_t capacity = owner != NULL         ? 0
                      : len > PIPE_COPY_MAX ? len
                                            : PIPE_COPY_MAX;
    pipe_chunk *chunk = yula__alloc(writer->loop, sizeof(*chunk) + capacity);
    if (chunk == NULL)
        return -ENOMEM;
    *chunk = (pipe_chunk){.base = base, .len = len, .owner = owner};
    if (owner == NULL) {
        chunk->base = memcpy(chunk->copy, base, len);
        chunk->room = capacity - len;
    }
    if (writer->last != NULL)
        writer->last->next = chunk;
    else
        writer->first = chunk;
    writer->last = chunk;
    writer->queued += len;
    return owner != NULL;
}

/* --- writing --------------------------------------------------------------- */

static void writer_on_event(yula_watcher *watcher, unsigned events, void *arg);

/* Keep I2. */
static int
writer_update_interest(yula_pipe_writer *writer)
{
    yula_watcher *watcher = &writer->watcher;
    unsigned interest = (writer->watched ? YULA_READABLE : 0u) |
                        (writer->queued > 0 ? YULA_WRITABLE : 0u);

    if (interest == 0) {
        yula_watcher_stop(watcher);
        return 0;
    }
    if (watcher->fd < 0)
        return yula_watcher_start(watcher, writer->fd, interest,
                                  writer_on_event, writer);
    return interest != watcher->interest
               ? yula_watcher_modify(watcher, interest)
               : 0;
}

static void
writer_fail(yula_pipe_writer *writer, int status)
{
    writer->status = status;
    writer->watched = false;
    yula_watcher_stop(&writer->watcher);
    queue_drop(writer);
}

static void
writer_check_high(yula_pipe_writer *writer)
{
    if (writer->pressed || writer->queued <= writer->high)
        return;
    writer->pressed = true;
    if (writer->ops->pressure != NULL)
        writer->ops->pressure(writer, true, writer->arg);
}

/* I4. A SIGPIPE that this thread has blocked already is left to whoever did. */
static ssize_t
writer_call_guarded(int fd, const struct iovec *pieces, int count)
{
    static const struct timespec now;
    sigset_t broken, before;

    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    ssize_t n = yula__sys_writev(fd, pieces, count);
    if (n == -EPIPE && !sigismember(&before, SIGPIPE))
        while (sigtimedwait(&broken, NULL, &now) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}

static ssize_t
writer_call(const yula_pipe_writer *writer, const struct iovec *pieces,
            int count)
{
    if (writer->guarded)
        return writer_call_guarded(writer->fd, pieces, count);
    return yula__sys_writev(writer->fd, pieces, count);
}

/* One call for what is queued: the kernel takes 64 KiB at a time. */
static ssize_t
writer_send(yula_pipe_writer *writer)
{
    struct iovec pieces[PIPE_IOV_MAX];
    int count = 0;

    for (pipe_chunk *chunk = writer->first;
         chunk != NULL && count < PIPE_IOV_MAX; chunk = chunk->next)
        pieces[count++] = (struct iovec){.iov_base = (void *)chunk->base,
                                         .iov_len = chunk->len};
    return writer_call(writer, pieces, count);
}

static void
writer_on_writable(yula_pipe_writer *writer)
{
    ssize_t n = writer_send(writer);
    if (n == -EAGAIN)
        return;
    if (n >= 0) {
        queue_consume(writer, (size_t)n);
        n = writer->fd >= 0 ? writer_update_interest(writer) : 0;
    }
    if (n < 0) {
        writer_fail(writer, (int)n);
        if (writer->fd >= 0) /* not freed by a release */
            writer->ops->failed(writer, (int)n, writer->arg);
        return;
    }
    if (writer->fd >= 0 && writer->pressed && writer->queued <= writer->low) {
        writer->pressed = false;
        if (writer->ops->pressure != NULL)
            writer->ops->pressure(writer, false, writer->arg);
    }
    if (writer->fd >= 0 && writer->queued == 0 && writer->status == 0 &&
        writer->ops->drained != NULL)
        writer->ops->drained(writer, writer->arg);
}

/* The end comes first, as in asyncio, whose selector queues the reader's handle
 * before the writer's: what could still be written has no reader. */
static void
writer_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_pipe_writer *writer = arg;

    if (writer->watched && (events & ~(unsigned)YULA_WRITABLE) != 0) {
        writer->watched = false;
        yula_watcher_stop(watcher);
        writer->ops->closed(writer, writer->arg);
    }
    else if (writer->queued > 0) {
        writer_on_writable(writer);
    }
}

int
yula_pipe_writer_watch(yula_pipe_writer *writer)
{
    if (writer->status != 0)
        return 0;
    writer->watched = true;
    int err = writer_update_interest(writer);
    if (err < 0)
        writer->watched = false;
    return err;
}

/* Nothing is queued: what the kernel takes of it, or an error. */
static ssize_t
writer_write_now(yula_pipe_writer *writer, const void *base, size_t len)
{
    struct iovec piece = {.iov_base = (void *)base, .iov_len = len};
    ssize_t n = writer->guarded ? writer_call_guarded(writer->fd, &piece, 1)
                                : yula__sys_write(writer->fd, base, len);
    return n == -EAGAIN ? 0 : n;
}

int
yula_pipe_write(yula_pipe_writer *writer, const void *base, size_t len,
                void *owner)
{
    ssize_t sent = 0;

    if (writer->status != 0)
        return writer->status;
    if (writer->queued == 0 && len > 0)
        sent = writer_write_now(writer, base, len);
    int kept = 0;
    if (sent >= 0 && (size_t)sent < len) {
        kept = queue_push(writer, (const char *)base + sent, len - (size_t)sent,
                          owner);
        int err = kept >= 0 ? writer_update_interest(writer) : kept;
        if (err < 0 && kept > 0)
            writer->last->owner = NULL; /* it stays the caller's */
        if (err < 0)
            sent = err;
    }
    if (sent < 0) {
        writer_fail(writer, (int)sent);
        return (int)sent;
    }
    if (kept == 0 && owner != NULL)
        writer->ops->release(owner);
    if (writer->fd >= 0)
        writer_check_high(writer);
    return 0;
}

void
yula_pipe_writer_guard(yula_pipe_writer *writer)
{
    writer->guarded = !yula__sys_ignores(SIGPIPE);
}

size_t
yula_pipe_queued(const yula_pipe_writer *writer)
{
    return writer->queued;
}

void
yula_pipe_set_marks(yula_pipe_writer *writer, size_t low, size_t high)
{
    writer->low = low;
    writer->high = high;
    writer_check_high(writer);
}

void
yula_pipe_get_marks(const yula_pipe_writer *writer, size_t *low, size_t *high)
{
    *low = writer->low;
    *high = writer->high;
}

bool
yula_pipe_pressed(const yula_pipe_writer *writer)
{
    return writer->pressed;
}

static void
writer_bury(yula_work *work, void *arg)
{
    yula_pipe_writer *writer = arg;
    yula__free(writer->loop, writer);
}

int
yula_pipe_writer_new(yula_loop *loop, yula_lane lane, int fd,
                     const yula_pipe_writer_ops *ops, void *arg,
                     yula_pipe_writer **out)
{
    yula_pipe_writer *writer = yula__alloc(loop, sizeof(*writer));
    if (writer == NULL)
        return -ENOMEM;
    *writer = (yula_pipe_writer){.loop = loop,
                                 .ops = ops,
                                 .arg = arg,
                                 .fd = fd,
                                 .low = YULA_STREAM_LOW,
                                 .high = YULA_STREAM_HIGH};
    yula_watcher_init(loop, &writer->watcher, lane);
    yula_work_init(&writer->grave, lane, writer_bury, writer);
    *out = writer;
    return 0;
}

void
yula_pipe_writer_free(yula_pipe_writer *writer)
{
    writer->fd = -1;
    writer->status = -EPIPE; /* what a release writes is refused */
    writer->watched = false;
    yula_watcher_stop(&writer->watcher);
    queue_drop(writer);
    yula__loop_bury(writer->loop, &writer->grave);
}
