/* stream_transport.h: a stream transport's fields, shared by its rooms:
 * stream_transport.c (life and events), transport_write.c, transport_info.c
 * (extra info, socket, repr) and transport_type.c (the Python type).
 */
#ifndef YULAPY_STREAM_TRANSPORT_H
#define YULAPY_STREAM_TRANSPORT_H

#include <netinet/in.h>

#include "transport_base.h"

/* What a transport knows of asyncio's streams above it (stream_class.c). */
struct yulapy_feed {
    yulapy_reader *reader;   /* which receives from us, or NULL; it owns itself,
                                and takes itself away */
    PyObject *protocol_dict; /* of a StreamReaderProtocol; or NULL */
    Py_ssize_t protocol_size;
    uint8_t writer_tries; /* calls until we stop looking for the writer */
};

typedef struct yulapy_transport {
    yulapy_loop *loop;
    yula_stream *stream;
    yulapy_held held;
    PyObject *protocol;
    PyObject *context;      /* NULL: empty, see yulapy_loop_take_context */
    PyObject *sock;         /* socket.socket, made on demand; or NULL */
    PyObject *trsock;       /* its TransportSocket, or NULL */
    PyObject *server;       /* or NULL */
    PyObject *waiter;       /* until connection_made was called */
    PyObject *empty_waiter; /* sendfile waits for an empty queue */
    PyObject *lost_error;   /* for connection_lost, or NULL */
    PyObject *dict;
    PyObject *weaklist;
    Py_buffer *buffer; /* what get_buffer() gave, during a read; or NULL */
    yula_work turn;    /* connection_made, then reading; connection_lost */
    unsigned lost;
    const yula_stream_ops *ops; /* by the kind of protocol */
    bool direct;    /* alloc's decision: read is for the reader itself */
    bool buffered;  /* the protocol is a BufferedProtocol */
    bool connected; /* protocol knows us: connection_lost is due */
    bool begun;     /* begin has run */
    bool ended;     /* end has run */
    bool closing;
    bool paused;
    bool eof; /* write_eof() */
    yulapy_feed feed;
    /* the peer's address as accept gave it; family 0: unknown */
    struct sockaddr_in6 peer;
    /* our own, once we are closed and if anybody may ask; family 0: unknown */
    struct sockaddr_in6 *name;
} yulapy_transport;

/* Where our part of the object begins: behind the stdlib class's slots. A
 * number, equal in all interpreters; set when the type is made. */
extern Py_ssize_t yulapy_transport_offset;

#define TRANSPORT(self)                                                        \
    ((yulapy_transport *)((char *)(self) + yulapy_transport_offset))
#define EXTRA(self, state)                                                     \
    (*(PyObject **)((char *)(self) + (state)->transport_extra_offset))

static inline PyObject *
transport_object(yulapy_transport *transport)
{
    return (PyObject *)((char *)transport - yulapy_transport_offset);
}

/* --- stream_transport.c --- */
int yulapy_transport_adopt_protocol(yulapy_transport *transport,
                                    PyObject *protocol);
int yulapy_transport_close(yulapy_transport *transport);
bool yulapy_transport_is_closing(yulapy_transport *transport);
int yulapy_transport_close_descriptor(yulapy_transport *transport);
void yulapy_transport_fatal(yulapy_transport *transport, const char *message);
void yulapy_transport_force_close(yulapy_transport *transport, PyObject *error);
void yulapy_transport_release_buffer(yulapy_transport *transport);
void yulapy_transport_wake_empty_waiter(yulapy_transport *transport,
                                        PyObject *error);
/* --- transport_info.c --- */
PyObject *yulapy_transport_get_extra_dict(PyObject *self, void *unused);
PyObject *yulapy_transport_get_extra_info(PyObject *self, PyObject *args,
                                          PyObject *kwargs);
PyObject *yulapy_transport_get_sock(yulapy_transport *transport);
PyObject *yulapy_transport_get_trsock(yulapy_transport *transport);
void yulapy_transport_keep_names(yulapy_transport *transport);
PyObject *yulapy_transport_repr(PyObject *self);
int yulapy_transport_set_extra_dict(PyObject *self, PyObject *value,
                                    void *unused);
/* --- transport_write.c --- */
PyObject *yulapy_transport_can_write_eof(PyObject *self, PyObject *unused);
PyObject *yulapy_transport_get_write_buffer_limits(PyObject *self,
                                                   PyObject *unused);
PyObject *yulapy_transport_get_write_buffer_size(PyObject *self,
                                                 PyObject *unused);
PyObject *yulapy_transport_make_empty_waiter(PyObject *self, PyObject *unused);
PyObject *yulapy_transport_reset_empty_waiter(PyObject *self, PyObject *unused);
PyObject *yulapy_transport_set_write_buffer_limits(PyObject *self,
                                                   PyObject *args,
                                                   PyObject *kwargs);
PyObject *yulapy_transport_write(PyObject *self, PyObject *data);
PyObject *yulapy_transport_write_eof(PyObject *self, PyObject *unused);
PyObject *yulapy_transport_writelines(PyObject *self, PyObject *lines);

#endif /* YULAPY_STREAM_TRANSPORT_H */
