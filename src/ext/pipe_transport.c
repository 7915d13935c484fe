/* pipe_transport.c: the transports of pipes: what connect_read_pipe() and
 * connect_write_pipe() return, and a child's standard streams are.
 *
 * A core pipe below, a protocol above. Follows asyncio's
 * unix_events._UnixReadPipeTransport and _UnixWritePipeTransport method by
 * method; what differs is in docs/compatibility.md.
 *
 *  I1. While it is open the loop holds the transport (held), until
 *      connection_lost has been called: exactly once, from a turn of its own.
 *  I2. The file object owns the descriptor and is closed by us after
 *      connection_lost. What the core watches is that descriptor; or a duplicate
 *      if it is open for reading and writing (a terminal, a socket): it may have
 *      a transport for each way, and a descriptor has one watcher.
 *  I3. Protocol callbacks run in the transport's context.
 */
#include "pipe_transport.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "streams.h"

/* What a pipe holds unless somebody changes that, and what one read empties. While
 * a pipe is full each time, it is read into the bytes object itself: a copy of so
 * much costs more than the memory. What is less than half of it is copied. */
#define PIPE_BLOCK 65536

/* The StreamReader of a child is made a turn or two after the pipe. */
#define PIPE_MEETINGS 8

/* --- calling the protocol -------------------------------------------------- */

/* The pending exception: asyncio reports it, and leaves the transport open. */
static void
pipe_report(yulapy_pipe *pipe, const char *format, PyObject *name)
{
    yulapy_transport_report(pipe->loop, &pipe->context, pipe_object(pipe),
                            pipe->protocol, format, name);
}

/* Call protocol.name(arg or nothing) and report what it raises. The caller holds
 * the transport. */
static void
pipe_call(yulapy_pipe *pipe, PyObject *name, PyObject *arg)
{
    PyObject *result = yulapy_transport_call(pipe->loop, &pipe->context,
                                             pipe_object(pipe), pipe->protocol,
                                             name, arg, NULL);
    if (result == NULL)
        pipe_report(pipe, "protocol.%U() failed", name);
    Py_XDECREF(result);
}

/* --- ending ---------------------------------------------------------------- */

void
yulapy_pipe_let_go(yulapy_pipe *pipe)
{
    yula_pipe_reader *reader = pipe->reader;
    yula_pipe_writer *writer = pipe->writer;

    pipe->reader = NULL;
    pipe->writer = NULL;
    if (reader != NULL)
        yula_pipe_reader_free(reader);
    if (writer != NULL)
        yula_pipe_writer_free(writer);
    Py_CLEAR(pipe->block);
    if (pipe->duplicate >= 0)
        yula__sys_close(pipe->duplicate);
    pipe->duplicate = -1;
}

static int
pipe_schedule_end(yulapy_pipe *pipe, PyObject *error)
{
    if (pipe->ending)
        return 0;
    if (yulapy_loop_check_open(pipe->loop) < 0)
        return -1;
    pipe->ending = true;
    pipe->lost_error = Py_XNewRef(error);
    yula_work_queue(pipe->loop->core, &pipe->end);
    return 0;
}

int
yulapy_pipe_force_close(yulapy_pipe *pipe, PyObject *error)
{
    pipe->closing = true;
    yulapy_pipe_let_go(pipe);
    return pipe_schedule_end(pipe, error);
}

int
yulapy_pipe_write_eof(yulapy_pipe *pipe)
{
    if (pipe->closing)
        return 0;
    pipe->closing = true;
    if (pipe->writer != NULL && yula_pipe_queued(pipe->writer) > 0)
        return 0;
    return pipe_schedule_end(pipe, NULL);
}

/* The loop is open: it told us of an event. */
static void
pipe_close_now(yulapy_pipe *pipe, PyObject *error)
{
    if (yulapy_pipe_force_close(pipe, error) < 0)
        PyErr_WriteUnraisable(pipe_object(pipe));
}

void
yulapy_pipe_fatal(yulapy_pipe *pipe, const char *message)
{
    PyObject *error = yulapy_transport_fatal_error(
        pipe->loop, &pipe->context, pipe_object(pipe),
        pipe->loop->state->str_pipe_failed, message);
    if (error == NULL)
        return;
    pipe_close_now(pipe, error);
    Py_DECREF(error);
}

static void
pipe_close_file(yulapy_pipe *pipe)
{
    PyObject *file = pipe->file;
    if (file == NULL)
        return;
    pipe->file = NULL;
    PyObject *result = PyObject_CallMethodNoArgs(file,
                                                 pipe->loop->state->str_close);
    if (result == NULL)
        pipe_report(pipe, "pipe.%U() failed", pipe->loop->state->str_close);
    Py_XDECREF(result);
    Py_DECREF(file);
}

