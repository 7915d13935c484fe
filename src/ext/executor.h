/* executor.h: Python functions on the loop's workers.
 *
 * A worker is a threading.Thread. It waits for jobs without the interpreter
 * lock, which it takes when there is one (worker.c calls us for it), so these
 * threads give the lock up in one place, too: the sleep between two batches.
 */
#ifndef YULAPY_EXECUTOR_H
#define YULAPY_EXECUTOR_H

#include "yulapy.h"

/* Let the loop's workers be Python threads. 0 or a core code. */
int yulapy_executor_init(yulapy_loop *loop);

/* loop.run_in_executor() */
PyObject *yulapy_loop_run_in_executor(PyObject *loop, PyObject *const *args,
                                      Py_ssize_t nargs, PyObject *kwnames);

/* A queued work of the loop may be the result of a job: for the loop's traverse,
 * and to drop it when the loop closes (true: it was one). */
int yulapy_executor_visit(yula_work *work, visitproc visit, void *arg);
bool yulapy_executor_drop(yula_work *work);

int yulapy_executor_add_types(PyObject *module, yulapy_state *state);

#endif /* YULAPY_EXECUTOR_H */
