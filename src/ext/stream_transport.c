/* stream_transport.c: the transport of a TCP or Unix stream connection.
 *
 * A core stream below, a protocol above. Follows asyncio's
 * selector_events._SelectorSocketTransport (3.15) method by method; what
 * differs is in docs/compatibility.md.
 *
 *  I1. While it is open the loop holds the transport (held), until
 *      connection_lost has been called: exactly once, from a turn of its own.
 *  I2. lost > 0: connection_lost is scheduled or done; writes are dropped.
 *  I3. stream is NULL once the descriptor was given up.
 *  I4. Protocol callbacks run in the transport's context.
 */
#include "descriptor.h"

#include <netinet/in.h>

/* asyncio.constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES */
#define LOST_WRITES_BEFORE_WARNING 5

typedef struct yulapy_transport {
    yulapy_loop *loop;
    yula_stream *stream;
    yulapy_held held;
    PyObject *protocol;
    PyObject *context;
    PyObject *sock;         /* socket.socket, made on demand; or NULL */
    PyObject *trsock;       /* its TransportSocket, or NULL */
    PyObject *server;       /* or NULL */
    PyObject *waiter;       /* until connection_made was called */
    PyObject *empty_waiter; /* sendfile waits for an empty queue */
    PyObject *lost_error;   /* for connection_lost, or NULL */
    PyObject *dict;
    PyObject *weaklist;
    Py_buffer buffer; /* what get_buffer() gave, during a read */
    yula_work begin;  /* connection_made, then reading */
    yula_work end;    /* connection_lost */
    unsigned lost;
    bool buffered;  /* the protocol is a BufferedProtocol */
    bool connected; /* protocol knows us: connection_lost is due */
    bool begun;     /* begin has run */
    bool closing;
    bool paused;
    bool eof; /* write_eof() */
    /* the peer's address as accept gave it; family 0: unknown */
    struct sockaddr_in6 peer;
} yulapy_transport;

static Py_ssize_t transport_offset; /* a number, equal in all interpreters */

#define TRANSPORT(self) ((yulapy_transport *)((char *)(self) + transport_offset))
#define EXTRA(self, state)                                                     \
    (*(PyObject **)((char *)(self) + (state)->transport_extra_offset))

static PyObject *
transport_object(yulapy_transport *transport)
{
    return (PyObject *)((char *)transport - transport_offset);
}

static void transport_schedule_lost(yulapy_transport *transport,
                                    PyObject *error);
static int transport_close(yulapy_transport *transport);

/* --- errors --------------------------------------------------------------- */

/* _force_close. Borrows error; NULL for none. */
static void
transport_force_close(yulapy_transport *transport, PyObject *error)
{
    if (transport->lost > 0)
        return;
    transport->closing = true;
    if (transport->stream != NULL)
        yula_stream_stop(transport->stream);
    transport_schedule_lost(transport, error);
}

/* The user's exception handler runs in the context of what failed. */
static void
transport_failure(yulapy_transport *transport, PyObject *name,
                  PyObject *const *args, size_t nargs)
{
    PyObject *context = Py_NewRef(transport->context);
    bool entered = PyContext_Enter(context) == 0;
    if (!entered)
        PyErr_Clear(); /* RuntimeError: we are in it already */
    yulapy_failure(transport->loop, name, args, nargs);
    if (entered && PyContext_Exit(context) < 0)
        PyErr_WriteUnraisable(context);
    Py_DECREF(context);
}

/* _fatal_error with the pending exception: report it, unless it is one of the
 * network's, and close. SystemExit and KeyboardInterrupt leave the loop. */
static void
transport_fatal(yulapy_transport *transport, const char *message)
{
    yulapy_loop *loop = transport->loop;
    PyObject *self = transport_object(transport);

    if (yulapy_leaves_loop(loop))
        return;
    PyObject *error = yulapy_take_exception();
    PyObject *text = PyUnicode_FromString(message);
    if (text != NULL) {
        PyObject *args[] = {self, error, text};
        transport_failure(transport, loop->state->str_fatal_error, args, 3);
        Py_DECREF(text);
    }
    else {
        PyErr_WriteUnraisable(self);
    }
    transport_force_close(transport, error);
    Py_XDECREF(error);
}

/* A protocol method that asyncio only reports, with the transport left open. */
static void
transport_report(yulapy_transport *transport, const char *message)
{
    yulapy_loop *loop = transport->loop;
    PyObject *self = transport_object(transport);

    if (yulapy_leaves_loop(loop))
        return;
    PyObject *error = yulapy_take_exception();
    PyObject *text = PyUnicode_FromString(message);
    PyObject *name = PyUnicode_FromString("protocol_failed");
    if (text != NULL && name != NULL) {
        PyObject *args[] = {(PyObject *)loop, self, transport->protocol,
                            error, text};
        transport_failure(transport, name, args, 5);
    }
    else {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(text);
    Py_XDECREF(name);
    Py_XDECREF(error);
}

/* --- what the core tells -------------------------------------------------- */

static void
transport_on_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;

    PyObject *data = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (data == NULL) {
        transport_fatal(transport, "Fatal read error on socket transport");
        return;
    }
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *result = yulapy_call_in_context(
        transport->context, state->str_data_received, transport->protocol,
        data);
    Py_DECREF(data);
    if (result == NULL)
        transport_fatal(transport,
                        "Fatal error: protocol.data_received() call failed.");
    Py_XDECREF(result);
    Py_DECREF(self);
}

