/* socket_op.c: a socket operation as an awaitable: what loop.sock_*() return.
 *
 * An operation is tried when it is first awaited, and its result returned
 * without suspending if it is there. Otherwise it waits on a future until the
 * descriptor is reported ready, and is tried again in the task's own step:
 * nothing is received for a task that was cancelled.
 *
 *  I1. WAITING: the waiter is linked at the descriptor, or its future is done.
 *  I2. DONE: nothing is held but the loop.
 */
#include "socket_op.h"

#include "awaitable.h"

/* Free ops kept, each 192 bytes; linked through the socket. */
#define FREE_OPS 64
#define FREE_LINK offsetof(yulapy_socket_op, sock)

enum {
    OP_CREATED,
    OP_WAITING,
    OP_DONE
};

/* --- trying and waiting ------------------------------------------------------- */

static bool
op_may_succeed(const yulapy_socket_op *op, const yulapy_descriptor *descriptor)
{
    return descriptor == NULL || descriptor->ready[op->kind->direction];
}

/* Whether socket.socket.fileno is _socket's own, whose function is then known. */
static bool
socket_class_is_plain(yulapy_state *state)
{
    PyTypeObject *type = (PyTypeObject *)state->socket_type;
    if (__builtin_expect(type->tp_version_tag == state->socket_version &&
                             state->socket_version != 0,
                         1))
        return state->socket_fileno != NULL;
    PyObject *fileno = PyObject_GetAttr((PyObject *)type, state->str_fileno);
    state->socket_fileno = NULL;
    if (fileno == NULL) {
        PyErr_Clear(); /* deleted: the call says so */
        return false;
    }
    if (Py_IS_TYPE(fileno, &PyMethodDescr_Type)) {
        PyMethodDef *method = ((PyMethodDescrObject *)fileno)->d_method;
        if (method->ml_flags == METH_NOARGS)
            state->socket_fileno = method->ml_meth;
    }
    Py_DECREF(fileno);
    state->socket_version = type->tp_version_tag;
    return state->socket_fileno != NULL;
}

static void
op_finish(yulapy_socket_op *op)
{
    op->state = OP_DONE;
    yulapy_waiter_leave(&op->waiter);
    PyObject *future = op->waiter.future;
    op->waiter.future = NULL;
    if (future != NULL)
        yulapy_future_give_back(op->loop, future);
    if (op->view.obj != NULL)
        PyBuffer_Release(&op->view);
    Py_CLEAR(op->argument);
    Py_CLEAR(op->sock);
}

/* The descriptor of the op's socket, or -1 with an exception. */
static int
op_fd(yulapy_socket_op *op)
{
    yulapy_state *state = op->loop->state;
    /* What socket.fileno() comes to: the C function of _socket's class. */
    PyObject *number = socket_class_is_plain(state)
                           ? state->socket_fileno(op->sock, NULL)
                           : PyObject_CallMethodNoArgs(op->sock,
                                                       state->str_fileno);
    if (number == NULL)
        return -1;
    long fd = PyLong_AsLong(number);
    Py_DECREF(number);
    if (fd >= 0)
        return (int)fd;
    if (!PyErr_Occurred())
        yulapy_raise_code(-EBADF);
    return -1;
}

/* What asyncio checks when the coroutine starts. */
static int
op_check(yulapy_socket_op *op, int fd)
{
    yulapy_loop *loop = op->loop;
    if (yulapy_loop_check_open(loop) < 0)
        return -1;
    if (loop->debug) {
        PyObject *timeout = PyObject_CallMethodNoArgs(
            op->sock, loop->state->str_gettimeout);
        if (timeout == NULL)
            return -1;
        double seconds = timeout == Py_None ? 1 : PyFloat_AsDouble(timeout);
        Py_DECREF(timeout);
        if (seconds != 0) {
            PyErr_SetString(PyExc_ValueError,
                            "the socket must be non-blocking");
            return -1;
        }
    }
    PyObject *transport = yulapy_transport_of_fd(loop, fd);
    if (transport == NULL)
        return 0;
    PyErr_Format(PyExc_RuntimeError,
                 "File descriptor %d is used by transport %R", fd, transport);
    return -1;
}

