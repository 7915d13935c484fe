/* c_api_spawn.c: a C task on the native loop, and the asyncio.Future of it. See
 * native_lane.h, I5.
 */
#include "native_lane.h"

#include <string.h>

static void
c_task_unref(yulapy_c_task *c_task)
{
    if (atomic_fetch_sub_explicit(&c_task->refs, 1, memory_order_acq_rel) == 1)
        PyMem_RawFree(c_task);
}

/* --- on the native loop ------------------------------------------------------- */

static void
c_task_end(yulapy_c_task *c_task, int result)
{
    yula_python *python = c_task->python;

    c_task->task = NULL;
    pthread_mutex_lock(&python->lock);
    c_task->result = result;
    c_task->next_ended = NULL;
    *python->ended_end = c_task;
    python->ended_end = &c_task->next_ended;
    if (python->open)
        yulapy_python_ring(python);
    pthread_mutex_unlock(&python->lock);
}

static int
c_task_main(yula_task *task, void *arg)
{
    yulapy_c_task *c_task = arg;

    c_task->task = task;
    if (c_task->canceled)
        yula_task_cancel(task);
    int result = c_task->main(task, c_task->arg);
    c_task_end(c_task, result);
    return result;
}

static void
c_task_start(yula_work *work, void *arg)
{
    yulapy_c_task *c_task = arg;
    int err = yula_task_spawn(c_task->python->native, &c_task->options,
                              c_task_main, c_task, NULL);
    if (err < 0)
        c_task_end(c_task, err);
}

static void
c_task_cancel(yula_work *work, void *arg)
{
    yulapy_c_task *c_task = arg;

    c_task->canceled = true;
    if (c_task->task != NULL)
        yula_task_cancel(c_task->task);
    c_task_unref(c_task);
}

/* --- on the Python loop ------------------------------------------------------- */

static PyObject *
c_task_default_finish(int status)
{
    if (status >= 0)
        return PyLong_FromLong(status);
    yulapy_raise_code(status);
    return NULL;
}

static void
c_task_resolve(yulapy_loop *loop, PyObject *future, PyObject *outcome,
               int status)
{
    PyObject *exc = outcome == NULL ? yulapy_take_exception() : NULL;

    if (status == YULA_ECANCELED) {
        PyObject *result = PyObject_CallMethodNoArgs(future,
                                                     loop->state->str_cancel);
        if (result == NULL)
            yulapy_python_report(loop, future);
        Py_XDECREF(result);
    }
    else {
        yulapy_future_resolve(loop, future, exc != NULL ? exc : outcome,
                              exc != NULL);
    }
    Py_XDECREF(exc);
}

static PyObject *
c_task_take_future(yulapy_c_task *c_task)
{
    yula_python *python = c_task->python;
    PyObject *future = c_task->future;

    if (c_task->prev != NULL)
        c_task->prev->next = c_task->next;
    else
        python->tasks = c_task->next;
    if (c_task->next != NULL)
        c_task->next->prev = c_task->prev;
    c_task->future = NULL;
    return future;
}

void
yulapy_c_task_finish(yulapy_c_task *c_task)
{
    yulapy_loop *loop = c_task->python->loop;
    int status = c_task->result;
    PyObject *future = c_task_take_future(c_task);
    PyObject *outcome = c_task->finish != NULL
                            ? c_task->finish(status, c_task->arg)
                            : c_task_default_finish(status);

    if (loop->python != NULL)
        c_task_resolve(loop, future, outcome, status);
    else
        PyErr_Clear(); /* the loop is closed: nobody can be told any more */
    Py_XDECREF(outcome);
    Py_DECREF(future);
    c_task_unref(c_task);
}

void
yulapy_c_tasks_forget(yula_python *python)
{
    while (python->tasks != NULL) {
        yulapy_c_task *c_task = python->tasks;
        Py_DECREF(c_task_take_future(c_task));
        c_task_unref(c_task);
    }
}

