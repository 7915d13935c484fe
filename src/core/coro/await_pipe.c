/* await_pipe.c: the ends of pipes as tasks use them.
 *
 * A source is to a pipe's reader what a connection is to its stream, a sink the
 * same for a writer.
 *  I1. The reader reads only while a task waits for it: reading is that task. It
 *      reads straight into the task's memory or, for lines, into the buffer
 *      (intake.h); one read, and the task goes on.
 *  I2. What cannot be waited for (epoll refuses files) is read on a worker.
 *  I3. Who waits to write has the mutex: others queue up in front of it, so that
 *      the writes of several tasks do not mix, and come in order.
 *  I4. status is the first failure; every call tells it from then on, reading
 *      what is in the buffer apart.
 *  I5. Closed with something left to write, the sink belongs to the loop: it
 *      frees itself when that is written or failed, or dies with the loop.
 * Thread: loop.
 */
#include <yula/await.h>
#include <yula/pipe.h>

#include "base/sys_process.h"
#include "coro/await_i.h"
#include "coro/intake.h"
#include "coro/sync_i.h"

struct yula_source {
    yula_loop *loop;
    yula_pipe_reader *reader;
    int fd;
    yula_task *reading; /* I1 */
    void *wanted;       /* where to, bytes */
    size_t wanted_len;
    bool is_file; /* I2 */
    bool ended;
    int status; /* I4 */
    yula__intake intake;
};

/* Most bytes of one read: its count goes through an int. */
#define SOURCE_READ_MAX ((size_t)1 << 30)

struct yula_sink {
    yula__request request; /* I5 */
    yula_loop *loop;
    yula_pipe_writer *writer;
    int fd;
    bool leaving;             /* I5 */
    int status;               /* I4 */
    yula_mutex writing;       /* I3 */
    yula_wait_list pressed;   /* waits for the queue to fall to the low mark */
    yula_wait_list undrained; /* wait for it to run empty */
};

/* --- what a reader tells -------------------------------------------------- */

static void
source_wake(yula_source *source, int status)
{
    yula_task *task = source->reading;

    source->reading = NULL;
    if (task != NULL)
        yula_task_resume(task, status);
}

static int
source_alloc(yula_pipe_reader *reader, void **base, size_t *len, void *arg)
{
    yula_source *source = arg;

    *base = source->wanted;
    *len = source->wanted_len;
    return 0;
}

static void
source_received(yula_pipe_reader *reader, void *base, size_t len, void *arg)
{
    yula_source *source = arg;

    yula_pipe_reader_stop(reader);
    source_wake(source, (int)len);
}

static void
source_ended(yula_pipe_reader *reader, void *arg)
{
    yula_source *source = arg;

    source->ended = true;
    source_wake(source, YULA_EOF);
}

static void
source_failed(yula_pipe_reader *reader, int status, void *arg)
{
    yula_source *source = arg;

    source->status = status;
    source_wake(source, status);
}

static const yula_pipe_reader_ops source_ops = {
    .alloc = source_alloc,
    .read = source_received,
    .ended = source_ended,
    .failed = source_failed,
};

/* --- reading -------------------------------------------------------------- */

static bool
source_withdraw_read(yula_task *task, void *arg)
{
    yula_source *source = arg;

    yula_pipe_reader_stop(source->reader);
    source->reading = NULL;
    return true;
}

static int
source_read_file(void *arg)
{
    yula_source *source = arg;

    return (int)yula__sys_read(source->fd, source->wanted, source->wanted_len);
}

/* I2. It has not run if the worker's answer is not the read's own. */
static int
source_receive_file(yula_source *source)
{
    source->reading = yula_task_current(source->loop);
    int n = yula_await_work(source->loop, source_read_file, source);
    source->reading = NULL;
    if (n == 0) {
        source->ended = true;
        n = YULA_EOF;
    }
    return n;
}

static ssize_t
source_receive(void *owner, void *base, size_t len)
{
    yula_source *source = owner;

    if (source->status < 0)
        return source->status;
    if (source->ended)
        return YULA_EOF;
    source->wanted = base;
    source->wanted_len = len < SOURCE_READ_MAX ? len : SOURCE_READ_MAX;
    int err = source->is_file ? -EPERM : yula_pipe_reader_start(source->reader);
    if (err == -EPERM) {
        source->is_file = true;
        return source_receive_file(source);
    }
    if (err < 0)
        return err;
    source->reading = yula_task_current(source->loop);
    return yula_task_suspend(source->reading, "read", source_withdraw_read,
                             source);
}

