/* gil.c: the host table of the core, implemented by CPython. See gil.h. */
#include "gil.h"

/* Turns without a sleep between two passes through the eval breaker. The core
 * calls breathe once a turn and after every YULA_HOST_BREATH callbacks; a pass
 * costs about 50 ns, so one in eight is lost in the noise of a turn. */
#define GIL_BREATHS_PER_PASS 8

static void
gil_release(void *arg)
{
    yulapy_loop *loop = arg;
    loop->breaths = 0;
    loop->tstate = PyEval_SaveThread();
}

static void
gil_acquire(void *arg)
{
    yulapy_loop *loop = arg;
    PyEval_RestoreThread(loop->tstate);
}

static int
gil_breathe(void *arg)
{
    yulapy_loop *loop = arg;
    int err = PyErr_CheckSignals();

    if (err == 0 && ++loop->breaths >= GIL_BREATHS_PER_PASS) {
        loop->breaths = 0;
        PyObject *none = PyObject_CallNoArgs(loop->state->breath);
        Py_XDECREF(none);
        err = none == NULL ? -1 : 0;
    }
    if (err == 0)
        return 0;
    /* A signal handler raised: whatever it was leaves run_forever(), as it
     * does from asyncio's select(). */
    Py_XSETREF(loop->leaving, yulapy_take_exception());
    return 1;
}

void
yulapy_gil_host(yulapy_loop *loop, yula_host *out)
{
    *out = (yula_host){
        .release = gil_release,
        .acquire = gil_acquire,
        .breathe = gil_breathe,
        .arg = loop,
    };
}

int
yulapy_gil_init(yulapy_state *state)
{
    PyObject *globals = PyDict_New();
    if (globals == NULL)
        return -1;
    PyObject *function = PyRun_String("lambda: None", Py_eval_input, globals,
                                      globals);
    Py_DECREF(globals);
    state->breath = function;
    return function != NULL ? 0 : -1;
}