static int
transport_on_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *hint = PyLong_FromLong(-1);
    PyObject *buffer = NULL;

    if (hint != NULL) {
        buffer = yulapy_call_in_context(transport->context,
                                        state->str_get_buffer,
                                        transport->protocol, hint);
        Py_DECREF(hint);
    }
    if (buffer == NULL ||
        PyObject_GetBuffer(buffer, &transport->buffer, PyBUF_WRITABLE) < 0) {
        transport_fatal(transport,
                        "Fatal error: protocol.get_buffer() call failed.");
    }
    else if (transport->buffer.len == 0) {
        PyBuffer_Release(&transport->buffer);
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
        transport_fatal(transport,
                        "Fatal error: protocol.get_buffer() call failed.");
    }
    else {
        *base = transport->buffer.buf;
        *len = (size_t)transport->buffer.len;
        if (*len > YULA_STREAM_READ_MAX)
            *len = YULA_STREAM_READ_MAX;
    }
    Py_XDECREF(buffer);
    Py_DECREF(self);
    return *len > 0 ? 0 : 1; /* failed: the transport is being closed */
}

static void
transport_on_read_into(yula_stream *stream, void *base, size_t len, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *result = NULL;

    PyBuffer_Release(&transport->buffer);
    PyObject *count = PyLong_FromSize_t(len);
    if (count != NULL) {
        result = yulapy_call_in_context(transport->context,
                                        state->str_buffer_updated,
                                        transport->protocol, count);
        Py_DECREF(count);
    }
    if (result == NULL)
        transport_fatal(transport,
                        "Fatal error: protocol.buffer_updated() call failed.");
    Py_XDECREF(result);
    Py_DECREF(self);
}

static void
transport_release_buffer(yulapy_transport *transport)
{
    if (transport->buffer.obj != NULL)
        PyBuffer_Release(&transport->buffer);
}

/* get_buffer() was called and nothing came. */
static void
transport_on_unused(yula_stream *stream, void *arg)
{
    transport_release_buffer(arg);
}

static void
transport_on_ended(yula_stream *stream, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));

    transport_release_buffer(transport);
    PyObject *result = yulapy_call_in_context(
        transport->context, state->str_eof_received, transport->protocol, NULL);
    int keep_open = result != NULL ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(result);
    if (keep_open < 0)
        transport_fatal(transport,
                        "Fatal error: protocol.eof_received() call failed.");
    else if (!keep_open && transport_close(transport) < 0)
        PyErr_WriteUnraisable(self);
    Py_DECREF(self);
}

static void
transport_on_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    yulapy_transport *transport = arg;
    PyObject *self = Py_NewRef(transport_object(transport));

    transport_release_buffer(transport);
    yulapy_raise_code(status);
    transport_fatal(transport,
                    writing ? "Fatal write error on socket transport"
                            : "Fatal read error on socket transport");
    Py_DECREF(self);
}

static void
transport_on_pressure(yula_stream *stream, bool high, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *result;

    /* pause_writing() is called from inside write(): in the writer's context,
     * as in asyncio. */
    if (high)
        result = PyObject_CallMethodNoArgs(transport->protocol,
                                           state->str_pause_writing);
    else
        result = yulapy_call_in_context(transport->context,
                                        state->str_resume_writing,
                                        transport->protocol, NULL);
    if (result == NULL)
        transport_report(transport, high
                                        ? "protocol.pause_writing() failed"
                                        : "protocol.resume_writing() failed");
    Py_XDECREF(result);
    Py_DECREF(self);
}

static void
transport_wake_empty_waiter(yulapy_transport *transport, PyObject *error)
{
    yulapy_state *state = transport->loop->state;
    PyObject *waiter = transport->empty_waiter;
    PyObject *result;

    if (waiter == NULL)
        return;
    transport->empty_waiter = NULL;
    PyObject *done = PyObject_CallMethodNoArgs(waiter, state->str_done);
    if (done == Py_False) {
        PyObject *args[] = {waiter, error != NULL ? error : Py_None};
        result = PyObject_VectorcallMethod(
            error != NULL ? state->str_set_exception : state->str_set_result,
            args, 2, NULL);
    }
    else {
        result = Py_XNewRef(done);
    }
    if (result == NULL)
        PyErr_WriteUnraisable(waiter);
    else if (error == NULL)
        transport->empty_waiter = Py_NewRef(waiter); /* until it is reset */
    Py_XDECREF(result);
    Py_XDECREF(done);
    Py_DECREF(waiter);
}

static void
transport_on_drained(yula_stream *stream, void *arg)
{
    yulapy_transport *transport = arg;
    PyObject *self = Py_NewRef(transport_object(transport));

    transport_wake_empty_waiter(transport, NULL);
    if (transport->closing)
        transport_schedule_lost(transport, NULL);
    Py_DECREF(self);
}

static void
transport_on_release(void *owner)
{
    Py_DECREF((PyObject *)owner);
}

static const yula_stream_ops transport_ops = {
    .read = transport_on_read,
    .ended = transport_on_ended,
    .failed = transport_on_failed,
    .pressure = transport_on_pressure,
    .drained = transport_on_drained,
    .release = transport_on_release,
};

static const yula_stream_ops transport_buffered_ops = {
    .alloc = transport_on_alloc,
    .read = transport_on_read_into,
    .unused = transport_on_unused,
    .ended = transport_on_ended,
    .failed = transport_on_failed,
    .pressure = transport_on_pressure,
    .drained = transport_on_drained,
    .release = transport_on_release,
};

/* --- beginning ------------------------------------------------------------ */

