/* transport_info.c: what a stream transport tells about itself: socket, names,
 * extra info, repr. Made when it is first asked for.
 */
#include "stream_transport.h"

/* The socket object, made the first time somebody wants it. */
PyObject *
yulapy_transport_get_sock(yulapy_transport *transport)
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

PyObject *
yulapy_transport_get_trsock(yulapy_transport *transport)
{
    /* Whoever uses the socket itself must not overtake what was written. */
    if (transport->stream != NULL)
        yula_stream_flush(transport->stream);
    if (transport->trsock == NULL) {
        PyObject *sock = yulapy_transport_get_sock(transport);
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
    if (!peer && transport->name != NULL)
        return yulapy_address_object((struct sockaddr *)transport->name,
                                     sizeof(*transport->name));
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
    PyObject **extra = &EXTRA(transport_object(transport), state);

    if (*extra != NULL && !PyDict_Check(*extra))
        return NULL;
    bool socket = PyUnicode_Compare(name, state->str_socket) == 0;
    if (socket && transport->stream != NULL)
        yula_stream_flush(transport->stream); /* see get_trsock */
    PyObject *value = NULL;
    if (*extra != NULL)
        value = PyDict_GetItemWithError(*extra, name);
    if (value != NULL || PyErr_Occurred())
        return Py_XNewRef(value);
    bool peer = PyUnicode_Compare(name, state->str_peername) == 0;
    if (peer || PyUnicode_Compare(name, state->str_sockname) == 0)
        value = transport_ask_name(transport, peer);
    else if (socket)
        value = yulapy_transport_get_trsock(transport);
    if (value != NULL && *extra == NULL)
        *extra = PyDict_New();
    if (value != NULL &&
        (*extra == NULL || PyDict_SetItem(*extra, name, value) < 0))
        Py_CLEAR(value);
    return value;
}

PyObject *
yulapy_transport_get_extra_info(PyObject *self, PyObject *args,
                                PyObject *kwargs)
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

static void
transport_make_names(yulapy_transport *transport)
{
    yulapy_state *state = transport->loop->state;
    PyObject *name = transport_get_extra(transport, state->str_sockname);
    Py_XDECREF(name);
    name = transport_get_extra(transport, state->str_peername);
    Py_XDECREF(name);
    PyErr_Clear(); /* no memory for a name nobody may ask for */
}

/* Of a TCP connection the kernel's form of the names is enough: objects are made
 * of them when somebody asks. */
static bool
transport_keep_addresses(yulapy_transport *transport)
{
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof(name);

    if (transport->peer.sin6_family == 0 || transport->stream == NULL ||
        getsockname(yula_stream_fd(transport->stream), (struct sockaddr *)&name,
                    &len) < 0 ||
        name.sin6_family != transport->peer.sin6_family)
        return false;
    if (transport->name == NULL)
        transport->name = PyMem_Malloc(sizeof(name));
    if (transport->name != NULL)
        *transport->name = name;
    return transport->name != NULL;
}

/* Names stay readable after the close, so look them up before. */
void
yulapy_transport_keep_names(yulapy_transport *transport)
{
    if (!transport_keep_addresses(transport))
        transport_make_names(transport);
}

PyObject *
yulapy_transport_repr(PyObject *self)
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

/* With the names that get_extra_info() would look up only when asked. */
PyObject *
yulapy_transport_get_extra_dict(PyObject *self, void *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    PyObject *sock = transport_get_extra(transport,
                                         transport->loop->state->str_socket);
    if (sock == NULL && PyErr_Occurred())
        return NULL;
    Py_XDECREF(sock);
    transport_make_names(transport);
    PyObject *extra = EXTRA(self, transport->loop->state);
    return Py_NewRef(extra != NULL ? extra : Py_None);
}

int
yulapy_transport_set_extra_dict(PyObject *self, PyObject *value, void *unused)
{
    if (value == NULL || !PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "_extra must be a dict");
        return -1;
    }
    Py_XSETREF(EXTRA(self, TRANSPORT(self)->loop->state), Py_NewRef(value));
    return 0;
}
