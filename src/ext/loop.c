/* loop.c: _core.LoopBase, the C half of yula.Loop.
 *
 * yula.Loop is class Loop(LoopBase, asyncio.unix_events._UnixSelectorEventLoop):
 * what runs per callback is here, what runs per connection or per loop is the
 * stdlib's or yula/loop.py's. Attributes that the stdlib's methods read and
 * write (_closed, _debug, _stopping, _thread_id, _task_factory) are fields here.
 *
 *  I1. core is NULL exactly when the loop is closed.
 *  I2. What the loop keeps alive is in the core's queues (handles) or in the
 *      held list (transports, listeners, descriptors); traverse walks both.
 */
#include "yulapy.h"

#include "executor.h"
#include "gil.h"
#include "io/stream_i.h"
#include "loop/loop_i.h"
#include "loop/worker_i.h"
#include "loop_readers.h"
#include "loop_schedule.h"
#include "native_lane.h"

/* --- small helpers ------------------------------------------------------- */

int
yulapy_loop_check_open(yulapy_loop *loop)
{
    if (__builtin_expect(loop->core != NULL && !loop->closed, 1))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    return -1;
}

void
yulapy_loop_hold(yulapy_loop *loop, yulapy_held *held, PyObject *object,
                 void (*loop_closed)(PyObject *))
{
    held->object = Py_NewRef(object);
    held->loop_closed = loop_closed;
    held->prev = loop->held.prev;
    held->next = &loop->held;
    held->prev->next = held;
    held->next->prev = held;
}

void
yulapy_loop_let_go(yulapy_held *held)
{
    if (held->next == NULL)
        return;
    held->prev->next = held->next;
    held->next->prev = held->prev;
    held->next = held->prev = NULL;
    Py_CLEAR(held->object);
}

/* --- running -------------------------------------------------------------- */

/* The exception that ends the run, if there is one. */
static PyObject *
loop_leave(yulapy_loop *loop)
{
    PyObject *exc = loop->leaving;
    loop->leaving = NULL;
    yulapy_raise_exception(exc);
    return NULL;
}

static PyObject *
loop_run_turns(yulapy_loop *loop, bool once)
{
    int status = 0;

    if (yulapy_loop_check_open(loop) < 0 ||
        yulapy_loop_look_for_overrides(loop) < 0)
        return NULL;
    /* A signal that came between two runs is this run's, however short. */
    loop->core->until_poll = 0;
    do {
        status = yula_loop_step(loop->core, loop->stopping ? 0 : YULA_NEVER);
        if (loop->core == NULL)
            break;
    } while (status == 0 && !loop->stopping && !once);
    if (loop->core != NULL)
        yulapy_gil_end(loop);
    if (loop->leaving != NULL)
        return loop_leave(loop);
    if (status < 0) {
        yulapy_raise_code(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_run(PyObject *self, PyObject *unused)
{
    return loop_run_turns((yulapy_loop *)self, false);
}

static PyObject *
loop_run_once(PyObject *self, PyObject *unused)
{
    return loop_run_turns((yulapy_loop *)self, true);
}

static PyObject *
loop_stop(PyObject *self, PyObject *unused)
{
    ((yulapy_loop *)self)->stopping = 1;
    Py_RETURN_NONE;
}

static PyObject *
loop_is_running(PyObject *self, PyObject *unused)
{
    PyObject *id = ((yulapy_loop *)self)->thread_id;
    return PyBool_FromLong(id != NULL && id != Py_None);
}

static PyObject *
loop_is_closed(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(((yulapy_loop *)self)->closed);
}

static PyObject *
loop_get_debug(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(((yulapy_loop *)self)->debug);
}

static PyObject *
loop_noop(PyObject *self, PyObject *unused)
{
    Py_RETURN_NONE;
}

static PyObject *
loop_timer_handle_cancelled(PyObject *self, PyObject *handle)
{
    /* TimerHandle.cancel() has taken it out of the heap already. */
    Py_RETURN_NONE;
}

/* --- signals -------------------------------------------------------------- */

static void
loop_on_signal_byte(yula_loop *core, int number, void *arg)
{
    yulapy_loop *loop = arg;
    PyObject *result = NULL, *signal = PyLong_FromLong(number);
    if (signal != NULL) {
        PyObject *args[] = {(PyObject *)loop, signal};
        result = PyObject_VectorcallMethod(loop->state->str__handle_signal,
                                           args, 2, NULL);
        Py_DECREF(signal);
    }
    if (result == NULL && !yulapy_leaves_loop(loop))
        PyErr_WriteUnraisable((PyObject *)loop);
    Py_XDECREF(result);
}

static PyObject *
loop_signal_wakeup_fd(PyObject *self, PyObject *unused)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    int fd = yula_signal_pipe(loop->core, loop_on_signal_byte, loop);
    if (fd < 0) {
        yulapy_raise_code(fd);
        return NULL;
    }
    return PyLong_FromLong(fd);
}

/* --- transports and listeners: stream_transport.c, listener.c ----------------- */

static PyObject *
loop_make_socket_transport(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"sock",   "protocol", "waiter", "extra",
                            "server", "context",  NULL};
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *sock, *protocol, *waiter = NULL, *extra = NULL, *server = NULL,
                               *context = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$OOO", names, &sock,
                                     &protocol, &waiter, &extra, &server,
                                     &context))
        return NULL;
    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    if (yulapy_loop_refuse_transport(loop, sock) < 0)
        return NULL;
    int fd = yulapy_descriptor_fd(sock);
    if (fd < 0)
        return NULL;
    context = context != NULL && context != Py_None ? Py_NewRef(context)
                                                    : yulapy_copy_context();
    if (context == NULL && PyErr_Occurred())
        return NULL;
    PyObject *transport = yulapy_stream_transport_new(
        loop, fd, sock, protocol,
        waiter != NULL ? yulapy_none_to_null(waiter) : NULL,
        extra != NULL ? yulapy_none_to_null(extra) : NULL,
        server != NULL ? yulapy_none_to_null(server) : NULL, context,
        YULA__STREAM_ASK, NULL, 0);
    Py_XDECREF(context);
    return transport;
}

