/* address.c: socket addresses as the socket module gives them. */
#include "yulapy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static PyObject *
address_inet(const struct sockaddr_in *addr)
{
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &addr->sin_addr, text, sizeof(text));
    return Py_BuildValue("(si)", text, ntohs(addr->sin_port));
}

/* The scope is the fourth item only, as the socket module has it since 3.7. */
static PyObject *
address_inet6(const struct sockaddr_in6 *addr)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &addr->sin6_addr, text, sizeof(text));
    return Py_BuildValue("(siII)", text, ntohs(addr->sin6_port),
                         ntohl(addr->sin6_flowinfo),
                         (unsigned)addr->sin6_scope_id);
}

/* A path as str, an abstract name (leading NUL) as bytes. */
static PyObject *
address_unix(const struct sockaddr_un *addr, socklen_t len)
{
    size_t offset = offsetof(struct sockaddr_un, sun_path);
    if (len <= offset)
        return PyUnicode_FromString("");
    size_t length = len - offset;
    if (addr->sun_path[0] == '\0')
        return PyBytes_FromStringAndSize(addr->sun_path, (Py_ssize_t)length);
    return PyUnicode_DecodeFSDefaultAndSize(
        addr->sun_path, (Py_ssize_t)strnlen(addr->sun_path, length));
}

PyObject *
yulapy_address_object(const struct sockaddr *addr, socklen_t len)
{
    if (len == 0)
        Py_RETURN_NONE;
    switch (addr->sa_family) {
    case AF_INET:
        return address_inet((const struct sockaddr_in *)addr);
    case AF_INET6:
        return address_inet6((const struct sockaddr_in6 *)addr);
    case AF_UNIX:
        return address_unix((const struct sockaddr_un *)addr, len);
    default:
        return Py_BuildValue("(iy#)", addr->sa_family, addr->sa_data,
                             (Py_ssize_t)(len - sizeof(addr->sa_family)));
    }
}

static socklen_t
address_parse_unix(PyObject *address, struct sockaddr_un *out)
{
    PyObject *path = NULL;
    if (PyUnicode_Check(address)) {
        path = PyUnicode_EncodeFSDefault(address);
        if (path == NULL) {
            PyErr_Clear(); /* the socket module will say what is wrong */
            return 0;
        }
    }
    else if (PyBytes_CheckExact(address)) {
        path = Py_NewRef(address);
    }
    else {
        return 0;
    }
    size_t len = (size_t)PyBytes_GET_SIZE(path);
    const char *text = PyBytes_AS_STRING(path);
    socklen_t result = 0;
    /* An abstract name is as long as it is; a path ends with NUL. */
    size_t most = sizeof(out->sun_path) - (len > 0 && text[0] == '\0' ? 0 : 1);
    if (len > 0 && len <= most) {
        memset(out, 0, sizeof(*out));
        out->sun_family = AF_UNIX;
        memcpy(out->sun_path, text, len);
        result = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
                             (text[0] == '\0' ? 0 : 1));
    }
    Py_DECREF(path);
    return result;
}

static socklen_t
address_parse_inet(int family, PyObject *address, struct sockaddr_storage *out)
{
    Py_ssize_t count = PyTuple_CheckExact(address) ? PyTuple_GET_SIZE(address)
                                                   : 0;
    if (count < 2 || count > (family == AF_INET6 ? 4 : 2))
        return 0;
    PyObject *host = PyTuple_GET_ITEM(address, 0);
    long numbers[3] = {0, 0, 0}; /* port, flowinfo, scope id */
    for (Py_ssize_t i = 1; i < count; i++) {
        PyObject *item = PyTuple_GET_ITEM(address, i);
        if (!PyLong_CheckExact(item))
            return 0;
        int overflow;
        numbers[i - 1] = PyLong_AsLongAndOverflow(item, &overflow);
        if (overflow || numbers[i - 1] < 0)
            return 0;
    }
    if (!PyUnicode_Check(host) || numbers[0] > 65535 || numbers[1] > 0xfffff ||
        numbers[2] > UINT32_MAX)
        return 0;
    const char *text = PyUnicode_AsUTF8(host);
    if (text == NULL) {
        PyErr_Clear(); /* not a literal then */
        return 0;
    }
    int len = yula_address_parse(text, (uint16_t)numbers[0], family, out);
    if (len < 0)
        return 0;
    if (family == AF_INET6 && count > 2) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_flowinfo = htonl((uint32_t)numbers[1]);
        if (count > 3)
            in6->sin6_scope_id = (uint32_t)numbers[2];
    }
    return (socklen_t)len;
}

socklen_t
yulapy_address_parse(int family, PyObject *address,
                     struct sockaddr_storage *out)
{
    if (family == AF_UNIX)
        return address_parse_unix(address, (struct sockaddr_un *)out);
    if (family == AF_INET || family == AF_INET6)
        return address_parse_inet(family, address, out);
    return 0;
}
