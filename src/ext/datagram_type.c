/* datagram_type.c: the Python type of a datagram transport, and sending. */
#include "datagram_transport.h"

Py_ssize_t yulapy_endpoint_offset;

/* --- sending -------------------------------------------------------------- */

/* protocol.error_received(the pending exception). What that raises is the
 * caller's of sendto(). */
static PyObject *
endpoint_tell_error(yulapy_endpoint *endpoint)
{
    PyObject *error = yulapy_take_exception();
    PyObject *result = PyObject_CallMethodOneArg(
        endpoint->protocol, endpoint->loop->state->str_error_received, error);
    Py_XDECREF(error);
    if (result == NULL)
        return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* The pending exception came out of the socket module. */
static PyObject *
endpoint_socket_failed(yulapy_endpoint *endpoint)
{
    if (PyErr_ExceptionMatches(PyExc_OSError))
        return endpoint_tell_error(endpoint);
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return NULL;
    yulapy_endpoint_fatal(endpoint, "Fatal write error on datagram transport");
    Py_RETURN_NONE;
}

static PyObject *
endpoint_send(yulapy_endpoint *endpoint, const Py_buffer *view,
              const struct sockaddr *addr, socklen_t addr_len)
{
    int err = yula_datagram_send(endpoint->datagram, view->buf,
                                 (size_t)view->len, addr, addr_len);
    if (__builtin_expect(err == 0, 1))
        Py_RETURN_NONE;
    errno = -err;
    PyErr_SetFromErrno(PyExc_OSError);
    return endpoint_tell_error(endpoint);
}

/* Not a literal: a name, '' or '<broadcast>', or nothing the socket could send
 * to. Let the socket say; asyncio asks it in the same way. */
static PyObject *
endpoint_send_by_name(yulapy_endpoint *endpoint, PyObject *data,
                      const Py_buffer *view, PyObject *address)
{
    if (yula_datagram_queued(endpoint->datagram) == 0) {
        PyObject *sent = PyObject_CallMethod(endpoint->sock, "sendto", "OO",
                                             data, address);
        if (sent != NULL) {
            Py_DECREF(sent);
            Py_RETURN_NONE;
        }
        if (!PyErr_ExceptionMatches(PyExc_BlockingIOError))
            return endpoint_socket_failed(endpoint);
        PyErr_Clear(); /* it has to wait: under the address of that name */
    }
    PyObject *literal = PyObject_CallMethod((PyObject *)endpoint->loop,
                                            "_datagram_address", "OO",
                                            endpoint->sock, address);
    if (literal == NULL)
        return endpoint_socket_failed(endpoint);
    struct sockaddr_storage addr;
    socklen_t len = yulapy_address_parse(endpoint->family, literal, &addr);
    Py_DECREF(literal);
    if (len == 0 || endpoint->datagram == NULL)
        Py_RETURN_NONE;
    return endpoint_send(endpoint, view, (struct sockaddr *)&addr, len);
}

/* Where a datagram to this address goes; NULL if it is no literal. */
static const struct sockaddr *
endpoint_destination(yulapy_endpoint *endpoint, PyObject *address,
                     socklen_t *len)
{
    if (address == endpoint->to_object) {
        *len = endpoint->to_len;
        return (struct sockaddr *)&endpoint->to;
    }
    const struct sockaddr *sender = yulapy_datagram_sender_of(endpoint->loop,
                                                              address, len);
    if (sender != NULL)
        return sender;
    Py_CLEAR(endpoint->to_object);
    *len = endpoint->to_len = yulapy_address_parse(endpoint->family, address,
                                                   &endpoint->to);
    if (*len == 0)
        return NULL;
    endpoint->to_object = Py_NewRef(address);
    return (struct sockaddr *)&endpoint->to;
}

static PyObject *
endpoint_send_view(yulapy_endpoint *endpoint, PyObject *data,
                   const Py_buffer *view, PyObject *address)
{
    if (endpoint->has_peer)
        return endpoint_send(endpoint, view, NULL, 0);
    socklen_t len;
    const struct sockaddr *to = endpoint_destination(endpoint, address, &len);
    if (to == NULL)
        return endpoint_send_by_name(endpoint, data, view, address);
    return endpoint_send(endpoint, view, to, len);
}

/* Borrowed: where sendto(data, given) shall go; NULL with an exception. */
static PyObject *
endpoint_check_address(yulapy_endpoint *endpoint, PyObject *given)
{
    PyObject *only = endpoint->address;

    if (only == NULL || given == only)
        return given;
    int equal = given == Py_None ? 1
                                 : PyObject_RichCompareBool(given, only, Py_EQ);
    if (equal == 0)
        PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S",
                     only);
    return equal > 0 ? only : NULL;
}

