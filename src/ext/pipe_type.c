/* pipe_type.c: the Python types of pipe transports, and writing. */
#include "pipe_transport.h"

Py_ssize_t yulapy_pipe_offset;

/* --- both ------------------------------------------------------------------- */

static PyObject *
pipe_is_closing(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(PIPE(self)->closing);
}

static PyObject *
pipe_set_protocol(PyObject *self, PyObject *protocol)
{
    Py_XSETREF(PIPE(self)->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

static PyObject *
pipe_get_protocol(PyObject *self, PyObject *unused)
{
    PyObject *protocol = PIPE(self)->protocol;
    return Py_NewRef(protocol != NULL ? protocol : Py_None);
}

/* --- reading ---------------------------------------------------------------- */

static PyObject *
pipe_pause_reading(PyObject *self, PyObject *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    if (pipe->closing || pipe->paused)
        Py_RETURN_NONE;
    pipe->paused = true;
    if (pipe->reader != NULL)
        yula_pipe_reader_stop(pipe->reader);
    Py_RETURN_NONE;
}

static PyObject *
pipe_resume_reading(PyObject *self, PyObject *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    if (pipe->closing || !pipe->paused)
        Py_RETURN_NONE;
    pipe->paused = false;
    if (pipe->reader == NULL || !pipe->begun)
        Py_RETURN_NONE;
    int err = yula_pipe_reader_start(pipe->reader);
    if (err == 0)
        Py_RETURN_NONE;
    yulapy_raise_code(err);
    return NULL;
}

static PyObject *
pipe_is_reading(PyObject *self, PyObject *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    return PyBool_FromLong(!pipe->paused && !pipe->closing);
}

static PyObject *
pipe_close_reader(PyObject *self, PyObject *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    if (!pipe->closing && yulapy_pipe_force_close(pipe, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* --- writing ---------------------------------------------------------------- */

/* Bytes are kept as they are; anything else is copied as far as the kernel does
 * not take it now, because its owner may change it. Returns the core's answer, or
 * -1 with an exception set. */
static int
pipe_write_object(yulapy_pipe *pipe, PyObject *data)
{
    Py_buffer view;
    int err;

    if (PyBytes_CheckExact(data)) {
        err = yula_pipe_write(pipe->writer, PyBytes_AS_STRING(data),
                              (size_t)PyBytes_GET_SIZE(data), Py_NewRef(data));
        if (err < 0)
            Py_DECREF(data);
        return err;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return -1;
    err = yula_pipe_write(pipe->writer, view.buf, (size_t)view.len, NULL);
    PyBuffer_Release(&view);
    return err;
}

static PyObject *
pipe_write(PyObject *self, PyObject *data)
{
    yulapy_pipe *pipe = PIPE(self);

    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_AssertionError, "%R", data);
        return NULL;
    }
    Py_ssize_t size = PyObject_Size(data);
    if (size <= 0)
        return size == 0 ? Py_NewRef(Py_None) : NULL;
    if (pipe->lost > 0 || pipe->closing)
        return yulapy_transport_drop_write(
                   pipe->loop, &pipe->lost,
                   pipe->loop->state->str_warn_lost_pipe_write) == 0
                   ? Py_NewRef(Py_None)
                   : NULL;
    if (pipe->writer == NULL) {
        (void)yulapy_loop_check_open(pipe->loop);
        return NULL;
    }
    Py_INCREF(self);
    int err = pipe_write_object(pipe, data);
    if (err < 0 && !PyErr_Occurred()) {
        pipe->lost++;
        yulapy_raise_code(err);
        yulapy_pipe_fatal(pipe, "Fatal write error on pipe transport");
    }
    Py_DECREF(self);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *
pipe_can_write_eof(PyObject *self, PyObject *unused)
{
    Py_RETURN_TRUE;
}

/* Closing is all there is to say to the reader. */
static PyObject *
pipe_write_eof(PyObject *self, PyObject *unused)
{
    if (yulapy_pipe_write_eof(PIPE(self)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
pipe_close_writer(PyObject *self, PyObject *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    if (pipe->file != NULL && yulapy_pipe_write_eof(pipe) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
pipe_abort(PyObject *self, PyObject *unused)
{
    if (!PIPE(self)->ended && yulapy_pipe_force_close(PIPE(self), NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static size_t
pipe_queued(yulapy_pipe *pipe)
{
    return pipe->writer != NULL ? yula_pipe_queued(pipe->writer) : 0;
}

static PyObject *
pipe_get_write_buffer_size(PyObject *self, PyObject *unused)
{
    return PyLong_FromSize_t(pipe_queued(PIPE(self)));
}

static PyObject *
pipe_get_write_buffer_limits(PyObject *self, PyObject *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    size_t low = YULA_STREAM_LOW, high = YULA_STREAM_HIGH;
    if (pipe->writer != NULL)
        yula_pipe_get_marks(pipe->writer, &low, &high);
    return Py_BuildValue("(nn)", (Py_ssize_t)low, (Py_ssize_t)high);
}

static PyObject *
pipe_set_write_buffer_limits(PyObject *self, PyObject *args, PyObject *kwargs)
{
    size_t low, high;
    if (yulapy_parse_limits(args, kwargs, &low, &high) < 0)
        return NULL;
    if (PIPE(self)->writer != NULL)
        yula_pipe_set_marks(PIPE(self)->writer, low, high);
    Py_RETURN_NONE;
}

/* --- what it looks like ----------------------------------------------------- */

static PyObject *
pipe_repr(PyObject *self)
{
    yulapy_pipe *pipe = PIPE(self);
    const char *name = strrchr(Py_TYPE(self)->tp_name, '.') + 1;
    bool reading = Py_IS_TYPE(self, pipe->loop->state->read_pipe_type);
    const char *state = pipe->file == NULL ? " closed"
                        : pipe->closing    ? " closing"
                                           : "";

    if (pipe->file == NULL)
        return PyUnicode_FromFormat("<%s%s fd=%d closed>", name, state,
                                    pipe->fd);
    if (pipe->loop->core == NULL)
        return PyUnicode_FromFormat("<%s%s fd=%d open>", name, state, pipe->fd);
    bool polling = reading ? pipe->begun && !pipe->paused && !pipe->closing
                           : pipe_queued(pipe) > 0;
    if (reading)
        return PyUnicode_FromFormat("<%s%s fd=%d %s>", name, state, pipe->fd,
                                    polling ? "polling" : "idle");
    return PyUnicode_FromFormat("<%s%s fd=%d %s bufsize=%zu>", name, state,
                                pipe->fd, polling ? "polling" : "idle",
                                pipe_queued(pipe));
}

static PyObject *
pipe_get_loop(PyObject *self, void *unused)
{
    yulapy_pipe *pipe = PIPE(self);
    return Py_NewRef(pipe->ended ? Py_None : (PyObject *)pipe->loop);
}

static PyObject *
pipe_get_protocol_attribute(PyObject *self, void *unused)
{
    return pipe_get_protocol(self, NULL);
}

static PyObject *
pipe_get_file(PyObject *self, void *unused)
{
    PyObject *file = PIPE(self)->file;
    return Py_NewRef(file != NULL ? file : Py_None);
}

static int
pipe_set_file(PyObject *self, PyObject *value, void *unused)
{
    Py_XSETREF(PIPE(self)->file,
               value != NULL && value != Py_None ? Py_NewRef(value) : NULL);
    return 0;
}

static PyObject *
pipe_get_fileno(PyObject *self, void *unused)
{
    return PyLong_FromLong(PIPE(self)->fd);
}

static PyObject *
pipe_get_lost(PyObject *self, void *unused)
{
    return PyLong_FromUnsignedLong(PIPE(self)->lost);
}

static PyObject *
pipe_get_flag(PyObject *self, void *offset)
{
    return PyBool_FromLong(*((bool *)PIPE(self) + (Py_ssize_t)offset));
}

static PyObject *
pipe_get_protocol_paused(PyObject *self, void *unused)
{
    yula_pipe_writer *writer = PIPE(self)->writer;
    return PyBool_FromLong(writer != NULL && yula_pipe_pressed(writer));
}

/* --- types ------------------------------------------------------------------ */

static int
pipe_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_pipe *pipe = PIPE(self);

    Py_VISIT(Py_TYPE(self));
    if (pipe->loop == NULL)
        return 0;
    Py_VISIT(*pipe_extra(pipe));
    Py_VISIT(pipe->file);
    Py_VISIT(pipe->protocol);
    Py_VISIT(pipe->context);
    Py_VISIT(pipe->waiter);
    Py_VISIT(pipe->lost_error);
    Py_VISIT(pipe->dict);
    Py_VISIT(pipe->loop);
    return 0;
}

static int
pipe_clear(PyObject *self)
{
    yulapy_pipe *pipe = PIPE(self);

    if (pipe->loop == NULL)
        return 0;
    Py_CLEAR(*pipe_extra(pipe));
    Py_CLEAR(pipe->file);
    Py_CLEAR(pipe->protocol);
    Py_CLEAR(pipe->waiter);
    Py_CLEAR(pipe->lost_error);
    Py_CLEAR(pipe->dict);
    return 0;
}

static void
pipe_finalize(PyObject *self)
{
    yulapy_pipe *pipe = PIPE(self);
    if (pipe->file == NULL || pipe->loop == NULL)
        return;
    yulapy_transport_warn_unclosed(pipe->loop, self);
    yulapy_pipe_let_go(pipe);
    yulapy_transport_close_unclosed(pipe->loop, self, pipe->file);
}

static void
pipe_dealloc(PyObject *self)
{
    yulapy_pipe *pipe = PIPE(self);
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (pipe->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    if (pipe->loop != NULL) {
        yula_work_cancel(&pipe->begin);
        yula_work_cancel(&pipe->end);
        yulapy_pipe_let_go(pipe);
    }
    (void)pipe_clear(self);
    Py_CLEAR(pipe->context);
    Py_CLEAR(pipe->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

#define METHOD(name, function) {name, function, METH_NOARGS, NULL}
#define FLAG(name, field)                                                      \
    {name, pipe_get_flag, NULL, NULL, (void *)offsetof(yulapy_pipe, field)}

static PyMethodDef pipe_reader_methods[] = {
    METHOD("pause_reading", pipe_pause_reading),
    METHOD("resume_reading", pipe_resume_reading),
    METHOD("is_reading", pipe_is_reading),
    METHOD("close", pipe_close_reader),
    METHOD("is_closing", pipe_is_closing),
    METHOD("get_protocol", pipe_get_protocol),
    {"set_protocol", pipe_set_protocol, METH_O, NULL},
    {NULL},
};

static PyMethodDef pipe_writer_methods[] = {
    {"write", pipe_write, METH_O,
     PyDoc_STR("write($self, data, /)\n--\n\nWrite bytes now; what the kernel "
               "does not take is queued.")},
    METHOD("write_eof", pipe_write_eof),
    METHOD("can_write_eof", pipe_can_write_eof),
    METHOD("close", pipe_close_writer),
    METHOD("abort", pipe_abort),
    METHOD("is_closing", pipe_is_closing),
    METHOD("get_protocol", pipe_get_protocol),
    {"set_protocol", pipe_set_protocol, METH_O, NULL},
    METHOD("get_write_buffer_size", pipe_get_write_buffer_size),
    METHOD("get_write_buffer_limits", pipe_get_write_buffer_limits),
    {"set_write_buffer_limits",
     (PyCFunction)(void (*)(void))pipe_set_write_buffer_limits,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL},
};

/* Private names of asyncio's transports that libraries and tests read. */
static PyGetSetDef pipe_getset[] = {
    {"_loop", pipe_get_loop, NULL, NULL, NULL},
    {"_protocol", pipe_get_protocol_attribute, NULL, NULL, NULL},
    {"_pipe", pipe_get_file, pipe_set_file, NULL, NULL},
    {"_fileno", pipe_get_fileno, NULL, NULL, NULL},
    {"_conn_lost", pipe_get_lost, NULL, NULL, NULL},
    {"_protocol_paused", pipe_get_protocol_paused, NULL, NULL, NULL},
    FLAG("_closing", closing),
    FLAG("_paused", paused),
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyTypeObject *
pipe_add_type(PyObject *module, const char *name, const char *doc,
              PyObject *base, PyMethodDef *methods)
{
    const PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},
        {Py_tp_dealloc, pipe_dealloc},
        {Py_tp_finalize, pipe_finalize},
        {Py_tp_traverse, pipe_traverse},
        {Py_tp_clear, pipe_clear},
        {Py_tp_repr, pipe_repr},
        {Py_tp_methods, methods},
        {Py_tp_getset, pipe_getset},
        {0, NULL},
    };
    return YULAPY_TRANSPORT_MAKE_TYPE(module, name, base, slots,
                                      yulapy_pipe_offset, yulapy_pipe);
}

/* asyncio's write pipe is a _FlowControlMixin, and so a Transport. */
int
yulapy_pipe_add_types(PyObject *module, yulapy_state *state)
{
    PyObject *transports = PyImport_ImportModule("asyncio.transports");
    PyObject *reads = NULL, *writes = NULL;

    if (transports != NULL) {
        reads = PyObject_GetAttrString(transports, "ReadTransport");
        writes = PyObject_GetAttrString(transports, "_FlowControlMixin");
    }
    if (reads != NULL && writes != NULL) {
        yulapy_pipe_offset = yulapy_transport_part(reads);
        if (yulapy_pipe_offset < yulapy_transport_part(writes))
            yulapy_pipe_offset = yulapy_transport_part(writes);
        state->read_pipe_type = pipe_add_type(
            module, "yula._core.ReadPipeTransport",
            "The reading end of a pipe, a terminal or a socket.", reads,
            pipe_reader_methods);
        state->write_pipe_type = pipe_add_type(
            module, "yula._core.WritePipeTransport",
            "The writing end of a pipe, a terminal or a socket.", writes,
            pipe_writer_methods);
    }
    Py_XDECREF(transports);
    Py_XDECREF(reads);
    Py_XDECREF(writes);
    return state->read_pipe_type != NULL && state->write_pipe_type != NULL ? 0
                                                                           : -1;
}
