/* future.c: the futures that awaitables in C wait on.
 *
 * What suspends a task suspends on an asyncio.Future. On one that is exactly
 * that, an await costs its initialisation, set_result(), a call of call_soon() and
 * a handle. Ours are of a class derived from it, with room for what is needed
 * nearly always: the one callback a waiting task leaves, and a yula_work to call
 * it in the next turn. For anything else that is asked of it, such a future is
 * *settled*: put into the state that it claims to have, and from then on it is
 * asyncio's in every respect.
 *
 *  I1. Not settled, the base has neither callbacks nor a result. `callback` is
 *      what a task left, `woken` is a result of None that the base does not know.
 *  I2. An attribute can be had of a settled future only, but for the three that
 *      a task uses to wait. So nobody sees the difference.
 *  I3. While its work is queued, a future has one reference more: the queue's.
 *  I4. A future is used again only if ours is the only reference, no weak one
 *      was made, and it was never settled: nobody can tell that it was there.
 */
#include "yulapy.h"

#include "loop/loop_i.h"
#include "loop_schedule.h"

#define FUTURE_SPARES                                                          \
    (sizeof(((yulapy_loop *)NULL)->spare_futures) / sizeof(PyObject *))

/* Our part of a future. */
typedef struct future_part {
    yula_work work;
    yulapy_loop *loop;
    PyObject *callback; /* and the context it is to be called in; or NULL */
    PyObject *context;
    vectorcallfunc vectorcall;
    bool blocking; /* _asyncio_future_blocking */
    bool woken;
    bool settled;
} future_part;

static void future_run(yula_work *work, void *arg);
static PyObject *future_vectorcall(PyObject *self, PyObject *const *args,
                                   size_t nargsf, PyObject *kwnames);

static future_part *
future_part_of(PyObject *self)
{
    Py_ssize_t size = Py_TYPE(self)->tp_base->tp_basicsize;
    return (future_part *)((char *)self + (size + 15) / 16 * 16);
}

static bool
future_is_ours(yulapy_state *state, PyObject *future)
{
    return Py_IS_TYPE(future, state->waits.type);
}

/* --- settling -------------------------------------------------------------- */

static int
future_done_with(PyObject *result)
{
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* Hand what we know over to the base. 0, or -1 with an exception. */
static int
future_settle(PyObject *self)
{
    future_part *part = future_part_of(self);
    yulapy_waits *waits = &part->loop->state->waits;
    PyObject *callback = part->callback;
    int err = 0;

    if (part->settled)
        return 0;
    part->settled = true;
    if (part->blocking)
        err = PyObject_GenericSetAttr(self, waits->str_blocking, Py_True);
    if (err == 0 && part->woken) {
        err = future_done_with(PyObject_CallMethodOneArg(
            self, part->loop->state->str_set_result, Py_None));
    }
    else if (err == 0 && callback != NULL) {
        PyObject *args[] = {self, callback, part->context};
        err = future_done_with(PyObject_VectorcallMethod(
            waits->str_add_done_callback, args, 2, waits->context_names));
        if (err == 0) {
            part->callback = NULL;
            Py_CLEAR(part->context);
            Py_DECREF(callback);
        }
    }
    if (err < 0)
        part->settled = false;
    return err;
}

static PyObject *
future_getattro(PyObject *self, PyObject *name)
{
    future_part *part = future_part_of(self);

    if (part->settled)
        return PyObject_GenericGetAttr(self, name);
    yulapy_waits *waits = &part->loop->state->waits;
    if (name == waits->str_blocking)
        return PyBool_FromLong(part->blocking);
    if (name == waits->str_get_loop)
        return Py_NewRef(part->loop->get_loop);
    if (name == waits->str_add_done_callback) /* see future_vectorcall */
        return Py_NewRef(self);
    if (future_settle(self) < 0)
        return NULL;
    return PyObject_GenericGetAttr(self, name);
}

static int
future_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    future_part *part = future_part_of(self);

    if (!part->settled && value == Py_False &&
        name == part->loop->state->waits.str_blocking) {
        part->blocking = false;
        return 0;
    }
    if (future_settle(self) < 0)
        return -1;
    return PyObject_GenericSetAttr(self, name, value);
}

