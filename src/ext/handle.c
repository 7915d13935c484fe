/* handle.c: Handle, TimerHandle and _ThreadSafeHandle.
 *
 * C types derived from asyncio's classes. The slots of those (_callback, _args
 * ...) are filled directly, at the offsets that the classes' own descriptors
 * name; behind them lies what the core needs to queue the handle without an
 * allocation. Everything else (repr, comparison, _run) is inherited.
 *
 *  I1. While its work is queued, or its timer armed, a handle has one
 *      reference more than its users hold: the queue's.
 *  I2. A cancelled handle is in no queue.
 *  I3. A handle posted to a running loop is a strong root: the cycle collector
 *      does not know it before the loop has run it. Thousands can be under way,
 *      and walking them again and again would cost more than running them.
 *  I4. No context in its slot stands for an empty one, made when somebody looks
 *      or the callback runs. One that is still empty afterwards, and known to
 *      nobody, serves the next handle: most programs use no context variables.
 * Thread: loop; cancel() of a _ThreadSafeHandle from any.
 */
#include "yulapy.h"

#include "loop/loop_i.h"

#define SLOT(handle, offset) (*(PyObject **)((char *)(handle) + (offset)))

/* Handles kept for reuse, per loop and kind: one burst of callbacks. What other
 * threads post arrives in longer ones: as much as fits in a switch interval. */
#define FREE_HANDLES 1024
#define FREE_HANDLES_POSTED 16384

/* Our part of a Handle is a yula_work, of a TimerHandle a yula_timer. */
typedef struct threadsafe_extra {
    yula_work work; /* first: see yulapy_handle_work */
    char running;   /* its callback runs on the loop's thread now */
    char waited;    /* a canceller waits on finished */
    PyThread_type_lock finished;
} threadsafe_extra;

static void handle_work_run(yula_work *work, void *arg);
static void timer_handle_fire(yula_timer *timer, void *arg);

static yulapy_state *
handle_state(PyObject *handle)
{
    return yulapy_state_of_type(Py_TYPE(handle));
}

yula_work *
yulapy_handle_work(yulapy_state *state, PyObject *handle)
{
    Py_ssize_t offset = Py_IS_TYPE(handle, state->handle_type)
                            ? state->handle.handle_extra
                            : state->handle.threadsafe_extra;
    return (yula_work *)((char *)handle + offset);
}

yula_timer *
yulapy_handle_timer(yulapy_state *state, PyObject *handle)
{
    return (yula_timer *)((char *)handle + state->handle.timer_extra);
}

static threadsafe_extra *
handle_threadsafe(yulapy_state *state, PyObject *handle)
{
    return (threadsafe_extra *)((char *)handle +
                                state->handle.threadsafe_extra);
}

PyObject *
yulapy_handle_of_work(yula_work *work)
{
    if (work->cb == handle_work_run || yulapy_future_is_work(work))
        return work->arg;
    yula_timer *timer = yula__timer_of_work(work);
    return timer != NULL && timer->cb == timer_handle_fire ? work->arg : NULL;
}

bool
yulapy_handle_is_cancelled(yulapy_state *state, PyObject *handle)
{
    return SLOT(handle, state->handle.cancelled) == Py_True;
}

void
yulapy_handle_when_set(yulapy_state *state, PyObject *handle, PyObject *when)
{
    Py_XSETREF(SLOT(handle, state->handle.when), when);
}

/* --- making -------------------------------------------------------------- */

enum {
    KIND_SOON,
    KIND_TIMER,
    KIND_POSTED
};

static int
handle_kind(yulapy_state *state, PyTypeObject *type)
{
    if (type == state->handle_type)
        return KIND_SOON;
    return type == state->timer_handle_type ? KIND_TIMER : KIND_POSTED;
}

/* A handle with nothing in its slots but what every new one has; the collector
 * does not know it yet. */
