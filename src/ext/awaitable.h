/* awaitable.h: what an awaitable in C shares with a coroutine, for which tasks
 * and libraries take it: how a result, an exception and a neglect look.
 */
#ifndef YULAPY_AWAITABLE_H
#define YULAPY_AWAITABLE_H

#include "yulapy.h"

/* What send(value) returns for the outcome of am_send. Steals result. */
PyObject *yulapy_awaitable_sent(PySendResult sent, PyObject *result);

/* The same for tp_iternext, which `await` calls: NULL without an exception stands
 * for None. */
PyObject *yulapy_awaitable_next(yulapy_state *state, PySendResult sent,
                                PyObject *result);

/* Let go of the last result that was returned, if we still hold it. */
void yulapy_awaitable_forget(yulapy_state *state);

/* Raise what throw(value) or throw(type, value, traceback) was given. */
void yulapy_awaitable_raise(PyObject *const *args, Py_ssize_t nargs);

/* In a finalizer: nobody awaited it. A pending exception stays. */
void yulapy_awaitable_warn(PyObject *self, const char *name);

/* am_await and tp_iter; cr_running; cr_frame and cr_code. */
PyObject *yulapy_awaitable_self(PyObject *self);
PyObject *yulapy_awaitable_false(PyObject *self, void *unused);
PyObject *yulapy_awaitable_none(PyObject *self, void *unused);

#endif /* YULAPY_AWAITABLE_H */
