/* streams.h: asyncio's StreamReader and StreamWriter, served in C.
 *
 * When a transport gets an exact StreamReaderProtocol with an exact
 * StreamReader, the reader's class is exchanged for a C one derived from it, and
 * so is the writer's when it is first met. What they must remember is behind
 * their instance dictionaries: a `part` is a dict with C fields behind it, put in
 * the place of the instance's own. Their private attributes (_buffer, _waiter,
 * _paused, ...) are descriptors over those fields, so Python code that reads or
 * sets them, asyncio's own included, sees and changes the one truth.
 *
 * stream_class.c (recognising, exchanging, noticing patches), stream_reader.c
 * (what a reader holds, receiving), stream_reader_methods.c, stream_writer.c,
 * stream_op.c (the awaitables).
 *
 * Everything here: Thread: loop.  GIL: held.
 */
#ifndef YULAPY_STREAMS_H
#define YULAPY_STREAMS_H

#include "stream_transport.h"

typedef struct yulapy_stream_op yulapy_stream_op;

/* A class of asyncio's, and what stood in it when it was asyncio's own. */
typedef struct yulapy_stream_class {
    PyTypeObject *asyncio;
    PyTypeObject *ours;  /* derived from it; NULL for the protocol */
    PyObject *originals; /* dict: name -> function */
    unsigned version;    /* of the class when it was last compared */
    bool touched;        /* something of originals was replaced */
} yulapy_stream_class;

/* Owned by the module's state. */
struct yulapy_streams {
    yulapy_stream_class reader, writer, protocol;
    PyTypeObject *reader_part_type, *writer_part_type, *op_type;
    PyObject *stop; /* a StopIteration to be used again: awaitable.c */
    yulapy_free_list free_ops;
    PyObject *str_connection_lost, *str_paused, *str_closed, *str_reader_ref;
    PyObject *str_class;                     /* "__class__" */
    PyObject *reader_fields, *writer_fields; /* tuples of names: ORDER below */
    bool usable; /* asyncio's classes are as we know them */
};

/* The attributes that a part has fields for, as in reader_fields and
 * writer_fields. ORDER yulapy_stream_fields */
enum {
    YULAPY_READER_LIMIT,
    YULAPY_READER_LOOP,
    YULAPY_READER_BUFFER,
    YULAPY_READER_WAITER,
    YULAPY_READER_EXCEPTION,
    YULAPY_READER_TRANSPORT,
    YULAPY_READER_EOF,
    YULAPY_READER_PAUSED
};
enum {
    YULAPY_WRITER_TRANSPORT,
    YULAPY_WRITER_PROTOCOL,
    YULAPY_WRITER_READER,
    YULAPY_WRITER_LOOP,
    YULAPY_WRITER_COMPLETE_FUT
};

/* The value of the i-th of those names in an instance's own dictionary:
 * borrowed, or NULL without an exception. */
static inline PyObject *
yulapy_stream_field(PyObject *dict, PyObject *fields, Py_ssize_t i)
{
    return PyDict_GetItem(dict, PyTuple_GET_ITEM(fields, i));
}

/* What a reader remembers; its attributes of the same names. */
struct yulapy_reader {
    PyDictObject dict;
    yulapy_state *state;
    PyObject *limit, *loop, *buffer, *waiter, *exception, *transport;
    Py_ssize_t limit_bytes;
    PyObject *chunk;           /* bytes; only while buffer is empty. Or NULL */
    Py_ssize_t chunk_start;    /* what was read of it */
    yulapy_stream_op *waiting; /* borrowed; its future is our waiter, unless
                                   somebody replaced that */
    yulapy_feed *feeder;       /* borrowed; its reader field points here */
    size_t recent;             /* how much read() last took from the kernel */
    bool left; /* data was left with the kernel, for whom it has woken */
    bool eof, paused;
    bool odd; /* an attribute was given something asyncio never puts there */
};

typedef struct yulapy_writer {
    PyDictObject dict;
    yulapy_state *state;
    PyObject *transport, *protocol, *reader, *loop, *complete_fut;
} yulapy_writer;

/* --- stream_class.c --- */
bool yulapy_stream_class_compare(yulapy_stream_class *cls);

