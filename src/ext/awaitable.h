/* awaitable.h: what an awaitable in C shares with a coroutine, for which tasks
 * and libraries take it: how a result, an exception and a neglect look.
 */
#ifndef YULAPY_AWAITABLE_H
#define YULAPY_AWAITABLE_H

#include "yulapy.h"

/* send(value): what am_send of its type makes of it. */
PyObject *yulapy_awaitable_send(PyObject *self, PyObject *value);
/* What send(value) returns for the outcome of am_send. Steals result. */
PyObject *yulapy_awaitable_sent(PySendResult sent, PyObject *result);

/* The same for tp_iternext, which `await` calls: NULL without an exception stands
 * for None. */
PyObject *yulapy_awaitable_next(yulapy_state *state, PySendResult sent,
                                PyObject *result);

/* Let go of the last result that was returned, if we still hold it. */
void yulapy_awaitable_forget(yulapy_state *state);

/* throw(value) or throw(type, value, traceback) while nothing else is awaited:
 * finish it, as its tp_clear does, and raise. */
PyObject *yulapy_awaitable_throw(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, inquiry finish);

/* In a finalizer: nobody awaited it. A pending exception stays. */
void yulapy_awaitable_warn(PyObject *self, const char *name);

/* am_await and tp_iter; cr_running; cr_frame and cr_code. */
PyObject *yulapy_awaitable_self(PyObject *self);
PyObject *yulapy_awaitable_false(PyObject *self, void *unused);
PyObject *yulapy_awaitable_none(PyObject *self, void *unused);

/* The rows that the method and the attribute table of each type have. */
/* clang-format off */
#define YULAPY_AWAITABLE_METHODS(throw_method, close_method)                   \
    {"send", yulapy_awaitable_send, METH_O, NULL},                             \
    {"throw", (PyCFunction)(void (*)(void))throw_method, METH_FASTCALL, NULL}, \
    {"close", close_method, METH_NOARGS, NULL}
#define YULAPY_AWAITABLE_ATTRIBUTES(get_name, get_qualified_name, get_await)   \
    {"__name__", get_name, NULL, NULL, NULL},                                  \
    {"__qualname__", get_qualified_name, NULL, NULL, NULL},                    \
    {"cr_await", get_await, NULL, NULL, NULL},                                 \
    {"cr_running", yulapy_awaitable_false, NULL, NULL, NULL},                  \
    {"cr_frame", yulapy_awaitable_none, NULL, NULL, NULL},                     \
    {"cr_code", yulapy_awaitable_none, NULL, NULL, NULL}
/* clang-format on */

#endif /* YULAPY_AWAITABLE_H */
