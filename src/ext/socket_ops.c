/* socket_ops.c: the operations of loop.sock_*(): what each tries, and the methods
 * that make them.
 *
 * A socket that is not exactly a socket.socket (ssl.SSLSocket, a mock) goes the
 * way of asyncio's own coroutine. How an operation is awaited is socket_op.c.
 */
#include <sys/socket.h>

#include "awaitable.h"
#include "socket_op.h"

/* --- what is tried ----------------------------------------------------------- */

static int
op_fail(int err)
{
    yulapy_raise_code(err);
    return -1;
}

/* Where to receive up to *len bytes: the loop's warm buffer, from which a bytes
 * object of the right size is made; or, for more than it holds, a bytes object
 * (*own), because the rest of a datagram would be lost. */
static void *
op_buffer(yulapy_socket_op *op, const yulapy_descriptor *descriptor,
          size_t *len, PyObject **own)
{
    *own = NULL;
    if (*len > YULA_STREAM_READ_MAX && descriptor != NULL && descriptor->tcp)
        *len = YULA_STREAM_READ_MAX;
    if (*len > YULA_STREAM_READ_MAX) {
        *own = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)*len);
        return *own != NULL ? PyBytes_AS_STRING(*own) : NULL;
    }
    void *base = yula_loop_read_buffer(op->loop->core);
    if (base == NULL)
        PyErr_NoMemory();
    return base;
}

/* The n bytes received as an object. Steals own. */
static PyObject *
op_received(yulapy_socket_op *op, const void *base, size_t n, PyObject *own)
{
    if (own == NULL) {
        yulapy_awaitable_forget(op->loop->state);
        return yulapy_received_bytes(op->loop, base, n);
    }
    (void)_PyBytes_Resize(&own, (Py_ssize_t)n);
    return own;
}

static int
op_recv(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
        PyObject **result)
{
    size_t len = (size_t)op->count;
    PyObject *own;
    void *base = op_buffer(op, descriptor, &len, &own);
    if (base == NULL)
        return -1;
    ssize_t n = yula__sys_recvfrom(fd, base, len, NULL, NULL);
    yulapy_descriptor_note(descriptor, YULAPY_READ, len, n == -EAGAIN ? -1 : n);
    if (n < 0) {
        Py_XDECREF(own);
        return n == -EAGAIN ? 0 : op_fail((int)n);
    }
    *result = op_received(op, base, (size_t)n, own);
    return *result != NULL ? 1 : -1;
}

static int
op_recv_into(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
             PyObject **result)
{
    size_t len = (size_t)op->view.len;
    ssize_t n = yula__sys_recvfrom(fd, op->view.buf, len, NULL, NULL);
    yulapy_descriptor_note(descriptor, YULAPY_READ, len, n == -EAGAIN ? -1 : n);
    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return op_fail((int)n);
    *result = PyLong_FromSsize_t(n);
    return *result != NULL ? 1 : -1;
}

static int
op_recvfrom(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
            PyObject **result)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    size_t len = (size_t)op->count;
    PyObject *own;
    void *base = op_buffer(op, descriptor, &len, &own);

    if (base == NULL)
        return -1;
    ssize_t n = yula__sys_recvfrom(fd, base, len, (struct sockaddr *)&addr,
                                   &addr_len);
    if (n == -EAGAIN) {
        yulapy_descriptor_note(descriptor, YULAPY_READ, len, -1);
        return 0;
    }
    if (n < 0)
        return op_fail((int)n);
    PyObject *data = yulapy_received_bytes(op->loop, base, (size_t)n);
    PyObject *from = yulapy_address_object((struct sockaddr *)&addr, addr_len);
    if (data != NULL && from != NULL)
        *result = PyTuple_Pack(2, data, from);
    Py_XDECREF(data);
    Py_XDECREF(from);
    return *result != NULL ? 1 : -1;
}

