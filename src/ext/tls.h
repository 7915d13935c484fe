/* tls.h: TLS connections, with asyncio's state machine and records in C.
 *
 * A connection is asyncio's own sslproto.SSLProtocol (yula/tls.py), whose hot
 * attributes are fields of a C struct. Handshake, shutdown, time limits and
 * everything unusual are asyncio's Python methods. What is taken over, as long as
 * the connection is WRAPPED and nothing unusual is going on, is the way of the
 * data: received bytes to the application's protocol, and what it writes to the
 * transport below. The Python methods can go on at any moment: they see and
 * change the same fields, the same SSL object and the same memory BIOs.
 *
 * tls_protocol.c (fields, reading), tls_write.c (the transport, writing),
 * tls_engine.c (which engine; the one that calls _ssl's methods),
 * tls_openssl.c (the one that calls OpenSSL's functions).
 *
 * Everything here: Thread: loop.  GIL: held.
 */
#ifndef YULAPY_TLS_H
#define YULAPY_TLS_H

#include "streams.h"

typedef struct yulapy_tls yulapy_tls;
typedef struct yulapy_tls_channel yulapy_tls_channel;

/* Most plaintext of one TLS record, and what a record adds at most (the header,
 * a padded IV, a MAC, padding; RFC 5246, 6.2.3 and RFC 8446, 5.2). */
#define TLS_RECORD_MAX 16384u
#define TLS_RECORD_EXTRA 512u

/* What has just been received, a record that was begun before, and what was
 * decrypted and not read before. */
#define TLS_PLAIN_MAX (YULA_STREAM_READ_MAX + 4 * TLS_RECORD_MAX)

/* What came of a step of an engine. */
typedef enum tls_result {
    TLS_DONE,  /* nothing more to be read; all was written */
    TLS_FULL,  /* there is no room for what is left to be read */
    TLS_ENDED, /* the peer said goodbye (close_notify) */
    TLS_ODD,   /* for asyncio's method, which will meet the same */
    TLS_RAISED /* an exception is set */
} tls_result;

/* How records are made and read. */
typedef struct tls_engine {
    const char *name;
    /* Decrypt len received bytes into plain, of room bytes. *count: bytes of
     * plaintext. What was not used is left in the connection's _incoming. */
    tls_result (*read)(yulapy_tls *tls, const char *base, size_t len,
                       char *plain, size_t room, size_t *count);
    /* Encrypt; *written: bytes of plaintext. What came of it is left in the
     * loop's room, or in _outgoing. */
    tls_result (*write)(yulapy_tls *tls, const char *base, size_t len,
                        size_t *written);
    /* Bytes in _incoming, and in _outgoing. -1: an exception is set. */
    Py_ssize_t (*pending)(yulapy_tls *tls, bool outgoing);
    /* What came of it, to be sent: *base and *len, valid until the next step, or
     * until *owner (a reference of the caller's, or NULL) goes. 0 or -1. */
    int (*take)(yulapy_tls *tls, const char **base, size_t *len,
                PyObject **owner);
    /* Or leave it in _outgoing, where asyncio's methods expect it. 0 or -1. */
    int (*settle)(yulapy_tls *tls);
} tls_engine;

extern const tls_engine yulapy_tls_method_engine, yulapy_tls_direct_engine;

/* The objects of asyncio's and the ssl module's that are compared with, and the
 * names of methods. */
/* clang-format off */
#define TLS_NAMES(X)                                                           \
    X(_app_reading_paused) X(_call_eof_received) X(_control_app_writing)       \
    X(_control_ssl_reading) X(_do_read) X(_do_write) X(_fatal_error)           \
    X(_process_outgoing) X(_sslobj) X(_start_shutdown) X(append)               \
    X(buffer_updated) X(call_soon) X(pending) X(read) X(unwrap) X(write)
#define TLS_OBJECTS(X)                                                         \
    X(protocol_type) X(transport_type) X(wrapped) X(ssl_object_type)           \
    X(ssl_socket_type) X(bio_type) X(transport_write) X(transport_writelines)  \
    X(method_read) X(method_write) X(method_unwrap) X(method_pending)          \
    X(again)
