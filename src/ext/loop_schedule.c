/* loop_schedule.c: call_soon and its kin, timers, futures and tasks.
 *
 * A user's own time(), call_at() or call_soon(), in a subclass or on the instance, is
 * honoured, and looked for only when something has changed.
 */
#include "yulapy.h"

#include <math.h>

#include "loop/loop_i.h"
#include "loop_schedule.h"

/* The one keyword of the call_* methods. */
int
yulapy_loop_context_argument(yulapy_state *state, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames,
                             const char *method, PyObject **out)
{
    *out = NULL;
    if (kwnames == NULL)
        return 0;
    /* _asyncio calls with one and the same tuple, whose string is not interned.
     */
    if (kwnames == state->context_names) {
        *out = yulapy_none_to_null(args[nargs]);
        if (*out == NULL || PyContext_CheckExact(*out))
            return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (name != state->str_context &&
            PyUnicode_Compare(name, state->str_context) != 0) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_TypeError,
                             "%s() got an unexpected keyword argument %R",
                             method, name);
            return -1;
        }
        *out = yulapy_none_to_null(args[nargs + i]);
        if (state->context_names != kwnames && PyTuple_GET_SIZE(kwnames) == 1)
            Py_XSETREF(state->context_names, Py_NewRef(kwnames));
    }
    if (*out != NULL && !PyContext_CheckExact(*out)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() argument 'context' must be a Context, not %.200s",
                     method, Py_TYPE(*out)->tp_name);
        return -1;
    }
    return 0;
}