static void
transport_answer_waiter(yulapy_transport *transport)
{
    yulapy_state *state = transport->loop->state;
    PyObject *waiter = transport->waiter;
    if (waiter == NULL)
        return;
    transport->waiter = NULL;
    PyObject *result = NULL;
    PyObject *cancelled = PyObject_CallMethodNoArgs(waiter,
                                                    state->str_cancelled);
    if (cancelled == Py_False) {
        PyObject *args[] = {waiter, Py_None};
        result = PyObject_VectorcallMethod(state->str_set_result, args, 2,
                                           NULL);
    }
    if (PyErr_Occurred() && !yulapy_leaves_loop(transport->loop))
        PyErr_WriteUnraisable(waiter);
    Py_XDECREF(cancelled);
    Py_XDECREF(result);
    Py_DECREF(waiter);
}

/* The first turn of a connection. */
static void
transport_begin(yula_work *work, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));

    transport->begun = true;
    PyObject *result = yulapy_call_in_context(
        transport->context, state->str_connection_made, transport->protocol,
        self);
    if (result == NULL)
        transport_report(transport, "protocol.connection_made() failed");
    Py_XDECREF(result);
    if (!transport->paused && !transport->closing && transport->stream != NULL)
        yula_stream_start(transport->stream);
    transport_answer_waiter(transport);
    Py_DECREF(self);
}

/* --- ending --------------------------------------------------------------- */

static PyObject *transport_get_sock(yulapy_transport *transport);
static PyObject *transport_get_extra(yulapy_transport *transport,
                                     PyObject *name);

/* Names stay readable after the close, so look them up before. */
static void
transport_keep_names(yulapy_transport *transport)
{
    yulapy_state *state = transport->loop->state;
    PyObject *name = transport_get_extra(transport, state->str_sockname);
    Py_XDECREF(name);
    name = transport_get_extra(transport, state->str_peername);
    Py_XDECREF(name);
    PyErr_Clear(); /* no memory for a name nobody may ask for */
}

static int
transport_close_descriptor(yulapy_transport *transport)
{
    yula_stream *stream = transport->stream;
    PyObject *sock = transport->sock;
    if (stream == NULL)
        return 0;
    transport_release_buffer(transport);
    transport->stream = NULL;
    yula_stream_free(stream, sock == NULL);
    if (sock == NULL)
        return 0;
    PyObject *result = PyObject_CallMethodNoArgs(
        sock, transport->loop->state->str_close);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static void
transport_detach_server(yulapy_transport *transport)
{
    yulapy_state *state = transport->loop->state;
    PyObject *server = transport->server;
    if (server == NULL)
        return;
    transport->server = NULL;
    PyObject *args[] = {server, transport_object(transport)};
    PyObject *result = PyObject_VectorcallMethod(
        state->str__detach, args, state->server_takes_transport ? 2 : 1, NULL);
    if (result == NULL && !yulapy_leaves_loop(transport->loop))
        PyErr_WriteUnraisable(server);
    Py_XDECREF(result);
    Py_DECREF(server);
}

static void
transport_end(yula_work *work, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *error = transport->lost_error;

    transport->lost_error = NULL;
    transport_keep_names(transport);
    if (transport->connected) {
        PyObject *result = yulapy_call_in_context(
            transport->context, state->str_connection_lost, transport->protocol,
            error != NULL ? error : Py_None);
        if (result == NULL)
            transport_report(transport, "protocol.connection_lost() failed");
        Py_XDECREF(result);
    }
    if (transport_close_descriptor(transport) < 0 &&
        !yulapy_leaves_loop(transport->loop))
        PyErr_WriteUnraisable(self);
    Py_XDECREF(error);
    if (transport->empty_waiter != NULL) {
        PyErr_SetString(PyExc_ConnectionError, "Connection is closed by peer");
        error = yulapy_take_exception();
        transport_wake_empty_waiter(transport, error);
        Py_XDECREF(error);
    }
    Py_CLEAR(transport->protocol);
    transport->connected = false;
    transport_detach_server(transport);
    yulapy_loop_let_go(&transport->held);
    Py_DECREF(self);
}

static void
transport_schedule_lost(yulapy_transport *transport, PyObject *error)
{
    if (transport->lost > 0)
        return;
    transport->lost = 1;
    transport->lost_error = Py_XNewRef(error);
    if (transport->loop->core != NULL)
        yula_work_queue(transport->loop->core, &transport->end);
}

/* 0, or -1 with an exception (the loop is closed). */
static int
transport_close(yulapy_transport *transport)
{
    if (transport->closing)
        return 0;
    transport->closing = true;
    if (transport->stream == NULL)
        return transport->protocol != NULL
                   ? yulapy_loop_check_open(transport->loop)
                   : 0;
    yula_stream_stop(transport->stream);
    if (yula_stream_queued(transport->stream) == 0)
        transport_schedule_lost(transport, NULL);
    return 0;
}

/* The loop closes under an open transport: asyncio leaves such a socket open
 * and warns when the transport is collected. */
static void
transport_loop_closed(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);

    yula_work_cancel(&transport->begin);
    yula_work_cancel(&transport->end);
    if (transport->stream == NULL)
        return;
    PyObject *sock = transport_get_sock(transport);
    if (sock == NULL) {
        PyErr_WriteUnraisable(self); /* no memory for it: then close it */
        (void)transport_close_descriptor(transport);
        return;
    }
    Py_DECREF(sock);
    transport_release_buffer(transport);
    yula_stream_free(transport->stream, false);
    transport->stream = NULL;
}

/* --- writing -------------------------------------------------------------- */

