/* descriptor.c: add_reader and add_writer: callbacks on one descriptor.
 *
 * Level-triggered, because what a user's callback leaves unread (curl, zmq,
 * psycopg do) must be reported again.
 *
 *  I1. A Descriptor object exists while it has a reader or a writer; the loop
 *      holds it. It is the one owner of its number in the core.
 */
#include "yulapy.h"

typedef struct yulapy_descriptor {
    PyObject_HEAD
    yulapy_loop *loop;
    yulapy_held held;
    yula_watcher watcher;
    PyObject *reader; /* Handle or NULL */
    PyObject *writer;
} yulapy_descriptor;

static void descriptor_on_event(yula_watcher *watcher, unsigned events,
                                void *arg);

int
yulapy_descriptor_fd(PyObject *fileobj)
{
    long fd = -1;
    if (PyLong_Check(fileobj)) {
        fd = PyLong_AsLong(fileobj);
    }
    else {
        PyObject *number = PyObject_CallMethod(fileobj, "fileno", NULL);
        if (number != NULL) {
            fd = PyLong_AsLong(number);
            Py_DECREF(number);
        }
        if (PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError) &&
                !PyErr_ExceptionMatches(PyExc_TypeError) &&
                !PyErr_ExceptionMatches(PyExc_ValueError))
                return -1;
            PyErr_Clear(); /* replaced, as asyncio does */
            PyErr_Format(PyExc_ValueError, "Invalid file object: %R", fileobj);
            return -1;
        }
    }
    if (fd == -1 && PyErr_Occurred())
        return -1;
    if (fd < 0 || fd > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        return -1;
    }
    return (int)fd;
}

static yulapy_descriptor *
descriptor_find(yulapy_loop *loop, int fd)
{
    yula_watcher *watcher = yula_watcher_of(loop->core, fd);
    if (watcher == NULL || watcher->cb != descriptor_on_event)
        return NULL;
    return yula__container_of(watcher, yulapy_descriptor, watcher);
}

static unsigned
descriptor_interest(const yulapy_descriptor *descriptor)
{
    return (descriptor->reader != NULL ? YULA_READABLE : 0u) |
           (descriptor->writer != NULL ? YULA_WRITABLE : 0u);
}

/* The loop closes: forget the callbacks. */
static void
descriptor_loop_closed(PyObject *self)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    yula_watcher_stop(&descriptor->watcher);
    Py_CLEAR(descriptor->reader);
    Py_CLEAR(descriptor->writer);
}

static yulapy_descriptor *
descriptor_new(yulapy_loop *loop)
{
    PyTypeObject *type = loop->state->descriptor_type;
    yulapy_descriptor *self = (yulapy_descriptor *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->loop = (yulapy_loop *)Py_NewRef(loop);
    yula_watcher_init(loop->core, &self->watcher, YULA_LANE_HOST);
    return self;
}

/* Run a reader or writer; a handle that its user cancelled is removed. */
static void
descriptor_run(yulapy_descriptor *descriptor, bool writer)
{
    yulapy_loop *loop = descriptor->loop;
    PyObject *handle = writer ? descriptor->writer : descriptor->reader;
    if (handle == NULL)
        return;
    if (yulapy_handle_is_cancelled(loop->state, handle)) {
        PyObject *fd = PyLong_FromLong(descriptor->watcher.fd);
        PyObject *result = fd != NULL
                               ? yulapy_loop_remove_reader(loop, fd, writer)
                               : NULL;
        if (result == NULL)
            PyErr_WriteUnraisable(handle);
        Py_XDECREF(fd);
        Py_XDECREF(result);
        return;
    }
    Py_INCREF(handle);
    yulapy_handle_run(loop, handle);
    Py_DECREF(handle);
}

static void
descriptor_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yulapy_descriptor *descriptor = arg;

    Py_INCREF(descriptor);
    /* HANGUP and ERROR go to both, as the selectors module reports them. */
    if (events & ~(unsigned)YULA_WRITABLE)
        descriptor_run(descriptor, false);
    if (events & ~(unsigned)(YULA_READABLE | YULA_READ_CLOSED))
        descriptor_run(descriptor, true);
    Py_DECREF(descriptor);
}