/* Whether the class's methods are asyncio's own. */
static inline bool
yulapy_stream_class_untouched(yulapy_stream_class *cls)
{
    if (__builtin_expect(cls->asyncio == NULL, 0))
        return false; /* the interpreter is ending */
    unsigned version = cls->asyncio->tp_version_tag;
    if (__builtin_expect(version == cls->version && version != 0, 1))
        return !cls->touched;
    return yulapy_stream_class_compare(cls);
}

/* asyncio's method (or what somebody put in its place) called on self, whose
 * class is one of ours. */
PyObject *yulapy_stream_asyncio_call(PyObject *self, const char *name,
                                     PyObject *const *args, Py_ssize_t nargs,
                                     PyObject *kwnames);

/* Give object the class `ours` and part as its dictionary. The attributes named
 * in fields, all of which it has, are in part already; what else its dictionary
 * held moves there. 0, or -1 with an exception and the object as it was. */
int yulapy_stream_exchange(yulapy_streams *streams, PyObject *object,
                           PyTypeObject *ours, PyObject *part,
                           PyObject *fields);

/* The dictionary of an instance, borrowed: our part of it, or a plain one. */
static inline PyObject *
yulapy_stream_part(PyObject *self)
{
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    if (__builtin_expect(dict == NULL, 0)) {
        PyErr_Clear(); /* no memory: then there is none of ours */
        return NULL;
    }
    Py_DECREF(dict);
    return dict;
}

/* Descriptors of attributes, for an instance without a part: in its dictionary.
 */
PyObject *yulapy_stream_plain_get(PyObject *self, const char *name);
int yulapy_stream_plain_set(PyObject *self, const char *name, PyObject *value);

/* The transport got this protocol (a new one, or NULL: it has none): serve its
 * reader from now on, if it is one of asyncio's. 1: served; 0: not; -1: an
 * exception is set. */
int yulapy_streams_adopt(yulapy_feed *feed, yulapy_loop *loop,
                         PyObject *protocol);

/* Receive what was left with the kernel (reader->left), as it would have come
 * without anybody waiting. 0, or -1 with an exception. */
int yulapy_reader_fetch(yulapy_reader *reader);

/* The transport is about to stop reading: what asyncio would have received by
 * now goes to the reader. */
static inline void
yulapy_streams_settle(yulapy_feed *feed)
{
    if (feed->reader != NULL && feed->reader->left &&
        yulapy_reader_fetch(feed->reader) < 0)
        PyErr_WriteUnraisable((PyObject *)feed->reader);
}

/* Whether what the transport receives may go to its reader directly: nothing
 * on the way was replaced. feed->reader is not NULL. */
bool yulapy_streams_direct(yulapy_streams *streams, yulapy_feed *feed);

/* Whether the transport's protocol is a StreamReaderProtocol with methods of
 * asyncio's only. feed->protocol_dict is not NULL. */
bool yulapy_stream_protocol_plain(yulapy_streams *streams, yulapy_feed *feed);

/* Whether the methods of the transport itself were not replaced. */
static inline bool
yulapy_stream_transport_plain(yulapy_state *state, PyObject *transport)
{
    if (!Py_IS_TYPE(transport, state->stream_transport_type))
        return false;
    PyObject *dict = TRANSPORT(transport)->dict;
    return dict == NULL || PyDict_GET_SIZE(dict) == 0;
}

/* --- stream_reader.c --- */
int yulapy_reader_add_part_type(PyObject *module, yulapy_state *state);
void yulapy_reader_dealloc(PyObject *self);
extern PyGetSetDef yulapy_reader_attributes[];

static inline yulapy_reader *
yulapy_reader_of(PyObject *self)
{
    PyObject *part = yulapy_stream_part(self);
    if (part == NULL || Py_TYPE(part)->tp_dealloc != yulapy_reader_dealloc)
        return NULL;
    return (yulapy_reader *)part;
}

/* Exchange a reader of asyncio's. 1, 0 if it is not as asyncio makes it, or -1
 * with an exception. */
int yulapy_reader_adopt(yulapy_state *state, PyObject *reader);

/* Whether our methods may do the work of asyncio's for this reader. */
bool yulapy_reader_shadowed(yulapy_reader *reader);
static inline bool
yulapy_reader_served(yulapy_reader *reader)
{
    return yulapy_stream_class_untouched(&reader->state->streams->reader) &&
           !reader->odd &&
           (PyDict_GET_SIZE(reader) == 0 || !yulapy_reader_shadowed(reader));
}

