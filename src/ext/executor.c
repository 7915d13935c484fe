/* executor.c: run_in_executor, and the queue and the threads of LoopExecutor.
 *
 * loop.run_in_executor(None, function) makes one asyncio future and one job. A
 * worker calls the function; the job comes back through the loop's inbox, and
 * the loop resolves the future. To everybody else the executor is a
 * ThreadPoolExecutor (yula/executor.py) whose queue is a WorkQueue, the type
 * below: what its submit() puts there runs on the same threads.
 *
 *  I1. A job is owned by the pool until it comes back, and then by the queue of
 *      the loop; its references are dropped with the interpreter lock held.
 *  I2. The pool knows nothing of Python and may outlive the loop; a job that
 *      ends without a loop is freed by its worker.
 *  I3. A worker that was counted runs yula_worker_main, or gives its place up
 *      when nobody can call it any more (worker_dealloc).
 */
#include "executor.h"

#include "loop/loop_i.h"
#include "loop/worker_i.h"
#include "loop_schedule.h"

typedef struct python_job {
    yula_job job;
    yulapy_state *state;
    yulapy_loop *loop; /* NULL: an item of ThreadPoolExecutor */
    PyObject *future;  /* of the loop */
    PyObject *outcome; /* result or exception; NULL: the function did not run */
    bool failed;       /* it is an exception */
    PyObject *context; /* of an item: what its run() takes from 3.14 on */
    PyObject *function;
    Py_ssize_t nargs;
    PyObject *args[];
} python_job;

/* ThreadPoolExecutor._work_queue */
typedef struct work_queue {
    PyObject_HEAD
    yulapy_state *state;
    yula_workers *workers;
    PyObject *context; /* see python_job */
} work_queue;

/* A worker to be: its thread calls it. */
typedef struct yulapy_worker {
    PyObject_HEAD
    yula_workers *workers; /* NULL once it runs */
    PyThreadState *tstate;
} yulapy_worker;

/* --- jobs ----------------------------------------------------------------------- */

static python_job *
job_new(yulapy_state *state, PyObject *function, PyObject *const *args,
        Py_ssize_t nargs)
{
    python_job *job = PyMem_Malloc(sizeof(*job) +
                                   (size_t)nargs * sizeof(*args));
    if (job == NULL)
        return (python_job *)PyErr_NoMemory();
    *job = (python_job){.state = state, .nargs = nargs};
    job->function = Py_NewRef(function);
    for (Py_ssize_t i = 0; i < nargs; i++)
        job->args[i] = Py_NewRef(args[i]);
    return job;
}

static void
job_drop_function(python_job *job)
{
    for (Py_ssize_t i = 0; i < job->nargs; i++)
        Py_DECREF(job->args[i]);
    job->nargs = 0;
    Py_CLEAR(job->function);
    Py_CLEAR(job->context);
}

static void
job_free(python_job *job)
{
    job_drop_function(job);
    Py_XDECREF(job->outcome);
    Py_XDECREF(job->future);
    Py_XDECREF(job->loop);
    PyMem_Free(job);
}

/* The job behind a queued work, if it is one of ours. */
static python_job *job_of_work(yula_work *work);

int
yulapy_executor_visit(yula_work *work, visitproc visit, void *arg)
{
    python_job *job = job_of_work(work);

    if (job == NULL)
        return 0;
    for (Py_ssize_t i = 0; i < job->nargs; i++)
        Py_VISIT(job->args[i]);
    Py_VISIT(job->function);
    Py_VISIT(job->outcome);
    Py_VISIT(job->future);
    Py_VISIT(job->loop);
    return 0;
}

bool
yulapy_executor_drop(yula_work *work)
{
    python_job *job = job_of_work(work);

    if (job != NULL)
        job_free(job);
    return job != NULL;
}

/* --- on a worker, with the interpreter lock ---------------------------------------- */

