/* socket_ops.c: the awaitables of loop.sock_*().
 *
 * An operation is tried when it is first awaited, and its result returned
 * without suspending if it is there. Otherwise it waits on a future until the
 * descriptor is reported ready, and is tried again in the task's own step:
 * nothing is received for a task that was cancelled.
 *
 *  I1. WAITING: the waiter is linked at the descriptor, or its future is done.
 *  I2. DONE: nothing is held but the loop. Of the last ones the memory is kept,
 *      for the next: `sock` links them.
 *
 * A socket that is not exactly a socket.socket (ssl.SSLSocket, a mock) goes the
 * way of asyncio's own coroutine.
 */
#include <sys/socket.h>

#include "awaitable.h"
#include "descriptor.h"

#if defined(Py_GIL_DISABLED)
#define OP_REUSE 0
#else
#define OP_REUSE 1
#endif

/* Free ops kept, each 192 bytes. */
#define FREE_OPS 64

typedef struct socket_op socket_op;

/* 1: done, *result is set. 0: would block, wait for the op's direction. -1: an
 * exception is set. */
typedef int (*op_try)(socket_op *op, int fd, yulapy_descriptor *descriptor,
                      PyObject **result);

typedef struct op_kind {
    const char *name;
    int direction;
    op_try attempt;
} op_kind;

enum {
    OP_CREATED,
    OP_WAITING,
    OP_DONE
};

struct socket_op {
    PyObject_HEAD
    const op_kind *kind;
    yulapy_loop *loop;
    PyObject *sock;
    PyObject *argument; /* address of sendto and connect */
    PyObject *weaklist;
    yulapy_waiter waiter;
    Py_buffer view;   /* what is sent, or received into */
    Py_ssize_t count; /* bytes asked for, or sent so far */
    char state;
    char connecting;
};

/* --- the operations --------------------------------------------------------- */

static int
op_fail(int err)
{
    yulapy_raise_code(err);
    return -1;
}

#define TRY(type, var, call)                                                   \
    type var;                                                                  \
    do {                                                                       \
        var = (call);                                                          \
    } while (var < 0 && errno == EINTR);                                       \
    if (var < 0)                                                               \
    var = -errno

static bool
op_may_succeed(const socket_op *op, const yulapy_descriptor *descriptor)
{
    return descriptor == NULL || descriptor->ready[op->kind->direction];
}

/* Where to receive up to *len bytes: the loop's warm buffer, from which a bytes
 * object of the right size is made; or, for more than it holds, a bytes object
 * (*own), because the rest of a datagram would be lost. */
static void *
op_buffer(socket_op *op, const yulapy_descriptor *descriptor, size_t *len,
          PyObject **own)
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
op_received(socket_op *op, const void *base, size_t n, PyObject *own)
{
    if (own == NULL) {
        yulapy_awaitable_forget(op->loop->state);
        return yulapy_received_bytes(op->loop, base, n);
    }
    (void)_PyBytes_Resize(&own, (Py_ssize_t)n);
    return own;
}

static int
op_recv(socket_op *op, int fd, yulapy_descriptor *descriptor, PyObject **result)
{
    size_t len = (size_t)op->count;
    PyObject *own;
    void *base = op_buffer(op, descriptor, &len, &own);
    if (base == NULL)
        return -1;
    TRY(ssize_t, n, recv(fd, base, len, MSG_DONTWAIT));
    yulapy_descriptor_note(descriptor, YULAPY_READ, len, n == -EAGAIN ? -1 : n);
    if (n < 0) {
        Py_XDECREF(own);
        return n == -EAGAIN ? 0 : op_fail((int)n);
    }
    *result = op_received(op, base, (size_t)n, own);
    return *result != NULL ? 1 : -1;
}

static int
op_recv_into(socket_op *op, int fd, yulapy_descriptor *descriptor,
             PyObject **result)
{
    size_t len = (size_t)op->view.len;
    TRY(ssize_t, n, recv(fd, op->view.buf, len, MSG_DONTWAIT));
    yulapy_descriptor_note(descriptor, YULAPY_READ, len, n == -EAGAIN ? -1 : n);
    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return op_fail((int)n);
    *result = PyLong_FromSsize_t(n);
    return *result != NULL ? 1 : -1;
}