/* Why a write does nothing: 1 drop it, -1 an exception is set, 0 go on. */
static int
transport_refuses_write(yulapy_transport *transport)
{
    if (transport->eof) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot call write() after write_eof()");
        return -1;
    }
    if (transport->empty_waiter != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "unable to write; sendfile is in progress");
        return -1;
    }
    return 0;
}

static int
transport_drop_write(yulapy_transport *transport)
{
    if (transport->lost >= LOST_WRITES_BEFORE_WARNING)
        yulapy_failure(transport->loop, transport->loop->state->str_warn_lost_write,
                       NULL, 0);
    transport->lost++;
    return PyErr_Occurred() ? -1 : 0;
}

static int
transport_write_failed(int err)
{
    yulapy_raise_code(err);
    return -1;
}

/* Bytes are kept as they are; anything else is copied as far as the kernel does
 * not take it now, because its owner may change it. */
static int
transport_write_object(yulapy_transport *transport, PyObject *data)
{
    int err;
    if (PyBytes_CheckExact(data)) {
        Py_ssize_t len = PyBytes_GET_SIZE(data);
        err = yula_stream_write(transport->stream, PyBytes_AS_STRING(data),
                                (size_t)len, Py_NewRef(data));
        if (err < 0)
            Py_DECREF(data);
        return err < 0 ? transport_write_failed(err) : 0;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return -1;
    err = yula_stream_write(transport->stream, view.buf, (size_t)view.len,
                            NULL);
    PyBuffer_Release(&view);
    return err < 0 ? transport_write_failed(err) : 0;
}

static PyObject *
transport_write(PyObject *self, PyObject *data)
{
    yulapy_transport *transport = TRANSPORT(self);

    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError,
                     "data argument must be a bytes, bytearray, or memoryview "
                     "object, not '%.200s'",
                     Py_TYPE(data)->tp_name);
        return NULL;
    }
    if (transport_refuses_write(transport) != 0)
        return NULL;
    int err = 0;
    if (transport->lost > 0 || transport->stream == NULL) {
        Py_ssize_t size = PyObject_Size(data);
        err = size < 0 ? -1 : size > 0 ? transport_drop_write(transport) : 0;
    }
    else {
        err = transport_write_object(transport, data);
    }
    return err == 0 ? Py_NewRef(Py_None) : NULL;
}

/* A list of bytes objects that can wait for each other. All or nothing: a
 * piece that is no bytes must not leave half a message written. */
static PyObject *
transport_snapshot(PyObject *lines)
{
    PyObject *pieces = PySequence_List(lines);
    if (pieces == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pieces); i++) {
        PyObject *piece = PyList_GET_ITEM(pieces, i);
        if (PyBytes_CheckExact(piece))
            continue;
        Py_buffer view;
        PyObject *copy = NULL;
        if (PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE) == 0) {
            copy = PyBytes_FromStringAndSize(view.buf, view.len);
            PyBuffer_Release(&view);
        }
        if (copy == NULL) {
            Py_DECREF(pieces);
            return NULL;
        }
        (void)PyList_SetItem(pieces, i, copy); /* the index is there */
    }
    return pieces;
}

static PyObject *
transport_writelines(PyObject *self, PyObject *lines)
{
    yulapy_transport *transport = TRANSPORT(self);

    if (transport->eof) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot call writelines() after write_eof()");
        return NULL;
    }
    if (transport_refuses_write(transport) != 0)
        return NULL;
    PyObject *pieces = transport_snapshot(lines);
    if (pieces == NULL)
        return NULL;
    int err = 0;
    if (transport->lost > 0 || transport->stream == NULL) {
        if (PyList_GET_SIZE(pieces) > 0)
            err = transport_drop_write(transport);
        Py_DECREF(pieces);
        return err == 0 ? Py_NewRef(Py_None) : NULL;
    }
    /* pause_writing() may close us */
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pieces) && err == 0 &&
                           transport->stream != NULL;
         i++)
        err = transport_write_object(transport, PyList_GET_ITEM(pieces, i));
    Py_DECREF(pieces);
    return err == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
transport_write_eof(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->closing || transport->eof)
        Py_RETURN_NONE;
    transport->eof = true;
    if (transport->stream != NULL)
        (void)yula_stream_shutdown(transport->stream);
    Py_RETURN_NONE;
}

static PyObject *
transport_can_write_eof(PyObject *self, PyObject *unused)
{
    Py_RETURN_TRUE;
}

static PyObject *
transport_get_write_buffer_size(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    size_t size = transport->stream != NULL && transport->lost == 0
                      ? yula_stream_queued(transport->stream)
                      : 0;
    return PyLong_FromSize_t(size);
}

static PyObject *
transport_get_write_buffer_limits(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    size_t low = YULA_STREAM_LOW, high = YULA_STREAM_HIGH;
    if (transport->stream != NULL)
        yula_stream_get_marks(transport->stream, &low, &high);
    return Py_BuildValue("(nn)", (Py_ssize_t)low, (Py_ssize_t)high);
}