static int
op_recvfrom_into(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
                 PyObject **result)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    size_t len = op->count > 0 ? (size_t)op->count : (size_t)op->view.len;

    ssize_t n = yula__sys_recvfrom(fd, op->view.buf, len,
                                   (struct sockaddr *)&addr, &addr_len);
    if (n == -EAGAIN) {
        yulapy_descriptor_note(descriptor, YULAPY_READ, len, -1);
        return 0;
    }
    if (n < 0)
        return op_fail((int)n);
    PyObject *from = yulapy_address_object((struct sockaddr *)&addr, addr_len);
    if (from != NULL)
        *result = Py_BuildValue("(nN)", (Py_ssize_t)n, from);
    return *result != NULL ? 1 : -1;
}

static int
op_sendall(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
           PyObject **result)
{
    while (op->count < op->view.len) {
        ssize_t n = yula__sys_sendto(fd, (char *)op->view.buf + op->count,
                                     (size_t)(op->view.len - op->count), NULL,
                                     0);
        if (n == -EAGAIN) {
            yulapy_descriptor_note(descriptor, YULAPY_WRITE, 0, -1);
            return 0;
        }
        if (n < 0)
            return op_fail((int)n);
        op->count += n;
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

/* Addresses that are no literals are the socket module's to understand. */
static int
op_sendto_python(yulapy_socket_op *op, PyObject **result)
{
    PyObject *view = PyMemoryView_FromBuffer(&op->view);
    if (view == NULL)
        return -1;
    *result = PyObject_CallMethod(op->sock, "sendto", "OO", view, op->argument);
    Py_DECREF(view);
    if (*result != NULL)
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError))
        return -1;
    PyErr_Clear(); /* that is how a socket says "would block" */
    return 0;
}

/* The family of a socket object, or -1 with an exception. */
static int
op_family(yulapy_socket_op *op)
{
    PyObject *family = PyObject_GetAttr(op->sock, op->loop->state->str_family);
    long value = family != NULL ? PyLong_AsLong(family) : -1;
    Py_XDECREF(family);
    return value == -1 && PyErr_Occurred() ? -1 : (int)value;
}

static int
op_sendto(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
          PyObject **result)
{
    struct sockaddr_storage addr;
    int family = op_family(op);
    if (family < 0)
        return -1;
    socklen_t len = yulapy_address_parse(family, op->argument, &addr);
    if (len == 0)
        return op_sendto_python(op, result);
    ssize_t n = yula__sys_sendto(fd, op->view.buf, (size_t)op->view.len,
                                 (struct sockaddr *)&addr, len);
    if (n == -EAGAIN) {
        yulapy_descriptor_note(descriptor, YULAPY_WRITE, 0, -1);
        return 0;
    }
    if (n < 0)
        return op_fail((int)n);
    *result = PyLong_FromSsize_t(n);
    return *result != NULL ? 1 : -1;
}

/* A socket object for an accepted descriptor, which it owns from then on. */
static PyObject *
op_accepted(yulapy_socket_op *op, int fd)
{
    yulapy_state *state = op->loop->state;
    PyObject *family = PyObject_GetAttr(op->sock, state->str_family);
    PyObject *type = PyObject_GetAttr(op->sock, state->str_type);
    PyObject *proto = PyObject_GetAttr(op->sock, state->str_proto);
    PyObject *number = PyLong_FromLong(fd);
    PyObject *names = PyTuple_Pack(1, state->str_fileno);
    PyObject *conn = NULL;

    if (family != NULL && type != NULL && proto != NULL && number != NULL &&
        names != NULL) {
        PyObject *args[] = {family, type, proto, number};
        conn = PyObject_Vectorcall(state->socket_type, args, 3, names);
    }
    if (conn == NULL) {
        yula__sys_close(fd);
    }
    else {
        PyObject *args[] = {conn, Py_False};
        PyObject *result = PyObject_VectorcallMethod(state->str_setblocking,
                                                     args, 2, NULL);
        if (result == NULL)
            Py_CLEAR(conn);
        Py_XDECREF(result);
    }
    Py_XDECREF(family);
    Py_XDECREF(type);
    Py_XDECREF(proto);
    Py_XDECREF(number);
    Py_XDECREF(names);
    return conn;
}

