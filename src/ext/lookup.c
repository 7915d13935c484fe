/* lookup.c: getaddrinfo and getnameinfo for the loop.
 *
 * A literal with a numeric port is answered at once, by libc, which then asks
 * nobody. Everything else runs on the core's workers, without the GIL; the
 * answer resolves a Future. What the socket module would not pass on to libc as
 * it is (names in other scripts, ports out of range, wrong types) is left to it:
 * how it fails differs between versions.
 */
#include <arpa/inet.h>

#include "yulapy.h"

/* A look-up under way. The loop holds it: nothing else does. */
typedef struct yulapy_lookup {
    PyObject_HEAD
    yulapy_loop *loop;
    yulapy_held held;
    PyObject *future;
} yulapy_lookup;

/* --- errors and results ------------------------------------------------------ */

/* socket.gaierror(EAI_*, text), as the socket module raises it. */
static PyObject *
lookup_error(yulapy_loop *loop, int status)
{
    if (status > YULA_EAI_BASE)
        return yulapy_error_new(status);
    int eai = status - YULA_EAI_BASE;
    PyObject *args = Py_BuildValue("(is)", eai, gai_strerror(eai));
    PyObject *error = NULL;
    if (args != NULL)
        error = PyObject_CallObject(loop->state->gaierror, args);
    Py_XDECREF(args);
    return error;
}

static PyObject *
lookup_entry(yulapy_state *state, const struct addrinfo *info)
{
    PyObject *address = yulapy_address_object(info->ai_addr, info->ai_addrlen);
    PyObject *family = NULL, *type = NULL, *entry = NULL;
    if (address != NULL)
        family = PyObject_CallFunction(state->address_family, "i",
                                       info->ai_family);
    if (family != NULL)
        type = PyObject_CallFunction(state->socket_kind, "i",
                                     info->ai_socktype);
    if (type != NULL)
        entry = Py_BuildValue("(OOisO)", family, type, info->ai_protocol,
                              info->ai_canonname ? info->ai_canonname : "",
                              address);
    Py_XDECREF(address);
    Py_XDECREF(family);
    Py_XDECREF(type);
    return entry;
}

