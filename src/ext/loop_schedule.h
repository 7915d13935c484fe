/* loop_schedule.h: methods of the loop that schedule, for its method table. */
#ifndef YULAPY_LOOP_SCHEDULE_H
#define YULAPY_LOOP_SCHEDULE_H

#include "yulapy.h"

typedef PyObject *(*yulapy_method)(PyObject *, PyObject *const *, Py_ssize_t,
                                   PyObject *);

int yulapy_loop_context_argument(yulapy_state *state, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames,
                                 const char *method, PyObject **out);
/* Debug mode: what BaseEventLoop checks before it takes a callback. 0 or -1. */
int yulapy_loop_check_debug(yulapy_loop *loop, PyObject *callback,
                            const char *method, bool thread);
int yulapy_loop_look_for_overrides(yulapy_loop *loop);
PyObject *yulapy_loop_time(PyObject *self, PyObject *unused);
PyObject *yulapy_loop_from_keywords(PyObject *self, PyObject *const *args,
                                    Py_ssize_t nargs, PyObject *kwnames,
                                    yulapy_method function, const char *method,
                                    const char *const *names);
PyObject *yulapy_loop_call_soon(PyObject *self, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_call_soon_threadsafe(PyObject *self,
                                           PyObject *const *args,
                                           Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_call_at(PyObject *self, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_call_later(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_create_future(PyObject *self, PyObject *unused);
PyObject *yulapy_loop_create_task(PyObject *self, PyObject *const *args,
                                  Py_ssize_t nargs, PyObject *kwnames);

#endif /* YULAPY_LOOP_SCHEDULE_H */
