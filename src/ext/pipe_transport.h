/* pipe_transport.h: a pipe transport's fields, shared by its rooms:
 * pipe_transport.c (life and events) and pipe_type.c (writing, the Python types).
 */
#ifndef YULAPY_PIPE_TRANSPORT_H
#define YULAPY_PIPE_TRANSPORT_H

#include "transport_base.h"

typedef struct yulapy_pipe {
    yulapy_loop *loop;
    /* One of the two, by type; NULL once the descriptor was given up. */
    yula_pipe_reader *reader;
    yula_pipe_writer *writer;
    yulapy_held held;
    PyObject *file; /* the pipe object; NULL once it was closed */
    PyObject *protocol;
    PyObject *context;    /* NULL: empty */
    PyObject *waiter;     /* until connection_made was called */
    PyObject *block;      /* bytes, to be read into; or NULL */
    PyObject *lost_error; /* for connection_lost, or NULL */
    PyObject *dict;
    PyObject *weaklist;
    yula_work begin;   /* connection_made, then reading or watching */
    yula_work end;     /* eof_received, connection_lost */
    int fd;            /* file.fileno() */
    int duplicate;     /* of fd, watched in its place; or -1 */
    unsigned lost;     /* _conn_lost: writes that failed or were dropped */
    unsigned meetings; /* reads until we stop looking for a StreamReader */
    bool in_blocks;    /* the last read was worth one */
    bool standard;     /* the pipe holds PIPE_BLOCK bytes */
    bool watches;      /* a writer that hears of its reader's end */
    bool begun;        /* begin has run */
    bool closing;
    bool ending; /* end is scheduled, or has run */
    bool ended;  /* end has run */
    bool eof;    /* eof_received is due */
    bool paused;
} yulapy_pipe;

/* Where our part of the object begins; equal in all interpreters, and for both
 * types. */
extern Py_ssize_t yulapy_pipe_offset;

#define PIPE(self) ((yulapy_pipe *)((char *)(self) + yulapy_pipe_offset))

static inline PyObject *
pipe_object(yulapy_pipe *pipe)
{
    return (PyObject *)((char *)pipe - yulapy_pipe_offset);
}

static inline PyObject **
pipe_extra(yulapy_pipe *pipe)
{
    return (PyObject **)((char *)pipe_object(pipe) +
                         pipe->loop->state->transport_extra_offset);
}

/* --- pipe_transport.c --- */
/* _fatal_error with the pending exception. */
void yulapy_pipe_fatal(yulapy_pipe *pipe, const char *message);
/* _close: connection_lost(error) follows; what is queued is dropped. 0, or -1
 * with an exception (the loop is closed). Borrows error; NULL for none. */
int yulapy_pipe_force_close(yulapy_pipe *pipe, PyObject *error);
/* write_eof, and close of a writer: when everything queued is written. */
int yulapy_pipe_write_eof(yulapy_pipe *pipe);
/* Give up the descriptor; the file object stays open. */
void yulapy_pipe_let_go(yulapy_pipe *pipe);

#endif /* YULAPY_PIPE_TRANSPORT_H */