static PyObject *
lookup_list(yulapy_state *state, const struct addrinfo *info)
{
    PyObject *list = PyList_New(0);
    for (; info != NULL && list != NULL; info = info->ai_next) {
        PyObject *entry = lookup_entry(state, info);
        if (entry == NULL || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

/* Resolve the future with value, or with the pending exception, and forget the
 * look-up. Steals value. */
static void
lookup_answer(yulapy_lookup *lookup, PyObject *value)
{
    bool failed = value == NULL;

    if (failed)
        value = yulapy_take_exception();
    yulapy_future_resolve(lookup->loop, lookup->future, value, failed);
    Py_XDECREF(value);
    yulapy_loop_let_go(&lookup->held);
}

static void
lookup_on_addresses(yula_resolve *resolve, int status, struct addrinfo *list,
                    void *arg)
{
    yulapy_lookup *lookup = arg;
    PyObject *value = NULL;
    if (status == 0)
        value = lookup_list(lookup->loop->state, list);
    else
        yulapy_raise_exception(lookup_error(lookup->loop, status));
    yula_addrinfo_free(list);
    lookup_answer(lookup, value);
}

static void
lookup_on_name(yula_resolve *resolve, int status, const char *host,
               const char *service, void *arg)
{
    yulapy_lookup *lookup = arg;
    PyObject *value = NULL;
    if (status == 0)
        value = Py_BuildValue("(ss)", host, service);
    else
        yulapy_raise_exception(lookup_error(lookup->loop, status));
    lookup_answer(lookup, value);
}

/* --- arguments ----------------------------------------------------------------- */

/* Whether the idna codec would leave the name as it is. */
static bool
lookup_labels_fit(const char *name)
{
    size_t label = 0;
    for (; *name != '\0'; name++) {
        if (*name != '.')
            label++;
        else if (label == 0)
            return false;
        else
            label = 0;
        if (label > 63)
            return false;
    }
    return true;
}

/* Bytes of a host, in *keep, or NULL in *text for None. Returns 1, 0 if this is
 * for the socket module, or -1 with an exception. */
static int
lookup_host(PyObject *host, PyObject **keep, const char **text)
{
    if (host == Py_None)
        return 1;
    if (PyUnicode_Check(host) && PyUnicode_IS_ASCII(host))
        *keep = PyUnicode_AsASCIIString(host);
    else if (PyBytes_Check(host))
        *keep = Py_NewRef(host);
    else
        return 0;
    if (*keep == NULL)
        return -1;
    *text = PyBytes_AS_STRING(*keep);
    return strlen(*text) == (size_t)PyBytes_GET_SIZE(*keep) &&
           (PyBytes_Check(host) || lookup_labels_fit(*text));
}

/* The same for a port. */
static int
lookup_port(PyObject *port, PyObject **keep, const char **text)
{
    if (port == Py_None)
        return 1;
    if (PyLong_CheckExact(port)) {
        int overflow;
        long number = PyLong_AsLongAndOverflow(port, &overflow);
        if (overflow != 0 || number < 0 || number > 65535)
            return 0;
        *keep = PyBytes_FromFormat("%ld", number);
    }
    else if (PyUnicode_Check(port) && PyUnicode_IS_ASCII(port)) {
        *keep = PyUnicode_AsASCIIString(port);
    }
    else if (PyBytes_Check(port)) {
        *keep = Py_NewRef(port);
    }
    else {
        return 0;
    }
    if (*keep == NULL)
        return -1;
    *text = PyBytes_AS_STRING(*keep);
    return strlen(*text) == (size_t)PyBytes_GET_SIZE(*keep);
}

/* Whether libc can answer without asking anybody. */
static bool
lookup_is_literal(const char *host, const char *port, int family)
{
    struct sockaddr_storage addr;
    if (host == NULL ||
        (family != AF_UNSPEC && family != AF_INET && family != AF_INET6))
        return false;
    for (const char *at = port; at != NULL && *at != '\0'; at++)
        if (*at < '0' || *at > '9')
            return false;
    return strchr(host, '%') == NULL &&
           yula_address_parse(host, 0, AF_UNSPEC, &addr) > 0;
}

static PyObject *
lookup_now(yulapy_loop *loop, const char *host, const char *port,
           const struct addrinfo *hints)
{
    struct addrinfo *list = NULL;
    int eai = getaddrinfo(host, port, hints, &list);
    PyObject *value = NULL;
    if (eai == 0) {
        value = lookup_list(loop->state, list);
        freeaddrinfo(list);
        return value;
    }
    PyObject *error = lookup_error(
        loop, eai == EAI_SYSTEM ? -errno : YULA_EAI_BASE + eai);
    if (error != NULL)
        yulapy_raise_exception(error);
    return NULL;
}

/* --- the methods ---------------------------------------------------------------- */

static void
lookup_loop_closed(PyObject *self)
{
    /* The core drops the request without an answer; the future stays pending,
     * as one of an executor would. */
}

static yulapy_lookup *
lookup_new(yulapy_loop *loop)
{
    PyTypeObject *type = loop->state->lookup_type;
    yulapy_lookup *self = (yulapy_lookup *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->loop = (yulapy_loop *)Py_NewRef(loop);
    self->future = PyObject_Vectorcall(loop->state->future_type,
                                       (PyObject **)&loop, 0,
                                       loop->state->names_loop);
    if (self->future == NULL)
        Py_CLEAR(self);
    return self;
}

/* Answered later: the loop holds the look-up until then. The future, or NULL
 * when the request was refused with err. Steals lookup. */
static PyObject *
lookup_started(yulapy_lookup *lookup, int err)
{
    PyObject *future = NULL;
    if (err < 0) {
        yulapy_raise_code(err);
    }
    else {
        future = Py_NewRef(lookup->future);
        yulapy_loop_hold(lookup->loop, &lookup->held, (PyObject *)lookup,
                         lookup_loop_closed);
    }
    Py_DECREF(lookup);
    return future;
}

/* _getaddrinfo(host, port, family, type, proto, flags): the list, a Future of
 * it, or None if the socket module has to be asked. */
PyObject *
yulapy_loop_getaddrinfo(PyObject *self, PyObject *args)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *host, *port, *host_bytes = NULL, *port_bytes = NULL;
    PyObject *answer = NULL;
    const char *host_text = NULL, *port_text = NULL;
    struct addrinfo hints = {0};
    yula_resolve *resolve;

    if (!PyArg_ParseTuple(args, "OOiiii", &host, &port, &hints.ai_family,
                          &hints.ai_socktype, &hints.ai_protocol,
                          &hints.ai_flags) ||
        yulapy_loop_check_open(loop) < 0)
        return NULL;
    int plain = lookup_host(host, &host_bytes, &host_text);
    if (plain > 0)
        plain = lookup_port(port, &port_bytes, &port_text);
    if (plain == 0)
        answer = Py_NewRef(Py_None);
    if (plain <= 0 ||
        PySys_Audit("socket.getaddrinfo", "OOiii", host, port, hints.ai_family,
                    hints.ai_socktype, hints.ai_protocol) < 0)
        goto done;
    if (lookup_is_literal(host_text, port_text, hints.ai_family)) {
        answer = lookup_now(loop, host_text, port_text, &hints);
        goto done;
    }
    yulapy_lookup *lookup = lookup_new(loop);
    if (lookup != NULL)
        answer = lookup_started(
            lookup,
            yula_resolve_start(loop->core, YULA_LANE_HOST, host_text, port_text,
                               &hints, lookup_on_addresses, lookup, &resolve));
done:
    Py_XDECREF(host_bytes);
    Py_XDECREF(port_bytes);
    return answer;
}

/* _getnameinfo(sockaddr, flags): a Future of (host, service), or None for an
 * address that is not a tuple of a literal and a port. */
PyObject *
yulapy_loop_getnameinfo(PyObject *self, PyObject *args)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    PyObject *address;
    struct sockaddr_storage addr;
    yula_resolve *resolve;
    int flags;

    if (!PyArg_ParseTuple(args, "Oi", &address, &flags) ||
        yulapy_loop_check_open(loop) < 0)
        return NULL;
    socklen_t len = yulapy_address_parse(AF_INET, address, &addr);
    if (len == 0)
        len = yulapy_address_parse(AF_INET6, address, &addr);
    if (len == 0)
        Py_RETURN_NONE;
    if (PySys_Audit("socket.getnameinfo", "(O)", address) < 0)
        return NULL;
    yulapy_lookup *lookup = lookup_new(loop);
    if (lookup == NULL)
        return NULL;
    return lookup_started(lookup, yula_resolve_name(loop->core, YULA_LANE_HOST,
                                                    (struct sockaddr *)&addr,
                                                    len, flags, lookup_on_name,
                                                    lookup, &resolve));
}

/* --- type ------------------------------------------------------------------------ */

static int
lookup_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_lookup *lookup = (yulapy_lookup *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(lookup->loop);
    Py_VISIT(lookup->future);
    return 0;
}

static void
lookup_dealloc(PyObject *self)
{
    yulapy_lookup *lookup = (yulapy_lookup *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(lookup->future);
    Py_CLEAR(lookup->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot lookup_slots[] = {
    {Py_tp_dealloc, lookup_dealloc},
    {Py_tp_traverse, lookup_traverse},
    {0, NULL},
};

static PyType_Spec lookup_spec = {
    .name = "yula._core.Lookup",
    .basicsize = sizeof(yulapy_lookup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lookup_slots,
};

int
yulapy_lookup_add_type(PyObject *module, yulapy_state *state)
{
    state->lookup_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &lookup_spec, NULL);
    return state->lookup_type != NULL ? 0 : -1;
}
