/* loop_readers.h: the loop's methods about readers and writers, for its table.
 *
 * asyncio has each of them twice: the public one refuses the descriptor of a
 * transport; the other, with an underscore, is what its own transports use.
 */
#ifndef YULAPY_LOOP_READERS_H
#define YULAPY_LOOP_READERS_H

#include "yulapy.h"

PyObject *yulapy_loop_add_reader(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_add_writer(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_remove_reader(PyObject *self, PyObject *fileobj);
PyObject *yulapy_loop_remove_writer(PyObject *self, PyObject *fileobj);
PyObject *yulapy_loop_add_reader_unchecked(PyObject *self,
                                           PyObject *const *args,
                                           Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_add_writer_unchecked(PyObject *self,
                                           PyObject *const *args,
                                           Py_ssize_t nargs, PyObject *kwnames);
PyObject *yulapy_loop_remove_reader_unchecked(PyObject *self,
                                              PyObject *fileobj);
PyObject *yulapy_loop_remove_writer_unchecked(PyObject *self,
                                              PyObject *fileobj);
PyObject *yulapy_loop_watched_events(PyObject *self, PyObject *fileobj);
PyObject *yulapy_loop_ensure_fd_no_transport(PyObject *self, PyObject *fileobj);

/* RuntimeError if a transport owns the descriptor. 0 or -1. */
int yulapy_loop_refuse_transport(yulapy_loop *loop, PyObject *fileobj);

#endif /* YULAPY_LOOP_READERS_H */