/* A batch of C functions must let other threads have the lock as well. */
static PyObject *
job_call(python_job *job)
{
    if (!PyFunction_Check(job->function)) {
        PyObject *none = PyObject_CallNoArgs(job->state->breath);
        if (none == NULL)
            return NULL;
        Py_DECREF(none);
    }
    return PyObject_Vectorcall(job->function, job->args, (size_t)job->nargs,
                               NULL);
}

static void
job_run(yula_job *core_job, void *arg)
{
    python_job *job = arg;
    PyObject *done = PyObject_CallMethodNoArgs(job->future,
                                               job->state->str_done);

    if (done == Py_False) {
        job->outcome = job_call(job);
        if (job->outcome == NULL) {
            job->outcome = yulapy_take_exception();
            job->failed = true;
        }
    }
    else if (done == NULL) {
        PyErr_WriteUnraisable(job->future);
    }
    Py_XDECREF(done);
    job_drop_function(job); /* as ThreadPoolExecutor: here, and now */
}

/* A _WorkItem, which keeps what its function raises. */
static void
item_run(yula_job *core_job, void *arg)
{
    python_job *item = arg;
    PyObject *args[] = {item->function, item->context};
    PyObject *result = PyObject_VectorcallMethod(
        item->state->str_run, args,
        (item->context != NULL ? 2 : 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);

    if (result == NULL)
        PyErr_WriteUnraisable(item->function);
    Py_XDECREF(result);
    job_free(item);
}

/* --- back on the loop ----------------------------------------------------------------- */

static void
job_done(yula_job *core_job, int status, void *arg)
{
    python_job *job = arg;

    if (status == YULA_ECANCELED) {
        PyObject *result = PyObject_CallMethodNoArgs(job->future,
                                                     job->state->str_cancel);
        if (result == NULL && !yulapy_leaves_loop(job->loop))
            PyErr_WriteUnraisable(job->future);
        Py_XDECREF(result);
    }
    else if (status == 0 && job->failed) {
        /* Through Python: asyncio replaces some exceptions. */
        PyObject *args[] = {job->future, job->outcome};
        yulapy_failure(job->loop, job->state->str_executor_failed, args, 2);
    }
    else if (status == 0 && job->outcome != NULL) {
        yulapy_future_resolve(job->loop, job->future, job->outcome, false);
    }
    job_free(job); /* YULA_ECLOSED: I2 */
}

static python_job *
job_of_work(yula_work *work)
{
    yula_job *job = yula__job_of_work(work);
    return job != NULL && job->done == job_done ? work->arg : NULL;
}

/* --- threads ---------------------------------------------------------------------------- */

static void
worker_acquire(void *thread)
{
    yulapy_worker *worker = thread;
    PyEval_RestoreThread(worker->tstate);
}

static void
worker_release(void *thread)
{
    yulapy_worker *worker = thread;
    worker->tstate = PyEval_SaveThread();
}

static PyObject *
worker_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    yulapy_worker *worker = (yulapy_worker *)self;
    yula_workers *workers = worker->workers;

    if (workers == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this worker has run");
        return NULL;
    }
    worker->workers = NULL;
    worker_release(worker);
    yula_worker_main(workers, worker);
    worker_acquire(worker);
    Py_RETURN_NONE;
}

