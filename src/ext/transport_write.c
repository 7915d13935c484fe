/* yulapy_transport_write.c: writing to a stream transport, and its limits. */
#include "stream_transport.h"
#include "streams.h"

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
    return yulapy_transport_drop_write(
        transport->loop, &transport->lost,
        transport->loop->state->str_warn_lost_write);
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

PyObject *
yulapy_transport_write(PyObject *self, PyObject *data)
{
    yulapy_transport *transport = TRANSPORT(self);

    if (__builtin_expect(transport->feed.writer_tries > 0, 0))
        yulapy_writer_meet(transport->loop->state, &transport->feed, self);
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

PyObject *
yulapy_transport_writelines(PyObject *self, PyObject *lines)
{
    yulapy_transport *transport = TRANSPORT(self);

    if (__builtin_expect(transport->feed.writer_tries > 0, 0))
        yulapy_writer_meet(transport->loop->state, &transport->feed, self);
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
    for (Py_ssize_t i = 0;
         i < PyList_GET_SIZE(pieces) && err == 0 && transport->stream != NULL;
         i++)
        err = transport_write_object(transport, PyList_GET_ITEM(pieces, i));
    Py_DECREF(pieces);
    return err == 0 ? Py_NewRef(Py_None) : NULL;
}

PyObject *
yulapy_transport_write_eof(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    if (transport->closing || transport->eof)
        Py_RETURN_NONE;
    transport->eof = true;
    if (transport->stream != NULL)
        (void)yula_stream_shutdown(transport->stream);
    Py_RETURN_NONE;
}

PyObject *
yulapy_transport_can_write_eof(PyObject *self, PyObject *unused)
{
    Py_RETURN_TRUE;
}

PyObject *
yulapy_transport_get_write_buffer_size(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    size_t size = transport->stream != NULL && transport->lost == 0
                      ? yula_stream_queued(transport->stream)
                      : 0;
    return PyLong_FromSize_t(size);
}

PyObject *
yulapy_transport_get_write_buffer_limits(PyObject *self, PyObject *unused)
{
    yulapy_transport *transport = TRANSPORT(self);
    size_t low = YULA_STREAM_LOW, high = YULA_STREAM_HIGH;
    if (transport->stream != NULL)
        yula_stream_get_marks(transport->stream, &low, &high);
    return Py_BuildValue("(nn)", (Py_ssize_t)low, (Py_ssize_t)high);
}

PyObject *
yulapy_transport_set_write_buffer_limits(PyObject *self, PyObject *args,
                                         PyObject *kwargs)
{
    yulapy_transport *transport = TRANSPORT(self);
    size_t low, high;

    if (yulapy_parse_limits(args, kwargs, &low, &high) < 0)
        return NULL;
    if (transport->stream != NULL)
        yula_stream_set_marks(transport->stream, low, high);
    Py_RETURN_NONE;
}
/* loop.sendfile() waits until everything written before is gone. */
PyObject *
yulapy_transport_make_empty_waiter(PyObject *self, PyObject *unused)
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
        yulapy_transport_wake_empty_waiter(transport, NULL);
    return waiter;
}

PyObject *
yulapy_transport_reset_empty_waiter(PyObject *self, PyObject *unused)
{
    Py_CLEAR(TRANSPORT(self)->empty_waiter);
    Py_RETURN_NONE;
}
