/* echo_server.c: the bare limit. An echo server on epoll with nothing above it.
 *
 * One recv and one send a request, from one buffer that is larger than the message, so that
 * what is measured is the kernel and 150 instructions of ours. Two forms, chosen by argument;
 * the faster one is what every loop is compared with:
 *
 *   level  epoll level-triggered; the interest set changes only when a send is incomplete
 *   edge   registered once for both directions, edge-triggered; a short read means drained
 *          unless the event also carried RDHUP, HUP or ERR (data and FIN arrive as one event)
 *
 * Over TCP, or with --unix PATH over a Unix socket. Prints {"port": N, ...} on one line when it
 * listens. Ends by a signal.
 */
#include "die.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS_AT_ONCE = 1024,
    SMALLEST_BUFFER = 64 * 1024
};

typedef struct {
    int fd;
    bool
        readable; /* edge only: the kernel may hold data that we have not asked for */
    char *unsent; /* what the last send left over, or NULL */
    size_t unsent_len;
    size_t unsent_at;
} connection;

typedef struct {
    int epoll;
    int listener;
    bool edge;
    bool is_unix;
    char *buffer;
    size_t buffer_len;
} server;

static void
connection_close(connection *conn)
{
    close(
        conn->fd); /* also leaves the epoll set: there is no second descriptor */
    free(conn->unsent);
    free(conn);
}

static void
connection_watch(server *srv, connection *conn, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(srv->epoll, op, conn->fd, &event) < 0)
        die_errno("epoll_ctl");
}

/* Returns false when the connection is lost. What the kernel does not take is kept. */
static bool
connection_send(server *srv, connection *conn, const char *data, size_t len)
{
    ssize_t sent = send(conn->fd, data, len, MSG_NOSIGNAL);
    if (sent == (ssize_t)len)
        return true;
    if (sent < 0 && errno != EAGAIN)
        return false;
    size_t taken = sent < 0 ? 0 : (size_t)sent;
    conn->unsent_len = len - taken;
    conn->unsent_at = 0;
    conn->unsent = malloc(conn->unsent_len);
    if (conn->unsent == NULL)
        die("out of memory");
    memcpy(conn->unsent, data + taken, conn->unsent_len);
    if (!srv->edge)
        connection_watch(srv, conn, EPOLL_CTL_MOD, EPOLLOUT);
    return true;
}

