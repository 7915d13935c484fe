/* tls_protocol.c: a TLS connection's attributes, and the way of received data.
 *
 * yulapy_tls_receive() does what asyncio's buffer_updated(), _do_read() and what
 * they call do for a connection that is WRAPPED, not paused, with nothing waiting
 * in its BIOs or its backlog. Anything else goes to buffer_updated() itself.
 *
 *  I1. An attribute is a field of the struct and nowhere else: asyncio's methods
 *      read and write it through a descriptor.
 *  I2. While user code runs nothing of ours is under way: received bytes are read
 *      or in _incoming, records made are sent or in _outgoing.
 */
#include "tls.h"

/* --- attributes ------------------------------------------------------------------ */

#define ATTRIBUTE(field) (void *)offsetof(yulapy_tls, field)
#define FIELD(tls, offset)                                                     \
    (*(PyObject **)((char *)(tls) + (Py_ssize_t)(offset)))

static const char *
tls_attribute_name(void *offset)
{
#define TLS_NAME(name)                                                         \
    if (offset == ATTRIBUTE(name))                                             \
        return "_" #name;
    TLS_ATTRIBUTES(TLS_NAME)
#undef TLS_NAME
    return "?";
}

static PyObject *
tls_get(PyObject *self, void *offset)
{
    PyObject *value = FIELD(self, offset);
    if (value == NULL)
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute '%s'",
                     Py_TYPE(self)->tp_name, tls_attribute_name(offset));
    return Py_XNewRef(value);
}

/* Whether a water mark is above 0. What cannot be compared is not. */
static bool
mark_is_positive(PyObject *mark)
{
    PyObject *zero = PyLong_FromLong(0);
    int positive = mark != NULL && zero != NULL
                       ? PyObject_RichCompareBool(mark, zero, Py_GT)
                       : 0;
    Py_XDECREF(zero);
    if (positive < 0)
        PyErr_Clear(); /* asyncio's methods will meet it */
    return positive > 0;
}

/* The SSL object was just made, or exchanged. */
static void
tls_meet_sslobj(yulapy_tls *tls)
{
    PyObject *ssl_socket = NULL;
    if (tls->sslobj != NULL && tls->sslobj != Py_None) {
        ssl_socket = PyObject_GetAttr(tls->sslobj,
                                      tls->module->tls->str__sslobj);
        PyErr_Clear(); /* not one of ours, then */
    }
    Py_XSETREF(tls->ssl_socket, ssl_socket);
    tls->ssl = ssl_socket != NULL && tls->capturing
                   ? yulapy_tls_capture_take(ssl_socket)
                   : NULL;
    tls->capturing = false;
}

/* The protocol of the application changed, or its reader has become free. */
int
yulapy_tls_adopt_streams(yulapy_tls *tls)
{
    if (tls->loop == NULL ||
        !PyObject_TypeCheck(tls->loop, tls->module->loop_type))
        return 0;
    return yulapy_streams_adopt(&tls->feed, (yulapy_loop *)tls->loop,
                                tls->app_protocol) < 0
               ? -1
               : 0;
}

static int
tls_set(PyObject *self, PyObject *value, void *offset)
{
    yulapy_tls *tls = (yulapy_tls *)self;
    bool engine = offset == ATTRIBUTE(sslobj) ||
                  offset == ATTRIBUTE(incoming) ||
                  offset == ATTRIBUTE(outgoing) || offset == ATTRIBUTE(loop);

    int err = 0;

    if (engine)
        yulapy_tls_disengage(tls);
    PyObject *old = FIELD(self, offset);
    FIELD(self, offset) = Py_XNewRef(value);
    if (offset == ATTRIBUTE(sslobj))
        tls_meet_sslobj(tls);
    else if (offset == ATTRIBUTE(incoming_high_water))
        tls->in_high = mark_is_positive(value);
    else if (offset == ATTRIBUTE(outgoing_high_water))
        tls->out_high = mark_is_positive(value);
    else if (offset == ATTRIBUTE(app_protocol))
        err = yulapy_tls_adopt_streams(tls);
    Py_XDECREF(old);
    return err;
}