static int
descriptor_watch(yulapy_loop *loop, yulapy_descriptor *descriptor, int fd)
{
    int err;
    if (descriptor->watcher.fd >= 0) {
        err = yula_watcher_modify(&descriptor->watcher,
                                  descriptor_interest(descriptor));
    }
    else {
        err = yula_watcher_start(&descriptor->watcher, fd,
                                 descriptor_interest(descriptor),
                                 descriptor_on_event, descriptor);
        if (err == 0)
            yulapy_loop_hold(loop, &descriptor->held, (PyObject *)descriptor,
                             descriptor_loop_closed);
    }
    if (err == 0)
        return 0;
    yulapy_raise_code(err);
    return -1;
}

static void
handle_cancel_quietly(PyObject *handle)
{
    PyObject *result = PyObject_CallMethod(handle, "cancel", NULL);
    if (result == NULL)
        PyErr_WriteUnraisable(handle);
    Py_XDECREF(result);
    Py_DECREF(handle);
}

PyObject *
yulapy_loop_add_reader(yulapy_loop *loop, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *context, bool writer)
{
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    int fd = yulapy_descriptor_fd(args[0]);
    if (fd < 0)
        return NULL;
    PyObject *handle = yulapy_handle_new(loop, loop->state->handle_type,
                                         args[1], args + 2, nargs - 2, context);
    if (handle == NULL)
        return NULL;
    yulapy_descriptor *descriptor = descriptor_find(loop, fd);
    if (descriptor != NULL)
        Py_INCREF(descriptor);
    else
        descriptor = descriptor_new(loop);
    if (descriptor == NULL)
        goto fail;
    PyObject **place = writer ? &descriptor->writer : &descriptor->reader;
    PyObject *before = *place;
    *place = Py_NewRef(handle);
    if (descriptor_watch(loop, descriptor, fd) < 0) {
        *place = before;
        Py_DECREF(handle);
        goto fail;
    }
    Py_DECREF(descriptor);
    if (before != NULL)
        handle_cancel_quietly(before);
    return handle;
fail:
    Py_XDECREF(descriptor);
    Py_DECREF(handle);
    return NULL;
}

PyObject *
yulapy_loop_remove_reader(yulapy_loop *loop, PyObject *fileobj, bool writer)
{
    if (loop->core == NULL || loop->closed)
        Py_RETURN_FALSE;
    int fd = yulapy_descriptor_fd(fileobj);
    if (fd < 0)
        return NULL;
    yulapy_descriptor *descriptor = descriptor_find(loop, fd);
    if (descriptor == NULL)
        Py_RETURN_FALSE;
    PyObject **place = writer ? &descriptor->writer : &descriptor->reader;
    PyObject *handle = *place;
    if (handle == NULL)
        Py_RETURN_FALSE;
    *place = NULL;
    if (descriptor_interest(descriptor) == 0) {
        yula_watcher_stop(&descriptor->watcher);
        yulapy_loop_let_go(&descriptor->held);
    }
    else {
        /* Fails only if the number was closed: nothing will be reported. */
        (void)yula_watcher_modify(&descriptor->watcher,
                                  descriptor_interest(descriptor));
    }
    handle_cancel_quietly(handle);
    Py_RETURN_TRUE;
}

PyObject *
yulapy_transport_of_fd(yulapy_loop *loop, int fd)
{
    yula_stream *stream = yula_stream_of(loop->core, fd);
    return stream != NULL ? yula_stream_arg(stream) : NULL;
}

/* --- type ---------------------------------------------------------------- */

static int
descriptor_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(descriptor->loop);
    Py_VISIT(descriptor->reader);
    Py_VISIT(descriptor->writer);
    return 0;
}

static int
descriptor_clear(PyObject *self)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    Py_CLEAR(descriptor->reader);
    Py_CLEAR(descriptor->writer);
    return 0;
}

static void
descriptor_dealloc(PyObject *self)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (descriptor->loop->core != NULL)
        yula_watcher_stop(&descriptor->watcher);
    (void)descriptor_clear(self);
    Py_CLEAR(descriptor->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot descriptor_slots[] = {
    {Py_tp_dealloc, descriptor_dealloc},
    {Py_tp_traverse, descriptor_traverse},
    {Py_tp_clear, descriptor_clear},
    {0, NULL},
};

static PyType_Spec descriptor_spec = {
    .name = "yula._core.Descriptor",
    .basicsize = sizeof(yulapy_descriptor),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = descriptor_slots,
};

int
yulapy_descriptor_add_type(PyObject *module, yulapy_state *state)
{
    state->descriptor_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &descriptor_spec, NULL);
    return state->descriptor_type != NULL ? 0 : -1;
}
