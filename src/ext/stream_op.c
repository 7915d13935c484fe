/* stream_op.c: the awaitables of streams: what reader.read() and
 * writer.drain() return.
 *
 * An op is tried when it is first awaited, and its result returned without
 * suspending if it is there. Otherwise it waits on a real asyncio.Future, the
 * reader's `_waiter`, and takes what it wants in the task's own step: nothing is
 * lost with a task that was cancelled meanwhile.
 *
 * Only success is done here. Whatever ends in an exception, and everything that
 * is rare, is given to asyncio's own coroutine (FOLLOWING), which finds the same
 * state and says so in its own words.
 *
 *  I1. WAITING: the part's `waiting` is this op, or the future is done.
 *  I2. DONE: the op holds nothing.
 */
#include "awaitable.h"
#include "streams.h"

/* Free ops kept, each 144 bytes; linked through the owner. */
#define FREE_OPS 64
#define FREE_LINK offsetof(yulapy_stream_op, owner)

enum {
    OP_CREATED,
    OP_WAITING,
    OP_FOLLOWING, /* iterator is what we are waiting for */
    OP_DONE
};

static yulapy_reader *
op_reader(yulapy_stream_op *op)
{
    PyObject *part = op->part;
    return part != NULL && Py_TYPE(part)->tp_dealloc == yulapy_reader_dealloc
               ? (yulapy_reader *)part
               : NULL;
}

static void
op_stop_waiting(yulapy_stream_op *op)
{
    yulapy_reader *reader = op_reader(op);
    if (reader != NULL)
        yulapy_reader_wait_ended(reader, op);
    Py_CLEAR(op->iterator);
    PyObject *future = op->future;
    op->future = NULL;
    if (op->woken && reader != NULL && !reader->odd)
        yulapy_future_give_back((yulapy_loop *)reader->loop, future);
    else
        Py_XDECREF(future);
    op->woken = false;
}

static void
op_finish(yulapy_stream_op *op)
{
    op->status = OP_DONE;
    op_stop_waiting(op);
    Py_CLEAR(op->target);
    Py_CLEAR(op->argument);
    Py_CLEAR(op->part);
    Py_CLEAR(op->owner);
}

int
yulapy_stream_op_follow(yulapy_stream_op *op, PyObject *awaitable)
{
    PyAsyncMethods *async = Py_TYPE(awaitable)->tp_as_async;

    if (PyCoro_CheckExact(awaitable)) {
        op->iterator = Py_NewRef(awaitable);
    }
    else if (async != NULL && async->am_await != NULL) {
        op->iterator = async->am_await(awaitable);
    }
    else {
        PyErr_Format(PyExc_TypeError,
                     "object %.100s can't be used in 'await' expression",
                     Py_TYPE(awaitable)->tp_name);
    }
    op->status = OP_FOLLOWING;
    return op->iterator != NULL ? 0 : -1;
}

/* asyncio's coroutine for the same, from here on. */
static int
op_hand_over(yulapy_stream_op *op)
{
    PyObject *args[1] = {op->argument};
    PyObject *count = NULL, *coroutine = NULL;

    op_stop_waiting(op);
    if (op->count >= 0 && op->argument == NULL)
        args[0] = count = PyLong_FromSsize_t(op->count);
    if (!PyErr_Occurred())
        coroutine = yulapy_stream_asyncio_call(op->owner, op->kind->name, args,
                                               args[0] != NULL, NULL);
    Py_XDECREF(count);
    int err = coroutine != NULL ? yulapy_stream_op_follow(op, coroutine) : -1;
    Py_XDECREF(coroutine);
    return err;
}

static PySendResult
op_follow(yulapy_stream_op *op, PyObject *value, PyObject **result)
{
    PyObject *iterator = op->iterator;
    PySendResult sent = PyIter_Send(iterator, value, result);
    if (sent != PYGEN_NEXT)
        op_finish(op);
    return sent;
}

static PySendResult
op_suspend(yulapy_stream_op *op, PyObject **result)
{
    yulapy_reader *reader = op_reader(op);
    if (yulapy_reader_wait(reader, op) < 0)
        return PYGEN_ERROR;
    op->status = OP_WAITING;
    *result = yulapy_future_yield((yulapy_loop *)reader->loop, op->future);
    return *result != NULL ? PYGEN_NEXT : PYGEN_ERROR;
}

/* Try, and wait or finish. */
static PySendResult
op_proceed(yulapy_stream_op *op, PyObject **result)
{
    PySendResult sent = PYGEN_ERROR;

    *result = NULL;
    int done = op->kind->attempt(op, result);
    if (__builtin_expect(done == 1, 1)) {
        op_finish(op);
        return PYGEN_RETURN;
    }
    if (done == 0)
        sent = op_suspend(op, result);
    else if (done == 2 && (op->status == OP_FOLLOWING || op_hand_over(op) == 0))
        return op_follow(op, Py_None, result);
    if (sent != PYGEN_NEXT)
        op_finish(op);
    return sent;
}

static PySendResult
op_send(PyObject *self, PyObject *value, PyObject **result)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    PySendResult sent;

    Py_INCREF(self); /* finishing may drop what holds us */
    switch (op->status) {
    case OP_DONE:
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        *result = NULL;
        sent = PYGEN_ERROR;
        break;
    case OP_FOLLOWING:
        sent = op_follow(op, value, result);
        break;
    case OP_WAITING:
        if (!op->woken) { /* by somebody else; or not at all */
            yulapy_loop *loop = (yulapy_loop *)op_reader(op)->loop;
            if (yulapy_future_outcome(loop, op->future) < 0) {
                op_finish(op);
                *result = NULL;
                sent = PYGEN_ERROR;
                break;
            }
            yulapy_reader_wait_ended(op_reader(op), op);
        }
        sent = op_proceed(op, result);
        break;
    default:
        sent = op_proceed(op, result);
    }
    Py_DECREF(self);
    return sent;
}

