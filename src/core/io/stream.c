/* stream.c: a connected byte stream: remembered readiness, one read a turn,
 * gathered writes.
 *
 *  I1. The descriptor is registered once, edge-triggered; `readable` says that
 *      a read may find something, and is cleared only by proof: EAGAIN, 0, or,
 *      on TCP with nothing special reported, a read shorter than asked for.
 *      (Data and FIN arrive as one event; so do urgent data, and on Unix
 *      sockets descriptors: there a short read proves nothing.)
 *  I2. queued == sum of the lengths of the chunks; blocked means the kernel
 *      refused bytes and a WRITABLE event will come.
 *  I3. After yula_stream_free fd is -1 and no callback runs; the memory goes
 *      when no callback is on the stack any more.
 * Thread: loop.
 */
#include "io/stream_i.h"

#include "base/sys_file.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* Up to here a copy costs less than a system call of its own (4-6 us for one
 * loopback send, well below 1 us for the copy). */
#define STREAM_COPY_MAX 16384

/* Pieces of one sendmsg; more are taken by the next one. Linux takes 1024. */
#define STREAM_IOV_MAX 64

static void stream_deferred(yula_work *work, void *arg);
static void queue_drop(yula_stream *stream);

/* --- reading ------------------------------------------------------------- */

char *
yula__read_buffer_take(yula_loop *loop)
{
    char *buffer = loop->read_buffer;
    loop->read_buffer = NULL;
    return buffer != NULL ? buffer : yula__alloc(loop, YULA_STREAM_READ_MAX);
}

void
yula__read_buffer_put(yula_loop *loop, char *buffer)
{
    if (loop->read_buffer == NULL)
        loop->read_buffer = buffer;
    else
        yula__free(loop, buffer);
}

void *
yula_loop_read_buffer(yula_loop *loop)
{
    if (loop->read_buffer == NULL)
        loop->read_buffer = yula__alloc(loop, YULA_STREAM_READ_MAX);
    return loop->read_buffer;
}

static void
stream_fail(yula_stream *stream, int status, bool writing)
{
    if (stream->failed)
        return;
    stream->failed = true;
    stream->reading = false;
    queue_drop(stream);
    if (stream->fd >= 0) /* not freed by a release */
        stream->ops->failed(stream, status, writing, stream->arg);
}

static inline ssize_t
stream_take(yula_stream *stream, void *base, size_t len, bool *drained)
{
    if (__builtin_expect(stream->has_read_ahead, 0))
        return yula__ahead_take(stream, base, len, drained);
    ssize_t n = yula__sys_recv(stream->fd, base, len);
    *drained = n > 0 && (size_t)n < len;
    return n;
}

static inline void
stream_note_received(yula_stream *stream, bool drained)
{
    if (drained && stream->tcp && stream->trouble == 0)
        stream->readable = false;
}

static void
stream_found_nothing(yula_stream *stream)
{
    stream->readable = false;
    stream->trouble &= ~(unsigned)YULA_PRIORITY;
}

/* n: what a read returned, the end or a failure. */
__attribute__((noinline)) static void
stream_received_nothing(yula_stream *stream, ssize_t n)
{
    if (n == -EAGAIN) {
        stream_found_nothing(stream);
        return;
    }
    stream->readable = false;
    if (n < 0) {
        stream_fail(stream, (int)n, false);
        return;
    }
    stream->reading = false;
    stream->ended = true;
    stream->ops->ended(stream, stream->arg);
}

static void
stream_receive(yula_stream *stream, void *base, size_t len)
{
    bool drained;
    ssize_t n = stream_take(stream, base, len, &drained);
    if (n > 0) {
        stream_note_received(stream, drained);
        /* Queued behind what read queues, as asyncio would see it; but a turn
         * nested in read must not miss it. */
        stream->loop->resume = &stream->watcher.work;
        stream->ops->read(stream, base, (size_t)n, stream->arg);
        stream->loop->resume = NULL;
        if (stream->readable && stream->fd >= 0 && stream->reading)
            yula_watcher_again(&stream->watcher, 0);
        return;
    }
    stream_received_nothing(stream, n);
    if (n == -EAGAIN && stream->ops->unused != NULL)
        stream->ops->unused(stream, stream->arg);
}

