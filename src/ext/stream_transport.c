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
#include "io/stream_i.h"
#include "stream_transport.h"
#include "streams.h"
#include "tls.h"

static void transport_schedule_lost(yulapy_transport *transport,
                                    PyObject *error);

/* --- calling the protocol -------------------------------------------------- */

/* Call protocol.name(arg or nothing) in the transport's context. */
static PyObject *
transport_call(yulapy_transport *transport, PyObject *name, PyObject *protocol,
               PyObject *arg)
{
    return yulapy_transport_call(transport->loop, &transport->context,
                                 transport_object(transport), protocol, name,
                                 arg, NULL);
}

/* --- errors --------------------------------------------------------------- */

/* _force_close. Borrows error; NULL for none. */
void
yulapy_transport_force_close(yulapy_transport *transport, PyObject *error)
{
    if (transport->lost > 0)
        return;
    yulapy_streams_settle(&transport->feed);
    transport->closing = true;
    if (transport->stream != NULL)
        yula_stream_stop(transport->stream);
    transport_schedule_lost(transport, error);
}

/* _fatal_error with the pending exception: report it, unless it is one of the
 * network's, and close. SystemExit and KeyboardInterrupt leave the loop. */
void
yulapy_transport_fatal(yulapy_transport *transport, const char *message)
{
    PyObject *error = yulapy_transport_fatal_error(
        transport->loop, &transport->context, transport_object(transport),
        transport->loop->state->str_fatal_error, message);
    if (error == NULL)
        return;
    yulapy_transport_force_close(transport, error);
    Py_DECREF(error);
}

/* A method of the protocol failed; the transport stays open. */
static void
transport_report(yulapy_transport *transport, PyObject *method)
{
    yulapy_transport_report(transport->loop, &transport->context,
                            transport_object(transport), transport->protocol,
                            "protocol.%U() failed", method);
}

/* --- what the core tells -------------------------------------------------- */

static void
transport_on_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;

    PyObject *data = yulapy_received_bytes(transport->loop, base, len);
    if (data == NULL) {
        yulapy_transport_fatal(transport,
                               "Fatal read error on socket transport");
        return;
    }
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *result = transport_call(transport, state->str_data_received,
                                      transport->protocol, data);
    Py_DECREF(data);
    if (result == NULL)
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.data_received() call failed.");
    Py_XDECREF(result);
    Py_DECREF(self);
}

/* For a StreamReader, without its protocol in between. */
static void
transport_on_read_stream(yula_stream *stream, void *base, size_t len, void *arg)
{
    yulapy_transport *transport = arg;

    if (transport->feed.reader == NULL || !transport->direct) {
        transport_on_read(stream, base, len, arg);
        return;
    }
    PyObject *self = Py_NewRef(transport_object(transport));
    if (yulapy_reader_receive(transport->feed.reader, base, (Py_ssize_t)len,
                              NULL) < 0)
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.data_received() call failed.");
    Py_DECREF(self);
}

static int
transport_on_alloc_stream(yula_stream *stream, void **base, size_t *len,
                          void *arg)
{
    yulapy_transport *transport = arg;
    transport->direct = transport->feed.reader != NULL &&
                        yulapy_streams_direct(transport->loop->state->streams,
                                              &transport->feed);
    if (transport->direct) {
        PyObject *self = Py_NewRef(transport_object(transport));
        int err = yulapy_reader_alloc(transport->feed.reader, base, len);
        if (err > 0 && PyErr_Occurred())
            yulapy_transport_fatal(
                transport,
                "Fatal error: protocol.data_received() call failed.");
        Py_DECREF(self);
        return err;
    }
    *base = yula_loop_read_buffer(transport->loop->core);
    *len = YULA_STREAM_READ_MAX;
    return *base != NULL ? 0 : -ENOMEM;
}