int
yulapy_loop_check_debug(yulapy_loop *loop, PyObject *callback,
                        const char *method, bool thread)
{
    yulapy_state *state = loop->state;
    PyObject *self = (PyObject *)loop;
    PyObject *result;

    if (!loop->debug)
        return 0;
    if (thread) {
        result = PyObject_CallMethodNoArgs(self, state->str__check_thread);
        if (result == NULL)
            return -1;
        Py_DECREF(result);
    }
    PyObject *name = PyUnicode_FromString(method);
    if (name == NULL)
        return -1;
    PyObject *args[] = {self, callback, name};
    result = PyObject_VectorcallMethod(state->str__check_callback, args, 3,
                                       NULL);
    Py_DECREF(name);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* --- time ---------------------------------------------------------------- */

/* A user's own time(), call_at() or call_soon(): looked for again only when the type, or an
 * attribute of the instance, has changed. */
static int
loop_is_overridden(yulapy_loop *loop, PyObject *name)
{
    PyObject *ours = PyObject_GetAttr((PyObject *)loop->state->loop_type, name);
    PyObject *type = (PyObject *)Py_TYPE(loop);
    PyObject *theirs = ours != NULL ? PyObject_GetAttr(type, name) : NULL;
    int overridden = -1;

    if (theirs != NULL)
        overridden = theirs != ours;
    if (overridden == 0) {
        PyObject *bound = PyObject_GetAttr((PyObject *)loop, name);
        if (bound == NULL)
            overridden = -1;
        else
            overridden = !(PyCFunction_Check(bound) &&
                           PyCFunction_GET_SELF(bound) == (PyObject *)loop);
        Py_XDECREF(bound);
    }
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return overridden;
}

static int64_t loop_python_clock(void *arg);

int
yulapy_loop_look_for_overrides(yulapy_loop *loop)
{
    if (__builtin_expect(!loop->attribute_assigned &&
                             loop->type_version ==
                                 Py_TYPE(loop)->tp_version_tag &&
                             loop->type_version != 0,
                         1))
        return 0;
    int call_soon = -1, call_at = -1;
    int time = loop_is_overridden(loop, loop->state->str_time);
    if (time >= 0)
        call_at = loop_is_overridden(loop, loop->state->str_call_at);
    if (call_at >= 0)
        call_soon = loop_is_overridden(loop, loop->state->str_call_soon);
    if (call_soon < 0)
        return -1;
    loop->time_overridden = (char)time;
    loop->call_at_overridden = (char)call_at;
    loop->call_soon_overridden = (char)call_soon;
    loop->attribute_assigned = 0;
    loop->type_version = Py_TYPE(loop)->tp_version_tag;
    if (loop->core != NULL)
        yula_loop_set_clock(loop->core, time ? loop_python_clock : NULL, loop);
    return 0;
}

static double
loop_seconds(yulapy_loop *loop)
{
    /* As time.monotonic() rounds, so that the two can be compared. */
    return (double)yula__sys_clock_ns(CLOCK_MONOTONIC) / 1e9;
}

/* A deadline no earlier than when: the least whole nanosecond whose seconds, as
 * time() gives them, are not below it. */
static int64_t
deadline_from_seconds(double when)
{
    double ns = ceil(when * 1e9);
    if (!(ns < 9.2e18))
        return YULA_NEVER - 1;
    if (ns < 0)
        return 0;
    int64_t deadline_ns = (int64_t)ns;
    while ((double)deadline_ns / 1e9 < when)
        deadline_ns++;
    return deadline_ns;
}

static int64_t
loop_python_clock(void *arg)
{
    yulapy_loop *loop = arg;
    PyObject *now = PyObject_CallMethodNoArgs((PyObject *)loop,
                                              loop->state->str_time);
    double seconds = now != NULL ? PyFloat_AsDouble(now) : -1.0;
    Py_XDECREF(now);
    if (seconds == -1.0 && PyErr_Occurred()) {
        /* As from asyncio's own call of time(): it ends the run. */
        Py_XSETREF(loop->leaving, yulapy_take_exception());
        yula_loop_break(loop->core, 1);
        return 0;
    }
    /* Rounded to nearest: deadlines are rounded up from the same numbers. */
    return (int64_t)ceil(seconds * 1e9);
}

PyObject *
yulapy_loop_time(PyObject *self, PyObject *unused)
{
    return PyFloat_FromDouble(loop_seconds((yulapy_loop *)self));
}

/* --- call_soon and friends ----------------------------------------------- */

/* Fewer positional arguments than names: asyncio's methods take these names as
 * keywords too. Nobody does that in a hot path, so the arguments are put into
 * their places and the method is called again. */
PyObject *
yulapy_loop_from_keywords(PyObject *self, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames,
                          yulapy_method function, const char *method,
                          const char *const *names)
{
    PyObject *places[4] = {NULL};
    PyObject *rest = PyList_New(0); /* keywords that are not in names */
    PyObject *rest_names = NULL, *result = NULL;
    Py_ssize_t count = 0, given = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;

    if (rest == NULL)
        return NULL;
    for (; names[count] != NULL; count++) {
        places[count] = count < nargs ? args[count] : NULL;
        for (Py_ssize_t i = 0; i < given && places[count] == NULL; i++)
            if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i),
                                                 names[count]) == 0)
                places[count] = args[nargs + i];
        if (places[count] == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing required argument: '%s'", method,
                         names[count]);
            goto done;
        }
    }
    Py_ssize_t total = count;
    for (Py_ssize_t i = 0; i < given; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        Py_ssize_t place = nargs;
        while (place < count &&
               PyUnicode_CompareWithASCIIString(name, names[place]) != 0)
            place++;
        if (place < count)
            continue;
        if (total == (Py_ssize_t)Py_ARRAY_LENGTH(places)) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected keyword argument %R", method,
                         name);
            goto done;
        }
        places[total++] = args[nargs + i];
        if (PyList_Append(rest, name) < 0)
            goto done;
    }
    rest_names = PyList_AsTuple(rest);
    if (rest_names != NULL)
        result = function(self, places, count, rest_names);
done:
    Py_XDECREF(rest_names);
    Py_DECREF(rest);
    return result;
}

static const char *const callback_only[] = {"callback", NULL};
static const char *const when_callback[] = {"when", "callback", NULL};
static const char *const delay_callback[] = {"delay", "callback", NULL};