static void
pipe_end(yula_work *work, void *arg)
{
    yulapy_pipe *pipe = arg;
    yulapy_state *state = pipe->loop->state;
    PyObject *self = Py_NewRef(pipe_object(pipe));
    PyObject *error = pipe->lost_error;

    pipe->lost_error = NULL;
    if (pipe->eof)
        pipe_call(pipe, state->str_eof_received, NULL);
    pipe_call(pipe, state->str_connection_lost,
              error != NULL ? error : Py_None);
    Py_XDECREF(error);
    yulapy_pipe_let_go(pipe);
    pipe_close_file(pipe);
    pipe->ended = true;
    Py_CLEAR(pipe->protocol);
    yulapy_loop_let_go(&pipe->held);
    Py_DECREF(self);
}

/* The loop closes under an open transport: asyncio leaves such a pipe open and
 * warns when the transport is collected. */
static void
pipe_loop_closed(PyObject *self)
{
    yulapy_pipe *pipe = PIPE(self);

    yula_work_cancel(&pipe->begin);
    yula_work_cancel(&pipe->end);
    yulapy_pipe_let_go(pipe);
}

/* --- what the core tells a reader ------------------------------------------ */

/* A StreamReader at the end of asyncio's own way is served in C from then on: it
 * keeps the object that it is fed, where asyncio copies it twice. */
static void
pipe_meet_reader(yulapy_pipe *pipe)
{
    yulapy_state *state = pipe->loop->state;

    pipe->meetings--;
    PyObject *reader = PyObject_CallMethod(
        (PyObject *)pipe->loop, "_reader_behind", "O", pipe->protocol);
    if (reader != NULL && reader != Py_None) {
        pipe->meetings = 0;
        if (state->streams->usable &&
            Py_IS_TYPE(reader, state->streams->reader.asyncio))
            (void)yulapy_reader_adopt(state, reader);
    }
    Py_XDECREF(reader);
    if (PyErr_Occurred() && !yulapy_leaves_loop(pipe->loop))
        PyErr_WriteUnraisable(pipe_object(pipe));
}

static int
pipe_on_alloc(yula_pipe_reader *reader, void **base, size_t *len, void *arg)
{
    yulapy_pipe *pipe = arg;

    if (pipe->in_blocks && pipe->block == NULL) {
        pipe->block = PyBytes_FromStringAndSize(NULL, PIPE_BLOCK);
        if (pipe->block == NULL)
            PyErr_Clear(); /* then it is copied, if there is memory for that */
    }
    if (pipe->in_blocks && pipe->block != NULL) {
        *base = PyBytes_AS_STRING(pipe->block);
        *len = PIPE_BLOCK;
        return 0;
    }
    *base = yula_loop_read_buffer(pipe->loop->core);
    *len = YULA_STREAM_READ_MAX;
    return *base != NULL ? 0 : -ENOMEM;
}

/* The bytes object for what was read. A new reference, or NULL. */
static PyObject *
pipe_take_data(yulapy_pipe *pipe, void *base, size_t len)
{
    PyObject *block = pipe->block;

    pipe->in_blocks = pipe->standard && len > PIPE_BLOCK / 2;
    if (block == NULL || base != PyBytes_AS_STRING(block))
        return yulapy_received_bytes(pipe->loop, base, len);
    if (!pipe->in_blocks) {
        block = yulapy_received_bytes(pipe->loop, base, len);
        Py_CLEAR(pipe->block);
        return block;
    }
    pipe->block = NULL;
    if (len < PIPE_BLOCK)
        (void)_PyBytes_Resize(&block, (Py_ssize_t)len);
    return block;
}

static void
pipe_on_read(yula_pipe_reader *reader, void *base, size_t len, void *arg)
{
    yulapy_pipe *pipe = arg;
    PyObject *self = Py_NewRef(pipe_object(pipe));
    PyObject *data = pipe_take_data(pipe, base, len);

    if (pipe->meetings > 0)
        pipe_meet_reader(pipe);
    if (data == NULL)
        yulapy_pipe_fatal(pipe, "Fatal read error on pipe transport");
    else
        pipe_call(pipe, pipe->loop->state->str_data_received, data);
    Py_XDECREF(data);
    Py_DECREF(self);
}