/* add_done_callback(callback, *, context). A future that is not settled is its own
 * bound method: a real one is made and freed for every await (130 instructions). */
static PyObject *
future_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf,
                  PyObject *kwnames)
{
    future_part *part = future_part_of(self);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);

    if (!part->settled && !part->woken && part->callback == NULL &&
        nargs == 1 && kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 1 &&
        PyContext_CheckExact(args[1])) {
        part->callback = Py_NewRef(args[0]);
        part->context = Py_NewRef(args[1]);
        Py_RETURN_NONE;
    }
    PyObject *method = NULL, *result = NULL;
    if (future_settle(self) == 0)
        method = PyObject_GenericGetAttr(
            self, part->loop->state->waits.str_add_done_callback);
    if (method != NULL)
        result = PyObject_Vectorcall(method, args, (size_t)nargs, kwnames);
    Py_XDECREF(method);
    return result;
}

static PyObject *
future_await(PyObject *self)
{
    PyTypeObject *base = Py_TYPE(self)->tp_base;
    return future_settle(self) == 0 ? base->tp_as_async->am_await(self) : NULL;
}

static PyObject *
future_repr(PyObject *self)
{
    return future_settle(self) == 0 ? Py_TYPE(self)->tp_base->tp_repr(self)
                                    : NULL;
}

/* --- making ----------------------------------------------------------------- */

static PyObject *
future_return_loop(PyObject *self, PyObject *unused)
{
    return Py_NewRef(self);
}

/* {'loop': loop}, a function that returns the loop, and a future that is done:
 * what a loop needs for its futures, made once. */
static int
future_prepare(yulapy_loop *loop)
{
    static PyMethodDef get_loop = {"get_loop", future_return_loop, METH_NOARGS,
                                   NULL};
    yulapy_state *state = loop->state;
    PyObject *self = (PyObject *)loop;
    PyObject *done = NULL;

    loop->get_loop = PyCFunction_New(&get_loop, self);
    if (loop->get_loop != NULL)
        done = PyObject_Vectorcall(state->future_type, &self, 0,
                                   state->names_loop);
    if (done != NULL && future_done_with(PyObject_CallMethodOneArg(
                            done, state->str_set_result, Py_None)) < 0)
        Py_CLEAR(done);
    if (done == NULL)
        Py_CLEAR(loop->get_loop);
    loop->done_future = done;
    return done != NULL ? 0 : -1;
}

static PyObject *
future_make(yulapy_loop *loop)
{
    yulapy_state *state = loop->state;
    PyTypeObject *type = state->waits.type;

    if (loop->get_loop == NULL && future_prepare(loop) < 0)
        return NULL;
    PyObject *keywords = PyDict_New();
    if (keywords == NULL ||
        PyDict_SetItem(keywords, state->str_loop, (PyObject *)loop) < 0) {
        Py_XDECREF(keywords);
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL) {
        future_part *part = future_part_of(self);
        part->loop = (yulapy_loop *)Py_NewRef(loop);
        part->vectorcall = future_vectorcall;
        yula_work_init(&part->work, YULA_LANE_HOST, future_run, self);
        if (type->tp_base->tp_init(self, state->empty_tuple, keywords) < 0)
            Py_CLEAR(self);
    }
    Py_DECREF(keywords);
    return self;
}

/* Whether nobody can see that call_soon() is not called. */
static bool
future_may_be_ours(yulapy_loop *loop)
{
    return loop->state->waits.type != NULL && loop->core != NULL &&
           !loop->debug && !loop->call_soon_overridden;
}

