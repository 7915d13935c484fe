/* lookup_literal.c: loop.getaddrinfo(), and its answer for address literals.
 *
 * Most look-ups of a program that talks to addresses it knows are of a literal,
 * a port number and one kind of socket. For those the answer is one tuple, made
 * here without libc from objects that exist: an IPv4 literal is its own
 * canonical text, and the members of socket's enumerations are kept. What is
 * returned is an awaitable that has it when it is first awaited. Everything
 * else (names, several kinds of socket, flags, debug mode, which times
 * look-ups, and a socket.getaddrinfo that somebody replaced) is the coroutine
 * Loop._look_up.
 *
 *  I1. host and port are of exact built-in types: no cycle goes through a
 *      literal, so it needs no collector.
 *  I2. host is NULL once it was awaited, closed or thrown into.
 */
#include <arpa/inet.h>
#include <netdb.h>

#include "awaitable.h"

typedef struct yulapy_literal {
    PyObject_HEAD
    PyObject *host, *port;
    PyObject *weaklist;
    struct in6_addr in6;                       /* if version 6 */
    int asked_family, asked_type, asked_proto; /* for the audit event */
    char version, datagram;
    uint16_t port_number;
} yulapy_literal;

/* --- the answer -------------------------------------------------------------- */

static PyObject *
literal_address(yulapy_literal *literal)
{
    PyObject *port = PyLong_FromLong(literal->port_number);
    if (port == NULL)
        return NULL;
    PyObject *address = NULL;
    if (literal->version == 4) {
        address = PyTuple_Pack(2, literal->host, port);
        Py_DECREF(port);
        return address;
    }
    Py_DECREF(port);
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6,
                                .sin6_port = htons(literal->port_number),
                                .sin6_addr = literal->in6};
    return yulapy_address_object((struct sockaddr *)&addr, sizeof(addr));
}

/* [(family, type, proto, '', address)], or NULL with an exception. */
static PyObject *
literal_answer(yulapy_literal *literal)
{
    yulapy_state *state = yulapy_state_of_type(Py_TYPE(literal));
    bool datagram = literal->datagram;

    if (PySys_Audit("socket.getaddrinfo", "OOiii", literal->host, literal->port,
                    literal->asked_family, literal->asked_type,
                    literal->asked_proto) < 0)
        return NULL;
    PyObject *address = literal_address(literal);
    PyObject *proto = PyLong_FromLong(datagram ? IPPROTO_UDP : IPPROTO_TCP);
    PyObject *entry = NULL, *list = NULL;
    if (address != NULL && proto != NULL)
        entry = PyTuple_Pack(
            5, literal->version == 4 ? state->af_inet : state->af_inet6,
            datagram ? state->sock_dgram : state->sock_stream, proto,
            state->empty_text, address);
    Py_XDECREF(address);
    Py_XDECREF(proto);
    if (entry != NULL)
        list = PyList_New(1);
    if (list != NULL)
        PyList_SET_ITEM(list, 0, entry);
    else
        Py_XDECREF(entry);
    return list;
}

/* --- the awaitable ------------------------------------------------------------ */

static int
literal_finish(PyObject *self)
{
    yulapy_literal *literal = (yulapy_literal *)self;
    Py_CLEAR(literal->host);
    Py_CLEAR(literal->port);
    return 0;
}

static PySendResult
literal_send(PyObject *self, PyObject *value, PyObject **result)
{
    yulapy_literal *literal = (yulapy_literal *)self;

    *result = NULL;
    if (literal->host == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited getaddrinfo()");
        return PYGEN_ERROR;
    }
    if (value != Py_None) {
        PyErr_SetString(PyExc_TypeError,
                        "can't send non-None value to a just-started "
                        "coroutine");
        return PYGEN_ERROR;
    }
    *result = literal_answer(literal);
    (void)literal_finish(self);
    return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

static PyObject *
literal_next(PyObject *self)
{
    PyObject *result;
    PySendResult sent = literal_send(self, Py_None, &result);
    return yulapy_awaitable_sent(sent, result);
}

static PyObject *
literal_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return yulapy_awaitable_throw(self, args, nargs, literal_finish);
}