static int
source_read_check(const void *owner)
{
    const yula_source *source = owner;

    return source->reading != NULL ? -EBUSY : yula__await_check(source->loop);
}

static const yula__intake_ops source_reads = {
    .check = source_read_check,
    .receive = source_receive,
};

ssize_t
yula_source_read(yula_source *source, void *base, size_t len)
{
    return yula__intake_read(&source->intake, &source_reads, source, base, len);
}

int
yula_source_read_exactly(yula_source *source, void *base, size_t len,
                         size_t *got)
{
    return yula__intake_read_exactly(&source->intake, &source_reads, source,
                                     base, len, got);
}

ssize_t
yula_source_read_until(yula_source *source, const void *delimiter,
                       size_t delimiter_len, char **out)
{
    return yula__intake_read_until(&source->intake, &source_reads, source,
                                   delimiter, delimiter_len, out);
}

ssize_t
yula_source_read_line(yula_source *source, char **out)
{
    return yula__intake_read_line(&source->intake, &source_reads, source, out);
}

void
yula_source_set_limit(yula_source *source, size_t limit)
{
    source->intake.limit = limit;
}

size_t
yula_source_buffered(const yula_source *source)
{
    return yula__intake_len(&source->intake);
}

/* --- descriptors ---------------------------------------------------------- */

/* The one of a pseudo-terminal's master makes a new pair when it is opened. */
static bool
fd_is_terminal(int fd, const struct stat *info)
{
    static const dev_t ptmx = 5 << 8 | 2;

    return S_ISCHR(info->st_mode) && info->st_rdev != ptmx && isatty(fd);
}

/* A descriptor of our own of what others have, too. */
static int
fd_share(int fd, int flags)
{
    struct stat info;

    if (fstat(fd, &info) < 0)
        return -errno;
    if (S_ISFIFO(info.st_mode) || fd_is_terminal(fd, &info)) {
        int own = yula__sys_reopen(fd, flags);
        if (own >= 0)
            return own;
    }
    return yula__sys_dup(fd);
}

int
yula_source_new(yula_loop *loop, int fd, yula_source **out)
{
    yula_lane lane = yula__await_lane(loop);
    yula_source *source = yula__alloc(loop, sizeof(*source));

    if (source == NULL)
        return -ENOMEM;
    *source = (yula_source){.loop = loop, .fd = fd};
    yula__intake_init(&source->intake, &loop->allocator, YULA_SOURCE_LIMIT);
    int err = yula_pipe_reader_new(loop, lane, fd, &source_ops, source,
                                   &source->reader);
    if (err < 0) {
        yula__free(loop, source);
        return err;
    }
    *out = source;
    return 0;
}

int
yula_source_share(yula_loop *loop, int fd, yula_source **out)
{
    int own = fd_share(fd, O_RDONLY);
    int err = own < 0 ? own : yula_source_new(loop, own, out);

    if (err < 0 && own >= 0)
        yula__sys_close(own);
    return err;
}

void
yula_source_close(yula_source *source)
{
    if (source == NULL)
        return;
    yula__rule(source->reading == NULL,
               "a task still reads from the source: cancel and join it first");
    yula_pipe_reader_free(source->reader);
    yula__sys_close(source->fd);
    yula__intake_fini(&source->intake);
    yula__free(source->loop, source);
}

int
yula_source_fd(const yula_source *source)
{
    return source->fd;
}

/* --- what a writer tells -------------------------------------------------- */

static void
sink_wake_all(yula_sink *sink, int status)
{
    yula__line_wake_all(&sink->pressed, status);
    yula__line_wake_all(&sink->undrained, status);
}

/* I5. What was left to write is written, or never will be. */
static void
sink_left(yula_sink *sink)
{
    yula__request_remove(&sink->request);
    yula_sink_abort(sink);
}

static void
sink_failed(yula_pipe_writer *writer, int status, void *arg)
{
    yula_sink *sink = arg;

    sink->status = status;
    if (sink->leaving)
        sink_left(sink);
    else
        sink_wake_all(sink, status);
}

static void
sink_pressure(yula_pipe_writer *writer, bool high, void *arg)
{
    yula_sink *sink = arg;

    if (!high)
        yula__line_wake_all(&sink->pressed, 0);
}

static void
sink_drained(yula_pipe_writer *writer, void *arg)
{
    yula_sink *sink = arg;

    if (sink->leaving)
        sink_left(sink);
    else
        yula__line_wake_all(&sink->undrained, 0);
}