static void
pipe_closed_by_peer(yulapy_pipe *pipe)
{
    PyObject *args[] = {pipe_object(pipe)};
    if (pipe->loop->debug)
        yulapy_transport_tell(pipe->loop, &pipe->context, args[0],
                              pipe->loop->state->str_pipe_closed_by_peer, args,
                              1);
}

static void
pipe_on_ended(yula_pipe_reader *reader, void *arg)
{
    yulapy_pipe *pipe = arg;
    pipe_closed_by_peer(pipe);
    pipe->eof = true;
    pipe_close_now(pipe, NULL);
}

static void
pipe_on_read_failed(yula_pipe_reader *reader, int status, void *arg)
{
    yulapy_raise_code(status);
    yulapy_pipe_fatal(arg, "Fatal read error on pipe transport");
}

static const yula_pipe_reader_ops pipe_reader_ops = {
    .alloc = pipe_on_alloc,
    .read = pipe_on_read,
    .ended = pipe_on_ended,
    .failed = pipe_on_read_failed,
};

/* --- what it tells a writer ------------------------------------------------ */

static void
pipe_on_closed(yula_pipe_writer *writer, void *arg)
{
    yulapy_pipe *pipe = arg;
    PyObject *error = NULL;

    pipe_closed_by_peer(pipe);
    if (pipe->writer != NULL && yula_pipe_queued(pipe->writer) > 0) {
        error = PyObject_CallNoArgs(PyExc_BrokenPipeError);
        if (error == NULL)
            error = yulapy_take_exception();
    }
    pipe_close_now(pipe, error);
    Py_XDECREF(error);
}

static void
pipe_on_write_failed(yula_pipe_writer *writer, int status, void *arg)
{
    yulapy_pipe *pipe = arg;
    pipe->lost++;
    yulapy_raise_code(status);
    yulapy_pipe_fatal(pipe, "Fatal write error on pipe transport");
}

static void
pipe_on_pressure(yula_pipe_writer *writer, bool high, void *arg)
{
    yulapy_pipe *pipe = arg;
    yulapy_state *state = pipe->loop->state;
    PyObject *self = Py_NewRef(pipe_object(pipe));

    if (!high) {
        pipe_call(pipe, state->str_resume_writing, NULL);
    }
    else { /* from inside write(): in the writer's context */
        PyObject *result = PyObject_CallMethodNoArgs(pipe->protocol,
                                                     state->str_pause_writing);
        if (result == NULL)
            pipe_report(pipe, "protocol.%U() failed", state->str_pause_writing);
        Py_XDECREF(result);
    }
    Py_DECREF(self);
}

static void
pipe_on_drained(yula_pipe_writer *writer, void *arg)
{
    yulapy_pipe *pipe = arg;
    if (pipe->closing && pipe_schedule_end(pipe, NULL) < 0)
        PyErr_WriteUnraisable(pipe_object(pipe));
}

static void
pipe_on_release(void *owner)
{
    Py_DECREF((PyObject *)owner);
}

static const yula_pipe_writer_ops pipe_writer_ops = {
    .closed = pipe_on_closed,
    .failed = pipe_on_write_failed,
    .pressure = pipe_on_pressure,
    .drained = pipe_on_drained,
    .release = pipe_on_release,
};

/* --- beginning ------------------------------------------------------------- */

static void
pipe_start(yulapy_pipe *pipe)
{
    int err = 0;
    if (pipe->reader != NULL && !pipe->paused)
        err = yula_pipe_reader_start(pipe->reader);
    else if (pipe->writer != NULL && pipe->watches)
        err = yula_pipe_writer_watch(pipe->writer);
    if (err == 0)
        return;
    yulapy_raise_code(err);
    pipe_report(pipe, "the pipe cannot be watched", NULL);
}

/* The first turn of a transport. */
static void
pipe_begin(yula_work *work, void *arg)
{
    yulapy_pipe *pipe = arg;
    PyObject *self = Py_NewRef(pipe_object(pipe));

    pipe->begun = true;
    pipe_call(pipe, pipe->loop->state->str_connection_made, self);
    if (!pipe->closing)
        pipe_start(pipe);
    PyObject *waiter = pipe->waiter;
    pipe->waiter = NULL;
    if (waiter != NULL)
        yulapy_future_resolve(pipe->loop, waiter, Py_None, false);
    Py_XDECREF(waiter);
    Py_DECREF(self);
}

/* --- making ---------------------------------------------------------------- */

/* Fill in fd and duplicate, and make it non-blocking. 0, or -1 with an
 * exception. */