/* Suspend on a future; *result receives what the task must be given. */
static PySendResult
op_suspend(yulapy_socket_op *op, int fd, PyObject **result)
{
    yulapy_loop *loop = op->loop;
    if (op->waiter.future != NULL) /* of the wait before, in vain */
        yulapy_future_give_back(loop, op->waiter.future);
    op->waiter.future = yulapy_future_new(loop);
    if (op->waiter.future == NULL ||
        yulapy_descriptor_wait(loop, fd, op->sock, op->kind->direction,
                               &op->waiter) < 0)
        return PYGEN_ERROR;
    op->state = OP_WAITING;
    *result = yulapy_future_yield(loop, op->waiter.future);
    return *result != NULL ? PYGEN_NEXT : PYGEN_ERROR;
}

/* Try, and wait or finish. */
static PySendResult
op_proceed(yulapy_socket_op *op, PyObject **result)
{
    *result = NULL;
    int fd = op_fd(op);
    if (fd < 0 || (op->state == OP_CREATED && op_check(op, fd) < 0))
        goto failed;
    if (op->loop->core == NULL) {
        (void)yulapy_loop_check_open(op->loop);
        goto failed;
    }
    yulapy_descriptor *descriptor = yulapy_descriptor_of_socket(op->loop, fd,
                                                                op->sock);
    int done = 0;
    if (op->kind->eager || op_may_succeed(op, descriptor)) {
        done = op->kind->attempt(op, fd, descriptor, result);
        if (done == 0)
            yulapy_descriptor_note(descriptor, op->kind->direction, 0, -1);
    }
    if (done < 0)
        goto failed;
    if (done > 0) {
        op_finish(op);
        return PYGEN_RETURN;
    }
    PySendResult sent = op_suspend(op, fd, result);
    if (sent == PYGEN_NEXT)
        return PYGEN_NEXT;
failed:
    op_finish(op);
    return PYGEN_ERROR;
}

static PySendResult
op_send(PyObject *self, PyObject *value, PyObject **result)
{
    yulapy_socket_op *op = (yulapy_socket_op *)self;

    if (op->state == OP_DONE) {
        PyErr_Format(PyExc_RuntimeError, "cannot reuse already awaited %s()",
                     op->kind->name);
        *result = NULL;
        return PYGEN_ERROR;
    }
    if (op->state == OP_WAITING) {
        if (yulapy_future_outcome(op->loop, op->waiter.future) < 0) {
            op_finish(op);
            *result = NULL;
            return PYGEN_ERROR;
        }
        yulapy_waiter_leave(&op->waiter);
    }
    return op_proceed(op, result);
}

/* --- as a Python object ----------------------------------------------------- */

/* What `await` calls. */
static PyObject *
op_next(PyObject *self)
{
    yulapy_state *state = ((yulapy_socket_op *)self)->loop->state;
    PyObject *result;
    PySendResult sent = op_send(self, Py_None, &result);
    return yulapy_awaitable_next(state, sent, result);
}

static int
op_clear(PyObject *self)
{
    op_finish((yulapy_socket_op *)self);
    return 0;
}

static PyObject *
op_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return yulapy_awaitable_throw(self, args, nargs, op_clear);
}

static PyObject *
op_close(PyObject *self, PyObject *unused)
{
    op_finish((yulapy_socket_op *)self);
    Py_RETURN_NONE;
}

static PyObject *
op_get_name(PyObject *self, void *unused)
{
    return PyUnicode_FromString(((yulapy_socket_op *)self)->kind->name);
}

static PyObject *
op_get_await(PyObject *self, void *unused)
{
    PyObject *future = ((yulapy_socket_op *)self)->waiter.future;
    return Py_NewRef(future != NULL ? future : Py_None);
}

static PyObject *
op_repr(PyObject *self)
{
    yulapy_socket_op *op = (yulapy_socket_op *)self;
    return PyUnicode_FromFormat("<coroutine %s() of %R at %p>", op->kind->name,
                                op->sock != NULL ? op->sock : Py_None, op);
}

