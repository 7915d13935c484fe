/* datagram_transport.c: the transport of a datagram socket (UDP, Unix).
 *
 * A core datagram socket below, a protocol above. Follows asyncio's
 * selector_events._SelectorDatagramTransport method by method; what differs is
 * in docs/compatibility.md.
 *
 *  I1. While it is open the loop holds the transport (held), until
 *      connection_lost has been called: exactly once, from a turn of its own.
 *  I2. lost > 0: connection_lost is scheduled or done.
 *  I3. datagram is NULL once the descriptor was given up.
 *  I4. Protocol callbacks run in the transport's context; error_received and
 *      pause_writing from inside sendto() in that of its caller.
 */
#include "datagram_transport.h"
#include "descriptor.h"

/* --- calling the protocol -------------------------------------------------- */

/* A method of the protocol failed with the pending exception. asyncio reports
 * that, and leaves the transport open. */
static void
endpoint_report(yulapy_endpoint *endpoint, PyObject *method)
{
    yulapy_transport_report(endpoint->loop, &endpoint->context,
                            endpoint_object(endpoint), endpoint->protocol,
                            "protocol.%U() failed", method);
}

/* Call protocol.name(one, two) in the transport's context, and report what it
 * raises. The transport may be gone afterwards, unless the caller holds it. */
static inline void
endpoint_call(yulapy_endpoint *endpoint, PyObject *name, PyObject *one,
              PyObject *two)
{
    PyObject *result = yulapy_transport_call(
        endpoint->loop, &endpoint->context, endpoint_object(endpoint),
        endpoint->protocol, name, one, two);
    if (__builtin_expect(result == NULL, 0))
        endpoint_report(endpoint, name);
    Py_XDECREF(result);
}

/* --- errors --------------------------------------------------------------- */

static void
endpoint_schedule_lost(yulapy_endpoint *endpoint, PyObject *error)
{
    if (endpoint->lost > 0)
        return;
    endpoint->lost = 1;
    endpoint->lost_error = Py_XNewRef(error);
    if (endpoint->loop->core != NULL)
        yula_work_queue(endpoint->loop->core, &endpoint->end);
}

/* _force_close. Borrows error; NULL for none. */
void
yulapy_endpoint_force_close(yulapy_endpoint *endpoint, PyObject *error)
{
    if (endpoint->lost > 0)
        return;
    endpoint->closing = true;
    if (endpoint->datagram != NULL) {
        yula_datagram_drop(endpoint->datagram);
        yula_datagram_stop(endpoint->datagram);
    }
    endpoint_schedule_lost(endpoint, error);
}

/* _fatal_error with the pending exception: report it, unless it is one of the
 * network's, and close. SystemExit and KeyboardInterrupt leave the loop. */
void
yulapy_endpoint_fatal(yulapy_endpoint *endpoint, const char *message)
{
    PyObject *error = yulapy_transport_fatal_error(
        endpoint->loop, &endpoint->context, endpoint_object(endpoint),
        endpoint->loop->state->str_fatal_error, message);
    if (error == NULL)
        return;
    yulapy_endpoint_force_close(endpoint, error);
    Py_DECREF(error);
}

/* --- what the core tells -------------------------------------------------- */

static void
endpoint_on_received(yula_datagram *datagram, void *base, size_t len,
                     const struct sockaddr *addr, socklen_t addr_len, void *arg)
{
    yulapy_endpoint *endpoint = arg;
    yulapy_loop *loop = endpoint->loop;
    PyObject *self = Py_NewRef(endpoint_object(endpoint));

    PyObject *data = yulapy_received_bytes(loop, base, len);
    PyObject *sender = yulapy_datagram_sender(loop, addr, addr_len);
    if (data != NULL && sender != NULL)
        endpoint_call(endpoint, loop->state->str_datagram_received, data,
                      sender);
    else
        yulapy_endpoint_fatal(endpoint,
                              "Fatal read error on datagram transport");
    Py_XDECREF(data);
    Py_XDECREF(sender);
    Py_DECREF(self);
}

static void
endpoint_on_failed(yula_datagram *datagram, int status, bool sending, void *arg)
{
    yulapy_endpoint *endpoint = arg;
    PyObject *self = Py_NewRef(endpoint_object(endpoint));
    PyObject *error = yulapy_error_new(status);

    endpoint_call(endpoint, endpoint->loop->state->str_error_received, error,
                  NULL);
    Py_XDECREF(error);
    Py_DECREF(self);
}

