/* c_api_probe.c: an extension module that uses yula/python.h in every way, for
 * test_c_api.py, which compiles it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <yula/python.h>

#include <stdatomic.h>
#include <unistd.h>

/* Jobs alive, and the status with which the last wait of a C task ended. */
static _Atomic int jobs;
static _Atomic int last_status;

typedef struct job {
    yula_python *python;
    PyObject *callable; /* touched under the lock only */
    PyObject *outcome;  /* a result; an exception when failed */
    bool failed;
    int code;
    int64_t timeout_ns;
    int repeat;
    yula_work work; /* for post() */
} job;

static PyObject *
take_exception(void)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* --- under the lock ----------------------------------------------------------- */

static int
keep(PyObject *result, void *arg)
{
    job *job = arg;

    Py_CLEAR(job->outcome);
    job->failed = result == NULL;
    job->outcome = result != NULL ? Py_NewRef(result) : take_exception();
    return 0;
}

static int
call_it(void *arg)
{
    job *job = arg;
    PyObject *result = PyObject_CallNoArgs(job->callable);
    int status = keep(result, job);

    Py_XDECREF(result);
    return status;
}

static int
call_carelessly(void *arg)
{
    Py_XDECREF(PyObject_CallNoArgs(((job *)arg)->callable));
    return 7; /* whether an exception is pending or not */
}

static PyObject *
begin_it(void *arg)
{
    return PyObject_CallNoArgs(((job *)arg)->callable);
}

static void
job_free(job *job)
{
    Py_XDECREF(job->callable);
    Py_XDECREF(job->outcome);
    yula_python_unref(job->python);
    free(job);
    jobs--;
}

static PyObject *
finish(int status, void *arg)
{
    job *job = arg;
    PyObject *outcome = job->outcome;

    job->outcome = NULL;
    if (outcome == NULL)
        outcome = PyLong_FromLong(status);
    else if (job->failed) {
        PyErr_SetObject((PyObject *)Py_TYPE(outcome), outcome);
        Py_CLEAR(outcome);
    }
    job_free(job);
    return outcome;
}

/* --- C tasks ------------------------------------------------------------------ */

static int
task_return(yula_task *task, void *arg)
{
    return ((job *)arg)->code;
}

static int
task_sleep(yula_task *task, void *arg)
{
    job *job = arg;
    int err = yula_task_sleep(yula_task_loop(task), job->timeout_ns);

    last_status = err;
    return err < 0 ? err : job->code;
}

static int
task_thread(yula_task *task, void *arg)
{
    return gettid();
}

static int
task_call(yula_task *task, void *arg)
{
    job *job = arg;
    int err = 0;

    for (int i = 0; i < job->repeat && err >= 0; i++)
        err = yula_python_call(job->python, yula_task_loop(task), call_it, job);
    last_status = err;
    return err;
}

static int
task_call_carelessly(yula_task *task, void *arg)
{
    job *job = arg;
    return yula_python_call(job->python, yula_task_loop(task), call_carelessly,
                            job);
}

static int
task_await(yula_task *task, void *arg)
{
    job *job = arg;
    int err = 0;

    for (int i = 0; i < job->repeat && err >= 0; i++)
        err = yula_python_await(job->python, yula_task_loop(task), begin_it,
                                keep, job);
    last_status = err;
    return err;
}

static int
task_await_by_default(yula_task *task, void *arg)
{
    job *job = arg;
    int err = yula_python_await(job->python, yula_task_loop(task), begin_it,
                                NULL, job);
    last_status = err;
    return err == -EIO ? 5 : err;
}

/* Cancelled in one await, it asks Python once more. */
static int
task_await_twice(yula_task *task, void *arg)
{
    job *job = arg;
    yula_loop *loop = yula_task_loop(task);

    (void)yula_python_await(job->python, loop, begin_it, keep, job);
    last_status = yula_python_call(job->python, loop, call_it, job);
    return YULA_ECANCELED;
}

/* A deadline that passes while Python is awaited: its task is cancelled. */
static int
task_await_limited(yula_task *task, void *arg)
{
    job *job = arg;
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    int err = yula_deadline_enter(loop, &scope,
                                  yula_loop_now(loop) + job->timeout_ns);
    if (err == 0) {
        err = yula_python_await(job->python, loop, begin_it, NULL, job);
        err = yula_deadline_leave(&scope, err);
    }
    return err;
}

/* --- functions ---------------------------------------------------------------- */

static job *
job_new(PyObject *callable)
{
    job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    jobs++;
    job->repeat = 1;
    job->callable = Py_XNewRef(callable);
    if (yula_python_open(NULL, &job->python) == 0)
        return job;
    job_free(job);
    return NULL;
}

static PyObject *
job_spawn(job *job, yula_task_cb main)
{
    PyObject *future = yula_python_spawn(job->python, NULL, main, finish, job);

    if (future == NULL)
        job_free(job);
    return future;
}

