/* descriptor.h: what the extension knows of one descriptor.
 *
 * Two kinds of users: callbacks of add_reader/add_writer, which are
 * level-triggered, and sock_* operations, which wait once. For the latter the
 * descriptor stays registered, edge-triggered, and readiness is remembered, so
 * that an operation costs no epoll_ctl and no system call that is known to
 * fail.
 */
#ifndef YULAPY_DESCRIPTOR_H
#define YULAPY_DESCRIPTOR_H

#include "yulapy.h"

enum {
    YULAPY_READ,
    YULAPY_WRITE
};

/* Someone who waits for a direction; embedded in a socket operation. */
typedef struct yulapy_waiter {
    struct yulapy_waiter *next, *prev; /* NULL while not waiting */
    PyObject *future;
} yulapy_waiter;

typedef struct yulapy_descriptor {
    PyObject_HEAD
    yulapy_loop *loop;
    yulapy_held held;
    yula_watcher watcher;
    PyObject *handles[2];     /* reader and writer: Handle or NULL */
    PyObject *fileobj;        /* what they were added for, unless a number */
    PyObject *sock_ref;       /* weak, to the socket of sock_*, or NULL */
    PyObject *sock;           /* that socket, to be compared with only */
    yulapy_waiter waiters[2]; /* list heads */
    bool ready[2];            /* may succeed; false only on proof */
    bool tcp;
    unsigned trouble; /* READ_CLOSED, HANGUP, ERROR, PRIORITY seen */
} yulapy_descriptor;

/* The entry that sock_* keeps for this very socket object, or NULL. Borrowed.
 * An entry left by a socket that was closed behind our back is dropped, and
 * whoever waited there is woken to find out. */
yulapy_descriptor *yulapy_descriptor_of_socket(yulapy_loop *loop, int fd,
                                               PyObject *sock);

/* Wait until the direction may succeed: registers the socket if need be and
 * links the waiter; waiter->future is resolved (with None) on an event. 0, or
 * -1 with an exception. */
int yulapy_descriptor_wait(yulapy_loop *loop, int fd, PyObject *sock,
                           int direction, yulapy_waiter *waiter);
void yulapy_waiter_leave(yulapy_waiter *waiter);

/* The outcome of a system call: remember what it proved. descriptor may be
 * NULL. asked, got: bytes; got < 0: it would have blocked. */
void yulapy_descriptor_note(yulapy_descriptor *descriptor, int direction,
                            size_t asked, ssize_t got);

/* A transport takes the number over. */
void yulapy_descriptor_forget(yulapy_loop *loop, int fd);

#endif /* YULAPY_DESCRIPTOR_H */