static bool
connection_flush(server *srv, connection *conn)
{
    size_t left = conn->unsent_len - conn->unsent_at;
    ssize_t sent = send(conn->fd, conn->unsent + conn->unsent_at, left,
                        MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    conn->unsent_at += (size_t)sent;
    if (conn->unsent_at < conn->unsent_len)
        return true;
    free(conn->unsent);
    conn->unsent = NULL;
    if (!srv->edge)
        connection_watch(srv, conn, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

/* One recv, one send. Returns false when the connection is over. */
static bool
connection_echo(server *srv, connection *conn, bool short_read_is_drained)
{
    ssize_t got = recv(conn->fd, srv->buffer, srv->buffer_len, 0);
    if (got == 0)
        return false;
    if (got < 0) {
        conn->readable = false;
        return errno == EAGAIN;
    }
    if (short_read_is_drained && (size_t)got < srv->buffer_len)
        conn->readable = false;
    return connection_send(srv, conn, srv->buffer, (size_t)got);
}

static bool
connection_event_level(server *srv, connection *conn)
{
    if (conn->unsent != NULL)
        return connection_flush(srv, conn);
    return connection_echo(srv, conn, false);
}

static bool
connection_event_edge(server *srv, connection *conn, uint32_t events)
{
    bool ending = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (ending || (events & EPOLLIN) != 0)
        conn->readable = true;
    if (conn->unsent != NULL && !connection_flush(srv, conn))
        return false;
    while (conn->readable && conn->unsent == NULL) {
        if (!connection_echo(srv, conn, !ending))
            return false;
    }
    return true;
}

static void
server_accept(server *srv)
{
    for (;;) {
        int fd = accept4(srv->listener, NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN)
                return;
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            die_errno("accept4");
        }
        int on = 1;
        if (!srv->is_unix &&
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
            die_errno("TCP_NODELAY");
        connection *conn = calloc(1, sizeof *conn);
        if (conn == NULL)
            die("out of memory");
        conn->fd = fd;
        connection_watch(srv, conn, EPOLL_CTL_ADD,
                         srv->edge ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
                                   : EPOLLIN);
    }
}

static uint16_t
listen_tcp(server *srv, uint16_t port)
{
    srv->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                           0);
    if (srv->listener < 0)
        die_errno("socket");
    int on = 1;
    if (setsockopt(srv->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        die_errno("SO_REUSEADDR");
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(srv->listener, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("bind");
    socklen_t addr_len = sizeof addr;
    if (getsockname(srv->listener, (struct sockaddr *)&addr, &addr_len) < 0)
        die_errno("getsockname");
    return ntohs(addr.sin_port);
}

static void
listen_unix(server *srv, const char *path)
{
    srv->is_unix = true;
    srv->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                           0);
    if (srv->listener < 0)
        die_errno("socket");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        die("--unix: the path is too long");
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (bind(srv->listener, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("bind");
}

static void
server_listen(server *srv, uint16_t port, const char *path)
{
    if (path != NULL)
        listen_unix(srv, path);
    else
        port = listen_tcp(srv, port);
    if (listen(srv->listener, 4096) < 0)
        die_errno("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(srv->epoll, EPOLL_CTL_ADD, srv->listener, &event) < 0)
        die_errno("epoll_ctl");
    printf("{\"port\": %d, \"loop\": \"c-%s\"}\n", port,
           srv->edge ? "edge" : "level");
    if (fflush(stdout) != 0)
        die_errno("stdout");
}

static void
server_run(server *srv)
{
    static struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        int count = epoll_wait(srv->epoll, events, EVENTS_AT_ONCE, -1);
        if (count < 0 && errno != EINTR)
            die_errno("epoll_wait");
        for (int i = 0; i < count; i++) {
            connection *conn = events[i].data.ptr;
            if (conn == NULL) {
                server_accept(srv);
                continue;
            }
            bool alive = srv->edge ? connection_event_edge(srv, conn,
                                                           events[i].events)
                                   : connection_event_level(srv, conn);
            if (!alive)
                connection_close(conn);
        }
    }
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"edge", no_argument, NULL, 'e'},
        {"level", no_argument, NULL, 'l'},
        {"port", required_argument, NULL, 'p'},
        {"size", required_argument, NULL, 's'},
        {"unix", required_argument, NULL, 'u'},
        {0}};
    server srv = {.edge = false};
    uint16_t port = 0;
    size_t size = 1024;
    const char *path = NULL;
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (opt) {
        case 'e':
            srv.edge = true;
            break;
        case 'l':
            srv.edge = false;
            break;
        case 'p':
            port = (uint16_t)number_or_die(optarg, 0, 65535);
            break;
        case 's':
            size = (size_t)number_or_die(optarg, 1, 1L << 30);
            break;
        case 'u':
            path = optarg;
            break;
        default:
            fprintf(
                stderr,
                "usage: echo_server [--level | --edge] [--port N | --unix PATH]\n"
                "                   [--size BYTES]\n");
            return 2;
        }
    }
    /* Larger than the message, so that a whole message is a short read. */
    srv.buffer_len = size + 1 > SMALLEST_BUFFER ? size + 1 : SMALLEST_BUFFER;
    srv.buffer = malloc(srv.buffer_len);
    if (srv.buffer == NULL)
        die("out of memory");
    srv.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (srv.epoll < 0)
        die_errno("epoll_create1");
    server_listen(&srv, port, path);
    server_run(&srv);
}
