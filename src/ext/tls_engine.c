/* tls_engine.c: which engine a connection has, and the one that calls the methods
 * of Python's ssl module.
 *
 * A connection is judged when it is first used in the state WRAPPED, and again
 * when its SSL object was exchanged. Nobody may stand between asyncio and _ssl
 * whom we would leave out: the SSLObject's methods, the MemoryBIOs and the
 * _SSLSocket are exactly the ssl module's, or asyncio's methods do all the work.
 *
 * The method engine reads into an arena that is used again, and asks whether
 * anything is there before it reads: a read that finds nothing costs an
 * exception, 1 us.
 */
#include "tls.h"

/* --- the loop's room ------------------------------------------------------------ */

struct yulapy_tls_room *
yulapy_tls_room_of(yulapy_loop *loop)
{
    struct yulapy_tls_room *room = loop->tls_room;

    if (__builtin_expect(room != NULL, 1))
        return room;
    room = PyMem_RawCalloc(1, sizeof(*room));
    if (room != NULL)
        room->plain = PyMem_RawMalloc(TLS_PLAIN_MAX);
    if (room == NULL || room->plain == NULL) {
        PyMem_RawFree(room);
        PyErr_NoMemory();
        return NULL;
    }
    loop->tls_room = room;
    return room;
}

int
yulapy_tls_room_reserve(struct yulapy_tls_room *room, size_t space)
{
    size_t capacity = room->out_capacity;

    if (capacity - room->out_len >= space)
        return 0;
    if (capacity == 0)
        capacity = 2 * (TLS_RECORD_MAX + TLS_RECORD_EXTRA);
    while (capacity - room->out_len < space)
        capacity *= 2;
    char *out = PyMem_RawRealloc(room->out, capacity);
    if (out == NULL)
        return -1;
    room->out = out;
    room->out_capacity = capacity;
    return 0;
}

void
yulapy_tls_room_drop(yulapy_loop *loop)
{
    struct yulapy_tls_room *room = loop->tls_room;

    if (room == NULL)
        return;
    loop->tls_room = NULL;
    Py_XDECREF(room->arena);
    PyMem_RawFree(room->plain);
    PyMem_RawFree(room->out);
    PyMem_RawFree(room);
}

/* --- judging -------------------------------------------------------------------- */

/* Whether the object's class has this as its own, or inherited, attribute, and
 * the object none of that name. */
static bool
is_method(PyObject *object, PyObject *name, PyObject *expected)
{
    PyObject *found = PyObject_GetAttr((PyObject *)Py_TYPE(object), name);
    bool same = found == expected;
    Py_XDECREF(found);
    PyObject *dict = same ? PyObject_GenericGetDict(object, NULL) : NULL;
    same = dict != NULL && PyDict_GetItemWithError(dict, name) == NULL;
    Py_XDECREF(dict);
    PyErr_Clear(); /* no such attribute: then it is not the one */
    return same;
}

static bool
sslobj_is_plain(yulapy_tls *tls)
{
    struct yulapy_tls_state *state = tls->module->tls;
    PyObject *sslobj = tls->sslobj;

    return sslobj != NULL && state->ssl_object_type != NULL &&
           PyObject_TypeCheck(sslobj, (PyTypeObject *)state->ssl_object_type) &&
           tls->ssl_socket != NULL &&
           Py_IS_TYPE(tls->ssl_socket,
                      (PyTypeObject *)state->ssl_socket_type) &&
           tls->incoming != NULL && tls->outgoing != NULL &&
           Py_IS_TYPE(tls->incoming, (PyTypeObject *)state->bio_type) &&
           Py_IS_TYPE(tls->outgoing, (PyTypeObject *)state->bio_type) &&
           is_method(sslobj, state->str_read, state->method_read) &&
           is_method(sslobj, state->str_write, state->method_write) &&
           is_method(sslobj, state->str_unwrap, state->method_unwrap) &&
           is_method(sslobj, state->str_pending, state->method_pending);
}

/* A callback for messages may raise, which the ssl module finds only in its own
 * methods. */
static bool
has_message_callback(yulapy_tls *tls)
{
    PyObject *context = PyObject_GetAttrString(tls->ssl_socket, "context");
    PyObject *callback = context != NULL
                             ? PyObject_GetAttrString(context, "_msg_callback")
                             : NULL;
    bool has = callback != Py_None;
    Py_XDECREF(callback);
    Py_XDECREF(context);
    PyErr_Clear(); /* none that is known: then it may have one */
    return has;
}

static bool
direct_is_possible(yulapy_tls *tls)
{
    return tls->wanted == 'd' && tls->ssl != NULL &&
           PyInterpreterState_Get() == PyInterpreterState_Main() &&
           !has_message_callback(tls) && yulapy_tls_attach(tls) == 0;
}

bool
yulapy_tls_judge(yulapy_tls *tls)
{
    if (tls->judged)
        return tls->engine != NULL;
    tls->judged = true;
    tls->engine = NULL;
    if (tls->wanted == 'a' || yulapy_tls_loop(tls) == NULL ||
        !sslobj_is_plain(tls))
        return false;
    tls->engine = direct_is_possible(tls) ? &yulapy_tls_direct_engine
                                          : &yulapy_tls_method_engine;
    return tls->feed.protocol_dict != NULL ||
           yulapy_tls_adopt_streams(tls) == 0;
}

