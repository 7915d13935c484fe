/* tls_server.c: the bare limit of TLS. An echo server on epoll and OpenSSL.
 *
 * One recv and one send a request of up to 16 KiB: OpenSSL reads ahead, and is asked for more only
 * while it holds more, because level-triggered epoll tells of what is left in the kernel. Larger
 * messages are echoed record by record.
 *
 * Prints {"port": N, ...} on one line when it listens. Ends by a signal.
 */
#include "die.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_AT_ONCE = 1024,
    RECORD_LEN = 16 * 1024
};

typedef struct {
    int fd;
    SSL *ssl;
    int unsent_len; /* what SSL_write could not finish; 0: nothing */
    char unsent[RECORD_LEN];
} connection;

static SSL_CTX *
context_new(const char *pem)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL ||
        SSL_CTX_use_certificate_chain_file(context, pem) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, pem, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        die(pem);
    }
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    return context;
}

static void
connection_watch(int epoll, connection *conn, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(epoll, op, conn->fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void
connection_close(connection *conn)
{
    SSL_free(conn->ssl);
    close(conn->fd);
    free(conn);
}

static bool
would_block(connection *conn, int got)
{
    int error = SSL_get_error(conn->ssl, got);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* Everything that has arrived goes back. Returns false when the connection is over. */
static bool
connection_echo(int epoll, connection *conn)
{
    static char buffer[RECORD_LEN];
    do {
        ERR_clear_error();
        int got = SSL_read(conn->ssl, buffer, sizeof buffer);
        if (got <= 0)
            return would_block(conn, got);
        int sent = SSL_write(conn->ssl, buffer, got);
        if (sent <= 0) {
            if (!would_block(conn, sent))
                return false;
            memcpy(conn->unsent, buffer, (size_t)got);
            conn->unsent_len = got;
            connection_watch(epoll, conn, EPOLL_CTL_MOD, EPOLLOUT);
            return true;
        }
    } while (SSL_has_pending(conn->ssl));
    return true;
}

static bool
connection_flush(int epoll, connection *conn)
{
    ERR_clear_error();
    int sent = SSL_write(conn->ssl, conn->unsent, conn->unsent_len);
    if (sent <= 0)
        return would_block(conn, sent);
    conn->unsent_len = 0;
    connection_watch(epoll, conn, EPOLL_CTL_MOD, EPOLLIN);
    /* OpenSSL may hold records that epoll knows nothing of. */
    return !SSL_has_pending(conn->ssl) || connection_echo(epoll, conn);
}

static void
accept_all(int epoll, int listener, SSL_CTX *context)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN)
                return;
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            die_errno("accept4");
        }
        int on = 1;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
            die_errno("TCP_NODELAY");
        connection *conn = calloc(1, sizeof *conn);
        if (conn == NULL)
            die("out of memory");
        conn->fd = fd;
        conn->ssl = SSL_new(context);
        if (conn->ssl == NULL || SSL_set_fd(conn->ssl, fd) != 1)
            die("SSL_new");
        SSL_set_accept_state(conn->ssl); /* SSL_read does the handshake */
        connection_watch(epoll, conn, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int
listen_on_loopback(int epoll)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die_errno("socket");
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("bind");
    if (listen(fd, 4096) < 0)
        die_errno("listen");
    socklen_t addr_len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) < 0)
        die_errno("getsockname");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die_errno("epoll_ctl");
    printf("{\"port\": %d, \"loop\": \"c-openssl\"}\n", ntohs(addr.sin_port));
    if (fflush(stdout) != 0)
        die_errno("stdout");
    return fd;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"size", required_argument, NULL, 's'},
        {"tls", required_argument, NULL, 't'},
        {0}};
    const char *pem = NULL;
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (opt == 't') {
            pem = optarg;
        }
        else if (opt != 's') { /* taken as the other servers take it */
            fprintf(stderr, "usage: tls_server --tls PEM [--size BYTES]\n");
            return 2;
        }
    }
    if (pem == NULL)
        die("--tls is missing");
    SSL_CTX *context = context_new(pem);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die_errno("epoll_create1");
    int listener = listen_on_loopback(epoll);
    static struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_AT_ONCE, -1);
        if (count < 0 && errno != EINTR)
            die_errno("epoll_wait");
        for (int i = 0; i < count; i++) {
            connection *conn = events[i].data.ptr;
            if (conn == NULL)
                accept_all(epoll, listener, context);
            else if (!(conn->unsent_len > 0 ? connection_flush(epoll, conn)
                                            : connection_echo(epoll, conn)))
                connection_close(conn);
        }
    }
}