/* --- life ----------------------------------------------------------------- */

/* Forget everything queued: handles lose the queue's reference unrun. */
static void
loop_drop_queues(yulapy_loop *loop)
{
    yula_loop *core = loop->core;

    yula__ready_run_deferred(core);
    yula__inbox_drain(core);
    for (;;) {
        yula_work *work = NULL;
        if (core->timer_count > 0)
            work = &core->timers[core->timer_count - 1].timer->work;
        else if (!yula__list_empty(&core->batch[YULA_LANE_HOST]))
            work = core->batch[YULA_LANE_HOST].head.next;
        else if (!yula__list_empty(&core->ready[YULA_LANE_HOST]))
            work = core->ready[YULA_LANE_HOST].head.next;
        else
            return;
        PyObject *handle = yulapy_handle_of_work(work);
        yula_timer *timer = yula__timer_of_work(work);
        if (timer != NULL)
            yula_timer_stop(timer);
        else
            yula_work_cancel(work);
        if (handle != NULL)
            yulapy_handle_release(handle);
        else /* or of an object in the held list */
            (void)yulapy_executor_drop(work);
    }
}

static void
loop_drop_held(yulapy_loop *loop)
{
    while (loop->held.next != &loop->held) {
        yulapy_held *held = loop->held.next;
        assert(held->object != NULL); /* it is in the list */
        PyObject *object = Py_NewRef(held->object);
        held->loop_closed(object);
        yulapy_loop_let_go(held);
        Py_DECREF(object);
    }
}

static void
loop_close_core(yulapy_loop *loop)
{
    if (loop->core == NULL)
        return;
    yulapy_python_close(loop); /* its tasks may hold what is dropped here */
    loop_drop_held(loop);
    yula__workers_detach(loop->core); /* what they had posted is dropped here */
    loop_drop_queues(loop);
    yulapy_handle_drop_free(loop);
    yulapy_future_drop_spare(loop);
    yulapy_received_drop(loop);
    yulapy_addresses_drop(loop);
    yula_loop *core = loop->core;
    loop->core = NULL;
    yula_loop_free(core);
}

static PyObject *
loop_close(PyObject *self, PyObject *unused)
{
    loop_close_core((yulapy_loop *)self);
    Py_RETURN_NONE;
}

static PyObject *
loop_forked(PyObject *self, PyObject *unused)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    loop->closed = 1;
    Py_CLEAR(loop->thread_id);
    yulapy_gil_forked(loop);
    yulapy_python_forked(loop);
    if (loop->core != NULL)
        yula_loop_forked(loop->core);
    Py_RETURN_NONE;
}

