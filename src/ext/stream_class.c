/* stream_class.c: asyncio's stream classes, recognised and watched.
 *
 * A StreamReader is served in C only while everything that would take part in
 * the work is asyncio's own: the classes as they were defined, the reader's
 * instance, the protocol's instance. Classes are compared name by name, and only
 * when the interpreter's version tag of the class says that it was changed;
 * instances by the size of their dictionaries.
 *
 *  I1. A class is `ours` only by exchange: whoever makes an instance of it
 *      otherwise gets one without a part, which behaves as asyncio's.
 */
#include "streams.h"

static const char *const reader_names[] = {
    "exception",      "set_exception",
    "_wakeup_waiter", "set_transport",
    "feed_eof",       "_maybe_resume_transport",
    "at_eof",         "feed_data",
    "_wait_for_data", "readline",
    "readuntil",      "read",
    "readexactly",    "__aiter__",
    "__anext__",      NULL};
static const char *const writer_names[] = {
    "write", "writelines", "close", "is_closing", "drain", "wait_closed", NULL};
/* ORDER yulapy_stream_fields */
static const char *const reader_fields[] = {
    "_limit",     "_loop",      "_buffer", "_waiter",
    "_exception", "_transport", "_eof",    "_paused"};
static const char *const writer_fields[] = {
    "_transport", "_protocol", "_reader", "_loop", "_complete_fut"};
static const char *const protocol_names[] = {
    "data_received",   "eof_received",      "_stream_reader",
    "pause_writing",   "resume_writing",    "_drain_helper",
    "connection_lost", "_get_close_waiter", NULL};

/* --- classes ---------------------------------------------------------------- */

/* Slow: something in the class, or below it, was changed. Looking names up is
 * also what makes the interpreter give the class a new version. */
bool
yulapy_stream_class_compare(yulapy_stream_class *cls)
{
    PyObject *name, *original;
    Py_ssize_t position = 0;
    bool touched = false;

    while (PyDict_Next(cls->originals, &position, &name, &original)) {
        PyObject *now = PyObject_GetAttr((PyObject *)cls->asyncio, name);
        if (now == NULL)
            PyErr_Clear(); /* deleted */
        touched |= now != original;
        Py_XDECREF(now);
    }
    cls->touched = touched;
    cls->version = cls->asyncio->tp_version_tag;
    return !touched;
}

/* A function that asyncio.streams itself defined under this name. */
static bool
is_asyncios(PyObject *function, PyObject *globals)
{
    if (PyObject_TypeCheck(function, &PyProperty_Type)) {
        PyObject *fget = PyObject_GetAttrString(function, "fget");
        bool ok = fget != NULL && PyFunction_Check(fget) &&
                  PyFunction_GET_GLOBALS(fget) == globals;
        PyErr_Clear();
        Py_XDECREF(fget);
        return ok;
    }
    return PyFunction_Check(function) &&
           PyFunction_GET_GLOBALS(function) == globals;
}

static int
class_remember(yulapy_stream_class *cls, PyObject *module,
               const char *class_name, const char *const *names, bool *usable)
{
    PyObject *type = PyObject_GetAttrString(module, class_name);
    if (type == NULL)
        return -1;
    cls->originals = PyDict_New();
    if (!PyType_Check(type) || cls->originals == NULL) {
        *usable = false;
        Py_DECREF(type);
        return cls->originals != NULL ? 0 : -1;
    }
    cls->asyncio = (PyTypeObject *)type;
    for (; *names != NULL; names++) {
        PyObject *function = PyObject_GetAttrString(type, *names);
        if (function == NULL ||
            PyDict_SetItemString(cls->originals, *names, function) < 0) {
            Py_XDECREF(function);
            return -1;
        }
        *usable &= is_asyncios(function, PyModule_GetDict(module));
        Py_DECREF(function);
    }
    (void)yulapy_stream_class_compare(cls);
    return 0;
}

