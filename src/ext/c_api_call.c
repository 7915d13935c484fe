/* c_api_call.c: a C task asks Python for something, and waits.
 *
 * A request lies on the task's stack. It is queued for the Python loop (not begun),
 * run there, perhaps active (it waits for a future), and comes back; from then on
 * it is the task's again. See native_lane.h, I4.
 */
#include "native_lane.h"

#include "coro/await_i.h"

/* --- coming back ------------------------------------------------------------- */

/* Whether it is the native loop's, which outlives whatever the Python loop's thread
 * posts to it (I6): no lock is held while that is woken. On one CPU the woken
 * thread runs at once, and would then wait for the lock, behind whatever computes. */
static bool
request_is_native(const yulapy_request *request)
{
    return request->loop == request->python->native;
}

/* Whoever posted this may be in yula_work_post still, and use our loop, which
 * could be gone by then if we just went on: wait until it has let go. */
static void
request_back(yula_work *work, void *arg)
{
    yulapy_request *request = arg;

    if (!request_is_native(request)) {
        pthread_mutex_lock(&request->python->lock);
        pthread_mutex_unlock(&request->python->lock);
    }
    yula_loop_unref(request->loop);
    yula_task_resume(request->task, request->status);
}

/* The request is not to be looked at afterwards. */
static void
request_complete(yulapy_request *request, int status)
{
    yula_python *python = request->python;

    request->status = status;
    if (request_is_native(request)) {
        yula_work_post(request->loop, &request->back);
        return;
    }
    pthread_mutex_lock(&python->lock);
    yula_work_post(request->loop, &request->back);
    pthread_mutex_unlock(&python->lock);
}

/* --- with the interpreter lock ------------------------------------------------ */

static PyObject *
canceled_error(void)
{
    PyObject *module = PyImport_ImportModule("asyncio.exceptions");
    PyObject *type = NULL;

    if (module != NULL)
        type = PyObject_GetAttrString(module, "CancelledError");
    Py_XDECREF(module);
    return type;
}

/* Whether the pending exception says that what was awaited was cancelled. */
static bool
canceled_is_pending(void)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    PyObject *canceled = canceled_error();
    bool matches = canceled != NULL &&
                   PyErr_GivenExceptionMatches(type, canceled);
    Py_XDECREF(canceled);
    PyErr_Clear(); /* a failed import: then it is none of asyncio's */
    PyErr_Restore(type, value, traceback);
    return matches;
}

/* Without an end of the caller's. */
static int
request_default_end(yulapy_request *request, PyObject *result, bool canceled)
{
    if (result != NULL)
        return 0;
    if (canceled)
        PyErr_Clear(); /* it is the status */
    return canceled ? YULA_ECANCELED : -EIO;
}

/* result: what came of the awaitable, or NULL with an exception. */
static int
request_end(yulapy_request *request, PyObject *result)
{
    yula_python *python = request->python;
    bool canceled = result == NULL && canceled_is_pending();
    int status = request->end != NULL
                     ? request->end(result, request->arg)
                     : request_default_end(request, result, canceled);

    if (canceled && canceled_is_pending())
        PyErr_Clear(); /* nothing went wrong */
    if (PyErr_Occurred())
        yulapy_python_report(python->loop, NULL);
    pthread_mutex_lock(&python->lock);
    if (canceled && request->canceled)
        status = YULA_ECANCELED; /* by us */
    pthread_mutex_unlock(&python->lock);
    return status;
}

static void
request_activate(yulapy_request *request, PyObject *future, PyObject *callback)
{
    yula_python *python = request->python;

    request->future = Py_NewRef(future);
    request->callback = Py_NewRef(callback);
    request->prev = NULL;
    request->next = python->active;
    if (python->active != NULL)
        python->active->prev = request;
    python->active = request;
}