static PyObject *
endpoint_sendto_checked(yulapy_endpoint *endpoint, PyObject *data,
                        PyObject *address)
{
    if (!endpoint->loop->state->sends_empty_datagrams) {
        Py_ssize_t size = PyObject_Size(data);
        if (size <= 0)
            return size < 0 ? NULL : Py_NewRef(Py_None);
    }
    address = endpoint_check_address(endpoint, address);
    if (address == NULL)
        return NULL;
    if (endpoint->datagram == NULL ||
        (endpoint->lost > 0 && endpoint->address != NULL))
        return yulapy_transport_drop_write(
                   endpoint->loop, &endpoint->lost,
                   endpoint->loop->state->str_warn_lost_write) == 0
                   ? Py_NewRef(Py_None)
                   : NULL;
    Py_buffer view;
    if (PyBytes_CheckExact(data)) {
        view.buf = PyBytes_AS_STRING(data);
        view.len = PyBytes_GET_SIZE(data);
        return endpoint_send_view(endpoint, data, &view, address);
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return endpoint_socket_failed(endpoint);
    PyObject *result = endpoint_send_view(endpoint, data, &view, address);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *
endpoint_sendto_slowly(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    PyObject *values[2] = {NULL, Py_None};
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    for (Py_ssize_t i = 0; i < nargs && i < 2; i++)
        values[i] = args[i];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        Py_ssize_t at = PyUnicode_CompareWithASCIIString(name, "data") == 0 ? 0
                        : PyUnicode_CompareWithASCIIString(name, "addr") == 0
                            ? 1
                            : 2;
        if (at == 2 || at < nargs) {
            PyErr_Format(PyExc_TypeError,
                         at == 2 ? "sendto() got an unexpected keyword "
                                   "argument '%U'"
                                 : "sendto() got multiple values for argument "
                                   "'%U'",
                         name);
            return NULL;
        }
        values[at] = args[nargs + i];
    }
    if (nargs > 2 || values[0] == NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "sendto() takes the data and one address at most");
        return NULL;
    }
    if (!PyBytes_Check(values[0]) && !PyByteArray_Check(values[0]) &&
        !PyMemoryView_Check(values[0])) {
        PyErr_Format(PyExc_TypeError,
                     "data argument must be a bytes-like object, not '%.200s'",
                     Py_TYPE(values[0])->tp_name);
        return NULL;
    }
    return endpoint_sendto_checked(ENDPOINT(self), values[0], values[1]);
}

static PyObject *
endpoint_sendto(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    if (nargs == 2 && kwnames == NULL && PyBytes_CheckExact(args[0]))
        return endpoint_sendto_checked(ENDPOINT(self), args[0], args[1]);
    return endpoint_sendto_slowly(self, args, nargs, kwnames);
}

/* --- the queue ------------------------------------------------------------- */

static PyObject *
endpoint_get_write_buffer_size(PyObject *self, PyObject *unused)
{
    yula_datagram *datagram = ENDPOINT(self)->datagram;
    return PyLong_FromSize_t(datagram != NULL ? yula_datagram_queued(datagram)
                                              : 0);
}

