/* descriptor.c: readers, writers and waiting socket operations of a descriptor.
 *
 *  I1. A Descriptor object is the one owner of its number in the core, and the
 *      loop holds it, while it has a reader, a writer or a live socket.
 *  I2. With a reader or writer it is level-triggered, because what a user's
 *      callback leaves unread (curl, zmq, psycopg do) must be reported again.
 *      Otherwise it is edge-triggered.
 *  I3. ready[d] is false only while an edge is sure to come.
 */
#include "descriptor.h"

#include <netinet/in.h>

#define DESCRIPTOR_TROUBLE                                                     \
    (YULA_READ_CLOSED | YULA_HANGUP | YULA_ERROR | YULA_PRIORITY)

static void descriptor_on_event(yula_watcher *watcher, unsigned events,
                                void *arg);
static void descriptor_loop_closed(PyObject *self);

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

/* --- waiters --------------------------------------------------------------- */

static bool
waiters_empty(const yulapy_descriptor *descriptor, int direction)
{
    const yulapy_waiter *head = &descriptor->waiters[direction];
    return head->next == head;
}

void
yulapy_waiter_leave(yulapy_waiter *waiter)
{
    if (waiter->next == NULL)
        return;
    waiter->prev->next = waiter->next;
    waiter->next->prev = waiter->prev;
    waiter->next = NULL;
}

/* All of them: who finds nothing waits again. */
static void
waiters_wake(yulapy_descriptor *descriptor, int direction)
{
    while (!waiters_empty(descriptor, direction)) {
        yulapy_waiter *waiter = descriptor->waiters[direction].next;
        PyObject *future = Py_NewRef(waiter->future);
        yulapy_waiter_leave(waiter);
        if (yulapy_future_wake(descriptor->loop, future) < 0 &&
            !yulapy_leaves_loop(descriptor->loop))
            PyErr_WriteUnraisable(future);
        Py_DECREF(future);
    }
}

/* --- the object ------------------------------------------------------------ */

static yulapy_descriptor *
descriptor_find(yulapy_loop *loop, int fd)
{
    yula_watcher *watcher = yula_watcher_of(loop->core, fd);
    if (watcher == NULL || watcher->cb != descriptor_on_event)
        return NULL;
    return yula__container_of(watcher, yulapy_descriptor, watcher);
}

/* The entry of an object that was closed before its reader or writer was
 * removed. It has no number any more (the ValueError that is set says so), so
 * the selectors module looks for the object itself, and so do we. NULL: there
 * is none, and the exception stays. */
static yulapy_descriptor *
descriptor_find_closed(yulapy_loop *loop, const PyObject *fileobj)
{
    if (!PyErr_ExceptionMatches(PyExc_ValueError))
        return NULL;
    for (yulapy_held *held = loop->held.next; held != &loop->held;
         held = held->next) {
        if (held->loop_closed != descriptor_loop_closed)
            continue;
        yulapy_descriptor *descriptor = (yulapy_descriptor *)held->object;
        if (descriptor->fileobj == fileobj) {
            PyErr_Clear();
            return descriptor;
        }
    }
    return NULL;
}

/* TCP is asked about both directions once. Anything else reports a spurious
 * edge for every send, so writability is asked for only while someone waits. */
static unsigned
descriptor_interest(const yulapy_descriptor *descriptor)
{
    PyObject *const *handles = descriptor->handles;
    bool reading = !waiters_empty(descriptor, YULAPY_READ);
    bool writing = !waiters_empty(descriptor, YULAPY_WRITE);

    if (handles[YULAPY_READ] != NULL || handles[YULAPY_WRITE] != NULL)
        return (handles[YULAPY_READ] || reading ? YULA_READABLE : 0u) |
               (handles[YULAPY_WRITE] || writing ? YULA_WRITABLE : 0u);
    if (descriptor->sock_ref == NULL)
        return 0;
    unsigned interest = YULA_READABLE | YULA_EDGE;
    if (descriptor->tcp)
        interest |= YULA_WRITABLE | YULA_PRIORITY;
    else if (writing)
        interest |= YULA_WRITABLE;
    return interest;
}