/* The future's done callback; self is a capsule that holds a reference. */
static PyObject *
c_task_on_done(PyObject *self, PyObject *future)
{
    yulapy_c_task *c_task = PyCapsule_GetPointer(self, NULL);

    if (c_task->future == NULL || c_task->cancel_posted)
        Py_RETURN_NONE;
    atomic_fetch_add(&c_task->refs, 1);
    c_task->cancel_posted = true;
    if (yula_python_post(c_task->python, &c_task->cancel) < 0)
        c_task_unref(c_task);
    Py_RETURN_NONE;
}

static PyMethodDef on_done_method = {"on_done", c_task_on_done, METH_O, NULL};

static void
capsule_free(PyObject *self)
{
    c_task_unref(PyCapsule_GetPointer(self, NULL));
}

/* 0, or -1 with an exception. */
static int
c_task_watch_future(yulapy_c_task *c_task, PyObject *future)
{
    PyObject *self = PyCapsule_New(c_task, NULL, capsule_free);
    PyObject *callback = NULL, *added = NULL;

    if (self == NULL)
        return -1;
    atomic_fetch_add(&c_task->refs, 1);
    callback = PyCFunction_New(&on_done_method, self);
    if (callback != NULL)
        added = PyObject_CallMethod(future, "add_done_callback", "O", callback);
    Py_DECREF(self);
    Py_XDECREF(callback);
    Py_XDECREF(added);
    return added != NULL ? 0 : -1;
}

static yulapy_c_task *
c_task_new(yula_python *python, const yula_task_options *options,
           yula_task_cb main, yula_python_finish_cb finish, void *arg)
{
    yulapy_c_task *c_task = PyMem_RawCalloc(1, sizeof(*c_task));

    if (c_task == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    c_task->refs = 1;
    c_task->python = python;
    c_task->options.size = sizeof(c_task->options);
    if (options != NULL)
        c_task->options = *options;
    c_task->options.lane = YULA_LANE_NATIVE;
    if (c_task->options.name != NULL) {
        strncpy(c_task->name, c_task->options.name, YULA_TASK_NAME_MAX);
        c_task->options.name = c_task->name;
    }
    c_task->main = main;
    c_task->finish = finish;
    c_task->arg = arg;
    yula_work_init(&c_task->start, YULA_LANE_NATIVE, c_task_start, c_task);
    yula_work_init(&c_task->cancel, YULA_LANE_NATIVE, c_task_cancel, c_task);
    return c_task;
}

/* Steals the reference to the future. */
static PyObject *
c_task_launch(yula_python *python, yulapy_c_task *c_task, PyObject *future)
{
    if (c_task_watch_future(c_task, future) < 0) {
        Py_DECREF(future);
        c_task_unref(c_task);
        return NULL;
    }
    c_task->future = Py_NewRef(future);
    c_task->next = python->tasks;
    if (python->tasks != NULL)
        python->tasks->prev = c_task;
    python->tasks = c_task;
    /* Open: the loop is, and this is its thread. */
    yula__must(yula_python_post(python, &c_task->start) == 0);
    return future;
}

PyObject *
yula_python_spawn(yula_python *python, const yula_task_options *options,
                  yula_task_cb main, yula_python_finish_cb finish, void *arg)
{
    yulapy_loop *loop = python->loop;

    if (loop == NULL || loop->python == NULL || python->forked) {
        yulapy_raise_code(YULA_ECLOSED);
        return NULL;
    }
    if (options != NULL && options->size != sizeof(*options)) {
        yulapy_raise_code(-EINVAL);
        return NULL;
    }
    assert(yula_task_current(loop->core) == NULL);
    PyObject *future = PyObject_CallMethodNoArgs(
        (PyObject *)loop, loop->state->str_create_future);
    if (future == NULL)
        return NULL;
    yulapy_c_task *c_task = c_task_new(python, options, main, finish, arg);
    if (c_task == NULL) {
        Py_DECREF(future);
        return NULL;
    }
    return c_task_launch(python, c_task, future);
}