PyObject *
yulapy_future_new(yulapy_loop *loop)
{
    if (yulapy_loop_look_for_overrides(loop) < 0)
        return NULL;
    if (!future_may_be_ours(loop)) {
        PyObject *self = (PyObject *)loop;
        return PyObject_Vectorcall(loop->state->future_type, &self, 0,
                                   loop->state->names_loop);
    }
    while (loop->spare_future_count > 0) {
        PyObject *spare = loop->spare_futures[--loop->spare_future_count];
        if (Py_REFCNT(spare) == 1)
            return spare;
        Py_DECREF(spare); /* somebody found it with the collector's help */
    }
    return future_make(loop);
}

PyObject *
yulapy_future_yield(yulapy_loop *loop, PyObject *future)
{
    if (future_is_ours(loop->state, future) &&
        !future_part_of(future)->settled) {
        future_part_of(future)->blocking = true;
        return Py_NewRef(future);
    }
    if (PyObject_SetAttr(future, loop->state->waits.str_blocking, Py_True) < 0)
        return NULL;
    return Py_NewRef(future);
}

void
yulapy_future_give_back(yulapy_loop *loop, PyObject *future)
{
    if (YULAPY_REUSE && Py_REFCNT(future) == 1 && loop->core != NULL &&
        future_is_ours(loop->state, future) &&
        loop->spare_future_count < FUTURE_SPARES) {
        future_part *part = future_part_of(future);
        Py_ssize_t weak = Py_TYPE(future)->tp_weaklistoffset;
        if (!part->settled && part->woken && part->callback == NULL &&
            weak != 0 && *(PyObject **)((char *)future + weak) == NULL) {
            part->woken = part->blocking = false;
            loop->spare_futures[loop->spare_future_count++] = future;
            return;
        }
    }
    Py_DECREF(future);
}

/* --- waking ------------------------------------------------------------------ */

int
yulapy_future_wake(yulapy_loop *loop, PyObject *future)
{
    yulapy_state *state = loop->state;

    if (future_is_ours(state, future) && !future_part_of(future)->settled &&
        future_may_be_ours(loop)) {
        future_part *part = future_part_of(future);
        if (part->woken)
            return 0;
        part->woken = true;
        if (part->callback != NULL) {
            Py_INCREF(future);
            yula_work_queue(loop->core, &part->work);
        }
        return 1;
    }
    PyObject *done = PyObject_CallMethodNoArgs(future, state->str_done);
    int err = done == NULL ? -1 : 0;
    if (done == Py_False)
        err = future_done_with(PyObject_CallMethodOneArg(
                  future, state->str_set_result, Py_None)) < 0
                  ? -1
                  : 1;
    Py_XDECREF(done);
    return err;
}

int
yulapy_future_outcome(yulapy_loop *loop, PyObject *future)
{
    if (future_is_ours(loop->state, future) &&
        !future_part_of(future)->settled && future_part_of(future)->woken)
        return 0;
    PyObject *done = PyObject_CallMethod(future, "done", NULL);
    if (done == NULL)
        return -1;
    Py_DECREF(done);
    if (done == Py_True)
        return future_done_with(PyObject_CallMethod(future, "result", NULL));
    PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
    return -1;
}

bool
yulapy_future_is_work(const yula_work *work)
{
    return work->cb == future_run;
}

/* Whether the callback is what _asyncio's tasks leave: it looks at the result of
 * the future it is given, and at nothing else. */
static bool
future_wakes_task(yulapy_waits *waits, PyObject *callback)
{
    if (!PyCFunction_CheckExact(callback))
        return false;
    PyMethodDef *method = ((PyCFunctionObject *)callback)->m_ml;
    if (method == waits->wakeup)
        return true;
    PyObject *task = PyCFunction_GET_SELF(callback);
    if (waits->wakeup != NULL || task == NULL || waits->task_type == NULL ||
        !PyObject_TypeCheck(task, waits->task_type) ||
        strcmp(method->ml_name, "task_wakeup") != 0)
        return false;
    waits->wakeup = method;
    return true;
}