static int
op_accept(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
          PyObject **result)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    int accepted = yula__sys_accept(fd, (struct sockaddr *)&addr, &addr_len);
    if (accepted == -EAGAIN) {
        yulapy_descriptor_note(descriptor, YULAPY_READ, 0, -1);
        return 0;
    }
    if (accepted < 0)
        return op_fail(accepted);
    PyObject *conn = op_accepted(op, accepted);
    PyObject *from = NULL;
    if (conn != NULL)
        from = yulapy_address_object((struct sockaddr *)&addr, addr_len);
    if (from != NULL)
        *result = PyTuple_Pack(2, conn, from);
    Py_XDECREF(conn);
    Py_XDECREF(from);
    return *result != NULL ? 1 : -1;
}

/* In asyncio's words: OSError(errno, 'Connect call failed (...)'). */
static int
op_connect_failed(yulapy_socket_op *op, int err)
{
    PyObject *text = PyUnicode_FromFormat("Connect call failed %S",
                                          op->argument);
    PyObject *error = NULL;
    if (text != NULL)
        error = PyObject_CallFunction(PyExc_OSError, "iO", err, text);
    Py_XDECREF(text);
    if (error != NULL)
        yulapy_raise_exception(error);
    return -1;
}

static int
op_connect(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
           PyObject **result)
{
    int err = 0;
    if (op->connecting) {
        socklen_t len = sizeof(err);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
            err = errno;
        if (err != 0)
            return op_connect_failed(op, err);
    }
    else {
        struct sockaddr_storage addr;
        int family = op_family(op);
        if (family < 0)
            return -1;
        socklen_t len = yulapy_address_parse(family, op->argument, &addr);
        err = connect(fd, (struct sockaddr *)&addr, len) < 0 ? errno : 0;
        if (err == EINPROGRESS || err == EAGAIN || err == EINTR) {
            op->connecting = 1;
            return 0;
        }
        if (err != 0)
            return op_fail(-err);
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

#define KIND(name, direction, eager)                                           \
    static const yulapy_socket_op_kind kind_##name = {                         \
        "sock_" #name, direction, eager, op_##name}
/* Whether a connect will do nobody knows before. */
KIND(recv, YULAPY_READ, false);
KIND(recv_into, YULAPY_READ, false);
KIND(recvfrom, YULAPY_READ, false);
KIND(recvfrom_into, YULAPY_READ, false);
KIND(sendall, YULAPY_WRITE, false);
KIND(sendto, YULAPY_WRITE, false);
KIND(accept, YULAPY_READ, false);
KIND(connect, YULAPY_WRITE, true);

/* --- the methods ------------------------------------------------------------- */

static bool
op_is_plain(PyObject *loop, PyObject *sock)
{
    return Py_IS_TYPE(
        sock, (PyTypeObject *)((yulapy_loop *)loop)->state->socket_type);
}

/* asyncio's own coroutine: BaseSelectorEventLoop.<name>(loop, *args). It takes
 * keywords, and says what is wrong with the arguments. */
static PyObject *
op_stdlib(PyObject *loop, const char *name, PyObject *const *args,
          Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *all[8] = {loop};
    PyObject *function = PyObject_GetAttrString(
        ((yulapy_loop *)loop)->state->base_loop, name);
    if (function == NULL || count > 6) {
        if (function != NULL)
            PyErr_Format(PyExc_TypeError, "too many arguments for %s()", name);
        Py_XDECREF(function);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        all[i + 1] = args[i];
    PyObject *coroutine = PyObject_Vectorcall(function, all, (size_t)nargs + 1,
                                              kwnames);
    Py_DECREF(function);
    return coroutine;
}

/* An op that receives count bytes. */
static PyObject *
op_receiving(PyObject *loop, const yulapy_socket_op_kind *kind,
             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 2 || kwnames != NULL || !op_is_plain(loop, args[0]) ||
        !PyLong_CheckExact(args[1]))
        return op_stdlib(loop, kind->name, args, nargs, kwnames);
    Py_ssize_t count = PyLong_AsSsize_t(args[1]);
    if (count < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "negative buffersize in recv");
        return NULL;
    }
    yulapy_socket_op *op = yulapy_socket_op_new(loop, kind, args[0]);
    if (op != NULL)
        op->count = count;
    return (PyObject *)op;
}

PyObject *
yulapy_sock_recv(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    return op_receiving(loop, &kind_recv, args, nargs, kwnames);
}

PyObject *
yulapy_sock_recvfrom(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    return op_receiving(loop, &kind_recvfrom, args, nargs, kwnames);
}

/* An op on a buffer: flags as for PyObject_GetBuffer. */
static yulapy_socket_op *
op_with_view(PyObject *loop, const yulapy_socket_op_kind *kind, PyObject *sock,
             PyObject *buffer, int flags)
{
    yulapy_socket_op *op = yulapy_socket_op_new(loop, kind, sock);
    if (op == NULL || PyObject_GetBuffer(buffer, &op->view, flags) == 0)
        return op;
    yulapy_socket_op_drop(op);
    return NULL;
}

PyObject *
yulapy_sock_recv_into(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    if (nargs != 2 || kwnames != NULL || !op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_recv_into", args, nargs, kwnames);
    return (PyObject *)op_with_view(loop, &kind_recv_into, args[0], args[1],
                                    PyBUF_WRITABLE);
}

PyObject *
yulapy_sock_recvfrom_into(PyObject *loop, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs < 2 || nargs + keywords > 3 ||
        (keywords == 1 && PyUnicode_CompareWithASCIIString(
                              PyTuple_GET_ITEM(kwnames, 0), "nbytes") != 0))
        return op_stdlib(loop, "sock_recvfrom_into", args, nargs, kwnames);
    if (!op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_recvfrom_into", args, nargs, kwnames);
    Py_ssize_t count = 0;
    if (nargs + keywords == 3) {
        count = PyNumber_AsSsize_t(args[2], PyExc_OverflowError);
        if (count == -1 && PyErr_Occurred())
            return NULL;
    }
    yulapy_socket_op *op = op_with_view(loop, &kind_recvfrom_into, args[0],
                                        args[1], PyBUF_WRITABLE);
    if (op == NULL)
        return NULL;
    if (count < 0 || count > op->view.len) {
        yulapy_socket_op_drop(op);
        PyErr_SetString(PyExc_ValueError,
                        count < 0 ? "negative buffersize in recvfrom_into"
                                  : "nbytes is greater than the length of the "
                                    "buffer");
        return NULL;
    }
    op->count = count;
    return (PyObject *)op;
}

PyObject *
yulapy_sock_sendall(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    if (nargs != 2 || kwnames != NULL || !op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_sendall", args, nargs, kwnames);
    return (PyObject *)op_with_view(loop, &kind_sendall, args[0], args[1],
                                    PyBUF_SIMPLE);
}

PyObject *
yulapy_sock_sendto(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (nargs != 3 || kwnames != NULL || !op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_sendto", args, nargs, kwnames);
    yulapy_socket_op *op = op_with_view(loop, &kind_sendto, args[0], args[1],
                                        PyBUF_SIMPLE);
    if (op != NULL)
        op->argument = Py_NewRef(args[2]);
    return (PyObject *)op;
}

PyObject *
yulapy_sock_accept(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (nargs != 1 || kwnames != NULL || !op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_accept", args, nargs, kwnames);
    return (PyObject *)yulapy_socket_op_new(loop, &kind_accept, args[0]);
}

/* Names are resolved by asyncio's coroutine, which then connects. */
PyObject *
yulapy_sock_connect(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    struct sockaddr_storage addr;

    if (nargs != 2 || kwnames != NULL || !op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_connect", args, nargs, kwnames);
    yulapy_socket_op *op = yulapy_socket_op_new(loop, &kind_connect, args[0]);
    if (op == NULL)
        return NULL;
    op->argument = Py_NewRef(args[1]);
    int family = op_family(op);
    if (family >= 0 && yulapy_address_parse(family, args[1], &addr) > 0)
        return (PyObject *)op;
    yulapy_socket_op_drop(op);
    return family >= 0 ? op_stdlib(loop, "sock_connect", args, nargs, NULL)
                       : NULL;
}