static PyObject *
endpoint_get_write_buffer_limits(PyObject *self, PyObject *unused)
{
    yula_datagram *datagram = ENDPOINT(self)->datagram;
    size_t low = YULA_STREAM_LOW, high = YULA_STREAM_HIGH;
    if (datagram != NULL)
        yula_datagram_get_marks(datagram, &low, &high);
    return Py_BuildValue("(nn)", (Py_ssize_t)low, (Py_ssize_t)high);
}

static PyObject *
endpoint_set_write_buffer_limits(PyObject *self, PyObject *args,
                                 PyObject *kwargs)
{
    yula_datagram *datagram = ENDPOINT(self)->datagram;
    size_t low, high;
    if (yulapy_parse_limits(args, kwargs, &low, &high) < 0)
        return NULL;
    if (datagram != NULL)
        yula_datagram_set_marks(datagram, low, high);
    Py_RETURN_NONE;
}

/* --- the rest of the interface -------------------------------------------- */

static PyObject *
endpoint_pause_reading(PyObject *self, PyObject *unused)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    if (endpoint->closing || endpoint->paused)
        Py_RETURN_NONE;
    endpoint->paused = true;
    if (endpoint->datagram != NULL)
        yula_datagram_stop(endpoint->datagram);
    Py_RETURN_NONE;
}

static PyObject *
endpoint_resume_reading(PyObject *self, PyObject *unused)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    if (endpoint->closing || !endpoint->paused)
        Py_RETURN_NONE;
    endpoint->paused = false;
    if (endpoint->datagram != NULL && endpoint->begun)
        yula_datagram_start(endpoint->datagram);
    Py_RETURN_NONE;
}

static PyObject *
endpoint_is_reading(PyObject *self, PyObject *unused)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    return PyBool_FromLong(!endpoint->closing && !endpoint->paused);
}

static PyObject *
endpoint_close_method(PyObject *self, PyObject *unused)
{
    if (yulapy_endpoint_close(ENDPOINT(self)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
endpoint_is_closing(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(ENDPOINT(self)->closing);
}

static PyObject *
endpoint_abort(PyObject *self, PyObject *unused)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    if (endpoint->datagram == NULL && endpoint->protocol != NULL &&
        yulapy_loop_check_open(endpoint->loop) < 0)
        return NULL;
    yulapy_endpoint_force_close(endpoint, NULL);
    Py_RETURN_NONE;
}

static PyObject *
endpoint_force_close_method(PyObject *self, PyObject *error)
{
    yulapy_endpoint_force_close(ENDPOINT(self), yulapy_none_to_null(error));
    Py_RETURN_NONE;
}

static PyObject *
endpoint_set_protocol(PyObject *self, PyObject *protocol)
{
    Py_XSETREF(ENDPOINT(self)->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

static PyObject *
endpoint_get_protocol(PyObject *self, PyObject *unused)
{
    PyObject *protocol = ENDPOINT(self)->protocol;
    return Py_NewRef(protocol != NULL ? protocol : Py_None);
}

static PyObject *
endpoint_repr(PyObject *self)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    const char *name = Py_TYPE(self)->tp_name;
    if (endpoint->datagram == NULL)
        return PyUnicode_FromFormat("<%s closed>", name);
    size_t queued = yula_datagram_queued(endpoint->datagram);
    bool reading = !endpoint->paused && !endpoint->closing;
    return PyUnicode_FromFormat("<%s%s fd=%d read=%s write=<%s, bufsize=%zu>>",
                                name, endpoint->closing ? " closing" : "",
                                yula_datagram_fd(endpoint->datagram),
                                reading ? "polling" : "idle",
                                queued > 0 ? "polling" : "idle", queued);
}

/* --- type ----------------------------------------------------------------- */

static int
endpoint_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);

    Py_VISIT(Py_TYPE(self));
    if (endpoint->loop == NULL)
        return 0;
    Py_VISIT(*endpoint_extra(endpoint));
    Py_VISIT(endpoint->protocol);
    Py_VISIT(endpoint->context);
    Py_VISIT(endpoint->sock);
    Py_VISIT(endpoint->address);
    Py_VISIT(endpoint->waiter);
    Py_VISIT(endpoint->lost_error);
    Py_VISIT(endpoint->dict);
    Py_VISIT(endpoint->to_object);
    Py_VISIT(endpoint->loop);
    return 0;
}

static int
endpoint_clear(PyObject *self)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);

    if (endpoint->loop == NULL)
        return 0;
    Py_CLEAR(*endpoint_extra(endpoint));
    Py_CLEAR(endpoint->protocol);
    Py_CLEAR(endpoint->address);
    Py_CLEAR(endpoint->waiter);
    Py_CLEAR(endpoint->lost_error);
    Py_CLEAR(endpoint->dict);
    Py_CLEAR(endpoint->to_object);
    return 0;
}

