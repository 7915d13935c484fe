#include "wire.h"

#include "die.h"
#include "tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void
bind_to(int fd, unsigned source)
{
    /* The port is chosen at connect(), by the pair of addresses: each source has all of them. */
    int on = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0)
        die_errno("IP_BIND_ADDRESS_NO_PORT");
    struct sockaddr_in own = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0)
        die_errno("bind");
}

static int
connect_inet(const wire_address *address, unsigned source)
{
    int type = address->udp ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die_errno("socket");
    if (source != 0)
        bind_to(fd, source);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(address->port)};
    if (inet_pton(AF_INET, address->host, &addr.sin_addr) != 1)
        die("--host must be an IPv4 address");
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("connect");
    int on = 1;
    if (!address->udp &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        die_errno("TCP_NODELAY");
    return fd;
}

static int
connect_unix(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die_errno("socket");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        die("--unix: the path is too long");
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("connect");
    return fd;
}

void
wire_open(wire *to, const wire_address *address, unsigned source)
{
    to->is_datagram = address->udp;
    to->fd = address->unix_path != NULL ? connect_unix(address->unix_path)
                                        : connect_inet(address, source);
    /* The handshake blocks: it is not what is measured. */
    to->tls = address->tls != NULL ? tls_stream_new(address->tls, to->fd)
                                   : NULL;
    if (fcntl(to->fd, F_SETFL, O_NONBLOCK) < 0)
        die_errno("O_NONBLOCK");
}

void
wire_close(wire *at)
{
    if (at->tls != NULL)
        tls_stream_free(at->tls);
    close(at->fd);
}

ssize_t
wire_send(wire *at, const char *head, size_t head_len, const char *body,
          size_t body_len)
{
    if (at->tls != NULL)
        return tls_stream_send(at->tls, head, head_len, body, body_len);
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    if (head_len > 0)
        parts[message.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)head,
                                                     head_len};
    if (body_len > 0)
        parts[message.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)body,
                                                     body_len};
    return sendmsg(at->fd, &message, MSG_NOSIGNAL);
}

ssize_t
wire_receive(wire *at, char *buffer, size_t len)
{
    if (at->tls != NULL)
        return tls_stream_receive(at->tls, buffer, len);
    return recv(at->fd, buffer, len, 0);
}

bool
wire_short_is_drained(const wire *at)
{
    return at->tls == NULL && !at->is_datagram;
}
