/* yulapy.h: what the rooms of the extension share.
 *
 * State of the module lives in a yulapy_state (one per interpreter), never in C
 * globals. Offsets into the stdlib's classes are plain numbers, equal in every
 * interpreter of the process, and kept in the state too.
 *
 * Everything here is called with the GIL held on the loop's thread unless it
 * says otherwise.
 */
#ifndef YULAPY_H
#define YULAPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <yula/yula.h>

#include "base/list.h"
#include "base/sys.h"
#include "free_list.h"
#include "gil.h"
#include "switch_interval.h"

typedef struct yulapy_streams yulapy_streams;
typedef struct yulapy_reader yulapy_reader;
typedef struct yulapy_feed yulapy_feed;
typedef struct yulapy_tls_state yulapy_tls_state;

/* Where the slots of asyncio's Handle classes are (handle.c). */
typedef struct yulapy_handle_layout {
    Py_ssize_t callback, args, cancelled, loop, source_traceback, repr, context;
    Py_ssize_t scheduled, when; /* TimerHandle */
    Py_ssize_t weaklist;
    Py_ssize_t handle_extra, timer_extra, threadsafe_extra; /* our part */
} yulapy_handle_layout;

/* What future.c knows of asyncio's futures and tasks. */
typedef struct yulapy_waits {
    PyTypeObject *type;      /* yula._core.Future; NULL: futures are Python's */
    PyTypeObject *task_type; /* _asyncio.Task */
    PyMethodDef *wakeup;     /* its callback on a future, once seen */
    PyObject *discard;       /* future_discard_from_awaited_by: 3.14 */
    PyObject *str_blocking, *str_get_loop, *str_add_done_callback;
    PyObject *context_names; /* ('context',) */
} yulapy_waits;

struct yulapy_state {
    PyTypeObject *loop_type;
    PyTypeObject *handle_type;
    PyTypeObject *timer_handle_type;
    PyTypeObject *threadsafe_handle_type; /* handle_type before 3.14 */
    PyTypeObject *stream_transport_type;
    PyTypeObject *datagram_transport_type;
    PyTypeObject *read_pipe_type, *write_pipe_type;
    PyTypeObject *descriptor_type;
    PyTypeObject *listener_type;
    PyTypeObject *socket_op_type;
    yulapy_free_list free_socket_ops; /* socket_op.c */
    PyTypeObject *lookup_type;
    PyTypeObject *literal_type;
    PyTypeObject *worker_type;
    PyTypeObject *work_queue_type;

    yulapy_streams *streams; /* asyncio's stream classes: streams.h */
    yulapy_waits waits;
    yulapy_tls_state *tls; /* of the ssl module: tls.h */

    yulapy_handle_layout handle;
    Py_ssize_t transport_extra_offset; /* BaseTransport._extra */

    /* asyncio */
    PyObject *handle_base;        /* asyncio.Handle */
    unsigned handle_base_version; /* its version when _run was last looked at */
    PyObject *handle_base_run;    /* asyncio.Handle._run as it was at import */
    PyObject *future_type;        /* asyncio.Future */
    PyObject *futures;            /* the names of asyncio.futures */
    PyObject *tasks;              /* and of asyncio.tasks */
    PyObject *buffered_protocol;  /* asyncio.BufferedProtocol */
    PyObject *transport_socket;   /* asyncio.trsock.TransportSocket */
    PyObject *extract_stack;      /* asyncio.format_helpers.extract_stack */
    PyObject *socket_type;        /* socket.socket */
    unsigned socket_version;      /* its version when fileno was looked at */
    PyCFunction socket_fileno;    /* _socket's, or NULL if it was replaced */
    PyObject *gaierror;           /* socket.gaierror */
    PyObject *address_family;     /* socket.AddressFamily */
    PyObject *socket_kind;        /* socket.SocketKind */
    PyObject *af_inet, *af_inet6, *sock_stream, *sock_dgram; /* of socket */
    PyObject *socket_names; /* the names of socket */
    PyObject *getaddrinfo;  /* socket.getaddrinfo as it was at import */
    PyObject *empty_text;
    PyObject *failure; /* module yula.failure */
    PyObject *breath;  /* an empty Python function (gil.c) */
    yulapy_switch_interval switch_interval;
    PyObject *base_loop;     /* asyncio.selector_events.BaseSelectorEventLoop */
    PyObject *names_loop;    /* ('loop',), for keyword calls */
    PyObject *context_names; /* the ('context',) of somebody's calls, or NULL */
    bool server_takes_transport; /* Server._attach(transport): 3.13 */
    bool sends_empty_datagrams;  /* sendto(b""): 3.12 */