static void
worker_dealloc(PyObject *self)
{
    yulapy_worker *worker = (yulapy_worker *)self;
    PyTypeObject *type = Py_TYPE(self);

    if (worker->workers != NULL) /* I3 */
        yula_worker_lost(worker->workers);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot worker_slots[] = {
    {Py_tp_dealloc, worker_dealloc},
    {Py_tp_call, worker_call},
    {0, NULL},
};

static PyType_Spec worker_spec = {
    .name = "yula._core.Worker",
    .basicsize = sizeof(yulapy_worker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = worker_slots,
};

/* workers has counted it. */
static PyObject *
worker_new(yulapy_state *state, yula_workers *workers)
{
    PyTypeObject *type = state->worker_type;
    yulapy_worker *worker = (yulapy_worker *)type->tp_alloc(type, 0);

    if (worker == NULL)
        yula_worker_lost(workers);
    else
        worker->workers = workers;
    return (PyObject *)worker;
}

/* The loop's own executor, made at its first job, and then its default unless
 * another one was set. Borrowed, or NULL with an exception. */
static PyObject *
loop_own_executor(yulapy_loop *loop)
{
    if (loop->own_executor != NULL)
        return loop->own_executor;
    PyObject *module = PyImport_ImportModule("yula.executor");
    PyObject *executor = NULL;
    if (module != NULL)
        executor = PyObject_CallMethod(module, "LoopExecutor", "O", loop);
    Py_XDECREF(module);
    if (executor == NULL)
        return NULL;
    if (loop->own_executor != NULL) /* a thread came in between */
        Py_DECREF(executor);
    else
        loop->own_executor = executor;
    if (loop->default_executor == NULL || loop->default_executor == Py_None)
        Py_XSETREF(loop->default_executor, Py_NewRef(loop->own_executor));
    return loop->own_executor;
}

/* yula_worker_host.start. What a signal handler raises while a thread starts
 * leaves the loop; the thread is there nevertheless. */
static int
loop_start_worker(yula_workers *workers, void *arg)
{
    yulapy_loop *loop = arg;
    PyObject *executor = loop_own_executor(loop), *started = NULL;
    PyObject *worker = NULL;

    if (executor == NULL) {
        if (!yulapy_leaves_loop(loop))
            PyErr_WriteUnraisable((PyObject *)loop);
        return -ENOMEM;
    }
    worker = worker_new(loop->state, workers);
    if (worker != NULL) /* from here on I3 takes care */
        started = PyObject_CallMethodOneArg(
            executor, loop->state->str__start_worker, worker);
    if (started == NULL && !yulapy_leaves_loop(loop))
        PyErr_Clear(); /* no thread to be had: run_in_executor says so */
    Py_XDECREF(worker);
    Py_XDECREF(started);
    return 0;
}

int
yulapy_executor_init(yulapy_loop *loop)
{
    yula_worker_host host = {
        .start = loop_start_worker,
        .acquire = worker_acquire,
        .release = worker_release,
        .arg = loop,
    };
    return yula_loop_set_worker_host(loop->core, &host);
}

/* --- run_in_executor ----------------------------------------------------------------------- */

static PyObject *
loop_asyncio_run_in_executor(yulapy_loop *loop, PyObject *const *args,
                             Py_ssize_t nargs)
{
    PyObject *function = PyObject_GetAttr(loop->state->base_loop,
                                          loop->state->str_run_in_executor);
    PyObject *method = NULL, *future = NULL;

    if (function != NULL)
        method = PyMethod_New(function, (PyObject *)loop);
    if (method != NULL)
        future = PyObject_Vectorcall(method, args, (size_t)nargs, NULL);
    Py_XDECREF(function);
    Py_XDECREF(method);
    return future;
}

/* Whether somebody (a tracer) has put a submit() of their own into
 * ThreadPoolExecutor: then that is what has to be called. Looked at again when
 * the class has changed. 1, 0 or -1. */
static int
loop_submit_is_replaced(yulapy_loop *loop)
{
    PyTypeObject *type = Py_TYPE(loop->own_executor);

    if (__builtin_expect(loop->executor_version == type->tp_version_tag &&
                             loop->executor_version != 0,
                         1))
        return loop->submit_replaced;
    PyObject *answer = PyObject_CallMethodNoArgs(
        loop->own_executor, loop->state->str__submit_is_replaced);
    if (answer == NULL)
        return -1;
    loop->submit_replaced = answer == Py_True;
    loop->executor_version = type->tp_version_tag;
    Py_DECREF(answer);
    return loop->submit_replaced;
}

/* Whether the default executor is the loop's own, and to be used directly. Makes
 * it when there is none. 1, 0 or -1. */
static int
loop_default_is_own(yulapy_loop *loop)
{
    PyObject *executor = loop->default_executor;

    if (executor == NULL || executor == Py_None) {
        /* It was shut down and taken away: asyncio makes a new one. */
        if (loop->own_executor != NULL &&
            yula__workers_are_shut(loop->core->workers))
            return 0;
        if (loop_own_executor(loop) == NULL)
            return -1;
        Py_XSETREF(loop->default_executor, Py_NewRef(loop->own_executor));
    }
    else if (executor != loop->own_executor) {
        return 0;
    }
    int replaced = loop_submit_is_replaced(loop);
    return replaced < 0 ? -1 : !replaced;
}

static PyObject *
loop_submit(yulapy_loop *loop, PyObject *const *args, Py_ssize_t nargs)
{
    yulapy_state *state = loop->state;
    PyObject *future = PyObject_CallMethodNoArgs((PyObject *)loop,
                                                 state->str_create_future);
    if (future == NULL)
        return NULL;
    python_job *job = job_new(state, args[1], args + 2, nargs - 2);
    if (job == NULL) {
        Py_DECREF(future);
        return NULL;
    }
    job->loop = (yulapy_loop *)Py_NewRef(loop);
    job->future = Py_NewRef(future);
    int err = yula_job_submit_host(loop->core, &job->job, job_run, job_done,
                                   job);
    if (__builtin_expect(err == 0, 1))
        return future;
    job_free(job);
    Py_DECREF(future);
    if (err == -ESHUTDOWN) /* which knows what to say */
        return loop_asyncio_run_in_executor(loop, args, nargs);
    if (err == -EAGAIN)
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
    else
        yulapy_raise_code(err);
    return NULL;
}

static const char *const executor_function[] = {"executor", "func", NULL};

PyObject *
yulapy_loop_run_in_executor(PyObject *self, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    yulapy_loop *loop = (yulapy_loop *)self;

    if (nargs < 2)
        return yulapy_loop_from_keywords(self, args, nargs, kwnames,
                                         yulapy_loop_run_in_executor,
                                         "run_in_executor", executor_function);
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0) {
        PyErr_Format(PyExc_TypeError,
                     "run_in_executor() got an unexpected keyword argument %R",
                     PyTuple_GET_ITEM(kwnames, 0));
        return NULL;
    }
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    if (args[0] != Py_None)
        return loop_asyncio_run_in_executor(loop, args, nargs);
    if (yulapy_loop_check_debug(loop, args[1], "run_in_executor", false) < 0)
        return NULL;
    if (loop->executor_shutdown_called) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Executor shutdown has been called");
        return NULL;
    }
    int own = loop_default_is_own(loop);
    if (own < 0)
        return NULL;
    return own ? loop_submit(loop, args, nargs)
               : loop_asyncio_run_in_executor(loop, args, nargs);
}