static void
descriptor_drop_handle(yulapy_descriptor *descriptor, int direction)
{
    PyObject *handle = descriptor->handles[direction];
    if (handle == NULL)
        return;
    descriptor->handles[direction] = NULL;
    if (descriptor->handles[!direction] == NULL)
        Py_CLEAR(descriptor->fileobj);
    PyObject *result = PyObject_CallMethod(handle, "cancel", NULL);
    if (result == NULL)
        PyErr_WriteUnraisable(handle);
    Py_XDECREF(result);
    Py_DECREF(handle);
}

/* Let go of everything: of the number first, so that nothing finds us. */
static void
descriptor_close(yulapy_descriptor *descriptor)
{
    Py_INCREF(descriptor);
    yula_watcher_stop(&descriptor->watcher);
    Py_CLEAR(descriptor->sock_ref);
    descriptor_drop_handle(descriptor, YULAPY_READ);
    descriptor_drop_handle(descriptor, YULAPY_WRITE);
    waiters_wake(descriptor, YULAPY_READ);
    waiters_wake(descriptor, YULAPY_WRITE);
    yulapy_loop_let_go(&descriptor->held);
    Py_DECREF(descriptor);
}

/* The loop closes: callbacks are forgotten, waiters stay unresolved. */
static void
descriptor_loop_closed(PyObject *self)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    yula_watcher_stop(&descriptor->watcher);
    Py_CLEAR(descriptor->sock_ref);
    Py_CLEAR(descriptor->fileobj);
    Py_CLEAR(descriptor->handles[YULAPY_READ]);
    Py_CLEAR(descriptor->handles[YULAPY_WRITE]);
    for (int direction = 0; direction < 2; direction++)
        while (!waiters_empty(descriptor, direction))
            yulapy_waiter_leave(descriptor->waiters[direction].next);
}

static yulapy_descriptor *
descriptor_new(yulapy_loop *loop)
{
    PyTypeObject *type = loop->state->descriptor_type;
    yulapy_descriptor *self = (yulapy_descriptor *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->loop = (yulapy_loop *)Py_NewRef(loop);
    for (int direction = 0; direction < 2; direction++) {
        yulapy_waiter *head = &self->waiters[direction];
        head->next = head->prev = head;
        self->ready[direction] = true;
    }
    yula_watcher_init(loop->core, &self->watcher, YULA_LANE_HOST);
    return self;
}

/* Tell the core what we want now. */
static int
descriptor_watch(yulapy_descriptor *descriptor, int fd)
{
    unsigned interest = descriptor_interest(descriptor);
    int err = 0;

    if (descriptor->watcher.fd >= 0) {
        err = yula_watcher_modify(&descriptor->watcher, interest);
    }
    else {
        yulapy_descriptor_forget(descriptor->loop, fd);
        err = yula_watcher_start(&descriptor->watcher, fd, interest,
                                 descriptor_on_event, descriptor);
        if (err == 0)
            yulapy_loop_hold(descriptor->loop, &descriptor->held,
                             (PyObject *)descriptor, descriptor_loop_closed);
    }
    if (err == 0)
        return 0;
    yulapy_raise_code(err);
    return -1;
}

/* After a handle has gone: watch less, or let go. */
static void
descriptor_settle(yulapy_descriptor *descriptor)
{
    unsigned interest = descriptor_interest(descriptor);
    if (interest == 0) {
        descriptor_close(descriptor);
    }
    else if (interest != descriptor->watcher.interest) {
        /* Fails only if the number was closed: nothing will be reported. */
        (void)yula_watcher_modify(&descriptor->watcher, interest);
    }
}

/* Run a reader or writer; a handle that its user cancelled is removed. */
static void
descriptor_run(yulapy_descriptor *descriptor, int direction)
{
    PyObject *handle = descriptor->handles[direction];
    if (handle == NULL)
        return;
    if (yulapy_handle_is_cancelled(descriptor->loop->state, handle)) {
        descriptor_drop_handle(descriptor, direction);
        descriptor_settle(descriptor);
        return;
    }
    Py_INCREF(handle);
    yulapy_handle_run(descriptor->loop, handle);
    Py_DECREF(handle);
}

static void
descriptor_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yulapy_descriptor *descriptor = arg;
    /* HANGUP and ERROR go to both, as the selectors module reports them. */
    bool readable = events & ~(unsigned)YULA_WRITABLE;
    bool writable = events & (YULA_WRITABLE | YULA_HANGUP | YULA_ERROR);

    Py_INCREF(descriptor);
    descriptor->trouble |= events & DESCRIPTOR_TROUBLE;
    if (readable) {
        descriptor->ready[YULAPY_READ] = true;
        waiters_wake(descriptor, YULAPY_READ);
        descriptor_run(descriptor, YULAPY_READ);
    }
    if (writable) {
        descriptor->ready[YULAPY_WRITE] = true;
        waiters_wake(descriptor, YULAPY_WRITE);
        descriptor_run(descriptor, YULAPY_WRITE);
    }
    /* Nobody waits for writability any more: ask for less (see interest). */
    if (watcher->fd >= 0 && descriptor->sock_ref != NULL)
        descriptor_settle(descriptor);
    Py_DECREF(descriptor);
}