    PyObject *empty_tuple;
    /* interned names, ORDER yulapy_names */
    /* clang-format off */
#define YULAPY_NAMES(X)                                                        \
    X(Future) X(Task) X(_accept_tls) X(_attach) X(_check_callback)             \
    X(_check_thread) X(_detach) X(_handle_signal) X(_run) X(_run_debug)        \
    X(_start_worker) X(_submit_is_replaced)                                    \
    X(accept_failed) X(buffer_updated) X(call_at) X(call_soon) X(cancel) X(close)           \
    X(connection_lost) X(connection_made) X(context) X(create_future)          \
    X(data_received) X(datagram_received) X(done) X(eof_received) X(error_received) X(executor_failed) X(family) X(fatal_error) X(flags) X(getaddrinfo) X(_look_up) X(fileno) X(get_buffer)   \
    X(gettimeout) X(handle_failed) X(loop) X(pause_writing) X(peername) X(pipe_closed_by_peer) X(pipe_failed)        \
    X(proto) X(protocol_failed) X(resume_writing) X(run) X(run_in_executor) X(set_exception) X(set_result) X(setblocking)   \
    X(slow_call) X(socket) X(sockname) X(time) X(transport_unclosed) X(type)   \
    X(warn_lost_pipe_write) X(warn_lost_write)
/* clang-format on */
#define YULAPY_NAME_FIELD(name) PyObject *str_##name;
    YULAPY_NAMES(YULAPY_NAME_FIELD)
#undef YULAPY_NAME_FIELD
};

/* An object the loop keeps alive, in a list that the loop's traverse walks. */
typedef struct yulapy_held {
    struct yulapy_held *next, *prev; /* NULL while not held */
    PyObject *object;
    /* Called when the loop closes: let go of the core. */
    void (*loop_closed)(PyObject *object);
} yulapy_held;

/* _core.LoopBase; yula.Loop is its Python subclass. */
struct yulapy_loop {
    PyObject_HEAD
    yulapy_state *state;
    yula_loop *core;   /* NULL once closed */
    yulapy_held held;  /* head of the list */
    PyObject *leaving; /* exception that ends the run, or NULL */

    /* attributes that asyncio's own code reads and writes */
    PyObject *thread_id;    /* int while running */
    PyObject *task_factory; /* or None */
    char closed;
    char debug;
    char stopping;

    /* executor.c; the first two are asyncio's, too */
    PyObject *default_executor; /* or None */
    char executor_shutdown_called;
    char submit_replaced;
    unsigned executor_version; /* of its class, when submit was looked at */
    PyObject *own_executor;    /* the LoopExecutor, once there is one */

    /* overridden `time`, `call_at`, `call_soon` (loop_schedule.c) */
    char time_overridden;
    char call_at_overridden;
    char call_soon_overridden;
    char attribute_assigned; /* look again */
    unsigned type_version;

    /* received.c */
    PyObject *spare;
    size_t spare_capacity;
    struct yulapy_shelf *shelf;
    struct yulapy_tls_room *tls_room; /* tls_engine.c; or NULL */

    /* datagram_address.c; NULL until a datagram came */
    struct yulapy_addresses *addresses;

    /* future.c */
    PyObject *spare_futures[16];
    unsigned spare_future_count;
    PyObject *get_loop;    /* a function that returns self; or NULL */
    PyObject *done_future; /* its result is None; or NULL */

    yulapy_gil gil;

    /* native_lane.c; NULL until C has asked for it */
    struct yula_python *python;

    /* handle.c: free handles by kind, and an empty context to run in, or NULL */
    yulapy_free_list free_handles[3];
    PyObject *empty_context;
};

/* --- module.c --- */
yulapy_state *yulapy_state_of_type(PyTypeObject *type);

/* --- gil.c: see gil.h --- */

