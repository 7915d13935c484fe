/* tls_write.c: what a TLS connection's application writes, and the type of its
 * transport.
 *
 * write() and writelines() do what asyncio's _write_appdata(), _do_write() and
 * _process_outgoing() do for a connection that is WRAPPED, not paused, with
 * nothing waiting in its backlog or in _outgoing. Anything else goes to asyncio's
 * methods. Small pieces of one call share a record.
 *
 *  I1. What was written is encrypted, or in _write_backlog, when write() returns.
 */
#include "tls.h"

/* So much is encrypted before it is sent: it is warm in the cache then, and the
 * loop's room stays small. */
#define TLS_SLAB (16 * TLS_RECORD_MAX)

Py_ssize_t yulapy_tls_transport_offset;

/* Where the slots of asyncio's class are: numbers, as above. */
#define TLS_SLOTS_MAX 16
static Py_ssize_t tls_slots[TLS_SLOTS_MAX];
static unsigned tls_slot_count;

/* --- to the transport below ------------------------------------------------------ */

/* The stream below, if bytes may be given to it at once; or NULL. */
static yula_stream *
tls_stream(yulapy_tls *tls)
{
    if (tls->transport == NULL ||
        !Py_IS_TYPE(tls->transport, tls->module->stream_transport_type))
        return NULL;
    yulapy_transport *below = TRANSPORT(tls->transport);
    return below->eof || below->empty_waiter != NULL || below->lost > 0 ||
                   (below->dict != NULL && PyDict_GET_SIZE(below->dict) > 0)
               ? NULL
               : below->stream;
}