static int
transport_on_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *hint = PyLong_FromLong(-1);
    PyObject *buffer = NULL;

    if (transport->buffer == NULL) {
        transport->buffer = PyMem_Calloc(1, sizeof(*transport->buffer));
        if (transport->buffer == NULL)
            Py_CLEAR(hint);
    }
    if (hint != NULL) {
        buffer = transport_call(transport, state->str_get_buffer,
                                transport->protocol, hint);
        Py_DECREF(hint);
    }
    if (buffer == NULL ||
        PyObject_GetBuffer(buffer, transport->buffer, PyBUF_WRITABLE) < 0) {
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.get_buffer() call failed.");
    }
    else if (transport->buffer->len == 0) {
        PyBuffer_Release(transport->buffer);
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.get_buffer() call failed.");
    }
    else {
        *base = transport->buffer->buf;
        *len = (size_t)transport->buffer->len;
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

    yulapy_transport_release_buffer(transport);
    PyObject *count = PyLong_FromSize_t(len);
    if (count != NULL) {
        result = transport_call(transport, state->str_buffer_updated,
                                transport->protocol, count);
        Py_DECREF(count);
    }
    if (result == NULL)
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.buffer_updated() call failed.");
    Py_XDECREF(result);
    Py_DECREF(self);
}

/* For a TLS connection of ours: what buffer_updated() would be called for. */
static void
transport_on_read_tls(yula_stream *stream, void *base, size_t len, void *arg)
{
    yulapy_transport *transport = arg;
    PyObject *self = Py_NewRef(transport_object(transport));
    yulapy_loop *loop = transport->loop;
    PyObject *context = yulapy_context_enter(loop, &transport->context);
    int err = context != NULL ? 0 : -1;

    if (err == 0) {
        int64_t begin_ns = loop->debug ? yula_loop_now(loop->core) : 0;
        err = yulapy_tls_receive((yulapy_tls *)transport->protocol, base, len);
        if (__builtin_expect(begin_ns != 0, 0))
            yulapy_transport_note_time(
                loop, self, loop->state->str_buffer_updated, begin_ns);
        if (yulapy_context_leave(loop, &transport->context, context) < 0)
            err = -1;
    }
    if (err < 0)
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.buffer_updated() call failed.");
    Py_DECREF(self);
}

void
yulapy_transport_release_buffer(yulapy_transport *transport)
{
    if (transport->buffer != NULL && transport->buffer->obj != NULL)
        PyBuffer_Release(transport->buffer);
}

/* get_buffer() was called and nothing came. */
static void
transport_on_unused(yula_stream *stream, void *arg)
{
    yulapy_transport_release_buffer(arg);
}

static void
transport_on_ended(yula_stream *stream, void *arg)
{
    yulapy_transport *transport = arg;
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));

    yulapy_transport_release_buffer(transport);
    PyObject *result = transport_call(transport, state->str_eof_received,
                                      transport->protocol, NULL);
    int keep_open = result != NULL ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(result);
    if (keep_open < 0)
        yulapy_transport_fatal(
            transport, "Fatal error: protocol.eof_received() call failed.");
    else if (!keep_open && yulapy_transport_close(transport) < 0)
        PyErr_WriteUnraisable(self);
    Py_DECREF(self);
}

static void
transport_on_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    yulapy_transport *transport = arg;
    PyObject *self = Py_NewRef(transport_object(transport));

    yulapy_transport_release_buffer(transport);
    yulapy_raise_code(status);
    yulapy_transport_fatal(transport,
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
        result = transport_call(transport, state->str_resume_writing,
                                transport->protocol, NULL);
    if (result == NULL)
        transport_report(transport, high ? state->str_pause_writing
                                         : state->str_resume_writing);
    Py_XDECREF(result);
    Py_DECREF(self);
}

void
yulapy_transport_wake_empty_waiter(yulapy_transport *transport, PyObject *error)
{
    PyObject *waiter = transport->empty_waiter;

    if (waiter == NULL)
        return;
    transport->empty_waiter = NULL;
    yulapy_future_resolve(transport->loop, waiter,
                          error != NULL ? error : Py_None, error != NULL);
    if (error == NULL) /* until it is reset */
        transport->empty_waiter = Py_NewRef(waiter);
    Py_DECREF(waiter);
}

