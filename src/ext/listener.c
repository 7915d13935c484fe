/* listener.c: accepting connections for asyncio's Server.
 *
 * Follows BaseSelectorEventLoop._accept_connection. A plain connection is made
 * here: protocol, then transport. One with TLS goes to Loop._accept_tls, which
 * is Python, once per connection.
 */
#include "yulapy.h"

#include "base/sys.h"
#include "io/stream_i.h"

typedef struct yulapy_listener {
    PyObject_HEAD
    yulapy_loop *loop;
    yulapy_held held;
    yula_listener *core;
    PyObject *sock;
    PyObject *factory; /* protocol_factory */
    PyObject *server;  /* or None */
    PyObject *context; /* each connection gets a copy */
    PyObject *tls;     /* arguments for _accept_tls, or None */
} yulapy_listener;

static void
listener_failed(yulapy_listener *listener, PyObject *protocol)
{
    yulapy_loop *loop = listener->loop;
    if (yulapy_leaves_loop(loop))
        return;
    PyObject *error = yulapy_take_exception();
    PyObject *args[] = {(PyObject *)loop, error,
                        protocol != NULL ? protocol : Py_None};
    yulapy_failure(loop, loop->state->str_accept_failed, args, 3);
    Py_XDECREF(error);
}

static void
listener_report_accept(yulapy_listener *listener, int err)
{
    yulapy_loop *loop = listener->loop;
    PyObject *error = yulapy_error_new(err);
    PyObject *name = PyUnicode_FromString("out_of_resources");
    if (error != NULL && name != NULL) {
        PyObject *args[] = {(PyObject *)loop, error, listener->sock};
        yulapy_failure(loop, name, args, 3);
    }
    else {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
    Py_XDECREF(error);
    Py_XDECREF(name);
}

/* Hand the descriptor to Loop._accept_tls(fd, peername, arguments, factory,
 * server), which owns it from the call on. */
static void
listener_accept_tls(yulapy_listener *listener, int fd,
                    const struct sockaddr *addr, socklen_t len)
{
    yulapy_loop *loop = listener->loop;
    PyObject *result = NULL, *number = PyLong_FromLong(fd);
    PyObject *peername = yulapy_address_object(addr, len);
    PyObject *context = PyContext_Copy(listener->context);
    if (number == NULL || peername == NULL || context == NULL ||
        PyContext_Enter(context) < 0) {
        yula__sys_close(fd);
    }
    else {
        PyObject *args[] = {(PyObject *)loop,  number,
                            peername,          listener->tls,
                            listener->factory, listener->server};
        result = PyObject_VectorcallMethod(loop->state->str__accept_tls, args,
                                           6, NULL);
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(result);
    }
    if (result == NULL)
        listener_failed(listener, NULL);
    Py_XDECREF(number);
    Py_XDECREF(peername);
    Py_XDECREF(context);
    Py_XDECREF(result);
}

static void
listener_accept_plain(yulapy_listener *listener, int fd,
                      const struct sockaddr *addr, socklen_t len)
{
    yulapy_loop *loop = listener->loop;
    PyObject *protocol = NULL, *transport = NULL;
    PyObject *context = PyMapping_Size(listener->context) == 0
                            ? yulapy_loop_take_context(loop)
                            : PyContext_Copy(listener->context);
    PyObject *kept = Py_XNewRef(context);

    if (context != NULL && PyContext_Enter(context) == 0) {
        protocol = PyObject_CallNoArgs(listener->factory);
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(protocol);
        yulapy_loop_give_context(loop, &kept, context);
    }
    if (protocol != NULL)
        transport = yulapy_stream_transport_new(
            loop, fd, NULL, protocol, NULL, NULL,
            yulapy_none_to_null(listener->server), kept,
            yula__listener_kind(listener->core), addr, len);
    if (transport == NULL) {
        yula__sys_close(fd);
        listener_failed(listener, protocol);
    }
    Py_XDECREF(transport);
    Py_XDECREF(protocol);
    Py_XDECREF(kept);
    Py_XDECREF(context);
}

static void
listener_on_accept(yula_listener *core, int fd, const struct sockaddr *addr,
                   socklen_t addr_len, void *arg)
{
    yulapy_listener *listener = arg;

    Py_INCREF(listener);
    if (fd < 0)
        listener_report_accept(listener, fd);
    else if (listener->tls != Py_None)
        listener_accept_tls(listener, fd, addr, addr_len);
    else
        listener_accept_plain(listener, fd, addr, addr_len);
    Py_DECREF(listener);
}

static void
listener_loop_closed(PyObject *self)
{
    yulapy_listener *listener = (yulapy_listener *)self;
    if (listener->core != NULL)
        yula_listener_free(listener->core);
    listener->core = NULL;
}

/* _listen(sock, protocol_factory, server, context, tls) */
PyObject *
yulapy_loop_listen(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyTypeObject *type = loop->state->listener_type;

    if (nargs != 5 || !PyContext_CheckExact(args[3])) {
        PyErr_SetString(
            PyExc_TypeError,
            "_listen(sock, protocol_factory, server, context, tls)");
        return NULL;
    }
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    int fd = yulapy_descriptor_fd(args[0]);
    if (fd < 0)
        return NULL;
    yulapy_listener *listener = (yulapy_listener *)type->tp_alloc(type, 0);
    if (listener == NULL)
        return NULL;
    listener->loop = (yulapy_loop *)Py_NewRef(self);
    listener->sock = Py_NewRef(args[0]);
    listener->factory = Py_NewRef(args[1]);
    listener->server = Py_NewRef(args[2]);
    listener->context = Py_NewRef(args[3]);
    listener->tls = Py_NewRef(args[4]);
    int err = yula_listener_new(loop->core, YULA_LANE_HOST, fd,
                                listener_on_accept, listener, &listener->core);
    if (err < 0) {
        listener->core = NULL;
        Py_DECREF(listener);
        yulapy_raise_code(err);
        return NULL;
    }
    yulapy_loop_hold(loop, &listener->held, (PyObject *)listener,
                     listener_loop_closed);
    Py_DECREF(listener);
    Py_RETURN_NONE;
}

/* Stop the listener of a socket. Returns whether there was one. */
PyObject *
yulapy_loop_unlisten(PyObject *self, PyObject *sock)
{
    yulapy_loop *loop = (yulapy_loop *)self;

    for (yulapy_held *held = loop->held.next; held != &loop->held;
         held = held->next) {
        if (held->loop_closed != listener_loop_closed ||
            ((yulapy_listener *)held->object)->sock != sock)
            continue;
        listener_loop_closed(held->object);
        yulapy_loop_let_go(held);
        Py_RETURN_TRUE;
    }
    Py_RETURN_FALSE;
}

/* --- type ------------------------------------------------------------------ */

static int
listener_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_listener *listener = (yulapy_listener *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(listener->loop);
    Py_VISIT(listener->sock);
    Py_VISIT(listener->factory);
    Py_VISIT(listener->server);
    Py_VISIT(listener->context);
    Py_VISIT(listener->tls);
    return 0;
}

static int
listener_clear(PyObject *self)
{
    yulapy_listener *listener = (yulapy_listener *)self;
    Py_CLEAR(listener->sock);
    Py_CLEAR(listener->factory);
    Py_CLEAR(listener->server);
    Py_CLEAR(listener->tls);
    return 0;
}

static void
listener_dealloc(PyObject *self)
{
    yulapy_listener *listener = (yulapy_listener *)self;
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (listener->loop != NULL && listener->loop->core != NULL)
        listener_loop_closed(self);
    (void)listener_clear(self);
    Py_CLEAR(listener->context);
    Py_CLEAR(listener->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot listener_slots[] = {
    {Py_tp_dealloc, listener_dealloc},
    {Py_tp_traverse, listener_traverse},
    {Py_tp_clear, listener_clear},
    {0, NULL},
};

static PyType_Spec listener_spec = {
    .name = "yula._core.Listener",
    .basicsize = sizeof(yulapy_listener),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = listener_slots,
};

int
yulapy_listener_add_type(PyObject *module, yulapy_state *state)
{
    state->listener_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &listener_spec, NULL);
    return state->listener_type != NULL ? 0 : -1;
}