static PyObject *
probe_spawn(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind",    "callable", "code",
                            "seconds", "repeat",   NULL};
    static const struct {
        const char *name;
        yula_task_cb main;
    } kinds[] = {
        {"return", task_return},
        {"sleep", task_sleep},
        {"thread", task_thread},
        {"call", task_call},
        {"call carelessly", task_call_carelessly},
        {"await", task_await},
        {"await by default", task_await_by_default},
        {"await twice", task_await_twice},
        {"await limited", task_await_limited},
    };
    const char *kind;
    PyObject *callable = NULL;
    int code = 0, repeat = 1;
    double seconds = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s|Oidi", names, &kind,
                                     &callable, &code, &seconds, &repeat))
        return NULL;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, kind) != 0)
            continue;
        job *job = job_new(callable);
        if (job == NULL)
            return NULL;
        job->code = code;
        job->repeat = repeat;
        job->timeout_ns = (int64_t)(seconds * 1e9);
        return job_spawn(job, kinds[i].main);
    }
    PyErr_SetString(PyExc_ValueError, kind);
    return NULL;
}

/* spawn_plain(code): neither options nor finish. */
static PyObject *
probe_spawn_plain(PyObject *module, PyObject *code)
{
    static job plain;
    yula_python *python;

    plain.code = (int)PyLong_AsLong(code);
    if (yula_python_open(NULL, &python) < 0)
        return NULL;
    PyObject *future = yula_python_spawn(python, NULL, task_return, NULL,
                                         &plain);
    yula_python_unref(python);
    return future;
}

static PyObject *
probe_open(PyObject *module, PyObject *loop)
{
    yula_python *python, *again;

    if (yula_python_open(loop, &python) < 0)
        return NULL;
    int err = yula_python_open(loop, &again);
    bool same = err == 0 && python == again;
    yula_python_unref(python);
    if (err == 0)
        yula_python_unref(again);
    return PyBool_FromLong(same);
}

static void
post_host(yula_work *work, void *arg)
{
    (void)call_it(arg);
    job_free(arg);
}

static void
post_native(yula_work *work, void *arg)
{
    job *job = arg;

    yula_work_init(&job->work, YULA_LANE_HOST, post_host, job);
    if (yula_python_post(job->python, &job->work) < 0)
        last_status = YULA_ECLOSED; /* and the job is lost */
}

/* post(callable): to the native loop, and from there to the Python loop. */
static PyObject *
probe_post(PyObject *module, PyObject *callable)
{
    job *job = job_new(callable);

    if (job == NULL)
        return NULL;
    yula_work_init(&job->work, YULA_LANE_NATIVE, post_native, job);
    if (yula_python_post(job->python, &job->work) < 0) {
        job_free(job);
        PyErr_SetString(PyExc_RuntimeError, "closed");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
probe_jobs(PyObject *module, PyObject *unused)
{
    return PyLong_FromLong(jobs);
}

static PyObject *
probe_last_status(PyObject *module, PyObject *unused)
{
    return PyLong_FromLong(last_status);
}

/* A bridge that outlives its loop. */
static yula_python *kept;

static PyObject *
probe_keep(PyObject *module, PyObject *unused)
{
    if (yula_python_open(NULL, &kept) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
probe_use_kept(PyObject *module, PyObject *unused)
{
    yula_work work;

    yula_work_init(&work, YULA_LANE_NATIVE, post_native, NULL);
    int err = yula_python_post(kept, &work);
    PyObject *future = yula_python_spawn(kept, NULL, task_return, NULL, NULL);
    bool refused = future == NULL && PyErr_ExceptionMatches(PyExc_RuntimeError);
    PyErr_Clear();
    Py_XDECREF(future);
    yula_python_unref(kept);
    return PyBool_FromLong(err == YULA_ECLOSED && refused);
}

/* --- the module --------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"spawn", (PyCFunction)(void (*)(void))probe_spawn,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"spawn_plain", probe_spawn_plain, METH_O, NULL},
    {"open", probe_open, METH_O, NULL},
    {"post", probe_post, METH_O, NULL},
    {"jobs", probe_jobs, METH_NOARGS, NULL},
    {"last_status", probe_last_status, METH_NOARGS, NULL},
    {"keep", probe_keep, METH_NOARGS, NULL},
    {"use_kept", probe_use_kept, METH_NOARGS, NULL},
    {NULL},
};

static int
module_exec(PyObject *module)
{
    return yula_python_import() < 0 ||
                   PyModule_AddIntMacro(module, YULA_ECANCELED) < 0 ||
                   PyModule_AddIntMacro(module, YULA_ECLOSED) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "c_api_probe",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_c_api_probe(void)
{
    return PyModuleDef_Init(&definition);
}