/* class <name>(asyncio's): __slots__ = (), with our methods and attributes. */
static int
class_derive(yulapy_stream_class *cls, PyMethodDef *methods,
             PyGetSetDef *attributes)
{
    PyObject *type = PyObject_CallFunction(
        (PyObject *)&PyType_Type, "s(O){s()ss}", cls->asyncio->tp_name,
        cls->asyncio, "__slots__", "__module__", "yula");
    if (type == NULL)
        return -1;
    cls->ours = (PyTypeObject *)type;
    for (; methods->ml_name != NULL; methods++) {
        PyObject *method = PyDescr_NewMethod(cls->ours, methods);
        if (method == NULL ||
            PyObject_SetAttrString(type, methods->ml_name, method) < 0) {
            Py_XDECREF(method);
            return -1;
        }
        Py_DECREF(method);
    }
    for (; attributes->name != NULL; attributes++) {
        PyObject *attribute = PyDescr_NewGetSet(cls->ours, attributes);
        if (attribute == NULL ||
            PyObject_SetAttrString(type, attributes->name, attribute) < 0) {
            Py_XDECREF(attribute);
            return -1;
        }
        Py_DECREF(attribute);
    }
    return 0;
}

PyObject *
yulapy_stream_asyncio_call(PyObject *self, const char *name,
                           PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    PyObject *mro = Py_TYPE(self)->tp_mro, *function = NULL;
    bool past = false; /* our own method */
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro) && function == NULL; i++) {
        PyObject *names = ((PyTypeObject *)PyTuple_GET_ITEM(mro, i))->tp_dict;
        PyObject *found = names != NULL ? PyDict_GetItemString(names, name)
                                        : NULL;
        if (found != NULL && Py_IS_TYPE(found, &PyMethodDescr_Type))
            past = true;
        else if (found != NULL && past)
            function = Py_NewRef(found);
    }
    if (function == NULL)
        return PyErr_Format(PyExc_AttributeError, "%s", name);
    /* Whatever stands there, as an attribute of self. */
    PyObject *result = NULL, *bound = NULL;
    descrgetfunc get = Py_TYPE(function)->tp_descr_get;
    bound = get != NULL ? get(function, self, (PyObject *)Py_TYPE(self))
                        : Py_NewRef(function);
    if (bound != NULL && count >= 0)
        result = PyObject_Vectorcall(bound, args, (size_t)nargs, kwnames);
    Py_XDECREF(bound);
    Py_DECREF(function);
    return result;
}

/* --- instances -------------------------------------------------------------- */

/* What an instance has beside its fields, which is rare. */
static int
exchange_copy_rest(PyObject *dict, PyObject *part, PyObject *fields)
{
    if (PyDict_Update(part, dict) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fields); i++)
        if (PyDict_DelItem(part, PyTuple_GET_ITEM(fields, i)) < 0)
            return -1;
    return 0;
}

int
yulapy_stream_exchange(yulapy_streams *streams, PyObject *object,
                       PyTypeObject *ours, PyObject *part, PyObject *fields)
{
    PyObject *before = (PyObject *)Py_TYPE(object);
    PyObject *dict = PyObject_GenericGetDict(object, NULL);
    int err = -1;

    if (dict == NULL)
        return -1;
    if (PyDict_GET_SIZE(dict) != PyTuple_GET_SIZE(fields) &&
        exchange_copy_rest(dict, part, fields) < 0)
        goto done;
    if (PyObject_SetAttr(object, streams->str_class, (PyObject *)ours) < 0)
        goto done;
    err = PyObject_GenericSetDict(object, part, NULL);
    if (err < 0) {
        PyObject *error = yulapy_take_exception();
        if (PyObject_SetAttr(object, streams->str_class, before) < 0)
            PyErr_WriteUnraisable(object);
        yulapy_raise_exception(error);
    }
done:
    Py_DECREF(dict);
    return err;
}