/* clang-format on */

/* Owned by the module's state. */
struct yulapy_tls_state {
    bool direct; /* OpenSSL's functions are known */
#define TLS_FIELD(name) PyObject *name;
    TLS_OBJECTS(TLS_FIELD)
#undef TLS_FIELD
#define TLS_FIELD(name) PyObject *str_##name;
    TLS_NAMES(TLS_FIELD)
#undef TLS_FIELD
};

/* Memory that all connections of a loop use in turn; nothing is kept in it
 * while user code runs. */
struct yulapy_tls_room {
    char *plain; /* TLS_PLAIN_MAX bytes */
    char *out;   /* records to be sent */
    size_t out_len, out_capacity;
    bool busy;       /* plain holds something; user code may run all the same */
    PyObject *arena; /* bytearray of TLS_RECORD_MAX, for the method engine */
};

/* Attributes of the same names, with an underscore; NULL: not set. */
#define TLS_ATTRIBUTES(X)                                                      \
    X(state)                                                                   \
    X(transport)                                                               \
    X(app_protocol)                                                            \
    X(app_protocol_is_buffer)                                                  \
    X(app_protocol_get_buffer)                                                 \
    X(app_protocol_buffer_updated)                                             \
    X(sslobj)                                                                  \
    X(incoming)                                                                \
    X(outgoing)                                                                \
    X(write_backlog)                                                           \
    X(write_buffer_size)                                                       \
    X(app_reading_paused)                                                      \
    X(app_writing_paused)                                                      \
    X(ssl_reading_paused)                                                      \
    X(ssl_writing_paused)                                                      \
    X(incoming_high_water)                                                     \
    X(outgoing_high_water)                                                     \
    X(loop)

/* _core.TLSProtocolBase; yula.tls.SSLProtocol is its Python subclass. */
struct yulapy_tls {
    PyObject_HEAD
    yulapy_state *module;
    const tls_engine *engine;
    bool capturing; /* the thread's next SSL is ours */
    bool judged;    /* engine is decided; NULL: asyncio's methods do it all */
    bool in_high;   /* the high water mark is above 0 */
    bool out_high;
    char wanted; /* YULA_TLS_ENGINE: 'd'irect, 'm'ethod or 'a'syncio */
#define TLS_FIELD(name) PyObject *name;
    TLS_ATTRIBUTES(TLS_FIELD)
#undef TLS_FIELD
    yulapy_feed feed; /* asyncio's streams above */
    /* tls_engine.c; only while judged */
    PyObject *ssl_socket; /* _sslobj._sslobj */
    void *ssl;            /* SSL of ssl_socket, if captured; borrowed from it */
    yulapy_tls_channel *channel; /* our BIO, while the engine is direct */
};

/* --- tls_protocol.c --- */
/* len bytes were received for the connection: what buffer_updated() does. 0, or
 * -1 with an exception. */
int yulapy_tls_receive(yulapy_tls *tls, const char *base, size_t len);

/* The pending exception as asyncio's _do_read() and _write_appdata() treat it:
 * an Exception goes to _fatal_error(). 0, or -1 with an exception. */
int yulapy_tls_fatal(yulapy_tls *tls);

/* The module's state, from a class of ours or derived from it. NULL: an
 * exception is set. */
yulapy_state *yulapy_tls_state_of(PyTypeObject *type);

/* Look for a StreamReader above: the application's protocol changed, or its
 * reader left the transport below (start_tls). 0 or -1. */
int yulapy_tls_adopt_streams(yulapy_tls *tls);

/* Call self.name(). 0 or -1. */
int yulapy_tls_call(yulapy_tls *tls, PyObject *name);

/* The connection, if it is one of ours and its loop is; or NULL. */
static inline yulapy_tls *
yulapy_tls_of(yulapy_state *module, PyObject *object)
{
    return module->tls != NULL && object != NULL &&
                   PyObject_TypeCheck(
                       object, (PyTypeObject *)module->tls->protocol_type)
               ? (yulapy_tls *)object
               : NULL;
}