static int
op_recvfrom(socket_op *op, int fd, yulapy_descriptor *descriptor,
            PyObject **result)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    size_t len = (size_t)op->count;
    PyObject *own;
    void *base = op_buffer(op, descriptor, &len, &own);

    if (base == NULL)
        return -1;
    TRY(ssize_t, n,
        recvfrom(fd, base, len, MSG_DONTWAIT, (struct sockaddr *)&addr,
                 &addr_len));
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
op_recvfrom_into(socket_op *op, int fd, yulapy_descriptor *descriptor,
                 PyObject **result)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    size_t len = op->count > 0 ? (size_t)op->count : (size_t)op->view.len;

    TRY(ssize_t, n,
        recvfrom(fd, op->view.buf, len, MSG_DONTWAIT, (struct sockaddr *)&addr,
                 &addr_len));
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
op_sendall(socket_op *op, int fd, yulapy_descriptor *descriptor,
           PyObject **result)
{
    while (op->count < op->view.len) {
        TRY(ssize_t, n,
            send(fd, (char *)op->view.buf + op->count,
                 (size_t)(op->view.len - op->count),
                 MSG_DONTWAIT | MSG_NOSIGNAL));
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
op_sendto_python(socket_op *op, PyObject **result)
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
op_family(socket_op *op)
{
    PyObject *family = PyObject_GetAttr(op->sock, op->loop->state->str_family);
    long value = family != NULL ? PyLong_AsLong(family) : -1;
    Py_XDECREF(family);
    return value == -1 && PyErr_Occurred() ? -1 : (int)value;
}

static int
op_sendto(socket_op *op, int fd, yulapy_descriptor *descriptor,
          PyObject **result)
{
    struct sockaddr_storage addr;
    int family = op_family(op);
    if (family < 0)
        return -1;
    socklen_t len = yulapy_address_parse(family, op->argument, &addr);
    if (len == 0)
        return op_sendto_python(op, result);
    TRY(ssize_t, n,
        sendto(fd, op->view.buf, (size_t)op->view.len,
               MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&addr, len));
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
op_accepted(socket_op *op, int fd)
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
op_accept(socket_op *op, int fd, yulapy_descriptor *descriptor,
          PyObject **result)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    TRY(int, accepted,
        accept4(fd, (struct sockaddr *)&addr, &addr_len,
                SOCK_NONBLOCK | SOCK_CLOEXEC));
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
op_connect_failed(socket_op *op, int err)
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
op_connect(socket_op *op, int fd, yulapy_descriptor *descriptor,
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

static const op_kind kind_recv = {"sock_recv", YULAPY_READ, op_recv};
static const op_kind kind_recv_into = {"sock_recv_into", YULAPY_READ,
                                       op_recv_into};
static const op_kind kind_recvfrom = {"sock_recvfrom", YULAPY_READ,
                                      op_recvfrom};
static const op_kind kind_recvfrom_into = {"sock_recvfrom_into", YULAPY_READ,
                                           op_recvfrom_into};
static const op_kind kind_sendall = {"sock_sendall", YULAPY_WRITE, op_sendall};
static const op_kind kind_sendto = {"sock_sendto", YULAPY_WRITE, op_sendto};
static const op_kind kind_accept = {"sock_accept", YULAPY_READ, op_accept};
static const op_kind kind_connect = {"sock_connect", YULAPY_WRITE, op_connect};

/* --- the awaitable ----------------------------------------------------------- */

/* Whether socket.socket.fileno is _socket's own, whose function is then known. */
static bool
socket_class_is_plain(yulapy_state *state)
{
    PyTypeObject *type = (PyTypeObject *)state->socket_type;
    if (__builtin_expect(type->tp_version_tag == state->socket_version &&
                             state->socket_version != 0,
                         1))
        return state->socket_fileno != NULL;
    PyObject *fileno = PyObject_GetAttr((PyObject *)type, state->str_fileno);
    state->socket_fileno = NULL;
    if (fileno == NULL) {
        PyErr_Clear(); /* deleted: the call says so */
        return false;
    }
    if (Py_IS_TYPE(fileno, &PyMethodDescr_Type)) {
        PyMethodDef *method = ((PyMethodDescrObject *)fileno)->d_method;
        if (method->ml_flags == METH_NOARGS)
            state->socket_fileno = method->ml_meth;
    }
    Py_DECREF(fileno);
    state->socket_version = type->tp_version_tag;
    return state->socket_fileno != NULL;
}

static void
op_finish(socket_op *op)
{
    op->state = OP_DONE;
    yulapy_waiter_leave(&op->waiter);
    PyObject *future = op->waiter.future;
    op->waiter.future = NULL;
    if (future != NULL)
        yulapy_future_give_back(op->loop, future);
    if (op->view.obj != NULL)
        PyBuffer_Release(&op->view);
    Py_CLEAR(op->argument);
    Py_CLEAR(op->sock);
}

/* The descriptor of the op's socket, or -1 with an exception. */
static int
op_fd(socket_op *op)
{
    yulapy_state *state = op->loop->state;
    /* What socket.fileno() comes to: the C function of _socket's class. */
    PyObject *number = socket_class_is_plain(state)
                           ? state->socket_fileno(op->sock, NULL)
                           : PyObject_CallMethodNoArgs(op->sock,
                                                       state->str_fileno);
    if (number == NULL)
        return -1;
    long fd = PyLong_AsLong(number);
    Py_DECREF(number);
    if (fd >= 0)
        return (int)fd;
    if (!PyErr_Occurred())
        yulapy_raise_code(-EBADF);
    return -1;
}

/* What asyncio checks when the coroutine starts. */
static int
op_check(socket_op *op, int fd)
{
    yulapy_loop *loop = op->loop;
    if (yulapy_loop_check_open(loop) < 0)
        return -1;
    if (loop->debug) {
        PyObject *timeout = PyObject_CallMethodNoArgs(
            op->sock, loop->state->str_gettimeout);
        if (timeout == NULL)
            return -1;
        double seconds = timeout == Py_None ? 1 : PyFloat_AsDouble(timeout);
        Py_DECREF(timeout);
        if (seconds != 0) {
            PyErr_SetString(PyExc_ValueError,
                            "the socket must be non-blocking");
            return -1;
        }
    }
    PyObject *transport = yulapy_transport_of_fd(loop, fd);
    if (transport == NULL)
        return 0;
    PyErr_Format(PyExc_RuntimeError,
                 "File descriptor %d is used by transport %R", fd, transport);
    return -1;
}

/* Suspend on a future; *result receives what the task must be given. */
static PySendResult
op_suspend(socket_op *op, int fd, PyObject **result)
{
    yulapy_loop *loop = op->loop;
    if (op->waiter.future != NULL) /* of the wait before, in vain */
        yulapy_future_give_back(loop, op->waiter.future);
    op->waiter.future = yulapy_future_new(loop);
    if (op->waiter.future == NULL ||
        yulapy_descriptor_wait(loop, fd, op->sock, op->kind->direction,
                               &op->waiter) < 0)
        return PYGEN_ERROR;
    op->state = OP_WAITING;
    *result = yulapy_future_yield(loop, op->waiter.future);
    return *result != NULL ? PYGEN_NEXT : PYGEN_ERROR;
}

/* Try, and wait or finish. */
static PySendResult
op_proceed(socket_op *op, PyObject **result)
{
    *result = NULL;
    int fd = op_fd(op);
    if (fd < 0 || (op->state == OP_CREATED && op_check(op, fd) < 0))
        goto failed;
    if (op->loop->core == NULL) {
        (void)yulapy_loop_check_open(op->loop);
        goto failed;
    }
    yulapy_descriptor *descriptor = yulapy_descriptor_of_socket(op->loop, fd,
                                                                op->sock);
    int done = 0;
    if (op_may_succeed(op, descriptor) || op->connecting ||
        op->kind == &kind_connect) {
        done = op->kind->attempt(op, fd, descriptor, result);
        if (done == 0)
            yulapy_descriptor_note(descriptor, op->kind->direction, 0, -1);
    }
    if (done < 0)
        goto failed;
    if (done > 0) {
        op_finish(op);
        return PYGEN_RETURN;
    }
    PySendResult sent = op_suspend(op, fd, result);
    if (sent == PYGEN_NEXT)
        return PYGEN_NEXT;
failed:
    op_finish(op);
    return PYGEN_ERROR;
}

static PySendResult
op_send(PyObject *self, PyObject *value, PyObject **result)
{
    socket_op *op = (socket_op *)self;

    if (op->state == OP_DONE) {
        PyErr_Format(PyExc_RuntimeError, "cannot reuse already awaited %s()",
                     op->kind->name);
        *result = NULL;
        return PYGEN_ERROR;
    }
    if (op->state == OP_WAITING) {
        if (yulapy_future_outcome(op->loop, op->waiter.future) < 0) {
            op_finish(op);
            *result = NULL;
            return PYGEN_ERROR;
        }
        yulapy_waiter_leave(&op->waiter);
    }
    return op_proceed(op, result);
}

static PyObject *
op_send_method(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult sent = op_send(self, value, &result);
    return yulapy_awaitable_sent(sent, result);
}

/* What `await` calls. */
static PyObject *
op_next(PyObject *self)
{
    yulapy_state *state = ((socket_op *)self)->loop->state;
    PyObject *result;
    PySendResult sent = op_send(self, Py_None, &result);
    return yulapy_awaitable_next(state, sent, result);
}

/* throw(value) or throw(type, value, traceback) */
static PyObject *
op_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    socket_op *op = (socket_op *)self;

    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
        return NULL;
    }
    Py_INCREF(self);
    op_finish(op);
    yulapy_awaitable_raise(args, nargs);
    Py_DECREF(self);
    return NULL;
}

static PyObject *
op_close(PyObject *self, PyObject *unused)
{
    op_finish((socket_op *)self);
    Py_RETURN_NONE;
}

static PyObject *
op_get_name(PyObject *self, void *unused)
{
    return PyUnicode_FromString(((socket_op *)self)->kind->name);
}

static PyObject *
op_get_await(PyObject *self, void *unused)
{
    PyObject *future = ((socket_op *)self)->waiter.future;
    return Py_NewRef(future != NULL ? future : Py_None);
}

static PyObject *
op_repr(PyObject *self)
{
    socket_op *op = (socket_op *)self;
    return PyUnicode_FromFormat("<coroutine %s() of %R at %p>", op->kind->name,
                                op->sock != NULL ? op->sock : Py_None, op);
}

static int
op_traverse(PyObject *self, visitproc visit, void *arg)
{
    socket_op *op = (socket_op *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(op->loop);
    Py_VISIT(op->sock);
    Py_VISIT(op->argument);
    Py_VISIT(op->waiter.future);
    Py_VISIT(op->view.obj);
    return 0;
}

static int
op_clear(PyObject *self)
{
    op_finish((socket_op *)self);
    return 0;
}

static void
op_finalize(PyObject *self)
{
    socket_op *op = (socket_op *)self;
    if (op->state == OP_CREATED)
        yulapy_awaitable_warn(self, op->kind->name);
}

static void
op_dealloc(PyObject *self)
{
    socket_op *op = (socket_op *)self;
    PyTypeObject *type = Py_TYPE(self);
    yulapy_loop *loop = op->loop;
    yulapy_state *state = loop->state;

    if (op->state == OP_CREATED && PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    PyObject_GC_UnTrack(self);
    if (op->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    if (op->state != OP_DONE)
        op_finish(op);
    /* One that the collector has finalized would never warn again. */
    if (OP_REUSE && state->free_socket_op_count < FREE_OPS &&
        state->socket_op_type == type && !PyObject_GC_IsFinalized(self)) {
        op->sock = state->free_socket_ops;
        state->free_socket_ops = self;
        state->free_socket_op_count++;
    }
    else {
        type->tp_free(self);
    }
    Py_DECREF(loop);
    Py_DECREF(type);
}

void
yulapy_socket_op_drop_free(yulapy_state *state)
{
    while (state->free_socket_ops != NULL) {
        socket_op *op = (socket_op *)state->free_socket_ops;
        state->free_socket_ops = op->sock;
        PyObject_GC_Del(op);
    }
    state->free_socket_op_count = FREE_OPS; /* and keep no more */
}

/* --- making ------------------------------------------------------------------ */

static socket_op *
op_alloc(yulapy_state *state)
{
    PyTypeObject *type = state->socket_op_type;
    socket_op *op = (socket_op *)state->free_socket_ops;
    if (op == NULL)
        return (socket_op *)type->tp_alloc(type, 0);
    state->free_socket_ops = op->sock;
    state->free_socket_op_count--;
    op->state = OP_CREATED;
    op->connecting = 0;
    op->count = 0;
    (void)PyObject_Init((PyObject *)op, type);
    PyObject_GC_Track(op);
    return op;
}

static socket_op *
op_new(PyObject *loop, const op_kind *kind, PyObject *sock)
{
    socket_op *op = op_alloc(((yulapy_loop *)loop)->state);
    if (op == NULL)
        return NULL;
    op->kind = kind;
    op->loop = (yulapy_loop *)Py_NewRef(loop);
    op->sock = Py_NewRef(sock);
    return op;
}

/* Of no use after all: that it was never awaited is nobody's neglect. */
static void
op_drop(socket_op *op)
{
    op_finish(op);
    Py_DECREF(op);
}

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
op_receiving(PyObject *loop, const op_kind *kind, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
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
    socket_op *op = op_new(loop, kind, args[0]);
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
static socket_op *
op_with_view(PyObject *loop, const op_kind *kind, PyObject *sock,
             PyObject *buffer, int flags)
{
    socket_op *op = op_new(loop, kind, sock);
    if (op == NULL || PyObject_GetBuffer(buffer, &op->view, flags) == 0)
        return op;
    op_drop(op);
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
    socket_op *op = op_with_view(loop, &kind_recvfrom_into, args[0], args[1],
                                 PyBUF_WRITABLE);
    if (op == NULL)
        return NULL;
    if (count < 0 || count > op->view.len) {
        op_drop(op);
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
    socket_op *op = op_with_view(loop, &kind_sendto, args[0], args[1],
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
    return (PyObject *)op_new(loop, &kind_accept, args[0]);
}

/* Names are resolved by asyncio's coroutine, which then connects. */
PyObject *
yulapy_sock_connect(PyObject *loop, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    struct sockaddr_storage addr;

    if (nargs != 2 || kwnames != NULL || !op_is_plain(loop, args[0]))
        return op_stdlib(loop, "sock_connect", args, nargs, kwnames);
    socket_op *op = op_new(loop, &kind_connect, args[0]);
    if (op == NULL)
        return NULL;
    op->argument = Py_NewRef(args[1]);
    int family = op_family(op);
    if (family >= 0 && yulapy_address_parse(family, args[1], &addr) > 0)
        return (PyObject *)op;
    op_drop(op);
    return family >= 0 ? op_stdlib(loop, "sock_connect", args, nargs, NULL)
                       : NULL;
}

/* --- type -------------------------------------------------------------------- */

static PyMethodDef op_methods[] = {
    {"send", op_send_method, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))op_throw, METH_FASTCALL, NULL},
    {"close", op_close, METH_NOARGS, NULL},
    {NULL},
};

static PyGetSetDef op_getset[] = {
    {"__name__", op_get_name, NULL, NULL, NULL},
    {"__qualname__", op_get_name, NULL, NULL, NULL},
    {"cr_await", op_get_await, NULL, NULL, NULL},
    {"cr_running", yulapy_awaitable_false, NULL, NULL, NULL},
    {"cr_frame", yulapy_awaitable_none, NULL, NULL, NULL},
    {"cr_code", yulapy_awaitable_none, NULL, NULL, NULL},
    {NULL},
};

static PyMemberDef op_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(socket_op, weaklist), READONLY,
     NULL},
    {NULL},
};

static PyType_Slot op_slots[] = {
    {Py_tp_doc, "A socket operation; await it once."},
    {Py_tp_dealloc, op_dealloc},
    {Py_tp_finalize, op_finalize},
    {Py_tp_traverse, op_traverse},
    {Py_tp_clear, op_clear},
    {Py_tp_repr, op_repr},
    {Py_tp_iter, yulapy_awaitable_self},
    {Py_tp_iternext, op_next},
    {Py_tp_methods, op_methods},
    {Py_tp_getset, op_getset},
    {Py_tp_members, op_members},
    {Py_am_await, yulapy_awaitable_self},
    {Py_am_send, op_send},
    {0, NULL},
};

static PyType_Spec op_spec = {
    .name = "yula._core.SocketOp",
    .basicsize = sizeof(socket_op),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = op_slots,
};

int
yulapy_socket_op_add_type(PyObject *module, yulapy_state *state)
{
    state->socket_op_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &op_spec, NULL);
    return state->socket_op_type != NULL ? 0 : -1;
}