/* Where the next len bytes of the feeder shall go: the alloc of its stream. 0,
 * YULA_STREAM_LEAVE (perhaps with an exception), or -ENOMEM. */
int yulapy_reader_alloc(yulapy_reader *reader, void **base, size_t *len);
/* They came. 0, or -1 with an exception. bytes: an object that holds just them,
 * or NULL. */
int yulapy_reader_receive(yulapy_reader *reader, const char *base,
                          Py_ssize_t len, PyObject *bytes);
int yulapy_reader_end(yulapy_reader *reader);

/* What yulapy_reader_fetch does for read(count): a new reference; or NULL without an exception, then
 * look at what there is to read. */
PyObject *yulapy_reader_receive_left(yulapy_reader *reader, Py_ssize_t count);
/* What is there to read, as one piece. Valid until the next change. Nothing is
 * left with the kernel. */
Py_ssize_t yulapy_reader_peek(yulapy_reader *reader, const char **base);
/* The first count bytes, removed; count is at most what there is. Reading goes
 * on if it was paused and enough room is made. A new reference, or NULL. */
PyObject *yulapy_reader_take(yulapy_reader *reader, Py_ssize_t count);
/* Start waiting, with a future of the op's that becomes the waiter. 0 or -1. */
int yulapy_reader_wait(yulapy_reader *reader, yulapy_stream_op *op);
/* The op does not wait any more, whatever the reason. */
void yulapy_reader_wait_ended(yulapy_reader *reader, yulapy_stream_op *op);

/* --- stream_reader_methods.c --- */
extern PyMethodDef yulapy_reader_methods[];

/* --- stream_op.c --- */
typedef struct yulapy_stream_op_kind {
    const char *name; /* of asyncio's method */
    const char *qualified_name;
    bool exact;    /* the result has op->count bytes, neither more nor less */
    bool receives; /* attempt can take what is left with the kernel */
    /* Try: 1 done, *result is set; 0 wait for data; -1 an exception is set; 2
     * for everything else: asyncio's own coroutine is to do it. */
    int (*attempt)(yulapy_stream_op *op, PyObject **result);
    /* Whether waiting has an end: attempt would not return 0. */
    bool (*ready)(yulapy_stream_op *op);
} yulapy_stream_op_kind;

struct yulapy_stream_op {
    PyObject_HEAD
    const yulapy_stream_op_kind *kind;
    yulapy_state *state;
    PyObject *owner;     /* the StreamReader or StreamWriter */
    PyObject *part;      /* its part */
    PyObject *argument;  /* a separator; or NULL */
    Py_ssize_t count;    /* bytes asked for, or -1 */
    Py_ssize_t searched; /* so far there is no separator */
    PyObject *future;    /* waited on */
    PyObject *iterator;  /* asyncio's coroutine, if that goes on */
    PyObject *target;    /* readexactly: the bytes object being filled */
    Py_ssize_t filled;
    PyObject *weaklist;
    char status;
    bool woken; /* future was given a result by us */
};

int yulapy_stream_op_add_type(PyObject *module, yulapy_state *state);
/* Free what is kept for new ones, and keep no more. */
void yulapy_stream_op_drop_free(yulapy_streams *streams);
/* A new one, or NULL. count: -1 for none. argument: or NULL. */
yulapy_stream_op *yulapy_stream_op_new(yulapy_state *state,
                                       const yulapy_stream_op_kind *kind,
                                       PyObject *owner, PyObject *part,
                                       Py_ssize_t count, PyObject *argument);
/* The op waits for this awaitable from now on, and returns what it returns.
 * Steals nothing. 0 or -1. */
int yulapy_stream_op_follow(yulapy_stream_op *op, PyObject *awaitable);

/* --- stream_writer.c --- */
int yulapy_writer_add_part_type(PyObject *module, yulapy_state *state);
extern PyGetSetDef yulapy_writer_attributes[];
extern PyMethodDef yulapy_writer_methods[];
/* A method of the transport was called: by its StreamWriter, perhaps. */
void yulapy_writer_meet(yulapy_state *state, yulapy_feed *feed,
                        PyObject *transport);

#endif /* YULAPY_STREAMS_H */