/* Call what was waiting, as a handle does; tools that want a handle get one. */
static void
future_call(yulapy_loop *loop, PyObject *callback, PyObject *context,
            PyObject *argument)
{
    PyObject *result = NULL, *exc = NULL;

    if (__builtin_expect(!yulapy_handle_needed(loop), 1)) {
        if (PyContext_Enter(context) == 0) {
            result = PyObject_Vectorcall(callback, &argument, 1, NULL);
            if (PyContext_Exit(context) < 0)
                Py_CLEAR(result);
        }
        if (result != NULL) {
            Py_DECREF(result);
            return;
        }
        if (yulapy_leaves_loop(loop))
            return;
        exc = yulapy_take_exception();
    }
    PyObject *handle = yulapy_handle_new(loop, loop->state->handle_type,
                                         callback, &argument, 1, context);
    if (handle == NULL)
        PyErr_WriteUnraisable(callback);
    else if (exc == NULL)
        yulapy_handle_run(loop, handle);
    else
        yulapy_handle_report(loop, handle, exc);
    Py_XDECREF(handle);
    Py_XDECREF(exc);
}

static void
future_run(yula_work *work, void *arg)
{
    PyObject *self = arg;
    future_part *part = future_part_of(self);
    yulapy_loop *loop = part->loop;
    yulapy_waits *waits = &loop->state->waits;
    PyObject *callback = part->callback, *context = part->context;
    PyObject *argument = self;

    part->callback = part->context = NULL;
    if (callback == NULL) { /* the collector was here */
        Py_DECREF(self);
        return;
    }
    Py_INCREF(loop);
    if (future_wakes_task(waits, callback) && !part->settled) {
        if (waits->discard != NULL) {
            PyObject *args[] = {self, PyCFunction_GET_SELF(callback)};
            if (future_done_with(
                    PyObject_Vectorcall(waits->discard, args, 2, NULL)) < 0)
                PyErr_WriteUnraisable(self);
        }
        argument = Py_NewRef(loop->done_future);
        Py_DECREF(self); /* for the next await, in the task's step */
    }
    else if (future_settle(self) < 0) {
        PyErr_WriteUnraisable(self);
    }
    future_call(loop, callback, context, argument);
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_DECREF(argument);
    Py_DECREF(loop);
}

void
yulapy_future_resolve(yulapy_loop *loop, PyObject *future, PyObject *outcome,
                      bool failed)
{
    yulapy_state *state = loop->state;
    PyObject *result = NULL;
    PyObject *done = PyObject_CallMethodNoArgs(future, state->str_done);

    if (done == Py_False) {
        PyObject *args[] = {future, outcome};
        result = PyObject_VectorcallMethod(failed ? state->str_set_exception
                                                  : state->str_set_result,
                                           args, 2, NULL);
    }
    if (PyErr_Occurred() && !yulapy_leaves_loop(loop))
        PyErr_WriteUnraisable(future);
    Py_XDECREF(done);
    Py_XDECREF(result);
}

/* --- as a Python object ------------------------------------------------------ */

static int
future_traverse(PyObject *self, visitproc visit, void *arg)
{
    future_part *part = future_part_of(self);
    PyTypeObject *base = Py_TYPE(self)->tp_base;

    if (!PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE))
        Py_VISIT(Py_TYPE(self)); /* otherwise the base does */
    Py_VISIT(part->loop);
    Py_VISIT(part->callback);
    Py_VISIT(part->context);
    return base->tp_traverse(self, visit, arg);
}

static int
future_clear(PyObject *self)
{
    future_part *part = future_part_of(self);
    Py_CLEAR(part->callback);
    Py_CLEAR(part->context);
    return Py_TYPE(self)->tp_base->tp_clear(self);
}

