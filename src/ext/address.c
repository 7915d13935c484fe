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

/* A link-local address carries its scope in the text as well, as in
 * getnameinfo(3): 'fe80::1%eth0'. */
static PyObject *
address_inet6(const struct sockaddr_in6 *addr)
{
    char text[NI_MAXHOST];
    if (addr->sin6_scope_id == 0 ||
        getnameinfo((const struct sockaddr *)addr, sizeof(*addr), text,
                    sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
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