static int
pipe_adopt_descriptor(yulapy_pipe *pipe, bool writing)
{
    struct stat about;
    PyObject *number = PyObject_CallMethodNoArgs(pipe->file,
                                                 pipe->loop->state->str_fileno);
    pipe->fd = number != NULL ? (int)PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (PyErr_Occurred())
        return -1;
    if (pipe->fd < 0 || fstat(pipe->fd, &about) < 0) {
        if (pipe->fd < 0)
            errno = EBADF;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    bool both = S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode);
    if (!both && !S_ISCHR(about.st_mode)) {
        PyErr_SetString(PyExc_ValueError,
                        writing ? "Pipe transport is only for pipes, sockets "
                                  "and character devices"
                                : "Pipe transport is for pipes/sockets only.");
        return -1;
    }
    pipe->standard = S_ISFIFO(about.st_mode) && !writing &&
                     fcntl(pipe->fd, F_GETPIPE_SZ) == PIPE_BLOCK;
    pipe->watches = both; /* a device has no other end */
    int flags = fcntl(pipe->fd, F_GETFL);
    if (flags < 0 ||
        ((flags & O_NONBLOCK) == 0 &&
         fcntl(pipe->fd, F_SETFL, flags | O_NONBLOCK) < 0) ||
        ((flags & O_ACCMODE) == O_RDWR &&
         (pipe->duplicate = fcntl(pipe->fd, F_DUPFD_CLOEXEC, 0)) < 0)) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static int
pipe_make_core(yulapy_pipe *pipe, bool writing)
{
    yula_loop *core = pipe->loop->core;
    int fd = pipe->duplicate >= 0 ? pipe->duplicate : pipe->fd;

    yulapy_descriptor_forget(pipe->loop, fd);
    int err = writing
                  ? yula_pipe_writer_new(core, YULA_LANE_HOST, fd,
                                         &pipe_writer_ops, pipe, &pipe->writer)
                  : yula_pipe_reader_new(core, YULA_LANE_HOST, fd,
                                         &pipe_reader_ops, pipe, &pipe->reader);
    if (err < 0)
        yulapy_raise_code(err);
    return err;
}

static int
pipe_set_extra(yulapy_pipe *pipe, PyObject *extra)
{
    PyObject **place = pipe_extra(pipe);
    *place = extra != NULL ? PyDict_Copy(extra) : PyDict_New();
    return *place != NULL ? PyDict_SetItemString(*place, "pipe", pipe->file)
                          : -1;
}

static PyObject *
pipe_new(yulapy_loop *loop, PyObject *args, PyObject *kwargs, bool writing)
{
    static char *names[] = {"pipe", "protocol", "waiter", "extra", NULL};
    PyObject *file, *protocol, *waiter = Py_None, *extra = Py_None;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|OO", names, &file,
                                     &protocol, &waiter, &extra) ||
        yulapy_loop_check_open(loop) < 0)
        return NULL;
    PyTypeObject *type = writing ? loop->state->write_pipe_type
                                 : loop->state->read_pipe_type;
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    yulapy_pipe *pipe = PIPE(self);
    pipe->loop = (yulapy_loop *)Py_NewRef(loop);
    pipe->duplicate = -1;
    pipe->meetings = PIPE_MEETINGS;
    pipe->file = Py_NewRef(file);
    pipe->context = PyContext_CopyCurrent();
    yula_work_init(&pipe->begin, YULA_LANE_HOST, pipe_begin, pipe);
    yula_work_init(&pipe->end, YULA_LANE_HOST, pipe_end, pipe);
    if (pipe->context == NULL ||
        pipe_set_extra(pipe, yulapy_none_to_null(extra)) < 0 ||
        pipe_adopt_descriptor(pipe, writing) < 0 ||
        pipe_make_core(pipe, writing) < 0) {
        Py_CLEAR(pipe->file); /* the caller's: nothing to warn about */
        Py_DECREF(self);
        return NULL;
    }
    pipe->protocol = Py_NewRef(protocol);
    pipe->waiter = Py_XNewRef(yulapy_none_to_null(waiter));
    yulapy_loop_hold(loop, &pipe->held, self, pipe_loop_closed);
    yula_work_queue(loop->core, &pipe->begin);
    return self;
}

PyObject *
yulapy_loop_make_read_pipe(PyObject *loop, PyObject *args, PyObject *kwargs)
{
    return pipe_new((yulapy_loop *)loop, args, kwargs, false);
}

PyObject *
yulapy_loop_make_write_pipe(PyObject *loop, PyObject *args, PyObject *kwargs)
{
    return pipe_new((yulapy_loop *)loop, args, kwargs, true);
}