/* As transports._FlowControlMixin._set_write_buffer_limits. */
static PyObject *
transport_set_write_buffer_limits(PyObject *self, PyObject *args,
                                  PyObject *kwargs)
{
    static char *names[] = {"high", "low", NULL};
    yulapy_transport *transport = TRANSPORT(self);
    PyObject *high_arg = Py_None, *low_arg = Py_None;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO", names, &high_arg,
                                     &low_arg))
        return NULL;
    Py_ssize_t high = (Py_ssize_t)YULA_STREAM_HIGH, low = 0;
    if (low_arg != Py_None &&
        (low = PyNumber_AsSsize_t(low_arg, NULL)) == -1 && PyErr_Occurred())
        return NULL;
    if (high_arg != Py_None) {
        high = PyNumber_AsSsize_t(high_arg, NULL);
        if (high == -1 && PyErr_Occurred())
            return NULL;
    }
    else if (low_arg != Py_None) {
        high = low > PY_SSIZE_T_MAX / 4 ? PY_SSIZE_T_MAX : 4 * low;
    }
    if (low_arg == Py_None)
        low = high / 4;
    if (high < low || low < 0) {
        PyErr_Format(PyExc_ValueError,
                     "high (%zd) must be >= low (%zd) must be >= 0", high, low);
        return NULL;
    }
    if (transport->stream != NULL)
        yula_stream_set_marks(transport->stream, (size_t)low, (size_t)high);
    Py_RETURN_NONE;
}

/* --- reading -------------------------------------------------------------- */

static PyObject *
transport_pause_reading(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->closing || transport->paused)
        Py_RETURN_NONE;
    transport->paused = true;
    if (transport->stream != NULL)
        yula_stream_stop(transport->stream);
    Py_RETURN_NONE;
}

static PyObject *
transport_resume_reading(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->closing || !transport->paused)
        Py_RETURN_NONE;
    transport->paused = false;
    if (transport->stream != NULL && transport->begun)
        yula_stream_start(transport->stream);
    Py_RETURN_NONE;
}

static PyObject *
transport_is_reading(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    return PyBool_FromLong(!transport->closing && !transport->paused);
}

/* --- the rest of the interface -------------------------------------------- */

static PyObject *
transport_close_method(PyObject *self, PyObject *unused)
{
    if (transport_close(TRANSPORT(self)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
transport_is_closing(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(TRANSPORT(self)->closing);
}

static PyObject *
transport_abort(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->stream == NULL && transport->protocol != NULL &&
        yulapy_loop_check_open(transport->loop) < 0)
        return NULL;
    transport_force_close(transport, NULL);
    Py_RETURN_NONE;
}

static PyObject *
transport_force_close_method(PyObject *self, PyObject *error)
{
    transport_force_close(TRANSPORT(self), yulapy_none_to_null(error));
    Py_RETURN_NONE;
}

static PyObject *
transport_fatal_error_method(PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (nargs < 1 || nargs > 2 || !PyExceptionInstance_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError,
                        "_fatal_error(exc, message='...') takes an exception");
        return NULL;
    }
    const char *message = "Fatal error on transport";
    if (nargs == 2 && (message = PyUnicode_AsUTF8(args[1])) == NULL)
        return NULL;
    yulapy_raise_exception(Py_NewRef(args[0]));
    transport_fatal(transport, message);
    Py_RETURN_NONE;
}

static int
transport_adopt_protocol(yulapy_transport *transport, PyObject *protocol)
{
    int buffered = PyObject_IsInstance(
        protocol, transport->loop->state->buffered_protocol);
    if (buffered < 0)
        return -1;
    transport->buffered = buffered > 0;
    Py_XSETREF(transport->protocol, Py_NewRef(protocol));
    transport->connected = true;
    if (transport->stream != NULL)
        yula_stream_set_ops(transport->stream, buffered
                                                   ? &transport_buffered_ops
                                                   : &transport_ops);
    return 0;
}

static PyObject *
transport_set_protocol(PyObject *self, PyObject *protocol)
{
    return transport_adopt_protocol(TRANSPORT(self), protocol) == 0
               ? Py_NewRef(Py_None)
               : NULL;
}

static PyObject *
transport_get_protocol(PyObject *self, PyObject *unused)
{
    PyObject *protocol = TRANSPORT(self)->protocol;
    return Py_NewRef(protocol != NULL ? protocol : Py_None);
}

/* The socket object, made the first time somebody wants it. */
static PyObject *
transport_get_sock(yulapy_transport *transport)
{
    if (transport->sock == NULL && transport->stream != NULL) {
        PyObject *fd = PyLong_FromLong(yula_stream_fd(transport->stream));
        if (fd == NULL)
            return NULL;
        PyObject *args[] = {fd};
        PyObject *names = PyTuple_Pack(1, transport->loop->state->str_fileno);
        if (names != NULL)
            transport->sock = PyObject_Vectorcall(
                transport->loop->state->socket_type, args, 0, names);
        Py_XDECREF(names);
        Py_DECREF(fd);
        if (transport->sock == NULL)
            return NULL;
    }
    return Py_NewRef(transport->sock != NULL ? transport->sock : Py_None);
}

static PyObject *
transport_get_trsock(yulapy_transport *transport)
{
    if (transport->trsock == NULL) {
        PyObject *sock = transport_get_sock(transport);
        if (sock == NULL || sock == Py_None)
            return sock;
        transport->trsock = PyObject_CallOneArg(
            transport->loop->state->transport_socket, sock);
        Py_DECREF(sock);
    }
    return Py_XNewRef(transport->trsock);
}

/* getsockname or getpeername of the open descriptor; None if it has none. */
static PyObject *
transport_ask_name(yulapy_transport *transport, bool peer)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);

    if (peer && transport->peer.sin6_family != 0)
        return yulapy_address_object((struct sockaddr *)&transport->peer,
                                     sizeof(transport->peer));
    if (transport->stream == NULL)
        Py_RETURN_NONE;
    int fd = yula_stream_fd(transport->stream);
    int err = peer ? getpeername(fd, (struct sockaddr *)&addr, &len)
                   : getsockname(fd, (struct sockaddr *)&addr, &len);
    if (err < 0)
        Py_RETURN_NONE;
    return yulapy_address_object((struct sockaddr *)&addr, len);
}