static void
transport_on_drained(yula_stream *stream, void *arg)
{
    yulapy_transport *transport = arg;
    PyObject *self = Py_NewRef(transport_object(transport));

    yulapy_transport_wake_empty_waiter(transport, NULL);
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

static const yula_stream_ops transport_reader_ops = {
    .alloc = transport_on_alloc_stream,
    .read = transport_on_read_stream,
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

static const yula_stream_ops transport_tls_ops = {
    .read = transport_on_read_tls,
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
    PyObject *waiter = transport->waiter;

    if (waiter == NULL)
        return;
    transport->waiter = NULL;
    yulapy_future_resolve(transport->loop, waiter, Py_None, false);
    Py_DECREF(waiter);
}

/* The first turn of a connection. */
static void
transport_begin(yulapy_transport *transport)
{
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));

    transport->begun = true;
    if (transport->lost > 0) /* Server.abort_clients() was quicker */
        yula_work_queue(transport->loop->core, &transport->turn);
    PyObject *result = transport_call(transport, state->str_connection_made,
                                      transport->protocol, self);
    if (result == NULL)
        transport_report(transport, state->str_connection_made);
    Py_XDECREF(result);
    if (!transport->paused && !transport->closing && transport->stream != NULL)
        yula_stream_start(transport->stream);
    transport_answer_waiter(transport);
    Py_DECREF(self);
}

/* --- ending --------------------------------------------------------------- */

int
yulapy_transport_close_descriptor(yulapy_transport *transport)
{
    yula_stream *stream = transport->stream;
    PyObject *sock = transport->sock;
    if (stream == NULL)
        return 0;
    yulapy_transport_release_buffer(transport);
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

/* Whether somebody but the loop and our caller may ask for the names later. */
static bool
transport_is_known(PyObject *self)
{
#if defined(Py_GIL_DISABLED)
    return true; /* the reference count is split between threads */
#else
    return Py_REFCNT(self) > 2;
#endif
}

static void
transport_end(yulapy_transport *transport)
{
    yulapy_state *state = transport->loop->state;
    PyObject *self = Py_NewRef(transport_object(transport));
    PyObject *error = transport->lost_error;

    transport->lost_error = NULL;
    transport->ended = true;
    if (transport->connected) {
        PyObject *result = transport_call(transport, state->str_connection_lost,
                                          transport->protocol,
                                          error != NULL ? error : Py_None);
        if (result == NULL)
            transport_report(transport, state->str_connection_lost);
        Py_XDECREF(result);
    }
    (void)yulapy_streams_adopt(&transport->feed, transport->loop, NULL);
    Py_CLEAR(transport->protocol);
    transport->connected = false;
    if (transport_is_known(self))
        yulapy_transport_keep_names(transport);
    if (yulapy_transport_close_descriptor(transport) < 0 &&
        !yulapy_leaves_loop(transport->loop))
        PyErr_WriteUnraisable(self);
    Py_XDECREF(error);
    if (transport->empty_waiter != NULL) {
        PyErr_SetString(PyExc_ConnectionError, "Connection is closed by peer");
        error = yulapy_take_exception();
        yulapy_transport_wake_empty_waiter(transport, error);
        Py_XDECREF(error);
    }
    transport_detach_server(transport);
    yulapy_loop_let_go(&transport->held);
    Py_DECREF(self);
}

static void
transport_turn(yula_work *work, void *arg)
{
    yulapy_transport *transport = arg;
    if (transport->begun)
        transport_end(transport);
    else
        transport_begin(transport);
}

static void
transport_schedule_lost(yulapy_transport *transport, PyObject *error)
{
    if (transport->lost > 0)
        return;
    transport->lost = 1;
    transport->lost_error = Py_XNewRef(error);
    if (transport->loop->core != NULL && transport->begun)
        yula_work_queue(transport->loop->core, &transport->turn);
}

/* A write that failed closes us from a turn of its own, but
 * StreamWriter.drain() must see it now: it yields only to a closing one. */
bool
yulapy_transport_is_closing(yulapy_transport *transport)
{
    return transport->closing ||
           (transport->stream != NULL && yula_stream_failed(transport->stream));
}

/* 0, or -1 with an exception (the loop is closed). */
int
yulapy_transport_close(yulapy_transport *transport)
{
    if (transport->closing)
        return 0;
    yulapy_streams_settle(&transport->feed);
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

    yula_work_cancel(&transport->turn);
    if (transport->stream == NULL)
        return;
    PyObject *sock = yulapy_transport_get_sock(transport);
    if (sock == NULL) {
        PyErr_WriteUnraisable(self); /* no memory for it: then close it */
        (void)yulapy_transport_close_descriptor(transport);
        return;
    }
    Py_DECREF(sock);
    yulapy_transport_release_buffer(transport);
    yula_stream_free(transport->stream, false);
    transport->stream = NULL;
}

/* --- making --------------------------------------------------------------- */

int
yulapy_transport_adopt_protocol(yulapy_transport *transport, PyObject *protocol)
{
    int buffered = PyObject_IsInstance(
        protocol, transport->loop->state->buffered_protocol);
    if (buffered < 0)
        return -1;
    int reader = yulapy_streams_adopt(&transport->feed, transport->loop,
                                      protocol);
    if (reader < 0)
        return -1;
    transport->buffered = buffered > 0;
    bool tls = yulapy_tls_of(transport->loop->state, protocol) != NULL;
    transport->ops = tls        ? &transport_tls_ops
                     : buffered ? &transport_buffered_ops
                     : reader   ? &transport_reader_ops
                                : &transport_ops;
    Py_XSETREF(transport->protocol, Py_NewRef(protocol));
    transport->connected = true;
    if (transport->stream != NULL)
        yula_stream_set_ops(transport->stream, transport->ops);
    return 0;
}

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
    if (len >= sizeof(peer->sa_family) &&
        ((peer->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) ||
         (peer->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6))))
        memcpy(&transport->peer, peer,
               len < sizeof(transport->peer) ? len : sizeof(transport->peer));
}