PyObject *
yulapy_stream_plain_get(PyObject *self, const char *name)
{
    PyObject *dict = yulapy_stream_part(self);
    PyObject *value = dict != NULL ? PyDict_GetItemString(dict, name) : NULL;
    if (value == NULL)
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute '%s'",
                     Py_TYPE(self)->tp_name, name);
    return Py_XNewRef(value);
}

int
yulapy_stream_plain_set(PyObject *self, const char *name, PyObject *value)
{
    PyObject *dict = yulapy_stream_part(self);
    if (dict == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return value != NULL ? PyDict_SetItemString(dict, name, value)
                         : PyDict_DelItemString(dict, name);
}

/* --- a transport's protocol ------------------------------------------------- */

/* The reader of an exact StreamReaderProtocol, a new reference; or NULL without
 * an exception. */
static PyObject *
protocol_reader(PyObject *ref)
{
    PyObject *reader = NULL;
    if (ref == NULL || !PyWeakref_CheckRefExact(ref))
        return NULL;
#if PY_VERSION_HEX >= 0x030d0000
    if (PyWeakref_GetRef(ref, &reader) < 0)
        PyErr_Clear(); /* it is a weak reference */
#else
    reader = PyWeakref_GetObject(ref);
    reader = reader != Py_None ? Py_NewRef(reader) : NULL;
#endif
    return reader;
}

static void
streams_leave(yulapy_feed *feed)
{
    yulapy_streams_settle(feed);
    if (feed->reader != NULL)
        feed->reader->feeder = NULL;
    feed->reader = NULL;
    Py_CLEAR(feed->protocol_dict);
}

int
yulapy_streams_adopt(yulapy_feed *feed, yulapy_loop *loop, PyObject *protocol)
{
    yulapy_state *state = loop->state;
    yulapy_streams *streams = state->streams;

    streams_leave(feed);
    if (protocol == NULL || !streams->usable ||
        !Py_IS_TYPE(protocol, streams->protocol.asyncio))
        return 0;
    PyObject *dict = yulapy_stream_part(protocol);
    PyObject *ref = dict != NULL ? PyDict_GetItem(dict, streams->str_reader_ref)
                                 : NULL;
    PyObject *object = protocol_reader(ref);
    if (object == NULL)
        return 0;
    yulapy_reader *reader = NULL;
    int adopted = 1;
    if (Py_IS_TYPE(object, streams->reader.asyncio))
        adopted = yulapy_reader_adopt(state, object);
    if (adopted > 0 && Py_IS_TYPE(object, streams->reader.ours))
        reader = yulapy_reader_of(object);
    Py_DECREF(object);
    if (adopted < 0)
        return -1;
    if (reader == NULL || reader->feeder != NULL ||
        reader->loop != (PyObject *)loop)
        return 0;
    reader->feeder = feed;
    feed->reader = reader;
    feed->protocol_dict = Py_NewRef(dict);
    feed->protocol_size = -1;
    feed->writer_tries = 8;
    return 1;
}

/* Somebody's own methods on the protocol's instance. */
static bool
protocol_shadowed(yulapy_streams *streams, yulapy_feed *feed)
{
    PyObject *name, *original;
    Py_ssize_t position = 0;

    while (
        PyDict_Next(streams->protocol.originals, &position, &name, &original))
        if (PyDict_GetItem(feed->protocol_dict, name) != NULL)
            return true;
    feed->protocol_size = PyDict_GET_SIZE(feed->protocol_dict);
    return false;
}

bool
yulapy_stream_protocol_plain(yulapy_streams *streams, yulapy_feed *feed)
{
    return yulapy_stream_class_untouched(&streams->protocol) &&
           (PyDict_GET_SIZE(feed->protocol_dict) == feed->protocol_size ||
            !protocol_shadowed(streams, feed));
}

bool
yulapy_streams_direct(yulapy_streams *streams, yulapy_feed *feed)
{
    yulapy_reader *reader = feed->reader;
    return yulapy_stream_protocol_plain(streams, feed) && !reader->eof &&
           reader->exception == Py_None && yulapy_reader_served(reader);
}

/* --- the module's part ------------------------------------------------------ */

static PyObject *
interned_names(const char *const *names, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *name = PyUnicode_InternFromString(names[i]);
        if (name == NULL)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, name);
    }
    return tuple;
}