/* --- add_reader, add_writer ------------------------------------------------ */

PyObject *
yulapy_descriptor_add_handle(yulapy_loop *loop, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *context, bool writer)
{
    int direction = writer ? YULAPY_WRITE : YULAPY_READ;

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
    PyObject *before = descriptor->handles[direction];
    descriptor->handles[direction] = Py_NewRef(handle);
    if (descriptor_watch(descriptor, fd) < 0) {
        descriptor->handles[direction] = before;
        Py_DECREF(handle);
        goto fail;
    }
    if (descriptor->fileobj == NULL && !PyLong_Check(args[0]))
        descriptor->fileobj = Py_NewRef(args[0]);
    Py_DECREF(descriptor);
    if (before != NULL) {
        PyObject *result = PyObject_CallMethod(before, "cancel", NULL);
        if (result == NULL)
            PyErr_WriteUnraisable(before);
        Py_XDECREF(result);
        Py_DECREF(before);
    }
    return handle;
fail:
    Py_XDECREF(descriptor);
    Py_DECREF(handle);
    return NULL;
}

PyObject *
yulapy_descriptor_remove_handle(yulapy_loop *loop, PyObject *fileobj,
                                bool writer)
{
    int direction = writer ? YULAPY_WRITE : YULAPY_READ;

    if (loop->core == NULL || loop->closed)
        Py_RETURN_FALSE;
    int fd = yulapy_descriptor_fd(fileobj);
    yulapy_descriptor *descriptor = fd >= 0
                                        ? descriptor_find(loop, fd)
                                        : descriptor_find_closed(loop, fileobj);
    if (fd < 0 && descriptor == NULL)
        return NULL;
    if (descriptor == NULL || descriptor->handles[direction] == NULL)
        Py_RETURN_FALSE;
    Py_INCREF(descriptor);
    descriptor_drop_handle(descriptor, direction);
    if (descriptor->watcher.fd >= 0)
        descriptor_settle(descriptor);
    Py_DECREF(descriptor);
    Py_RETURN_TRUE;
}

PyObject *
yulapy_descriptor_events(yulapy_loop *loop, PyObject *fileobj)
{
    int events = 0;
    int fd = yulapy_descriptor_fd(fileobj);
    if (fd < 0)
        return NULL;
    yulapy_descriptor *descriptor = loop->core != NULL
                                        ? descriptor_find(loop, fd)
                                        : NULL;
    if (descriptor != NULL) /* EVENT_READ and EVENT_WRITE of selectors */
        events = (descriptor->handles[YULAPY_READ] != NULL ? 1 : 0) |
                 (descriptor->handles[YULAPY_WRITE] != NULL ? 2 : 0);
    return Py_BuildValue("ii", fd, events);
}

/* --- sock_* ----------------------------------------------------------------- */

yulapy_descriptor *
yulapy_descriptor_of_socket(yulapy_loop *loop, int fd, PyObject *sock)
{
    yulapy_descriptor *descriptor = descriptor_find(loop, fd);
    if (descriptor == NULL || descriptor->sock_ref == NULL)
        return NULL;
    /* A socket that is gone has told us (socket_gone), before another could be
     * at its address. */
    if (descriptor->sock == sock)
        return descriptor;
    descriptor_close(descriptor);
    return NULL;
}