static PyObject *
literal_close(PyObject *self, PyObject *unused)
{
    (void)literal_finish(self);
    Py_RETURN_NONE;
}

static PyObject *
literal_get_name(PyObject *self, void *unused)
{
    return PyUnicode_FromString("getaddrinfo");
}

static PyObject *
literal_repr(PyObject *self)
{
    PyObject *host = ((yulapy_literal *)self)->host;
    return PyUnicode_FromFormat("<coroutine getaddrinfo() of %R at %p>",
                                host != NULL ? host : Py_None, self);
}

static void
literal_finalize(PyObject *self)
{
    if (((yulapy_literal *)self)->host != NULL)
        yulapy_awaitable_warn(self, "getaddrinfo");
}

static void
literal_dealloc(PyObject *self)
{
    yulapy_literal *literal = (yulapy_literal *)self;
    PyTypeObject *type = Py_TYPE(self);

    if (literal->host != NULL && PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    if (literal->weaklist != NULL)
        PyObject_ClearWeakRefs(self);
    (void)literal_finish(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef literal_methods[] = {
    YULAPY_AWAITABLE_METHODS(literal_throw, literal_close),
    {NULL},
};

static PyGetSetDef literal_getset[] = {
    YULAPY_AWAITABLE_ATTRIBUTES(literal_get_name, literal_get_name,
                                yulapy_awaitable_none),
    {NULL},
};

static PyMemberDef literal_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(yulapy_literal, weaklist),
     READONLY, NULL},
    {NULL},
};

static PyType_Slot literal_slots[] = {
    {Py_tp_doc, "The look-up of an address literal; await it once."},
    {Py_tp_dealloc, literal_dealloc},
    {Py_tp_finalize, literal_finalize},
    {Py_tp_repr, literal_repr},
    {Py_tp_iter, yulapy_awaitable_self},
    {Py_tp_iternext, literal_next},
    {Py_tp_methods, literal_methods},
    {Py_tp_getset, literal_getset},
    {Py_tp_members, literal_members},
    {Py_am_await, yulapy_awaitable_self},
    {Py_am_send, literal_send},
    {0, NULL},
};

static PyType_Spec literal_spec = {
    .name = "yula._core.LiteralLookup",
    .basicsize = sizeof(yulapy_literal),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = literal_slots,
};

/* --- the method ---------------------------------------------------------------- */

/* What getaddrinfo() is called with. */
typedef struct lookup_request {
    PyObject *host, *port;
    int family, type, proto, flags;
} lookup_request;

/* An argument's number; false if it is not one that fits, without an exception.
 * Members of socket's enumerations are integers, too. */
static bool
lookup_int(PyObject *value, int *out)
{
    if (!PyLong_Check(value))
        return false;
    int overflow;
    long number = PyLong_AsLongAndOverflow(value, &overflow);
    if (overflow != 0 || number < 0 || number > INT32_MAX)
        return false;
    *out = (int)number;
    return true;
}

static bool
lookup_keyword(yulapy_state *state, PyObject *name, PyObject *value,
               lookup_request *request)
{
    if (name == state->str_type)
        return lookup_int(value, &request->type);
    if (name == state->str_family)
        return lookup_int(value, &request->family);
    if (name == state->str_proto)
        return lookup_int(value, &request->proto);
    return name == state->str_flags && lookup_int(value, &request->flags);
}

static bool
lookup_arguments(yulapy_state *state, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *names, lookup_request *request)
{
    Py_ssize_t keywords = names != NULL ? PyTuple_GET_SIZE(names) : 0;

    if (nargs != 2)
        return false;
    request->host = args[0];
    request->port = args[1];
    for (Py_ssize_t i = 0; i < keywords; i++)
        if (!lookup_keyword(state, PyTuple_GET_ITEM(names, i), args[nargs + i],
                            request))
            return false;
    return true;
}

/* Whether the answer is the one entry that literal_answer makes. libc adds
 * entries for a type of 0, and understands flags and other protocols. */
static bool
lookup_is_plain(const lookup_request *request, yulapy_literal *literal)
{
    literal->datagram = request->type == SOCK_DGRAM;
    if ((request->type != SOCK_STREAM && request->type != SOCK_DGRAM) ||
        (request->flags & ~AI_PASSIVE) != 0)
        return false;
    return request->proto == 0 ||
           request->proto == (literal->datagram ? IPPROTO_UDP : IPPROTO_TCP);
}

/* As strict as inet_pton: short forms and scopes are libc's. Fills in version
 * and in6. */
static bool
lookup_host_literal(PyObject *host, int family, yulapy_literal *literal)
{
    struct in_addr in4;

    if (!PyUnicode_CheckExact(host) || !PyUnicode_IS_ASCII(host))
        return false;
    const char *text = (const char *)PyUnicode_1BYTE_DATA(host);
    size_t len = (size_t)PyUnicode_GET_LENGTH(host);
    if (len >= INET6_ADDRSTRLEN || memchr(text, '\0', len) != NULL)
        return false;
    if (memchr(text, ':', len) == NULL) {
        literal->version = 4;
        return (family == AF_UNSPEC || family == AF_INET) &&
               inet_pton(AF_INET, text, &in4) == 1;
    }
    literal->version = 6;
    return (family == AF_UNSPEC || family == AF_INET6) &&
           inet_pton(AF_INET6, text, &literal->in6) == 1;
}

static bool
lookup_port_number(PyObject *port, yulapy_literal *literal)
{
    int number = 0;

    if (port != Py_None &&
        (!PyLong_CheckExact(port) || !lookup_int(port, &number)))
        return false;
    literal->port_number = (uint16_t)number;
    return number <= UINT16_MAX;
}

/* Whether somebody patched socket.getaddrinfo, whom we then have to call. */
static bool
lookup_is_replaced(yulapy_state *state)
{
    PyObject *now = PyDict_GetItemWithError(state->socket_names,
                                            state->str_getaddrinfo);
    if (now == NULL)
        PyErr_Clear(); /* it has gone: the coroutine will say so */
    return now != state->getaddrinfo;
}

static PyObject *
lookup_slowly(yulapy_loop *loop, PyObject *const *args, Py_ssize_t nargs,
              PyObject *names)
{
    PyObject *look_up = PyObject_GetAttr((PyObject *)loop,
                                         loop->state->str__look_up);
    if (look_up == NULL)
        return NULL;
    PyObject *coroutine = PyObject_Vectorcall(look_up, args, (size_t)nargs,
                                              names);
    Py_DECREF(look_up);
    return coroutine;
}

PyObject *
yulapy_loop_look_up(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *names)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    yulapy_state *state = loop->state;
    lookup_request request = {0};
    yulapy_literal found;

    if (loop->debug || loop->core == NULL || lookup_is_replaced(state) ||
        !lookup_arguments(state, args, nargs, names, &request) ||
        !lookup_is_plain(&request, &found) ||
        !lookup_port_number(request.port, &found) ||
        !lookup_host_literal(request.host, request.family, &found))
        return lookup_slowly(loop, args, nargs, names);
    yulapy_literal *literal = PyObject_New(yulapy_literal, state->literal_type);
    if (literal == NULL)
        return NULL;
    literal->host = Py_NewRef(request.host);
    literal->port = Py_NewRef(request.port);
    literal->weaklist = NULL;
    literal->in6 = found.in6;
    literal->asked_family = request.family;
    literal->asked_type = request.type;
    literal->asked_proto = request.proto;
    literal->version = found.version;
    literal->datagram = found.datagram;
    literal->port_number = found.port_number;
    return (PyObject *)literal;
}

int
yulapy_literal_add_type(PyObject *module, yulapy_state *state)
{
    state->literal_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &literal_spec, NULL);
    return state->literal_type != NULL ? 0 : -1;
}
