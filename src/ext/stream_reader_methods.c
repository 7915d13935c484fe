/* stream_reader_methods.c: read(), readexactly(), readline(), readuntil() and
 * the small ones, as methods of the class that adopted readers have.
 *
 * A call that is not the plain one (keywords, a subclass of int, a tuple of
 * separators, a reader that is not served, see yulapy_reader_served) goes to
 * asyncio's method.
 */
#include "streams.h"

/* --- what each waits for ---------------------------------------------------- */

static yulapy_reader *
op_reader(yulapy_stream_op *op)
{
    return (yulapy_reader *)op->part;
}

/* 0, or 2: not for us. */
static int
op_check_left(yulapy_stream_op *op)
{
    yulapy_reader *reader = op_reader(op);
    if (!yulapy_reader_served(reader))
        return 2;
    /* asyncio looks at the exception once, before it waits. */
    return op->future == NULL && reader->exception != Py_None ? 2 : 0;
}

/* The same, for who wants to see all there is. Or -1. */
static int
op_check(yulapy_stream_op *op)
{
    yulapy_reader *reader = op_reader(op);
    if (reader->left && yulapy_reader_fetch(reader) < 0)
        return -1;
    return op_check_left(op);
}

/* There is not enough: 0 to wait, 2 where asyncio would not. */
static int
op_wants_more(yulapy_stream_op *op)
{
    yulapy_reader *reader = op_reader(op);
    return reader->waiter != Py_None || reader->eof ? 2 : 0;
}

static int
op_nothing(PyObject **result)
{
    *result = PyBytes_FromStringAndSize(NULL, 0);
    return *result != NULL ? 1 : -1;
}

static int
op_take(yulapy_stream_op *op, Py_ssize_t count, PyObject **result)
{
    *result = yulapy_reader_take(op_reader(op), count);
    return *result != NULL ? 1 : -1;
}

static bool
read_ready(yulapy_stream_op *op)
{
    const char *base;
    return yulapy_reader_peek(op_reader(op), &base) > 0;
}

static int
read_attempt(yulapy_stream_op *op, PyObject **result)
{
    yulapy_reader *reader = op_reader(op);
    const char *base;

    int checked = op_check_left(op);
    if (checked == 0 && reader->left) {
        *result = yulapy_reader_receive_left(reader, op->count);
        if (*result != NULL)
            return 1;
        checked = PyErr_Occurred() ? -1 : 0;
    }
    if (checked != 0)
        return checked;
    Py_ssize_t size = yulapy_reader_peek(reader, &base);
    if (op->count == 0 || (size == 0 && reader->eof))
        return op_nothing(result);
    if (size == 0)
        return op_wants_more(op);
    return op_take(op, size < op->count ? size : op->count, result);
}

static bool
exactly_ready(yulapy_stream_op *op)
{
    const char *base;
    return yulapy_reader_peek(op_reader(op), &base) >= op->count;
}

static int
exactly_attempt(yulapy_stream_op *op, PyObject **result)
{
    yulapy_reader *reader = op_reader(op);
    const char *base;

    int checked = op_check(op);
    if (checked != 0)
        return checked;
    if (op->target != NULL && op->filled == op->count) {
        *result = op->target;
        op->target = NULL;
        return 1;
    }
    if (op->count == 0)
        return op_nothing(result);
    if (yulapy_reader_peek(reader, &base) < op->count)
        return op_wants_more(op);
    return op_take(op, op->count, result);
}

/* Where the separator ends, 0 if it is not there; -1 if there is, and would be
 * in any case, too much in front of it. Remembers how far it looked. */
static Py_ssize_t
until_search(yulapy_stream_op *op)
{
    yulapy_reader *reader = op_reader(op);
    const char *base, *separator = "\n", *found;
    Py_ssize_t length = 1;
    Py_ssize_t size = yulapy_reader_peek(reader, &base);

    if (op->argument != NULL) {
        separator = PyBytes_AS_STRING(op->argument);
        length = PyBytes_GET_SIZE(op->argument);
    }
    if (op->searched > size) /* somebody took from it meanwhile */
        op->searched = 0;
    found = memmem(base + op->searched, (size_t)(size - op->searched),
                   separator, (size_t)length);
    if (found != NULL)
        return found - base <= reader->limit_bytes ? found - base + length : -1;
    if (size - op->searched >= length)
        op->searched = size + 1 - length;
    return op->searched > reader->limit_bytes ? -1 : 0;
}