static void
endpoint_on_pressure(yula_datagram *datagram, bool high, void *arg)
{
    yulapy_endpoint *endpoint = arg;
    yulapy_state *state = endpoint->loop->state;
    PyObject *self = Py_NewRef(endpoint_object(endpoint));

    if (!high) {
        endpoint_call(endpoint, state->str_resume_writing, NULL, NULL);
    }
    else {
        /* Called from inside sendto(): in its caller's context. */
        PyObject *result = PyObject_CallMethodNoArgs(endpoint->protocol,
                                                     state->str_pause_writing);
        if (result == NULL)
            endpoint_report(endpoint, state->str_pause_writing);
        Py_XDECREF(result);
    }
    Py_DECREF(self);
}

static void
endpoint_on_drained(yula_datagram *datagram, void *arg)
{
    yulapy_endpoint *endpoint = arg;

    if (endpoint->closing)
        endpoint_schedule_lost(endpoint, NULL);
}

static const yula_datagram_ops endpoint_ops = {
    .received = endpoint_on_received,
    .failed = endpoint_on_failed,
    .pressure = endpoint_on_pressure,
    .drained = endpoint_on_drained,
};

/* --- beginning and ending -------------------------------------------------- */

/* The first turn of a transport. */
static void
endpoint_begin(yula_work *work, void *arg)
{
    yulapy_endpoint *endpoint = arg;
    PyObject *self = Py_NewRef(endpoint_object(endpoint));

    endpoint->begun = true;
    endpoint_call(endpoint, endpoint->loop->state->str_connection_made, self,
                  NULL);
    if (!endpoint->paused && !endpoint->closing && endpoint->datagram != NULL)
        yula_datagram_start(endpoint->datagram);
    PyObject *waiter = endpoint->waiter;
    endpoint->waiter = NULL;
    if (waiter != NULL)
        yulapy_future_resolve(endpoint->loop, waiter, Py_None, false);
    Py_XDECREF(waiter);
    Py_DECREF(self);
}

int
yulapy_endpoint_close_descriptor(yulapy_endpoint *endpoint)
{
    yula_datagram *datagram = endpoint->datagram;
    if (datagram == NULL)
        return 0;
    endpoint->datagram = NULL;
    yula_datagram_free(datagram, false);
    PyObject *result = PyObject_CallMethodNoArgs(
        endpoint->sock, endpoint->loop->state->str_close);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static void
endpoint_end(yula_work *work, void *arg)
{
    yulapy_endpoint *endpoint = arg;
    PyObject *self = Py_NewRef(endpoint_object(endpoint));
    PyObject *error = endpoint->lost_error;

    endpoint->lost_error = NULL;
    endpoint->ended = true;
    endpoint_call(endpoint, endpoint->loop->state->str_connection_lost,
                  error != NULL ? error : Py_None, NULL);
    if (yulapy_endpoint_close_descriptor(endpoint) < 0 &&
        !yulapy_leaves_loop(endpoint->loop))
        PyErr_WriteUnraisable(self);
    Py_XDECREF(error);
    Py_CLEAR(endpoint->protocol);
    yulapy_loop_let_go(&endpoint->held);
    Py_DECREF(self);
}

/* 0, or -1 with an exception (the loop is closed). */
int
yulapy_endpoint_close(yulapy_endpoint *endpoint)
{
    if (endpoint->closing)
        return 0;
    endpoint->closing = true;
    if (endpoint->datagram == NULL)
        return endpoint->protocol != NULL
                   ? yulapy_loop_check_open(endpoint->loop)
                   : 0;
    yula_datagram_stop(endpoint->datagram);
    if (yula_datagram_queued(endpoint->datagram) == 0)
        endpoint_schedule_lost(endpoint, NULL);
    return 0;
}

/* The loop closes under an open transport: asyncio leaves its socket open and
 * warns when the transport is collected. */
static void
endpoint_loop_closed(PyObject *self)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);

    yula_work_cancel(&endpoint->begin);
    yula_work_cancel(&endpoint->end);
    if (endpoint->datagram == NULL)
        return;
    yula_datagram_free(endpoint->datagram, false);
    endpoint->datagram = NULL;
}

/* --- making --------------------------------------------------------------- */