/* --- stats.c: stats() and the settings, for the loop's tables --- */
PyObject *yulapy_loop_stats(PyObject *self, PyObject *unused);
PyObject *yulapy_loop_get_gil_spin(PyObject *self, void *unused);
int yulapy_loop_set_gil_spin(PyObject *self, PyObject *value, void *unused);
PyObject *yulapy_loop_get_gil_share(PyObject *self, void *unused);
int yulapy_loop_set_gil_share(PyObject *self, PyObject *value, void *unused);

/* --- loop.c --- */
/* 0, or -1 with RuntimeError "Event loop is closed". */
int yulapy_loop_check_open(yulapy_loop *loop);
void yulapy_loop_hold(yulapy_loop *loop, yulapy_held *held, PyObject *object,
                      void (*loop_closed)(PyObject *));
/* Drops the loop's reference: the object may be gone afterwards. */
void yulapy_loop_let_go(yulapy_held *held);
int yulapy_loop_add_type(PyObject *module, yulapy_state *state);

/* --- handle.c --- */
int yulapy_handle_add_types(PyObject *module, yulapy_state *state);
/* A new handle for callback(*args); context NULL copies the current one. */
PyObject *yulapy_handle_new(yulapy_loop *loop, PyTypeObject *type,
                            PyObject *callback, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *context);
yula_work *yulapy_handle_work(yulapy_state *state, PyObject *handle);
yula_timer *yulapy_handle_timer(yulapy_state *state, PyObject *handle);
/* Queue the handle; the queue takes a reference. */
void yulapy_handle_queue(yulapy_loop *loop, PyObject *handle);
/* The handle whose work or timer this is (borrowed), or NULL. */
PyObject *yulapy_handle_of_work(yula_work *work);
void yulapy_handle_run(yulapy_loop *loop, PyObject *handle);
/* Whether somebody wants to see each callback's handle: debug mode, or a tool
 * that replaced Handle._run. */
bool yulapy_handle_needed(yulapy_loop *loop);
/* The handle's callback failed with exc: tell the exception handler. */
void yulapy_handle_report(yulapy_loop *loop, PyObject *handle, PyObject *exc);
/* Arm the handle's timer, which takes a reference. 0, or -1 with an exception.
 */
int yulapy_handle_start_timer(yulapy_loop *loop, PyObject *handle,
                              int64_t deadline_ns);
void yulapy_handle_when_set(yulapy_state *state, PyObject *handle,
                            PyObject *when);
bool yulapy_handle_is_cancelled(yulapy_state *state, PyObject *handle);
void yulapy_handle_drop_free(yulapy_loop *loop);
/* Drop the queue's reference. */
void yulapy_handle_release(PyObject *handle);
/* Take a handle out of the ready queue or the heap, with the queue's
 * reference. */
void yulapy_handle_unqueue(yulapy_state *state, PyObject *handle);

/* --- raise.c --- */
/* The pending exception as an object, with its traceback; clears it. */
PyObject *yulapy_take_exception(void);
/* Steals exc and makes it the pending exception. */
void yulapy_raise_exception(PyObject *exc);
/* OSError of the right subclass for a core code (negated errno, YULA_E*). */
PyObject *yulapy_error_new(int code);
void yulapy_raise_code(int code);
/* The pending exception came from a callback. SystemExit and KeyboardInterrupt
 * leave the loop: they are parked there and the turn is broken; returns true.
 * Others stay pending; returns false. */
bool yulapy_leaves_loop(yulapy_loop *loop);
/* Call failure.<name>(args...); what that raises leaves the loop or is written
 * unraisable. Steals nothing. */
void yulapy_failure(yulapy_loop *loop, PyObject *name, PyObject *const *args,
                    size_t nargs);

/* --- descriptor.c --- */
int yulapy_descriptor_fd(PyObject *fileobj);
int yulapy_descriptor_add_type(PyObject *module, yulapy_state *state);
/* args: fd, callback, *callback_args. The handle, or NULL. */
PyObject *yulapy_descriptor_add_handle(yulapy_loop *loop, PyObject *const *args,
                                       Py_ssize_t nargs, PyObject *context,
                                       bool writer);