/* An entry of _extra; names are added when they are first asked for. A new
 * reference, or NULL without an exception if there is no such entry. */
static PyObject *
transport_get_extra(yulapy_transport *transport, PyObject *name)
{
    yulapy_state *state = transport->loop->state;
    PyObject *extra = EXTRA(transport_object(transport), state);

    if (extra == NULL || !PyDict_Check(extra))
        return NULL;
    PyObject *value = PyDict_GetItemWithError(extra, name);
    if (value != NULL || PyErr_Occurred())
        return Py_XNewRef(value);
    bool peer = PyUnicode_Compare(name, state->str_peername) == 0;
    if (peer || PyUnicode_Compare(name, state->str_sockname) == 0)
        value = transport_ask_name(transport, peer);
    else if (PyUnicode_Compare(name, state->str_socket) == 0)
        value = transport_get_trsock(transport);
    if (value != NULL && PyDict_SetItem(extra, name, value) < 0)
        Py_CLEAR(value);
    return value;
}

static PyObject *
transport_get_extra_info(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"name", "default", NULL};
    PyObject *name, *fallback = Py_None;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &name,
                                     &fallback))
        return NULL;
    PyObject *value = NULL;
    if (PyUnicode_Check(name))
        value = transport_get_extra(TRANSPORT(self), name);
    if (value == NULL && !PyErr_Occurred())
        value = Py_NewRef(fallback);
    return value;
}

/* loop.sendfile() waits until everything written before is gone. */
static PyObject *
transport_make_empty_waiter(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->empty_waiter != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Empty waiter is already set");
        return NULL;
    }
    PyObject *waiter = PyObject_CallMethod((PyObject *)transport->loop,
                                           "create_future", NULL);
    if (waiter == NULL)
        return NULL;
    transport->empty_waiter = Py_NewRef(waiter);
    if (transport->stream == NULL || yula_stream_queued(transport->stream) == 0)
        transport_wake_empty_waiter(transport, NULL);
    return waiter;
}

static PyObject *
transport_reset_empty_waiter(PyObject *self, PyObject *unused)
{
    Py_CLEAR(TRANSPORT(self)->empty_waiter);
    Py_RETURN_NONE;
}

static PyObject *
transport_repr(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);
    const char *state = transport->stream == NULL ? " closed"
                        : transport->closing      ? " closing"
                                                  : "";
    if (transport->stream == NULL)
        return PyUnicode_FromFormat("<%s%s>", Py_TYPE(self)->tp_name, state);
    bool reading = !transport->paused && !transport->closing;
    size_t queued = transport->lost == 0
                        ? yula_stream_peek_queued(transport->stream)
                        : 0;
    return PyUnicode_FromFormat(
        "<%s%s fd=%d read=%s write=<%s, bufsize=%zu>>", Py_TYPE(self)->tp_name,
        state, yula_stream_fd(transport->stream), reading ? "polling" : "idle",
        queued > 0 ? "polling" : "idle", queued);
}

/* --- making --------------------------------------------------------------- */

static int
transport_attach_server(yulapy_transport *transport, PyObject *server)
{
    yulapy_state *state = transport->loop->state;
    PyObject *args[] = {server, transport_object(transport)};
    PyObject *result = PyObject_VectorcallMethod(
        state->str__attach, args, state->server_takes_transport ? 2 : 1, NULL);
    if (result == NULL)
        return -1;
    Py_DECREF(result);
    transport->server = Py_NewRef(server);
    return 0;
}

static void
transport_remember_peer(yulapy_transport *transport,
                        const struct sockaddr *peer, socklen_t len)
{
    if (peer != NULL &&
        ((peer->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) ||
         (peer->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6))))
        memcpy(&transport->peer, peer,
               len < sizeof(transport->peer) ? len : sizeof(transport->peer));
}

PyObject *
yulapy_stream_transport_new(yulapy_loop *loop, int fd, PyObject *sock,
                            PyObject *protocol, PyObject *waiter,
                            PyObject *extra, PyObject *server,
                            PyObject *context, const struct sockaddr *peer,
                            socklen_t peer_len)
{
    yulapy_state *state = loop->state;
    PyTypeObject *type = state->stream_transport_type;
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    yulapy_transport *transport = TRANSPORT(self);
    transport->loop = (yulapy_loop *)Py_NewRef(loop);
    yula_work_init(&transport->begin, YULA_LANE_HOST, transport_begin,
                   transport);
    yula_work_init(&transport->end, YULA_LANE_HOST, transport_end, transport);
    transport_remember_peer(transport, peer, peer_len);
    EXTRA(self, state) = extra != NULL ? PyDict_Copy(extra) : PyDict_New();
    transport->context = context != NULL ? Py_NewRef(context)
                                         : PyContext_CopyCurrent();
    if (EXTRA(self, state) == NULL || transport->context == NULL ||
        transport_adopt_protocol(transport, protocol) < 0)
        goto fail;
    const yula_stream_ops *ops = transport->buffered ? &transport_buffered_ops
                                                     : &transport_ops;
    yulapy_descriptor_forget(loop, fd);
    int err = yula_stream_new(loop->core, YULA_LANE_HOST, fd, ops, transport,
                              &transport->stream);
    if (err < 0) {
        transport->stream = NULL;
        yulapy_raise_code(err);
        goto fail;
    }
    if (server != NULL && transport_attach_server(transport, server) < 0) {
        yula_stream_free(transport->stream, false);
        transport->stream = NULL;
        goto fail;
    }
    transport->sock = Py_XNewRef(sock);
    transport->waiter = Py_XNewRef(waiter);
    yulapy_loop_hold(loop, &transport->held, self, transport_loop_closed);
    yula_work_queue(loop->core, &transport->begin);
    return self;
fail:
    Py_CLEAR(transport->protocol); /* nothing to warn about */
    Py_DECREF(self);
    return NULL;
}

