/* await_stream.c: a connection, a stream as tasks use it.
 *
 *  I1. The stream reads only while a task waits for it: reader is that task. It
 *      receives straight into the task's memory or, for lines, into the buffer
 *      (intake.h); one read, and the task goes on. Who only waits (looks) is told
 *      when there is something, which stays in the kernel.
 *  I2. Who waits to write has the mutex: others queue up in front of it, so that
 *      the writes of several tasks do not mix, and come in order.
 *  I3. status is the first failure of the socket; every call tells it from then
 *      on, reading what is in the buffer apart.
 *  I4. Closed with something left to send, the connection belongs to the loop:
 *      it frees itself when that is sent or failed, or dies with the loop.
 *  I5. A single write between two reads that wait is sent at once, uncopied;
 *      where there are several, all are gathered until the task waits. Which of
 *      the two a connection does is learned: a mistake costs a system call.
 * Thread: loop.
 */
#include <string.h>

#include <yula/await.h>
#include <yula/conn.h>
#include <yula/resolve.h>

#include "coro/await_i.h"
#include "coro/conn_i.h"
#include "coro/intake.h"
#include "coro/sync_i.h"
#include "io/stream_i.h"

/* After so many single writes a connection that gathered does so no more. */
#define CONN_SINGLE 16

struct yula_conn {
    yula__request request; /* I4 */
    yula_loop *loop;
    yula_stream *stream;

    yula_task *reader; /* I1 */
    bool looks;        /* it wants no bytes now */
    bool woken;        /* it goes on, to receive */
    bool rest;         /* the last read was of what another had left over */
    bool ended;        /* the peer's half */
    int status;        /* I3 */

    yula__intake intake;

    bool gathers;   /* I5 */
    uint8_t writes; /* since a read waited, up to 2 */
    uint8_t single; /* times in a row that there was one */

    yula_mutex writing;       /* I2 */
    yula_wait_list pressed;   /* waits for the queue to fall to the low mark */
    yula_wait_list undrained; /* wait for it to run empty */
};

/* --- what the stream tells ----------------------------------------------- */

static void
conn_wake_reader(yula_conn *conn, int status)
{
    yula_task *reader = conn->reader;

    if (reader == NULL || conn->woken)
        return;
    conn->reader = NULL;
    yula_task_resume(reader, status);
}

/* There may be something. */
static int
conn_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    yula_conn *conn = arg;

    yula_stream_stop(stream);
    if (conn->looks) {
        conn_wake_reader(conn, 0);
    }
    else if (conn->reader != NULL) {
        conn->woken = true;
        yula_task_resume(conn->reader, 0);
    }
    return YULA_STREAM_LEAVE;
}

static void
conn_ended(yula_stream *stream, void *arg)
{
    yula_conn *conn = arg;

    conn->ended = true;
    conn_wake_reader(conn, YULA_EOF);
}

static void
conn_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    yula_conn *conn = arg;

    conn->status = status;
    conn_wake_reader(conn, status);
    yula__line_wake_all(&conn->pressed, status);
    yula__line_wake_all(&conn->undrained, status);
}

static void
conn_pressure(yula_stream *stream, bool high, void *arg)
{
    yula_conn *conn = arg;

    if (!high)
        yula__line_wake_all(&conn->pressed, 0);
}

static void
conn_drained(yula_stream *stream, void *arg)
{
    yula_conn *conn = arg;

    yula__line_wake_all(&conn->undrained, 0);
}

static const yula_stream_ops conn_ops = {
    .alloc = conn_alloc,
    .ended = conn_ended,
    .failed = conn_failed,
    .pressure = conn_pressure,
    .drained = conn_drained,
};

/* --- reading ------------------------------------------------------------- */

static bool
conn_withdraw_read(yula_task *task, void *arg)
{
    yula_conn *conn = arg;

    yula_stream_stop(conn->stream);
    conn->reader = NULL;
    return true;
}