static PyObject *
endpoint_ask_name(int fd, bool peer)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    int err = peer ? getpeername(fd, (struct sockaddr *)&addr, &len)
                   : getsockname(fd, (struct sockaddr *)&addr, &len);
    if (err < 0)
        Py_RETURN_NONE;
    return yulapy_address_object((struct sockaddr *)&addr, len);
}

static int
extra_add(PyObject *extra, PyObject *name, PyObject *value)
{
    int err = value != NULL ? PyDict_SetItem(extra, name, value) : -1;
    Py_XDECREF(value);
    return err;
}

/* As _SelectorTransport.__init__ fills _extra. */
static int
endpoint_fill_extra(yulapy_endpoint *endpoint, int fd, PyObject *given)
{
    yulapy_state *state = endpoint->loop->state;
    PyObject *extra = given != NULL ? PyDict_Copy(given) : PyDict_New();

    if (extra == NULL)
        return -1;
    *endpoint_extra(endpoint) = extra;
    if (extra_add(
            extra, state->str_socket,
            PyObject_CallOneArg(state->transport_socket, endpoint->sock)) < 0 ||
        extra_add(extra, state->str_sockname, endpoint_ask_name(fd, false)) < 0)
        return -1;
    PyObject *peer = PyDict_GetItemWithError(extra, state->str_peername);
    if (peer == NULL &&
        (PyErr_Occurred() || extra_add(extra, state->str_peername,
                                       endpoint_ask_name(fd, true)) < 0))
        return -1;
    peer = PyDict_GetItemWithError(extra, state->str_peername);
    int has_peer = peer != NULL ? PyObject_IsTrue(peer) : -1;
    endpoint->has_peer = has_peer > 0;
    return has_peer < 0 ? -1 : 0;
}

static PyObject *
endpoint_new(yulapy_loop *loop, int fd, PyObject *sock, PyObject *protocol,
             PyObject *address, PyObject *waiter, PyObject *extra)
{
    PyTypeObject *type = loop->state->datagram_transport_type;
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    yulapy_endpoint *endpoint = ENDPOINT(self);
    endpoint->loop = (yulapy_loop *)Py_NewRef(loop);
    yula_work_init(&endpoint->begin, YULA_LANE_HOST, endpoint_begin, endpoint);
    yula_work_init(&endpoint->end, YULA_LANE_HOST, endpoint_end, endpoint);
    endpoint->sock = Py_NewRef(sock);
    endpoint->context = PyContext_CopyCurrent();
    int has_address = address != NULL ? PyObject_IsTrue(address) : 0;
    if (endpoint->context == NULL || has_address < 0 ||
        endpoint_fill_extra(endpoint, fd, extra) < 0)
        goto fail;
    if (has_address)
        endpoint->address = Py_NewRef(address);
    endpoint->family = yula__sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN);
    yulapy_descriptor_forget(loop, fd);
    int err = yula_datagram_new(loop->core, YULA_LANE_HOST, fd, &endpoint_ops,
                                endpoint, &endpoint->datagram);
    if (err < 0) {
        endpoint->datagram = NULL;
        yulapy_raise_code(err);
        goto fail;
    }
    endpoint->protocol = Py_NewRef(protocol);
    endpoint->waiter = Py_XNewRef(waiter);
    yulapy_loop_hold(loop, &endpoint->held, self, endpoint_loop_closed);
    yula_work_queue(loop->core, &endpoint->begin);
    return self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* args: sock, protocol, address, waiter, extra; the last three may be None. */
PyObject *
yulapy_loop_make_datagram(PyObject *self, PyObject *const *args,
                          Py_ssize_t nargs)
{
    yulapy_loop *loop = (yulapy_loop *)self;

    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError,
                        "_make_datagram() takes exactly five arguments");
        return NULL;
    }
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    int fd = yulapy_descriptor_fd(args[0]);
    if (fd < 0)
        return NULL;
    return endpoint_new(
        loop, fd, args[0], args[1], yulapy_none_to_null(args[2]),
        yulapy_none_to_null(args[3]), yulapy_none_to_null(args[4]));
}

PyObject *
yulapy_datagram_transport_of_fd(yulapy_loop *loop, int fd)
{
    yula_datagram *datagram = yula_datagram_of(loop->core, fd);
    if (datagram == NULL)
        return NULL;
    return endpoint_object(yula_datagram_arg(datagram));
}
