/* stream_writer.c: StreamWriter's methods, and how its writer is recognised.
 *
 * Nobody tells a transport which StreamWriter uses it: asyncio makes the writer
 * of a client after the transport, and keeps it to itself. So the writer is
 * recognised when one of its methods, still asyncio's, calls the transport for
 * the first time; the rest of its calls are ours.
 */
#include "streams.h"
#include "tls.h"

/* --- attributes ------------------------------------------------------------- */

void yulapy_writer_dealloc(PyObject *self);

static inline yulapy_writer *
yulapy_writer_of(PyObject *self)
{
    PyObject *part = yulapy_stream_part(self);
    if (part == NULL || Py_TYPE(part)->tp_dealloc != yulapy_writer_dealloc)
        return NULL;
    return (yulapy_writer *)part;
}

#define ATTRIBUTE(field) (void *)offsetof(yulapy_writer, field)
#define FIELD(writer, offset)                                                  \
    (*(PyObject **)((char *)(writer) + (Py_ssize_t)(offset)))

static const char *
writer_attribute_name(void *offset)
{
    switch ((Py_ssize_t)offset) {
    case offsetof(yulapy_writer, transport):
        return "_transport";
    case offsetof(yulapy_writer, protocol):
        return "_protocol";
    case offsetof(yulapy_writer, reader):
        return "_reader";
    case offsetof(yulapy_writer, loop):
        return "_loop";
    default:
        return "_complete_fut";
    }
}

static PyObject *
writer_get(PyObject *self, void *offset)
{
    yulapy_writer *writer = yulapy_writer_of(self);
    if (writer == NULL)
        return yulapy_stream_plain_get(self, writer_attribute_name(offset));
    PyObject *value = FIELD(writer, offset);
    if (value == NULL)
        PyErr_SetString(PyExc_AttributeError, writer_attribute_name(offset));
    return Py_XNewRef(value);
}

static int
writer_set(PyObject *self, PyObject *value, void *offset)
{
    yulapy_writer *writer = yulapy_writer_of(self);
    if (writer == NULL)
        return yulapy_stream_plain_set(self, writer_attribute_name(offset),
                                       value);
    Py_XSETREF(FIELD(writer, offset), Py_XNewRef(value));
    return 0;
}

PyGetSetDef yulapy_writer_attributes[] = {
    {"_transport", writer_get, writer_set, NULL, ATTRIBUTE(transport)},
    {"_protocol", writer_get, writer_set, NULL, ATTRIBUTE(protocol)},
    {"_reader", writer_get, writer_set, NULL, ATTRIBUTE(reader)},
    {"_loop", writer_get, writer_set, NULL, ATTRIBUTE(loop)},
    {"_complete_fut", writer_get, writer_set, NULL, ATTRIBUTE(complete_fut)},
    {NULL},
};

/* --- methods ---------------------------------------------------------------- */

/* The writer, if our methods may do the work of asyncio's for it; else NULL
 * without an exception. */
static yulapy_writer *
served(PyObject *self)
{
    yulapy_writer *writer = yulapy_writer_of(self);
    if (writer == NULL || writer->transport == NULL ||
        !yulapy_stream_class_untouched(&writer->state->streams->writer) ||
        PyDict_GET_SIZE(writer) > 0)
        return NULL;
    return writer;
}

/* The transport, if it is one of ours with its own methods. */
static PyObject *
plain_transport(PyObject *self)
{
    yulapy_writer *writer = served(self);
    return writer != NULL && yulapy_stream_transport_plain(writer->state,
                                                           writer->transport)
               ? writer->transport
               : NULL;
}

/* The same for the transport of a TLS connection. */
static PyObject *
plain_tls_transport(PyObject *self)
{
    yulapy_writer *writer = served(self);
    return writer != NULL &&
                   yulapy_tls_transport_plain(writer->state, writer->transport)
               ? writer->transport
               : NULL;
}

static PyObject *
writer_write(PyObject *self, PyObject *data)
{
    PyObject *transport = plain_transport(self);
    if (transport != NULL)
        return yulapy_transport_write(transport, data);
    transport = plain_tls_transport(self);
    if (transport != NULL)
        return yulapy_tls_transport_write(transport, data);
    return yulapy_stream_asyncio_call(self, "write", &data, 1, NULL);
}

static PyObject *
writer_writelines(PyObject *self, PyObject *lines)
{
    PyObject *transport = plain_transport(self);
    if (transport != NULL)
        return yulapy_transport_writelines(transport, lines);
    transport = plain_tls_transport(self);
    if (transport != NULL)
        return yulapy_tls_transport_writelines(transport, lines);
    return yulapy_stream_asyncio_call(self, "writelines", &lines, 1, NULL);
}