/* --- as a Python object ----------------------------------------------------- */

/* What `await` calls. */
static PyObject *
op_next(PyObject *self)
{
    yulapy_state *state = ((yulapy_stream_op *)self)->state;
    PyObject *result;
    PySendResult sent = op_send(self, Py_None, &result);
    return yulapy_awaitable_next(state, sent, result);
}

/* What asyncio's coroutine, or the future it is at, makes of an exception. */
static PyObject *
op_follow_throw(yulapy_stream_op *op, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *method = PyObject_GetAttrString(op->iterator, "throw");
    PyObject *result = NULL;
    if (method != NULL)
        result = PyObject_Vectorcall(method, args, (size_t)nargs, NULL);
    Py_XDECREF(method);
    if (result == NULL)
        op_finish(op);
    return result;
}

static int
op_clear(PyObject *self)
{
    op_finish((yulapy_stream_op *)self);
    return 0;
}

static PyObject *
op_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;

    if (op->status != OP_FOLLOWING || nargs < 1)
        return yulapy_awaitable_throw(self, args, nargs, op_clear);
    Py_INCREF(self);
    PyObject *result = op_follow_throw(op, args, nargs);
    Py_DECREF(self);
    return result;
}

static PyObject *
op_close(PyObject *self, PyObject *unused)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    PyObject *result = NULL;

    Py_INCREF(self);
    if (op->status == OP_FOLLOWING && PyCoro_CheckExact(op->iterator))
        result = PyObject_CallMethod(op->iterator, "close", NULL);
    else
        result = Py_NewRef(Py_None);
    op_finish(op);
    Py_DECREF(self);
    return result;
}

static PyObject *
op_get_name(PyObject *self, void *unused)
{
    return PyUnicode_FromString(((yulapy_stream_op *)self)->kind->name);
}

static PyObject *
op_get_qualname(PyObject *self, void *unused)
{
    return PyUnicode_FromString(
        ((yulapy_stream_op *)self)->kind->qualified_name);
}

static PyObject *
op_get_await(PyObject *self, void *unused)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    PyObject *awaited = op->status == OP_FOLLOWING ? op->iterator : op->future;
    return Py_NewRef(awaited != NULL ? awaited : Py_None);
}

static PyObject *
op_repr(PyObject *self)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                op->kind->qualified_name, op);
}

static int
op_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(op->owner);
    Py_VISIT(op->part);
    Py_VISIT(op->argument);
    Py_VISIT(op->future);
    Py_VISIT(op->iterator);
    return 0;
}

static void
op_finalize(PyObject *self)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    if (op->status == OP_CREATED)
        yulapy_awaitable_warn(self, op->kind->qualified_name);
}

static void
op_dealloc(PyObject *self)
{
    yulapy_stream_op *op = (yulapy_stream_op *)self;
    PyTypeObject *type = Py_TYPE(self);

    if (op->status == OP_CREATED && PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (op->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    if (op->status != OP_DONE)
        op_finish(op);
    /* One that the collector has finalized would never warn again. */
    if (PyObject_GC_IsFinalized(self) ||
        !yulapy_free_list_keep(&op->state->streams->free_ops, self, FREE_LINK,
                               FREE_OPS))
        type->tp_free(self);
    Py_DECREF(type);
}

void
yulapy_stream_op_drop_free(yulapy_streams *streams)
{
    yulapy_free_list_end(&streams->free_ops, FREE_LINK);
}

static yulapy_stream_op *
op_alloc(yulapy_streams *streams)
{
    yulapy_stream_op *op = (yulapy_stream_op *)yulapy_free_list_take(
        &streams->free_ops, FREE_LINK);
    if (op == NULL)
        return (yulapy_stream_op *)streams->op_type->tp_alloc(streams->op_type,
                                                              0);
    op->status = OP_CREATED;
    op->searched = op->filled = 0;
    (void)PyObject_Init((PyObject *)op, streams->op_type);
    PyObject_GC_Track(op);
    return op;
}

yulapy_stream_op *
yulapy_stream_op_new(yulapy_state *state, const yulapy_stream_op_kind *kind,
                     PyObject *owner, PyObject *part, Py_ssize_t count,
                     PyObject *argument)
{
    yulapy_stream_op *op = op_alloc(state->streams);
    if (op == NULL)
        return NULL;
    op->kind = kind;
    op->state = state;
    op->owner = Py_NewRef(owner);
    op->part = Py_NewRef(part);
    op->count = count;
    op->argument = Py_XNewRef(argument);
    return op;
}

static PyMethodDef op_methods[] = {
    YULAPY_AWAITABLE_METHODS(op_throw, op_close),
    {NULL},
};

static PyGetSetDef op_getset[] = {
    YULAPY_AWAITABLE_ATTRIBUTES(op_get_name, op_get_qualname, op_get_await),
    {NULL},
};

static PyMemberDef op_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(yulapy_stream_op, weaklist),
     READONLY, NULL},
    {NULL},
};

static PyType_Slot op_slots[] = {
    {Py_tp_doc, "A stream operation; await it once."},
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
    .name = "yula._core.StreamOp",
    .basicsize = sizeof(yulapy_stream_op),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = op_slots,
};

int
yulapy_stream_op_add_type(PyObject *module, yulapy_state *state)
{
    state->streams->op_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &op_spec, NULL);
    return state->streams->op_type != NULL ? 0 : -1;
}