static int
tls_send_object(yulapy_tls *tls, PyObject *bytes)
{
    if (tls->transport == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_transport");
        return -1;
    }
    PyObject *result = PyObject_CallMethodOneArg(
        tls->transport, tls->module->tls->str_write, bytes);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int
tls_send_bytes(yulapy_tls *tls, const char *base, size_t len, PyObject *owner)
{
    yula_stream *stream = tls_stream(tls);
    if (stream != NULL) {
        int err = yula_stream_write(stream, base, len, Py_XNewRef(owner));
        if (err == 0)
            return 0;
        Py_XDECREF(owner);
        yulapy_raise_code(err);
        return -1;
    }
    PyObject *bytes = owner != NULL
                          ? Py_NewRef(owner)
                          : PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    int err = bytes != NULL ? tls_send_object(tls, bytes) : -1;
    Py_XDECREF(bytes);
    return err;
}

int
yulapy_tls_send(yulapy_tls *tls)
{
    const char *base;
    PyObject *owner;
    size_t len;

    if (tls->ssl_writing_paused != Py_False)
        return tls->engine->settle(tls);
    if (tls->engine->take(tls, &base, &len, &owner) < 0)
        return -1;
    int err = len > 0 ? tls_send_bytes(tls, base, len, owner) : 0;
    Py_XDECREF(owner);
    return err;
}

/* --- writing ----------------------------------------------------------------------- */

static bool
tls_may_write(yulapy_tls *tls)
{
    return tls->state == tls->module->tls->wrapped &&
           tls->ssl_writing_paused == Py_False &&
           tls->app_writing_paused == Py_False && tls->out_high &&
           yulapy_tls_engaged(tls) && yulapy_tls_loop(tls) != NULL &&
           PyObject_Size(tls->write_backlog) == 0 &&
           tls->engine->pending(tls, true) == 0;
}

/* The rest of what was written goes where asyncio keeps it. 0 or -1. */
static int
tls_keep(yulapy_tls *tls, const char *base, size_t len)
{
    PyObject *bytes = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    PyObject *count = PyLong_FromSize_t(len), *sum = NULL, *result = NULL;

    if (bytes != NULL && count != NULL && tls->write_buffer_size != NULL)
        sum = PyNumber_Add(tls->write_buffer_size, count);
    if (sum != NULL)
        result = PyObject_CallMethodOneArg(tls->write_backlog,
                                           tls->module->tls->str_append, bytes);
    if (result != NULL)
        Py_SETREF(tls->write_buffer_size, Py_NewRef(sum));
    Py_XDECREF(result);
    Py_XDECREF(sum);
    Py_XDECREF(count);
    Py_XDECREF(bytes);
    return result != NULL ? 0 : -1;
}

/* 1: all was written; 0: it is in the backlog, and more shall go there as well;
 * -1: an exception is set. */
static int
tls_write_slab(yulapy_tls *tls, const char *base, size_t len)
{
    size_t written;
    tls_result result = tls->engine->write(tls, base, len, &written);

    if (__builtin_expect(result == TLS_DONE, 1))
        return yulapy_tls_send(tls) == 0 ? 1 : -1;
    PyObject *error = result == TLS_RAISED ? yulapy_take_exception() : NULL;
    int err = tls->engine->settle(tls);
    if (err == 0)
        err = tls_keep(tls, base + written, len - written);
    if (error != NULL) {
        PyErr_Clear(); /* the first one is the one to report */
        yulapy_raise_exception(error);
        return -1;
    }
    return err;
}

/* Try what the backlog holds: asyncio's method meets what we have met. */
static int
tls_write_all(yulapy_tls *tls, const char *base, size_t len)
{
    int go = 1;
    do {
        size_t slab = len < TLS_SLAB ? len : TLS_SLAB;
        go = tls_write_slab(tls, base, slab);
        base += slab;
        len -= slab;
    } while (go > 0 && len > 0);
    if (go == 0 && len > 0)
        go = tls_keep(tls, base, len);
    return go;
}

/* 0; -1 with an exception that is the caller's. */
static int
tls_write_ended(yulapy_tls *tls, int go)
{
    if (__builtin_expect(go > 0, 1))
        return 0;
    if (go == 0 && yulapy_tls_call(tls, tls->module->tls->str__do_write) == 0)
        return 0;
    return yulapy_tls_fatal(tls);
}

/* --- the transport ------------------------------------------------------------------ */

/* asyncio's method of the same name, called on self. */
static PyObject *
transport_pass(PyObject *self, const char *name, PyObject *arg)
{
    yulapy_tls_transport *transport = TLS_TRANSPORT(self);
    struct yulapy_tls_state *state = transport->module->tls;
    PyObject *function = name[5] == '\0' ? state->transport_write
                                         : state->transport_writelines;
    PyObject *args[] = {self, arg};

    if (function == NULL) {
        PyErr_SetString(PyExc_NotImplementedError, name);
        return NULL;
    }
    return PyObject_Vectorcall(function, args, 2, NULL);
}

/* A view of data, if it is what asyncio takes and its length is its bytes'. */
static bool
data_view(PyObject *data, Py_buffer *view)
{
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data))
        return false;
    if (PyObject_GetBuffer(data, view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear(); /* not in one piece: asyncio raises what it raises */
        return false;
    }
    if (view->itemsize == 1 && (view->ndim <= 1 || view->len == 0))
        return true;
    PyBuffer_Release(view);
    return false;
}

PyObject *
yulapy_tls_transport_write(PyObject *self, PyObject *data)
{
    yulapy_tls *tls = TLS_TRANSPORT(self)->tls;
    Py_buffer view;

    if (tls != NULL && __builtin_expect(tls->feed.writer_tries > 0, 0))
        yulapy_writer_meet(tls->module, &tls->feed, self);
    if (tls == NULL || !tls_may_write(tls) || PyErr_Occurred()) {
        PyErr_Clear(); /* asyncio's method meets it */
        return transport_pass(self, "write", data);
    }
    if (!data_view(data, &view))
        return transport_pass(self, "write", data);
    Py_INCREF(tls);
    int err = 0;
    if (view.len > 0)
        err = tls_write_ended(tls,
                              tls_write_all(tls, view.buf, (size_t)view.len));
    PyBuffer_Release(&view);
    Py_DECREF(tls);
    return err == 0 ? Py_NewRef(Py_None) : NULL;
}

/* Whether all pieces are plain bytes: nothing that could change or raise. */
static bool
pieces_are_bytes(PyObject *pieces)
{
    if (!PyList_CheckExact(pieces) && !PyTuple_CheckExact(pieces))
        return false;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(pieces); i++)
        if (!PyBytes_CheckExact(PySequence_Fast_GET_ITEM(pieces, i)))
            return false;
    return true;
}

/* The pieces are gathered where plaintext is decrypted to: no reading is under
 * way while user code runs. */