void
yulapy_tls_disengage(yulapy_tls *tls)
{
    yulapy_tls_detach(tls);
    tls->judged = false;
    tls->engine = NULL;
}

/* --- the method engine ------------------------------------------------------------ */

static PyObject *
method_call(PyObject *self, PyObject *name, PyObject *first, PyObject *second)
{
    PyObject *args[] = {self, first, second};
    size_t count = second != NULL ? 3 : first != NULL ? 2 : 1;
    return PyObject_VectorcallMethod(
        name, args, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

/* Steals the result of a call that gives a number. -1: an exception is set. */
static Py_ssize_t
method_number(PyObject *result)
{
    if (result == NULL)
        return -1;
    Py_ssize_t number = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    return number;
}

/* SSLWantReadError and SSLSyscallError are what asyncio takes for "later". */
static tls_result
method_failed(yulapy_tls *tls, tls_result later)
{
    if (!PyErr_ExceptionMatches(tls->module->tls->again))
        return TLS_RAISED;
    PyErr_Clear();
    return later;
}

static Py_ssize_t
method_pending(yulapy_tls *tls, bool outgoing)
{
    return method_number(
        PyObject_GetAttr(outgoing ? tls->outgoing : tls->incoming,
                         tls->module->tls->str_pending));
}

/* Whether a read may find something. -1: an exception is set. */
static int
method_has_more(yulapy_tls *tls)
{
    Py_ssize_t pending = method_pending(tls, false);
    if (pending == 0)
        pending = method_number(method_call(
            tls->ssl_socket, tls->module->tls->str_pending, NULL, NULL));
    return pending < 0 ? -1 : pending > 0;
}

int
yulapy_tls_feed(yulapy_tls *tls, const char *base, size_t len)
{
    PyObject *view = PyMemoryView_FromMemory((char *)base, (Py_ssize_t)len,
                                             PyBUF_READ);
    if (view == NULL)
        return -1;
    PyObject *result = method_call(tls->incoming, tls->module->tls->str_write,
                                   view, NULL);
    Py_DECREF(view);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* One record, or a part of it, copied to plain. */
static Py_ssize_t
method_read_record(yulapy_tls *tls, PyObject *arena, char *plain, size_t size)
{
    size_t want = size < TLS_RECORD_MAX ? size : TLS_RECORD_MAX;
    PyObject *number = PyLong_FromSize_t(want);
    if (number == NULL)
        return -1;
    Py_ssize_t n = method_number(method_call(
        tls->ssl_socket, tls->module->tls->str_read, number, arena));
    Py_DECREF(number);
    if (n > 0)
        memcpy(plain, PyByteArray_AS_STRING(arena), (size_t)n);
    return n;
}

static tls_result
method_read(yulapy_tls *tls, const char *base, size_t len, char *plain,
            size_t size, size_t *count)
{
    struct yulapy_tls_room *room = yulapy_tls_room_of(yulapy_tls_loop(tls));
    tls_result result = TLS_DONE;
    size_t total = 0;

    *count = 0;
    if (room == NULL)
        return TLS_RAISED;
    if (room->arena == NULL)
        room->arena = PyByteArray_FromStringAndSize(NULL, TLS_RECORD_MAX);
    if (room->arena == NULL || yulapy_tls_feed(tls, base, len) < 0)
        return TLS_RAISED;
    do {
        if (total == size) {
            result = TLS_FULL;
            break;
        }
        Py_ssize_t n = method_read_record(tls, room->arena, plain + total,
                                          size - total);
        if (n <= 0) {
            result = n == 0 ? TLS_ENDED : method_failed(tls, TLS_DONE);
            break;
        }
        total += (size_t)n;
    } while (method_has_more(tls) > 0);
    *count = total;
    return PyErr_Occurred() ? TLS_RAISED : result;
}

static tls_result
method_write(yulapy_tls *tls, const char *base, size_t len, size_t *written)
{
    size_t done = 0;

    *written = 0;
    while (done < len) {
        PyObject *view = PyMemoryView_FromMemory(
            (char *)base + done, (Py_ssize_t)(len - done), PyBUF_READ);
        if (view == NULL)
            return TLS_RAISED;
        Py_ssize_t n = method_number(method_call(
            tls->ssl_socket, tls->module->tls->str_write, view, NULL));
        Py_DECREF(view);
        if (n < 0)
            return method_failed(tls, TLS_ODD);
        done += (size_t)n;
        *written = done;
    }
    return TLS_DONE;
}

static int
method_take(yulapy_tls *tls, const char **base, size_t *len, PyObject **owner)
{
    *base = NULL;
    *len = 0;
    *owner = NULL;
    Py_ssize_t pending = method_pending(tls, true);
    if (pending <= 0)
        return (int)pending;
    PyObject *bytes = method_call(tls->outgoing, tls->module->tls->str_read,
                                  NULL, NULL);
    if (bytes == NULL || !PyBytes_CheckExact(bytes)) {
        Py_XDECREF(bytes);
        return -1;
    }
    *owner = bytes;
    *base = PyBytes_AS_STRING(bytes);
    *len = (size_t)PyBytes_GET_SIZE(bytes);
    return 0;
}

/* It is there already. */
static int
method_settle(yulapy_tls *tls)
{
    return 0;
}

const tls_engine yulapy_tls_method_engine = {"method",     method_read,
                                             method_write, method_pending,
                                             method_take,  method_settle};