static PyObject *
handle_alloc(yulapy_loop *loop, PyTypeObject *type, int kind)
{
    const yulapy_handle_layout *at = &loop->state->handle;
    PyObject *handle = yulapy_free_list_take(&loop->free_handles[kind],
                                             at->callback);
    if (handle != NULL)
        return PyObject_Init(handle, type);
    handle = PyObject_GC_New(PyObject, type);
    if (handle == NULL)
        return NULL;
    memset(handle + 1, 0, (size_t)type->tp_basicsize - sizeof(*handle));
    SLOT(handle, at->cancelled) = Py_NewRef(Py_False);
    SLOT(handle, at->source_traceback) = Py_NewRef(Py_None);
    SLOT(handle, at->repr) = Py_NewRef(Py_None);
    return handle;
}

/* A copy of the current context, or NULL without an exception if that is empty
 * (I4). The field is public in name only, but greenlet and others have relied on
 * it since 3.7. */
PyObject *
yulapy_copy_context(void)
{
    PyObject *current = PyThreadState_Get()->context;
    if (current == NULL || PyMapping_Size(current) == 0)
        return NULL;
    return PyContext_CopyCurrent();
}

static PyObject *
handle_args(yulapy_state *state, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 0)
        return Py_NewRef(state->empty_tuple);
    PyObject *tuple = PyTuple_New(nargs);
    if (tuple == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    return tuple;
}

/* Debug mode: where the handle was made, as Handle.__init__ and call_soon leave
 * it (the caller of call_soon is the last entry). */
static int
handle_trace_source(yulapy_state *state, PyObject *handle)
{
    PyObject *frame = (PyObject *)PyEval_GetFrame();
    PyObject *stack = PyObject_CallOneArg(state->extract_stack,
                                          frame != NULL ? frame : Py_None);
    if (stack == NULL)
        return -1;
    Py_XSETREF(SLOT(handle, state->handle.source_traceback), stack);
    return 0;
}

PyObject *
yulapy_handle_new(yulapy_loop *loop, PyTypeObject *type, PyObject *callback,
                  PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    yulapy_state *state = loop->state;
    const yulapy_handle_layout *at = &state->handle;

    PyObject *tuple = handle_args(state, args, nargs);
    if (tuple == NULL)
        return NULL;
    context = context != NULL ? Py_NewRef(context) : yulapy_copy_context();
    int kind = handle_kind(state, type);
    PyObject *handle = context != NULL || !PyErr_Occurred()
                           ? handle_alloc(loop, type, kind)
                           : NULL;
    if (handle == NULL) {
        Py_DECREF(tuple);
        Py_XDECREF(context);
        return NULL;
    }
    SLOT(handle, at->callback) = Py_NewRef(callback);
    SLOT(handle, at->args) = tuple;
    SLOT(handle, at->loop) = Py_NewRef(loop);
    SLOT(handle, at->context) = context;
    if (kind == KIND_TIMER) {
        SLOT(handle, at->scheduled) = Py_NewRef(Py_True);
        yula_timer_init(loop->core, yulapy_handle_timer(state, handle),
                        YULA_LANE_HOST);
    }
    else {
        yula_work_init(yulapy_handle_work(state, handle), YULA_LANE_HOST,
                       handle_work_run, handle);
    }
    if (kind != KIND_POSTED || yulapy_none_to_null(loop->thread_id) == NULL)
        PyObject_GC_Track(handle);
    if (loop->debug && handle_trace_source(state, handle) < 0)
        Py_CLEAR(handle);
    return handle;
}

/* --- queueing and running ------------------------------------------------ */

void
yulapy_handle_queue(yulapy_loop *loop, PyObject *handle)
{
    yula_work *work = yulapy_handle_work(loop->state, handle);
    if (yula__work_queued(work))
        return;
    Py_INCREF(handle);
    yula_work_queue(loop->core, work);
}