static const yula_pipe_writer_ops sink_ops = {
    .failed = sink_failed,
    .pressure = sink_pressure,
    .drained = sink_drained,
};

/* --- writing -------------------------------------------------------------- */

static bool
sink_must_wait(const yula_sink *sink)
{
    return sink->writing.owner != NULL || yula_pipe_pressed(sink->writer);
}

/* Without waiting. A write that fails has emptied the queue. */
static int
sink_put(yula_sink *sink, const void *base, size_t len)
{
    int err = yula_pipe_write(sink->writer, base, len, NULL);

    if (err < 0 && sink->status == 0) {
        sink->status = err;
        sink_wake_all(sink, err);
    }
    return err;
}

/* In parts, the queue below its high mark before each; with the mutex. */
static int
sink_write_parts(yula_sink *sink, const char *base, size_t len)
{
    while (len > 0) {
        size_t part = len < YULA_STREAM_HIGH ? len : YULA_STREAM_HIGH;
        int err = sink->status; /* may have changed while we waited */
        while (err == 0 && yula_pipe_pressed(sink->writer))
            err = yula__line_wait(sink->loop, &sink->pressed, NULL, "write");
        if (err == 0)
            err = sink_put(sink, base, part);
        if (err < 0)
            return err;
        base += part;
        len -= part;
    }
    return 0;
}

int
yula_sink_write(yula_sink *sink, const void *base, size_t len)
{
    int err = yula__await_check(sink->loop);

    if (err == 0)
        err = sink->status;
    if (err < 0)
        return err;
    if (len <= YULA_STREAM_HIGH && !sink_must_wait(sink))
        return sink_put(sink, base, len);
    err = yula_mutex_lock(&sink->writing);
    if (err < 0)
        return err;
    err = sink_write_parts(sink, base, len);
    (void)yula_mutex_unlock(&sink->writing);
    return err;
}

int
yula_sink_try_write(yula_sink *sink, const void *base, size_t len)
{
    if (sink->status < 0)
        return sink->status;
    return sink_must_wait(sink) ? -EAGAIN : sink_put(sink, base, len);
}

int
yula_sink_drain(yula_sink *sink)
{
    int err = yula__await_check(sink->loop);

    if (err == 0)
        err = sink->status;
    if (err < 0 || yula_pipe_queued(sink->writer) == 0)
        return err;
    return yula__line_wait(sink->loop, &sink->undrained, NULL, "drain");
}

/* --- a sink's life -------------------------------------------------------- */

int
yula_sink_new(yula_loop *loop, int fd, yula_sink **out)
{
    yula_lane lane = yula__await_lane(loop);
    yula_sink *sink = yula__alloc(loop, sizeof(*sink));

    if (sink == NULL)
        return -ENOMEM;
    *sink = (yula_sink){.loop = loop, .fd = fd};
    yula_mutex_init(loop, &sink->writing);
    int err = yula_pipe_writer_new(loop, lane, fd, &sink_ops, sink,
                                   &sink->writer);
    if (err < 0) {
        yula__free(loop, sink);
        return err;
    }
    yula_pipe_writer_guard(sink->writer);
    *out = sink;
    return 0;
}

int
yula_sink_share(yula_loop *loop, int fd, yula_sink **out)
{
    int own = fd_share(fd, O_WRONLY);
    int err = own < 0 ? own : yula_sink_new(loop, own, out);

    if (err < 0 && own >= 0)
        yula__sys_close(own);
    return err;
}

void
yula_sink_abort(yula_sink *sink)
{
    if (sink == NULL)
        return;
    /* A task that waits would go on in freed memory. */
    yula__rule(sink->writing.owner == NULL && sink->undrained.first == NULL,
               "a task still writes to the sink: cancel and join it first");
    yula_pipe_writer_free(sink->writer);
    yula__sys_close(sink->fd);
    yula__free(sink->loop, sink);
}

static void
sink_drop(yula_loop *loop, yula__request *request)
{
    yula_sink_abort(yula__container_of(request, yula_sink, request));
}

void
yula_sink_close(yula_sink *sink)
{
    if (sink == NULL || yula_pipe_queued(sink->writer) == 0) {
        yula_sink_abort(sink);
        return;
    }
    yula__rule(sink->writing.owner == NULL && sink->undrained.first == NULL,
               "a task still writes to the sink: cancel and join it first");
    sink->leaving = true;
    sink->request.drop = sink_drop;
    yula__request_add(sink->loop, &sink->request);
}

int
yula_sink_fd(const yula_sink *sink)
{
    return sink->fd;
}
