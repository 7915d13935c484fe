/* loop_readers.c: add_reader(), add_writer() and what goes with them, as methods of
 * the loop; what they do is descriptor.c's.
 */
#include "loop_readers.h"

#include "loop_schedule.h"

static const char *const fd_callback[] = {"fd", "callback", NULL};

static PyObject *
loop_add(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
         PyObject *kwnames, const char *method, yulapy_method function,
         bool writer)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *context;

    if (nargs < 2)
        return yulapy_loop_from_keywords(self, args, nargs, kwnames, function,
                                         method, fd_callback);
    if (yulapy_loop_context_argument(loop->state, args, nargs, kwnames, method,
                                     &context) < 0)
        return NULL;
    return yulapy_descriptor_add_handle(loop, args, nargs, context, writer);
}

PyObject *
yulapy_loop_add_reader_unchecked(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames)
{
    return loop_add(self, args, nargs, kwnames, "add_reader",
                    yulapy_loop_add_reader_unchecked, false);
}

PyObject *
yulapy_loop_add_writer_unchecked(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames)
{
    return loop_add(self, args, nargs, kwnames, "add_writer",
                    yulapy_loop_add_writer_unchecked, true);
}

PyObject *
yulapy_loop_remove_reader_unchecked(PyObject *self, PyObject *fileobj)
{
    return yulapy_descriptor_remove_handle((yulapy_loop *)self, fileobj, false);
}

PyObject *
yulapy_loop_remove_writer_unchecked(PyObject *self, PyObject *fileobj)
{
    return yulapy_descriptor_remove_handle((yulapy_loop *)self, fileobj, true);
}

PyObject *
yulapy_loop_watched_events(PyObject *self, PyObject *fileobj)
{
    return yulapy_descriptor_events((yulapy_loop *)self, fileobj);
}

int
yulapy_loop_refuse_transport(yulapy_loop *loop, PyObject *fileobj)
{
    int fd = yulapy_descriptor_fd(fileobj);
    if (fd < 0)
        return -1;
    PyObject *transport = loop->core != NULL ? yulapy_transport_of_fd(loop, fd)
                                             : NULL;
    if (transport == NULL)
        return 0;
    PyErr_Format(PyExc_RuntimeError,
                 "File descriptor %R is used by transport %R", fileobj,
                 transport);
    return -1;
}

PyObject *
yulapy_loop_ensure_fd_no_transport(PyObject *self, PyObject *fileobj)
{
    if (yulapy_loop_refuse_transport((yulapy_loop *)self, fileobj) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* --- the public four ---------------------------------------------------------- */

PyObject *
yulapy_loop_add_reader(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (nargs > 0 &&
        yulapy_loop_refuse_transport((yulapy_loop *)self, args[0]) < 0)
        return NULL;
    PyObject *handle = yulapy_loop_add_reader_unchecked(self, args, nargs,
                                                        kwnames);
    Py_XDECREF(handle);
    return handle != NULL ? Py_NewRef(Py_None) : NULL;
}

PyObject *
yulapy_loop_add_writer(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    if (nargs > 0 &&
        yulapy_loop_refuse_transport((yulapy_loop *)self, args[0]) < 0)
        return NULL;
    PyObject *handle = yulapy_loop_add_writer_unchecked(self, args, nargs,
                                                        kwnames);
    Py_XDECREF(handle);
    return handle != NULL ? Py_NewRef(Py_None) : NULL;
}

/* An object without a valid number belongs to no transport; it may have had
 * one when its reader was added, so that removing it is not refused here. */
static PyObject *
loop_public_remove(PyObject *self, PyObject *fileobj, bool writer)
{
    if (yulapy_loop_refuse_transport((yulapy_loop *)self, fileobj) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError))
            return NULL;
        PyErr_Clear();
    }
    return yulapy_descriptor_remove_handle((yulapy_loop *)self, fileobj,
                                           writer);
}

PyObject *
yulapy_loop_remove_reader(PyObject *self, PyObject *fileobj)
{
    return loop_public_remove(self, fileobj, false);
}

PyObject *
yulapy_loop_remove_writer(PyObject *self, PyObject *fileobj)
{
    return loop_public_remove(self, fileobj, true);
}