/* Returns the future: the caller's. The callback knows no request any more. */
static PyObject *
request_deactivate(yulapy_request *request)
{
    yula_python *python = request->python;
    PyObject *future = request->future, *callback = request->callback;

    if (request->prev != NULL)
        request->prev->next = request->next;
    else
        python->active = request->next;
    if (request->next != NULL)
        request->next->prev = request->prev;
    request->future = request->callback = NULL;
    if (callback != NULL) {
        (void)PyCapsule_SetContext(callback, NULL);
        Py_DECREF(callback);
    }
    return future;
}

/* The done callback; self is a capsule whose context is the request. */
static PyObject *
request_on_done(PyObject *self, PyObject *unused)
{
    yulapy_request *request = PyCapsule_GetContext(self);

    if (request == NULL)
        Py_RETURN_NONE; /* the loop was closed, or we were forked */
    PyObject *future = request_deactivate(request);
    PyObject *result = PyObject_CallMethod(future, "result", NULL);
    int status = request_end(request, result);
    Py_XDECREF(result);
    Py_DECREF(future);
    request_complete(request, status);
    Py_RETURN_NONE;
}

static PyMethodDef on_done_method = {"on_done", request_on_done, METH_O, NULL};

/* 0, or -1 with an exception. */
static int
request_wait_for(yulapy_request *request, PyObject *future)
{
    PyObject *self = PyCapsule_New(&on_done_method, NULL, NULL);
    PyObject *callback = NULL, *added = NULL;

    if (self != NULL && PyCapsule_SetContext(self, request) == 0)
        callback = PyCFunction_New(&on_done_method, self);
    if (callback != NULL) {
        request_activate(request, future, self);
        added = PyObject_CallMethod(future, "add_done_callback", "O", callback);
        if (added == NULL)
            Py_DECREF(request_deactivate(request));
    }
    Py_XDECREF(self);
    Py_XDECREF(callback);
    Py_XDECREF(added);
    return added != NULL ? 0 : -1;
}

/* Anything that can be awaited, as a future. Steals awaitable. */
static PyObject *
future_of(yulapy_loop *loop, PyObject *awaitable)
{
    PyObject *future = NULL;

    if (PyCoro_CheckExact(awaitable)) {
        future = PyObject_CallMethod((PyObject *)loop, "create_task", "O",
                                     awaitable);
    }
    else {
        PyObject *ensure = PyDict_GetItemString(loop->state->tasks,
                                                "ensure_future");
        PyObject *keywords = Py_BuildValue("{s:O}", "loop", loop);
        PyObject *args = PyTuple_Pack(1, awaitable);
        if (ensure != NULL && keywords != NULL && args != NULL)
            future = PyObject_Call(ensure, args, keywords);
        Py_XDECREF(keywords);
        Py_XDECREF(args);
    }
    Py_DECREF(awaitable);
    return future;
}

static void
request_await(yulapy_request *request)
{
    PyObject *future = request->begin(request->arg);

    if (future != NULL)
        future = future_of(request->python->loop, future);
    bool waits = future != NULL && request_wait_for(request, future) == 0;
    Py_XDECREF(future);
    if (!waits)
        request_complete(request, request_end(request, NULL));
}

void
yulapy_request_run(yulapy_request *request)
{
    if (request->call == NULL) {
        request_await(request);
        return;
    }
    int status = request->call(request->arg);
    if (PyErr_Occurred())
        yulapy_python_report(request->python->loop, NULL);
    request_complete(request, status);
}

/* --- cancelling -------------------------------------------------------------- */

/* The futures of requests to cancel: collected first, since cancelling calls out.
 */
static PyObject *
requests_to_cancel(yula_python *python)
{
    PyObject *futures = PyList_New(0);
    bool failed = futures == NULL;

    pthread_mutex_lock(&python->lock);
    for (yulapy_request *request = python->active; request != NULL && !failed;
         request = request->next) {
        if (request->canceled && !request->cancel_sent) {
            request->cancel_sent = true;
            failed = PyList_Append(futures, request->future) < 0;
        }
    }
    pthread_mutex_unlock(&python->lock);
    return futures;
}