static PyObject *
writer_close(PyObject *self, PyObject *unused)
{
    PyObject *transport = plain_transport(self);
    if (transport == NULL)
        return yulapy_stream_asyncio_call(self, "close", NULL, 0, NULL);
    if (yulapy_transport_close(TRANSPORT(transport)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
writer_is_closing(PyObject *self, PyObject *unused)
{
    PyObject *transport = plain_transport(self);
    if (transport == NULL)
        return yulapy_stream_asyncio_call(self, "is_closing", NULL, 0, NULL);
    return PyBool_FromLong(yulapy_transport_is_closing(TRANSPORT(transport)));
}

/* --- drain() and wait_closed() ---------------------------------------------- */

/* What the writer's transport knows of its protocol, if that is the writer's,
 * and asyncio's in every way; or NULL. */
static yulapy_feed *
writer_feed(yulapy_stream_op *op, bool *closing)
{
    yulapy_writer *writer = (yulapy_writer *)op->part;
    PyObject *object = plain_transport(op->owner);
    PyObject *protocol;
    yulapy_feed *feed;

    if (object != NULL) {
        yulapy_transport *transport = TRANSPORT(object);
        feed = &transport->feed;
        protocol = transport->protocol;
        *closing = yulapy_transport_is_closing(transport);
    }
    else {
        object = plain_tls_transport(op->owner);
        feed = object != NULL
                   ? yulapy_tls_transport_feed(object, &protocol, closing)
                   : NULL;
    }
    return feed != NULL && feed->protocol_dict != NULL &&
                   protocol == writer->protocol &&
                   yulapy_stream_protocol_plain(op->state->streams, feed)
               ? feed
               : NULL;
}

/* Nothing to wait for: the usual case. */
static int
drain_attempt(yulapy_stream_op *op, PyObject **result)
{
    yulapy_writer *writer = (yulapy_writer *)op->part;
    bool closing;
    yulapy_feed *feed = writer_feed(op, &closing);

    if (feed == NULL || feed->reader == NULL || writer->reader == NULL ||
        (PyObject *)feed->reader != yulapy_stream_part(writer->reader))
        return 2;
    yulapy_reader *reader = feed->reader;
    yulapy_streams *streams = op->state->streams;
    /* connection_lost() leaves an end, or an exception, in the reader. */
    if (!yulapy_reader_served(reader) || reader->exception != Py_None ||
        closing ||
        (reader->eof &&
         PyDict_GetItemWithError(feed->protocol_dict,
                                 streams->str_connection_lost) != Py_False) ||
        PyDict_GetItemWithError(feed->protocol_dict, streams->str_paused) !=
            Py_False)
        return 2;
    *result = Py_NewRef(Py_None);
    return 1;
}

static int
wait_closed_attempt(yulapy_stream_op *op, PyObject **result)
{
    bool closing;
    yulapy_feed *feed = writer_feed(op, &closing);
    if (feed == NULL)
        return 2;
    PyObject *closed = PyDict_GetItemWithError(feed->protocol_dict,
                                               op->state->streams->str_closed);
    if (closed == NULL)
        return 2;
    return yulapy_stream_op_follow(op, closed) == 0 ? 2 : -1;
}

static const yulapy_stream_op_kind kind_drain = {
    "drain", "StreamWriter.drain", false, false, drain_attempt, NULL};
static const yulapy_stream_op_kind kind_wait_closed = {
    "wait_closed", "StreamWriter.wait_closed", false,
    false,         wait_closed_attempt,        NULL};

static PyObject *
writer_drain(PyObject *self, PyObject *unused)
{
    yulapy_writer *writer = served(self);
    if (writer == NULL)
        return yulapy_stream_asyncio_call(self, "drain", NULL, 0, NULL);
    return (PyObject *)yulapy_stream_op_new(writer->state, &kind_drain, self,
                                            (PyObject *)writer, -1, NULL);
}

static PyObject *
writer_wait_closed(PyObject *self, PyObject *unused)
{
    yulapy_writer *writer = served(self);
    if (writer == NULL)
        return yulapy_stream_asyncio_call(self, "wait_closed", NULL, 0, NULL);
    return (PyObject *)yulapy_stream_op_new(writer->state, &kind_wait_closed,
                                            self, (PyObject *)writer, -1, NULL);
}

PyMethodDef yulapy_writer_methods[] = {
    {"write", writer_write, METH_O,
     PyDoc_STR("write($self, data, /)\n--\n\nasyncio's StreamWriter.write().")},
    {"writelines", writer_writelines, METH_O,
     PyDoc_STR(
         "writelines($self, data, /)\n--\n\nasyncio's StreamWriter.writelines().")},
    {"close", writer_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nasyncio's StreamWriter.close().")},
    {"is_closing", writer_is_closing, METH_NOARGS,
     PyDoc_STR(
         "is_closing($self, /)\n--\n\nasyncio's StreamWriter.is_closing().")},
    {"drain", writer_drain, METH_NOARGS,
     PyDoc_STR("drain($self, /)\n--\n\nasyncio's StreamWriter.drain().")},
    {"wait_closed", writer_wait_closed, METH_NOARGS,
     PyDoc_STR(
         "wait_closed($self, /)\n--\n\nasyncio's StreamWriter.wait_closed().")},
    {NULL},
};

/* --- adopting --------------------------------------------------------------- */

static int
writer_adopt(yulapy_state *state, PyObject *object)
{
    PyObject *fields = state->streams->writer_fields;
    PyObject *dict = yulapy_stream_part(object);
    if (dict == NULL || PyDict_GET_SIZE(dict) != 5)
        return 0;
    PyObject *part = PyDict_Type.tp_new(state->streams->writer_part_type,
                                        state->empty_tuple, NULL);
    if (part == NULL)
        return -1;
    yulapy_writer *writer = (yulapy_writer *)part;
    writer->state = state;
#define TAKE(field, i)                                                         \
    writer->field = Py_XNewRef(yulapy_stream_field(dict, fields, i))
    TAKE(transport, YULAPY_WRITER_TRANSPORT);
    TAKE(protocol, YULAPY_WRITER_PROTOCOL);
    TAKE(reader, YULAPY_WRITER_READER);
    TAKE(loop, YULAPY_WRITER_LOOP);
    TAKE(complete_fut, YULAPY_WRITER_COMPLETE_FUT);
#undef TAKE
    int err = 0;
    if (writer->transport != NULL && writer->protocol != NULL &&
        writer->reader != NULL && writer->loop != NULL &&
        writer->complete_fut != NULL)
        err = yulapy_stream_exchange(state->streams, object,
                                     state->streams->writer.ours, part, fields);
    Py_DECREF(part);
    return err;
}

/* `self` of the Python function that is running, if it is a method of asyncio's
 * StreamWriter. A new reference, or NULL. */
static PyObject *
calling_writer(yulapy_streams *streams)
{
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());
    if (frame == NULL)
        return NULL;
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *name, *function, *self = NULL;
    Py_ssize_t position = 0;
    bool found = false;
    while (PyDict_Next(streams->writer.originals, &position, &name, &function))
        found |= PyFunction_GET_CODE(function) == (PyObject *)code;
    if (found) {
        PyObject *locals = PyFrame_GetLocals(frame);
        if (locals != NULL)
            self = PyMapping_GetItemString(locals, "self");
        PyErr_Clear(); /* then it stays unknown */
        Py_XDECREF(locals);
    }
    Py_DECREF(code);
    Py_DECREF(frame);
    return self;
}

void
yulapy_writer_meet(yulapy_state *state, yulapy_feed *feed, PyObject *transport)
{
    feed->writer_tries--; /* some connections have no such writer */
    if (!yulapy_stream_class_untouched(&state->streams->writer))
        return;
    PyObject *self = calling_writer(state->streams);
    if (self == NULL)
        return;
    PyObject *dict = yulapy_stream_part(self);
    if (Py_IS_TYPE(self, state->streams->writer.asyncio) && dict != NULL &&
        yulapy_stream_field(dict, state->streams->writer_fields,
                            YULAPY_WRITER_TRANSPORT) == transport) {
        feed->writer_tries = 0;
        if (writer_adopt(state, self) < 0)
            PyErr_Clear(); /* no memory: it stays asyncio's */
    }
    Py_DECREF(self);
}

/* --- the part's type -------------------------------------------------------- */

static int
writer_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_writer *writer = (yulapy_writer *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(writer->transport);
    Py_VISIT(writer->protocol);
    Py_VISIT(writer->reader);
    Py_VISIT(writer->loop);
    Py_VISIT(writer->complete_fut);
    return PyDict_Type.tp_traverse(self, visit, arg);
}

static int
writer_clear(PyObject *self)
{
    yulapy_writer *writer = (yulapy_writer *)self;
    Py_CLEAR(writer->transport);
    Py_CLEAR(writer->protocol);
    Py_CLEAR(writer->reader);
    Py_CLEAR(writer->loop);
    Py_CLEAR(writer->complete_fut);
    return 0;
}

static int
writer_clear_all(PyObject *self)
{
    (void)writer_clear(self);
    return PyDict_Type.tp_clear(self);
}

void
yulapy_writer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)writer_clear(self);
    PyDict_Type.tp_dealloc(self);
    Py_DECREF(type);
}

static PyType_Slot writer_part_slots[] = {
    {Py_tp_doc, "The attributes of a StreamWriter, in C."},
    {Py_tp_dealloc, yulapy_writer_dealloc},
    {Py_tp_traverse, writer_traverse},
    {Py_tp_clear, writer_clear_all},
    {0, NULL},
};

static PyType_Spec writer_part_spec = {
    .name = "yula._core.WriterPart",
    .basicsize = sizeof(yulapy_writer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = writer_part_slots,
};

int
yulapy_writer_add_part_type(PyObject *module, yulapy_state *state)
{
    state->streams->writer_part_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &writer_part_spec, (PyObject *)&PyDict_Type);
    return state->streams->writer_part_type != NULL ? 0 : -1;
}
