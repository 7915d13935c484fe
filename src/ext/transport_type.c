/* transport_type.c: the Python type of a stream transport. */
#include "descriptor.h"
#include "stream_transport.h"
#include "streams.h"

Py_ssize_t yulapy_transport_offset;

/* --- reading -------------------------------------------------------------- */

static PyObject *
transport_pause_reading(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->closing || transport->paused)
        Py_RETURN_NONE;
    yulapy_streams_settle(&transport->feed);
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
    if (yulapy_transport_close(TRANSPORT(self)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
transport_is_closing(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (__builtin_expect(transport->feed.writer_tries > 0, 0))
        yulapy_writer_meet(transport->loop->state, &transport->feed, self);
    return PyBool_FromLong(yulapy_transport_is_closing(transport));
}

static PyObject *
transport_abort(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->stream == NULL && transport->protocol != NULL &&
        yulapy_loop_check_open(transport->loop) < 0)
        return NULL;
    yulapy_transport_force_close(transport, NULL);
    Py_RETURN_NONE;
}

static PyObject *
transport_force_close_method(PyObject *self, PyObject *error)
{
    yulapy_transport_force_close(TRANSPORT(self), yulapy_none_to_null(error));
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
    yulapy_transport_fatal(transport, message);
    Py_RETURN_NONE;
}

static PyObject *
transport_set_protocol(PyObject *self, PyObject *protocol)
{
    return yulapy_transport_adopt_protocol(TRANSPORT(self), protocol) == 0
               ? Py_NewRef(Py_None)
               : NULL;
}

static PyObject *
transport_get_protocol(PyObject *self, PyObject *unused)
{
    PyObject *protocol = TRANSPORT(self)->protocol;
    return Py_NewRef(protocol != NULL ? protocol : Py_None);
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
    Py_VISIT(transport->feed.protocol_dict);
    if (transport->buffer != NULL)
        Py_VISIT(transport->buffer->obj);
    Py_VISIT(transport->loop);
    return 0;
}

static int
transport_clear(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);

    if (transport->loop == NULL)
        return 0;
    (void)yulapy_streams_adopt(&transport->feed, transport->loop, NULL);
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

static void
transport_finalize(PyObject *self)
{
    yulapy_transport *transport = TRANSPORT(self);
    /* set_protocol() is allowed after the end, as loop.sendfile() does */
    if (transport->protocol == NULL || transport->ended ||
        transport->loop == NULL)
        return;
    yulapy_transport_warn_unclosed(transport->loop, self);
    if (transport->stream == NULL && transport->sock != NULL)
        yulapy_transport_close_unclosed(transport->loop, self, transport->sock);
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
    yula_work_cancel(&transport->turn);
    if (transport->loop != NULL &&
        yulapy_transport_close_descriptor(transport) < 0)
        PyErr_WriteUnraisable(self);
    yulapy_transport_release_buffer(transport);
    PyMem_Free(transport->buffer);
    PyMem_Free(transport->name);
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
static PyObject *
transport_get_private_sock(PyObject *self, void *unused)
{
    PyObject *sock = yulapy_transport_get_trsock(TRANSPORT(self));
    return sock;
}

static PyObject *
transport_get_protocol_paused(PyObject *self, void *unused)
{
    yula_stream *stream = TRANSPORT(self)->stream;
    return PyBool_FromLong(stream != NULL && yula_stream_pressed(stream));
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
    {"_extra", yulapy_transport_get_extra_dict, yulapy_transport_set_extra_dict,
     NULL, NULL},
    {"_protocol_paused", transport_get_protocol_paused, NULL, NULL, NULL},
    {"_sock", transport_get_private_sock, NULL, NULL, NULL},
    {"_sock_fd", transport_get_sock_fd, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyMethodDef transport_methods[] = {
    {"write", yulapy_transport_write, METH_O,
     PyDoc_STR(
         "write($self, data, /)\n--\n\nSend bytes. What one callback writes leaves "
         "in one system call before the\nnext callback runs; what the "
         "kernel does not take is queued.")},
    {"writelines", yulapy_transport_writelines, METH_O,
     PyDoc_STR(
         "writelines($self, list_of_data, /)\n--\n\nwrite() for each, together.")},
    {"write_eof", yulapy_transport_write_eof, METH_NOARGS,
     PyDoc_STR("write_eof($self)\n--\n\nEnd our half after what is queued.")},
    {"can_write_eof", yulapy_transport_can_write_eof, METH_NOARGS, NULL},
    {"get_write_buffer_size", yulapy_transport_get_write_buffer_size,
     METH_NOARGS,
     PyDoc_STR("get_write_buffer_size($self)\n--\n\nBytes not yet taken by the "
               "kernel.")},
    {"get_write_buffer_limits", yulapy_transport_get_write_buffer_limits,
     METH_NOARGS,
     PyDoc_STR("get_write_buffer_limits($self)\n--\n\n(low, high) in bytes.")},
    {"set_write_buffer_limits",
     (PyCFunction)(void (*)(void))yulapy_transport_set_write_buffer_limits,
     METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR(
         "set_write_buffer_limits($self, high=None, low=None)\n--\n\nBytes at "
         "which the protocol is paused and resumed.")},
    {"pause_reading", transport_pause_reading, METH_NOARGS, NULL},
    {"resume_reading", transport_resume_reading, METH_NOARGS, NULL},
    {"is_reading", transport_is_reading, METH_NOARGS, NULL},
    {"close", transport_close_method, METH_NOARGS,
     PyDoc_STR(
         "close($self)\n--\n\nClose once everything written has been sent.")},
    {"is_closing", transport_is_closing, METH_NOARGS, NULL},
    {"abort", transport_abort, METH_NOARGS,
     PyDoc_STR("abort($self)\n--\n\nClose now; what is queued is dropped.")},
    {"set_protocol", transport_set_protocol, METH_O, NULL},
    {"get_protocol", transport_get_protocol, METH_NOARGS, NULL},
    {"get_extra_info",
     (PyCFunction)(void (*)(void))yulapy_transport_get_extra_info,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"_force_close", transport_force_close_method, METH_O, NULL},
    {"_fatal_error", (PyCFunction)(void (*)(void))transport_fatal_error_method,
     METH_FASTCALL, NULL},
    {"_make_empty_waiter", yulapy_transport_make_empty_waiter, METH_NOARGS,
     NULL},
    {"_reset_empty_waiter", yulapy_transport_reset_empty_waiter, METH_NOARGS,
     NULL},
    {NULL},
};

static const PyType_Slot transport_slots[] = {
    {Py_tp_doc, "A stream connection (TCP or Unix)."},
    {Py_tp_dealloc, transport_dealloc},
    {Py_tp_finalize, transport_finalize},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_repr, yulapy_transport_repr},
    {Py_tp_methods, transport_methods},
    {Py_tp_getset, transport_getset},
    {0, NULL},
};

int
yulapy_stream_transport_add_type(PyObject *module, yulapy_state *state)
{
    PyObject *transports = PyImport_ImportModule("asyncio.transports");
    PyObject *base = NULL, *member = NULL;
    int err = -1;

    if (transports != NULL)
        base = PyObject_GetAttrString(transports, "_FlowControlMixin");
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
    yulapy_transport_offset = yulapy_transport_part(base);
    state->stream_transport_type = YULAPY_TRANSPORT_MAKE_TYPE(
        module, "yula._core.StreamTransport", base, transport_slots,
        yulapy_transport_offset, yulapy_transport);
    if (state->stream_transport_type == NULL)
        goto done;
    /* asyncio's own markers: TLS can be started on it; sendfile(2) is tried. */
    PyObject *type = (PyObject *)state->stream_transport_type;
    PyObject *mode = NULL,
             *constants = PyImport_ImportModule("asyncio.constants");
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
        err = 0;
    Py_XDECREF(mode);
done:
    Py_XDECREF(transports);
    Py_XDECREF(base);
    Py_XDECREF(member);
    return err;
}