static int
tls_write_pieces(yulapy_tls *tls, struct yulapy_tls_room *room,
                 PyObject *pieces)
{
    size_t filled = 0;
    int go = 1;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(pieces); i++) {
        PyObject *piece = PyTuple_GET_ITEM(pieces, i);
        const char *base = PyBytes_AS_STRING(piece);
        size_t len = (size_t)PyBytes_GET_SIZE(piece);
        if (go == 0) {
            if (tls_keep(tls, base, len) < 0)
                return -1;
            continue;
        }
        if (filled > 0 && filled + len > TLS_SLAB) {
            go = tls_write_all(tls, room->plain, filled);
            filled = 0;
        }
        if (go > 0 && len > TLS_SLAB) {
            go = tls_write_all(tls, base, len);
        }
        else if (go > 0) {
            memcpy(room->plain + filled, base, len);
            filled += len;
        }
        else if (go < 0 || tls_keep(tls, base, len) < 0) {
            return -1;
        }
    }
    return go > 0 && filled > 0 ? tls_write_all(tls, room->plain, filled) : go;
}

PyObject *
yulapy_tls_transport_writelines(PyObject *self, PyObject *lines)
{
    yulapy_tls *tls = TLS_TRANSPORT(self)->tls;

    if (tls != NULL && __builtin_expect(tls->feed.writer_tries > 0, 0))
        yulapy_writer_meet(tls->module, &tls->feed, self);
    if (tls == NULL || !pieces_are_bytes(lines) || !tls_may_write(tls) ||
        PyErr_Occurred()) {
        PyErr_Clear(); /* asyncio's method meets it */
        return transport_pass(self, "writelines", lines);
    }
    struct yulapy_tls_room *room = yulapy_tls_room_of(yulapy_tls_loop(tls));
    if (room != NULL && room->busy)
        return transport_pass(self, "writelines", lines);
    PyObject *pieces = room != NULL ? PySequence_Tuple(lines) : NULL;
    if (pieces == NULL)
        return NULL;
    Py_INCREF(tls);
    int err = tls_write_ended(tls, tls_write_pieces(tls, room, pieces));
    Py_DECREF(tls);
    Py_DECREF(pieces);
    return err == 0 ? Py_NewRef(Py_None) : NULL;
}

yulapy_feed *
yulapy_tls_transport_feed(PyObject *self, PyObject **protocol, bool *closing)
{
    yulapy_tls_transport *transport = TLS_TRANSPORT(self);
    yulapy_tls *tls = transport->tls;

    if (tls == NULL || tls->app_protocol == NULL)
        return NULL;
    *protocol = tls->app_protocol;
    /* Of what is below, only a stream of ours can be asked in C. */
    *closing = transport->closed != Py_False || tls->transport == NULL ||
               !Py_IS_TYPE(tls->transport,
                           tls->module->stream_transport_type) ||
               yulapy_transport_is_closing(TRANSPORT(tls->transport));
    return &tls->feed;
}

static PyObject *
transport_get_closed(PyObject *self, void *unused)
{
    PyObject *closed = TLS_TRANSPORT(self)->closed;
    if (closed == NULL)
        PyErr_SetString(PyExc_AttributeError, "_closed");
    return Py_XNewRef(closed);
}

static int
transport_set_closed(PyObject *self, PyObject *closed, void *unused)
{
    Py_XSETREF(TLS_TRANSPORT(self)->closed, Py_XNewRef(closed));
    return 0;
}

static PyObject *
transport_get_protocol(PyObject *self, void *unused)
{
    PyObject *protocol = TLS_TRANSPORT(self)->ssl_protocol;
    if (protocol == NULL)
        PyErr_SetString(PyExc_AttributeError, "_ssl_protocol");
    return Py_XNewRef(protocol);
}

static int
transport_set_protocol(PyObject *self, PyObject *protocol, void *unused)
{
    yulapy_tls_transport *transport = TLS_TRANSPORT(self);
    transport->tls = yulapy_tls_of(transport->module, protocol);
    Py_XSETREF(transport->ssl_protocol, Py_XNewRef(protocol));
    return 0;
}