void
yulapy_requests_cancel(yula_python *python)
{
    PyObject *futures = requests_to_cancel(python);

    for (Py_ssize_t i = 0; futures != NULL && i < PyList_GET_SIZE(futures);
         i++) {
        PyObject *future = PyList_GET_ITEM(futures, i);
        PyObject *result = PyObject_CallMethodNoArgs(
            future, python->loop->state->str_cancel);
        if (result == NULL)
            yulapy_python_report(python->loop, future);
        Py_XDECREF(result);
    }
    if (PyErr_Occurred())
        yulapy_python_report(python->loop, NULL);
    Py_XDECREF(futures);
}

static bool
request_withdraw(yula_task *task, void *arg)
{
    yulapy_request *request = arg;
    yula_python *python = request->python;
    yulapy_request **link = &python->queued;

    pthread_mutex_lock(&python->lock);
    bool begun = request->begun;
    if (!begun) {
        while (*link != request)
            link = &(*link)->next;
        *link = request->next;
        if (python->queue_end == &request->next)
            python->queue_end = link;
    }
    else if (request->call == NULL && python->open) {
        request->canceled = python->cancels = true;
        yulapy_python_ring(python);
    }
    pthread_mutex_unlock(&python->lock);
    if (!begun)
        yula_loop_unref(request->loop);
    return !begun;
}

/* --- the end ----------------------------------------------------------------- */

void
yulapy_requests_close(yula_python *python)
{
    for (;;) {
        pthread_mutex_lock(&python->lock);
        yulapy_request *request = python->queued;
        if (request != NULL) {
            python->queued = request->next;
            request->begun = true;
        }
        pthread_mutex_unlock(&python->lock);
        if (request == NULL)
            break;
        request_complete(request, YULA_ECLOSED);
    }
    python->queue_end = &python->queued;
    while (python->active != NULL) {
        yulapy_request *request = python->active;
        PyObject *future = request_deactivate(request);
        PyObject *canceled = canceled_error();
        if (canceled != NULL)
            PyErr_SetNone(canceled);
        Py_XDECREF(canceled);
        (void)request_end(request, NULL);
        Py_DECREF(future);
        request_complete(request, YULA_ECLOSED);
    }
}

void
yulapy_requests_forget(yula_python *python)
{
    while (python->active != NULL)
        Py_DECREF(request_deactivate(python->active));
}

/* --- in a task ---------------------------------------------------------------- */

static int
request_send(yulapy_request *request, const char *waits_for)
{
    yula_python *python = request->python;

    /* On the Python loop itself a task would run with its lock, or keep it. */
    if (request->loop->host != NULL)
        return -EINVAL;
    int err = yula_task_check(request->loop);
    if (err < 0)
        return err;
    request->task = yula_task_current(request->loop);
    yula_work_init(&request->back, yula__await_lane(request->loop),
                   request_back, request);
    bool native = request_is_native(request), rings = false;
    pthread_mutex_lock(&python->lock);
    bool open = python->open;
    if (open) {
        request->next = NULL;
        *python->queue_end = request;
        python->queue_end = &request->next;
        yula_loop_ref(request->loop);
        if (native)
            rings = yulapy_python_take_bell(python);
        else
            yulapy_python_ring(python);
    }
    pthread_mutex_unlock(&python->lock);
    if (rings)
        yula_work_post(python->core, &python->bell); /* I6 */
    return open ? yula_task_suspend(request->task, waits_for, request_withdraw,
                                    request)
                : YULA_ECLOSED;
}

int
yula_python_call(yula_python *python, yula_loop *loop, yula_python_call_cb cb,
                 void *arg)
{
    yulapy_request request = {
        .python = python, .loop = loop, .call = cb, .arg = arg};
    return request_send(&request, "Python call");
}

int
yula_python_await(yula_python *python, yula_loop *loop,
                  yula_python_begin_cb begin, yula_python_end_cb end, void *arg)
{
    yulapy_request request = {
        .python = python, .loop = loop, .begin = begin, .end = end, .arg = arg};
    return request_send(&request, "Python await");
}