static bool
until_ready(yulapy_stream_op *op)
{
    return until_search(op) != 0;
}

static int
until_attempt(yulapy_stream_op *op, PyObject **result)
{
    int checked = op_check(op);
    if (checked != 0)
        return checked;
    Py_ssize_t end = until_search(op);
    if (end < 0)
        return 2;
    return end > 0 ? op_take(op, end, result) : op_wants_more(op);
}

/* A line, or what is left at the end. */
static int
line_attempt(yulapy_stream_op *op, PyObject **result)
{
    yulapy_reader *reader = op_reader(op);
    const char *base;

    int done = until_attempt(op, result);
    if (done != 2 || !reader->eof || op_check(op) != 0 || until_search(op) != 0)
        return done;
    return op_take(op, yulapy_reader_peek(reader, &base), result);
}

static int
next_line_attempt(yulapy_stream_op *op, PyObject **result)
{
    int done = line_attempt(op, result);
    if (done == 1 && PyBytes_GET_SIZE(*result) == 0) {
        Py_CLEAR(*result);
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return -1;
    }
    return done;
}

static const yulapy_stream_op_kind kind_read = {
    "read", "StreamReader.read", false, true, read_attempt, read_ready};
static const yulapy_stream_op_kind kind_readexactly = {
    "readexactly", "StreamReader.readexactly", true, false, exactly_attempt,
    exactly_ready};
static const yulapy_stream_op_kind kind_readuntil = {
    "readuntil", "StreamReader.readuntil", false, false, until_attempt,
    until_ready};
static const yulapy_stream_op_kind kind_readline = {
    "readline", "StreamReader.readline", false, false, line_attempt,
    until_ready};
static const yulapy_stream_op_kind kind_next_line = {
    "__anext__", "StreamReader.__anext__", false,
    false,       next_line_attempt,        until_ready};

/* --- methods ---------------------------------------------------------------- */

/* The part of a reader that is served; NULL without an exception otherwise. */
static yulapy_reader *
served(PyObject *self)
{
    yulapy_reader *reader = yulapy_reader_of(self);
    return reader != NULL && yulapy_reader_served(reader) ? reader : NULL;
}

static PyObject *
reader_new_op(PyObject *self, yulapy_reader *reader,
              const yulapy_stream_op_kind *kind, Py_ssize_t count,
              PyObject *argument)
{
    return (PyObject *)yulapy_stream_op_new(
        reader->state, kind, self, (PyObject *)reader, count, argument);
}

/* An int argument that is not negative; or -1, without an exception. */
static Py_ssize_t
plain_count(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 1 || kwnames != NULL || !PyLong_CheckExact(args[0]))
        return -1;
    Py_ssize_t count = PyLong_AsSsize_t(args[0]);
    if (count == -1)
        PyErr_Clear(); /* OverflowError: asyncio's is to deal with it */
    return count >= 0 ? count : -1;
}

static PyObject *
reader_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    yulapy_reader *reader = served(self);
    Py_ssize_t count = plain_count(args, nargs, kwnames);
    if (reader == NULL || count < 0)
        return yulapy_stream_asyncio_call(self, "read", args, nargs, kwnames);
    return reader_new_op(self, reader, &kind_read, count, NULL);
}

static PyObject *
reader_readexactly(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    yulapy_reader *reader = served(self);
    Py_ssize_t count = plain_count(args, nargs, kwnames);
    if (reader == NULL || count < 0)
        return yulapy_stream_asyncio_call(self, "readexactly", args, nargs,
                                          kwnames);
    return reader_new_op(self, reader, &kind_readexactly, count, NULL);
}