/* --- calling ---------------------------------------------------------------------- */

int
yulapy_tls_call(yulapy_tls *tls, PyObject *name)
{
    PyObject *result = PyObject_CallMethodNoArgs((PyObject *)tls, name);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int
yulapy_tls_fatal(yulapy_tls *tls)
{
    struct yulapy_tls_state *state = tls->module->tls;

    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *error = yulapy_take_exception();
    PyObject *text = PyUnicode_FromString("Fatal error on SSL protocol");
    PyObject *args[] = {(PyObject *)tls, error, text};
    PyObject *result = text != NULL
                           ? PyObject_VectorcallMethod(state->str__fatal_error,
                                                       args, 3, NULL)
                           : NULL;
    Py_XDECREF(text);
    Py_XDECREF(error);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* --- receiving -------------------------------------------------------------------- */

static int
tls_receive_slow(yulapy_tls *tls, const char *base, size_t len)
{
    struct yulapy_tls_state *state = tls->module->tls;

    if (tls->incoming == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "SSLProtocol was not initialized");
        return -1;
    }
    if (yulapy_tls_feed(tls, base, len) < 0)
        return -1;
    PyObject *zero = PyLong_FromLong(0);
    PyObject *result = PyObject_CallMethodOneArg(
        (PyObject *)tls, state->str_buffer_updated, zero);
    Py_DECREF(zero);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* Whether nothing is unusual. */
static bool
tls_may_read(yulapy_tls *tls)
{
    return tls->state == tls->module->tls->wrapped &&
           tls->app_reading_paused == Py_False &&
           tls->ssl_reading_paused == Py_False && tls->in_high &&
           tls->out_high && yulapy_tls_engaged(tls) &&
           yulapy_tls_loop(tls) != NULL &&
           PyObject_Size(tls->write_backlog) == 0 &&
           tls->engine->pending(tls, false) == 0;
}

/* What the peer sent that is not for the application: answers go out before
 * user code runs, the rest of what asyncio's method does afterwards. */
static int
tls_after_read(yulapy_tls *tls, tls_result result)
{
    struct yulapy_tls_state *state = tls->module->tls;

    if (result == TLS_ENDED &&
        (yulapy_tls_call(tls, state->str__call_eof_received) < 0 ||
         yulapy_tls_call(tls, state->str__start_shutdown) < 0))
        return -1;
    if (tls->engine == NULL)
        return 0; /* exchanged by user code */
    if (PyObject_Size(tls->write_backlog) > 0)
        return yulapy_tls_call(tls, state->str__do_write);
    if (tls->engine->pending(tls, true) > 0 &&
        yulapy_tls_call(tls, state->str__process_outgoing) < 0)
        return -1;
    if (tls->engine->pending(tls, false) > 0)
        return yulapy_tls_call(tls, state->str__control_ssl_reading);
    return PyErr_Occurred() ? -1 : 0;
}

static int
tls_deliver(yulapy_tls *tls, const char *plain, size_t count)
{
    yulapy_reader *reader = tls->feed.reader;
    if (reader != NULL &&
        (reader->waiting == NULL || reader->waiting->target == NULL) &&
        yulapy_streams_direct(tls->module->streams, &tls->feed))
        return yulapy_reader_receive(reader, plain, (Py_ssize_t)count, NULL);
    PyObject *data = yulapy_received_bytes((yulapy_loop *)tls->loop, plain,
                                           count);
    if (data == NULL)
        return -1;
    PyObject *result = PyObject_CallMethodOneArg(
        tls->app_protocol, tls->module->str_data_received, data);
    Py_DECREF(data);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* The engine's last step: TLS_ODD and TLS_RAISED end the reading. 1: go on. */
static int
tls_judge_read(yulapy_tls *tls, tls_result result)
{
    if (result == TLS_ODD) {
        if (tls->engine->settle(tls) < 0)
            return -1;
        return yulapy_tls_call(tls, tls->module->tls->str__do_read);
    }
    if (result == TLS_RAISED || yulapy_tls_send(tls) < 0)
        return -1;
    return 1;
}

static int
tls_read_copied(yulapy_tls *tls, const char *base, size_t len)
{
    struct yulapy_tls_room *room = yulapy_tls_room_of(yulapy_tls_loop(tls));
    size_t count;

    if (room == NULL)
        return -1;
    if (room->busy) /* in a turn of the loop inside of another read */
        return tls_receive_slow(tls, base, len);
    room->busy = true;
    tls_result result = tls->engine->read(tls, base, len, room->plain,
                                          TLS_PLAIN_MAX, &count);
    int go = tls_judge_read(tls, result);
    room->busy = false;
    if (go <= 0)
        return go;
    if (count > 0 && tls_deliver(tls, room->plain, count) < 0)
        return -1;
    /* No more than a peer can bring about by records kept back for long. */
    if (result == TLS_FULL &&
        yulapy_tls_call(tls, tls->module->tls->str__do_read) < 0)
        return -1;
    return tls_after_read(tls, result);
}

/* loop.call_soon(self._do_read): the buffer was too small for all of it. */
static int
tls_read_later(yulapy_tls *tls)
{
    struct yulapy_tls_state *state = tls->module->tls;
    PyObject *method = PyObject_GetAttr((PyObject *)tls, state->str__do_read);
    if (method == NULL)
        return -1;
    PyObject *handle = PyObject_CallMethodOneArg(tls->loop,
                                                 state->str_call_soon, method);
    Py_DECREF(method);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

static int
tls_read_into(yulapy_tls *tls, const char *base, size_t len)
{
    PyObject *hint = PyLong_FromSize_t(len), *buffer = NULL, *updated = NULL;
    Py_buffer view;
    size_t count;

    if (hint != NULL)
        buffer = PyObject_CallOneArg(tls->app_protocol_get_buffer, hint);
    Py_XDECREF(hint);
    if (buffer == NULL)
        return -1;
    int err = PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE);
    Py_DECREF(buffer);
    if (err < 0) {
        PyErr_Clear(); /* asyncio's method raises it again */
        return tls_receive_slow(tls, base, len);
    }
    /* get_buffer() may have closed or paused the connection. */
    if (view.len == 0 || !tls_may_read(tls)) {
        PyBuffer_Release(&view);
        return PyErr_Occurred() ? -1 : tls_receive_slow(tls, base, len);
    }
    tls_result result = tls->engine->read(tls, base, len, view.buf,
                                          (size_t)view.len, &count);
    PyBuffer_Release(&view);
    int go = tls_judge_read(tls, result);
    if (go <= 0)
        return go;
    if (result == TLS_FULL && tls_read_later(tls) < 0)
        return -1;
    if (count > 0) {
        PyObject *number = PyLong_FromSize_t(count);
        if (number != NULL)
            updated = PyObject_CallOneArg(tls->app_protocol_buffer_updated,
                                          number);
        Py_XDECREF(number);
        Py_XDECREF(updated);
        if (updated == NULL)
            return -1;
    }
    return tls_after_read(tls, result);
}

int
yulapy_tls_receive(yulapy_tls *tls, const char *base, size_t len)
{
    PyObject *self = Py_NewRef((PyObject *)tls);
    int err;

    if (__builtin_expect(!tls_may_read(tls), 0)) {
        err = PyErr_Occurred() ? -1 : tls_receive_slow(tls, base, len);
    }
    else {
        err = tls->app_protocol_is_buffer == Py_True
                  ? tls_read_into(tls, base, len)
                  : tls_read_copied(tls, base, len);
        if (__builtin_expect(err < 0, 0))
            err = yulapy_tls_fatal(tls);
    }
    Py_DECREF(self);
    return err;
}

/* --- the type --------------------------------------------------------------------- */

/* Called before asyncio's __init__ makes the SSL object. */
static PyObject *
tls_begin(PyObject *self, PyObject *wanted)
{
    yulapy_tls *tls = (yulapy_tls *)self;
    const char *name = PyUnicode_AsUTF8(wanted);
    if (name == NULL)
        return NULL;
    tls->wanted = name[0];
    tls->capturing = tls->wanted == 'd' && tls->module->tls->direct;
    if (tls->capturing)
        yulapy_tls_capture_begin();
    Py_RETURN_NONE;
}

static PyObject *
tls_get_engine(PyObject *self, void *unused)
{
    yulapy_tls *tls = (yulapy_tls *)self;
    if (!tls->judged)
        Py_RETURN_NONE;
    return PyUnicode_FromString(tls->engine != NULL ? tls->engine->name
                                                    : "asyncio");
}

yulapy_state *
yulapy_tls_state_of(PyTypeObject *type)
{
    /* The type is a subclass from Python: its base of ours has the module. */
    yulapy_state *state = NULL;
    for (PyTypeObject *t = type; t != NULL && state == NULL; t = t->tp_base) {
        state = yulapy_state_of_type(t);
        if (state == NULL)
            PyErr_Clear(); /* TypeError: a Python class has no module state */
    }
    if (state != NULL && state->tls != NULL)
        return state;
    PyErr_SetString(PyExc_SystemError, "yula._core is not initialised");
    return NULL;
}

static PyObject *
tls_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    yulapy_state *state = yulapy_tls_state_of(type);
    if (state == NULL)
        return NULL;
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL)
        ((yulapy_tls *)self)->module = state;
    return self;
}

static int
tls_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_tls *tls = (yulapy_tls *)self;
    Py_VISIT(Py_TYPE(self));
#define TLS_VISIT(name) Py_VISIT(tls->name);
    TLS_ATTRIBUTES(TLS_VISIT)
#undef TLS_VISIT
    Py_VISIT(tls->ssl_socket);
    Py_VISIT(tls->feed.protocol_dict);
    return 0;
}