/* The socket object is gone, and its descriptor with it. */
static PyObject *
descriptor_socket_gone(PyObject *self, PyObject *ref)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    if (descriptor->sock_ref == ref) {
        Py_CLEAR(descriptor->sock_ref);
        if (descriptor->watcher.fd >= 0)
            descriptor_settle(descriptor);
    }
    Py_RETURN_NONE;
}

static PyMethodDef descriptor_socket_gone_method = {
    "socket_gone", descriptor_socket_gone, METH_O, NULL};

static int
descriptor_adopt_socket(yulapy_descriptor *descriptor, int fd, PyObject *sock)
{
    int protocol = yula__sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL);
    int type = yula__sys_getsockopt(fd, SOL_SOCKET, SO_TYPE);
    PyObject *gone = PyCFunction_New(&descriptor_socket_gone_method,
                                     (PyObject *)descriptor);
    if (gone == NULL)
        return -1;
    descriptor->sock_ref = PyWeakref_NewRef(sock, gone);
    descriptor->sock = sock;
    Py_DECREF(gone);
    descriptor->tcp = protocol == IPPROTO_TCP && type == SOCK_STREAM;
    descriptor->trouble = 0;
    return descriptor->sock_ref != NULL ? 0 : -1;
}

int
yulapy_descriptor_wait(yulapy_loop *loop, int fd, PyObject *sock, int direction,
                       yulapy_waiter *waiter)
{
    yulapy_descriptor *descriptor = yulapy_descriptor_of_socket(loop, fd, sock);
    bool fresh = false;

    if (descriptor == NULL) {
        descriptor = descriptor_find(loop, fd); /* has readers or writers */
        if (descriptor != NULL)
            Py_INCREF(descriptor);
        else
            descriptor = descriptor_new(loop);
        if (descriptor == NULL ||
            descriptor_adopt_socket(descriptor, fd, sock) < 0) {
            Py_XDECREF(descriptor);
            return -1;
        }
        fresh = true;
    }
    else {
        Py_INCREF(descriptor);
    }
    yulapy_waiter *head = &descriptor->waiters[direction];
    waiter->prev = head->prev;
    waiter->next = head;
    waiter->prev->next = waiter;
    head->prev = waiter;
    int err = 0;
    if (fresh ||
        descriptor_interest(descriptor) != descriptor->watcher.interest)
        err = descriptor_watch(descriptor, fd);
    if (err < 0)
        yulapy_waiter_leave(waiter);
    Py_DECREF(descriptor);
    return err;
}

void
yulapy_descriptor_note(yulapy_descriptor *descriptor, int direction,
                       size_t asked, ssize_t got)
{
    if (descriptor == NULL || !(descriptor->watcher.interest & YULA_EDGE))
        return;
    if (got < 0) {
        descriptor->ready[direction] = false;
        descriptor->trouble &= ~(unsigned)YULA_PRIORITY;
    }
    else if (direction == YULAPY_READ && got > 0 && (size_t)got < asked &&
             descriptor->tcp && descriptor->trouble == 0) {
        descriptor->ready[direction] = false; /* see io/stream.c, I1 */
    }
}

void
yulapy_descriptor_forget(yulapy_loop *loop, int fd)
{
    yulapy_descriptor *descriptor = descriptor_find(loop, fd);
    if (descriptor != NULL)
        descriptor_close(descriptor);
}

/* --- type ------------------------------------------------------------------- */

static int
descriptor_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(descriptor->loop);
    Py_VISIT(descriptor->handles[YULAPY_READ]);
    Py_VISIT(descriptor->handles[YULAPY_WRITE]);
    Py_VISIT(descriptor->sock_ref);
    Py_VISIT(descriptor->fileobj);
    return 0;
}

static int
descriptor_clear(PyObject *self)
{
    yulapy_descriptor *descriptor = (yulapy_descriptor *)self;
    Py_CLEAR(descriptor->handles[YULAPY_READ]);
    Py_CLEAR(descriptor->handles[YULAPY_WRITE]);
    Py_CLEAR(descriptor->sock_ref);
    Py_CLEAR(descriptor->fileobj);
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