static void
endpoint_finalize(PyObject *self)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    if (endpoint->protocol == NULL || endpoint->ended || endpoint->loop == NULL)
        return;
    yulapy_transport_warn_unclosed(endpoint->loop, self);
    if (endpoint->datagram == NULL)
        yulapy_transport_close_unclosed(endpoint->loop, self, endpoint->sock);
}

static void
endpoint_dealloc(PyObject *self)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (endpoint->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    yula_work_cancel(&endpoint->begin);
    yula_work_cancel(&endpoint->end);
    if (endpoint->loop != NULL &&
        yulapy_endpoint_close_descriptor(endpoint) < 0)
        PyErr_WriteUnraisable(self);
    (void)endpoint_clear(self);
    Py_CLEAR(endpoint->context);
    Py_CLEAR(endpoint->sock);
    Py_CLEAR(endpoint->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
endpoint_get_object(PyObject *self, void *offset)
{
    PyObject *value = *(PyObject **)((char *)ENDPOINT(self) +
                                     (Py_ssize_t)offset);
    return Py_NewRef(value != NULL ? value : Py_None);
}

static PyObject *
endpoint_get_flag(PyObject *self, void *offset)
{
    return PyBool_FromLong(*((bool *)ENDPOINT(self) + (Py_ssize_t)offset));
}

static PyObject *
endpoint_get_sock(PyObject *self, void *unused)
{
    yulapy_endpoint *endpoint = ENDPOINT(self);
    return Py_NewRef(endpoint->ended ? Py_None : endpoint->sock);
}

static PyObject *
endpoint_get_sock_fd(PyObject *self, void *unused)
{
    yula_datagram *datagram = ENDPOINT(self)->datagram;
    return PyLong_FromLong(datagram != NULL ? yula_datagram_fd(datagram) : -1);
}

static PyObject *
endpoint_get_protocol_paused(PyObject *self, void *unused)
{
    yula_datagram *datagram = ENDPOINT(self)->datagram;
    return PyBool_FromLong(datagram != NULL && yula_datagram_pressed(datagram));
}

#define OFFSET(field) (void *)offsetof(yulapy_endpoint, field)

/* Private names of asyncio's transports that libraries and tests read. */
static PyGetSetDef endpoint_getset[] = {
    {"_loop", endpoint_get_object, NULL, NULL, OFFSET(loop)},
    {"_protocol", endpoint_get_object, NULL, NULL, OFFSET(protocol)},
    {"_address", endpoint_get_object, NULL, NULL, OFFSET(address)},
    {"_paused", endpoint_get_flag, NULL, NULL, OFFSET(paused)},
    {"_closing", endpoint_get_flag, NULL, NULL, OFFSET(closing)},
    {"_protocol_paused", endpoint_get_protocol_paused, NULL, NULL, NULL},
    {"_sock", endpoint_get_sock, NULL, NULL, NULL},
    {"_sock_fd", endpoint_get_sock_fd, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyMethodDef endpoint_methods[] = {
    {"sendto", (PyCFunction)(void (*)(void))endpoint_sendto,
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("sendto($self, data, addr=None)\n--\n\nSend a datagram now, or "
               "queue a copy if the kernel has no room for it.")},
    {"get_write_buffer_size", endpoint_get_write_buffer_size, METH_NOARGS,
     PyDoc_STR("get_write_buffer_size($self)\n--\n\nBytes queued, and eight "
               "for each datagram.")},
    {"get_write_buffer_limits", endpoint_get_write_buffer_limits, METH_NOARGS,
     PyDoc_STR("get_write_buffer_limits($self)\n--\n\n(low, high) in bytes.")},
    {"set_write_buffer_limits",
     (PyCFunction)(void (*)(void))endpoint_set_write_buffer_limits,
     METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR(
         "set_write_buffer_limits($self, high=None, low=None)\n--\n\nBytes at "
         "which the protocol is paused and resumed.")},
    {"pause_reading", endpoint_pause_reading, METH_NOARGS, NULL},
    {"resume_reading", endpoint_resume_reading, METH_NOARGS, NULL},
    {"is_reading", endpoint_is_reading, METH_NOARGS, NULL},
    {"close", endpoint_close_method, METH_NOARGS,
     PyDoc_STR("close($self)\n--\n\nClose once what is queued has been sent.")},
    {"is_closing", endpoint_is_closing, METH_NOARGS, NULL},
    {"abort", endpoint_abort, METH_NOARGS,
     PyDoc_STR("abort($self)\n--\n\nClose now; what is queued is dropped.")},
    {"set_protocol", endpoint_set_protocol, METH_O, NULL},
    {"get_protocol", endpoint_get_protocol, METH_NOARGS, NULL},
    {"_force_close", endpoint_force_close_method, METH_O, NULL},
    {NULL},
};

static const PyType_Slot endpoint_slots[] = {
    {Py_tp_doc, "A datagram socket (UDP or Unix)."},
    {Py_tp_dealloc, endpoint_dealloc},
    {Py_tp_finalize, endpoint_finalize},
    {Py_tp_traverse, endpoint_traverse},
    {Py_tp_clear, endpoint_clear},
    {Py_tp_repr, endpoint_repr},
    {Py_tp_methods, endpoint_methods},
    {Py_tp_getset, endpoint_getset},
    {0, NULL},
};

/* Since some release of 3.12 asyncio sends empty datagrams, and lets each one
 * queued weigh _header_size more. */
static int
find_rules(yulapy_state *state)
{
    PyObject *events = PyImport_ImportModule("asyncio.selector_events");
    PyObject *theirs = NULL;

    if (events != NULL)
        theirs = PyObject_GetAttrString(events, "_SelectorDatagramTransport");
    Py_XDECREF(events);
    if (theirs == NULL)
        return -1;
    state->sends_empty_datagrams = PyObject_HasAttrString(theirs,
                                                          "_header_size");
    Py_DECREF(theirs);
    return 0;
}

/* After the stream transport's, which finds out where _extra is. */
int
yulapy_datagram_transport_add_type(PyObject *module, yulapy_state *state)
{
    PyObject *transports = PyImport_ImportModule("asyncio.transports");
    PyObject *base = NULL, *datagram = NULL, *bases = NULL;

    if (transports != NULL)
        base = PyObject_GetAttrString(transports, "_FlowControlMixin");
    if (base != NULL)
        datagram = PyObject_GetAttrString(transports, "DatagramTransport");
    if (datagram != NULL)
        bases = PyTuple_Pack(2, base, datagram);
    if (bases != NULL) {
        yulapy_endpoint_offset = yulapy_transport_part(base);
        state->datagram_transport_type = YULAPY_TRANSPORT_MAKE_TYPE(
            module, "yula._core.DatagramTransport", bases, endpoint_slots,
            yulapy_endpoint_offset, yulapy_endpoint);
    }
    Py_XDECREF(transports);
    Py_XDECREF(base);
    Py_XDECREF(datagram);
    Py_XDECREF(bases);
    return state->datagram_transport_type != NULL ? find_rules(state) : -1;
}
