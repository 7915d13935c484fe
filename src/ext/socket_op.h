/* socket_op.h: a socket operation, between what it does (socket_ops.c) and how it
 * is awaited (socket_op.c).
 */
#ifndef YULAPY_SOCKET_OP_H
#define YULAPY_SOCKET_OP_H

#include "descriptor.h"

typedef struct yulapy_socket_op yulapy_socket_op;

typedef struct yulapy_socket_op_kind {
    const char *name; /* of the loop's method */
    int direction;    /* what it waits for */
    bool eager;       /* tried first though the socket may not be ready */
    /* Try: 1 done, *result is set; 0 it would block; -1 an exception is set.
     * descriptor may be NULL. */
    int (*attempt)(yulapy_socket_op *op, int fd, yulapy_descriptor *descriptor,
                   PyObject **result);
} yulapy_socket_op_kind;

struct yulapy_socket_op {
    PyObject_HEAD
    const yulapy_socket_op_kind *kind;
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

/* A new operation, or NULL. */
yulapy_socket_op *yulapy_socket_op_new(PyObject *loop,
                                       const yulapy_socket_op_kind *kind,
                                       PyObject *sock);
/* Of no use after all: that it was never awaited is nobody's neglect. */
void yulapy_socket_op_drop(yulapy_socket_op *op);

#endif /* YULAPY_SOCKET_OP_H */