static PyObject *
transport_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    yulapy_state *module = yulapy_tls_state_of(type);
    PyObject *self = module != NULL ? type->tp_alloc(type, 0) : NULL;
    if (self != NULL)
        TLS_TRANSPORT(self)->module = module;
    return self;
}

#define TLS_SLOT(self, i) (*(PyObject **)((char *)(self) + tls_slots[i]))

static int
transport_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(TLS_TRANSPORT(self)->closed);
    Py_VISIT(TLS_TRANSPORT(self)->ssl_protocol);
    for (unsigned i = 0; i < tls_slot_count; i++)
        Py_VISIT(TLS_SLOT(self, i));
    return 0;
}

static int
transport_clear(PyObject *self)
{
    TLS_TRANSPORT(self)->tls = NULL;
    Py_CLEAR(TLS_TRANSPORT(self)->closed);
    Py_CLEAR(TLS_TRANSPORT(self)->ssl_protocol);
    for (unsigned i = 0; i < tls_slot_count; i++)
        Py_CLEAR(TLS_SLOT(self, i));
    return 0;
}

static void
transport_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)transport_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyGetSetDef transport_getset[] = {
    {"_closed", transport_get_closed, transport_set_closed, NULL, NULL},
    {"_ssl_protocol", transport_get_protocol, transport_set_protocol, NULL,
     NULL},
    {NULL},
};

static PyMethodDef transport_methods[] = {
    {"write", yulapy_tls_transport_write, METH_O,
     PyDoc_STR("write($self, data, /)\n--\n\nEncrypt and send bytes.")},
    {"writelines", yulapy_tls_transport_writelines, METH_O,
     PyDoc_STR(
         "writelines($self, list_of_data, /)\n--\n\nwrite() for each, in as "
         "few records as possible.")},
    {NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, "What C does for yula.tls.SSLTransport."},
    {Py_tp_new, transport_new},
    {Py_tp_dealloc, transport_dealloc},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_getset, transport_getset},
    {Py_tp_methods, transport_methods},
    {0, NULL},
};

/* Where asyncio's classes have their slots: Python's own dealloc would clear
 * them, but ours takes its place. 0 or -1. */
static int
transport_find_slots(PyTypeObject *base)
{
    Py_ssize_t offsets[TLS_SLOTS_MAX];
    unsigned count = 0;

    for (PyTypeObject *type = base; type != NULL; type = type->tp_base) {
        PyObject *name, *value, *names = type->tp_dict;
        Py_ssize_t position = 0;
        while (names != NULL && PyDict_Next(names, &position, &name, &value)) {
            if (!Py_IS_TYPE(value, &PyMemberDescr_Type) ||
                !(type->tp_flags & Py_TPFLAGS_HEAPTYPE))
                continue;
            PyMemberDef *member = ((PyMemberDescrObject *)value)->d_member;
            if (member->type != T_OBJECT_EX || count == TLS_SLOTS_MAX) {
                PyErr_SetString(PyExc_ImportError,
                                "asyncio's transports have unknown slots");
                return -1;
            }
            offsets[count++] = member->offset;
        }
    }
    memcpy(tls_slots, offsets, count * sizeof(offsets[0]));
    tls_slot_count = count;
    return 0;
}

int
yulapy_tls_write_add_type(PyObject *module, yulapy_state *state)
{
    PyObject *transports = PyImport_ImportModule("asyncio.transports");
    PyObject *base = transports != NULL ? PyObject_GetAttrString(
                                              transports, "_FlowControlMixin")
                                        : NULL;
    int err = -1;

    Py_XDECREF(transports);
    if (base == NULL || transport_find_slots((PyTypeObject *)base) < 0)
        goto done;
    yulapy_tls_transport_offset = (((PyTypeObject *)base)->tp_basicsize + 15) /
                                  16 * 16;
    PyType_Spec spec = {
        .name = "yula._core.TLSTransportBase",
        .basicsize = (int)(yulapy_tls_transport_offset +
                           (Py_ssize_t)sizeof(yulapy_tls_transport)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = transport_slots,
    };
    state->tls->transport_type = PyType_FromModuleAndSpec(module, &spec, base);
    if (state->tls->transport_type != NULL)
        err = PyModule_AddType(module,
                               (PyTypeObject *)state->tls->transport_type);
done:
    Py_XDECREF(base);
    return err;
}