static int
op_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_socket_op *op = (yulapy_socket_op *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(op->loop);
    Py_VISIT(op->sock);
    Py_VISIT(op->argument);
    Py_VISIT(op->waiter.future);
    Py_VISIT(op->view.obj);
    return 0;
}

static void
op_finalize(PyObject *self)
{
    yulapy_socket_op *op = (yulapy_socket_op *)self;
    if (op->state == OP_CREATED)
        yulapy_awaitable_warn(self, op->kind->name);
}

static void
op_dealloc(PyObject *self)
{
    yulapy_socket_op *op = (yulapy_socket_op *)self;
    PyTypeObject *type = Py_TYPE(self);
    yulapy_loop *loop = op->loop;
    yulapy_state *state = loop->state;

    if (op->state == OP_CREATED && PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (op->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    if (op->state != OP_DONE)
        op_finish(op);
    /* One that the collector has finalized would never warn again. */
    if (PyObject_GC_IsFinalized(self) ||
        !yulapy_free_list_keep(&state->free_socket_ops, self, FREE_LINK,
                               FREE_OPS))
        type->tp_free(self);
    Py_DECREF(loop);
    Py_DECREF(type);
}

void
yulapy_socket_op_drop_free(yulapy_state *state)
{
    yulapy_free_list_end(&state->free_socket_ops, FREE_LINK);
}

/* --- making ------------------------------------------------------------------ */

static yulapy_socket_op *
op_alloc(yulapy_state *state)
{
    PyTypeObject *type = state->socket_op_type;
    yulapy_socket_op *op = (yulapy_socket_op *)yulapy_free_list_take(
        &state->free_socket_ops, FREE_LINK);
    if (op == NULL)
        return (yulapy_socket_op *)type->tp_alloc(type, 0);
    op->state = OP_CREATED;
    op->connecting = 0;
    op->count = 0;
    (void)PyObject_Init((PyObject *)op, type);
    PyObject_GC_Track(op);
    return op;
}

yulapy_socket_op *
yulapy_socket_op_new(PyObject *loop, const yulapy_socket_op_kind *kind,
                     PyObject *sock)
{
    yulapy_socket_op *op = op_alloc(((yulapy_loop *)loop)->state);
    if (op == NULL)
        return NULL;
    op->kind = kind;
    op->loop = (yulapy_loop *)Py_NewRef(loop);
    op->sock = Py_NewRef(sock);
    return op;
}

void
yulapy_socket_op_drop(yulapy_socket_op *op)
{
    op_finish(op);
    Py_DECREF(op);
}

/* --- type -------------------------------------------------------------------- */

static PyMethodDef op_methods[] = {
    YULAPY_AWAITABLE_METHODS(op_throw, op_close),
    {NULL},
};

static PyGetSetDef op_getset[] = {
    YULAPY_AWAITABLE_ATTRIBUTES(op_get_name, op_get_name, op_get_await),
    {NULL},
};

static PyMemberDef op_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(yulapy_socket_op, weaklist),
     READONLY, NULL},
    {NULL},
};

static PyType_Slot op_slots[] = {
    {Py_tp_doc, "A socket operation; await it once."},
    {Py_tp_dealloc, op_dealloc},
    {Py_tp_finalize, op_finalize},
    {Py_tp_traverse, op_traverse},
    {Py_tp_clear, op_clear},
    {Py_tp_repr, op_repr},
    {Py_tp_iter, yulapy_awaitable_self},
    {Py_tp_iternext, op_next},
    {Py_tp_methods, op_methods},
    {Py_tp_getset, op_getset},
    {Py_tp_members, op_members},
    {Py_am_await, yulapy_awaitable_self},
    {Py_am_send, op_send},
    {0, NULL},
};

static PyType_Spec op_spec = {
    .name = "yula._core.SocketOp",
    .basicsize = sizeof(yulapy_socket_op),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = op_slots,
};

int
yulapy_socket_op_add_type(PyObject *module, yulapy_state *state)
{
    state->socket_op_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &op_spec, NULL);
    return state->socket_op_type != NULL ? 0 : -1;
}