int
yulapy_streams_add_types(PyObject *module, yulapy_state *state)
{
    yulapy_streams *streams = PyMem_Calloc(1, sizeof(*streams));
    PyObject *asyncio = PyImport_ImportModule("asyncio.streams");
    int err = -1;

    state->streams = streams;
    if (streams == NULL || asyncio == NULL)
        goto done;
    streams->usable = true;
    streams->str_connection_lost = PyUnicode_InternFromString(
        "_connection_lost");
    streams->str_paused = PyUnicode_InternFromString("_paused");
    streams->str_closed = PyUnicode_InternFromString("_closed");
    streams->str_reader_ref = PyUnicode_InternFromString("_stream_reader_wr");
    streams->str_class = PyUnicode_InternFromString("__class__");
    streams->reader_fields = interned_names(reader_fields, 8);
    streams->writer_fields = interned_names(writer_fields, 5);
    if (streams->str_connection_lost == NULL || streams->str_paused == NULL ||
        streams->str_closed == NULL || streams->str_reader_ref == NULL ||
        streams->str_class == NULL || streams->reader_fields == NULL ||
        streams->writer_fields == NULL)
        goto done;
    if (class_remember(&streams->reader, asyncio, "StreamReader", reader_names,
                       &streams->usable) < 0 ||
        class_remember(&streams->writer, asyncio, "StreamWriter", writer_names,
                       &streams->usable) < 0 ||
        class_remember(&streams->protocol, asyncio, "StreamReaderProtocol",
                       protocol_names, &streams->usable) < 0)
        goto done;
    if (yulapy_reader_add_part_type(module, state) < 0 ||
        yulapy_writer_add_part_type(module, state) < 0 ||
        yulapy_stream_op_add_type(module, state) < 0)
        goto done;
    if (streams->usable &&
        (class_derive(&streams->reader, yulapy_reader_methods,
                      yulapy_reader_attributes) < 0 ||
         class_derive(&streams->writer, yulapy_writer_methods,
                      yulapy_writer_attributes) < 0))
        goto done;
    err = 0;
done:
    Py_XDECREF(asyncio);
    if (err < 0 && !PyErr_Occurred())
        PyErr_NoMemory();
    return err;
}

/* clang-format off */
#define STREAMS_OBJECTS(X)                                                     \
    X(reader.asyncio) X(reader.ours) X(reader.originals)                       \
    X(writer.asyncio) X(writer.ours) X(writer.originals)                       \
    X(protocol.asyncio) X(protocol.originals)                                  \
    X(reader_part_type) X(writer_part_type) X(op_type) X(stop)                 \
    X(str_connection_lost) X(str_paused) X(str_closed) X(str_reader_ref)       \
    X(str_class) X(reader_fields) X(writer_fields)
/* clang-format on */

int
yulapy_streams_traverse(yulapy_state *state, visitproc visit, void *arg)
{
    yulapy_streams *streams = state->streams;
    if (streams == NULL)
        return 0;
#define VISIT(field) Py_VISIT(streams->field);
    STREAMS_OBJECTS(VISIT)
#undef VISIT
    return 0;
}

void
yulapy_streams_clear(yulapy_state *state)
{
    yulapy_streams *streams = state->streams;
    if (streams == NULL)
        return;
    streams->usable = false;
    yulapy_stream_op_drop_free(streams);
    streams->reader.touched = streams->writer.touched =
        streams->protocol.touched = true;
#define CLEAR(field) Py_CLEAR(streams->field);
    STREAMS_OBJECTS(CLEAR)
#undef CLEAR
}

/* Readers and writers that outlive the module's dictionary still look here. */
void
yulapy_streams_free(yulapy_state *state)
{
    yulapy_streams_clear(state);
    PyMem_Free(state->streams);
    state->streams = NULL;
}