PyObject *
yulapy_transport_of_fd(yulapy_loop *loop, int fd)
{
    yula_stream *stream = yula_stream_of(loop->core, fd);
    return stream != NULL ? transport_object(yula_stream_arg(stream)) : NULL;
}

/* --- type ----------------------------------------------------------------- */

static int
transport_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_transport *transport = TRANSPORT(self);

    Py_VISIT(Py_TYPE(self));
    if (transport->loop == NULL)
        return 0;
    Py_VISIT(EXTRA(self, transport->loop->state));
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->context);
    Py_VISIT(transport->sock);
    Py_VISIT(transport->trsock);
    Py_VISIT(transport->server);
    Py_VISIT(transport->waiter);
    Py_VISIT(transport->empty_waiter);
    Py_VISIT(transport->lost_error);
    Py_VISIT(transport->dict);
    Py_VISIT(transport->buffer.obj);
    Py_VISIT(transport->loop);
    return 0;
}

static int
transport_clear(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);

    if (transport->loop == NULL)
        return 0;
    Py_CLEAR(EXTRA(self, transport->loop->state));
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->trsock);
    Py_CLEAR(transport->server);
    Py_CLEAR(transport->waiter);
    Py_CLEAR(transport->empty_waiter);
    Py_CLEAR(transport->lost_error);
    Py_CLEAR(transport->dict);
    return 0;
}

/* An open transport that nobody refers to: its loop was closed, or is garbage
 * as well. */
static void
transport_finalize(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->protocol == NULL || transport->loop == NULL)
        return;
    PyObject *error = yulapy_take_exception();
    PyObject *args[] = {self};
    yulapy_failure(transport->loop, transport->loop->state->str_transport_unclosed,
                   args, 1);
    if (transport->stream == NULL && transport->sock != NULL) {
        PyObject *result = PyObject_CallMethodNoArgs(
            transport->sock, transport->loop->state->str_close);
        if (result == NULL)
            PyErr_WriteUnraisable(self);
        Py_XDECREF(result);
    }
    if (error != NULL)
        yulapy_raise_exception(error);
}