static void
stream_read_to_loop(yula_stream *stream)
{
    yula_loop *loop = stream->loop;
    char *buffer = yula__read_buffer_take(loop);

    if (buffer == NULL) {
        stream_fail(stream, -ENOMEM, false);
        return;
    }
    stream_receive(stream, buffer, YULA_STREAM_READ_MAX);
    yula__read_buffer_put(loop, buffer);
}

static void
stream_read_to_owner(yula_stream *stream)
{
    void *base;
    size_t len = 0;

    int err = stream->ops->alloc(stream, &base, &len, stream->arg);
    if (stream->fd < 0)
        return; /* freed by alloc */
    if (err == YULA_STREAM_LEAVE)
        return;
    if (err > 0) { /* not now */
        if (stream->reading)
            yula_watcher_again(&stream->watcher, 0);
        return;
    }
    if (err == 0 && len == 0)
        err = -ENOBUFS;
    /* A pause inside alloc counts from the next read on, as in asyncio: who
     * pauses in every get_buffer() would otherwise never read. */
    if (err < 0)
        stream_fail(stream, err, false);
    else
        stream_receive(stream, base, len);
}

static void
stream_read(yula_stream *stream)
{
    if (stream->ops->alloc == NULL)
        stream_read_to_loop(stream);
    else
        stream_read_to_owner(stream);
}

/* Reported when the callback has returned, not from inside a call of the
 * owner's; no later, or the owner hears of it a turn after asyncio's would. */
static void
stream_fail_later(yula_stream *stream, int status, bool writing)
{
    if (stream->failed)
        return;
    stream->failed = true;
    stream->reading = false;
    stream->late_status = status;
    stream->late_writing = writing;
    yula_work_cancel(&stream->deferred); /* there is nothing left to send */
    if (stream->loop->in_callback > 0)
        yula_loop_defer(stream->loop, &stream->deferred);
    else
        yula_work_queue(stream->loop, &stream->deferred);
    queue_drop(stream);
}

bool
yula_stream_has_data(const yula_stream *stream)
{
    return stream->reported && stream->trouble == 0;
}

size_t
yula_stream_take(yula_stream *stream, void *base, size_t len)
{
    bool drained;

    if (!stream->readable || stream->failed || stream->ended)
        return 0;
    ssize_t n = stream_take(stream, base, len, &drained);
    if (n > 0)
        stream_note_received(stream, drained);
    else if (n == -EAGAIN)
        stream_found_nothing(stream);
    else if (n < 0)
        stream_fail_later(stream, (int)n, false);
    /* The rest, or the end, in the next turn. */
    if (stream->readable && stream->reading)
        yula_watcher_again(&stream->watcher, 0);
    return n > 0 ? (size_t)n : 0;
}

ssize_t
yula__stream_receive(yula_stream *stream, void *base, size_t len)
{
    bool drained;

    if (!stream->readable || stream->failed || stream->ended)
        return -EAGAIN;
    ssize_t n = stream_take(stream, base, len, &drained);
    if (__builtin_expect(n <= 0, 0)) {
        stream_received_nothing(stream, n);
        return n == 0 ? YULA_EOF : n;
    }
    stream_note_received(stream, drained);
    if (__builtin_expect(stream->readable && stream->reading, 0))
        yula_watcher_again(&stream->watcher, 0); /* for who waits to look */
    return n;
}

void
yula_stream_start(yula_stream *stream)
{
    if (stream->ended || stream->failed)
        return;
    stream->reading = true;
    if (stream->readable)
        yula_watcher_again(&stream->watcher, 0);
}

void
yula_stream_stop(yula_stream *stream)
{
    stream->reading = false;
}

/* --- the queue of chunks ------------------------------------------------- */

static int
queue_take_array(yula_stream *stream)
{
    yula_loop *loop = stream->loop;
    void **array = loop->chunk_arrays;

    if (array != NULL) {
        loop->chunk_arrays = *array;
        loop->chunk_array_count--;
    }
    else {
        array = yula__alloc(loop,
                            YULA__STREAM_FIRST_CHUNKS * sizeof(yula__chunk));
    }
    if (array == NULL)
        return -ENOMEM;
    stream->chunks = (yula__chunk *)(void *)array;
    stream->chunk_capacity = YULA__STREAM_FIRST_CHUNKS;
    return 0;
}