PyObject *
yulapy_loop_call_soon(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *context;

    if (nargs < 1)
        return yulapy_loop_from_keywords(self, args, nargs, kwnames,
                                         yulapy_loop_call_soon, "call_soon",
                                         callback_only);
    if (yulapy_loop_context_argument(loop->state, args, nargs, kwnames,
                                     "call_soon", &context) < 0 ||
        yulapy_loop_check_open(loop) < 0 ||
        yulapy_loop_check_debug(loop, args[0], "call_soon", true) < 0)
        return NULL;
    PyObject *handle = yulapy_handle_new(loop, loop->state->handle_type,
                                         args[0], args + 1, nargs - 1, context);
    if (handle != NULL)
        yulapy_handle_queue(loop, handle);
    return handle;
}

PyObject *
yulapy_loop_call_soon_threadsafe(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *context;

    if (nargs < 1)
        return yulapy_loop_from_keywords(self, args, nargs, kwnames,
                                         yulapy_loop_call_soon_threadsafe,
                                         "call_soon_threadsafe", callback_only);
    if (yulapy_loop_context_argument(loop->state, args, nargs, kwnames,
                                     "call_soon_threadsafe", &context) < 0 ||
        yulapy_loop_check_open(loop) < 0 ||
        yulapy_loop_check_debug(loop, args[0], "call_soon_threadsafe", false) <
            0)
        return NULL;
    PyObject *handle = yulapy_handle_new(loop,
                                         loop->state->threadsafe_handle_type,
                                         args[0], args + 1, nargs - 1, context);
    if (handle == NULL)
        return NULL;
    if (yulapy_loop_check_open(loop) < 0) { /* closed meanwhile */
        Py_DECREF(handle);
        return NULL;
    }
    Py_INCREF(handle);
#ifdef Py_GIL_DISABLED
    yula_work_post(loop->core, yulapy_handle_work(loop->state, handle));
#else
    yula__work_post_locked(loop->core, yulapy_handle_work(loop->state, handle));
#endif
    return handle;
}

/* when: steals the reference. */
static PyObject *
loop_start_timer(yulapy_loop *loop, PyObject *when, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *context)
{
    double seconds = PyFloat_AsDouble(when);
    PyObject *handle = NULL;
    if (seconds == -1.0 && PyErr_Occurred())
        goto fail;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "the time of a timer cannot be NaN");
        goto fail;
    }
    handle = yulapy_handle_new(loop, loop->state->timer_handle_type, args[0],
                               args + 1, nargs - 1, context);
    if (handle == NULL)
        goto fail;
    yulapy_handle_when_set(loop->state, handle, when);
    if (yulapy_handle_start_timer(loop, handle,
                                  deadline_from_seconds(seconds)) < 0)
        Py_CLEAR(handle);
    return handle;
fail:
    Py_DECREF(when);
    return NULL;
}

PyObject *
yulapy_loop_call_at(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *context;

    if (nargs < 2)
        return yulapy_loop_from_keywords(self, args, nargs, kwnames,
                                         yulapy_loop_call_at, "call_at",
                                         when_callback);
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    if (yulapy_loop_context_argument(loop->state, args, nargs, kwnames,
                                     "call_at", &context) < 0 ||
        yulapy_loop_check_open(loop) < 0 ||
        yulapy_loop_check_debug(loop, args[1], "call_at", true) < 0 ||
        yulapy_loop_look_for_overrides(loop) < 0)
        return NULL;
    return loop_start_timer(loop, Py_NewRef(args[0]), args + 1, nargs - 1,
                            context);
}

/* time() + delay, as Python adds them. */
static PyObject *
loop_later(yulapy_loop *loop, PyObject *delay)
{
    if (!loop->time_overridden && PyFloat_CheckExact(delay))
        return PyFloat_FromDouble(loop_seconds(loop) +
                                  PyFloat_AS_DOUBLE(delay));
    PyObject *now = PyObject_CallMethodNoArgs((PyObject *)loop,
                                              loop->state->str_time);
    PyObject *when = now != NULL ? PyNumber_Add(now, delay) : NULL;
    Py_XDECREF(now);
    return when;
}

