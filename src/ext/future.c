/* future.c: making and resolving an asyncio.Future from C.
 *
 * What suspends a task suspends on a future, and half of that future's price is
 * its memory and the call of its type. So the last few that were waited for are
 * kept and initialised anew, if by then nobody else has a reference.
 *
 *  I1. A future is initialised anew only if ours is the only reference and no
 *      weak one was made: nobody can tell that it was there.
 */
#include "yulapy.h"

#if defined(Py_GIL_DISABLED)
/* The reference count is split between threads: always make a new one. */
#define FUTURE_REUSE 0
#else
#define FUTURE_REUSE 1
#endif

#define FUTURE_SPARES                                                          \
    (sizeof(((yulapy_loop *)NULL)->spare_futures) / sizeof(PyObject *))

static bool
future_is_ours(PyObject *future)
{
    Py_ssize_t weak = Py_TYPE(future)->tp_weaklistoffset;
    return Py_REFCNT(future) == 1 && weak != 0 &&
           *(PyObject **)((char *)future + weak) == NULL;
}

/* One of the spare futures, taken out; or NULL. The handle that wakes a task
 * holds its future a little longer than the task: not always the last one. */
static PyObject *
future_take_spare(yulapy_loop *loop)
{
    for (size_t i = 0; i < FUTURE_SPARES; i++) {
        PyObject **place = &loop->spare_futures[i];
        if (*place != NULL && future_is_ours(*place)) {
            PyObject *future = *place;
            *place = NULL;
            return future;
        }
    }
    return NULL;
}

PyObject *
yulapy_future_new(yulapy_loop *loop)
{
    PyTypeObject *type = (PyTypeObject *)loop->state->future_type;

    if (loop->future_keywords == NULL) {
        loop->future_keywords = PyDict_New();
        if (loop->future_keywords == NULL ||
            PyDict_SetItem(loop->future_keywords, loop->state->str_loop,
                           (PyObject *)loop) < 0)
            return NULL;
    }
    PyObject *future = future_take_spare(loop);
    if (future == NULL)
        future = type->tp_new(type, loop->state->empty_tuple,
                              loop->future_keywords);
    /* Without a keyword it takes the loop that runs on this thread, at half the
     * price: if that is ours. */
    bool running = loop->thread_id != NULL && loop->thread_id != Py_None &&
                   loop->core != NULL && yula_loop_on_own_thread(loop->core);
    if (future != NULL &&
        type->tp_init(future, loop->state->empty_tuple,
                      running ? NULL : loop->future_keywords) < 0)
        Py_CLEAR(future);
    return future;
}

void
yulapy_future_give_back(yulapy_loop *loop, PyObject *future)
{
    if (!FUTURE_REUSE || loop->core == NULL || loop->debug ||
        !Py_IS_TYPE(future, (PyTypeObject *)loop->state->future_type)) {
        Py_DECREF(future);
        return;
    }
    PyObject **place =
        &loop->spare_futures[loop->spare_future++ % FUTURE_SPARES];
    PyObject *old = *place;
    *place = future;
    Py_XDECREF(old);
}

int
yulapy_future_traverse(yulapy_loop *loop, visitproc visit, void *arg)
{
    for (size_t i = 0; i < FUTURE_SPARES; i++)
        Py_VISIT(loop->spare_futures[i]);
    Py_VISIT(loop->future_keywords);
    return 0;
}

void
yulapy_future_drop_spare(yulapy_loop *loop)
{
    for (size_t i = 0; i < FUTURE_SPARES; i++)
        Py_CLEAR(loop->spare_futures[i]);
    Py_CLEAR(loop->future_keywords);
}

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
