/* awaitable.c: see awaitable.h. */
#include "awaitable.h"
#include "streams.h"

#define STOP_REUSE (YULAPY_REUSE && PY_VERSION_HEX >= 0x030c0000)

PyObject *
yulapy_awaitable_sent(PySendResult sent, PyObject *result)
{
    if (sent == PYGEN_NEXT)
        return result;
    if (sent == PYGEN_ERROR)
        return NULL;
    if (result == Py_None) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    else {
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
        if (stop != NULL)
            yulapy_raise_exception(stop);
    }
    Py_DECREF(result);
    return NULL;
}

PyObject *
yulapy_awaitable_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult sent = Py_TYPE(self)->tp_as_async->am_send(self, value,
                                                            &result);
    return yulapy_awaitable_sent(sent, result);
}

/* Raise StopIteration(value), stealing it. From 3.12 on the interpreter makes an
 * exception of every one that is raised, only to take the value out again. So
 * does this, once, and gives it a new value for as long as nobody else holds it.
 */
static void
awaitable_stop(yulapy_state *state, PyObject *value)
{
#if STOP_REUSE
    PyStopIterationObject *stop = (PyStopIterationObject *)state->streams->stop;
    if (stop != NULL && Py_REFCNT(stop) == 1 && stop->traceback == NULL &&
        stop->context == NULL) {
        Py_XSETREF(stop->value, value);
        PyErr_SetRaisedException(Py_NewRef((PyObject *)stop));
        return;
    }
    PyObject *fresh = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (fresh != NULL) {
        Py_XSETREF(state->streams->stop, Py_NewRef(fresh));
        PyErr_SetRaisedException(fresh);
    }
#else
    /* What can be its argument as it is, is. */
    PyObject *stop = PyTuple_Check(value) || PyExceptionInstance_Check(value)
                         ? PyObject_CallOneArg(PyExc_StopIteration, value)
                         : Py_NewRef(value);
    if (stop != NULL)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
#endif
    Py_DECREF(value);
}

PyObject *
yulapy_awaitable_next(yulapy_state *state, PySendResult sent, PyObject *result)
{
    if (sent == PYGEN_NEXT || result == NULL)
        return result;
    if (result == Py_None)
        Py_DECREF(result);
    else
        awaitable_stop(state, result);
    return NULL;
}

/* The value in there is the last result; free it when the next one comes. */
void
yulapy_awaitable_forget(yulapy_state *state)
{
    PyStopIterationObject *stop = (PyStopIterationObject *)state->streams->stop;
    if (stop != NULL && Py_REFCNT(stop) == 1)
        Py_CLEAR(stop->value);
}

static void
awaitable_raise(PyObject *const *args, Py_ssize_t nargs)
{
    if (PyExceptionInstance_Check(args[0]))
        PyErr_SetObject((PyObject *)Py_TYPE(args[0]), args[0]);
    else if (PyExceptionClass_Check(args[0]))
        PyErr_SetObject(args[0],
                        nargs > 1 ? yulapy_none_to_null(args[1]) : NULL);
    else
        PyErr_SetString(PyExc_TypeError,
                        "exceptions must be classes or instances deriving from "
                        "BaseException");
}

PyObject *
yulapy_awaitable_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       inquiry finish)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
        return NULL;
    }
    Py_INCREF(self);
    (void)finish(self);
    awaitable_raise(args, nargs);
    Py_DECREF(self);
    return NULL;
}

void
yulapy_awaitable_warn(PyObject *self, const char *name)
{
    PyObject *error = yulapy_take_exception();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "coroutine '%s' was never awaited", name) < 0)
        PyErr_WriteUnraisable(self);
    if (error != NULL)
        yulapy_raise_exception(error);
}

PyObject *
yulapy_awaitable_self(PyObject *self)
{
    return Py_NewRef(self);
}

PyObject *
yulapy_awaitable_false(PyObject *self, void *unused)
{
    Py_RETURN_FALSE;
}

PyObject *
yulapy_awaitable_none(PyObject *self, void *unused)
{
    Py_RETURN_NONE;
}