/* Whether there was one, as an object; or NULL. */
PyObject *yulapy_descriptor_remove_handle(yulapy_loop *loop, PyObject *fileobj,
                                          bool writer);
/* (descriptor, what of add_reader 1 and add_writer 2 there is). */
PyObject *yulapy_descriptor_events(yulapy_loop *loop, PyObject *fileobj);

/* --- socket_op.c --- */
int yulapy_socket_op_add_type(PyObject *module, yulapy_state *state);
/* Free what is kept for new operations, and keep no more. */
void yulapy_socket_op_drop_free(yulapy_state *state);

/* --- socket_ops.c --- */
/* The sock_* methods of the loop, for its method table. */
PyObject *yulapy_sock_recv(PyObject *, PyObject *const *, Py_ssize_t,
                           PyObject *);
PyObject *yulapy_sock_recv_into(PyObject *, PyObject *const *, Py_ssize_t,
                                PyObject *);
PyObject *yulapy_sock_recvfrom(PyObject *, PyObject *const *, Py_ssize_t,
                               PyObject *);
PyObject *yulapy_sock_recvfrom_into(PyObject *, PyObject *const *, Py_ssize_t,
                                    PyObject *);
PyObject *yulapy_sock_sendall(PyObject *, PyObject *const *, Py_ssize_t,
                              PyObject *);
PyObject *yulapy_sock_sendto(PyObject *, PyObject *const *, Py_ssize_t,
                             PyObject *);
PyObject *yulapy_sock_accept(PyObject *, PyObject *const *, Py_ssize_t,
                             PyObject *);
PyObject *yulapy_sock_connect(PyObject *, PyObject *const *, Py_ssize_t,
                              PyObject *);

/* --- future.c --- */
int yulapy_futures_add_type(PyObject *module, yulapy_state *state);
int yulapy_futures_traverse(yulapy_state *state, visitproc visit, void *arg);
void yulapy_futures_clear(yulapy_state *state);
/* A pending future of the loop, for one awaitable to wait on. A new reference,
 * or NULL. */
PyObject *yulapy_future_new(yulapy_loop *loop);
/* What a task is given to wait for the future: as `await future` yields it. A
 * new reference, or NULL. */
PyObject *yulapy_future_yield(yulapy_loop *loop, PyObject *future);
/* future.set_result(None), unless it is done. 1: set; 0: it was cancelled
 * before; -1: an exception is set. */
int yulapy_future_wake(yulapy_loop *loop, PyObject *future);
/* The awaiter was resumed: 0 if the future has a result, -1 with its exception,
 * or with a RuntimeError if it is not done. */
int yulapy_future_outcome(yulapy_loop *loop, PyObject *future);
/* Steals a future that its awaiter does not need any more. */
void yulapy_future_give_back(yulapy_loop *loop, PyObject *future);
/* Whether the work is a future's; its arg is the future. */
bool yulapy_future_is_work(const yula_work *work);
/* Give any future its result, or its exception, unless it is done (cancelled by
 * whoever waited). What that raises leaves the loop or is written unraisable.
 */
void yulapy_future_resolve(yulapy_loop *loop, PyObject *future,
                           PyObject *outcome, bool failed);
int yulapy_future_traverse(yulapy_loop *loop, visitproc visit, void *arg);
void yulapy_future_drop_spare(yulapy_loop *loop);

/* --- received.c --- */
/* A bytes object with a copy of len bytes; a new reference or NULL. */
PyObject *yulapy_received_bytes(yulapy_loop *loop, const void *base,
                                size_t len);
/* Take from the stream: at most max bytes, probably `expected`. A new reference,
 * or NULL; without an exception if nothing came. */
PyObject *yulapy_received_from(yulapy_loop *loop, yula_stream *stream,
                               size_t max, size_t expected);
void yulapy_received_drop(yulapy_loop *loop);

/* --- pipe_*.c: see pipe_transport.h --- */
int yulapy_pipe_add_types(PyObject *module, yulapy_state *state);
/* _make_read_pipe_transport(pipe, protocol, waiter=None, extra=None) */
PyObject *yulapy_loop_make_read_pipe(PyObject *loop, PyObject *args,
                                     PyObject *kwargs);