void
yulapy_handle_unqueue(yulapy_state *state, PyObject *handle)
{
    bool queued;
    if (Py_IS_TYPE(handle, state->timer_handle_type)) {
        yula_timer *timer = yulapy_handle_timer(state, handle);
        queued = timer->loop != NULL && yula_timer_stop(timer);
    }
    else {
        queued = yula_work_cancel(yulapy_handle_work(state, handle));
    }
    if (queued)
        Py_DECREF(handle);
}

/* asyncio.Handle._run replaced by a tool (aiodebug and others do) must run. */
static bool
handle_run_is_patched(yulapy_state *state)
{
    PyTypeObject *base = (PyTypeObject *)state->handle_base;
    if (base->tp_version_tag == state->handle_base_version &&
        base->tp_version_tag != 0)
        return false;
    PyObject *run = PyObject_GetAttr(state->handle_base, state->str__run);
    if (run == NULL) {
        PyErr_Clear(); /* AttributeError: nothing to call, so not patched */
        return false;
    }
    Py_DECREF(run);
    if (run != state->handle_base_run)
        return true;
    state->handle_base_version = base->tp_version_tag;
    return false;
}

bool
yulapy_handle_needed(yulapy_loop *loop)
{
    return loop->debug || handle_run_is_patched(loop->state);
}

void
yulapy_handle_report(yulapy_loop *loop, PyObject *handle, PyObject *exc)
{
    PyObject *args[] = {(PyObject *)loop, handle, exc};
    yulapy_failure(loop, loop->state->str_handle_failed, args, 3);
}

PyObject *
yulapy_loop_take_context(yulapy_loop *loop)
{
    PyObject *context = loop->empty_context;
    loop->empty_context = NULL;
    return context != NULL ? context : PyContext_New();
}

void
yulapy_loop_give_context(yulapy_loop *loop, PyObject **slot, PyObject *context)
{
    if (!YULAPY_REUSE || loop->core == NULL || *slot != context ||
        Py_REFCNT(context) != 2 || PyMapping_Size(context) != 0)
        return;
    *slot = NULL;
    if (loop->empty_context == NULL)
        loop->empty_context = context;
    else
        Py_DECREF(context);
}

static PyObject *
handle_call(yulapy_loop *loop, PyObject *handle)
{
    const yulapy_handle_layout *at = &loop->state->handle;
    PyObject *context = SLOT(handle, at->context);
    PyObject *args = SLOT(handle, at->args);
    PyObject *callback = SLOT(handle, at->callback);
    bool empty = context == NULL;

    if (!PyTuple_CheckExact(args))
        return NULL;
    if (empty) {
        context = yulapy_loop_take_context(loop);
        if (context == NULL)
            return NULL;
        SLOT(handle, at->context) = context;
    }
    if (PyContext_Enter(context) < 0)
        return NULL;
    /* cancel() in the callback drops the handle's references */
    Py_INCREF(context);
    Py_INCREF(args);
    Py_INCREF(callback);
    PyObject *result = PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0),
                                           (size_t)PyTuple_GET_SIZE(args),
                                           NULL);
    Py_DECREF(callback);
    Py_DECREF(args);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    if (empty)
        yulapy_loop_give_context(loop, &SLOT(handle, at->context), context);
    Py_DECREF(context);
    return result;
}

void
yulapy_handle_run(yulapy_loop *loop, PyObject *handle)
{
    yulapy_state *state = loop->state;
    PyObject *result;

    if (__builtin_expect(loop->debug, 0)) {
        PyObject *args[] = {(PyObject *)loop, handle};
        result = PyObject_VectorcallMethod(state->str__run_debug, args, 2,
                                           NULL);
    }
    else if (__builtin_expect(handle_run_is_patched(state), 0)) {
        result = PyObject_CallMethodNoArgs(handle, state->str__run);
    }
    else {
        result = handle_call(loop, handle);
        if (result == NULL && !yulapy_leaves_loop(loop)) {
            PyObject *exc = yulapy_take_exception();
            yulapy_handle_report(loop, handle, exc);
            Py_DECREF(exc);
            return;
        }
    }
    if (result == NULL && PyErr_Occurred() && !yulapy_leaves_loop(loop))
        PyErr_WriteUnraisable(handle);
    Py_XDECREF(result);
}

