/* awaitable.c: see awaitable.h. */
#include "awaitable.h"

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

void
yulapy_awaitable_raise(PyObject *const *args, Py_ssize_t nargs)
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