static int
tls_clear(PyObject *self)
{
    yulapy_tls *tls = (yulapy_tls *)self;
    yulapy_tls_disengage(tls);
    tls->ssl = NULL;
    Py_CLEAR(tls->ssl_socket);
    if (tls->loop != NULL && tls->feed.protocol_dict != NULL)
        (void)yulapy_streams_adopt(&tls->feed, (yulapy_loop *)tls->loop, NULL);
#define TLS_CLEAR(name) Py_CLEAR(tls->name);
    TLS_ATTRIBUTES(TLS_CLEAR)
#undef TLS_CLEAR
    return 0;
}

static void
tls_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)tls_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyGetSetDef tls_getset[] = {
#define TLS_GETSET(name) {"_" #name, tls_get, tls_set, NULL, ATTRIBUTE(name)},
    TLS_ATTRIBUTES(TLS_GETSET)
#undef TLS_GETSET
        {"_engine", tls_get_engine, NULL,
         PyDoc_STR(
             "'direct', 'method' or 'asyncio'; None before the first use."),
         NULL},
    {NULL},
};

static PyMethodDef tls_methods[] = {
    {"_begin", tls_begin, METH_O,
     PyDoc_STR("_begin($self, engine, /)\n--\n\nWhich engine to use at best; "
               "the next SSL object is ours.")},
    {NULL},
};