/* The loop of the connection, or NULL: not ours, or closed. (A closed loop's room is
 * gone: then asyncio's methods do what is left to do.) */
static inline yulapy_loop *
yulapy_tls_loop(yulapy_tls *tls)
{
    if (tls->loop == NULL ||
        !PyObject_TypeCheck(tls->loop, tls->module->loop_type))
        return NULL;
    yulapy_loop *loop = (yulapy_loop *)tls->loop;
    return loop->core != NULL ? loop : NULL;
}

/* --- tls_write.c --- */
/* A TLS connection's transport, as the application sees it. */
typedef struct yulapy_tls_transport {
    yulapy_state *module;
    PyObject *closed;       /* its attribute _closed, or NULL */
    PyObject *ssl_protocol; /* or NULL */
    yulapy_tls *tls;        /* the same, if it is ours; borrowed from it */
} yulapy_tls_transport;

/* Where our part of the object begins, behind the slots of asyncio's class. A
 * number, equal in all interpreters; set when the type is made. */
extern Py_ssize_t yulapy_tls_transport_offset;

#define TLS_TRANSPORT(self)                                                    \
    ((yulapy_tls_transport *)((char *)(self) + yulapy_tls_transport_offset))

/* Whether it is such a transport, with its own methods. */
static inline bool
yulapy_tls_transport_plain(yulapy_state *module, PyObject *transport)
{
    if (module->tls == NULL ||
        !PyObject_TypeCheck(transport,
                            (PyTypeObject *)module->tls->transport_type))
        return false;
    PyObject *dict = PyObject_GenericGetDict(transport, NULL);
    bool plain = dict != NULL && PyDict_GET_SIZE(dict) == 0;
    Py_XDECREF(dict);
    return plain;
}

PyObject *yulapy_tls_transport_write(PyObject *self, PyObject *data);
PyObject *yulapy_tls_transport_writelines(PyObject *self, PyObject *lines);
/* What it knows of the streams above it, with its protocol (borrowed) and whether
 * it is closing or was lost; or NULL. */
yulapy_feed *yulapy_tls_transport_feed(PyObject *self, PyObject **protocol,
                                       bool *closing);
int yulapy_tls_write_add_type(PyObject *module, yulapy_state *state);
/* Give the transport below what the room holds. 0 or -1. */
int yulapy_tls_send(yulapy_tls *tls);

/* --- tls_engine.c --- */
/* Decide on an engine, if that was not done yet. false: none, or an exception is
 * set. */
bool yulapy_tls_judge(yulapy_tls *tls);
static inline bool
yulapy_tls_engaged(yulapy_tls *tls)
{
    return __builtin_expect(tls->judged, 1) ? tls->engine != NULL
                                            : yulapy_tls_judge(tls);
}
/* Forget the decision: the SSL object was exchanged, or all ends. */
void yulapy_tls_disengage(yulapy_tls *tls);
/* The loop's room; NULL: no memory, an exception is set. */
struct yulapy_tls_room *yulapy_tls_room_of(yulapy_loop *loop);
void yulapy_tls_room_drop(yulapy_loop *loop);
/* Append to _incoming. 0 or -1. */
int yulapy_tls_feed(yulapy_tls *tls, const char *base, size_t len);
/* This much space behind out_len. 0, or -1 without an exception. */
int yulapy_tls_room_reserve(struct yulapy_tls_room *room, size_t space);

/* --- tls_openssl.c --- */
/* Find the functions of the OpenSSL that the module in this file is linked with,
 * whose number ssl.OPENSSL_VERSION_NUMBER is. false: there is no such thing.
 * Thread: any. */
bool yulapy_tls_library(const char *path, unsigned long version);
/* From here on the thread's next SSL is noticed. */
void yulapy_tls_capture_begin(void);
/* The SSL that was noticed, if it is ssl_socket's; or NULL. */
void *yulapy_tls_capture_take(PyObject *ssl_socket);
/* Put a BIO of ours in front of the memory BIOs. 0, or -1 if it cannot be. */
int yulapy_tls_attach(yulapy_tls *tls);
void yulapy_tls_detach(yulapy_tls *tls);

#endif /* YULAPY_TLS_H */
