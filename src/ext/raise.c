/* raise.c: core codes to exceptions, and exceptions out of callbacks.
 *
 * The one place where a code of the core becomes a Python exception.
 */
#include "yulapy.h"

PyObject *
yulapy_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

void
yulapy_raise_exception(PyObject *exc)
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exc);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc,
                  PyException_GetTraceback(exc));
#endif
}

void
yulapy_raise_code(int code)
{
    if (code == -ENOMEM) {
        PyErr_NoMemory();
    }
    else if (code == YULA_ECLOSED) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    }
    else if (code > -4096) {
        errno = -code;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    else {
        PyErr_SetString(PyExc_OSError, yula_strerror(code));
    }
}

PyObject *
yulapy_error_new(int code)
{
    yulapy_raise_code(code);
    return yulapy_take_exception();
}

bool
yulapy_leaves_loop(yulapy_loop *loop)
{
    if (!PyErr_ExceptionMatches(PyExc_SystemExit) &&
        !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return false;
    Py_XSETREF(loop->leaving, yulapy_take_exception());
    if (loop->core != NULL)
        yula_loop_break(loop->core, 1);
    return true;
}

void
yulapy_failure(yulapy_loop *loop, PyObject *name, PyObject *const *args,
               size_t nargs)
{
    PyObject *function = PyObject_GetAttr(loop->state->failure, name);
    PyObject *result = NULL;
    if (function != NULL)
        result = PyObject_Vectorcall(function, args, nargs, NULL);
    Py_XDECREF(function);
    if (result == NULL && !yulapy_leaves_loop(loop))
        PyErr_WriteUnraisable((PyObject *)loop);
    Py_XDECREF(result);
}
