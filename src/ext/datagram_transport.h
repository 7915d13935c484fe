/* datagram_transport.h: a datagram transport's fields, shared by its rooms:
 * datagram_transport.c (life and events), datagram_type.c (sending, the Python
 * type); and the addresses of datagrams, datagram_address.c.
 */
#ifndef YULAPY_DATAGRAM_TRANSPORT_H
#define YULAPY_DATAGRAM_TRANSPORT_H

#include "transport_base.h"

typedef struct yulapy_endpoint {
    yulapy_loop *loop;
    yula_datagram *datagram; /* NULL once the descriptor was given up */
    yulapy_held held;
    PyObject *protocol;
    PyObject *context; /* NULL: empty */
    PyObject *sock;
    PyObject *address;    /* remote_addr, the only one to send to; or NULL */
    PyObject *waiter;     /* until connection_made was called */
    PyObject *lost_error; /* for connection_lost, or NULL */
    PyObject *dict;
    PyObject *weaklist;
    yula_work begin; /* connection_made, then receiving */
    yula_work end;   /* connection_lost */
    unsigned lost;
    int family;
    bool has_peer; /* connected: the kernel knows where to send to */
    bool begun;    /* begin has run */
    bool ended;    /* end has run */
    bool closing;
    bool paused;
    /* the address object last sent to, parsed; its items cannot change */
    PyObject *to_object;
    socklen_t to_len;
    struct sockaddr_storage to;
} yulapy_endpoint;

/* Where our part of the object begins; equal in all interpreters. */
extern Py_ssize_t yulapy_endpoint_offset;

#define ENDPOINT(self)                                                         \
    ((yulapy_endpoint *)((char *)(self) + yulapy_endpoint_offset))

static inline PyObject *
endpoint_object(yulapy_endpoint *endpoint)
{
    return (PyObject *)((char *)endpoint - yulapy_endpoint_offset);
}

static inline PyObject **
endpoint_extra(yulapy_endpoint *endpoint)
{
    return (PyObject **)((char *)endpoint_object(endpoint) +
                         endpoint->loop->state->transport_extra_offset);
}

/* --- datagram_transport.c --- */
void yulapy_endpoint_fatal(yulapy_endpoint *endpoint, const char *message);
void yulapy_endpoint_force_close(yulapy_endpoint *endpoint, PyObject *error);
int yulapy_endpoint_close(yulapy_endpoint *endpoint);
int yulapy_endpoint_close_descriptor(yulapy_endpoint *endpoint);

/* --- datagram_address.c --- */
/* The sender of a datagram, as yulapy_address_object; often the same object for
 * the same sender. A new reference, or NULL. */
PyObject *yulapy_datagram_sender(yulapy_loop *loop, const struct sockaddr *addr,
                                 socklen_t len);
/* The socket address that such an object stands for, or NULL if it is not one
 * that is remembered. Valid until the next call. */
const struct sockaddr *
yulapy_datagram_sender_of(yulapy_loop *loop, PyObject *object, socklen_t *len);

#endif /* YULAPY_DATAGRAM_TRANSPORT_H */