PyObject *yulapy_loop_make_write_pipe(PyObject *loop, PyObject *args,
                                      PyObject *kwargs);

/* --- lookup_literal.c --- */
int yulapy_literal_add_type(PyObject *module, yulapy_state *state);
/* loop.getaddrinfo(host, port, *, family=0, type=0, proto=0, flags=0) */
PyObject *yulapy_loop_look_up(PyObject *loop, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *names);

/* --- lookup.c --- */
int yulapy_lookup_add_type(PyObject *module, yulapy_state *state);
PyObject *yulapy_loop_getaddrinfo(PyObject *loop, PyObject *args);
PyObject *yulapy_loop_getnameinfo(PyObject *loop, PyObject *args);

/* --- address.c --- */
/* The other way: an address whose host is a literal. Returns its length; 0 if
 * it is none of those (no exception). */
socklen_t yulapy_address_parse(int family, PyObject *address,
                               struct sockaddr_storage *out);
/* A socket address as the socket module gives it, or NULL with an exception.
 */
PyObject *yulapy_address_object(const struct sockaddr *addr, socklen_t len);

/* --- stream_transport.c --- */
int yulapy_stream_transport_add_type(PyObject *module, yulapy_state *state);
/* sock: the socket object, or NULL (fd is then the transport's own, on
 * failure still the caller's). waiter, extra, server: NULL for none. context:
 * NULL for an empty one. kind: what is known of the socket, see io/stream_i.h. */
PyObject *yulapy_stream_transport_new(yulapy_loop *loop, int fd, PyObject *sock,
                                      PyObject *protocol, PyObject *waiter,
                                      PyObject *extra, PyObject *server,
                                      PyObject *context, int kind,
                                      const struct sockaddr *peer,
                                      socklen_t peer_len);
/* A list of the open transports of a Server. A new reference, or NULL. */
PyObject *yulapy_transports_of(PyObject *self, PyObject *server);
/* The transport that owns the descriptor (borrowed), or NULL. */
PyObject *yulapy_transport_of_fd(yulapy_loop *loop, int fd);

/* --- datagram_*.c: see datagram_transport.h --- */
int yulapy_datagram_transport_add_type(PyObject *module, yulapy_state *state);
PyObject *yulapy_loop_make_datagram(PyObject *loop, PyObject *const *args,
                                    Py_ssize_t nargs);
/* The datagram transport that owns the descriptor (borrowed), or NULL. */
PyObject *yulapy_datagram_transport_of_fd(yulapy_loop *loop, int fd);
void yulapy_addresses_drop(yulapy_loop *loop);

/* --- stream_class.c --- */
int yulapy_streams_add_types(PyObject *module, yulapy_state *state);
int yulapy_streams_traverse(yulapy_state *state, visitproc visit, void *arg);
void yulapy_streams_clear(yulapy_state *state);
void yulapy_streams_free(yulapy_state *state);

/* --- tls_protocol.c --- */
int yulapy_tls_add_types(PyObject *module, yulapy_state *state);
int yulapy_tls_traverse(yulapy_state *state, visitproc visit, void *arg);
void yulapy_tls_clear(yulapy_state *state);
void yulapy_tls_free(yulapy_state *state);

/* --- listener.c --- */
int yulapy_listener_add_type(PyObject *module, yulapy_state *state);
PyObject *yulapy_loop_listen(PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs);
PyObject *yulapy_loop_unlisten(PyObject *self, PyObject *sock);

/* --- context: enter and leave around a callback --- */

/* handle.c: a copy of the current context, or NULL without an exception if that
 * is empty. */
PyObject *yulapy_copy_context(void);
/* Who has a slot for a context and NULL in it for an empty one puts such a
 * context there for the time of a callback. Take: a new reference, or NULL with
 * an exception. Give: the slot is NULL again if the callback has left no trace in
 * the context, which nobody else can have then. The caller has a reference of its
 * own besides the slot's. */
PyObject *yulapy_loop_take_context(yulapy_loop *loop);
void yulapy_loop_give_context(yulapy_loop *loop, PyObject **slot,
                              PyObject *context);

static inline PyObject *
yulapy_none_to_null(PyObject *object)
{
    return object == Py_None ? NULL : object;
}

#endif /* YULAPY_H */