static PyType_Slot tls_slots[] = {
    {Py_tp_doc, "What C does for yula.tls.SSLProtocol."},
    {Py_tp_new, tls_new},
    {Py_tp_dealloc, tls_dealloc},
    {Py_tp_traverse, tls_traverse},
    {Py_tp_clear, tls_clear},
    {Py_tp_getset, tls_getset},
    {Py_tp_methods, tls_methods},
    {0, NULL},
};

static PyType_Spec tls_spec = {
    .name = "yula._core.TLSProtocolBase",
    .basicsize = sizeof(yulapy_tls),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = tls_slots,
};

/* --- the module's part ------------------------------------------------------------ */

/* An attribute that a later version may not have: then NULL, without an
 * exception, and asyncio's methods do the work. */
static PyObject *
optional(PyObject *object, const char *name)
{
    PyObject *value = object != NULL ? PyObject_GetAttrString(object, name)
                                     : NULL;
    PyErr_Clear();
    return value;
}

static bool
tls_find_library(PyObject *_ssl, PyObject *ssl)
{
    PyObject *file = optional(_ssl, "__file__");
    PyObject *number = optional(ssl, "OPENSSL_VERSION_NUMBER");
    const char *path = file != NULL ? PyUnicode_AsUTF8(file) : NULL;
    unsigned long version = number != NULL ? PyLong_AsUnsignedLong(number) : 0;
    bool usable = path != NULL && !PyErr_Occurred() &&
                  yulapy_tls_library(path, version);
    PyErr_Clear(); /* no path, no number: no library */
    Py_XDECREF(file);
    Py_XDECREF(number);
    return usable;
}