static PyObject *
reader_readuntil(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    yulapy_reader *reader = served(self);
    if (reader == NULL || nargs > 1 || kwnames != NULL ||
        (nargs == 1 &&
         (!PyBytes_CheckExact(args[0]) || PyBytes_GET_SIZE(args[0]) == 0)))
        return yulapy_stream_asyncio_call(self, "readuntil", args, nargs,
                                          kwnames);
    return reader_new_op(self, reader, &kind_readuntil, -1,
                         nargs == 1 ? args[0] : NULL);
}

static PyObject *
reader_readline(PyObject *self, PyObject *unused)
{
    yulapy_reader *reader = served(self);
    if (reader == NULL)
        return yulapy_stream_asyncio_call(self, "readline", NULL, 0, NULL);
    return reader_new_op(self, reader, &kind_readline, -1, NULL);
}

static PyObject *
reader_anext(PyObject *self, PyObject *unused)
{
    yulapy_reader *reader = served(self);
    if (reader == NULL)
        return yulapy_stream_asyncio_call(self, "__anext__", NULL, 0, NULL);
    return reader_new_op(self, reader, &kind_next_line, -1, NULL);
}

/* data that is no buffer, or comes after the end, is asyncio's to refuse. */
static PyObject *
reader_feed_data(PyObject *self, PyObject *data)
{
    yulapy_reader *reader = served(self);
    if (reader == NULL || reader->eof || !PyObject_CheckBuffer(data))
        return yulapy_stream_asyncio_call(self, "feed_data", &data, 1, NULL);
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    int err = 0;
    if (view.len > 0)
        err = yulapy_reader_receive(reader, view.buf, view.len,
                                    PyBytes_CheckExact(data) ? data : NULL);
    PyBuffer_Release(&view);
    return err == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
reader_feed_eof(PyObject *self, PyObject *unused)
{
    yulapy_reader *reader = served(self);
    if (reader == NULL)
        return yulapy_stream_asyncio_call(self, "feed_eof", NULL, 0, NULL);
    if (reader->left && yulapy_reader_fetch(reader) < 0)
        return NULL;
    return yulapy_reader_end(reader) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
reader_at_eof(PyObject *self, PyObject *unused)
{
    yulapy_reader *reader = served(self);
    const char *base;
    if (reader == NULL)
        return yulapy_stream_asyncio_call(self, "at_eof", NULL, 0, NULL);
    if (reader->left && yulapy_reader_fetch(reader) < 0)
        return NULL;
    return PyBool_FromLong(reader->eof &&
                           yulapy_reader_peek(reader, &base) == 0);
}

static PyObject *
reader_exception(PyObject *self, PyObject *unused)
{
    yulapy_reader *reader = served(self);
    if (reader == NULL)
        return yulapy_stream_asyncio_call(self, "exception", NULL, 0, NULL);
    return Py_NewRef(reader->exception);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef yulapy_reader_methods[] = {
    {"read", FAST(reader_read), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("read($self, /, n=-1)\n--\n\nasyncio's StreamReader.read().")},
    {"readexactly", FAST(reader_readexactly), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "readexactly($self, /, n)\n--\n\nasyncio's StreamReader.readexactly().")},
    {"readuntil", FAST(reader_readuntil), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("readuntil($self, /, separator=b'\\n')\n--\n\nasyncio's "
               "StreamReader.readuntil().")},
    {"readline", reader_readline, METH_NOARGS,
     PyDoc_STR("readline($self, /)\n--\n\nasyncio's StreamReader.readline().")},
    {"__anext__", reader_anext, METH_NOARGS, NULL},
    {"feed_data", reader_feed_data, METH_O, NULL},
    {"feed_eof", reader_feed_eof, METH_NOARGS, NULL},
    {"at_eof", reader_at_eof, METH_NOARGS,
     PyDoc_STR("at_eof($self, /)\n--\n\nasyncio's StreamReader.at_eof().")},
    {"exception", reader_exception, METH_NOARGS, NULL},
    {NULL},
};