static void
queue_put_array(yula_stream *stream)
{
    yula_loop *loop = stream->loop;
    void **array = (void **)(void *)stream->chunks;

    if (stream->chunk_capacity == YULA__STREAM_FIRST_CHUNKS &&
        loop->chunk_array_count < YULA__STREAM_CHUNKS_KEPT) {
        *array = loop->chunk_arrays;
        loop->chunk_arrays = array;
        loop->chunk_array_count++;
    }
    else {
        yula__free(loop, array);
    }
    stream->chunks = NULL;
    stream->chunk_capacity = 0;
}

void
yula__stream_chunks_fini(yula_loop *loop)
{
    while (loop->chunk_arrays != NULL) {
        void **array = loop->chunk_arrays;
        loop->chunk_arrays = *array;
        yula__free(loop, array);
    }
}

static int
queue_reserve(yula_stream *stream)
{
    yula__chunk *items = stream->chunks;
    unsigned count = stream->chunk_end - stream->chunk_first;

    if (stream->chunk_end < stream->chunk_capacity)
        return 0;
    if (items == NULL)
        return queue_take_array(stream);
    if (stream->chunk_first >= stream->chunk_capacity / 2) {
        memmove(items, items + stream->chunk_first, count * sizeof(*items));
    }
    else {
        unsigned capacity = stream->chunk_capacity * 2;
        yula__chunk *grown = yula__alloc(stream->loop,
                                         capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        memcpy(grown, items + stream->chunk_first, count * sizeof(*items));
        queue_put_array(stream);
        stream->chunks = grown;
        stream->chunk_capacity = capacity;
    }
    stream->chunk_first = 0;
    stream->chunk_end = count;
    return 0;
}

static void
queue_emptied(yula_stream *stream)
{
    stream->chunk_first = stream->chunk_end = 0;
    queue_put_array(stream);
}

/* The chunk is out of the queue: whatever release does meets a whole queue. */
static void
chunk_release(yula_stream *stream, yula__chunk chunk)
{
    if (chunk.copy != NULL)
        yula__free(stream->loop, chunk.copy);
    else if (chunk.owner != NULL)
        stream->ops->release(chunk.owner);
}

/* Take n sent bytes off the front. A release may free the stream, or write and
 * fail: then the queue is empty before n is used up. */
static void
queue_consume(yula_stream *stream, size_t n)
{
    stream->queued -= n;
    while (n > 0 && stream->chunk_first < stream->chunk_end) {
        yula__chunk *chunk = &stream->chunks[stream->chunk_first];
        if (n < chunk->len) {
            chunk->base += n;
            chunk->len -= n;
            return;
        }
        n -= chunk->len;
        yula__chunk done = *chunk;
        if (++stream->chunk_first == stream->chunk_end)
            queue_emptied(stream);
        chunk_release(stream, done);
    }
}

static void
queue_drop(yula_stream *stream)
{
    stream->queued = 0;
    while (stream->chunk_first < stream->chunk_end) {
        yula__chunk done = stream->chunks[stream->chunk_first];
        if (++stream->chunk_first == stream->chunk_end)
            queue_emptied(stream);
        chunk_release(stream, done);
    }
}

static int
queue_push(yula_stream *stream, const char *base, size_t len, void *owner)
{
    yula__chunk chunk = {.base = base, .len = len, .owner = owner};

    int err = queue_reserve(stream);
    if (err < 0)
        return err;
    if (owner == NULL) {
        chunk.copy = yula__alloc(stream->loop, len);
        if (chunk.copy == NULL) {
            if (stream->chunk_end == 0)
                queue_put_array(stream);
            return -ENOMEM;
        }
        chunk.base = memcpy(chunk.copy, base, len);
    }
    stream->chunks[stream->chunk_end++] = chunk;
    stream->queued += len;
    return 0;
}

/* --- writing ------------------------------------------------------------- */

/* At most room bytes: one call sends on and on while the peer makes room. */
ssize_t
yula__stream_send_once(yula_stream *stream, size_t room)
{
    const yula__chunk *chunk = &stream->chunks[stream->chunk_first];
    unsigned count = stream->chunk_end - stream->chunk_first;

    if (count == 1)
        return yula__sys_send(stream->fd, chunk->base,
                              yula__smaller(chunk->len, room));
    struct iovec pieces[STREAM_IOV_MAX];
    if (count > STREAM_IOV_MAX)
        count = STREAM_IOV_MAX;
    for (unsigned i = 0; i < count; i++) {
        size_t len = yula__smaller(chunk[i].len, room);
        pieces[i] = (struct iovec){.iov_base = (void *)chunk[i].base,
                                   .iov_len = len};
        room -= len;
    }
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    return yula__sys_sendmsg(stream->fd, &message);
}

/* Unix sockets report an edge for every send, so they ask for WRITABLE only
 * while blocked; TCP asks once. */
static int
stream_want_writable(yula_stream *stream, bool wanted)
{
    unsigned interest = stream->watcher.interest;
    if (stream->tcp || stream->watcher.fd < 0)
        return 0;
    interest = wanted ? interest | YULA_WRITABLE
                      : interest & ~(unsigned)YULA_WRITABLE;
    if (interest == stream->watcher.interest)
        return 0;
    return yula_watcher_modify(&stream->watcher, interest);
}

static void
stream_shutdown_now(yula_stream *stream)
{
    stream->shutdown_done = true;
    /* A peer that is gone already needs no goodbye. */
    (void)yula__sys_shutdown(stream->fd, SHUT_WR);
}

static void
stream_write_failed(yula_stream *stream, int status)
{
    stream_fail_later(stream, status, true);
}

static void
stream_block(yula_stream *stream)
{
    stream->blocked = true;
    int err = stream_want_writable(stream, true);
    if (err < 0)
        stream_write_failed(stream, err);
}

static void
stream_check_high(yula_stream *stream)
{
    if (stream->pressed || stream->failed || stream->queued <= stream->high)
        return;
    stream->pressed = true;
    if (stream->ops->pressure != NULL)
        stream->ops->pressure(stream, true, stream->arg);
}

/* The others' turn: go on in the next one, as if the kernel had asked. */
static void
stream_rest(yula_stream *stream)
{
    stream->blocked = true;
    yula_watcher_again(&stream->watcher, YULA_WRITABLE);
}

static inline ssize_t
stream_send_next(yula_stream *stream, size_t room)
{
    if (__builtin_expect(!stream->has_sent_ahead, 1))
        return yula__stream_send_once(stream, room);
    stream->has_sent_ahead = false;
    return stream->ahead_sent;
}

/* Send until the queue is empty or the kernel refuses: a refusal, not a short
 * count, is what makes the kernel promise an event. A peer that drains as fast
 * as we send never makes it refuse, hence the budget. A release that writes
 * finds sent chunks in front of its own; the send it came from takes it along. */
static void
stream_send(yula_stream *stream)
{
    if (stream->loop->closed)
        return; /* a fork's child: the parent sends it */
    size_t room = YULA_STREAM_WRITE_BUDGET;

    if (stream->sending)
        return;
    stream->sending = true;
    while (stream->queued > 0 && !stream->blocked) {
        if (room == 0) {
            stream_rest(stream);
            break;
        }
        ssize_t n = stream_send_next(stream, room);
        if (n == -EAGAIN) {
            stream_block(stream);
        }
        else if (n < 0) {
            stream_write_failed(stream, (int)n);
        }
        else {
            room -= (size_t)n;
            queue_consume(stream, (size_t)n);
        }
    }
    stream->sending = false;
    if (stream->failed) /* or freed by a release */
        return;
    if (stream->queued > 0)
        stream_check_high(stream);
    else if (stream->shutdown_wanted && !stream->shutdown_done)
        stream_shutdown_now(stream);
}

void
yula_stream_flush(yula_stream *stream)
{
    if (stream->queued > 0 && !stream->blocked && stream->fd >= 0)
        stream_send(stream);
}

/* The end of the callback: send what it wrote, say that this failed, or let go
 * of a freed stream. */
static void
stream_deferred(yula_work *work, void *arg)
{
    yula_stream *stream = arg;
    int status = stream->late_status;

    stream->late_status = 0;
    if (stream->fd < 0)
        yula__free(stream->loop, stream);
    else if (__builtin_expect(status < 0, 0))
        stream->ops->failed(stream, status, stream->late_writing, stream->arg);
    else
        yula_stream_flush(stream);
}

/* Copying is only needed for what cannot be sent at once. Returns how much was
 * sent. */
static size_t
stream_send_uncopied(yula_stream *stream, const void *base, size_t len)
{
    if (stream->queued > 0 || stream->blocked)
        return 0;
    ssize_t n = yula__sys_send(stream->fd, base,
                               yula__smaller(len, YULA_STREAM_WRITE_BUDGET));
    if (n >= 0)
        return (size_t)n;
    if (n != -EAGAIN) {
        stream_write_failed(stream, (int)n);
        return len;
    }
    stream_block(stream);
    return stream->failed ? len : 0;
}

size_t
yula__stream_send_now(yula_stream *stream, const void *base, size_t len)
{
    if (stream->failed || stream->shutdown_wanted || stream->loop->closed ||
        stream->loop->hold_len == YULA__HOLD_ALL)
        return 0;
    return stream_send_uncopied(stream, base, len);
}

ssize_t
yula__stream_send_file(yula_stream *stream, int fd, int64_t *offset, size_t len)
{
    if (stream->failed || stream->shutdown_wanted || stream->loop->closed)
        return -EPIPE;
    if (yula_stream_queued(stream) > 0 || stream->blocked)
        return -EAGAIN;
    ssize_t n = yula__sys_sendfile(stream->fd, fd, offset, len);
    if (n == -EAGAIN)
        stream_block(stream);
    return n;
}

/* Small pieces of one callback are worth a copy: they leave together. */
static bool
stream_gathers(const yula_stream *stream, size_t len)
{
    return stream->loop->in_callback > 0 && len <= STREAM_COPY_MAX;
}

int
yula_stream_write(yula_stream *stream, const void *base, size_t len,
                  void *owner)
{
    if (__builtin_expect(stream->shutdown_wanted, 0))
        return -EPIPE;
    if (__builtin_expect(stream->failed || len == 0, 0)) {
        if (owner != NULL)
            stream->ops->release(owner);
        return 0;
    }
    size_t sent = 0;
    if (owner == NULL && !stream_gathers(stream, len)) {
        sent = stream_send_uncopied(stream, base, len);
        if (sent == len)
            return 0;
    }
    int err = queue_push(stream, (const char *)base + sent, len - sent, owner);
    if (err < 0 && sent > 0)
        stream_write_failed(stream, err); /* half a message is on its way */
    if (err < 0)
        return sent > 0 ? 0 : err;
    if (!stream->blocked && !stream->sending) {
        if (stream->loop->in_callback == 0 || stream->queued > stream->high)
            stream_send(stream);
        else
            yula__ahead_defer(stream);
    }
    if (__builtin_expect(stream->queued > stream->high, 0) && !stream->sending)
        stream_check_high(stream);
    return 0;
}

/* The all-clear comes before `drained`, which may close: what it makes the user
 * write still goes out (asyncio's _write_ready; TLS says goodbye there). */
static void
stream_writable(yula_stream *stream)
{
    stream->blocked = false;
    stream_send(stream);
    if (!stream->failed && stream->pressed && stream->queued <= stream->low) {
        stream->pressed = false;
        if (stream->ops->pressure != NULL)
            stream->ops->pressure(stream, false, stream->arg);
        yula_stream_flush(stream);
    }
    if (stream->failed || stream->blocked) /* or freed in a callback */
        return;
    (void)stream_want_writable(stream, false); /* else: a wasted event */
    if (stream->ops->drained != NULL)
        stream->ops->drained(stream, stream->arg);
}

int
yula_stream_shutdown(yula_stream *stream)
{
    if (stream->shutdown_wanted)
        return -EALREADY;
    stream->shutdown_wanted = true;
    yula_stream_flush(stream);
    if (stream->queued == 0 && !stream->shutdown_done && !stream->failed)
        stream_shutdown_now(stream);
    return 0;
}

size_t
yula_stream_queued(yula_stream *stream)
{
    yula_stream_flush(stream);
    return stream->queued;
}

size_t
yula_stream_peek_queued(const yula_stream *stream)
{
    return stream->queued;
}

void
yula_stream_get_marks(const yula_stream *stream, size_t *low, size_t *high)
{
    *low = stream->low;
    *high = stream->high;
}

void
yula_stream_set_marks(yula_stream *stream, size_t low, size_t high)
{
    stream->low = low;
    stream->high = high;
    if (stream->queued > high) {
        yula_stream_flush(stream);
        stream_check_high(stream);
    }
}

/* --- life ---------------------------------------------------------------- */

/* Reads come first, as in asyncio, whose selector queues the reader's handle
 * before the writer's. */
void
yula__stream_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_stream *stream = arg;

    stream->trouble |= events & YULA__STREAM_TROUBLE;
    stream->reported = (events & YULA_READABLE) != 0;
    if (events & (YULA_READABLE | YULA__STREAM_TROUBLE))
        stream->readable = true;
    if (stream->readable && stream->reading)
        stream_read(stream);
    if (stream->blocked && stream->fd >= 0 &&
        (events & (YULA_WRITABLE | YULA_HANGUP | YULA_ERROR)))
        stream_writable(stream);
}