static void
tls_find_ssl(struct yulapy_tls_state *state, PyObject *sslproto)
{
    PyObject *ssl = optional(sslproto, "ssl");
    PyObject *_ssl = ssl != NULL && ssl != Py_None
                         ? PyImport_ImportModule("_ssl")
                         : NULL;
    PyObject *states = optional(sslproto, "SSLProtocolState");
    PyObject *transport = optional(sslproto, "_SSLProtocolTransport");

    PyErr_Clear(); /* no ssl module */
    state->wrapped = optional(states, "WRAPPED");
    state->again = optional(sslproto, "SSLAgainErrors");
    state->ssl_object_type = optional(ssl, "SSLObject");
    state->ssl_socket_type = optional(_ssl, "_SSLSocket");
    state->bio_type = optional(_ssl, "MemoryBIO");
    state->method_read = optional(state->ssl_object_type, "read");
    state->method_write = optional(state->ssl_object_type, "write");
    state->method_unwrap = optional(state->ssl_object_type, "unwrap");
    state->method_pending = optional(state->ssl_object_type, "pending");
    state->transport_write = optional(transport, "write");
    state->transport_writelines = optional(transport, "writelines");
    state->direct = tls_find_library(_ssl, ssl);
    Py_XDECREF(transport);
    Py_XDECREF(states);
    Py_XDECREF(_ssl);
    Py_XDECREF(ssl);
}

int
yulapy_tls_add_types(PyObject *module, yulapy_state *state)
{
    struct yulapy_tls_state *tls = PyMem_Calloc(1, sizeof(*tls));
    if (tls == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    state->tls = tls;
#define TLS_INTERN(name)                                                       \
    if ((tls->str_##name = PyUnicode_InternFromString(#name)) == NULL)         \
        return -1;
    TLS_NAMES(TLS_INTERN)
#undef TLS_INTERN
    PyObject *sslproto = PyImport_ImportModule("asyncio.sslproto");
    if (sslproto == NULL)
        return -1;
    tls_find_ssl(tls, sslproto);
    Py_DECREF(sslproto);
    tls->protocol_type = PyType_FromModuleAndSpec(module, &tls_spec, NULL);
    if (tls->protocol_type == NULL ||
        PyModule_AddType(module, (PyTypeObject *)tls->protocol_type) < 0)
        return -1;
    return yulapy_tls_write_add_type(module, state);
}

int
yulapy_tls_traverse(yulapy_state *state, visitproc visit, void *arg)
{
    if (state->tls == NULL)
        return 0;
#define TLS_VISIT(name) Py_VISIT(state->tls->name);
    TLS_OBJECTS(TLS_VISIT)
#undef TLS_VISIT
    return 0;
}

void
yulapy_tls_clear(yulapy_state *state)
{
    if (state->tls == NULL)
        return;
#define TLS_CLEAR(name) Py_CLEAR(state->tls->name);
    TLS_OBJECTS(TLS_CLEAR)
#undef TLS_CLEAR
}

/* Connections that outlive the module's dictionary still look here. */
void
yulapy_tls_free(yulapy_state *state)
{
    yulapy_tls_clear(state);
    if (state->tls == NULL)
        return;
#define TLS_CLEAR(name) Py_CLEAR(state->tls->str_##name);
    TLS_NAMES(TLS_CLEAR)
#undef TLS_CLEAR
    PyMem_Free(state->tls);
    state->tls = NULL;
}