PyObject *
yulapy_stream_transport_new(yulapy_loop *loop, int fd, PyObject *sock,
                            PyObject *protocol, PyObject *waiter,
                            PyObject *extra, PyObject *server,
                            PyObject *context, int kind,
                            const struct sockaddr *peer, socklen_t peer_len)
{
    yulapy_state *state = loop->state;
    PyTypeObject *type = state->stream_transport_type;
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    yulapy_transport *transport = TRANSPORT(self);
    transport->loop = (yulapy_loop *)Py_NewRef(loop);
    yula_work_init(&transport->turn, YULA_LANE_HOST, transport_turn, transport);
    struct sockaddr_storage asked;
    if (peer == NULL) { /* it must be known after a reset, too */
        asked.ss_family = AF_UNSPEC;
        peer = (struct sockaddr *)&asked;
        peer_len = sizeof(asked);
        if (getpeername(fd, (struct sockaddr *)&asked, &peer_len) < 0)
            peer_len = 0;
    }
    transport_remember_peer(transport, peer, peer_len);
    if (extra != NULL) /* else made when there is something to remember */
        EXTRA(self, state) = PyDict_Copy(extra);
    transport->context = Py_XNewRef(context);
    if ((extra != NULL && EXTRA(self, state) == NULL) ||
        yulapy_transport_adopt_protocol(transport, protocol) < 0)
        goto fail;
    yulapy_descriptor_forget(loop, fd);
    int err = yula__stream_new(loop->core, YULA_LANE_HOST, fd, kind,
                               transport->ops, transport, &transport->stream);
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
    yula_work_queue(loop->core, &transport->turn);
    return self;
fail:
    Py_CLEAR(transport->protocol); /* nothing to warn about */
    Py_DECREF(self);
    return NULL;
}

PyObject *
yulapy_transports_of(PyObject *self, PyObject *server)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *list = PyList_New(0);
    for (yulapy_held *held = loop->held.next;
         list != NULL && held != &loop->held; held = held->next)
        if (held->loop_closed == transport_loop_closed &&
            TRANSPORT(held->object)->server == server &&
            PyList_Append(list, held->object) < 0)
            Py_CLEAR(list);
    return list;
}

PyObject *
yulapy_transport_of_fd(yulapy_loop *loop, int fd)
{
    yula_stream *stream = yula_stream_of(loop->core, fd);
    return stream != NULL ? transport_object(yula_stream_arg(stream))
                          : yulapy_datagram_transport_of_fd(loop, fd);
}