/* I5. A read is about to wait: what was written since the last one? */
static inline void
conn_learn(yula_conn *conn)
{
    if (conn->gathers && conn->writes == 1) {
        if (++conn->single == CONN_SINGLE)
            conn->gathers = false;
    }
    conn->writes = 0;
}

/* Until there may be something to receive. On failure the connection may be gone. */
static inline int
conn_await(yula_conn *conn)
{
    yula_task *task = yula__task_current(conn->loop);

    conn_learn(conn);
    /* At the end of the callback, as things are, the other tasks have run. */
    if (conn->stream->queued > 0 && conn->loop->hold_len == 0)
        yula_stream_flush(conn->stream);
    conn->reader = task;
    yula_stream_start(conn->stream);
    return yula_task_suspend(task, "read", conn_withdraw_read, conn);
}

/* A read that left something over is followed by one that does not wait: that
 * costs no more than a turn of the loop, and finds the end. Not twice: a peer
 * that sends all the time must not have the loop for itself. */
static inline ssize_t
conn_receive_rest(yula_conn *conn, void *base, size_t len)
{
    conn->rest = conn->stream->readable && !conn->rest;
    return conn->rest ? yula__stream_receive(conn->stream, base, len) : -EAGAIN;
}

/* One read, waited for. Returns how much came (> 0), or fails. */
static ssize_t
conn_receive(void *owner, void *base, size_t len)
{
    yula_conn *conn = owner;

    if (conn->status < 0)
        return conn->status;
    if (conn->ended)
        return YULA_EOF;
    conn->looks = false;
    ssize_t n = conn_receive_rest(conn, base, len);
    while (n == -EAGAIN) {
        int err = conn_await(conn);
        if (err < 0)
            return err;
        conn->reader = NULL;
        conn->woken = false;
        if (conn->status < 0)
            return conn->status;
        n = yula__stream_receive(conn->stream, base, len);
    }
    return n;
}

static int
conn_read_check(const void *owner)
{
    const yula_conn *conn = owner;

    return conn->reader != NULL ? -EBUSY : yula__await_check(conn->loop);
}

static const yula__intake_ops conn_reads = {
    .check = conn_read_check,
    .receive = conn_receive,
};

ssize_t
yula_conn_read(yula_conn *conn, void *base, size_t len)
{
    return yula__intake_read(&conn->intake, &conn_reads, conn, base, len);
}

int
yula_conn_read_exactly(yula_conn *conn, void *base, size_t len, size_t *got)
{
    return yula__intake_read_exactly(&conn->intake, &conn_reads, conn, base,
                                     len, got);
}

ssize_t
yula_conn_read_until(yula_conn *conn, const void *delimiter,
                     size_t delimiter_len, char **out)
{
    return yula__intake_read_until(&conn->intake, &conn_reads, conn, delimiter,
                                   delimiter_len, out);
}

ssize_t
yula_conn_read_line(yula_conn *conn, char **out)
{
    return yula__intake_read_line(&conn->intake, &conn_reads, conn, out);
}

ssize_t
yula_conn_try_read(yula_conn *conn, void *base, size_t len)
{
    if (len == 0)
        return -EINVAL;
    if (conn->reader != NULL && !conn->looks)
        return -EBUSY;
    if (yula__intake_len(&conn->intake) > 0)
        return (ssize_t)yula__intake_fetch(&conn->intake, base, len);
    if (conn->status < 0)
        return conn->status;
    if (conn->ended)
        return YULA_EOF;
    return yula__stream_receive(conn->stream, base, len);
}

int
yula_conn_wait(yula_conn *conn)
{
    int err = conn_read_check(conn);

    if (err < 0 || yula__intake_len(&conn->intake) > 0 || conn->status < 0 ||
        conn->ended)
        return err;
    conn->looks = true;
    err = conn_await(conn);
    return err == YULA_ECANCELED ? err : 0;
}