int
yula_stream_new(yula_loop *loop, yula_lane lane, int fd,
                const yula_stream_ops *ops, void *arg, yula_stream **out)
{
    return yula__stream_new(loop, lane, fd, YULA__STREAM_ASK, ops, arg, out);
}

int
yula__stream_new(yula_loop *loop, yula_lane lane, int fd, int kind,
                 const yula_stream_ops *ops, void *arg, yula_stream **out)
{
    yula_stream *stream = yula__alloc(loop, sizeof(*stream));
    if (stream == NULL)
        return -ENOMEM;
    memset(stream, 0, sizeof(*stream));
    stream->loop = loop;
    stream->fd = fd;
    stream->ops = ops;
    stream->arg = arg;
    stream->tcp = kind == YULA__STREAM_ASK
                      ? yula__sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL) ==
                            IPPROTO_TCP
                      : kind == YULA__STREAM_TCP;
    if (stream->tcp) /* writes are gathered here, not by Nagle's algorithm */
        (void)yula__sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    stream->low = YULA_STREAM_LOW;
    stream->high = YULA_STREAM_HIGH;
    yula_work_init(&stream->deferred, lane, stream_deferred, stream);
    yula_watcher_init(loop, &stream->watcher, lane);
    unsigned interest = YULA_READABLE | YULA_EDGE;
    if (stream->tcp)
        interest |= YULA_WRITABLE | YULA_PRIORITY;
    int err = yula_watcher_start(&stream->watcher, fd, interest,
                                 yula__stream_on_event, stream);
    if (err < 0) {
        yula__free(loop, stream);
        return err;
    }
    loop->ahead = &yula__stream_ahead;
    *out = stream;
    return 0;
}