/* --- the queue of the executor ------------------------------------------------------ */

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    yulapy_state *state = yulapy_state_of_type(type);
    PyObject *loop, *context;
    unsigned max;

    if (state == NULL || !PyArg_ParseTuple(args, "O!IO", state->loop_type,
                                           &loop, &max, &context))
        return NULL;
    if (yulapy_loop_check_open((yulapy_loop *)loop) < 0)
        return NULL;
    work_queue *self = (work_queue *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    yula_loop *core = ((yulapy_loop *)loop)->core;
    self->state = state;
    self->context = Py_XNewRef(yulapy_none_to_null(context));
    self->workers = core->workers;
    yula__workers_ref(self->workers);
    yula_loop_host_jobs(core, max);
    return (PyObject *)self;
}

static PyObject *
queue_put(PyObject *self, PyObject *item)
{
    work_queue *queue = (work_queue *)self;

    if (item == Py_None) { /* by shutdown(), and at exit */
        yula__workers_shut(queue->workers);
        Py_RETURN_NONE;
    }
    python_job *job = job_new(queue->state, item, NULL, 0);
    if (job == NULL)
        return NULL;
    job->context = Py_XNewRef(queue->context);
    yula__workers_add(queue->workers, &job->job, item_run, job);
    Py_RETURN_NONE;
}