void
yula_conn_set_limit(yula_conn *conn, size_t limit)
{
    conn->intake.limit = limit;
}

size_t
yula_conn_buffered(const yula_conn *conn)
{
    return yula__intake_len(&conn->intake);
}

/* --- writing ------------------------------------------------------------- */

static bool
conn_must_wait(const yula_conn *conn)
{
    return conn->writing.owner != NULL || conn->stream->pressed;
}

/* I5. Whether this is the first write since a read waited. */
static inline bool
conn_writes_first(yula_conn *conn)
{
    if (conn->writes == 0) {
        conn->writes = 1;
        return true;
    }
    conn->gathers = true;
    conn->single = 0;
    conn->writes = 2;
    return false;
}

/* Without waiting. */
static int
conn_put(yula_conn *conn, const char *base, size_t len)
{
    size_t sent = 0;

    if (conn_writes_first(conn) && !conn->gathers) {
        sent = yula__stream_send_now(conn->stream, base, len);
        if (sent == len)
            return 0;
    }
    int err = yula_stream_write(conn->stream, base + sent, len - sent, NULL);
    if (err < 0 && sent > 0)
        conn->status = err; /* the rest of it cannot follow */
    return err;
}

/* In parts, the queue below its high mark before each; with the mutex. */
static int
conn_write_parts(yula_conn *conn, const char *base, size_t len)
{
    while (len > 0) {
        size_t part = len < YULA_STREAM_HIGH ? len : YULA_STREAM_HIGH;
        int err = conn->status; /* may have changed while we waited */
        while (err == 0 && conn->stream->pressed)
            err = yula__line_wait(conn->loop, &conn->pressed, NULL, "write");
        if (err == 0)
            err = yula_stream_write(conn->stream, base, part, NULL);
        if (err < 0)
            return err;
        base += part;
        len -= part;
    }
    return 0;
}

int
yula_conn_write(yula_conn *conn, const void *base, size_t len)
{
    int err = yula__await_check(conn->loop);
    size_t sent = 0;

    if (err == 0)
        err = conn->status;
    if (err < 0)
        return err;
    if (!conn_must_wait(conn)) {
        if (len <= YULA_STREAM_HIGH)
            return conn_put(conn, base, len);
        (void)conn_writes_first(conn);
        sent = yula__stream_send_now(conn->stream, base, len);
        if (sent == len)
            return 0;
    }
    err = yula_mutex_lock(&conn->writing);
    if (err < 0)
        return err;
    err = conn_write_parts(conn, (const char *)base + sent, len - sent);
    (void)yula_mutex_unlock(&conn->writing);
    return err;
}

int
yula_conn_try_write(yula_conn *conn, const void *base, size_t len)
{
    if (conn->status < 0)
        return conn->status;
    if (conn_must_wait(conn))
        return -EAGAIN;
    return conn_put(conn, base, len);
}

int
yula_conn_drain(yula_conn *conn)
{
    int err = yula__await_check(conn->loop);

    if (err == 0)
        err = conn->status;
    if (err < 0)
        return err;
    /* A failure that conn_failed was not told of yet has emptied the queue. */
    if (yula_stream_queued(conn->stream) == 0 &&
        !yula_stream_failed(conn->stream))
        return 0;
    return yula__line_wait(conn->loop, &conn->undrained, NULL, "drain");
}

int
yula__conn_reserve(yula_conn *conn)
{
    int err = yula__await_check(conn->loop);

    if (err == 0)
        err = conn->status;
    return err < 0 ? err : yula_mutex_lock(&conn->writing);
}

void
yula__conn_release(yula_conn *conn)
{
    (void)yula_mutex_unlock(&conn->writing);
}

int
yula__conn_await_drained(yula_conn *conn)
{
    if (conn->status < 0)
        return conn->status;
    return yula__line_wait(conn->loop, &conn->undrained, NULL, "write");
}

int
yula_conn_shutdown(yula_conn *conn)
{
    return yula_stream_shutdown(conn->stream);
}