static void
future_dealloc(PyObject *self)
{
    future_part *part = future_part_of(self);
    PyTypeObject *type = Py_TYPE(self), *base = type->tp_base;
    bool is_static = !PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE);

    /* 3.11: the base leaves to its heir what concerns the heir's type. */
    if (is_static && PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    Py_CLEAR(part->callback);
    Py_CLEAR(part->context);
    Py_CLEAR(part->loop);
    part->settled = true;
    PyObject_GC_Track(self);
    base->tp_dealloc(self);
    if (is_static)
        Py_DECREF(type);
}

int
yulapy_future_traverse(yulapy_loop *loop, visitproc visit, void *arg)
{
    for (unsigned i = 0; i < loop->spare_future_count; i++)
        Py_VISIT(loop->spare_futures[i]);
    Py_VISIT(loop->get_loop);
    Py_VISIT(loop->done_future);
    return 0;
}

void
yulapy_future_drop_spare(yulapy_loop *loop)
{
    while (loop->spare_future_count > 0)
        Py_DECREF(loop->spare_futures[--loop->spare_future_count]);
    Py_CLEAR(loop->get_loop);
    Py_CLEAR(loop->done_future);
}

static int
future_make_type(PyObject *module, yulapy_state *state)
{
    PyTypeObject *base = (PyTypeObject *)state->future_type;
    Py_ssize_t part = (base->tp_basicsize + 15) / 16 * 16;
    PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET,
         part + (Py_ssize_t)offsetof(future_part, vectorcall), READONLY, NULL},
        {NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_dealloc, future_dealloc},
        {Py_tp_traverse, future_traverse},
        {Py_tp_clear, future_clear},
        {Py_tp_getattro, future_getattro},
        {Py_tp_setattro, future_setattro},
        {Py_tp_repr, future_repr},
        {Py_tp_iter, future_await},
        {Py_tp_call, PyVectorcall_Call},
        {Py_tp_members, members},
        {Py_am_await, future_await},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "yula._core.Future",
        .basicsize = (int)(part + (Py_ssize_t)sizeof(future_part)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    state->waits.type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &spec, (PyObject *)base);
    return state->waits.type != NULL ? 0 : -1;
}

/* asyncio.futures and asyncio.tasks have what _asyncio defines; without that they
 * are Python's, and so are all futures. */
int
yulapy_futures_add_type(PyObject *module, yulapy_state *state)
{
    yulapy_waits *waits = &state->waits;

    waits->str_blocking = PyUnicode_InternFromString(
        "_asyncio_future_blocking");
    waits->str_get_loop = PyUnicode_InternFromString("get_loop");
    waits->str_add_done_callback = PyUnicode_InternFromString(
        "add_done_callback");
    waits->context_names = PyTuple_Pack(1, state->str_context);
    PyObject *task = PyDict_GetItemString(state->tasks, "_CTask");
    PyObject *future = PyDict_GetItemString(state->futures, "_CFuture");
    if (waits->str_blocking == NULL || waits->str_get_loop == NULL ||
        waits->str_add_done_callback == NULL || waits->context_names == NULL)
        return -1;
    if (task == NULL || future == NULL || future != state->future_type)
        return 0;
    waits->task_type = (PyTypeObject *)Py_NewRef(task);
    waits->discard = Py_XNewRef(
        PyDict_GetItemString(state->futures, "future_discard_from_awaited_by"));
    return future_make_type(module, state);
}

#define WAITS_OBJECTS(X)                                                       \
    X(type)                                                                    \
    X(task_type)                                                               \
    X(discard)                                                                 \
    X(str_blocking) X(str_get_loop) X(str_add_done_callback) X(context_names)

int
yulapy_futures_traverse(yulapy_state *state, visitproc visit, void *arg)
{
#define VISIT(field) Py_VISIT(state->waits.field);
    WAITS_OBJECTS(VISIT)
#undef VISIT
    return 0;
}

void
yulapy_futures_clear(yulapy_state *state)
{
#define CLEAR(field) Py_CLEAR(state->waits.field);
    WAITS_OBJECTS(CLEAR)
#undef CLEAR
}