int
yula_stream_free(yula_stream *stream, bool close_fd)
{
    yula_loop *loop = stream->loop;
    int fd = stream->fd;

    stream->reading = false;
    stream->failed = true; /* what a release writes is dropped */
    yula__watcher_stop(&stream->watcher, close_fd);
    yula_work_cancel(&stream->deferred);
    if (loop->resume == &stream->watcher.work)
        loop->resume = NULL;
    queue_drop(stream);
    yula__ahead_drop(stream);
    stream->fd = -1;
    if (close_fd)
        yula__sys_close(fd);
    yula__loop_bury(loop, &stream->deferred);
    return fd;
}

int
yula_stream_fd(const yula_stream *stream)
{
    return stream->fd;
}

void
yula_stream_set_ops(yula_stream *stream, const yula_stream_ops *ops)
{
    stream->ops = ops;
}

bool
yula_stream_failed(const yula_stream *stream)
{
    return stream->failed;
}

bool
yula_stream_pressed(const yula_stream *stream)
{
    return stream->pressed;
}

yula_stream *
yula_stream_of(yula_loop *loop, int fd)
{
    yula_watcher *watcher = yula_watcher_of(loop, fd);
    if (watcher == NULL || watcher->cb != yula__stream_on_event)
        return NULL;
    return yula__container_of(watcher, yula_stream, watcher);
}

void *
yula_stream_arg(const yula_stream *stream)
{
    return stream->arg;
}