/* --- life ---------------------------------------------------------------- */

int
yula_conn_new(yula_loop *loop, int fd, yula_conn **out)
{
    yula_lane lane = yula__await_lane(loop);
    yula_conn *conn = yula__alloc(loop, sizeof(*conn));

    if (conn == NULL)
        return -ENOMEM;
    memset(conn, 0, sizeof(*conn));
    conn->loop = loop;
    yula__intake_init(&conn->intake, &loop->allocator, YULA_CONN_LIMIT);
    yula_mutex_init(loop, &conn->writing);
    int err = yula_stream_new(loop, lane, fd, &conn_ops, conn, &conn->stream);
    if (err < 0) {
        yula__free(loop, conn);
        return err;
    }
    *out = conn;
    return 0;
}

/* Try the addresses of a list in turn. Returns a socket, or why the last one
 * failed. */
static int
conn_connect_any(yula_loop *loop, const struct addrinfo *list)
{
    int fd = -EADDRNOTAVAIL;

    for (; list != NULL; list = list->ai_next) {
        fd = yula_await_connect(loop, list->ai_addr, list->ai_addrlen);
        if (fd >= 0 || fd == YULA_ECANCELED)
            break;
    }
    return fd;
}

int
yula_conn_connect(yula_loop *loop, const char *host, const char *service,
                  yula_conn **out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int err = yula_await_resolve(loop, host, service, &hints, &list);

    if (err < 0)
        return err;
    int fd = conn_connect_any(loop, list);
    yula_addrinfo_free(list);
    if (fd < 0)
        return fd;
    err = yula_conn_new(loop, fd, out);
    if (err < 0)
        yula__sys_close(fd);
    return err;
}

/* --- the end ------------------------------------------------------------- */

/* A task that waits would go on in freed memory. */
static void
conn_must_be_idle(yula_conn *conn)
{
    if (conn->woken) { /* but one that was woken goes on without it */
        yula_task *reader = conn->reader;
        reader->status = reader->interrupted ? YULA_ECANCELED : -ECONNABORTED;
        conn->reader = NULL;
        conn->woken = false;
    }
    yula__rule(
        conn->reader == NULL,
        "a task still reads from the connection: cancel and join it first");
    yula__rule(
        conn->writing.owner == NULL && conn->undrained.first == NULL,
        "a task still writes to the connection: cancel and join it first");
}

void
yula_conn_abort(yula_conn *conn)
{
    if (conn == NULL)
        return;
    conn_must_be_idle(conn);
    (void)yula_stream_free(conn->stream, true);
    yula__intake_fini(&conn->intake);
    yula__free(conn->loop, conn);
}

static void
conn_drop(yula_loop *loop, yula__request *request)
{
    yula_conn_abort(yula__container_of(request, yula_conn, request));
}

static void
conn_left(yula_stream *stream, void *arg)
{
    yula_conn *conn = arg;

    yula__request_remove(&conn->request);
    yula_conn_abort(conn);
}

static void
conn_left_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    conn_left(stream, arg);
}

static const yula_stream_ops conn_leaving_ops = {
    .failed = conn_left_failed,
    .drained = conn_left,
};

void
yula_conn_close(yula_conn *conn)
{
    if (conn == NULL)
        return;
    conn_must_be_idle(conn);
    if (yula_stream_queued(conn->stream) == 0) {
        yula_conn_abort(conn);
        return;
    }
    yula_stream_set_ops(conn->stream, &conn_leaving_ops);
    conn->request.drop = conn_drop;
    yula__request_add(conn->loop, &conn->request);
}

yula_stream *
yula_conn_stream(yula_conn *conn)
{
    return conn->stream;
}

yula_loop *
yula_conn_loop(const yula_conn *conn)
{
    return conn->loop;
}

int
yula_conn_fd(const yula_conn *conn)
{
    return yula_stream_fd(conn->stream);
}