PyObject *
yulapy_loop_call_later(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *context;

    if (nargs < 2)
        return yulapy_loop_from_keywords(self, args, nargs, kwnames,
                                         yulapy_loop_call_later, "call_later",
                                         delay_callback);
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return NULL;
    }
    if (yulapy_loop_context_argument(loop->state, args, nargs, kwnames,
                                     "call_later", &context) < 0 ||
        yulapy_loop_look_for_overrides(loop) < 0)
        return NULL;
    PyObject *when = loop_later(loop, args[0]);
    if (when == NULL)
        return NULL;
    if (__builtin_expect(loop->call_at_overridden, 0)) {
        Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
        PyObject *stack[2 + 16];
        PyObject **copy = stack;
        if (nargs + keywords + 1 > 18)
            copy = PyMem_New(PyObject *, nargs + keywords + 1);
        PyObject *result = NULL;
        if (copy != NULL) {
            copy[0] = self;
            copy[1] = when;
            memcpy(copy + 2, args + 1,
                   (size_t)(nargs - 1 + keywords) * sizeof(*copy));
            result = PyObject_VectorcallMethod(loop->state->str_call_at, copy,
                                               (size_t)nargs + 1, kwnames);
        }
        if (copy != stack)
            PyMem_Free(copy);
        Py_DECREF(when);
        return result != NULL || PyErr_Occurred() ? result : PyErr_NoMemory();
    }
    if (yulapy_loop_check_open(loop) < 0 ||
        yulapy_loop_check_debug(loop, args[1], "call_at", true) < 0) {
        Py_DECREF(when);
        return NULL;
    }
    return loop_start_timer(loop, when, args + 1, nargs - 1, context);
}

/* --- futures and tasks ---------------------------------------------------- */

/* The class as asyncio has it now: tests and tracers put their own in its place.
 */
static PyObject *
schedule_class(PyObject *names, PyObject *name)
{
    PyObject *type = PyDict_GetItemWithError(names, name);
    if (type == NULL && !PyErr_Occurred())
        PyErr_SetObject(PyExc_AttributeError, name);
    return Py_XNewRef(type);
}

PyObject *
yulapy_loop_create_future(PyObject *self, PyObject *unused)
{
    yulapy_state *state = ((yulapy_loop *)self)->state;
    PyObject *type = schedule_class(state->futures, state->str_Future);
    if (type == NULL)
        return NULL;
    PyObject *future = PyObject_Vectorcall(type, &self, 0, state->names_loop);
    Py_DECREF(type);
    return future;
}
/* Without a factory, and outside debug mode, what BaseEventLoop.create_task comes
 * to: Task(coro, loop=self, **kwargs). Everything else is left to that method. */
PyObject *
yulapy_loop_create_task(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    yulapy_state *state = loop->state;
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *stack[2 + 8] = {NULL};

    bool plain = nargs == 1 && keywords <= 7 && !loop->debug &&
                 (loop->task_factory == NULL || loop->task_factory == Py_None);
    if (!plain) {
        PyObject *method = PyObject_GetAttrString(state->base_loop,
                                                  "create_task");
        if (method == NULL || nargs + keywords > 8) {
            Py_XDECREF(method);
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "create_task(coro, **kwargs)");
            return NULL;
        }
        stack[0] = self;
        memcpy(stack + 1, args, (size_t)(nargs + keywords) * sizeof(*stack));
        PyObject *task = PyObject_Vectorcall(method, stack, (size_t)nargs + 1,
                                             kwnames);
        Py_DECREF(method);
        return task;
    }
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    PyObject *type = schedule_class(state->tasks, state->str_Task);
    if (type == NULL)
        return NULL;
    PyObject *names = keywords == 0
                          ? Py_NewRef(state->names_loop)
                          : PySequence_Concat(kwnames, state->names_loop);
    if (names == NULL) {
        Py_DECREF(type);
        return NULL;
    }
    memcpy(stack, args, (size_t)(nargs + keywords) * sizeof(*stack));
    stack[nargs + keywords] = self;
    PyObject *task = PyObject_Vectorcall(type, stack, 1, names);
    Py_DECREF(names);
    Py_DECREF(type);
    return task;
}