/* What shutdown(cancel_futures=True) empties the queue with: the loop's jobs are
 * cancelled here, on their loop; items are returned. */
static PyObject *
queue_get_nowait(PyObject *self, PyObject *unused)
{
    work_queue *queue = (work_queue *)self;
    yula_job *core_job;

    while ((core_job = yula__workers_take(queue->workers)) != NULL) {
        python_job *job = core_job->work.arg;
        if (job->loop == NULL) {
            PyObject *item = Py_NewRef(job->function);
            job_free(job);
            return item;
        }
        if (!yula__workers_return(queue->workers, core_job, YULA_ECANCELED))
            job_free(job);
    }
    PyObject *module = PyImport_ImportModule("queue");
    PyObject *empty = NULL;
    if (module != NULL)
        empty = PyObject_GetAttrString(module, "Empty");
    Py_XDECREF(module);
    if (empty != NULL)
        PyErr_SetNone(empty);
    Py_XDECREF(empty);
    return NULL;
}

static PyObject *
queue_qsize(PyObject *self, PyObject *unused)
{
    return PyLong_FromUnsignedLong(
        yula__workers_waiting(((work_queue *)self)->workers));
}

static PyObject *
queue_is_shut(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(
        yula__workers_are_shut(((work_queue *)self)->workers));
}

static PyObject *
queue_worker(PyObject *self, PyObject *unused)
{
    work_queue *queue = (work_queue *)self;

    if (!yula__workers_expect(queue->workers))
        Py_RETURN_NONE;
    return worker_new(queue->state, queue->workers);
}

static PyObject *
queue_forked(PyObject *self, PyObject *unused)
{
    yula__workers_fork(((work_queue *)self)->workers);
    Py_RETURN_NONE;
}

static int
queue_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((work_queue *)self)->context);
    return 0;
}

static int
queue_clear(PyObject *self)
{
    Py_CLEAR(((work_queue *)self)->context);
    return 0;
}

static void
queue_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)queue_clear(self);
    yula__workers_unref(((work_queue *)self)->workers);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef queue_methods[] = {
    {"put", queue_put, METH_O,
     PyDoc_STR("put($self, item, /)\n--\n\nRun item.run() on a worker. None: "
               "no more will come.")},
    {"get_nowait", queue_get_nowait, METH_NOARGS,
     PyDoc_STR("get_nowait($self)\n--\n\nTake an item back that no worker has "
               "begun, or raise\nqueue.Empty. Functions of the loop's "
               "run_in_executor() are cancelled.")},
    {"qsize", queue_qsize, METH_NOARGS,
     PyDoc_STR("qsize($self)\n--\n\nHow many functions wait for a worker.")},
    {"worker", queue_worker, METH_NOARGS,
     PyDoc_STR("worker($self)\n--\n\nWhat one more thread should call, or None "
               "when there are enough.")},
    {"is_shut", queue_is_shut, METH_NOARGS, NULL},
    {"_forked", queue_forked, METH_NOARGS, NULL},
    {NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, "The queue of a LoopExecutor, served by the loop's workers."},
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},
    {Py_tp_methods, queue_methods},
    {0, NULL},
};

static PyType_Spec queue_spec = {
    .name = "yula._core.WorkQueue",
    .basicsize = sizeof(work_queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = queue_slots,
};

int
yulapy_executor_add_types(PyObject *module, yulapy_state *state)
{
    state->worker_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &worker_spec, NULL);
    if (state->worker_type == NULL)
        return -1;
    state->work_queue_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &queue_spec, NULL);
    if (state->work_queue_type == NULL)
        return -1;
    return PyModule_AddType(module, state->work_queue_type);
}