void
yulapy_handle_release(PyObject *handle)
{
    if (Py_REFCNT(handle) > 1 && !PyObject_GC_IsTracked(handle))
        PyObject_GC_Track(handle); /* a posted one that its user keeps */
    Py_DECREF(handle);
}

static void
handle_work_run(yula_work *work, void *arg)
{
    PyObject *handle = arg;
    yulapy_state *state = handle_state(handle);
    yulapy_loop *loop = (yulapy_loop *)SLOT(handle, state->handle.loop);

    Py_INCREF(loop);
    if (Py_IS_TYPE(handle, state->handle_type)) {
        yulapy_handle_run(loop, handle);
    }
    else {
        threadsafe_extra *extra = handle_threadsafe(state, handle);
        if (!yulapy_handle_is_cancelled(state, handle)) {
            extra->running = 1;
            yulapy_handle_run(loop, handle);
            extra->running = 0;
        }
        if (extra->waited) {
            extra->waited = 0;
            PyThread_release_lock(extra->finished);
        }
    }
    yulapy_handle_release(handle);
    Py_DECREF(loop);
}

static void
timer_handle_fire(yula_timer *timer, void *arg)
{
    PyObject *handle = arg;
    yulapy_state *state = handle_state(handle);
    yulapy_loop *loop = (yulapy_loop *)SLOT(handle, state->handle.loop);

    Py_INCREF(loop);
    Py_XSETREF(SLOT(handle, state->handle.scheduled), Py_NewRef(Py_False));
    yulapy_handle_run(loop, handle);
    Py_DECREF(handle);
    Py_DECREF(loop);
}

int
yulapy_handle_start_timer(yulapy_loop *loop, PyObject *handle,
                          int64_t deadline_ns)
{
    yula_timer *timer = yulapy_handle_timer(loop->state, handle);
    int err = yula_timer_start(timer, deadline_ns, timer_handle_fire, handle);
    if (err < 0) {
        yulapy_raise_code(err);
        return -1;
    }
    Py_INCREF(handle);
    return 0;
}

/* --- cancel -------------------------------------------------------------- */

static int
handle_keep_repr(yulapy_state *state, PyObject *handle)
{
    PyObject *repr = PyObject_Repr(handle);
    if (repr == NULL)
        return -1;
    Py_XSETREF(SLOT(handle, state->handle.repr), repr);
    return 0;
}

static PyObject *
handle_cancel(PyObject *handle, PyObject *unused)
{
    yulapy_state *state = handle_state(handle);
    const yulapy_handle_layout *at = &state->handle;

    if (yulapy_handle_is_cancelled(state, handle))
        Py_RETURN_NONE;
    Py_XSETREF(SLOT(handle, at->cancelled), Py_NewRef(Py_True));
    yulapy_loop *loop = (yulapy_loop *)SLOT(handle, at->loop);
    if (loop != NULL && loop->debug && handle_keep_repr(state, handle) < 0)
        return NULL;
    Py_INCREF(handle);
    yulapy_handle_unqueue(state, handle);
    Py_XSETREF(SLOT(handle, at->callback), Py_NewRef(Py_None));
    Py_XSETREF(SLOT(handle, at->args), Py_NewRef(Py_None));
    Py_DECREF(handle);
    Py_RETURN_NONE;
}

/* events._ThreadSafeHandle: from another thread, cancel() and cancelled() of a
 * handle whose callback is running return only when the callback has. A posted
 * handle belongs to the loop (work.h), so it stays where it is and is skipped. */
