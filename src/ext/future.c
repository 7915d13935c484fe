/* future.c: resolving an asyncio.Future from C. */
#include "yulapy.h"

void
yulapy_future_resolve(yulapy_loop *loop, PyObject *future, PyObject *outcome,
                      bool failed)
{
    yulapy_state *state = loop->state;
    PyObject *result = NULL;
    PyObject *done = PyObject_CallMethodNoArgs(future, state->str_done);

    if (done == Py_False) {
        PyObject *args[] = {future, outcome};
        result = PyObject_VectorcallMethod(failed ? state->str_set_exception
                                                  : state->str_set_result,
                                           args, 2, NULL);
    }
    if (PyErr_Occurred() && !yulapy_leaves_loop(loop))
        PyErr_WriteUnraisable(future);
    Py_XDECREF(done);
    Py_XDECREF(result);
}