static PyObject *
loop_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    /* The type may be a subclass from Python: its base of ours has the module.
     */
    yulapy_state *state = NULL;
    for (PyTypeObject *t = type; t != NULL && state == NULL; t = t->tp_base) {
        state = yulapy_state_of_type(t);
        if (state == NULL)
            PyErr_Clear(); /* TypeError: a Python class has no module state */
    }
    if (state == NULL) {
        PyErr_SetString(PyExc_SystemError, "yula._core is not initialised");
        return NULL;
    }
    yulapy_loop *loop = (yulapy_loop *)type->tp_alloc(type, 0);
    if (loop == NULL)
        return NULL;
    loop->state = state;
    loop->held.next = loop->held.prev = &loop->held;
    yulapy_gil_init(&loop->gil);
    yula_host host;
    yulapy_gil_host(loop, &host);
    yula_loop_options options = {.size = sizeof(options), .host = &host};
    int err = yula_loop_new(&options, &loop->core);
    if (err == 0 && (err = yulapy_executor_init(loop)) < 0)
        yula_loop_free(loop->core);
    if (err < 0) {
        loop->core = NULL;
        loop->closed = 1;
        Py_DECREF(loop);
        yulapy_raise_code(err);
        return NULL;
    }
    return (PyObject *)loop;
}

static int
loop_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    ((yulapy_loop *)self)->attribute_assigned = 1;
    return PyObject_GenericSetAttr(self, name, value);
}

struct loop_visitor {
    visitproc visit;
    void *arg;
};

static int
loop_visit_work(yula_work *work, void *arg)
{
    struct loop_visitor *visitor = arg;
    PyObject *handle = yulapy_handle_of_work(work);
    if (handle != NULL)
        return visitor->visit(handle, visitor->arg);
    /* Else of an object in the held list, or of a job. */
    return yulapy_executor_visit(work, visitor->visit, visitor->arg);
}

static int
loop_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_loop *loop = (yulapy_loop *)self;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(loop->leaving);
    Py_VISIT(loop->thread_id);
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->default_executor);
    Py_VISIT(loop->own_executor);
    for (yulapy_held *held = loop->held.next;
         held != NULL && held != &loop->held; held = held->next)
        Py_VISIT(held->object);
    int stop = yulapy_future_traverse(loop, visit, arg);
    if (stop != 0)
        return stop;
    if (loop->core == NULL)
        return 0;
    stop = yulapy_python_traverse(loop, visit, arg);
    if (stop != 0)
        return stop;
    struct loop_visitor visitor = {visit, arg};
    return yula__loop_visit(loop->core, loop_visit_work, &visitor);
}

static int
loop_clear(PyObject *self)
{
    yulapy_loop *loop = (yulapy_loop *)self;

    loop->closed = 1;
    loop_close_core(loop);
    Py_CLEAR(loop->leaving);
    Py_CLEAR(loop->thread_id);
    Py_CLEAR(loop->task_factory);
    Py_CLEAR(loop->default_executor);
    Py_CLEAR(loop->own_executor);
    yulapy_future_drop_spare(loop);
    yulapy_received_drop(loop);
    yulapy_addresses_drop(loop);
    return 0;
}