static int
threadsafe_handle_wait(PyObject *handle)
{
    yulapy_state *state = handle_state(handle);
    threadsafe_extra *extra = handle_threadsafe(state, handle);
    yulapy_loop *loop = (yulapy_loop *)SLOT(handle, state->handle.loop);

    if (loop == NULL || loop->core == NULL || !extra->running ||
        yula_loop_on_own_thread(loop->core))
        return 0;
    if (extra->finished == NULL) {
        extra->finished = PyThread_allocate_lock();
        if (extra->finished == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    if (!extra->waited) {
        extra->waited = 1;
        PyThread_acquire_lock(extra->finished, WAIT_LOCK);
    }
    Py_BEGIN_ALLOW_THREADS PyThread_acquire_lock(extra->finished, WAIT_LOCK);
    PyThread_release_lock(extra->finished);
    Py_END_ALLOW_THREADS return 0;
}

static PyObject *
threadsafe_handle_cancel(PyObject *handle, PyObject *unused)
{
    yulapy_state *state = handle_state(handle);
    const yulapy_handle_layout *at = &state->handle;
    yulapy_loop *loop = (yulapy_loop *)SLOT(handle, at->loop);

    if (threadsafe_handle_wait(handle) < 0)
        return NULL;
    if (yulapy_handle_is_cancelled(state, handle))
        Py_RETURN_NONE;
    Py_XSETREF(SLOT(handle, at->cancelled), Py_NewRef(Py_True));
    if (loop != NULL && loop->debug && handle_keep_repr(state, handle) < 0)
        return NULL;
    Py_XSETREF(SLOT(handle, at->callback), Py_NewRef(Py_None));
    Py_XSETREF(SLOT(handle, at->args), Py_NewRef(Py_None));
    Py_RETURN_NONE;
}

static PyObject *
threadsafe_handle_cancelled(PyObject *handle, PyObject *unused)
{
    if (threadsafe_handle_wait(handle) < 0)
        return NULL;
    return PyBool_FromLong(
        yulapy_handle_is_cancelled(handle_state(handle), handle));
}

/* events._ThreadSafeHandle's own takes a lock that ours does not have. */
static PyObject *
threadsafe_handle_run(PyObject *handle, PyObject *unused)
{
    yulapy_state *state = handle_state(handle);
    PyObject *run = PyObject_GetAttr(state->handle_base, state->str__run);
    PyObject *result = run != NULL ? PyObject_CallOneArg(run, handle) : NULL;
    Py_XDECREF(run);
    return result;
}

/* --- types --------------------------------------------------------------- */

static int
handle_traverse(PyObject *handle, visitproc visit, void *arg)
{
    const yulapy_handle_layout *at = &handle_state(handle)->handle;

    Py_VISIT(Py_TYPE(handle));
    Py_VISIT(SLOT(handle, at->callback));
    Py_VISIT(SLOT(handle, at->args));
    Py_VISIT(SLOT(handle, at->loop));
    Py_VISIT(SLOT(handle, at->source_traceback));
    Py_VISIT(SLOT(handle, at->context));
    return 0;
}

static int
handle_clear(PyObject *handle)
{
    const yulapy_handle_layout *at = &handle_state(handle)->handle;

    /* The loop stays: a handle without one could not be run or cancelled. The
     * callback is where a cycle goes through, and its place stays filled. */
    Py_XSETREF(SLOT(handle, at->callback), Py_NewRef(Py_None));
    Py_XSETREF(SLOT(handle, at->args), Py_NewRef(Py_None));
    Py_CLEAR(SLOT(handle, at->source_traceback));
    return 0;
}

/* Keep the memory for the next handle of the loop. Returns whether it did. */
static bool
handle_recycle(PyObject *handle, int kind, yulapy_loop *loop)
{
    const unsigned limit = kind == KIND_POSTED ? FREE_HANDLES_POSTED
                                               : FREE_HANDLES;
    return loop != NULL && loop->core != NULL &&
           yulapy_free_list_keep(&loop->free_handles[kind], handle,
                                 loop->state->handle.callback, limit);
}

/* Put back what a new handle has in a slot. */
static void
handle_reset(PyObject *handle, Py_ssize_t offset, PyObject *usual)
{
    if (SLOT(handle, offset) != usual)
        Py_XSETREF(SLOT(handle, offset), Py_NewRef(usual));
}

static void
handle_drop_usual(yulapy_state *state, PyObject *handle)
{
    Py_CLEAR(SLOT(handle, state->handle.cancelled));
    Py_CLEAR(SLOT(handle, state->handle.source_traceback));
    Py_CLEAR(SLOT(handle, state->handle.repr));
}

static void
handle_dealloc(PyObject *handle)
{
    PyTypeObject *type = Py_TYPE(handle);
    yulapy_state *state = yulapy_state_of_type(type);
    const yulapy_handle_layout *at = &state->handle;
    int kind = handle_kind(state, type);

    PyObject_GC_UnTrack(handle);
    if (SLOT(handle, at->weaklist) != NULL)
        PyObject_ClearWeakRefs(handle);
    yulapy_loop *loop = (yulapy_loop *)SLOT(handle, at->loop);
    SLOT(handle, at->loop) = NULL; /* dropped last: it holds the free list */
    Py_CLEAR(SLOT(handle, at->callback));
    Py_CLEAR(SLOT(handle, at->args));
    Py_CLEAR(SLOT(handle, at->context));
    handle_reset(handle, at->cancelled, Py_False);
    handle_reset(handle, at->source_traceback, Py_None);
    handle_reset(handle, at->repr, Py_None);
    if (kind == KIND_TIMER) {
        Py_CLEAR(SLOT(handle, at->scheduled));
        Py_CLEAR(SLOT(handle, at->when));
    }
    else if (kind == KIND_POSTED) {
        threadsafe_extra *extra = handle_threadsafe(state, handle);
        if (extra->finished != NULL)
            PyThread_free_lock(extra->finished);
        extra->finished = NULL;
    }
    if (!handle_recycle(handle, kind, loop)) {
        handle_drop_usual(state, handle);
        type->tp_free(handle);
    }
    Py_XDECREF(loop);
    Py_DECREF(type);
}

void
yulapy_handle_drop_free(yulapy_loop *loop)
{
    const Py_ssize_t link = loop->state->handle.callback;

    Py_CLEAR(loop->empty_context);
    for (size_t kind = 0; kind < Py_ARRAY_LENGTH(loop->free_handles); kind++) {
        PyObject *handle;
        while ((handle = yulapy_free_list_take(&loop->free_handles[kind],
                                               link)) != NULL) {
            handle_drop_usual(loop->state, handle);
            PyObject_GC_Del(handle);
        }
    }
}

/* --- _context -------------------------------------------------------------- */

static PyObject *
handle_get_context(PyObject *handle, void *unused)
{
    PyObject **slot = &SLOT(handle, handle_state(handle)->handle.context);
    if (*slot == NULL)
        *slot = PyContext_New();
    return Py_XNewRef(*slot);
}

static int
handle_set_context(PyObject *handle, PyObject *context, void *unused)
{
    if (context == NULL || !PyContext_CheckExact(context)) {
        PyErr_SetString(PyExc_TypeError, "_context must be a Context");
        return -1;
    }
    Py_XSETREF(SLOT(handle, handle_state(handle)->handle.context),
               Py_NewRef(context));
    return 0;
}

/* asyncio's name for the slot, in front of the slot itself. */
static PyGetSetDef handle_getset[] = {
    {"_context", handle_get_context, handle_set_context, NULL, NULL},
    {NULL},
};

static PyMethodDef handle_methods[] = {
    {"cancel", handle_cancel, METH_NOARGS,
     PyDoc_STR("Cancel the callback. Does nothing once it ran.")},
    {NULL},
};

static PyMethodDef threadsafe_handle_methods[] = {
    {"cancel", threadsafe_handle_cancel, METH_NOARGS,
     PyDoc_STR("Cancel the callback, from any thread. If it is running on the "
               "loop's thread, wait until it is done.")},
    {"cancelled", threadsafe_handle_cancelled, METH_NOARGS, NULL},
    {"_run", threadsafe_handle_run, METH_NOARGS, NULL},
    {NULL},
};

static int
slot_offset(PyObject *type, const char *name, Py_ssize_t *out)
{
    PyObject *member = PyObject_GetAttrString(type, name);
    if (member == NULL)
        return -1;
    if (!Py_IS_TYPE(member, &PyMemberDescr_Type)) {
        PyErr_Format(PyExc_ImportError, "%R.%s is not a slot", type, name);
        Py_DECREF(member);
        return -1;
    }
    *out = ((PyMemberDescrObject *)member)->d_member->offset;
    Py_DECREF(member);
    return 0;
}

static PyTypeObject *
handle_make_type(PyObject *module, PyObject *base, const char *name,
                 PyMethodDef *methods, size_t extra, Py_ssize_t *extra_offset)
{
    PyType_Slot slots[] = {
        {Py_tp_dealloc, handle_dealloc}, {Py_tp_traverse, handle_traverse},
        {Py_tp_clear, handle_clear},     {Py_tp_methods, methods},
        {Py_tp_getset, handle_getset},   {0, NULL},
    };
    Py_ssize_t size = ((PyTypeObject *)base)->tp_basicsize;
    *extra_offset = (size + 15) / 16 * 16;
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(*extra_offset + (Py_ssize_t)extra),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, base);
}

int
yulapy_handle_add_types(PyObject *module, yulapy_state *state)
{
    yulapy_handle_layout *at = &state->handle;
    PyObject *events = PyImport_ImportModule("asyncio.events");
    PyObject *timer = NULL, *threadsafe = NULL;
    int err = -1;

    if (events == NULL)
        return -1;
    state->handle_base = PyObject_GetAttrString(events, "Handle");
    timer = PyObject_GetAttrString(events, "TimerHandle");
    if (state->handle_base == NULL || timer == NULL)
        goto done;
    state->handle_base_run = PyObject_GetAttr(state->handle_base,
                                              state->str__run);
    if (state->handle_base_run == NULL ||
        slot_offset(state->handle_base, "_callback", &at->callback) < 0 ||
        slot_offset(state->handle_base, "_args", &at->args) < 0 ||
        slot_offset(state->handle_base, "_cancelled", &at->cancelled) < 0 ||
        slot_offset(state->handle_base, "_loop", &at->loop) < 0 ||
        slot_offset(state->handle_base, "_source_traceback",
                    &at->source_traceback) < 0 ||
        slot_offset(state->handle_base, "_repr", &at->repr) < 0 ||
        slot_offset(state->handle_base, "_context", &at->context) < 0 ||
        slot_offset(timer, "_scheduled", &at->scheduled) < 0 ||
        slot_offset(timer, "_when", &at->when) < 0)
        goto done;
    at->weaklist = ((PyTypeObject *)state->handle_base)->tp_weaklistoffset;
    state->handle_type = handle_make_type(module, state->handle_base,
                                          "yula._core.Handle", handle_methods,
                                          sizeof(yula_work), &at->handle_extra);
    state->timer_handle_type = handle_make_type(
        module, timer, "yula._core.TimerHandle", handle_methods,
        sizeof(yula_timer), &at->timer_extra);
    threadsafe = PyObject_GetAttrString(events, "_ThreadSafeHandle");
    if (threadsafe == NULL) {
        PyErr_Clear(); /* AttributeError: new in 3.14 */
        threadsafe = Py_NewRef(state->handle_base);
    }
    state->threadsafe_handle_type = handle_make_type(
        module, threadsafe, "yula._core.ThreadSafeHandle",
        threadsafe_handle_methods, sizeof(threadsafe_extra),
        &at->threadsafe_extra);
    if (state->handle_type == NULL || state->timer_handle_type == NULL ||
        state->threadsafe_handle_type == NULL)
        goto done;
    err = 0;
done:
    Py_XDECREF(events);
    Py_XDECREF(timer);
    Py_XDECREF(threadsafe);
    return err;
}