static void
transport_dealloc(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (transport->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    yula_work_cancel(&transport->begin);
    yula_work_cancel(&transport->end);
    if (transport->loop != NULL && transport_close_descriptor(transport) < 0)
        PyErr_WriteUnraisable(self);
    transport_release_buffer(transport);
    (void)transport_clear(self);
    Py_CLEAR(transport->context);
    Py_CLEAR(transport->sock);
    Py_CLEAR(transport->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
transport_get_object(PyObject *self, void *offset)
{
    PyObject *value = *(PyObject **)((char *)TRANSPORT(self) +
                                     (Py_ssize_t)offset);
    return Py_NewRef(value != NULL ? value : Py_None);
}

static PyObject *
transport_get_flag(PyObject *self, void *offset)
{
    return PyBool_FromLong(*((bool *)TRANSPORT(self) + (Py_ssize_t)offset));
}

/* With the names that get_extra_info() would look up only when asked. */
static PyObject *
transport_get_extra_dict(PyObject *self, void *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    PyObject *sock = transport_get_extra(transport,
                                         transport->loop->state->str_socket);
    if (sock == NULL && PyErr_Occurred())
        return NULL;
    Py_XDECREF(sock);
    transport_keep_names(transport);
    PyObject *extra = EXTRA(self, transport->loop->state);
    return Py_NewRef(extra != NULL ? extra : Py_None);
}

static int
transport_set_extra_dict(PyObject *self, PyObject *value, void *unused)
{
    if (value == NULL || !PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "_extra must be a dict");
        return -1;
    }
    Py_XSETREF(EXTRA(self, TRANSPORT(self)->loop->state), Py_NewRef(value));
    return 0;
}

static PyObject *
transport_get_private_sock(PyObject *self, void *unused)
{
    PyObject *sock = transport_get_trsock(TRANSPORT(self));
    return sock;
}

static PyObject *
transport_get_sock_fd(PyObject *self, void *unused)
{
    yula_stream *stream = TRANSPORT(self)->stream;
    return PyLong_FromLong(stream != NULL ? yula_stream_fd(stream) : -1);
}

#define OFFSET(field) (void *)offsetof(yulapy_transport, field)

/* Private names of asyncio's transports that libraries and tests read. */
static PyGetSetDef transport_getset[] = {
    {"_loop", transport_get_object, NULL, NULL, OFFSET(loop)},
    {"_protocol", transport_get_object, NULL, NULL, OFFSET(protocol)},
    {"_server", transport_get_object, NULL, NULL, OFFSET(server)},
    {"_paused", transport_get_flag, NULL, NULL, OFFSET(paused)},
    {"_closing", transport_get_flag, NULL, NULL, OFFSET(closing)},
    {"_eof", transport_get_flag, NULL, NULL, OFFSET(eof)},
    {"_extra", transport_get_extra_dict, transport_set_extra_dict, NULL, NULL},
    {"_sock", transport_get_private_sock, NULL, NULL, NULL},
    {"_sock_fd", transport_get_sock_fd, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyMethodDef transport_methods[] = {
    {"write", transport_write, METH_O,
     PyDoc_STR("write(data)\n--\n\nSend bytes. What one callback writes leaves "
               "in one system call before the\nnext callback runs; what the "
               "kernel does not take is queued.")},
    {"writelines", transport_writelines, METH_O,
     PyDoc_STR("writelines(list_of_data)\n--\n\nwrite() for each, together.")},
    {"write_eof", transport_write_eof, METH_NOARGS,
     PyDoc_STR("write_eof()\n--\n\nEnd our half after what is queued.")},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS, NULL},
    {"get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS,
     PyDoc_STR("get_write_buffer_size()\n--\n\nBytes not yet taken by the "
               "kernel.")},
    {"get_write_buffer_limits", transport_get_write_buffer_limits, METH_NOARGS,
     PyDoc_STR("get_write_buffer_limits()\n--\n\n(low, high) in bytes.")},
    {"set_write_buffer_limits",
     (PyCFunction)(void (*)(void))transport_set_write_buffer_limits,
     METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("set_write_buffer_limits(high=None, low=None)\n--\n\nBytes at "
               "which the protocol is paused and resumed.")},
    {"pause_reading", transport_pause_reading, METH_NOARGS, NULL},
    {"resume_reading", transport_resume_reading, METH_NOARGS, NULL},
    {"is_reading", transport_is_reading, METH_NOARGS, NULL},
    {"close", transport_close_method, METH_NOARGS,
     PyDoc_STR("close()\n--\n\nClose once everything written has been sent.")},
    {"is_closing", transport_is_closing, METH_NOARGS, NULL},
    {"abort", transport_abort, METH_NOARGS,
     PyDoc_STR("abort()\n--\n\nClose now; what is queued is dropped.")},
    {"set_protocol", transport_set_protocol, METH_O, NULL},
    {"get_protocol", transport_get_protocol, METH_NOARGS, NULL},
    {"get_extra_info", (PyCFunction)(void (*)(void))transport_get_extra_info,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"_force_close", transport_force_close_method, METH_O, NULL},
    {"_fatal_error", (PyCFunction)(void (*)(void))transport_fatal_error_method,
     METH_FASTCALL, NULL},
    {"_make_empty_waiter", transport_make_empty_waiter, METH_NOARGS, NULL},
    {"_reset_empty_waiter", transport_reset_empty_waiter, METH_NOARGS, NULL},
    {NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, "A stream connection (TCP or Unix)."},
    {Py_tp_dealloc, transport_dealloc},
    {Py_tp_finalize, transport_finalize},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_repr, transport_repr},
    {Py_tp_methods, transport_methods},
    {Py_tp_getset, transport_getset},
    {Py_tp_members, NULL}, /* filled in below */
    {0, NULL},
};

int
yulapy_stream_transport_add_type(PyObject *module, yulapy_state *state)
{
    PyObject *transports = PyImport_ImportModule("asyncio.transports");
    PyObject *base = NULL, *member = NULL;
    int err = -1;

    if (transports != NULL)
        base = PyObject_GetAttrString(transports, "Transport");
    if (base != NULL)
        member = PyObject_GetAttrString(base, "_extra");
    if (member == NULL || !Py_IS_TYPE(member, &PyMemberDescr_Type)) {
        if (member != NULL)
            PyErr_SetString(PyExc_ImportError,
                            "asyncio.BaseTransport._extra is not a slot");
        goto done;
    }
    state->transport_extra_offset =
        ((PyMemberDescrObject *)member)->d_member->offset;
    transport_offset = (((PyTypeObject *)base)->tp_basicsize + 15) / 16 * 16;
    PyMemberDef members[] = {
        {"__weaklistoffset__", T_PYSSIZET,
         transport_offset + (Py_ssize_t)offsetof(yulapy_transport, weaklist),
         READONLY, NULL},
        {"__dictoffset__", T_PYSSIZET,
         transport_offset + (Py_ssize_t)offsetof(yulapy_transport, dict),
         READONLY, NULL},
        {NULL},
    };
    PyType_Slot slots[sizeof(transport_slots) / sizeof(transport_slots[0])];
    memcpy(slots, transport_slots, sizeof(slots));
    for (PyType_Slot *slot = slots; slot->slot != 0; slot++)
        if (slot->slot == Py_tp_members)
            slot->pfunc = members;
    PyType_Spec spec = {
        .name = "yula._core.StreamTransport",
        .basicsize = (int)(transport_offset +
                           (Py_ssize_t)sizeof(yulapy_transport)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    state->stream_transport_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &spec, base);
    if (state->stream_transport_type == NULL)
        goto done;
    /* asyncio's own markers: TLS can be started on it; sendfile(2) is tried. */
    PyObject *type = (PyObject *)state->stream_transport_type;
    PyObject *mode = NULL, *constants = PyImport_ImportModule(
                               "asyncio.constants");
    if (constants != NULL) {
        PyObject *modes = PyObject_GetAttrString(constants, "_SendfileMode");
        if (modes != NULL)
            mode = PyObject_GetAttrString(modes, "TRY_NATIVE");
        Py_XDECREF(modes);
        Py_DECREF(constants);
    }
    if (mode != NULL &&
        PyObject_SetAttrString(type, "_start_tls_compatible", Py_True) == 0 &&
        PyObject_SetAttrString(type, "_sendfile_compatible", mode) == 0)
        err = PyModule_AddType(module, state->stream_transport_type);
    Py_XDECREF(mode);
done:
    Py_XDECREF(transports);
    Py_XDECREF(base);
    Py_XDECREF(member);
    return err;
}