static void
loop_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    if (((yulapy_loop *)self)->held.next != NULL)
        (void)loop_clear(self);
    yulapy_handle_drop_free((yulapy_loop *)self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* --- attributes ------------------------------------------------------------ */

static PyObject *
loop_get_flag(PyObject *self, void *offset)
{
    return PyBool_FromLong(*((char *)self + (Py_ssize_t)offset));
}

static int
loop_set_flag(PyObject *self, PyObject *value, void *offset)
{
    int truth = value != NULL ? PyObject_IsTrue(value) : 0;
    if (truth < 0)
        return -1;
    *((char *)self + (Py_ssize_t)offset) = (char)truth;
    return 0;
}

#define LOOP_FLAG(name, field)                                                 \
    {name, loop_get_flag, loop_set_flag, NULL,                                 \
     (void *)offsetof(yulapy_loop, field)}

static PyGetSetDef loop_getset[] = {
    LOOP_FLAG("_closed", closed),
    LOOP_FLAG("_debug", debug),
    LOOP_FLAG("_stopping", stopping),
    {"gil_spin", yulapy_loop_get_gil_spin, yulapy_loop_set_gil_spin,
     PyDoc_STR("Seconds to poll at most before the loop gives the lock up to "
               "sleep,\nwhile other threads want it."),
     NULL},
    {"gil_share", yulapy_loop_get_gil_share, yulapy_loop_set_gil_share,
     PyDoc_STR("The part of the lock's time that the loop takes while other "
               "threads\nwant it: above 0, at most 1."),
     NULL},
    LOOP_FLAG("_executor_shutdown_called", executor_shutdown_called),
    {NULL},
};

static PyMemberDef loop_members[] = {
    {"_thread_id", T_OBJECT, offsetof(yulapy_loop, thread_id), 0, NULL},
    {"_task_factory", T_OBJECT, offsetof(yulapy_loop, task_factory), 0, NULL},
    {"_default_executor", T_OBJECT, offsetof(yulapy_loop, default_executor), 0,
     NULL},
    {NULL},
};

#define FAST_KEYWORDS(name, function, doc)                                     \
    {name, (PyCFunction)(void (*)(void))function,                              \
     METH_FASTCALL | METH_KEYWORDS, PyDoc_STR(doc)}
#define FAST(name, function, doc)                                              \
    {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, PyDoc_STR(doc)}

static PyMethodDef loop_methods[] = {
    FAST_KEYWORDS("call_soon", yulapy_loop_call_soon,
                  "call_soon($self, callback, *args, context=None)\n--\n\n"
                  "Call callback(*args) in the next turn, in order. Returns a "
                  "Handle.\nOnly on the loop's thread."),
    FAST_KEYWORDS(
        "call_soon_threadsafe", yulapy_loop_call_soon_threadsafe,
        "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
        "call_soon() from any thread; wakes the loop if it sleeps."),
    FAST_KEYWORDS(
        "call_later", yulapy_loop_call_later,
        "call_later($self, delay, callback, *args, context=None)\n--\n\n"
        "Call callback(*args) in delay seconds, never earlier. "
        "Returns a TimerHandle."),
    FAST_KEYWORDS("call_at", yulapy_loop_call_at,
                  "call_at($self, when, callback, *args, context=None)\n--\n\n"
                  "Call callback(*args) at the time when, in seconds of "
                  "loop.time(), never earlier."),
    {"time", yulapy_loop_time, METH_NOARGS,
     PyDoc_STR("time($self)\n--\n\nSeconds of time.monotonic()'s clock.")},
    {"create_future", yulapy_loop_create_future, METH_NOARGS,
     PyDoc_STR(
         "create_future($self)\n--\n\nA new asyncio.Future of this loop.")},
    FAST_KEYWORDS(
        "create_task", yulapy_loop_create_task,
        "create_task($self, coro, **kwargs)\n--\n\nAn asyncio.Task of this "
        "loop, or what the task factory makes."),
    FAST_KEYWORDS("run_in_executor", yulapy_loop_run_in_executor,
                  "run_in_executor($self, executor, func, *args)\n--\n\n"
                  "Call func(*args) in a thread of the executor (None: the "
                  "default one).\nReturns an asyncio.Future."),
    {"stop", loop_stop, METH_NOARGS,
     PyDoc_STR("stop($self)\n--\n\nEnd run_forever() after the current turn.")},
    {"is_running", loop_is_running, METH_NOARGS, NULL},
    {"is_closed", loop_is_closed, METH_NOARGS, NULL},
    {"get_debug", loop_get_debug, METH_NOARGS, NULL},
    {"stats", yulapy_loop_stats, METH_NOARGS,
     PyDoc_STR(
         "stats($self)\n--\n\nCounters since the loop was made, as a dict: "
         "turns, sleeps,\ncallbacks, events, stale (events dropped "
         "because their descriptor had\na new owner), wakeups, and 'gil', a "
         "dict of what the interpreter\nlock cost (docs/gil.md).")},
    FAST_KEYWORDS("add_reader", yulapy_loop_add_reader,
                  "add_reader($self, fd, callback, *args)\n--\n\n"
                  "Call callback(*args) whenever fd is readable "
                  "(level-triggered)."),
    FAST_KEYWORDS(
        "add_writer", yulapy_loop_add_writer,
        "add_writer($self, fd, callback, *args)\n--\n\n"
        "Call callback(*args) whenever fd is writable (level-triggered)."),
    {"remove_reader", yulapy_loop_remove_reader, METH_O,
     PyDoc_STR(
         "remove_reader($self, fd, /)\n--\n\nReturns whether there was one.")},
    {"remove_writer", yulapy_loop_remove_writer, METH_O,
     PyDoc_STR(
         "remove_writer($self, fd, /)\n--\n\nReturns whether there was one.")},
    FAST_KEYWORDS("_add_reader", yulapy_loop_add_reader_unchecked, ""),
    FAST_KEYWORDS("_add_writer", yulapy_loop_add_writer_unchecked, ""),
    {"_remove_reader", yulapy_loop_remove_reader_unchecked, METH_O, NULL},
    {"_remove_writer", yulapy_loop_remove_writer_unchecked, METH_O, NULL},
    {"_watched_events", yulapy_loop_watched_events, METH_O, NULL},
    {"_ensure_fd_no_transport", yulapy_loop_ensure_fd_no_transport, METH_O,
     NULL},
    {"_make_socket_transport",
     (PyCFunction)(void (*)(void))loop_make_socket_transport,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"_make_read_pipe_transport",
     (PyCFunction)(void (*)(void))yulapy_loop_make_read_pipe,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"_make_write_pipe_transport",
     (PyCFunction)(void (*)(void))yulapy_loop_make_write_pipe,
     METH_VARARGS | METH_KEYWORDS, NULL},
    FAST("_make_datagram", yulapy_loop_make_datagram, ""),
    FAST_KEYWORDS(
        "sock_recv", yulapy_sock_recv,
        "sock_recv($self, sock, n)\n--\n\nAwait up to n bytes; b'' at the end."),
    FAST_KEYWORDS(
        "sock_recv_into", yulapy_sock_recv_into,
        "sock_recv_into($self, sock, buf)\n--\n\nAwait bytes in buf; their number."),
    FAST_KEYWORDS(
        "sock_recvfrom", yulapy_sock_recvfrom,
        "sock_recvfrom($self, sock, bufsize)\n--\n\nAwait (data, address)."),
    FAST_KEYWORDS("sock_recvfrom_into", yulapy_sock_recvfrom_into,
                  "sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n"
                  "Await (number of bytes, address)."),
    FAST_KEYWORDS(
        "sock_sendall", yulapy_sock_sendall,
        "sock_sendall($self, sock, data)\n--\n\nAwait that all of data is sent."),
    FAST_KEYWORDS("sock_sendto", yulapy_sock_sendto,
                  "sock_sendto($self, sock, data, address)\n--\n\n"
                  "Await that a datagram is sent; the number of bytes."),
    FAST_KEYWORDS(
        "sock_accept", yulapy_sock_accept,
        "sock_accept($self, sock)\n--\n\nAwait (connection, address)."),
    FAST_KEYWORDS(
        "sock_connect", yulapy_sock_connect,
        "sock_connect($self, sock, address)\n--\n\nAwait the connection."),
    FAST_KEYWORDS(
        "getaddrinfo", yulapy_loop_look_up,
        "getaddrinfo($self, host, port, *, family=0, type=0, proto=0, "
        "flags=0)\n--\n\nsocket.getaddrinfo(), for a literal at once, "
        "else on a worker thread of the loop."),
    {"_getaddrinfo", yulapy_loop_getaddrinfo, METH_VARARGS, NULL},
    {"_getnameinfo", yulapy_loop_getnameinfo, METH_VARARGS, NULL},
    FAST("_listen", yulapy_loop_listen, ""),
    {"_unlisten", yulapy_loop_unlisten, METH_O, NULL},
    {"_transports_of", yulapy_transports_of, METH_O, NULL},
    {"_run", loop_run, METH_NOARGS, NULL},
    {"_run_once", loop_run_once, METH_NOARGS, NULL},
    {"_make_self_pipe", loop_noop, METH_NOARGS, NULL},
    {"_close_self_pipe", loop_noop, METH_NOARGS, NULL},
    {"_write_to_self", loop_noop, METH_NOARGS, NULL},
    {"_timer_handle_cancelled", loop_timer_handle_cancelled, METH_O, NULL},
    {"_signal_wakeup_fd", loop_signal_wakeup_fd, METH_NOARGS, NULL},
    {"_close_core", loop_close, METH_NOARGS, NULL},
    {"_forked", loop_forked, METH_NOARGS, NULL},
    {NULL},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, "The C half of yula.Loop."},
    {Py_tp_new, loop_new},
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_clear, loop_clear},
    {Py_tp_setattro, loop_setattro},
    {Py_tp_methods, loop_methods},
    {Py_tp_getset, loop_getset},
    {Py_tp_members, loop_members},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "yula._core.LoopBase",
    .basicsize = sizeof(yulapy_loop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = loop_slots,
};

int
yulapy_loop_add_type(PyObject *module, yulapy_state *state)
{
    state->loop_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &loop_spec, NULL);
    if (state->loop_type == NULL)
        return -1;
    return PyModule_AddType(module, state->loop_type);
}
